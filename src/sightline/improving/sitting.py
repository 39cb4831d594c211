"""One call of ``improve``: rounds, each written down, until there is a reason to end."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline.comparison import arms, running
from sightline.comparison.arms import Arm
from sightline.comparison.outcome import Outcome
from sightline.comparison.running import Job
from sightline.diagnosis.advice import Advice
from sightline.errors import RunError, SettingsError, SightlineError
from sightline.improving import spending, trial
from sightline.improving.hypotheses import Belief, Tried, believe, factor
from sightline.improving.journal import BASE, Journal, Round, means
from sightline.improving.trial import DECIDES, PAIRS, Bench, Trial
from sightline.making.trained import Run
from sightline.progress import Progress, span
from sightline.reports import improved
from sightline.settings import Settings

SEEDS = ((60.0, 5), (180.0, 3), (float("inf"), 1))
"""Seconds of a training below which so many seeds are the default."""

SHOWN = ("test_accuracy", "valid_accuracy", "valid_loss", "train_error")
"""Measures whose means the journal tells, if both arms have them; the test part's only at the end."""


class Sitting:
    """One call of ``improve``: the journal, the bench, and the time there is.

    Args:
        run: that is to be improved.
        bench: where trials are made.
        journal: so far.
        settings: of the run as it was.
        minutes: for this sitting and those that were cut off before it; None has no end.
        progress: shows what happens.
    """

    def __init__(
        self, run: Run, bench: Bench, journal: Journal, settings: Settings, minutes: float | None, progress: Progress
    ) -> None:
        self.run = run
        self.bench = bench
        self.journal = journal
        self.settings = settings
        self.progress = progress
        self.minutes = minutes
        self._until = None
        if minutes is not None:
            self._until = time.monotonic() + 60 * minutes - (spending.spent(bench.runs) - journal.before)

    @classmethod
    def open(
        cls,
        run: Run,
        place: Path,
        source: Any,
        seeds: int | None,
        jobs: int,
        minutes: float | None,
        progress: Progress,
    ) -> Sitting:
        """Read the journal or begin one, and make everything ready; nothing is trained.

        Raises:
            RunError: the images are no longer those of the run, or the journal is about other seeds.
        """
        state = run.folder.read_state()
        settings = run.settings.model_copy(update={"minutes": None, "trackers": (), "name": None})
        seconds = spending.took(run.folder)
        journal = Journal.read(run.folder)
        if journal is None:
            count = seeds or next(number for limit, number in SEEDS if seconds < limit)
            told = run.folder.read_json(run.folder.data)
            journal = Journal(
                run=str(run.path),
                name=f"{settings.model} on {told['name']}",
                runs=str(place),
                seeds=list(range(settings.seed, settings.seed + count)),
                counts={part: sum(counts) for part, counts in told["counts"].items() if counts},
                seconds=seconds,
                before=spending.spent(place),  # a journal that was deleted leaves its runs
            )
        elif seeds is not None and seeds != len(journal.seeds):
            raise RunError(
                f"'{run.folder.rounds}' was begun with {len(journal.seeds)} seeds, not {seeds}.",
                "Leave --seeds out to go on with it; delete the file to begin anew (what is trained is taken over).",
            )
        stock, own = running.again(run, settings, source, progress, "improve(run, source=...)")
        own = own.model_copy(update={"probes": False})
        whole = "time limit" not in str(state.get("stopped"))
        begun = Job(Arm(BASE, settings), own) if whole else None
        assert own.split_seed is not None
        bench = Bench(stock, tuple(journal.seeds), own.split_seed, begun, jobs, progress, place)
        return cls(run, bench, journal, settings, minutes, progress)

    @property
    def best(self) -> Job:
        """The training of the best arm with the run's own seed; the run itself where nothing helped."""
        if self.journal.best == BASE:
            return Job(Arm(BASE, self.settings), self._own)
        return self.bench.first(self.arm(self.journal.kept))

    @property
    def _own(self) -> Settings:
        return self.settings.model_copy(update={"runs": self.run.path.parent, "name": self.run.path.name})

    def arm(self, changes: Sequence[Round]) -> Arm:
        """Give the arm of the run's settings with some changes, each made on those before it.

        Raises:
            SettingsError: a value that the setting cannot have.
        """
        levels = {factor(one.setting): one.value for one in changes}
        if not levels:
            return Arm(BASE, self.settings)
        label = ", ".join(f"{name.removeprefix(arms.OPTION)}={arms.short(value)}" for name, value in levels.items())
        return Arm(label, arms.changed(self.settings, levels), levels)

    def carry_out(self, limit: int | None) -> None:
        """Make rounds until there is a reason to end, which is written down."""
        journal = self.journal
        if journal.end.get("why") in ("well fitted", "nothing helps"):
            self.progress.note("this improvement has ended; there is nothing left to try.")
            return
        if journal.end:  # the time or the rounds of an earlier sitting were used up: this one has its own
            journal.before, journal.had, journal.end = spending.spent(self.bench.runs), len(journal.concluded), {}
            self._until = None if self.minutes is None else time.monotonic() + 60 * self.minutes
        probes = self.run.folder.probes
        known = self.run.folder.read_json(probes) if probes.is_file() else {}
        while True:
            belief = believe(self.best.folder, known)
            journal.rounds = journal.concluded
            why, change = self._why_end(belief, limit)
            if change is None:
                self._end(why, belief)
                return
            if not self._round(belief, change):
                return

    def _why_end(self, belief: Belief, limit: int | None) -> tuple[str, Advice | None]:
        """Give the next change to try, or why there is none."""
        tried: list[Tried] = [(one.kind, one.setting, arms.short(one.value)) for one in self.journal.rounds]
        change = belief.next(tried)
        if change is None:
            return ("well fitted" if belief.verdict.kind == "well fitted" else "nothing helps"), None
        if limit is not None and len(self.journal.rounds) - self.journal.had >= limit:
            return "rounds", None
        return "", change

    def _round(self, belief: Belief, change: Advice) -> bool:
        """Try one change and write down what came of it; say whether to go on."""
        journal, kept = self.journal, self.journal.kept
        begun = Round(
            base=journal.best,
            arm="",
            verdict=belief.verdict.sentence,
            kind=belief.verdict.kind,
            finding=change.finding,
            setting=change.setting,
            value=change.value,
            now=change.now,
            change=change.sentence,
            expected={"training": change.training, "validation": change.validation},
            instead=list(change.instead),
        )
        base = self.arm(kept)
        try:
            arm = self.arm([*kept, begun])
            begun = replace(begun, arm=arm.label)
            same = change.setting.startswith(("options.", "dropout", "augment"))
            if same and self.bench.stock.same(base.settings, arm.settings):
                raise SettingsError("it is so already.", "")
            running.check([self.bench.first(arm)], self.bench.stock)
        except SightlineError as error:
            journal.rounds.append(replace(begun, status="impossible", said=error.fault))
            journal.write(self.run.folder)
            return True
        seconds = self._seconds(base, arm, change.times)
        count = len(journal.seeds)
        least = self.bench.left([base, arm], seconds, min(PAIRS, count))
        left = self._left()
        if left is not None and least > left:
            if not journal.rounds:
                raise SettingsError(
                    f"{self.minutes:g} minutes are too short for one round: it takes about {span(least)}.",
                    f"Use --minutes {max(1, round(least / 60 + 0.5))} or more, or fewer --seeds.",
                )
            self._end("time", belief)
            return False
        journal.rounds.append(begun)
        journal.write(self.run.folder)
        whole = self.bench.left([base, arm], seconds, count)
        self.progress.note(improved.before(journal.as_dict(), whole))
        before = spending.spent(self.bench.runs)
        found = self.bench.make(len(journal.rounds), base, arm, seconds, None if left is None else left / 60)
        if found.stopped == "interrupted":
            self.progress.note("stopped early; the same command goes on.")
            return False
        if found.status == "unknown":  # the time was up before enough pairs were done
            journal.rounds.pop()
            self._end("time", belief)
            return False
        journal.rounds[-1] = _concluded(begun, found, spending.spent(self.bench.runs) - before)
        journal.write(self.run.folder)
        self.progress.note(improved.after(journal.as_dict()))
        return True

    def _seconds(self, base: Arm, arm: Arm, times: float) -> dict[str, float]:
        """Guess the seconds of a training of each arm: as those of the base took that are finished."""
        took = [spending.took(job.folder) for job in self.bench.plan([base])[1] if job.status == "finished"]
        each = statistics.median(took) if took else self.journal.seconds
        return {base.label: each, arm.label: each * times}

    def _left(self) -> float | None:
        return None if self._until is None else self._until - time.monotonic()

    def _end(self, why: str, belief: Belief) -> None:
        """Conclude: open the test part once, for the best and the first, and write down how it ended."""
        journal = self.journal
        best = self.best
        journal.rounds = journal.concluded
        journal.end = {
            "why": why,
            "verdict": belief.verdict.sentence,
            "decides": belief.verdict.decides,
            "label": journal.best,
            "best": str(best.folder.path),
            "runs": [str(best.folder.path)],
        }
        if journal.kept:
            first = self.bench.outcomes(Arm(BASE, self.settings))
            last = self.bench.outcomes(best.arm)
            for name in (DECIDES, "test_accuracy"):
                found = trial.difference(last, first, name)
                journal.end[name] = found.as_dict() if found else None
            journal.end["figures"] = _figures(last, first)
            journal.end["runs"] = [str(one.folder.path) for one in last if one.status == "finished"]
        journal.write(self.run.folder)


def _concluded(begun: Round, found: Trial, seconds: float) -> Round:
    figures = _figures(found.ours, found.theirs)
    for each in figures.values():
        each.pop("test_accuracy", None)  # nobody looks at it before the end
    return replace(
        begun,
        status=found.status,
        said=found.said,
        seeds=found.contrast.seeds if found.contrast else 0,
        difference=found.contrast.as_dict() if found.contrast else None,
        figures=figures,
        seconds=seconds,
    )


def _figures(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Average the measures of two arms over the seeds that both have finished."""
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.scores and b.scores]
    found = {}
    for name, side in (("base", [b for _, b in both]), ("arm", [a for a, _ in both])):
        known = {measure: [one.scores[measure].value for one in side if measure in one.scores] for measure in SHOWN}
        found[name] = means(known)
    return found
