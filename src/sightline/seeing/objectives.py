"""What an image is to excite: a neuron, a channel, a layer, a class, a direction; they add up and scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sightline.errors import ModelError
from sightline.models.plan import by
from sightline.seeing.layers import Layers

LOGITS = ""
"""The name under which objectives find the network's output, (B, K)."""


@dataclass(frozen=True, eq=False)
class Term:
    """One measure of what an image does inside a network.

    Attributes:
        name: as it is written: ``conv1:3``.
        layer: dotted name of the layer it reads, ``LOGITS`` for the output.
        measure: what the layer gave for n images, (n, units, *positions) -> (n,).
        units: the units it asks about; empty: all of them.
    """

    name: str
    layer: str
    measure: Callable[[Tensor], Tensor]
    units: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Objective:
    """A weighted sum of measures, to be made as large as possible.

    ``a + b`` wants both, ``a - b`` the one without the other, ``-a`` the opposite, ``0.5 * a`` half as much.

    Attributes:
        terms: weight and measure.
    """

    terms: tuple[tuple[float, Term], ...]

    @property
    def name(self) -> str:
        """The objective as text: ``conv1:3 + 0.5*conv2:1``."""
        text = ""
        for weight, term in self.terms:
            sign = " - " if weight < 0 else " + "
            sign = sign if text else sign.strip().replace("+", "")
            text += sign + ("" if abs(weight) == 1 else f"{abs(weight):g}*") + term.name
        return text

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers it reads, each once."""
        return tuple(dict.fromkeys(term.layer for _, term in self.terms))

    def __call__(self, heard: Mapping[str, Tensor]) -> Tensor:
        """Measure n images.

        Args:
            heard: layer -> what it gave, (n, units, *positions); ``LOGITS`` -> (n, K).

        Returns:
            (n,).
        """
        return torch.stack([weight * term.measure(heard[term.layer]) for weight, term in self.terms]).sum(0)

    def __add__(self, other: Objective) -> Objective:
        return Objective((*self.terms, *other.terms))

    def __mul__(self, factor: float) -> Objective:
        return Objective(tuple((weight * factor, term) for weight, term in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return self * -1.0

    def __sub__(self, other: Objective) -> Objective:
        return self + -other


def channel(layer: str, unit: int) -> Objective:
    """Excite a unit everywhere: the mean of its map, ``layer[:,:,unit]``."""
    return _one(Term(f"{layer}:{unit}", layer, partial(_channel, unit=unit), (unit,)))


def neuron(layer: str, unit: int, at: Sequence[int]) -> Objective:
    """Excite a unit at one place: ``layer[x,y,unit]``.

    Args:
        layer: dotted name.
        unit: number of the map.
        at: the place along each axis of the map, x (column) first: (x, y); (t,) of a signal or a token.
    """
    where = tuple(at)
    name = f"{layer}[{','.join(map(str, (*where, unit)))}]"
    return _one(Term(name, layer, partial(_neuron, unit=unit, at=where[::-1]), (unit,)))


def layer(layer: str) -> Objective:
    """Excite whatever a layer already sees: the mean of its squares, ``layer[:,:,:]^2`` (DeepDream)."""
    return _one(Term(f"{layer}^2", layer, _squares))


def logit(k: int, name: str = "") -> Objective:
    """Raise the evidence for a class, ``pre_softmax[k]``, whatever it does to the others."""
    return _one(Term(f"logit:{name or k}", LOGITS, partial(_channel, unit=k), (k,)))


def probability(k: int, name: str = "") -> Objective:
    """Raise the probability of a class, ``softmax[k]``; also by taking evidence from the others.

    What is measured is its log-odds, log(p / (1 - p)): largest for the same image, and still rising where p is near 1,
    while the gradients of p and of log p vanish there.
    """
    return _one(Term(f"probability:{name or k}", LOGITS, partial(_log_odds, unit=k), (k,)))


def direction(layer: str, vector: Sequence[float] | Tensor, name: str = "") -> Objective:
    """Excite a mixture of units: the mean of their maps' sum, weighted by ``vector`` scaled to length 1.

    Args:
        layer: dotted name.
        vector: a number for each unit of the layer.
        name: what to call it.
    """
    along = torch.as_tensor(vector, dtype=torch.float32)
    along = along / along.norm().clamp(min=1e-12)
    return _one(Term(name or f"{layer}~", layer, partial(_direction, vector=along)))


def random_direction(layer: str, units: int, seed: int) -> Objective:
    """Excite a random mixture of a layer's units: are units special, or is every direction as good (Olah 2017)?"""
    vector = torch.randn(units, generator=torch.Generator().manual_seed(seed))
    return direction(layer, vector, f"{layer}~{seed}")


def between(one: Objective, other: Objective, share: float) -> Objective:
    """Go from one objective (``share`` 0) to another (1)."""
    return (1 - share) * one + share * other


def check(objective: Objective, known: Layers, classes: int) -> None:
    """Refuse an objective that the network cannot be asked about.

    Raises:
        ModelError: a layer, unit or class that is not there.
    """
    for _, term in objective.terms:
        units = classes if term.layer == LOGITS else known[term.layer].units
        if any(not 0 <= unit < units for unit in term.units):
            what = "the network has no class" if term.layer == LOGITS else f"layer '{term.layer}' has no unit"
            raise ModelError(f"{what} {term.units[0]}.", f"There are {units}: 0 to {units - 1}.")
        if term.layer != LOGITS and isinstance(term.measure, partial) and "at" in term.measure.keywords:
            place, at = known[term.layer], term.measure.keywords["at"]
            inside = len(at) == len(place.positions) and all(
                0 <= a < n for a, n in zip(at, place.positions, strict=True)
            )
            if not inside:
                raise ModelError(
                    f"layer '{place.name}' has no position {','.join(map(str, at[::-1]))}.",
                    f"Its maps are {by(place.positions) or '1'} (rows first; a place is written column first).",
                )


def _one(term: Term) -> Objective:
    return Objective(((1.0, term),))


def _channel(maps: Tensor, *, unit: int) -> Tensor:
    return maps[:, unit].flatten(1).mean(1) if maps.ndim > 2 else maps[:, unit]


def _neuron(maps: Tensor, *, unit: int, at: tuple[int, ...]) -> Tensor:
    value = maps[:, unit]
    for place in at:
        value = value[:, place]
    return value


def _squares(maps: Tensor) -> Tensor:
    return maps.square().flatten(1).mean(1)


def _log_odds(maps: Tensor, *, unit: int) -> Tensor:
    others = [k for k in range(maps.shape[1]) if k != unit]
    return maps[:, unit] - maps[:, others].logsumexp(dim=1) if others else torch.zeros_like(maps[:, 0])


def _direction(maps: Tensor, *, vector: Tensor) -> Tensor:
    return (maps.flatten(2).mean(2) if maps.ndim > 2 else maps) @ vector.to(maps)
