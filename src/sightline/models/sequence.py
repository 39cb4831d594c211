"""Images as rows or patches, signals as time steps -> logits: a bidirectional GRU and a transformer, as plans."""

# ruff: noqa: D102 (what out, parameters and multiply_adds mean is said once, by plan.Layer)

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

from sightline.errors import ModelError
from sightline.models.plan import Act, Chain, Conv, Dense, Layer, Norm, Plan, Residual, Shape, by, chain
from sightline.models.style import Filled, Parts, Style, choose, count

LEAST_TOKENS = {1: 64, 2: 7, 3: 4}
"""Tokens along the shortest axis of signals, images and volumes, at least, where the size allows."""
PATCHES = (16, 8, 4, 2, 1)


@dataclass(frozen=True)
class Tokens(Layer):
    """The positions of a map in one row: (channels, *positions) -> (channels, tokens)."""

    def out(self, shape: Shape) -> Shape:
        return (shape[0], prod(shape[1:]))


@dataclass(frozen=True)
class Steps(Layer):
    """The first axis as time: (channels, steps, *positions) -> (channels * positions, steps)."""

    view: ClassVar[str] = "rest"

    def out(self, shape: Shape) -> Shape:
        return (shape[0] * prod(shape[2:]), shape[1])


@dataclass(frozen=True)
class TokenNorm(Norm):
    """A norm of the features of tokens; ``layer`` is over each token alone."""


@dataclass(frozen=True)
class Positions(Layer):
    """A learnt vector added to every token, so that the network knows where it stands."""

    def parameters(self, shape: Shape) -> int:
        return prod(shape)


@dataclass(frozen=True)
class Attention(Layer):
    """Every token looks at every other with so many heads (Vaswani et al. 2017, 3.2)."""

    view: ClassVar[str] = "all"

    heads: int
    dropout: float = 0.0

    def parameters(self, shape: Shape) -> int:
        return 4 * shape[0] * (shape[0] + 1)

    def multiply_adds(self, shape: Shape) -> int:
        features, tokens = shape
        return 4 * tokens * features**2 + 2 * tokens**2 * features


@dataclass(frozen=True)
class Recurrent(Layer):
    """Gated recurrent units in both directions (Cho et al. 2014): (features, steps) -> (2 * units, steps)."""

    view: ClassVar[str] = "all"

    units: int
    layers: int = 1
    dropout: float = 0.0

    def out(self, shape: Shape) -> Shape:
        return (2 * self.units, shape[1])

    def weights(self, features: int) -> int:
        """Count the weights of both directions of all layers, offsets not counted."""
        inputs = features + (self.layers - 1) * 2 * self.units
        return 2 * 3 * self.units * (inputs + self.layers * self.units)

    def parameters(self, shape: Shape) -> int:
        return self.weights(shape[0]) + self.layers * 12 * self.units

    def multiply_adds(self, shape: Shape) -> int:
        return self.weights(shape[0]) * shape[1]


@dataclass(frozen=True)
class Ends(Layer):
    """What both directions know at their end: (2 * units, steps) -> (2 * units,)."""

    def out(self, shape: Shape) -> Shape:
        return shape[:1]


@dataclass(frozen=True)
class Mean(Layer):
    """The mean over the tokens: (features, tokens) -> (features,)."""

    view: ClassVar[str] = "all"

    def out(self, shape: Shape) -> Shape:
        return shape[:1]


def patches(name: str, shape: Shape, patch: int | None, features: int) -> tuple[Parts, str]:
    """Make the layer that turns every patch into a vector (Dosovitskiy et al. 2021, eq. 1), and say how.

    Args:
        name: of the network, for messages.
        shape: the input, ``(channels, *positions)``.
        patch: positions along each axis of a patch; None takes the largest power of two up to 16 that leaves
            ``LEAST_TOKENS``.
        features: length of each vector.
    """
    sizes = shape[1:]
    if patch is None:
        least = LEAST_TOKENS[len(sizes)]
        patch = next((p for p in PATCHES if min(sizes) >= p * least), 1)
    if count("patch", patch) > min(sizes):
        raise ModelError(
            f"a patch of {patch} does not fit into the {by(shape)} input of '{name}'.",
            f"Give a patch of at most {min(sizes)}, or leave it out to have it chosen.",
        )
    # where the size is no multiple of the patch, zeros around the input see to it that every position is read
    padding = tuple((-n % patch + 1) // 2 for n in sizes)
    conv = Conv((patch,) * len(sizes), stride=patch, padding=padding, maps=features)
    grid = conv.slide(shape)
    tokens: Parts = (("patch", conv), ("tokens", Tokens()))
    return tokens, f"it reads {by(grid)} patches of {by((patch,) * len(sizes))}"


def bigru(
    name: str,
    shape: Shape,
    classes: int,
    style: Style,
    *,
    read: Literal["rows", "patches"] = "rows",
    patch: int | None = None,
    hidden: int = 128,
    layers: int = 2,
) -> Plan:
    """Plan gated recurrent units that read in both directions.

    Args:
        name: its name, for messages.
        shape: the input, ``(channels, *positions)``: a signal is read step by step, an image row by row (or by
            patches), a volume slice by slice.
        classes: length of the logits.
        style: norm (none; before the last layer), dropout (0; between layers and before the last), width and depth.
        read: ``rows``, or ``patches`` from left to right and from top to bottom.
        patch: positions along each axis of a patch; left out, it is chosen by the size.
        hidden: units in each direction.
        layers: layers of units.
    """
    choose("read", read, "rows", "patches")
    filled = style.filled()
    hidden, layers = filled.wide(count("hidden", hidden)), filled.deep(count("layers", layers, high=64))
    start: Parts = (("steps", Steps()),)
    note = f"it reads {shape[1]} steps of {Steps().out(shape)[0]} values"
    if read == "patches":
        start, note = patches(name, shape, patch, hidden)
    dropout = filled.dropout if layers > 1 else 0.0
    body = chain(
        *start,
        ("gru", Recurrent(hidden, layers, dropout)),
        ("ends", Ends()),
        *filled.normed("norm"),
        *filled.drop(),
        ("head", Dense(classes)),
    )
    return Plan(name, body, shape, (("stem", start[-1][0]), ("gru", "gru"), ("head", "head")), (note,), init="torch")


def transformer(
    name: str,
    shape: Shape,
    classes: int,
    style: Style,
    *,
    patch: int | None = None,
    hidden: int = 128,
    heads: int = 4,
    layers: int = 4,
    expansion: int = 4,
) -> Plan:
    """Plan a transformer encoder: patches (of a signal: steps), learnt positions, the mean of the tokens.

    Args:
        name: its name, for messages.
        shape: the input, ``(channels, *positions)``, one to three axes.
        classes: length of the logits.
        style: norm (layer, before each part), activation (gelu), dropout (0; everywhere Vaswani et al. have it),
            stochastic depth, width and depth.
        patch: positions along each axis of a patch; left out, it is chosen by the size.
        hidden: length of each token; a multiple of ``heads``.
        heads: heads of the attention.
        layers: encoder blocks.
        expansion: units of the dense layer inside a block / ``hidden``.
    """
    filled = style.filled(norm="layer", activation="gelu")
    heads, expansion = count("heads", heads, high=256), count("expansion", expansion, high=64)
    wide = filled.wide(count("hidden", hidden))
    wide = max(heads, wide - wide % heads) if style.width != 1 else wide
    if wide % heads:
        raise ModelError(
            f"hidden={hidden} of '{name}' cannot be shared among heads={heads}.",
            f"Give a multiple of {heads}, such as {max(heads, hidden - hidden % heads)}.",
        )
    start, note = patches(name, shape, patch, wide)
    depth = filled.deep(count("layers", layers, high=256))
    blocks = tuple((str(i), block(wide, heads, expansion, filled, filled.drop_path(i, depth))) for i in range(depth))
    body = chain(
        *start,
        ("positions", Positions()),
        *filled.drop("dropout0"),
        ("blocks", Chain(blocks)),
        *_normed("norm", filled),
        ("mean", Mean()),
        *filled.drop(),
        ("head", Dense(classes)),
    )
    stages = (("stem", "positions"), *((f"block{i}", f"blocks.{i}") for i in range(depth)), ("head", "head"))
    return Plan(name, body, shape, stages, (note,), init="lecun")


def block(features: int, heads: int, expansion: int, style: Filled, drop: float) -> Chain:
    """Make an encoder block: attention between the tokens, then two dense layers on each, norm first in both."""
    inner: tuple[tuple[str, Layer], ...] = (
        *_normed("norm", style),
        ("fc1", Dense(expansion * features)),
        ("act", Act(style.activation)),
        *style.drop("dropout1"),
        ("fc2", Dense(features)),
        *style.drop("dropout2"),
    )
    look: Parts = (*_normed("norm", style), ("heads", Attention(heads, style.dropout)), *style.drop())
    return chain(("attention", Residual(look, drop=drop)), ("dense", Residual(inner, drop=drop)))


def _normed(name: str, style: Filled) -> Parts:
    return () if style.norm == "none" else ((name, TokenNorm(style.norm)),)
