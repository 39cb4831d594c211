"""A run and what was tried before -> what is believed of it now, and the change to try next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sightline.comparison import arms
from sightline.diagnosis.advice import Advice, choices
from sightline.diagnosis.evidence import of_run
from sightline.diagnosis.measures import Measures
from sightline.diagnosis.verdict import Verdict, judge
from sightline.run import RunFolder

OF_DATA = ("reference", "domain", "meaning", "class_shares", "promise")
"""Probes that look at the images alone: what they found for one training holds for all others on the same images."""

Tried = tuple[str, str, str]
"""Kind of the verdict, setting and value of a change: what it was hoped to mend, and how."""


@dataclass(frozen=True)
class Belief:
    """What is held to be wrong with a training.

    Attributes:
        verdict: about the training.
        changes: what may mend it, the most promising first, each with the words of those that equal it.
    """

    verdict: Verdict
    changes: tuple[Advice, ...]

    def next(self, tried: Collection[Tried]) -> Advice | None:
        """Give the best change that was not tried against such a verdict; None if none is left, or none is needed."""
        if self.verdict.kind == "well fitted":
            return None
        return next((change for change in self.changes if self.key(change) not in tried), None)

    def key(self, change: Advice) -> Tried:
        """Name an attempt, so that it is made once."""
        return self.verdict.kind, change.setting, arms.short(change.value)


def believe(folder: RunFolder, probes: Mapping[str, Any]) -> Belief:
    """Judge a finished training.

    Args:
        folder: the run.
        probes: of another training on the same images, for what they say about these.

    Raises:
        RunError: a file is missing or damaged.
    """
    evidence = of_run(folder)
    known = {name: probes[name] for name in OF_DATA if name in probes}
    evidence = replace(evidence, probes={**known, **evidence.probes})
    verdict = judge(evidence)
    changes = []
    for group in choices(verdict.findings, Measures(evidence)):
        for change in group:
            if not change.setting:  # a vote changes no setting; at the end all trainings of the best can vote
                continue
            others = tuple(other.sentence for other in group if other is not change)
            changes.append(replace(change, instead=others))
    return Belief(verdict, tuple(changes))


def factor(setting: str) -> str:
    """Name a setting of an advice as arms do: ``options.width`` is the factor ``option.width``."""
    return setting.replace("options.", arms.OPTION, 1)
