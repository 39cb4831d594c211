"""A network and many images -> how strongly each unit answers each of them, and which units never do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.progress import Progress
from sightline.seeing.layers import Layers, Place
from sightline.seeing.maps import brought
from sightline.seeing.taps import Taps

ALIKE = 0.9
"""Correlation of two units' answers from which on one of them tells enough of both."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What one layer says of N images.

    Attributes:
        place: the layer.
        means: float32 (N, units), each unit's mean over its map.
        low: float32 (units,), the least value at any position of any image.
        high: float32 (units,), the largest.
    """

    place: Place
    means: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @property
    def dead(self) -> NDArray[np.int64]:
        """Units that say the same number everywhere, ascending."""
        return np.flatnonzero(self.high - self.low <= 1e-6 * np.maximum(abs(self.high), abs(self.low)))

    @property
    def order(self) -> NDArray[np.int64]:
        """Units by how much their answer differs from image to image, the most first; dead ones last."""
        return np.argsort(-self.means.std(axis=0, dtype=np.float64), kind="stable")

    def different(self, count: int) -> list[int]:
        """Choose live units whose answers differ most, those that answer as one before does only when none is left.

        Two answer alike where their answers to the images correlate by ``ALIKE`` or more.
        """
        dead = set(self.dead.tolist())
        live = [int(unit) for unit in self.order if int(unit) not in dead]
        apart = self.means - self.means.mean(axis=0)
        apart = apart / np.maximum(np.linalg.norm(apart, axis=0), 1e-30)
        chosen: list[int] = []
        for unit in live:
            if len(chosen) < count and not (apart[:, chosen].T @ apart[:, unit] >= ALIKE).any():
                chosen.append(unit)
        return [*chosen, *(unit for unit in live if unit not in chosen)][:count]

    def strongest(self, unit: int, count: int) -> NDArray[np.int64]:
        """Give the images that a unit answers most strongly, the strongest first."""
        return np.argsort(-self.means[:, unit], kind="stable")[:count]


def answers(
    model: nn.Module,
    x: Tensor,
    names: Sequence[str],
    *,
    known: Layers,
    batch: int = 64,
    progress: Progress | None = None,
) -> list[Answers]:
    """Send images through a network and sum up what layers say of each. The model stays as it was.

    Args:
        model: any module.
        x: float (N, C, *positions), N of 1 or more.
        names: layers by dotted name.
        known: the model's layers.
        batch: images at a time; what is kept does not grow with their size.
        progress: shows long work.
    """
    places = [known[name] for name in names]
    means: list[list[NDArray[np.float32]]] = [[] for _ in places]
    low = [np.full(place.units, np.inf, np.float32) for place in places]
    high = [np.full(place.units, -np.inf, np.float32) for place in places]
    stop = all(place.calls == 1 for place in places)
    with (
        (progress or Progress(quiet=True)).task("looking at images", len(x)) as task,
        Taps(model, names, stop=stop) as taps,
    ):
        for start in range(0, len(x), batch):
            part = brought(model, x[start : start + batch])
            with torch.no_grad():
                taps.run(part)
            for i, place in enumerate(places):
                values = place.maps(taps[place.name]).float()
                values = values.reshape(*values.shape[:2], -1)
                means[i].append(values.mean(2).cpu().numpy())
                low[i] = np.minimum(low[i], values.amin((0, 2)).cpu().numpy())
                high[i] = np.maximum(high[i], values.amax((0, 2)).cpu().numpy())
            task.advance(len(part))
    return [Answers(p, np.concatenate(m), lo, hi) for p, m, lo, hi in zip(places, means, low, high, strict=True)]
