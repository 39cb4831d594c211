"""The thresholds of the rules, each once, with what it was fitted on or where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Where a quantity becomes a finding. All are shares of the run's own numbers, none is a task's.

    Attributes:
        rise: lower end of the rise of the validation loss. 4 % separates best the published curves of OverfitGuard
            (Li et al. 2024, arXiv 2401.10359).
        tempered: rise after temperature scaling below which decisions may count as kept.
        level: training loss as a share of guessing from which on the training images count as not fitted.
        behind: accuracy by which a simple classifier on pixels has to be better, beyond chance, for a network that fits
            its training images fairly to count as one that does not.
        learnt: training loss as a share of guessing below which going on teaches less and less. Of the 279 trainings of
            benches/diagnosis with a twin of twice the epochs, more epochs are called for in 25 that gained by them, and
            in 1 that did not; with 0.5, in 12 and 1.
        gap: share of the validation loss that is gap below which what is lost is lost on training images, too.
        gain: fall of the validation loss that is expected of training as long again, from which on it was too short.
        unslowed: fall of the validation loss in the second half of a training / in the first, from which on it had not
            arrived. What arrives exponentially, and has less than a quarter of its way before it, is below that.
        plateau: share of the epochs without any improvement that is worth a note.
        modes: training loss as trained / in evaluation mode that counts as over-regularised.
        nothing: best training loss as a share of guessing from which on nothing was learnt.
        diverged: final training loss / first.
        spike: training loss of any epoch as a share of guessing that shows too long steps.
        unrest: jumps of the training loss between late epochs, as a share of its level.
        update_high: step / weight in norm; a thousandth is usual (Karpathy, cs231n), TheDeepChecker allows a tenth.
        update_low: likewise, for the largest step of a run that learnt little. TheDeepChecker allows a ten-thousandth
            for every step; in benches/diagnosis no run with a usual rate and living units stays below a thousandth.
        creep: share of the epochs in which the training loss fell, from which on a loss hardly below guessing creeps.
        dead: share of a layer's units that are off for every image (SageMaker Debugger: half of a layer).
        saturated: share of a layer's units on the flat ends (TheDeepChecker: half of a layer).
        vanishing: gradient norm of the first layer / last (AUTOTRAINER).
        exploding: growth of the gradient norm over the run.
        mismatch: loss on the same images in training mode / in evaluation mode or its inverse.
        first_loss: first loss / loss of guessing.
        slowed: training loss as a share of guessing above which first weights that are too large have harmed.
        first_weights: median size of a layer's first weights, in multiples of what keeps a signal's size. The schemes
            in use (LeCun, Glorot, He, torch's own) give 0.25 to 1.45 in every network of ``models``.
        squeezed: last loss / first on one batch of 16 images above which a network with usual steps has no room for
            them. In the open parts of benches/diagnosis healthy ones stay below 0.2, narrow ones mostly above 0.5.
        noise: lower end of the share of labels in doubt.
        shift: lower end of the domain classifier's area under the curve.
        meaning: lower end of how many more training images than validation images their nearest neighbours name. In
            benches/diagnosis no one of 461 untouched runs is above it.
        few: validation images below which an interval on a share is wider than the differences people look for.
    """

    rise: float = 0.04
    tempered: float = 0.02
    level: float = 0.30
    behind: float = 0.02
    learnt: float = 0.3
    gap: float = 0.35
    gain: float = 0.1
    unslowed: float = 0.5
    plateau: float = 0.5
    modes: float = 1.6
    nothing: float = 0.97
    diverged: float = 1.1
    spike: float = 1.5
    unrest: float = 0.15
    update_high: float = 0.1
    update_low: float = 8e-4
    creep: float = 0.9
    dead: float = 0.5
    saturated: float = 0.5
    vanishing: float = 1e-3
    exploding: float = 100.0
    mismatch: float = 1.5
    first_loss: float = 1.5
    slowed: float = 0.15
    first_weights: float = 3.0
    squeezed: float = 0.4
    noise: float = 0.05
    shift: float = 0.55
    meaning: float = 0.06
    few: int = 100


LIMITS = Limits()
"""The limits in use."""
