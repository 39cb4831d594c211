"""A network as plain data: layers, the ways to join them, and the integers each one implies. Imports no torch.

A shape is one example's ``(channels, *positions)``: ``(3, 224, 224)`` an image, ``(2, 140)`` a signal of 140 steps in
2 channels, ``(1, 16, 16, 16)`` a volume; a vector is ``(features,)``. Sizes given as one int hold for every axis,
so that one plan serves signals, images and volumes.
"""
# ruff: noqa: D102 (what out, parameters and multiply_adds mean is said once, by Layer)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

Shape = tuple[int, ...]
Sizes = int | tuple[int, ...]


class MisfitError(Exception):
    """A map does not fit a layer; the message is the arithmetic of that layer."""


def each(sizes: Sizes, axes: int) -> tuple[int, ...]:
    """Spell a size out for every axis: ``each(3, 2) == (3, 3)``."""
    return (sizes,) * axes if isinstance(sizes, int) else sizes


def by(sizes: tuple[int, ...]) -> str:
    """Write sizes as people do: ``by((28, 28)) == "28x28"``."""
    return "x".join(map(str, sizes))


def window_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, ceil: bool = False
) -> int:
    """Count the positions of a sliding window along one axis: floor((n + 2p - d(k - 1) - 1) / s) + 1.

    Args:
        size: positions of the input along the axis.
        kernel: positions under the window.
        stride: positions from one window to the next.
        padding: positions added at each end.
        dilation: positions from one tap of the kernel to the next.
        ceil: keep a last window that overhangs the end, if it starts inside the input or its left padding.

    Returns:
        The positions of the output; 0 when the kernel does not fit at all.
    """
    free = size + 2 * padding - dilation * (kernel - 1) - 1
    if free < 0:
        return 0
    count = free // stride + 1
    if ceil and free % stride and count * stride < size + padding:
        count += 1
    return count


@dataclass(frozen=True)
class Layer:
    """One step of a network. What a subclass leaves out: the shape stays, and nothing is learnt or multiplied.

    ``view`` says which positions of its input an output sees: the ``same`` (or its window), ``all``, or all along
    the ``rest`` of the axes behind the first.
    """

    view: ClassVar[str] = "same"

    def out(self, shape: Shape) -> Shape:
        """Give the shape after this layer.

        Raises:
            MisfitError: the map does not fit, most often because it is too small.
        """
        return shape

    def parameters(self, shape: Shape) -> int:
        """Count the numbers that are learnt, for an input of this shape."""
        return 0

    def multiply_adds(self, shape: Shape) -> int:
        """Count the multiplications (each with its addition) for one example of this shape."""
        return 0


@dataclass(frozen=True)
class Window(Layer):
    """A layer that slides a window over the map."""

    kernel: Sizes
    stride: Sizes = 1
    padding: Sizes | None = None  # None keeps the size at stride 1 (for odd kernels)
    dilation: int = 1
    ceil: bool = False

    def pads(self, axes: int) -> tuple[int, ...]:
        """Give the padding at each end of every axis."""
        if self.padding is None:
            return tuple(self.dilation * (k - 1) // 2 for k in each(self.kernel, axes))
        return each(self.padding, axes)

    def slide(self, shape: Shape) -> tuple[int, ...]:
        """Give the positions after the window has passed over ``shape``."""
        axes = len(shape) - 1
        kernel, stride, padding = each(self.kernel, axes), each(self.stride, axes), self.pads(axes)
        if not all(len(sizes) == axes for sizes in (kernel, stride, padding)):
            raise MisfitError(f"the layer is made for {len(kernel)} axes, the map {by(shape[1:])} has {axes}")
        sizes = tuple(
            window_size(n, k, s, p, self.dilation, self.ceil)
            for n, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True)
        )
        if min(sizes) < 1:
            room = by(tuple(n + 2 * p for n, p in zip(shape[1:], padding, strict=True)))
            reach = by(tuple(self.dilation * (k - 1) + 1 for k in kernel))
            padded = f" ({room} with its padding)" if any(padding) else ""
            raise MisfitError(f"a {reach} window does not fit into a map of {by(shape[1:])}{padded}")
        return sizes


@dataclass(frozen=True)
class Conv(Window):
    """A convolution with ``maps`` feature maps; ``connections`` lists which input maps each output map sees."""

    maps: int = 0
    groups: int = 1
    bias: bool = True
    connections: tuple[tuple[int, ...], ...] = ()  # LeNet's table; empty: every map sees every map (of its group)
    gain: float = 1.0  # factor on the weights it starts with
    whiten: bool = False  # its weights are measured on training inputs, not learnt; see whitening.py

    def out(self, shape: Shape) -> Shape:
        if shape[0] % self.groups or self.maps % self.groups:
            raise MisfitError(f"{shape[0]} and {self.maps} maps cannot be split into {self.groups} groups")
        return (self.maps, *self.slide(shape))

    def parameters(self, shape: Shape) -> int:
        pairs = sum(map(len, self.connections)) or shape[0] // self.groups * self.maps
        return pairs * prod(each(self.kernel, len(shape) - 1)) + self.maps * self.bias

    def multiply_adds(self, shape: Shape) -> int:
        # a table of connections is computed as a full convolution whose missing kernels are zero
        taps = prod(each(self.kernel, len(shape) - 1)) * shape[0] // self.groups
        return taps * prod(self.out(shape))


@dataclass(frozen=True)
class Pool(Window):
    """The largest (``max``) or mean (``average``) value under a window."""

    kind: str = "max"

    def out(self, shape: Shape) -> Shape:
        return (shape[0], *self.slide(shape))


@dataclass(frozen=True)
class Grid(Layer):
    """The mean (or ``max``: largest value) in each of ``size`` cells per axis, whatever the map's size; 1: over all."""

    size: Sizes = 1
    kind: str = "average"

    def out(self, shape: Shape) -> Shape:
        return (shape[0], *each(self.size, len(shape) - 1))


@dataclass(frozen=True)
class Norm(Layer):
    """Normalisation of ``kind``; ``zero`` starts its scale at 0, so that a residual branch starts silent.

    ``momentum`` is the share of each batch in the running statistics.
    """

    kind: str = "batch"
    zero: bool = False
    eps: float = 1e-5
    momentum: float = 0.1

    def out(self, shape: Shape) -> Shape:
        if self.kind == "instance" and len(shape) > 1 and prod(shape[1:]) < 2:
            raise MisfitError("instance norm needs two positions or more in a map, and this one has one")
        return shape

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[0]


@dataclass(frozen=True)
class LocalResponse(Layer):
    """Divide by (k + alpha * sum of squares over ``size`` neighbouring maps) ** beta (Krizhevsky 2012, 3.3)."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0


@dataclass(frozen=True)
class Act(Layer):
    """An activation function by name."""

    kind: str = "relu"


@dataclass(frozen=True)
class Dropout(Layer):
    """Set a share of the values to zero while training; ``whole``: of the feature maps, each whole or not at all."""

    share: float = 0.5
    whole: bool = False


@dataclass(frozen=True)
class Scale(Layer):
    """One learnt factor and one learnt offset for every map (LeNet's sub-sampling, LeCun 1998, II.B)."""

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[0]


@dataclass(frozen=True)
class Constant(Layer):
    """Everything times a fixed factor."""

    factor: float


@dataclass(frozen=True)
class Subsample(Layer):
    """Take every ``stride``-th position and fill up with maps of zeros: the shortcut without weights (option A)."""

    maps: int
    stride: int

    def out(self, shape: Shape) -> Shape:
        return (self.maps, *(window_size(n, 1, self.stride) for n in shape[1:]))


@dataclass(frozen=True)
class Flatten(Layer):
    """All values of the map as one vector."""

    def out(self, shape: Shape) -> Shape:
        return (prod(shape),)


@dataclass(frozen=True)
class Dense(Layer):
    """A weight from every input to each of ``features`` outputs; on tokens, the same weights at every position."""

    features: int
    bias: bool = True

    def out(self, shape: Shape) -> Shape:
        return (self.features, *shape[1:])

    def parameters(self, shape: Shape) -> int:
        return self.features * (shape[0] + self.bias)

    def multiply_adds(self, shape: Shape) -> int:
        return self.features * prod(shape)


@dataclass(frozen=True)
class Group(Layer):
    """Layers under names, one after the other. A subclass joins their result with something else.

    What it learns and multiplies is the sum over its leaves; ``arithmetic.table`` walks them.
    """

    parts: tuple[tuple[str, Layer], ...] = ()

    def out(self, shape: Shape) -> Shape:
        for _, layer in self.parts:
            shape = layer.out(shape)
        return shape


@dataclass(frozen=True)
class Chain(Group):
    """Layers one after the other, and nothing else."""


def chain(*parts: tuple[str, Layer]) -> Chain:
    """Put named layers in a row."""
    return Chain(tuple(parts))


@dataclass(frozen=True)
class Gate(Group):
    """The parts make one factor for each map, and the input is multiplied by it."""

    def out(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True)
class Side(Group):
    """The parts give logits of their own while training; the input goes on unchanged (auxiliary heads)."""

    def out(self, shape: Shape) -> Shape:
        super().out(shape)
        return shape


@dataclass(frozen=True)
class Residual(Group):
    """The parts are added to the input (or to ``shortcut`` of it), then comes ``after``.

    ``drop`` is the chance that the parts are left out for an example while training (stochastic depth).
    """

    shortcut: Layer | None = None
    beside: str = "downsample"  # the name of the shortcut
    after: Layer | None = None
    drop: float = 0.0

    def out(self, shape: Shape) -> Shape:
        result = super().out(shape)
        beside = self.shortcut.out(shape) if self.shortcut else shape
        if result != beside:
            raise MisfitError(f"the block gives {by(result)}, its shortcut {by(beside)}: they cannot be added")
        return result


@dataclass(frozen=True)
class Branches(Group):
    """Every part sees the same input; their maps are laid side by side."""

    def out(self, shape: Shape) -> Shape:
        shapes = [layer.out(shape) for _, layer in self.parts]
        if len({other[1:] for other in shapes}) > 1:
            raise MisfitError(f"the branches give maps of {', '.join(by(other[1:]) for other in shapes)}")
        return (sum(other[0] for other in shapes), *shapes[0][1:])


def leaves(layer: Layer, name: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield the single layers inside a layer under their dotted names, in the order in which they are computed."""
    if not isinstance(layer, Group):
        yield name, layer
        return
    parts = list(layer.parts)
    if isinstance(layer, Residual):
        parts += [(layer.beside, layer.shortcut)] if layer.shortcut else []
        parts += [("after", layer.after)] if layer.after else []
    for part, child in parts:
        yield from leaves(child, f"{name}.{part}" if name else part)


@dataclass(frozen=True)
class Plan:
    """A whole network.

    Attributes:
        name: its name in the zoo.
        body: all layers, from the input to the logits.
        shape: the input, ``(channels, *positions)``.
        stages: stage name -> dotted name of the module that gives the stage's output; the last one is ``head``.
        adaptations: sentences that say how it was fitted to this input, where that departs from the paper.
        init: how weights start: ``he`` (rectifiers), ``lecun`` (tanh, transformers), ``torch``, ``dirac`` (near
            the identity).
        remedy: a sentence on what else helps when the input does not pass through.
    """

    name: str
    body: Chain
    shape: Shape
    stages: tuple[tuple[str, str], ...]
    adaptations: tuple[str, ...] = ()
    init: str = "he"
    remedy: str = ""
