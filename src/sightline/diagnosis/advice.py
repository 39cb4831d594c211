"""Findings and settings -> what to change, ranked: one setting each, its value, what to expect, what it costs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sightline.diagnosis.evidence import Evidence
from sightline.diagnosis.measures import Measures
from sightline.finding import Finding
from sightline.models import zoo

Effect = Literal["falls", "rises", "stays", "falls or stays", "rises or stays"]


@dataclass(frozen=True)
class Advice:
    """One change to make, and nothing else with it.

    Attributes:
        finding: code of the finding it answers.
        setting: the field of ``Settings`` to change; ``options.width`` is the network's own option ``width``; empty
            where networks vote instead, all trained with the same settings.
        value: what to set it to; or how many networks vote.
        now: what it was, None if unknown.
        sentence: the change in words.
        training: what the training loss should do.
        validation: what the validation loss should do.
        times: time of the changed training / time of this one.
        seconds: of the changed training, None if unknown.
        command: to copy, empty if the run cannot be repeated from the command line.
        instead: other advice that does as much; it may be taken in its place, not with it.
    """

    finding: str
    setting: str
    value: Any
    now: Any
    sentence: str
    training: Effect
    validation: Effect
    times: float
    seconds: float | None
    command: str
    instead: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return {**vars(self), "instead": list(self.instead)}


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


def _setting(m: Measures, name: str) -> Any:
    if name.startswith("options."):
        return (m.of.settings.get("options") or {}).get(name.partition(".")[2])
    return m.of.settings.get(name, DEFAULTS.get(name) if m.of.settings else None)


def _unstuck(m: Measures) -> float | None:
    """Turn the rate of a run that learnt nothing to what steps usually are; without their length, down."""
    if m.update and 0.34 < USUAL / m.update < 3:
        return None
    return _rate(USUAL, 0.01, 100, 0.1)(m)


def _known(m: Measures, setting: str) -> bool:
    """Say whether the network has the option that a setting names; one that is not of the zoo may have it."""
    entry = zoo.ZOO.get(str(m.of.settings.get("model")))
    return not setting.startswith("options.") or entry is None or setting.partition(".")[2] in entry.options


def _times(name: str, factor: float, least: float = 0.0, most: float = float("inf")) -> Callable[[Measures], Any]:
    """Multiply a setting, rounded to two digits, within limits."""

    def value(m: Measures) -> Any:
        now = _setting(m, name)
        if now is None:
            now = 1.0 if name == "options.width" else None
        if not now:
            return None
        new = min(most, max(least, float(f"{now * factor:.2g}")))
        return None if new == now else round(new) if isinstance(now, int) else new

    return value


def _to(name: str, value: Any, *, unless: Callable[[Any], bool] = bool) -> Callable[[Measures], Any]:
    """Set a setting to a value, unless what it is says that it is so already."""
    return lambda m: None if unless(_setting(m, name)) else value


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
    return AUGMENTS.get(str(_setting(m, "augment")))


def _augment_at_all(m: Measures) -> str | None:
    linear = _setting(m, "model") == "logistic"  # it cannot follow an image that moves
    return "light" if _setting(m, "augment") == "none" and not linear else None


def _augment_less(m: Measures) -> str | None:
    now = str(_setting(m, "augment"))
    return {"strong": "light", "light": "none", "auto": "none", "none": None}.get(now.split(",")[0], "none")


def _dropout_more(m: Measures) -> float | None:
    now = float(_setting(m, "dropout") or 0.0)
    return 0.3 if now < 0.3 else 0.5 if now < 0.5 else None


def _dropout_less(m: Measures) -> float | None:
    now = float(_setting(m, "dropout") or 0.0)
    return None if now < 0.2 else 0.2 if now > 0.5 else 0.0


def _decay_less(m: Measures) -> float | None:
    now = float(_setting(m, "weight_decay") or 0.0)
    return float(f"{now / 10:.2g}") if now >= 0.2 else None


def _rate(usual: float, least: float, most: float, otherwise: float) -> Callable[[Measures], float | None]:
    """Scale the learning rate so that the longest step changes the weights by ``usual``, by a factor within limits."""

    def value(m: Measures) -> float | None:
        now = _setting(m, "lr")
        if not now:
            return None
        factor = usual / m.update if m.update else otherwise
        return float(f"{now * min(most, max(least, factor)):.1g}")

    return value


def _hidden(m: Measures) -> str | None:
    return "mlp" if _setting(m, "model") == "logistic" else None


def _members(m: Measures) -> int:
    return MEMBERS


def _norm(m: Measures) -> str | None:
    known = m.after("first_weights") or {}
    return None if known.get("normed") or _setting(m, "options.norm") not in (None, "none") else "batch"


USUAL = 3e-3
"""Largest step / weight of a run that learns well: what rates are scaled to."""

MEMBERS = 5
"""Networks of a vote: more lower the loss little further (Lakshminarayanan et al. 2017, section 3)."""

LONGER = Remedy("epochs", _longer, "train for {value} epochs instead of {now}", "falls", "falls", 2.0)
AUGMENT = Remedy("augment", _augment_more, "augment more: {value} instead of {now}", "rises", "falls", 1.05)
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
    lambda m: 0.1 if float(_setting(m, "label_smoothing") or 0) > 0.2 else None,
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
    "fit/overfitted": _ranked([STOP], [VOTE], [AT_ALL], [AVERAGE], [DROPOUT, SMOOTH], [AUGMENT], [DECAY, NARROW]),
    "fit/overconfident": _ranked([VOTE], [AT_ALL], [AVERAGE], [DROPOUT, SMOOTH], [AUGMENT], [STOP]),
    "training/unsteady": _ranked([AVERAGE], [SLOWER]),
    "fit/gap": _ranked([VOTE], [AVERAGE]),
}
"""What helps against what, the most likely first. Within a rank, remedies equal each other.

Where weights of the best epoch are kept, a rise leaves little to gain by a setting (docs/diagnosis/how-good.md). A
vote of five networks helped in 33 of 46 runs and harmed in none; light augmentation, where there was none, about as
often, but it harmed linear classifiers; averaged weights helped in 20 of 54 and harmed in 5; dropout harmed more
often than it helped.
"""


REFERENCE = "fit/worse-than-reference"


def advise(findings: Sequence[Finding], m: Measures) -> tuple[Advice, ...]:
    """List changes, the most promising first; nothing is advised that is set already, and nothing twice.

    Args:
        findings: the gravest first.
        m: what they were found in.
    """
    return tuple(
        replace(first, instead=tuple(other.sentence for other in others)) for first, *others in choices(findings, m)
    )


def choices(findings: Sequence[Finding], m: Measures) -> tuple[tuple[Advice, ...], ...]:
    """List the same changes with those that equal them: each a group, of which one is to be taken.

    Args:
        findings: the gravest first.
        m: what they were found in.
    """
    given: list[tuple[Advice, ...]] = []
    taken: set[str] = set()
    explained = any(finding.code in REMEDIES and finding.code not in (REFERENCE, "fit/gap") for finding in findings)
    for finding in findings:
        if explained and finding.code == REFERENCE:  # what else was found says why, and what helps
            continue
        ranks: dict[int, list[tuple[Remedy, Any]]] = {}
        for remedy in REMEDIES.get(finding.code, ()):
            value = remedy.value(m) if _known(m, remedy.setting) else None
            if value is not None and remedy.setting not in taken:
                ranks.setdefault(remedy.rank, []).append((remedy, value))
        for equals in ranks.values():
            if equals[0][0].setting in taken:
                continue
            given.append(tuple(_advice(finding.code, *each, m) for each in equals if each[0].setting not in taken))
            taken |= {remedy.setting for remedy, _ in equals}
    return tuple(given)


def _advice(code: str, remedy: Remedy, value: Any, m: Measures) -> Advice:
    spent = (m.of.state.get("seconds") or {}).get("training")
    now = m.epochs if remedy.setting == "epochs" else _setting(m, remedy.setting)
    return Advice(
        finding=code,
        setting=remedy.setting,
        value=value,
        now=now,
        sentence=remedy.words.format(value=value, now=now),
        training=remedy.training,
        validation=remedy.validation,
        times=remedy.times,
        seconds=None if spent is None else float(spent) * remedy.times,
        command=command(m.of, remedy.setting, value),
    )


def command(evidence: Evidence, setting: str, value: Any) -> str:
    """Write the command that repeats a run with one setting changed; empty where it is not known how.

    The new run gets a name of its own if the old one had one, for a run folder is never used twice.
    """
    if evidence.origin != "sightline" or not evidence.source or not evidence.settings:
        return ""
    flag = f"--option {setting.partition('.')[2]}" if "." in setting else f"--{setting.replace('_', '-')}"
    if not setting:
        return f"sightline vote {shlex.quote(evidence.where)} --members {value}"
    words = f"{flag}={value:g}" if isinstance(value, float) else f"{flag}={value}"
    if "." not in setting:
        words = words.replace("=", " ", 1)
    name = evidence.settings.get("name")
    renamed = f" --name {name}-{setting.rpartition('.')[2].replace('_', '-')}" if name else ""
    run = shlex.quote(f"{evidence.where}/settings.toml")
    return f"sightline train {shlex.quote(evidence.source)} --config {run} {words}{renamed}"
