"""Rules about trainings that do not work -> findings: NaN, divergence, learning rate, dead units, gradients."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis.limits import LIMITS, Limits
from sightline.diagnosis.measures import Measures
from sightline.diagnosis.terms import found, listed, size
from sightline.finding import Finding

NAMED = 5
"""Layers that a sentence names before it only counts."""
FAR = 5.0
"""How many times too long steps have to be for that alone to be told of a network that learnt all the same."""
GONE = 0.95
"""Share of a layer's units that are off from which on nothing gets through."""


def not_finite(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a loss that became NaN or infinite."""
    stopped = str(m.of.state.get("stopped", "")).partition("\n")[0]
    failed = m.of.state.get("status") == "failed" and "NaN" in stopped
    lost = [
        int(epoch)
        for epoch, *losses in zip(m.of.epochs, m.of.valid, m.of.column("train_loss"), strict=True)
        if any(math.isinf(loss) for loss in losses) or (math.isnan(losses[0]) and _known(m.of.valid))
    ]
    if not failed and not lost:
        return None
    said = stopped if failed else f"the loss is NaN or infinite from epoch {lost[0]} on"
    return found("training/not-finite", "error", said.rstrip(".") + ".", epochs=lost)


def diverged(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a training loss that ends above where it began."""
    losses = _trained(m)
    if m.epochs < 2 or not np.isfinite(losses).all():
        return None
    first, last = float(losses[0]), float(losses[-1])
    if last - m.of.floor <= limits.diverged * (first - m.of.floor) or last - first < 0.05 * m.scale:
        return None
    return found(
        "training/diverged",
        "error",
        f"the training loss rose from {size(first)} to {size(last)} nats: the training undid what there was.",
        first=first,
        last=last,
        threshold=limits.diverged,
    )


def learnt_nothing(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a network that is no better than always naming the commonest class."""
    losses = m.of.fitted
    if not m.epochs or not np.isfinite(losses).any() or m.of.chance is None:
        return None
    level = float(np.nanmin(losses)) / m.of.chance
    if level < limits.nothing:
        return None
    if m.of.prior is not None and m.accuracy and m.accuracy.low is not None and m.accuracy.low > m.of.prior + 0.02:
        return None
    guessing = "where guessing costs less" if level > limits.diverged else "which is what guessing costs"
    prior = f", and the commonest class alone makes {m.of.prior:.1%}" if m.of.prior else ""
    said = f"; {m.accuracy.value:.1%} of the validation images are recognised{prior}" if m.accuracy else ""
    return found(
        "training/learnt-nothing",
        "error",
        f"the training loss never fell below {size(float(np.nanmin(losses)))} nats, {guessing} "
        f"(ln {m.of.classes} = {m.of.chance:.3g}){said}.",
        "sure" if m.epochs >= 5 else "likely",
        level=level,
        threshold=limits.nothing,
    )


def rate_too_high(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find steps that are too long: losses far above guessing, weights that change by a tenth in a step."""
    grounds, evidence = [], {}
    losses = m.of.fitted
    if m.of.chance is not None and np.isfinite(losses).any():
        worst = float(np.nanmax(losses)) / m.of.chance
        if worst > limits.spike:
            at = int(m.of.epochs[int(np.nanargmax(losses))])
            grounds.append(f"in epoch {at} the training loss was {size(worst)} times that of guessing")
            evidence["spike"] = worst
    if m.update is not None and m.update > limits.update_high:
        grounds.append(f"single steps changed the weights by {m.update:.1%}, where 0.1 % is usual")
        evidence["update"] = m.update
    own = (m.after("one_batch") or {}).get("own")
    if own and own["verdict"] == "diverged":
        grounds.append("with this rate the loss rises even on one batch of 16 images")
        evidence["one_batch"] = own["last"]
    if list(evidence) == ["update"] and _steady(m, limits):
        return None  # weights that begin at nothing, as a linear classifier's may, are small beside any step
    hard = m.level is not None and (m.level > 0.5 or not m.finite)
    if not grounds or (len(grounds) < 2 and not hard and evidence.get("update", 0.0) < FAR * limits.update_high):
        return None
    return found(
        "training/rate-too-high",
        "error" if hard else "warning",
        f"{listed(grounds)}: the steps are too long{rated(m)}.",
        "sure" if len(grounds) > 1 else "likely",
        **evidence,
        lr=m.of.settings.get("lr"),
    )


def _falling(m: Measures) -> float:
    """Give the share of the epochs in which the training loss fell; 0 where there are too few."""
    return float((np.diff(m.of.fitted) < 0).mean()) if m.epochs >= 5 else 0.0


def _steady(m: Measures, limits: Limits) -> bool:
    """Say whether the training loss fell in almost every epoch, and by much: no step was too long.

    Unless it led where a simple classifier is right more often.
    """
    return _falling(m) >= limits.creep and m.of.fitted[-1] < 0.5 * m.of.fitted[0] and not m.behind()


def rate_too_low(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find steps that are too short: the loss still falls, and steps hardly move the weights."""
    gain = m.fitted_gain
    if m.level is None or m.level < limits.level or gain is None or gain.value <= 0:
        return None
    if max(_last(m.of.layers("dead")).values(), default=0.0) > GONE:
        return None  # dead units take no steps at any rate
    grounds, evidence = [], {}
    if m.update is not None and m.update < limits.update_low:
        grounds.append(f"no step changed the weights by more than {m.update:.2g} of their norm, where 0.001 is usual")
        evidence["update"] = m.update
    batch = m.after("one_batch") or {}
    if batch.get("own", {}).get("verdict") == "unmoved" and batch.get("reference", {}).get("verdict") == "fitted":
        grounds.append("with this rate not even one batch of 16 images is fitted, though the network can")
        evidence["one_batch"] = batch["own"]["last"]
    falling = _falling(m)
    small = m.update is not None and m.update < limits.update_high / 10
    if m.level > 0.8 and small and falling >= limits.creep:
        grounds.append(
            f"after {m.epochs} epochs {1 - m.level:.0%} of the loss of guessing is gone, though it never rested"
        )
        evidence["falling"] = falling
    if not grounds:
        return None
    return found(
        "training/rate-too-low",
        "warning",
        f"{listed(grounds)}; the loss creeps down{rated(m)}.",
        "sure" if len(grounds) > 1 else "likely",
        **evidence,
        lr=m.of.settings.get("lr"),
    )


def unsteady(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a training loss that still jumps from epoch to epoch late in the training."""
    if m.unrest <= limits.unrest or m.level is None or m.level < 0.02:
        return None
    return found(
        "training/unsteady",
        "note",
        f"in the second half the training loss jumps by {m.unrest:.0%} of its level from one epoch to the next.",
        unrest=m.unrest,
        threshold=limits.unrest,
    )


def dead_units(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Name the layers most of whose rectifiers are off for every image."""
    dead = _last(m.of.layers("dead"))
    bad = {layer: share for layer, share in dead.items() if share > limits.dead}
    if not bad:
        return None
    learns = m.level is not None and m.level < limits.level
    return found(
        "training/dead-units",
        "note" if learns else "error" if max(bad.values()) > 0.95 else "warning",
        f"more than {limits.dead:.0%} of the units are off for every image in {_layers(bad)}.",
        layers=bad,
        threshold=limits.dead,
    )


def saturated_units(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Name the layers most of whose units sit on the flat ends of their activation."""
    flat = _last(m.of.layers("saturated"))
    bad = {layer: share for layer, share in flat.items() if share > limits.saturated}
    if not bad or m.level is None or m.level < limits.level / 2:
        return None
    return found(
        "training/saturated-units",
        "warning",
        f"more than {limits.saturated:.0%} of the units sit on the flat ends of their activation in {_layers(bad)}.",
        layers=bad,
        threshold=limits.saturated,
    )


def vanishing(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find gradients that shrink on the way down while the training images are not fitted."""
    norms = {name: values for name, values in m.of.layers("gradient").items() if np.isfinite(values).any()}
    if len(norms) < 3 or m.level is None or m.level < limits.level:
        return None
    names = list(norms)
    first, last = (float(np.nanmedian(norms[names[place]])) for place in (0, -1))
    if last <= 0 or first / last >= limits.vanishing:
        return None
    return found(
        "training/vanishing-gradients",
        "warning",
        f"the gradient is {first:.2g} at '{names[0]}' and {last:.2g} at '{names[-1]}': the first layers hardly learn.",
        first=first,
        last=last,
        layers=[names[0], names[-1]],
        threshold=limits.vanishing,
    )


def exploding(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find gradients that grew by orders of magnitude during the training."""
    norms = {name: values[np.isfinite(values)] for name, values in m.of.layers("gradient").items()}
    grown = {
        name: float(values[-1] / values[0])
        for name, values in norms.items()
        if len(values) > 1 and values[0] > 0 and values[-1] / values[0] > limits.exploding and values[-1] > 10
    }
    if not grown or m.level is None or m.level < limits.level:
        return None
    return found(
        "training/exploding-gradients",
        "error",
        f"the gradient grew more than {limits.exploding:.0f} times in {_layers(grown, share=False)}.",
        layers=grown,
        threshold=limits.exploding,
    )


def modes_differ(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a network that computes something else in training than in use, on the same images without augmentation."""
    pairs = [
        (row["train_mode_loss"], row["eval_mode_loss"])
        for row in m.of.instruments
        if "train_mode_loss" in row and math.isfinite(row["train_mode_loss"]) and math.isfinite(row["eval_mode_loss"])
    ]
    if not pairs:
        return None
    train, plain = pairs[-1]
    if plain <= limits.mismatch * train or plain - train < 0.1 * m.scale:
        return None  # the other way round is dropout at work, which is meant
    useless = plain > 0.5 * m.scale and plain > 2 * train
    return found(
        "training/modes-differ",
        "error" if useless else "warning",
        f"on the same images the loss is {train:.3g} nats in training mode and {plain:.3g} in evaluation mode: what is "
        "used is not what was trained.",
        training=train,
        evaluation=plain,
        threshold=limits.mismatch,
    )


def class_collapse(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Name classes that are never given although they have images."""
    if m.of.confusion is None:
        return None
    labelled, called = m.of.confusion.sum(axis=1), m.of.confusion.sum(axis=0)
    never = [int(k) for k in np.flatnonzero((labelled >= 5) & (called == 0))]
    if not never:
        return None
    return found(
        "training/class-collapse",
        "warning",
        f"{len(never)} of {len(labelled)} classes are never named, although {int(labelled[never].sum())} images "
        "are of them.",
        classes=never,
    )


def _trained(m: Measures) -> NDArray[np.float64]:
    """Give the training loss as trained, or in evaluation mode where that is all there is."""
    return m.of.column("train_loss") if m.of.has("train_loss") else m.of.fitted


def _known(values: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(values).any())


def _last(layers: dict[str, NDArray[np.float64]]) -> dict[str, float]:
    """Give the last value that was measured in each layer."""
    known = {name: values[np.isfinite(values)] for name, values in layers.items()}
    return {name: float(values[-1]) for name, values in known.items() if len(values)}


def _layers(values: dict[str, float], *, share: bool = True) -> str:
    """Name layers with their values, the worst first: ``'act1' (92 %), 'act2' (71 %)``."""
    worst = sorted(values.items(), key=lambda item: -item[1])
    named = ", ".join(
        f"'{name}' ({value:.0%})" if share else f"'{name}' ({value:.0f}x)" for name, value in worst[:NAMED]
    )
    return named + (f" and {len(worst) - NAMED} more" if len(worst) > NAMED else "")


def rated(m: Measures) -> str:
    """Write the learning rate, if it is known: `` (lr 0.001)``."""
    lr = m.of.settings.get("lr")
    return f" (lr {lr:g})" if lr else ""


RULES = (
    not_finite,
    diverged,
    learnt_nothing,
    rate_too_high,
    rate_too_low,
    dead_units,
    exploding,
    vanishing,
    saturated_units,
    modes_differ,
    class_collapse,
    unsteady,
)
"""The rules of this file, gravest first."""
