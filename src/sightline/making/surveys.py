"""A run -> the loss around its weights, on images it was trained on: measured once, kept in the run, gone on with."""

from __future__ import annotations

import numpy as np
import torch

from sightline import files
from sightline.errors import SettingsError
from sightline.making.trained import Run
from sightline.progress import Progress
from sightline.seeing.landscape import Landscape, landscape
from sightline.training import device as devices
from sightline.training.precision import Precision


def landscape_of(
    run: Run,
    *,
    points: int = 25,
    reach: float = 1.0,
    images: int = 256,
    seed: int = 0,
    part: str = "train",
    minutes: float | None = None,
    progress: Progress | None = None,
) -> Landscape:
    """Measure the loss around a run's weights; what is known is read from the run's folder ``seeing``.

    Args:
        run: finished or not; its best weights count.
        points: places along each direction, odd.
        reach: how far to go either way, in filter norms.
        images: how many, drawn by the seed; all where there are fewer.
        seed: of the directions and of the images.
        part: ``train``, as in the paper, or ``valid``; without augmentation.
        minutes: None takes what it takes; another call goes on.
        progress: shows how far it is.

    Raises:
        SettingsError: a setting is out of range.
        SourceError: the run's images are no longer there.
    """
    if part not in ("train", "valid") or images < 1:
        raise SettingsError(f"{images} images of part '{part}' are none.", "Take train or valid, and an image or more.")
    data = run.data(progress=progress)
    rows = data.split.train if part == "train" else data.split.valid
    chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:images])
    x = run.preprocessing.normalise(torch.from_numpy(np.ascontiguousarray(data.pixels.array[chosen])))
    place, _ = devices.choose("auto")
    files.make_folder(run.folder.seeing)
    return landscape(
        run.model,
        x,
        torch.from_numpy(data.labels[chosen]),
        name=run.path.resolve().name,
        reach=reach,
        points=points,
        seed=seed,
        device=place,
        precision=Precision.of(run.settings.precision, place),
        minutes=minutes,
        path=run.folder.seeing / f"landscape-{part}-{seed}.json",
        progress=progress,
    )
