"""A batch and a box in each of its images -> what is in the boxes, each stretched to the size of the images.

The boxes are whole pixels, so each image is a slice that is resized along its rows and its columns, instead of a grid
of positions that are looked up one by one: a random resized crop of 224 x 224 takes a fifteenth of the time so.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sightline.data.batchwise import in_parts
from sightline.data.geometry import Border, brought_inside


def crop(x: Tensor, boxes: NDArray[np.int64], mirror: NDArray[np.bool_], border: Border, fill: float) -> Tensor:
    """Cut a box out of each image, mirror it or not, and stretch it bilinearly; pixels around the box have no say.

    Args:
        x: (B, C, H, W), uint8 or float32.
        boxes: int64 (B, 4): top, left, height and width in pixels; a box may reach outside.
        mirror: bool (B,): whether what is in the box is mirrored left to right.
        border: what is outside, see ``geometry``.
        fill: the value outside if ``border`` is constant, in units of x.

    Returns:
        (B, C, H, W) of the same dtype, uint8 rounded to whole levels, in channels_last memory.
    """
    if x.device.type != "cpu":
        return crop_plainly(x, boxes, mirror, border, fill)
    x = x.contiguous(memory_format=torch.channels_last)
    out = torch.empty_like(x)
    size = (x.shape[2], x.shape[3])
    given, mirrored = boxes.tolist(), mirror.tolist()

    def cut(samples: range) -> None:
        for i in samples:
            top, left, height, width = given[i]
            inside = top >= 0 and left >= 0 and top + height <= size[0] and left + width <= size[1]
            shown = x[i : i + 1, :, top : top + height, left : left + width] if inside else around(i)
            shown = shown.flip(3) if mirrored[i] else shown
            out[i : i + 1] = F.interpolate(shown, size, mode="bilinear") if shown.shape[2:] != size else shown

    def around(i: int) -> Tensor:
        top, left, height, width = given[i]
        shown = x[i : i + 1]
        for axis, start, length in ((2, top, height), (3, left, width)):
            at = torch.arange(start, start + length)
            shown = shown.index_select(axis, brought_inside(at, x.shape[axis], border))
            if border == "constant":
                shown.index_fill_(axis, torch.nonzero((at < 0) | (at >= x.shape[axis]))[:, 0], fill)
        return shown

    in_parts(cut, len(x))
    return out


def crop_plainly(x: Tensor, boxes: NDArray[np.int64], mirror: NDArray[np.bool_], border: Border, fill: float) -> Tensor:
    """Do what ``crop`` does for the whole batch at once, as formulas say it: four neighbours of each position, mixed.

    For devices on which many small operations are slower than a large one. Arguments and result as for ``crop``;
    uint8 may differ by one level, for the processor's arithmetic there is in whole numbers.
    """
    pixels = x.permute(0, 2, 3, 1)
    sample = torch.arange(len(x), device=x.device)[:, None, None]
    box = torch.from_numpy(boxes).to(x.device)
    turned = torch.from_numpy(mirror).to(x.device)[:, None]
    rows, columns = _along(box[:, 0], box[:, 2], x.shape[2]), _along(box[:, 1], box[:, 3], x.shape[3], turned)

    def look(down: int, across: int) -> Tensor:
        y, z = rows[down], columns[across]
        found = pixels[
            sample, brought_inside(y, x.shape[2], border)[:, :, None], brought_inside(z, x.shape[3], border)[:, None]
        ]
        if border == "constant":
            outside = ((y < 0) | (y >= x.shape[2]))[:, :, None] | ((z < 0) | (z >= x.shape[3]))[:, None]
            found = found.masked_fill(outside[..., None], fill)
        return found.to(torch.float32)

    right = columns[2][:, None, :, None]
    upper, lower = (torch.lerp(look(down, 0), look(down, 1), right) for down in (0, 1))
    out = torch.lerp(upper, lower, rows[2][:, :, None, None])
    return (out if x.is_floating_point() else out.round_().to(x.dtype)).permute(0, 3, 1, 2)


def _along(start: Tensor, length: Tensor, side: int, turned: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Give the two pixels (B, side) that each position along an axis lies between, and the share of the second."""
    at = (torch.arange(side, device=start.device) + 0.5) * (length[:, None] / side) - 0.5
    at = at.clamp_(min=0)
    first = at.floor()
    share = at - first
    low, high = first.long(), torch.minimum(first.long() + 1, length[:, None] - 1)
    if turned is not None:
        low, high = (torch.where(turned, length[:, None] - 1 - part, part) for part in (low, high))
    return start[:, None] + low, start[:, None] + high, share.to(torch.float32)
