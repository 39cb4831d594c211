"""Pixels of any height and width -> the wanted height and width, by one of three policies and one filter.

Resizing uses Pillow's BILINEAR, a triangle filter whose width grows with the reduction: it does not alias, never
overshoots, and exists in every runtime a model may be exported to (``antialias=True`` in torch and ONNX). Which one of
the antialiased filters is taken hardly matters for accuracy (Chrabaszcz et al. 2017, "A downsampled variant of ImageNet
as an alternative to the CIFAR datasets"). An image smaller than the target is enlarged by the same filter: smooth, and
without new detail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline.data.preprocess import Resize

GAP = 2.0
"""Large images are first reduced by whole numbers, cheaply, as long as that leaves at least this times the target."""


def resize_pixels(array: NDArray[Any], size: tuple[int, int], resize: Resize = "pad") -> NDArray[Any]:
    """Bring one image in memory to a size, by the policy and filter that files go through.

    Args:
        array: H,W,C, uint8 or float32, any number of channels.
        size: wanted (height, width) in pixels.
        resize: what to do with another shape: ``pad`` keeps all of it and fills up with the mean colour of its
            border, ``crop`` cuts out as much of the middle as fits, ``squash`` stretches.

    Returns:
        The dtype of ``array``, (height, width, C).
    """
    if array.shape[:2] == size:
        return array
    if array.dtype == np.uint8 and array.shape[2] == 3:
        return fit([Image.fromarray(np.ascontiguousarray(array))], size, resize)
    planes = [Image.fromarray(np.ascontiguousarray(array[..., channel])) for channel in range(array.shape[2])]
    return fit(planes, size, resize)


def scaled(native: tuple[int, int], size: tuple[int, int], resize: Resize) -> tuple[float, float]:
    """Give the (height, width) that the whole image has once it is resized, before padding or after cropping."""
    if resize == "squash":
        return size
    ratios = size[0] / native[0], size[1] / native[1]
    scale = min(ratios) if resize == "pad" else max(ratios)
    return native[0] * scale, native[1] * scale


def fit(planes: list[Image.Image], size: tuple[int, int], resize: Resize) -> NDArray[Any]:
    """Resize one image, given whole or as one image per channel: (height, width, C)."""
    width, height = planes[0].size
    if (height, width) == size:
        return _stack(planes)
    target = scaled((height, width), size, resize)
    inner = min(size[0], max(1, round(target[0]))), min(size[1], max(1, round(target[1])))
    keep_h, keep_w = float(height), float(width)
    if resize == "crop":
        # At most all of it: a rounding above that would be a box that reaches outside.
        keep_h, keep_w = min(keep_h, height * size[0] / target[0]), min(keep_w, width * size[1] / target[1])
    box = ((width - keep_w) / 2, (height - keep_h) / 2, (width + keep_w) / 2, (height + keep_h) / 2)
    bilinear = Image.Resampling.BILINEAR
    small = _stack([plane.resize(inner[::-1], bilinear, box=box, reducing_gap=GAP) for plane in planes])
    if inner == size:
        return small
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]]).mean(axis=0)
    whole = np.empty((*size, small.shape[2]), small.dtype)
    whole[:] = np.rint(border) if small.dtype == np.uint8 else border
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    whole[top : top + inner[0], left : left + inner[1]] = small
    return whole


def _stack(planes: list[Image.Image]) -> NDArray[Any]:
    """Give images as one writable array, height, width, C."""
    arrays = [np.array(plane) for plane in planes]
    return np.dstack(arrays) if len(arrays) > 1 else arrays[0].reshape(*arrays[0].shape[:2], -1)
