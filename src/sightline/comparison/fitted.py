"""Finished run folders -> their error on every image that they were trained on, for when that decides.

The history of a run has this error too, but of a fixed sample of some 2,000 training images: enough for a curve, too
coarse to tell networks apart that differ by a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sightline import files
from sightline.comparison.running import Job, Stock
from sightline.making.trained import Run
from sightline.progress import Progress
from sightline.run import RunFolder

KEPT = "train_error.json"


def train_errors(path: Path, jobs: Sequence[Job], stock: Stock, progress: Progress) -> dict[str, float]:
    """Score the weights after the last epoch of each finished run on all its training images, as they are.

    Args:
        path: the folder of the comparison; what was scored before is kept there.
        jobs: of the comparison, finished or not.
        stock: the images.
        progress: shows which run is scored.

    Returns:
        For the name of each finished run folder, the share of its training images that it calls wrongly, in [0, 1].
    """
    kept = path / KEPT
    found: dict[str, float] = dict(RunFolder(path).read_json(kept)) if kept.is_file() else {}
    todo = [job for job in jobs if job.status == "finished" and job.folder.path.name not in found]
    with progress.task("Scoring on all training images", total=len(todo)) as task:
        for job in todo:
            found[job.folder.path.name] = _train_error(job, stock)
            files.write_json(kept, found)
            task.advance()
    return found


def _train_error(job: Job, stock: Stock) -> float:
    run, data = Run.load(job.folder.path), stock.data(job.settings)
    logits = run.serve(run.network(job.folder.last)).logits(data.pixels.array, data.split.train)
    return float(np.mean(logits.argmax(axis=1) != data.labels[data.split.train]))
