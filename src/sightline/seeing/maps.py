"""A network and images -> what its layers make of them: feature maps by unit, and the units that never answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.models.network import Network
from sightline.seeing.layers import Layers, Place, layers
from sightline.seeing.taps import Taps


@dataclass(frozen=True, eq=False)
class Maps:
    """What one layer gave for N images.

    Attributes:
        place: the layer.
        values: float32 (N, units, *positions).
    """

    place: Place
    values: NDArray[np.float32]

    @property
    def dead(self) -> NDArray[np.int64]:
        """Units that gave the same number at every position of every image, ascending."""
        by_unit = np.moveaxis(self.values, 1, 0).reshape(self.values.shape[1], -1)
        spread, size = np.ptp(by_unit, axis=1), np.abs(by_unit).max(axis=1, initial=0.0)
        return np.flatnonzero(spread <= 1e-6 * size)

    @property
    def strength(self) -> NDArray[np.float64]:
        """How much each unit varies over images and positions, as a standard deviation: float64 (units,)."""
        spread: NDArray[np.float64] = (
            np.moveaxis(self.values, 1, 0).reshape(self.values.shape[1], -1).astype(np.float64).std(axis=1)
        )
        return spread

    @property
    def signed(self) -> bool:
        """Whether any value is below zero; behind a ReLU none is."""
        return bool((self.values < 0).any())


def stages(model: nn.Module, known: Layers | None = None, shape: tuple[int, ...] | None = None) -> dict[str, Place]:
    """Give the layer that ends each stage, by the stage's name; the logits are not among them.

    A network of the zoo knows its stages. Of any other module, they are its children that run, or, where one child
    holds all the others, the children of that.

    Raises:
        ModelError: the model cannot be looked into, or its input's shape is neither known nor given.
    """
    known = known or layers(model, shape)
    if isinstance(model, Network):
        return {stage: known[name] for stage, name in model.plan.stages if stage != "head" and name in known}
    names = [name for name, _ in model.named_children()]
    prefix = ""
    while len(names) == 1:
        prefix += f"{names[0]}."
        names = [f"{prefix}{name}" for name, _ in model.get_submodule(prefix[:-1]).named_children()]
    heard = [name for name in names if name in known]
    return {name: known[name] for name in heard[:-1] or heard}


def maps(
    model: nn.Module, x: Tensor, names: Sequence[str] | None = None, *, known: Layers | None = None, batch: int = 64
) -> list[Maps]:
    """Send images through a network and keep what its layers give. The model stays as it was.

    Args:
        model: any module.
        x: float (N, C, *positions), inputs as the network gets them.
        names: layers by dotted name; None takes the end of every stage.
        known: the model's layers, if they were listed before.
        batch: images at a time.

    Raises:
        ModelError: there is no such layer, or the images do not pass through.
    """
    known = known or layers(model, x)
    places = [known[name] for name in names] if names is not None else list(stages(model, known).values())
    parts: list[list[NDArray[np.float32]]] = [[] for _ in places]
    with Taps(model, [place.name for place in places]) as taps, torch.no_grad():
        for start in range(0, len(x), batch):
            taps.run(brought(model, x[start : start + batch]))
            for part, place in zip(parts, places, strict=True):
                part.append(place.maps(taps[place.name]).float().cpu().numpy())
    return [Maps(place, np.concatenate(part)) for place, part in zip(places, parts, strict=True)]


def brought(model: nn.Module, x: Tensor) -> Tensor:
    """Bring inputs to where the model computes."""
    device = next((p.device for p in model.parameters()), x.device)
    return x.detach().to(device)
