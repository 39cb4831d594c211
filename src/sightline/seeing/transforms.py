"""A batch of images -> the same seen a little differently: moved, turned, scaled, in proportion to its size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

JITTER = 0.08
"""Largest shift, as a share of each side; one position at least."""

TURN = 5.0
"""Largest rotation, degrees."""

SCALE = 0.05
"""Largest change of size, as a share."""

SMALL = 16
"""Images with a shorter side than this are only shifted: turning them would mix all they have."""


def transform(x: Tensor, generator: torch.Generator) -> Tensor:
    """Move a whole batch at random, as one: what is to be seen must not hang on single pixels.

    Never mirrored: a mirrored digit or sign is another one. What comes in from outside mirrors what is inside.

    Args:
        x: (B, C, *positions): images are moved, turned and scaled; signals, volumes and images below ``SMALL`` are
            shifted by whole positions.
        generator: of the processor; the draws depend on nothing else.
    """
    if x.ndim == 4 and min(x.shape[2:]) >= SMALL:
        x = _turned(x, generator)
    for axis in range(2, x.ndim):
        reach = max(1, round(JITTER * x.shape[axis]))
        shift = int(torch.randint(-reach, reach + 1, (), generator=generator))
        x = shifted(x, shift, axis)
    return x


def shifted(x: Tensor, by: int, axis: int) -> Tensor:
    """Shift by whole positions along an axis; what comes in mirrors what is inside."""
    size = x.shape[axis]
    if not by or size < 2:
        return x
    period = 2 * size - 2
    index = (torch.arange(size, device=x.device) - by) % period
    return x.index_select(axis, torch.where(index < size, index, period - index))


def _turned(x: Tensor, generator: torch.Generator) -> Tensor:
    """Turn and scale about the middle."""
    draw = 2 * torch.rand(2, generator=generator) - 1
    angle, scale = torch.deg2rad(draw[0] * TURN), 1 + draw[1] * SCALE
    high, wide = x.shape[2:]
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack(
        [torch.stack([cos, -sin * high / wide, cos * 0]), torch.stack([sin * wide / high, cos, cos * 0])]
    )
    grid = F.affine_grid(matrix.expand(len(x), 2, 3).to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
