"""Measures of a run -> what helps against what: remedies by the finding they answer, each with the value to set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sightline.diagnosis.measures import Measures

Effect = Literal["falls", "rises", "stays", "falls or stays", "rises or stays"]


@dataclass(frozen=True)
class Remedy:
    """An entry of the table.

    Attributes:
        setting: as in ``Advice``.
        value: measures -> the value to set, or None where that is set already, or makes no sense.
        words: the change in words; ``{value}`` and ``{now}`` are filled in.
        training: expected effect.
        validation: expected effect.
        times: cost in time, as a factor, or how to compute it.
        rank: remedies of one finding with the same rank equal each other.
    """

    setting: str
    value: Callable[[Measures], Any]
    words: str
    training: Effect
    validation: Effect
    times: float = 1.0
    rank: int = 0


AUGMENTS = {"none": "light", "light": "strong", "auto": "strong", "strong": "strong,mixup=0.2"}
"""Augmentation -> the next stronger one."""

DEFAULTS: Mapping[str, Any] = {"dropout": 0.0, "label_smoothing": 0.0, "augment": "auto", "clip_norm": None, "ema": 0.0}
"""What a setting is if nobody set it."""


def setting(m: Measures, name: str) -> Any:
    """Give what a setting, or an option of the network such as ``options.width``, was in the training."""
    if name.startswith("options."):
        return (m.of.settings.get("options") or {}).get(name.partition(".")[2])
    return m.of.settings.get(name, DEFAULTS.get(name) if m.of.settings else None)


def _unstuck(m: Measures) -> float | None:
    """Turn the rate of a run that learnt nothing to what steps usually are; without their length, down."""
    if m.update and 0.34 < USUAL / m.update < 3:
        return None
    return _rate(USUAL, 0.01, 100, 0.1)(m)


def _times(name: str, factor: float, least: float = 0.0, most: float = float("inf")) -> Callable[[Measures], Any]:
    """Multiply a setting, rounded to two digits, within limits."""

    def value(m: Measures) -> Any:
        now = setting(m, name)
        if now is None:
            now = 1.0 if name == "options.width" else None
        if not now:
            return None
        new = min(most, max(least, float(f"{now * factor:.2g}")))
        return None if new == now else round(new) if isinstance(now, int) else new

    return value


def _to(name: str, value: Any, *, unless: Callable[[Any], bool] = bool) -> Callable[[Measures], Any]:
    """Set a setting to a value, unless what it is says that it is so already."""
    return lambda m: None if unless(setting(m, name)) else value


def _longer(m: Measures) -> int:
    return 2 * m.epochs


def _unlearnt(m: Measures) -> bool:
    """Say whether what is lost on validation images is mostly lost on training images, too."""
    return m.gap_share is None or m.gap_share < 0.5


def _longer_if_unlearnt(m: Measures) -> int | None:
    return _longer(m) if _unlearnt(m) else None


def _wider_if_unlearnt(m: Measures) -> float | None:
    return WIDER.value(m) if _unlearnt(m) else None


def _shorter(m: Measures) -> int | None:
    return None if m.of.best_kept or m.rise is None else max(1, int(m.of.epochs[m.best]))


def _augment_more(m: Measures) -> str | None:
    """Take the next augmentation, unless copies under it made a simple classifier worse beyond chance."""
    harms = m.promise is not None and (m.promise.high or 0.0) < 0
    return None if harms else AUGMENTS.get(str(setting(m, "augment")))


def _augment_at_all(m: Measures) -> str | None:
    linear = setting(m, "model") == "logistic"  # it cannot follow an image that moves
    return _augment_more(m) if setting(m, "augment") == "none" and not linear else None


def _augment_as_promised(m: Measures) -> str | None:
    """Take the next augmentation where copies under it taught a simple classifier more than chance does."""
    linear = setting(m, "model") == "logistic"
    return _augment_more(m) if m.promise is not None and (m.promise.low or 0.0) > 0 and not linear else None


def _augment_less(m: Measures) -> str | None:
    now = str(setting(m, "augment"))
    return {"strong": "light", "light": "none", "auto": "none", "none": None}.get(now.split(",")[0], "none")


def _dropout_more(m: Measures) -> float | None:
    now = float(setting(m, "dropout") or 0.0)
    return 0.3 if now < 0.3 else 0.5 if now < 0.5 else None


def _dropout_less(m: Measures) -> float | None:
    now = float(setting(m, "dropout") or 0.0)
    return None if now < 0.2 else 0.2 if now > 0.5 else 0.0


def _decay_less(m: Measures) -> float | None:
    now = float(setting(m, "weight_decay") or 0.0)
    return float(f"{now / 10:.2g}") if now >= 0.2 else None


def _rate(usual: float, least: float, most: float, otherwise: float) -> Callable[[Measures], float | None]:
    """Scale the learning rate so that the longest step changes the weights by ``usual``, by a factor within limits."""

    def value(m: Measures) -> float | None:
        now = setting(m, "lr")
        if not now:
            return None
        factor = usual / m.update if m.update else otherwise
        return float(f"{now * min(most, max(least, factor)):.1g}")

    return value


def _fuller(m: Measures) -> int | None:
    """Take 32 images a batch where there are fewer than twenty, of which batch norm cannot tell mean and spread."""
    now = setting(m, "batch_size")
    return 32 if now and now < 20 else None


def _hidden(m: Measures) -> str | None:
    return "mlp" if setting(m, "model") == "logistic" else None


def _members(m: Measures) -> int:
    return MEMBERS


def _norm(m: Measures) -> str | None:
    known = m.after("first_weights") or {}
    return None if known.get("normed") or setting(m, "options.norm") not in (None, "none") else "batch"


USUAL = 3e-3
"""Largest step / weight of a run that learns well: what rates are scaled to."""

MEMBERS = 5
"""Networks of a vote: more lower the loss little further (Lakshminarayanan et al. 2017, section 3)."""

LONGER = Remedy("epochs", _longer, "train for {value} epochs instead of {now}", "falls", "falls", 2.0)
AUGMENT = Remedy("augment", _augment_more, "augment more: {value} instead of {now}", "rises", "falls", 1.05)
PROMISED = replace(
    AUGMENT,
    value=_augment_as_promised,
    words="augment more: {value} instead of {now}, which lowers the error of a simple classifier by {promise}",
)
AT_ALL = replace(AUGMENT, value=_augment_at_all)
DROPOUT = Remedy("dropout", _dropout_more, "drop out {value:.0%} of the last features", "rises", "falls")
DECAY = Remedy(
    "weight_decay", _times("weight_decay", 5, most=0.5), "decay weights by {value} instead of {now}", "rises", "falls"
)
NARROW = Remedy(
    "options.width", _times("options.width", 0.5, least=0.25), "halve the width of the network", "rises", "falls", 0.4
)
WIDER = Remedy(
    "options.width", _times("options.width", 2, most=8), "double the width of the network", "falls", "falls", 3.0
)
HIDDEN = Remedy("model", _hidden, "take a network with a hidden layer: {value}", "falls", "falls", 2.0)
SMOOTH = Remedy(
    "label_smoothing", _to("label_smoothing", 0.1), "smooth the labels by {value}", "rises", "falls or stays"
)
SLOWER = Remedy(
    "lr", _rate(USUAL, 0.01, 0.34, 0.1), "lower the learning rate from {now:g} to {value:g}", "falls", "falls"
)
UNSTUCK = Remedy("lr", _unstuck, "turn the learning rate from {now:g} to {value:g}", "falls", "falls")
MUCH_SLOWER = replace(SLOWER, value=_rate(USUAL, 0.01, 0.1, 0.1))
FASTER = Remedy("lr", _rate(USUAL, 3, 100, 10), "raise the learning rate from {now:g} to {value:g}", "falls", "falls")
BOLDER = Remedy("lr", _rate(USUAL, 2, 4, 3), "raise the learning rate from {now:g} to {value:g}", "falls", "falls")
CLIP = Remedy("clip_norm", _to("clip_norm", 1.0), "clip the norm of the gradients at {value:g}", "falls", "falls", 1.02)
NORM = Remedy(
    "options.norm",
    _norm,
    "normalise each batch after every layer",
    "falls",
    "falls",
    1.2,
)
FULLER = Remedy("batch_size", _fuller, "take {value} images a batch instead of {now}", "stays", "falls")
GROUPED = Remedy(
    "options.norm",
    _to("options.norm", "group", unless=lambda now: now in ("group", "layer", "instance", "none")),
    "norm by groups of channels, which is the same in training and in use",
    "stays",
    "falls",
)
LEAKY = Remedy(
    "options.activation",
    _to("options.activation", "leaky_relu", unless=lambda now: now not in (None, "relu")),
    "use leaky rectifiers, which never die",
    "falls",
    "falls",
)
RELU = Remedy(
    "options.activation",
    _to("options.activation", "relu", unless=lambda now: now in (None, "relu")),
    "use rectifiers, which have no flat upper end",
    "falls",
    "falls",
)
STOP = Remedy("epochs", _shorter, "stop after {value} epochs, where validation was best", "rises", "falls", 0.5)
VOTE = Remedy("", _members, "let {value} networks vote that differ by their seed", "falls or stays", "falls", MEMBERS)
AVERAGE = Remedy("ema", _to("ema", 0.99), "average the weights over the last hundred steps", "stays", "falls or stays")


def _ranked(*groups: Sequence[Remedy]) -> tuple[Remedy, ...]:
    """Number groups of equals by their order."""
    return tuple(Remedy(**{**vars(remedy), "rank": rank}) for rank, group in enumerate(groups) for remedy in group)


LESS_DROPOUT = Remedy(
    "dropout", _dropout_less, "drop out {value:.0%} of the features instead of {now:.0%}", "falls", "falls"
)
LESS_DECAY = Remedy("weight_decay", _decay_less, "decay weights by {value:g} instead of {now:g}", "falls", "falls")
LESS_SMOOTH = Remedy(
    "label_smoothing",
    lambda m: 0.1 if float(setting(m, "label_smoothing") or 0) > 0.2 else None,
    "smooth the labels by {value} instead of {now}",
    "falls",
    "falls",
)
LESS_AUGMENT = Remedy("augment", _augment_less, "augment less: {value} instead of {now}", "falls", "falls", 0.95)

REMEDIES: dict[str, tuple[Remedy, ...]] = {
    "training/not-finite": _ranked([MUCH_SLOWER], [CLIP]),
    "training/diverged": _ranked([MUCH_SLOWER], [CLIP]),
    "training/rate-too-high": _ranked([MUCH_SLOWER], [CLIP]),
    "setup/rate": _ranked([MUCH_SLOWER], [CLIP]),
    "training/exploding-gradients": _ranked([CLIP], [SLOWER, NORM]),
    "training/dead-units": _ranked([LEAKY, NORM], [SLOWER]),
    "training/vanishing-gradients": _ranked([NORM], [RELU]),
    "training/saturated-units": _ranked([NORM], [RELU]),
    "training/modes-differ": _ranked([FULLER], [GROUPED]),
    "training/rate-too-low": _ranked([FASTER], [LONGER]),
    "training/learnt-nothing": _ranked([UNSTUCK], [NORM]),
    "setup/first-loss": _ranked([NORM], [SLOWER]),
    "setup/first-weights": _ranked([NORM], [FASTER], [LONGER]),
    "fit/over-regularised": _ranked([LESS_DROPOUT], [LESS_DECAY, LESS_SMOOTH], [LESS_AUGMENT]),
    "setup/augmentation": _ranked([LESS_AUGMENT]),
    "fit/undertrained": _ranked([LONGER], [BOLDER]),
    "fit/capacity": _ranked([HIDDEN, WIDER], [BOLDER, LONGER]),
    "fit/worse-than-reference": _ranked(
        [replace(LONGER, value=_longer_if_unlearnt)], [replace(WIDER, value=_wider_if_unlearnt)], [VOTE]
    ),
    "fit/overfitted": _ranked(
        [STOP], [PROMISED], [VOTE], [AT_ALL], [AVERAGE], [DROPOUT, SMOOTH], [AUGMENT], [DECAY, NARROW]
    ),
    "fit/overconfident": _ranked([PROMISED], [VOTE], [AT_ALL], [AVERAGE], [DROPOUT, SMOOTH], [AUGMENT], [STOP]),
    "fit/uncertain-rise": _ranked([PROMISED], [VOTE], [AT_ALL], [AVERAGE]),
    "training/unsteady": _ranked([AVERAGE]),
    "fit/gap": _ranked([PROMISED], [VOTE], [AVERAGE]),
}
"""What helps against what, the most likely first. Within a rank, remedies equal each other.

Where weights of the best epoch are kept, a rise leaves little to gain by a setting (docs/diagnosis/how-good.md). A
vote of five networks helped in 33 of 46 runs and harmed in none; light augmentation, where there was none, about as
often, but it harmed linear classifiers; averaged weights helped in 20 of 54 and harmed in 5; dropout harmed more
often than it helped.
"""
