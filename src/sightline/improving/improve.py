"""A run -> a better one: hypothesis, experiment, conclusion, until it fits well, nothing helps, or the time is up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sightline import files
from sightline.comparison import arms, match, running
from sightline.comparison.arms import Arm
from sightline.comparison.outcome import Outcome
from sightline.comparison.running import Job, Stock
from sightline.diagnosis.advice import Advice
from sightline.errors import RunError, SettingsError, SightlineError
from sightline.improving import trial
from sightline.improving.hypotheses import Belief, Tried, believe, factor
from sightline.improving.journal import BASE, Journal, Round, means
from sightline.improving.trial import DECIDES, PAIRS, Bench, Trial
from sightline.making.trained import Run, write_report
from sightline.progress import Progress, span
from sightline.reports import improved
from sightline.run import RunFolder
from sightline.settings import Settings
from sightline.training.history import History

ROUNDS = 5
"""Rounds, where neither these nor a time is given."""

SEEDS = ((60.0, 5), (180.0, 3), (float("inf"), 1))
"""Seconds of a training below which so many seeds are the default."""

SHOWN = ("test_accuracy", "valid_accuracy", "valid_loss", "train_error")
"""Measures whose means the journal tells, if both arms have them; the test part's only at the end."""


PHASES = ("train_s", "valid_s", "probe_s", "checkpoint_s")
"""What an epoch's time is made of."""


@dataclass(frozen=True)
class Improvement:
    """What came of trying to improve a run.

    Attributes:
        run: as it was; nothing of it changed but its journal and report.
        journal: every round, and how it ended.
        best: the first training of the best settings: ``run`` itself where nothing helped.
    """

    run: Run
    journal: Journal
    best: Run

    @property
    def improved(self) -> bool:
        """Whether any change was kept."""
        return bool(self.journal.kept)

    @property
    def path(self) -> Path:
        """``journal.md``, in the run's folder."""
        return self.run.folder.journal

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values: ``journal.json``, and where the best is."""
        return {**self.journal.as_dict(), "improved": self.improved, "best": str(self.best.path)}


def improve(
    run: Run | Path | str,
    *,
    minutes: float | None = None,
    rounds: int | None = None,
    seeds: int | None = None,
    jobs: int = 1,
    source: Any = None,
    progress: Progress | None = None,
) -> Improvement:
    """Try what the verdict advises, one change at a time, and keep what proves to help.

    A round takes the best advice that was not tried yet, trains the run's settings and the changed ones in pairs (same
    images, same split, same seeds), and keeps the change only if the validation loss is lower and the interval of the
    difference excludes zero. Then what is best is judged anew. The test part decides nothing; it is looked at once, at
    the end. The same call goes on where it was cut off.

    Args:
        run: a finished run, or its folder. It is not changed; new runs are made beside it, in ``improve/NAME``. Its
            journal and report are written.
        minutes: for all rounds together; None has no end.
        rounds: at most; None: 5, or any number where ``minutes`` are given.
        seeds: pairs of trainings in a round; None: 5 where one takes less than a minute, 3 below three minutes, else 1.
        jobs: trainings at a time, each in a process of its own if more than one.
        source: the data, where they were arrays in memory or have moved.
        progress: shows what happens; on stderr by default.

    Raises:
        RunError: the run is not finished, its data have changed, or another process improves it.
        SettingsError: a number is out of range, or the time too short for one round.
    """
    progress = progress or Progress()
    for name, value in (("minutes", minutes), ("rounds", rounds), ("seeds", seeds), ("jobs", jobs)):
        if value is not None and not value > 0:
            raise SettingsError(f"'{name}' is {value}.", "Use a number above 0.")
    run = run if isinstance(run, Run) else Run.load(run)
    state = run.folder.read_state()
    if state.get("status") not in ("finished", "failed"):
        raise RunError(f"run '{run.path}' is not finished.", f"Finish it first: sightline resume {run.path}")
    place = files.make_folder(run.path.parent / "improve" / run.path.name)
    locks = files.make_folder(place.parent / ".locks")
    with files.held(locks / f"{run.path.name}-journal", f"run '{run.path}' is being improved already."):
        sitting = Sitting.open(run, place, source, seeds, jobs, minutes, progress)
        limit = rounds if rounds is not None else None if minutes is not None else ROUNDS
        sitting.carry_out(limit)
        write_report(run.folder, run._data)
    return Improvement(run, sitting.journal, Run(sitting.best.folder))


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
            self._until = time.monotonic() + 60 * minutes - (spent(bench.runs) - journal.before)

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
        seconds = sum(float(value) for value in state.get("seconds", {}).values()) or _trained_s(run.folder)
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
            )
        elif seeds is not None and seeds != len(journal.seeds):
            raise RunError(
                f"'{run.folder.rounds}' was begun with {len(journal.seeds)} seeds, not {seeds}.",
                "Leave --seeds out to go on with it; delete the file to begin anew (what is trained is taken over).",
            )
        given = source if source is not None else run.folder.read_json(run.folder.data).get("source")
        if given is None:
            raise RunError(
                f"run '{run.path}' was trained on arrays in memory.", "Give them again: improve(run, source=...)."
            )
        split_seed = settings.seed if settings.split_seed is None else settings.split_seed
        base = Arm(BASE, settings)
        own = settings.model_copy(
            update={"split_seed": split_seed, "runs": run.path.parent, "name": run.path.name, "probes": False}
        )
        stock = Stock(given, settings, progress)
        whole = "time limit" not in str(state.get("stopped"))
        begun = Job(base, own) if whole else None
        other = match.differences(run.folder, own, own, stock.data(own))
        if other:
            raise RunError(
                f"run '{run.path}' cannot be trained again as it was: {'; '.join(other)}.",
                "Restore the images, or train again on what they are now.",
            )
        bench = Bench(stock, tuple(journal.seeds), split_seed, begun, jobs, progress, place)
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
            journal.before, journal.had, journal.end = spent(self.bench.runs), len(journal.concluded), {}
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
        before = spent(self.bench.runs)
        found = self.bench.make(len(journal.rounds), base, arm, seconds, None if left is None else left / 60)
        if found.stopped == "interrupted":
            self.progress.note("stopped early; the same command goes on.")
            return False
        if found.status == "unknown":  # the time was up before enough pairs were done
            journal.rounds.pop()
            self._end("time", belief)
            return False
        journal.rounds[-1] = _concluded(begun, found, spent(self.bench.runs) - before)
        journal.write(self.run.folder)
        self.progress.note(improved.after(journal.as_dict()))
        return True

    def _seconds(self, base: Arm, arm: Arm, times: float) -> dict[str, float]:
        """Guess the seconds of a training of each arm: as those of the base took that are finished."""
        took = [_took(job.folder) for job in self.bench.plan([base])[1] if job.status == "finished"]
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


def spent(runs: Path) -> float:
    """Add up the seconds of training that a folder of runs took so far, finished or not."""
    return sum(_took(RunFolder(path.parent)) for path in runs.glob("*/run.json"))


def _took(folder: RunFolder) -> float:
    seconds = folder.read_state().get("seconds") or {}
    return sum(float(value) for value in seconds.values()) or _trained_s(folder)


def _trained_s(folder: RunFolder) -> float:
    """Add up the seconds of the epochs of a run that has not ended."""
    if not folder.timing.is_file():
        return 0.0
    rows = History.read(folder.timing).rows
    return float(sum(value for row in rows for name, value in row.items() if name in PHASES))
