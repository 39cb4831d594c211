"""The seeds finished so far -> the arms that are not worth another one."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.comparison import outcome
from sightline.comparison.arms import Design
from sightline.comparison.running import Job
from sightline.diagnosis import experiment
from sightline.diagnosis.experiment import MEASURES, Contrast

LEAST = 3
"""Seeds after which an arm can be hopeless: fewer say too little."""


def hopeless(job: Job, planned: Sequence[Job], design: Design, decides: str) -> str:
    """Say why a run is not worth making: its arm is worse, beyond doubt, than one that it is compared with.

    Judged by the seeds before this one, as soon as both arms have finished them, so that the same experiment drops the
    same arms however often it is interrupted. The intervals allow for all pairs and all looks (Bonferroni), so that in
    at most 5 of 100 experiments an arm is dropped that is not worse. The arm that all are seen beside always stays.

    Args:
        job: the run.
        planned: all runs.
        design: the arms.
        decides: the measure that decides.

    Returns:
        A phrase such as ``worse than base in 3 seeds``; empty if it is worth making.
    """
    if job.arm.label == design.reference:
        return ""
    seeds = list(dict.fromkeys(other.settings.seed for other in planned))
    runs = {(other.arm.label, other.settings.seed): other for other in planned}
    looks = len(seeds) - LEAST
    for count in range(LEAST, seeds.index(job.settings.seed) + 1):  # once hopeless, it stays so
        for pair in design.pairs:
            if job.arm.label not in pair:
                continue
            ours, theirs = ([runs[label, seed] for seed in seeds[:count]] for label in pair)
            if any(other.status != "finished" for other in (*ours, *theirs)):
                continue
            found = _contrast(ours, theirs, decides, len(design.pairs) * looks)
            if found.word == "real" and found.better != (pair[0] == job.arm.label):
                return f"worse than {pair[1 - pair.index(job.arm.label)]} in {count} seeds"
    return ""


def _contrast(ours: Sequence[Job], theirs: Sequence[Job], decides: str, comparisons: int) -> Contrast:
    a, b = ([outcome.read(job.folder, job.settings.seed).scores for job in side] for side in (ours, theirs))
    return experiment.contrast(
        [scores[decides] for scores in a], [scores[decides] for scores in b], MEASURES[decides], comparisons=comparisons
    )
