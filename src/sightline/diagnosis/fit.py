"""Rules about fit: losses on training and validation images -> overfitted, over-confident, underfitted and why.

A rule is one function from measures to a finding, or None where it has nothing to say.
"""

from __future__ import annotations

from sightline.diagnosis.intervals import Figure
from sightline.diagnosis.limits import LIMITS, Limits
from sightline.diagnosis.measures import Measures
from sightline.diagnosis.terms import found, listed
from sightline.finding import Confidence, Finding


def overfitted(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a validation loss that rose while the training loss did not, with worse decisions to show for it."""
    if not _risen(m, limits) or m.rise is None:
        return None
    worse = _decisions(m, limits)
    if worse == "kept":
        return None
    confidence: Confidence = "unsure"  # it rose, but whether decisions became worse or only louder is not known
    if worse == "worse":
        confidence = "sure" if m.rise.paired else "likely"
    error = m.error_change
    said = f"; the share mistaken changed by {_points(error)}" if error else ""
    return found(
        "fit/overfitted",
        "warning",
        f"the validation loss was lowest around epoch {_epoch(m)} ({m.rise.lowest:.3g} nats) and ended "
        f"{m.rise.value:.0%} higher (95 % interval {_span(m.rise.figure)}), while training fell on{said}.",
        confidence,
        epoch=_epoch(m),
        rise=m.rise.figure.as_dict(),
        tempered=m.tempered.as_dict() if m.tempered else None,
        error=error.as_dict() if error else None,
        paired=m.rise.paired,
        threshold=limits.rise,
    )


def overconfident(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a validation loss that rose although the decisions are as good as before: only the certainty grew."""
    if not _risen(m, limits) or m.rise is None or _decisions(m, limits) != "kept":
        return None
    error, tempered = m.error_change, m.tempered
    grounds = [f"the share mistaken changed by {_points(error)}"] if error else []
    if tempered:
        grounds.append(f"the loss after dividing by a temperature by {tempered.value:+.0%}")
    confidence: Confidence = "sure" if m.rise.paired and tempered else "likely" if m.rise.paired else "unsure"
    return found(
        "fit/overconfident",
        "warning",
        f"the validation loss rose by {m.rise.value:.0%} after epoch {_epoch(m)} (95 % interval "
        f"{_span(m.rise.figure)}), but {listed(grounds)}: it is as often right as before, and too sure of it.",
        confidence,
        epoch=_epoch(m),
        rise=m.rise.figure.as_dict(),
        tempered=tempered.as_dict() if tempered else None,
        error=error.as_dict() if error else None,
        paired=m.rise.paired,
        threshold=limits.rise,
    )


def uncertain_rise(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Report a validation loss that may have risen, where its images are too few to say."""
    if m.rise is None or _risen(m, limits) or m.rise.value <= limits.rise or m.rise.high <= 3 * limits.rise:
        return None
    return found(
        "fit/uncertain-rise",
        "note",
        f"the validation loss ended {m.rise.value:.0%} above its minimum, but the 95 % interval reaches from "
        f"{m.rise.low:.0%} to {m.rise.high:.0%}.",
        rise=m.rise.figure.as_dict(),
        threshold=limits.rise,
    )


def gap(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Report a gap without a rise as what it is: harmless so far."""
    if m.gap is None or m.gap_share is None or m.gap.low is None or m.gap.low <= 0 or _risen(m, limits):
        return None
    if m.gap_share < 0.5 or not m.of.clean:
        return None
    return found(
        "fit/gap",
        "note",
        f"at epoch {_epoch(m)} validation costs {m.gap.value:.3g} nats more than training (95 % interval "
        f"{m.gap.low:.3g} to {m.gap.high or 0:.3g}): learnt by heart, harmless as long as validation does not rise.",
        gap=m.gap.as_dict(),
        share=m.gap_share,
    )


def undertrained(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a validation loss that had not arrived when the training ended."""
    if squeezed(m, limits):
        return None
    if _on_its_way(m, limits):
        return _too_short(m, limits)
    gain = m.gain
    if gain is None or gain.low is None or not _falls(m, limits) or _risen(m, limits):
        return None
    fitted = 1.0 if m.level is None else min(1.0, m.level / limits.learnt)  # what is learnt teaches less and less
    more = m.behind() and gain.low > 0  # a simple classifier shows that more can be learnt
    if gain.value * (1.0 if more else fitted) <= limits.gain:
        return None
    return found(
        "fit/undertrained",
        "warning",
        f"the validation loss was still falling when the training ended: going by its pace, and by what training "
        f"images still cost, as many epochs again might lower it by about {gain.value:.0%} (95 % interval "
        f"{_span(gain)}).",
        "sure" if gain.low > limits.gain and m.epochs >= 10 else "likely",
        gain=gain.as_dict(),
        epochs=m.epochs,
        threshold=limits.gain,
    )


def _on_its_way(m: Measures, limits: Limits) -> bool:
    """Say whether a training that fits nothing yet had not slowed down when it ended, which no pace over epochs shows.

    Near guessing, a loss that falls steadily falls by a small share; and a few epochs give no pace with an interval.
    """
    return not _falls(m, limits) and m.unslowed(limits) and unfitted(m, limits) and not _risen(m, limits)


def _falls(m: Measures, limits: Limits) -> bool:
    """Say whether the validation loss still falls at a pace that is known."""
    return m.pace is not None and m.pace.low is not None and m.pace.low > limits.gain / 2


def _too_short(m: Measures, limits: Limits) -> Finding:
    assert m.halves is not None
    before, after = m.halves
    steps = f" ({m.of.column('step')[-1]:,.0f} steps)" if m.of.has("step") else ""
    return found(
        "fit/undertrained",
        "warning",
        f"after {m.epochs} epochs{steps} the validation loss was still on its way: the second half of the training "
        f"lowered it by {after:.2g} nats, the first half by {before:.2g}; what arrives slows down.",
        "likely",
        halves=[before, after],
        epochs=m.epochs,
        threshold=limits.unslowed,
    )


def over_regularised(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find training images that are not fitted, and much less so with dropout and augmentation on than off."""
    if not unfitted(m, limits) or not m.of.clean or not m.of.has("train_loss"):
        return None
    # The loss as trained is a mean over the last epoch: beside it belongs what the others were in its middle.
    trained = float(m.of.column("train_loss")[-1]) - m.of.floor
    plain = float(m.of.fitted[-2:].mean())
    ratio = trained / max(plain, 1e-6)
    heavy = [
        name
        for name, usual in (("dropout", 0.6), ("label_smoothing", 0.3), ("weight_decay", 0.5))
        if float(m.of.settings.get(name) or 0) >= usual
    ]
    if ratio < limits.modes and not heavy:
        return None
    grounds = f"{trained:.3g} nats as trained, {plain:.3g} with dropout and augmentation off"
    return found(
        "fit/over-regularised",
        "warning",
        f"the training images are not fitted, and training makes it hard: {grounds}"
        + (f"; {' and '.join(f'{n}={m.of.settings[n]:g}' for n in heavy)}." if heavy else "."),
        "sure" if heavy else "likely",
        ratio=ratio,
        trained=trained,
        plain=plain,
        heavy=heavy,
        threshold=limits.modes,
    )


def capacity(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find training images that are not fitted although nothing but the network's size explains it.

    Either the loss no longer falls; or it creeps, and sixteen images alone were not fitted by steps of a usual length.
    """
    if squeezed(m, limits) and not over_regularised(m, limits):
        return _no_room(m, limits)
    if not unfitted(m, limits) or _risen(m, limits) or undertrained(m, limits) or over_regularised(m, limits):
        return None
    if m.fitted_change is not None and m.fitted_change < -limits.gain:  # it went on learning after the best epoch
        return None
    assert m.level is not None
    assert m.gap_share is not None
    return found(
        "fit/capacity",
        "warning",
        f"the training images themselves cost {m.level:.0%} of what guessing costs, the validation images hardly more "
        f"(the gap is {max(m.gap_share, 0):.0%} of their loss), and neither falls any more.",
        "likely",
        level=m.level,
        gap_share=m.gap_share,
        threshold=limits.level,
    )


def _no_room(m: Measures, limits: Limits) -> Finding:
    assert m.level is not None
    assert m.squeezed is not None
    return found(
        "fit/capacity",
        "warning",
        f"the training images themselves cost {m.level:.0%} of what guessing costs, and of the loss on one batch of 16 "
        f"images {m.squeezed:.0%} were left after steps of a usual length: there is no room even for these.",
        "likely",
        level=m.level,
        squeezed=m.squeezed,
        threshold=limits.squeezed,
    )


def worse_than_reference(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a network that a nearest neighbour or a linear classifier on raw pixels beats."""
    reference = m.after("reference")
    if not m.behind() or m.beats is None or reference is None or m.accuracy is None:
        return None
    return found(
        "fit/worse-than-reference",
        "warning",
        f"{reference['name']} on raw pixels recognises {reference['accuracy']:.1%} of the validation images, this "
        f"network {m.accuracy.value:.1%}.",
        difference=m.beats.as_dict(),
        reference=reference["accuracy"],
        name=reference["name"],
    )


def plateau(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Note that the best epoch came early and nothing happened since."""
    if m.rise is None or m.epochs < 10 or _risen(m, limits) or unfitted(m, limits):
        return None
    idle = m.rise.climb / m.epochs
    if idle < limits.plateau:
        return None
    return found(
        "fit/plateau",
        "note",
        f"nothing improved after epoch {_epoch(m)} of {m.epochs}: the other {m.rise.climb} were not needed.",
        epoch=_epoch(m),
        idle=idle,
        threshold=limits.plateau,
    )


def unfitted(m: Measures, limits: Limits = LIMITS) -> bool:
    """Say whether the training images are not fitted, and what is lost is lost on them as on validation images.

    They have to be unfitted in the end, too: after the best epoch a network may go on to learn them by heart.
    """
    if m.level is None or m.end_level is None or m.gap_share is None:
        return False
    left = min(m.level, m.end_level) - m.doubtful
    return m.gap_share < limits.gap and left > (limits.level / 4 if m.behind(limits.behind) else limits.level)


def squeezed(m: Measures, limits: Limits = LIMITS) -> bool:
    """Say whether a network that does not fit its training images could not fit one batch of them either."""
    return unfitted(m, limits) and m.squeezed is not None and m.squeezed > limits.squeezed


def _risen(m: Measures, limits: Limits) -> bool:
    """Say whether the validation loss rose, beyond chance, after its minimum, while the training loss did not."""
    if m.rise is None or m.rise.low <= limits.rise:
        return False
    return m.fitted_change is None or m.fitted_change < max(0.1, 0.5 * m.rise.value)


def _decisions(m: Measures, limits: Limits) -> str:
    """Say whether the decisions became ``worse``, were ``kept``, or are ``unclear``, by errors and tempered loss."""
    error, tempered = m.error_change, m.tempered
    if error and error.low is not None and error.low > 0:
        return "worse"
    if tempered and tempered.low is not None and tempered.low > 0:
        return "worse"
    if tempered and tempered.high is not None and m.rise is not None:
        return "kept" if tempered.value < max(limits.tempered, 0.2 * m.rise.value) else "unclear"
    if error is None:
        return "unclear"
    return "kept" if error.value <= max(0.005, 0.05 * (1 - (m.accuracy.value if m.accuracy else 0.5))) else "unclear"


def _epoch(m: Measures) -> int:
    return int(m.of.epochs[m.best])


def _span(figure: Figure) -> str:
    assert figure.low is not None
    assert figure.high is not None
    return f"{figure.low:.0%} to {figure.high:.0%}"


def _points(figure: Figure) -> str:
    """Write a change of a share in points: ``+0.6 points (-0.8 to +2.1)``."""
    said = f"{100 * figure.value:+.1f} points"
    if figure.low is None or figure.high is None:
        return said
    return f"{said} ({100 * figure.low:+.1f} to {100 * figure.high:+.1f})"


RULES = (
    overfitted,
    overconfident,
    worse_than_reference,
    over_regularised,
    undertrained,
    capacity,
    uncertain_rise,
    gap,
    plateau,
)
"""The rules of this file, gravest first."""
