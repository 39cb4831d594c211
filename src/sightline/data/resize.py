"""Pixels of any height and width -> the wanted height and width, by one of three policies and one filter.

Resizing uses a triangle filter whose width grows with the reduction: it does not alias, never overshoots, and exists in
every runtime a model may be exported to (``antialias=True`` in torch and ONNX; Pillow's BILINEAR is within one level of
it). Which one of the antialiased filters is taken hardly matters for accuracy (Chrabaszcz et al. 2017, "A downsampled
variant of ImageNet as an alternative to the CIFAR datasets"). An image smaller than the target is enlarged by the same
filter: smooth, and without new detail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.preprocess import Resize

GAP = 2.0
"""Large photos are decoded at a lower resolution, as long as that leaves at least this times the target."""


def resize_pixels(array: NDArray[Any], size: tuple[int, int], resize: Resize = "pad") -> NDArray[Any]:
    """Bring one image to a size, by one of the policies.

    Args:
        array: H,W,C, uint8 or float32, any number of channels.
        size: wanted (height, width) in pixels.
        resize: what to do with another shape: ``pad`` keeps all of it and fills up with the mean colour of its
            border, ``crop`` cuts out as much of the middle as fits, in whole pixels, ``squash`` stretches.

    Returns:
        The dtype of ``array``, (height, width, C).
    """
    height, width = array.shape[:2]
    if (height, width) == size:
        return array
    target = scaled((height, width), size, resize)
    if resize == "crop":
        keep = [
            min(side, max(1, round(side * wanted / whole)))
            for side, wanted, whole in zip((height, width), size, target, strict=True)
        ]
        top, left = (height - keep[0]) // 2, (width - keep[1]) // 2
        return _stretched(array[top : top + keep[0], left : left + keep[1]], size)
    inner = min(size[0], max(1, round(target[0]))), min(size[1], max(1, round(target[1])))
    small = _stretched(array, inner)
    if inner == size:
        return small
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]]).mean(axis=0)
    whole = np.empty((*size, small.shape[2]), small.dtype)
    whole[:] = np.rint(border) if small.dtype == np.uint8 else border
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    whole[top : top + inner[0], left : left + inner[1]] = small
    return whole


def scaled(native: tuple[int, int], size: tuple[int, int], resize: Resize) -> tuple[float, float]:
    """Give the (height, width) that the whole image has once it is resized, before padding or after cropping."""
    if resize == "squash":
        return size
    ratios = size[0] / native[0], size[1] / native[1]
    scale = min(ratios) if resize == "pad" else max(ratios)
    return native[0] * scale, native[1] * scale


def _stretched(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize H,W,C to (height, width, C): by torch, whose kernel for whole numbers takes a third of Pillow's time."""
    if array.shape[:2] == size:
        return array
    import torch
    from torch.nn import functional as F

    # In one piece, and as a batch of one that torch knows for channels last: neither it nor who takes the result then
    # turns it around, which takes as long as resizing. Views are numpy's, as torch's let go of the interpreter's lock.
    whole = np.ascontiguousarray(array)
    whole = whole if whole.flags.writeable else whole.copy()
    (height, width, channels), item = whole.shape, whole.itemsize
    strides = (whole.nbytes, item, width * channels * item, channels * item)
    batch = torch.from_numpy(np.lib.stride_tricks.as_strided(whole, (1, channels, height, width), strides))
    small: NDArray[Any] = F.interpolate(batch, size, mode="bilinear", antialias=True).numpy()[0].transpose(1, 2, 0)
    return small
