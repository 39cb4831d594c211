"""Numbers -> small pictures: grey stays grey, signed numbers on one scale with zero white, pixels never blurred.

Pictures are uint8 arrays, (H, W) grey or (H, W, 3) colour, one array element per pixel; a page enlarges them by whole
numbers. Signals become a strip, volumes their middle slice.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOR, AGAINST = (24, 84, 190), (190, 72, 4)
"""Colours at the ends of the scale: blue for the largest positive number, orange for the largest negative one."""


def extent(values: NDArray[Any]) -> float:
    """Give the largest magnitude among finite values: the end of the colour scale; 1.0 where all are zero."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0)) or 1.0


def diverging(values: NDArray[Any], most: float | None = None) -> NDArray[np.uint8]:
    """Colour signed numbers: 0 white, ``most`` blue, ``-most`` orange.

    Args:
        values: float (...), beyond ``most`` shown as ``most``; NaN is grey.
        most: the end of the scale; None takes the largest magnitude.

    Returns:
        uint8 (..., 3).
    """
    values = np.asarray(values, np.float64)
    share = np.clip(values / (most or extent(values)), -1, 1)
    ends = np.where((share >= 0)[..., None], np.array(FOR, np.float64), np.array(AGAINST, np.float64))
    # a root makes small values visible; both arms the same, so that equal magnitudes look equally strong
    strength = np.abs(share)[..., None] ** 0.8
    colour = 255 + (ends - 255) * strength
    colour = np.where(np.isfinite(values)[..., None], colour, 128.0)
    return np.asarray(np.round(colour), np.uint8)


def grey(values: NDArray[Any], low: float | None = None, high: float | None = None) -> NDArray[np.uint8]:
    """Shade numbers from black (``low``) to white (``high``); None takes the least and the largest.

    Returns:
        uint8 of the same shape.
    """
    values = np.nan_to_num(np.asarray(values, np.float64))
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    return np.asarray(np.round(np.clip((values - low) / ((high - low) or 1.0), 0, 1) * 255), np.uint8)


def flat(values: NDArray[Any]) -> NDArray[Any]:
    """Bring a map of any number of positions to two: a signal becomes one row, a volume its middle slice."""
    if values.ndim == 1:
        return values[None]
    return values if values.ndim == 2 else flat(values[len(values) // 2])


def natural(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Show an image, (C, H, W) in 0..1, as it is: one channel grey, three in colour, of others the mean.

    Signals (C, L) and volumes (C, D, H, W) are shown as ``flat`` does, stretched over their range.
    """
    channels = np.stack([flat(channel) for channel in np.asarray(image, np.float64)])
    if len(channels) == 3:
        return grey(np.moveaxis(channels, 0, -1), 0.0, 1.0)
    whole = (0.0, 1.0) if image.ndim == 3 else (None, None)
    return grey(channels.mean(axis=0), *whole)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Write (H, W) or (H, W, 3) pixels as PNG, one pixel each."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Write (H, W) or (H, W, 3) pixels of a photo as JPEG, colours as fine as shapes: a third of its PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def enlarge(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Repeat every pixel ``factor`` times along both sides."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def sheet(pictures: Sequence[NDArray[np.uint8]], columns: int, *, factor: int = 1, gap: int = 2) -> NDArray[np.uint8]:
    """Lay pictures of one size in rows, white between them.

    Args:
        pictures: (H, W) or (H, W, 3), at least one.
        columns: pictures in a row.
        factor: whole-number enlargement.
        gap: pixels between pictures, after the enlargement.

    Returns:
        uint8 (..., ..., 3).
    """
    drawn = [enlarge(each if each.ndim == 3 else np.stack([each] * 3, axis=-1), factor) for each in pictures]
    high, wide = drawn[0].shape[:2]
    columns = max(1, min(columns, len(drawn)))
    rows = -(-len(drawn) // columns)
    page = np.full((rows * (high + gap) - gap, columns * (wide + gap) - gap, 3), 255, np.uint8)
    for i, each in enumerate(drawn):
        y, x = i // columns * (high + gap), i % columns * (wide + gap)
        page[y : y + high, x : x + wide] = each
    return page
