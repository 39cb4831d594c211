"""Images, kernels, settings -> numbers that fit together, or why they do not; and what each tap of a window meets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import SettingsError
from sightline.models.plan import by, window_size

Floats = NDArray[np.float64]
Pair = tuple[int, int]


def grouped(channels: int, groups: int) -> int:
    """Give the channels of each group, or say why there are no such groups."""
    if groups < 1 or channels % groups:
        fits = [str(n) for n in range(1, channels + 1) if channels % n == 0]
        raise SettingsError(
            f"{channels} channel{'s' * (channels != 1)} cannot be split into {groups} groups.",
            f"Possible: {', '.join(fits)}; as many groups as channels make a depthwise convolution.",
        )
    return channels // groups


def checked(image: ArrayLike) -> Floats:
    """Give an image as float64 (C, H, W), or say why it is none."""
    pixels = numbers("image", image)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or not pixels.size:
        raise SettingsError(f"an image of shape {np.shape(image)} is none.", "Give (H, W) or (C, H, W) numbers.")
    return pixels


def numbers(name: str, given: ArrayLike) -> Floats:
    """Give numbers as float64, or say why they are none."""
    try:
        numbers = np.asarray(given, np.float64).copy()
    except (TypeError, ValueError):
        raise SettingsError(f"the {name} is not a table of numbers.", "Give rows of the same length.") from None
    if not np.isfinite(numbers).all():
        raise SettingsError(f"the {name} holds numbers that are not finite.", "Leave out NaN and infinity.")
    return numbers


def pair(name: str, given: int | Pair, low: int) -> Pair:
    """Give rows and columns of a setting, each at least ``low``."""
    both = (given, given) if isinstance(given, int | np.integer) else tuple(given)
    if len(both) != 2 or not all(isinstance(n, int | np.integer) and n >= low for n in both):
        raise SettingsError(
            f"{name} {given} is not possible.", f"Give a whole number from {low} on, or two: rows, columns."
        )
    return int(both[0]), int(both[1])


def fits(image: Floats, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """Give rows and columns of the output, or say why the window does not fit."""
    n = image.shape[1:]
    rows, columns = (window_size(n[a], size[a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    if min(rows, columns) < 1:
        spread = by(tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)))
        room = by(tuple(m + 2 * p for m, p in zip(n, padding, strict=True)))
        raise SettingsError(
            f"a window of {by(size)}{f', {spread} with its dilation,' if max(dilation) > 1 else ''} does not fit into "
            f"an image of {by(n)}{f', {room} with its padding' if any(padding) else ''}.",
            "Take a smaller window, less dilation or more padding.",
        )
    return rows, columns


def patches(
    image: Floats, size: Pair, stride: Pair, padding: Pair, dilation: Pair, fill: float
) -> Iterator[tuple[int, int, Floats]]:
    """Yield, for every tap of the window, its place (i, j) and what it meets: float64 (C, H', W')."""
    rows, columns = fits(image, size, stride, padding, dilation)
    padded = np.pad(image, ((0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=fill)
    for i in range(size[0]):
        for j in range(size[1]):
            down, along = i * dilation[0], j * dilation[1]
            ends = down + (rows - 1) * stride[0] + 1, along + (columns - 1) * stride[1] + 1
            yield i, j, padded[:, down : ends[0] : stride[0], along : ends[1] : stride[1]]
