"""A base and one change -> both trained in pairs on the same seeds, and whether the change is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sightline.comparison import dropping, outcome, running, workers
from sightline.comparison.arms import Arm, Design
from sightline.comparison.budget import Budget
from sightline.comparison.outcome import Outcome
from sightline.comparison.running import Job, Stock
from sightline.diagnosis import experiment
from sightline.diagnosis.experiment import MEASURES, Contrast
from sightline.progress import Muted, Progress

Status = Literal["kept", "not kept", "hopeless", "failed", "unknown"]

DECIDES = "valid_loss"
"""The measure that decides: of the best epoch, on validation images. The test part decides nothing."""

PAIRS = 3
"""Pairs of trainings that are enough to conclude from, where more were planned and the time is up."""


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of one change.

    Attributes:
        status: ``kept``; ``not kept`` (no better beyond luck); ``hopeless`` (given up early: worse); ``failed`` (its
            trainings broke off); ``unknown`` (too few pairs).
        said: the conclusion in a few words.
        ours: of the change, one outcome per seed.
        theirs: of the base, likewise.
        contrast: of the measure that decides, over the pairs that are finished; None without any.
        stopped: why not all was trained; empty if it was.
    """

    status: Status
    said: str
    ours: list[Outcome]
    theirs: list[Outcome]
    contrast: Contrast | None
    stopped: str = ""


@dataclass(frozen=True)
class Bench:
    """Where trials are made: the images, the seeds, the user's run as the first training of its own arm.

    Attributes:
        stock: the images.
        seeds: of the trainings, the run's own first.
        split_seed: draws the split that all share.
        begun: the arm of the run as it was, and the job that is the run itself; None if that one is trained anew.
        jobs: trainings at a time.
        progress: shows them.
        runs: the folder of their run folders.
    """

    stock: Stock
    seeds: tuple[int, ...]
    split_seed: int
    begun: Job | None
    jobs: int
    progress: Progress
    runs: Path

    def plan(self, arms: Sequence[Arm]) -> tuple[Design, list[Job]]:
        """List the trainings of some arms, the first being the base, seed by seed."""
        base, *others = arms
        pairs = tuple((other.label, base.label) for other in others)
        design = Design("one at a time", tuple(arms), {}, base.label, pairs)
        planned = running.jobs(design, self.seeds, self.runs, self.split_seed, None)
        own = self.begun
        if own is not None:
            same = (own.arm.label, own.settings.seed)
            planned = [own if (job.arm.label, job.settings.seed) == same else job for job in planned]
        return design, planned

    def outcomes(self, arm: Arm) -> list[Outcome]:
        """Read what an arm's trainings came to, one per seed."""
        _, planned = self.plan([arm])
        return [outcome.read(job.folder, job.settings.seed) for job in planned]

    def first(self, arm: Arm) -> Job:
        """Give the training of an arm with the run's own seed."""
        return self.plan([arm])[1][0]

    def left(self, arms: Sequence[Arm], seconds: Mapping[str, float], pairs: int) -> float:
        """Guess the seconds that the missing trainings of the first ``pairs`` seeds will take."""
        _, planned = self.plan(arms)
        missing = [job for job in planned if job.status in ("missing", "begun")]
        wanted = self.seeds[:pairs]
        return sum(seconds[job.arm.label] for job in missing if job.settings.seed in wanted) / self.jobs

    def make(self, number: int, base: Arm, change: Arm, seconds: Mapping[str, float], minutes: float | None) -> Trial:
        """Train both with every seed, as far as it is worth it and the time allows, and conclude.

        Args:
            number: of the round.
            base: as it is.
            change: the base with one setting changed.
            seconds: of one training of each label.
            minutes: that are left; None has no end.

        Raises:
            SightlineError: the change cannot be trained at all, or a run cannot be written.
        """
        design, planned = self.plan([base, change])
        resolved = running.check(planned, self.stock)
        budget = None if minutes is None else Budget(minutes, None, seconds)
        given_up: list[str] = []

        def dropped(job: Job) -> str:
            # When a change is given up, the base needs no more seeds either: they would have no partner.
            if not given_up:
                given_up.append(hopeless(change.label, job.settings.seed, planned, design))
                if not given_up[0]:
                    given_up.clear()
            return given_up[0] if given_up else ""

        stopped = workers.carry_out(
            planned,
            resolved,
            self.stock,
            Muted(self.progress),  # the headline of a run is about the test part, at which nobody looks before the end
            jobs=self.jobs,
            budget=budget,
            dropped=dropped,
            name=f"Round {number}",
        )
        return conclude(self.outcomes(change), self.outcomes(base), "".join(given_up), stopped)


def hopeless(label: str, seed: int, planned: Sequence[Job], design: Design) -> str:
    """Say why a change is not worth another seed: it is worse, or breaks off; empty if it may still win.

    After two seeds: in both it is worse beyond what the choice of images explains, or both broke off. After more: as
    ``dropping.hopeless`` says. Being wrong here costs a chance to improve and claims nothing.

    Args:
        label: of the change.
        seed: that it would be trained with next.
        planned: all trainings.
        design: the base and the change.
    """
    runs = {(job.arm.label, job.settings.seed): job for job in planned}
    seeds = list(dict.fromkeys(job.settings.seed for job in planned))
    before = seeds[: seeds.index(seed)]
    ours, theirs = ([runs[arm, number] for number in before] for arm in (label, design.reference))
    if len(before) >= 2 and all(run.status == "failed" for run in ours):
        return f"its training broke off with {len(before)} seeds"
    first = [*ours[:2], *theirs[:2]]
    if len(before) >= 2 and all(run.status == "finished" for run in first):
        scores = [outcome.read(run.folder, run.settings.seed).scores[DECIDES] for run in first]
        each = [experiment.contrast([a], [b], MEASURES[DECIDES]) for a, b in zip(scores[:2], scores[2:], strict=True)]
        if all(one.low is not None and one.low > 0 for one in each):
            return "worse with both of the first seeds"
    return dropping.hopeless(runs[label, seed], planned, design, DECIDES)


def conclude(ours: list[Outcome], theirs: list[Outcome], given_up: str, stopped: str) -> Trial:
    """Say whether a change is kept: only if it is better and the interval of the difference excludes zero.

    Args:
        ours: outcomes of the change, one per seed.
        theirs: of the base, likewise.
        given_up: why the change got no more seeds; empty if it got all.
        stopped: why not all was trained; empty if it was.
    """
    found = difference(ours, theirs, DECIDES)

    def told(status: Status, said: str) -> Trial:
        return Trial(status, said, ours, theirs, found, stopped)

    finished, base = ([one.status == "finished" for one in side] for side in (ours, theirs))
    if not any(base) and any(one.status == "failed" for one in theirs) and all(finished):
        return told("kept", "it helped: the base broke off with every seed, this did not")
    if given_up:
        return told("hopeless", f"given up early: {given_up}")
    if not any(finished) and any(one.status == "failed" for one in ours):
        return told("failed", "its training broke off")
    if found is None or found.seeds < min(PAIRS, len(ours)):
        return told("unknown", "too few pairs of trainings to tell")
    return told(*judged(found))


def judged(found: Contrast) -> tuple[Status, str]:
    """Put a difference in the deciding measure into a decision and a few words."""
    assert found.low is not None
    assert found.high is not None
    apart = found.low > 0 or found.high < 0
    if found.seeds == 1 and apart and found.better and abs(found.value) > found.margin:
        return "kept", "it helped, by one seed each: this may be luck, as another seed may differ"
    if found.seeds == 1:
        return "not kept", "one seed each, and no clear gain" if not (apart and not found.better) else "it hurt"
    if found.word == "real":
        return ("kept", "it helped") if found.better else ("not kept", "it hurt")
    return "not kept", "no difference that matters" if found.word == "too small to matter" else "it may be luck"


def difference(ours: Sequence[Outcome], theirs: Sequence[Outcome], name: str) -> Contrast | None:
    """Compare two arms in a measure over the seeds of which both have a score; None without any."""
    pairs = [
        (a.scores[name], b.scores[name])
        for a, b in zip(ours, theirs, strict=True)
        if name in a.scores and name in b.scores
    ]
    if not pairs:
        return None
    return experiment.contrast([a for a, _ in pairs], [b for _, b in pairs], MEASURES[name])
