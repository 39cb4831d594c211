"""Findings and settings -> what to change, ranked: one setting each, its value, what to expect, what it costs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sightline.diagnosis.evidence import Evidence
from sightline.diagnosis.intervals import Figure
from sightline.diagnosis.measures import Measures
from sightline.diagnosis.remedies import REMEDIES, Effect, Remedy, setting
from sightline.finding import Finding
from sightline.models import zoo


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
    explained = any(
        finding.code in REMEDIES and finding.code not in (REFERENCE, "fit/gap", "fit/uncertain-rise")
        for finding in findings
    )
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


def _known(m: Measures, setting: str) -> bool:
    """Say whether the network has the option that a setting names; one that is not of the zoo may have it."""
    entry = zoo.ZOO.get(str(m.of.settings.get("model")))
    return not setting.startswith("options.") or entry is None or setting.partition(".")[2] in entry.options


def _advice(code: str, remedy: Remedy, value: Any, m: Measures) -> Advice:
    spent = (m.of.state.get("seconds") or {}).get("training")
    now = m.epochs if remedy.setting == "epochs" else setting(m, remedy.setting)
    return Advice(
        finding=code,
        setting=remedy.setting,
        value=value,
        now=now,
        sentence=remedy.words.format(value=value, now=now, promise=_share(m.promise)),
        training=remedy.training,
        validation=remedy.validation,
        times=remedy.times,
        seconds=None if spent is None else float(spent) * remedy.times,
        command=command(m.of, remedy.setting, value),
    )


def _share(figure: Figure | None) -> str:
    if figure is None or figure.low is None or figure.high is None:
        return "an unknown share"
    return f"{figure.value:.0%} ({figure.low:.0%} to {figure.high:.0%})"


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
