"""A run -> a better one: hypothesis, experiment, conclusion, until it fits well, nothing helps, or the time is up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline import files
from sightline.errors import RunError, SettingsError
from sightline.improving.journal import Journal
from sightline.improving.sitting import Sitting
from sightline.making.trained import Run, write_report
from sightline.progress import Progress

ROUNDS = 5
"""Rounds, where neither these nor a time is given."""


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
