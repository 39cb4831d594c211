"""A network -> the weights of its layers as pictures and tables, all on one scale whose zero is white."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sightline.errors import ModelError, did_you_mean
from sightline.models.layers import TableConv
from sightline.seeing import picture


@dataclass(frozen=True, eq=False)
class Kernels:
    """The weights of one layer.

    Attributes:
        layer: dotted name of the module.
        kind: ``Conv2d``, ``Linear``, ...
        weights: float32 (units, inputs, *window); a dense layer that reads the input image has the image's shape
            behind the units, any other dense layer no window: (units, inputs).
        bias: float32 (units,), or None.
        first: whether it reads the input itself, so that its kernels are pictures of what it looks for.
    """

    layer: str
    kind: str
    weights: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    first: bool

    @cached_property
    def norms(self) -> NDArray[np.float64]:
        """The Euclidean norm of each unit's weights, float64 (units,)."""
        norms: NDArray[np.float64] = np.linalg.norm(
            self.weights.reshape(len(self.weights), -1).astype(np.float64), axis=1
        )
        return norms

    @property
    def order(self) -> NDArray[np.int64]:
        """Units by norm, the largest first."""
        return np.argsort(-self.norms, kind="stable")

    @cached_property
    def most(self) -> float:
        """The end of the colour scale: the largest magnitude among all weights of the layer."""
        return picture.extent(self.weights)

    def picture(self, unit: int, channel: int | None = None) -> NDArray[np.uint8]:
        """Show one unit's weights on the layer's scale: 0 white, positive blue, negative orange.

        Args:
            unit: which.
            channel: the input map; None lays all of them side by side.

        Returns:
            uint8 (H, W, 3).
        """
        own = self.weights[unit] if self.weights.ndim > 2 else self.weights[unit][:, None]
        channels = [own[channel]] if channel is not None else list(own)
        gap = int(len(channels) > 1)
        flat = [picture.flat(each) for each in channels]
        return picture.sheet([picture.diverging(each, self.most) for each in flat], len(flat), gap=gap)

    def colours(self, unit: int) -> NDArray[np.uint8]:
        """Show a unit that reads red, green and blue as one picture in colour: 0 is mid-grey.

        Returns:
            uint8 (H, W, 3).
        """
        own = np.moveaxis(np.stack([picture.flat(each) for each in self.weights[unit]]), 0, -1)
        return picture.grey(own, -picture.extent(own), picture.extent(own))

    def strongest_inputs(self, unit: int, count: int) -> list[tuple[int, float]]:
        """List the input maps that a unit weighs most, each with the norm of its kernel."""
        own = np.linalg.norm(self.weights[unit].reshape(self.weights.shape[1], -1).astype(np.float64), axis=1)
        return [(int(i), float(own[i])) for i in np.argsort(-own, kind="stable")[:count]]

    def as_dict(self) -> dict[str, object]:
        """Give plain JSON values: the layer, its shape, the spread of its norms."""
        norms = self.norms
        return {
            "layer": self.layer,
            "kind": self.kind,
            "shape": list(self.weights.shape),
            "norm": {
                "least": float(norms.min()),
                "median": float(np.median(norms)),
                "largest": float(norms.max()),
                "unit": int(norms.argmax()),
            },
            "silent": int((norms < 1e-6 * max(norms.max(), 1e-30)).sum()),
        }


def kernels(model: nn.Module, shape: tuple[int, ...] | None = None) -> list[Kernels]:
    """Read the weights of every convolution and dense layer, in the order of the modules. The model stays untouched.

    Args:
        model: any module; nothing is computed with it.
        shape: of one input, (C, *positions): a first dense layer that reads exactly so many numbers is then given
            that shape, so that its weights can be looked at as pictures.

    Raises:
        ModelError: it has no such layer.
    """
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, TableConv)
    found = [(name, part) for name, part in model.named_modules() if isinstance(part, kinds)]
    read = []
    for i, (name, part) in enumerate(found):
        weights = (part.whole() if isinstance(part, TableConv) else part.weight).detach().float().cpu().numpy().copy()
        first = i == 0
        if first and isinstance(part, nn.Linear):
            first = shape is not None and weights.shape[1] == prod(shape)
            weights = weights.reshape(len(weights), *shape) if first and shape else weights
        bias = None if part.bias is None else part.bias.detach().float().cpu().numpy().copy()
        read.append(Kernels(name, type(part).__name__, weights, bias, first))
    if not read:
        raise ModelError(
            f"{type(model).__name__} has no convolution and no dense layer.", "There are no kernels to look at."
        )
    return read


def named(layers: list[Kernels], name: str) -> Kernels:
    """Find one layer by its dotted name.

    Raises:
        ModelError: there is none of that name; the message suggests one.
    """
    for each in layers:
        if each.layer == name:
            return each
    known = [each.layer for each in layers]
    raise ModelError(
        f"no layer with kernels is called '{name}'.{did_you_mean(name, known)}",
        f"There are: {', '.join(known[:30])}{' ...' if len(known) > 30 else ''}.",
    )
