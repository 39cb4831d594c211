"""Rows of the pixel store -> small PNG pictures for a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 112
"""Pixels the shorter side has at least, by whole-number enlargement, so that small images stay sharp."""


def thumbnails(array: NDArray[Any], rows: Sequence[int], names: Sequence[str]) -> dict[str, bytes]:
    """Draw images as PNG.

    Args:
        array: the pixel store of images, N,H,W,C, uint8, or float (stretched from its own range).
        rows: which rows.
        names: what to call each.

    Returns:
        PNG bytes by name.
    """
    return {name: png(array[row]) for row, name in zip(rows, names, strict=True)}


def png(image: NDArray[Any]) -> bytes:
    """Draw one image, H,W,C with 1, 3 or any number of channels (the first is then shown)."""
    from PIL import Image

    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) / (high - low or 1.0) * 255).round().astype(np.uint8)
    picture = Image.fromarray(image if image.shape[-1] == 3 else image[..., 0])
    factor = max(1, -(-SIDE // min(picture.size)))
    if factor > 1 and min(picture.size) < SIDE:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    elif max(picture.size) > 2 * SIDE:
        picture.thumbnail((2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
