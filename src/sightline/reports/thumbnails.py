"""Rows of the pixel store -> small pictures for a page: PNG of images, SVG of signals."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.reports.plots import signal

SIDE = 112
"""Pixels the shorter side has at least, by whole-number enlargement, so that small images stay sharp."""


def thumbnails(array: NDArray[Any], rows: Sequence[int], names: Sequence[str]) -> dict[str, bytes]:
    """Draw images, signals, or the middle slices of volumes.

    Args:
        array: the pixel store: images N,H,W,C, signals N,C,L, volumes N,C,D,H,W; floats are stretched from their range.
        rows: which rows.
        names: what to call each.

    Returns:
        PNG or SVG bytes by name.
    """
    draw = {4: png, 3: _signal, 5: _slice}[array.ndim]
    return {name: draw(array[row]) for row, name in zip(rows, names, strict=True)}


def _signal(values: NDArray[Any]) -> bytes:
    return str(signal(values)).encode()


def _slice(volume: NDArray[Any]) -> bytes:
    return png(np.moveaxis(volume[:, volume.shape[1] // 2], 0, -1))


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
