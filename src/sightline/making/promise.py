"""A finished training's data and settings -> what augmentation promises it, where there was none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.augment import Augment
from sightline.data.stream import Stream
from sightline.diagnosis import copies, pixels
from sightline.diagnosis.remedies import AUGMENTS
from sightline.making.assembly import augmentation
from sightline.making.prepared import Prepared
from sightline.settings import Settings

Rows = NDArray[np.int64]


def promise(data: Prepared, settings: Settings) -> dict[str, Any] | None:
    """Ask a kernel regression what augmented copies of the training images would teach beyond these.

    It is asked of trainings without augmentation alone: how far its answer holds is known for these.

    Args:
        data: prepared; training and validation images are looked at.
        settings: of the training.

    Returns:
        what ``copies.promised`` gives, with the augmentations' names as ``now`` and ``then``; None where there was
        augmentation, or are too few images.
    """
    if settings.augment != "none":
        return None
    draw, then = np.random.default_rng(0).permutation, AUGMENTS["none"]
    train, valid = draw(data.split.train)[: copies.IMAGES], draw(data.split.valid)[: copies.ASKED]
    if min(len(train), len(valid)) < copies.FEW:
        return None
    more, _ = augmentation(data, settings.model_copy(update={"augment": then}))
    found = copies.promised(
        _shrunk(data, train, Augment()),
        _shrunk(data, train, more, copies.COPIES),
        _shrunk(data, valid, Augment()),
        len(data.images.classes),
    )
    return {"now": settings.augment, "then": then, **found}


def _shrunk(data: Prepared, rows: Rows, spec: Augment, times: int = 1) -> tuple[NDArray[np.float64], Rows]:
    """Give images as a network would get them, so many times, shrunk for a simple classifier, and their labels."""
    stream = Stream(
        data.pixels.array,
        data.labels,
        rows,
        data.preprocessing,
        batch_size=min(len(rows), 256),
        augment=spec,
        shuffle=False,
        num_classes=len(data.images.classes),
    )
    batches = [(pixels.shrunk(x), y.numpy()) for _ in range(times) for x, y in stream]
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])
