"""A run -> the loss around its weights, and a map of its validation images; both are kept in the run's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sightline import files
from sightline.errors import SettingsError
from sightline.making.trained import Run
from sightline.progress import Progress
from sightline.reports import atlases
from sightline.seeing.atlas import Atlas, atlas
from sightline.seeing.dream import dream
from sightline.seeing.landscape import Landscape, landscape
from sightline.seeing.objectives import direction
from sightline.seeing.picture import natural
from sightline.seeing.subject import Subject
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
    x = data.inputs(chosen)
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


def atlas_of(
    run: Run,
    *,
    layer: str | None = None,
    method: str | None = None,
    images: int = 2000,
    side: int = 0,
    steps: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Atlas, Path]:
    """Lay a run's validation images out by what a layer makes of them, and write the page ``seeing/atlas.html``.

    Args:
        run: its best weights count.
        layer: by its dotted name; None takes the end of the last stage.
        method: ``pca`` or ``tsne``; None: t-SNE, unless there are very many images.
        images: at most so many, drawn by the seed.
        side: cells along the side of a grid of regions; 0 leaves them out.
        steps: above 0, an image is made for each region, in so many steps at most.
        seed: of the choice, of t-SNE and of these images.
        progress: shows how far it is.

    Raises:
        SettingsError: a setting is out of range.
        ModelError: there is no such layer.
        SourceError: the run's images are no longer there.
    """
    if images < 3 or steps < 0 or (steps and not side):
        raise SettingsError(
            f"an atlas of {images} images, {side} cells a side and {steps} steps is not possible.",
            "Take three images or more, and cells where images are to be made for them.",
        )
    data = run.data(progress=progress)
    rows = data.split.valid if len(data.split.valid) else data.split.test
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:images])
    x = data.inputs(rows)
    found = atlas(run.model.cpu(), x, data.labels[rows], layer=layer, method=method, seed=seed, progress=progress)
    regions = found.regions(side) if side else []
    dreams = []
    if steps and regions:
        seen = Subject(
            run.model, tuple(x.shape[1:]), x[:500], data.labels[rows[:500]], classes=run.classes,
            preprocessing=run.preprocessing,
        )  # fmt: skip
        vectors = [torch.from_numpy(region.vector) for region in regions]
        wanted = [direction(found.layer, vector, f"region {i}") for i, vector in enumerate(vectors)]
        made = dream(
            run.model,
            wanted,
            seen.shape,
            nature=seen.nature,
            steps=steps,
            seed=seed,
            progress=progress,
        )
        dreams = [natural(image) for image in seen.drawable(torch.stack([one.image for one in made]))]
    text = atlases.page(
        found,
        data.pixels.array,
        rows,
        run.classes,
        title=run.path.resolve().name,
        side=side,
        regions=regions,
        dreams=dreams,
    )
    return found, atlases.write(run.folder.seeing / "atlas.html", text)
