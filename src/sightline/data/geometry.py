"""A batch and how far each sample moves -> the moved batch: exact index gathers, one fused warp, boxes.

Nothing here is random; ``augment.py`` draws the amounts. B samples, C channels, d spatial axes: signals (L,),
images (H, W), volumes (D, H, W). Positions are pixels; x runs along the last axis, y along the one before.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Border = Literal["reflect", "edge", "constant"]
"""What lies outside: the image mirrored at its edge (edge pixel repeated), its edge pixels, or one value."""


def move(x: Tensor, shift: NDArray[np.int64], mirror: NDArray[np.bool_], border: Border, fill: float) -> Tensor:
    """Shift by whole pixels and mirror left to right, in one exact gather.

    Args:
        x: (B, C, *size), any dtype; images in channels_last memory are gathered without a copy first.
        shift: int64 (B, d): where the content goes, towards higher indices.
        mirror: bool (B,): whether to mirror along the last axis, before the shift.
        border: what comes in from outside.
        fill: the value from outside if ``border`` is constant, in units of x.

    Returns:
        (B, C, *size) of the same dtype; images in channels_last memory.
    """
    size = x.shape[2:]
    pixels = x.movedim(1, -1).contiguous()
    dtype = torch.int32 if x.numel() < 2**31 else torch.int64  # half the traffic: the index is larger than the pixels
    moved = torch.from_numpy(shift).to(x.device, dtype)
    mirrored = torch.from_numpy(mirror).to(x.device)[:, None]
    index = torch.arange(len(x), device=x.device, dtype=dtype)
    inside = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for axis, side in enumerate(size):
        at = torch.arange(side, device=x.device, dtype=dtype) - moved[:, axis, None]
        if axis == len(size) - 1:
            at = torch.where(mirrored, side - 1 - at, at)
        along = (-1,) + (1,) * axis + (side,)
        if border == "constant":
            within = (at >= 0) & (at < side)
            inside = inside[..., None] & _spread(within, axis, len(size), x.shape[1])
        index = index[..., None] * side + brought_inside(at, side, border).view(along)
    out = pixels.view(-1, x.shape[1]).index_select(0, index.view(-1)).view(pixels.shape)
    if border == "constant":
        out.masked_fill_(~inside.view(out.shape), fill)
    out = out.movedim(-1, 1)
    return out if len(size) == 2 else out.contiguous()


def brought_inside(at: Tensor, side: int, border: Border) -> Tensor:
    """Bring positions along an axis of ``side`` pixels inside, as the border says; constant ones to the nearest."""
    if border == "reflect":
        at = at.remainder(2 * side)
        return torch.minimum(at, 2 * side - 1 - at)
    return at.clamp(0, side - 1)


def warp(x: Tensor, matrix: NDArray[np.float64], offset: NDArray[np.float64], border: Border, fill: float) -> Tensor:
    """Resample once, bilinearly: output position p shows input position ``matrix @ p + offset``.

    Args:
        x: images (B, C, H, W) or signals (B, C, L), any dtype.
        matrix: float64 (B, 2, 2), acting on (x, y) in pixels from the centre.
        offset: float64 (B, 2), in pixels.
        border: what comes in from outside.
        fill: the value from outside if ``border`` is constant, in units of x.

    Returns:
        float32, shaped like x, in units of x; images in channels_last memory.
    """
    if x.ndim == 3:
        return warp(x[:, :, None], matrix, offset, border, fill)[:, :, 0].contiguous()
    height, width = x.shape[2:]
    half = np.array([width / 2, height / 2])
    theta = np.concatenate([matrix * half / half[:, None], (offset / half)[:, :, None]], axis=2)
    grid = F.affine_grid(torch.from_numpy(theta.astype(np.float32)).to(x.device), list(x.shape), align_corners=False)
    outside = {"reflect": "reflection", "edge": "border", "constant": "zeros"}[border]
    level = fill if border == "constant" else 0.0
    # Channel by channel, whatever the layout was: rows are read faster so, for the same numbers.
    x = torch.empty(x.shape, dtype=torch.float32, device=x.device).copy_(x)
    if level:
        x = x - level
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode=outside, align_corners=False)
    return (x.add_(level) if level else x).contiguous(memory_format=torch.channels_last)


def affine(
    angle: NDArray[np.float64], zoom: NDArray[np.float64], shear: NDArray[np.float64], mirror: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Fuse mirroring, shear, rotation and zoom into the matrices that ``warp`` takes, float64 (B, 2, 2).

    Args:
        angle: (B,), radians; the content turns clockwise as seen (y points down).
        zoom: (B,), factor by which the content grows, above 0.
        shear: (B,), tangent of the angle by which verticals lean.
        mirror: bool (B,).
    """
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    sign = np.where(mirror, -1.0, 1.0)
    rotation = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1)
    ones, zeros = np.ones_like(shear), np.zeros_like(shear)
    leaning = np.stack([np.stack([sign, shear], 1), np.stack([zeros, ones], 1)], 1)
    fused: NDArray[np.float64] = rotation @ leaning
    return fused


def box(
    share: NDArray[np.float64], aspect: NDArray[np.float64], place: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[Tensor, NDArray[np.float64]]:
    """Lay a box that covers a share of each sample, wholly inside.

    Args:
        share: (B,), 0..1 of the area (length, volume).
        aspect: (B,), height over width relative to the image's; images only.
        place: (B, d), 0..1: from the first to the last place where it fits.
        shape: of one sample, (C, *size).

    Returns:
        mask, bool (B, C, *size) on the CPU, for images in channels_last memory; and the share it covers after
        rounding to pixels, float64 (B,).
    """
    channels, *size = shape
    ratios = [np.sqrt(aspect), 1 / np.sqrt(aspect)] if len(size) == 2 else [np.ones_like(share)] * len(size)
    mask = torch.ones(len(share), dtype=torch.bool)
    covered = np.ones_like(share)
    for axis, (side, ratio) in enumerate(zip(size, ratios, strict=True)):
        length = np.minimum(np.rint(side * share ** (1 / len(size)) * ratio), side)
        low = np.floor(place[:, axis] * (side - length + 1))
        at = np.arange(side)
        within = torch.from_numpy((at >= low[:, None]) & (at < (low + length)[:, None]))
        mask = mask[..., None] & _spread(within, axis, len(size), channels)
        covered *= length / side
    mask = mask.view(-1, *size, channels).movedim(-1, 1)
    return mask if len(size) == 2 else mask.contiguous(), covered


def _spread(within: Tensor, axis: int, axes: int, channels: int) -> Tensor:
    """Shape one axis of a mask, bool (B, side), so that masks multiply up to (B, S1, .., Sd * C).

    The channels enter with the last axis, while the mask is small: broadcasting over 3 innermost values is slow.
    """
    if axis == axes - 1:
        within = within.repeat_interleave(channels, dim=1)
    return within.view((-1,) + (1,) * axis + within.shape[1:])


def crop_shares(
    area: NDArray[np.float64], turn: NDArray[np.float64], axes: int, most: float = 4 / 3
) -> NDArray[np.float64]:
    """Split the area share of a crop into a share of each side, (B, axes) ordered (x, y); none above 1.

    Args:
        area: (B,), above 0, at most 1.
        turn: (B,), 0..1: from the widest to the tallest.
        axes: 1 for signals (the y share is then 1), 2 for images.
        most: the largest aspect, relative to the image's own.
    """
    if axes == 1:
        return np.stack([area, np.ones_like(area)], 1)
    limit = np.minimum(math.log(most), -np.log(area))
    ratio = np.exp((2 * turn - 1) * limit)
    return np.stack([np.sqrt(area / ratio), np.sqrt(area * ratio)], 1)
