"""A plan and an input size -> one row of integers for every layer: sizes, receptive field, weights, multiplications.

Everything here follows from the plan by whole-number arithmetic; torch is not imported. The tests hold the results
against torch's own parameter and FLOP counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from sightline.errors import ModelError
from sightline.models.plan import (
    Act,
    Branches,
    Flatten,
    Gate,
    Grid,
    Group,
    Layer,
    MisfitError,
    Norm,
    Plan,
    Pool,
    Residual,
    Shape,
    Side,
    Window,
    by,
    each,
)


@dataclass(frozen=True)
class Field:
    """What one output position sees: ``size`` input positions, ``jump`` from its neighbour; ``whole`` is the input."""

    size: tuple[int, ...]
    jump: tuple[int, ...]
    whole: tuple[int, ...]

    def through(self, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Field:
        """Give the field after a window of ``kernel`` positions that moves by ``stride``."""
        size = tuple(s + (k - 1) * j for s, k, j in zip(self.size, kernel, self.jump, strict=True))
        return Field(size, tuple(j * s for j, s in zip(self.jump, stride, strict=True)), self.whole)

    def everything(self, first: int = 0) -> Field:
        """Give the field of what sees the whole input, along the axes from ``first``."""
        wide = tuple(max(s, w) if i >= first else s for i, (s, w) in enumerate(zip(self.size, self.whole, strict=True)))
        return Field(wide, self.jump, self.whole)

    def or_wider(self, other: Field) -> Field:
        """Give the wider of two fields, axis by axis: what is seen where two paths meet."""
        return Field(tuple(map(max, self.size, other.size)), tuple(map(max, self.jump, other.jump)), self.whole)


@dataclass(frozen=True)
class Row:
    """One layer of a network, for one example.

    Attributes:
        name: dotted name, the same as the module's.
        kind: what it is in a word or two.
        kernel, stride, padding: of its window, per axis; empty where it has none.
        shape_in, shape_out: ``(channels, *positions)``.
        field: receptive field in input positions per axis, borders not counted.
        parameters: numbers that are learnt.
        multiply_adds: multiplications, each with its addition (torch counts two operations for it).
        training_only: left out when predicting (auxiliary heads).
    """

    name: str
    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    shape_in: Shape
    shape_out: Shape
    field: tuple[int, ...]
    parameters: int
    multiply_adds: int
    training_only: bool = False

    @property
    def activation_bytes(self) -> int:
        """Memory of the output of one example, in bytes of float32."""
        return 4 * prod(self.shape_out)

    @property
    def dense(self) -> int:
        """Weights that a dense layer between the same two maps would need, biases not counted."""
        return prod(self.shape_in) * prod(self.shape_out)


def table(plan: Plan) -> list[Row]:
    """Work out every layer of a plan.

    Raises:
        ModelError: the input is too small; the message goes through the layers one by one.
    """
    return list(walk(plan))


def parameters(rows: list[Row]) -> int:
    """Add up what is learnt."""
    return sum(row.parameters for row in rows)


def multiply_adds(rows: list[Row]) -> int:
    """Add up the multiplications of one prediction for one example."""
    return sum(row.multiply_adds for row in rows if not row.training_only)


def walk(plan: Plan) -> Iterator[Row]:
    """Yield the rows of a plan as far as they go; see ``table``."""
    done: list[Row] = []
    axes = len(plan.shape) - 1
    start = Field((1,) * axes, (1,) * axes, plan.shape[1:])
    try:
        for row in _rows(plan.body, "", plan.shape, start):
            done.append(row)
            yield row
    except MisfitError as fault:
        raise misfit(plan, str(fault), done) from None


def _rows(layer: Layer, name: str, shape: Shape, field: Field, training_only: bool = False) -> Iterator[Row]:
    """Yield the leaves of a layer in the order in which they are computed."""
    if not isinstance(layer, Group):
        try:
            yield _row(layer, name, shape, field, training_only)
        except MisfitError as fault:
            raise MisfitError(f"in '{name}' ({kind(layer)}), {fault}") from None
        return
    here, seen, training_only = shape, field, training_only or isinstance(layer, Side)
    for part, child in layer.parts:
        if isinstance(layer, Branches):
            here, seen = shape, field
        yield from _rows(child, _join(name, part), here, seen, training_only)
        here, seen = child.out(here), reach(child, here, seen)
    if isinstance(layer, Residual):
        result = layer.out(shape)
        if layer.shortcut:
            yield from _rows(layer.shortcut, _join(name, layer.beside), shape, field, training_only)
        if layer.after:
            yield from _rows(layer.after, _join(name, "after"), result, reach(layer, shape, field), training_only)
    else:
        layer.out(shape)


def reach(layer: Layer, shape: Shape, field: Field) -> Field:
    """Give the receptive field after a layer. The gate of squeeze-and-excitation is left out: it sees everything."""
    axes = len(shape) - 1
    if isinstance(layer, Gate | Side):
        return field
    if isinstance(layer, Branches):
        first, *others = (reach(child, shape, field) for _, child in layer.parts)
        for other in others:
            first = first.or_wider(other)
        return first
    if isinstance(layer, Group):
        seen, here = field, shape
        for _, child in layer.parts:
            seen, here = reach(child, here, seen), child.out(here)
        if isinstance(layer, Residual):
            seen = seen.or_wider(reach(layer.shortcut, shape, field) if layer.shortcut else field)
        return seen
    if isinstance(layer, Window):
        spread = tuple(layer.dilation * (k - 1) + 1 for k in each(layer.kernel, axes))
        return field.through(spread, each(layer.stride, axes))
    if isinstance(layer, Grid):
        # a cell of the grid is a window as wide as the map is, divided by the cells
        cells = tuple(-(-n // g) for n, g in zip(shape[1:], each(layer.size, axes), strict=True))
        return field.through(cells, cells)
    if isinstance(layer, Flatten) and axes:
        return field.through(shape[1:], shape[1:])
    return field if layer.view == "same" else field.everything(first=1 if layer.view == "rest" else 0)


def _row(layer: Layer, name: str, shape: Shape, field: Field, training_only: bool) -> Row:
    axes = len(shape) - 1
    return Row(
        name=name,
        kind=kind(layer),
        kernel=each(layer.kernel, axes) if isinstance(layer, Window) else (),
        stride=each(layer.stride, axes) if isinstance(layer, Window) else (),
        padding=layer.pads(axes) if isinstance(layer, Window) else (),
        shape_in=shape,
        shape_out=layer.out(shape),
        field=reach(layer, shape, field).size,
        parameters=layer.parameters(shape),
        multiply_adds=layer.multiply_adds(shape),
        training_only=training_only,
    )


def kind(layer: Layer) -> str:
    """Name a layer in a word or two: ``"conv"``, ``"max pool"``, ``"batch norm"``."""
    words = {"Conv": "conv", "LocalResponse": "response norm", "Dense": "dense"}
    if isinstance(layer, Pool | Grid):
        return f"{layer.kind} pool"
    if isinstance(layer, Norm):
        return f"{layer.kind} norm"
    return layer.kind if isinstance(layer, Act) else words.get(type(layer).__name__, type(layer).__name__.lower())


def _join(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _steps(plan: Plan, done: list[Row]) -> str:
    """Write the sizes from the input to the layer that failed, one line for each layer that changes them."""
    lines = [f"  {'input':<44}  {by(plan.shape[1:])}"]
    for row in done:
        if row.shape_in[1:] != row.shape_out[1:] and row.shape_out[1:]:
            window = f" {by(row.kernel)}, stride {by(row.stride)}" if row.kernel else ""
            layer = f"{row.name}: {row.kind}{window}"
            lines.append(f"  {layer:<44}  {by(row.shape_in[1:])} -> {by(row.shape_out[1:])}")
    return "\n".join(lines)


def smallest(plan: Plan, limit: int = 1024) -> int | None:
    """Find the smallest side (all sides alike) that the layers of this plan can take; None above ``limit``."""
    for side in range(1, limit + 1):
        try:
            plan.body.out((plan.shape[0],) + (side,) * (len(plan.shape) - 1))
        except MisfitError:
            continue
        return side
    return None


def misfit(plan: Plan, fault: str, done: list[Row]) -> ModelError:
    """Tell why an input does not pass through a plan: the layers up to the one that failed, and what would fit."""
    side = smallest(plan)
    small = side is not None and side > min(plan.shape[1:])
    what = "is too small for" if small else "does not pass through"
    fits = f"The smallest input these layers can take is {by((side,) * (len(plan.shape) - 1))}; " if side else ""
    return ModelError(
        f"an input of {by(plan.shape)} {what} '{plan.name}': {fault}.\n{_steps(plan, done)}",
        f"{fits}{'s' if fits else 'S'}maller kernels, more padding or fewer pools help{' too' if fits else ''}."
        f"{' ' if plan.remedy else ''}{plan.remedy}",
    )
