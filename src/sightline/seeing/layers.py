"""A model and one input -> its layers as they run: dotted names, kinds, shapes, units; and units by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from sightline.errors import ModelError, did_you_mean
from sightline.models.network import Network
from sightline.models.plan import Shape, by
from sightline.seeing.taps import as_it_was, first_tensor

FEATURES_LAST = (nn.Linear, nn.LayerNorm, nn.RNNBase, nn.MultiheadAttention, nn.Embedding)
"""Layers whose units lie on the last axis: of tokens (B, tokens, units)."""

UNITS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
)
"""Layers whose units lie on the axis behind the batch: maps (B, units, *positions)."""


@dataclass(frozen=True)
class Place:
    """One layer, as it was seen to run.

    Attributes:
        name: torch's dotted name: ``stages.2.0.conv1``.
        kind: its class: ``Conv2d``.
        shape: of its output for one example, as torch has it: ``(16, 28, 28)``; of tokens ``(tokens, units)``.
        axis: where the units are in its output with the batch: 1, or the last one of tokens.
        parameters: learnt numbers in it and its parts.
        calls: how often it ran for one input; what is kept of a layer is its last run.
        leaf: whether it has no parts.
    """

    name: str
    kind: str
    shape: Shape
    axis: int
    parameters: int
    calls: int
    leaf: bool

    @property
    def units(self) -> int:
        """Feature maps, or features."""
        return self.shape[self.axis - 1]

    @property
    def positions(self) -> Shape:
        """Sizes of the axes other than the units'; empty where a unit is a single number."""
        return (*self.shape[: self.axis - 1], *self.shape[self.axis :])

    def maps(self, output: Tensor) -> Tensor:
        """Bring an output of this layer to (B, units, *positions)."""
        return output.movedim(self.axis, 1)


class Layers:
    """The layers of a network in the order in which they finish; ``print`` shows them as a table.

    Iterates over ``Place``; ``layers["conv1"]`` finds one by name.
    """

    def __init__(self, places: tuple[Place, ...]) -> None:
        self.places = places
        self._by_name = {place.name: place for place in places}

    def __iter__(self) -> Iterator[Place]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Place:
        """Find a layer by its dotted name.

        Raises:
            ModelError: there is none, or it does not run; the message suggests the nearest.
        """
        if name not in self._by_name:
            raise ModelError(
                f"there is no layer '{name}' that runs.{did_you_mean(name, self._by_name)}",
                f"Layers are called: {', '.join(self._by_name)}.",
            )
        return self._by_name[name]

    def unit(self, name: str) -> tuple[Place, int]:
        """Find a unit by its stable name, layer and number: ``stages.2.0.conv1:17``.

        Raises:
            ModelError: it is not written like that, or there is no such layer or unit.
        """
        found = re.fullmatch(r"(.+):(\d+)", name)
        if not found:
            raise ModelError(f"'{name}' names no unit.", "Write layer:number, such as conv1:0; numbers start at 0.")
        place = self[found[1]]
        if int(found[2]) >= place.units:
            raise ModelError(
                f"layer '{place.name}' has no unit {found[2]}.", f"Its {place.units} units are 0 to {place.units - 1}."
            )
        return place, int(found[2])

    def __str__(self) -> str:
        rows = [("layer", "kind", "output", "units", "weights")]
        rows += [(p.name, p.kind, by(p.shape), f"{p.units:,}", f"{p.parameters:,}") for p in self]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if column > 2 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )


def layers(model: nn.Module, example: Tensor | Shape | None = None) -> Layers:
    """Run one example through a model and list the layers that ran.

    Args:
        model: any module; it is left exactly as it was.
        example: inputs (B, C, *positions), or the shape (C, *positions) of one; a network of the zoo knows its own.

    Raises:
        ModelError: the model cannot be looked into, or the example does not pass through it.
    """
    if example is None:
        if not isinstance(model, Network):
            raise ModelError(
                f"the input of a {type(model).__name__} is not known.",
                "Give an example (B, C, *positions), or the shape of one: (1, 28, 28).",
            )
        example = model.plan.shape
    first = next((p for p in (*model.parameters(), *model.buffers()) if p.is_floating_point()), torch.zeros(()))
    x = example[:1].clone() if isinstance(example, Tensor) else torch.zeros(1, *example)  # a layer may work in place
    x = x.detach().to(first.device, first.dtype if x.is_floating_point() else x.dtype)
    seen: dict[str, tuple[nn.Module, Shape, int, int]] = {}
    axes: Any = WeakTensorKeyDictionary()
    last = 1

    def listen(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            nonlocal last
            found, entered = first_tensor(output), first_tensor(given)
            if found is None or found.ndim < 2:
                return
            last = axes[found] = axis_of(module, entered, found, axes.get(entered), last)
            calls = seen.pop(name)[3] if name in seen else 0
            seen[name] = (module, tuple(found.shape[1:]), last, calls + 1)

        return hook

    with as_it_was(model), torch.no_grad():
        hooks = [part.register_forward_hook(listen(name)) for name, part in model.named_modules() if name]
        try:
            model(x)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise ModelError(
                f"an input of {by(tuple(x.shape[1:]))} does not pass through: {error}.",
                "Give the shape it was made for.",
            ) from error
        finally:
            for one in hooks:
                one.remove()
    return Layers(
        tuple(
            Place(
                name,
                type(module).__name__,
                shape,
                axis,
                sum(p.numel() for p in module.parameters()),
                calls,
                not any(True for _ in module.children()),
            )
            for name, (module, shape, axis, calls) in seen.items()
        )
    )


def axis_of(module: nn.Module, entered: Tensor | None, output: Tensor, before: int | None, last: int) -> int:
    """Tell which axis of a layer's output holds the units.

    Layers with weights say so by their kind. All others (activations, dropout, blocks) keep the axis of what came in,
    unless they lay maps out as tokens.

    Args:
        module: the layer.
        entered: what it was given.
        output: what it gave.
        before: the axis in what it was given, where that is known.
        last: the axis in what the layer gave that finished before it: the last part, of a block.
    """
    if output.ndim != 3:  # a vector of units, or maps; only rows with 3 axes may be tokens
        return output.ndim - 1 if isinstance(module, nn.Linear) else 1
    if isinstance(module, UNITS_FIRST):
        return 1
    if isinstance(module, FEATURES_LAST):
        return 2
    if entered is None or any(True for _ in module.children()):
        same = entered is not None and entered.shape == output.shape
        return before if same and before else last
    if entered.ndim == 3:
        turned = entered.stride(1) >= entered.stride(2) and output.stride(1) < output.stride(2)
        return 3 - (before or last) if turned else before or last
    return 1 if output.shape[1] == entered.shape[1] != output.shape[2] else 2
