"""Coefficients of waves <-> images in a network's own range: what feature visualisation changes instead of pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from sightline.models.plan import Shape
from sightline.seeing.nature import Nature, frequencies, hartley

CONTRAST = 4.0
"""Deviation of an image whose coefficients are 1, before the squashing into the range."""

BEYOND = 0.05
"""How far the squashing reaches beyond the range on either side, as a share of it; what lies there is cut off.

Without it, black and white are never reached: clothes and digits are full of them, and images would fall short.
"""


class Canvas:
    """Images painted by waves: ascent on their coefficients reaches coarse and fine structure at their natural pace.

    Each coefficient counts as much as waves of its frequency do in natural images, channels are mixed as they go
    together there, and a sigmoid, cut off, keeps every value in the range of the data (Olah et al. 2017). The
    waves are a Hartley transform, two real matrix products for an image, so that no device needs an FFT.

    Args:
        shape: (C, *positions) of an image; any number of axes.
        nature: measured on the data.
        device: where to paint.
    """

    def __init__(self, shape: Shape, nature: Nature, device: torch.device | str = "cpu") -> None:
        self.shape = shape
        self.device = torch.device(device)
        self.fall = nature.fall
        positions = shape[1:]
        floor = 1 / max(positions)
        weight = frequencies(positions).clamp(min=floor) ** -nature.exponent
        self._weight = (CONTRAST * weight / weight.square().mean().sqrt()).to(device)
        self._waves = [hartley(size).to(device) for size in positions]
        self._colours = nature.colours.to(device)
        each = (1, -1, *[1] * len(positions))
        self.low, self.high = nature.low.to(device).view(each), nature.high.to(device).view(each)
        self._middle = _unsquash(nature.mean).to(device).view(each)

    def noise(self, count: int, *, seed: int, spread: float = 0.01) -> Tensor:
        """Draw coefficients to begin with: (count, C, *positions), normal with deviation ``spread``.

        The k-th depends on (seed, k) alone, not on ``count``.
        """
        drawn = [
            torch.randn(self.shape, generator=torch.Generator().manual_seed(seed * 1_000_003 + k)) for k in range(count)
        ]
        return (torch.stack(drawn) * spread).to(self.device)

    def paint(self, coefficients: Tensor) -> Tensor:
        """Turn coefficients (B, C, *positions) into inputs of the network, of the same shape."""
        x = self._transform(coefficients * self._weight)
        x = torch.tensordot(x, self._colours, dims=([1], [1])).movedim(-1, 1)
        return self.low + (self.high - self.low) * _squash(self._middle + x)

    def read(self, images: Tensor) -> Tensor:
        """Find the coefficients that paint images (B, C, *positions), clipped to the range."""
        x = _unsquash(((images.to(self.device) - self.low) / (self.high - self.low)).clamp(0, 1)) - self._middle
        x = torch.tensordot(x, torch.linalg.inv(self._colours), dims=([1], [1])).movedim(-1, 1)
        return self._transform(x) / self._weight

    def _transform(self, x: Tensor) -> Tensor:
        for axis, waves in enumerate(self._waves, start=2):
            x = torch.tensordot(x, waves, dims=([axis], [0])).movedim(-1, axis)
        return x


def _squash(x: Tensor) -> Tensor:
    return (torch.sigmoid(x) * (1 + 2 * BEYOND) - BEYOND).clamp(0, 1)


def _unsquash(share: Tensor) -> Tensor:
    return torch.logit((share + BEYOND) / (1 + 2 * BEYOND))
