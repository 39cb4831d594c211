"""A run -> more trainings like it, on the same images and split, that differ from it by their seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightline.comparison import running, workers
from sightline.comparison.arms import Arm, Design
from sightline.comparison.running import Job
from sightline.errors import RunError, SettingsError
from sightline.making.trained import Run
from sightline.progress import Progress


def siblings(
    run: Run | Path | str,
    count: int,
    *,
    source: Any = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[Path]:
    """Train a run again with other seeds until there are ``count`` of it; what is trained already is taken over.

    Networks that differ by their first weights, their order of images and their augmentation alone make as good a vote
    as more elaborate ways to have different members (B. Lakshminarayanan, A. Pritzel, C. Blundell, Simple and Scalable
    Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS 2017, section 2.4).

    Args:
        run: a finished run, or its folder. It is not changed; the others are made beside it, as ``NAME-seed1`` and on.
        count: runs in all, this one included; at least 2.
        source: the data, where they were arrays in memory or have moved.
        jobs: trainings at a time, each in a process of its own if more than one.
        progress: shows what happens; on stderr by default.

    Returns:
        The run folders, that of ``run`` first.

    Raises:
        SettingsError: ``count`` or ``jobs`` is out of range.
        RunError: the run is not finished, its data have changed, a training was stopped or broke off.
    """
    progress = progress or Progress()
    if count < 2:
        raise SettingsError(f"'count' is {count}.", "A vote needs two networks at least.")
    if jobs < 1:
        raise SettingsError(f"'jobs' is {jobs}.", "Use 1 or more.")
    run = run if isinstance(run, Run) else Run.load(run)
    if run.folder.read_state().get("status") != "finished":
        raise RunError(f"run '{run.path}' is not finished.", f"Finish it first: sightline resume {run.path}")
    settings = run.settings.model_copy(update={"minutes": None, "trackers": ()})
    stock, own = running.again(run, settings, source, progress, "siblings(run, count, source=...)")
    arm = Arm(run.path.name, settings)
    design = Design("networks", (arm,), {}, arm.label, ())
    seeds = range(settings.seed + 1, settings.seed + count)
    planned = running.jobs(design, seeds, run.path.parent, own.split_seed, None)
    resolved = running.check(planned, stock)
    stopped = workers.carry_out(planned, resolved, stock, progress, jobs=jobs, budget=None, name="Members")
    return [run.path, *(_finished(job, stopped) for job in planned)]


def _finished(job: Job, stopped: str) -> Path:
    if job.status != "finished":
        why = stopped or str(job.folder.read_state().get("stopped"))
        raise RunError(f"{job.said}, is not trained: {why}.", "The same command goes on where it ended.")
    return job.folder.path
