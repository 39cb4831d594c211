"""The options that networks share, each declared once, and the blocks that follow them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from operator import index
from typing import Any, Literal, get_args

from sightline.errors import ModelError, did_you_mean
from sightline.models.plan import Act, Conv, Dropout, Gate, Grid, Layer, Norm, Pool, Shape

NormName = Literal["batch", "lazy", "group", "layer", "instance", "sync", "none"]
ActName = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "scaled_tanh", "sigmoid"]
PoolName = Literal["max", "average"]
Stem = Literal["auto", "paper", "small"]
Variant = Literal["paper", "public"]
Parts = tuple[tuple[str, Layer], ...]


@dataclass(frozen=True)
class Style:
    """Options by which any network of the zoo can be varied. None means: as in the paper.

    Attributes:
        norm: batch; lazy (batch, told its size by the first input); group (Wu and He 2018); layer (all maps of one
            example); instance (each map of one example); sync (batch, over all processes); none.
        activation: one of ``ActName``.
        pooling: max or average, for the pools between the stages.
        dropout: share of features switched off before the last layer, 0..1.
        norm_momentum: share of each batch in the running mean and variance of batch norms, above 0, up to 1.
        spatial_dropout: share of feature maps switched off, each whole, behind every activation that follows a
            convolution, 0..1 (Tompson et al. 2015, section 3.2): neighbours in a map know so much of each other that
            switching off single values would hide nothing.
        se: squeeze-and-excitation (Hu et al. 2018) with this reduction, usually 16; 0 is none, True is 16.
        stochastic_depth: chance that the last residual block is left out while training; it rises linearly from the
            first block (Huang et al. 2016).
        width: factor on the number of feature maps.
        depth: factor on the number of blocks in each stage.
        stride: stride of the first convolution, in positions.
        padding: padding of the first convolution, in positions.
        adapt: let the stem and the pools follow the input size; False builds the paper's layers, whatever comes in.
    """

    norm: NormName | None = None
    norm_momentum: float = 0.1
    activation: ActName | None = None
    pooling: PoolName | None = None
    dropout: float | None = None
    spatial_dropout: float = 0.0
    se: int | None = None
    stochastic_depth: float = 0.0
    width: float = 1.0
    depth: float = 1.0
    stride: int | None = None
    padding: int | None = None
    adapt: bool = True

    def __post_init__(self) -> None:
        _among("norm", self.norm, get_args(NormName))
        _within("norm_momentum", self.norm_momentum, 1e-4, 1)
        _among("activation", self.activation, get_args(ActName))
        _among("pooling", self.pooling, get_args(PoolName))
        _within("dropout", self.dropout, 0, 1, open_end=True)
        _within("spatial_dropout", self.spatial_dropout, 0, 1, open_end=True)
        _within("stochastic_depth", self.stochastic_depth, 0, 1, open_end=True)
        _within("width", self.width, 0.01, 16)
        _within("depth", self.depth, 0.01, 16)
        _whole("se", self.se, 0, 1024)
        _whole("stride", self.stride, 1, 16)
        _whole("padding", self.padding, 0, 64)
        if not isinstance(self.adapt, bool):
            raise ModelError(f"adapt must be true or false, got {self.adapt!r}.", "Leave it out to have it true.")
        if self.se is True:
            object.__setattr__(self, "se", 16)

    def filled(
        self,
        norm: NormName = "none",
        activation: ActName = "relu",
        pooling: PoolName = "max",
        dropout: float = 0.0,
        se: int = 0,
    ) -> Filled:
        """Fill what was left open with the paper's choice."""
        return Filled(
            norm=self.norm or norm,
            activation=self.activation or activation,
            pooling=self.pooling or pooling,
            dropout=dropout if self.dropout is None else self.dropout,
            se=se if self.se is None else self.se,
            style=self,
        )


@dataclass(frozen=True)
class Filled:
    """A style in which nothing is open any more; it makes the blocks that follow it."""

    norm: NormName
    activation: ActName
    pooling: PoolName
    dropout: float
    se: int
    style: Style

    @property
    def adapt(self) -> bool:
        """Tell whether stem and pools may follow the input size."""
        return self.style.adapt

    def wide(self, maps: int) -> int:
        """Apply the width factor to a number of feature maps."""
        return max(1, round(maps * self.style.width))

    def deep(self, blocks: int) -> int:
        """Apply the depth factor to a number of blocks."""
        return max(1, round(blocks * self.style.depth))

    def first(self, conv: Conv) -> Conv:
        """Apply the options ``stride`` and ``padding`` to the first convolution."""
        stride, padding = self.style.stride, self.style.padding
        return replace(
            conv,
            stride=conv.stride if stride is None else stride,
            padding=conv.padding if padding is None else padding,
        )

    def act(self, name: str) -> Parts:
        """Make the activation, as a named part."""
        return ((name, Act(self.activation)),)

    def normed(self, name: str, zero: bool = False, eps: float = 1e-5) -> Parts:
        """Make the norm, as a named part; nothing for ``none``."""
        return () if self.norm == "none" else ((name, Norm(self.norm, zero, eps, self.style.norm_momentum)),)

    def conv(
        self,
        conv: Conv,
        names: tuple[str, str, str | None],
        bias: bool | None = None,
        zero: bool = False,
        eps: float = 1e-5,
    ) -> Parts:
        """Make a convolution, its norm and its activation under three names; no third name, no activation.

        Behind the activation comes spatial dropout, if there is any.

        A norm has an offset of its own, so the convolution before it has none, unless ``bias`` says otherwise.
        """
        bias = self.norm == "none" if bias is None else bias
        act = (*self.act(names[2]), *self.drop_maps(f"{names[2]}_maps")) if names[2] else ()
        return ((names[0], replace(conv, bias=bias)), *self.normed(names[1], zero, eps), *act)

    def pool(self, kernel: int, stride: int, padding: int = 0, ceil: bool = False) -> Pool:
        """Make a pool of the chosen kind."""
        return Pool(kernel, stride, padding, ceil=ceil, kind=self.pooling)

    def excite(self, name: str, maps: int) -> Parts:
        """Make squeeze-and-excitation over so many maps, as a named part; nothing when the option is off."""
        return ((name, excitation(maps, self.se)),) if self.se else ()

    def drop(self, name: str = "dropout") -> Parts:
        """Make the dropout before the last layer, as a named part; nothing at 0."""
        return ((name, Dropout(self.dropout)),) if self.dropout else ()

    def drop_maps(self, name: str) -> Parts:
        """Make spatial dropout, as a named part; nothing at 0."""
        return ((name, Dropout(self.style.spatial_dropout, whole=True)),) if self.style.spatial_dropout else ()

    def small(self, stem: Stem, shape: Shape, limit: int) -> bool:
        """Tell whether the small stem is to be built; ``auto`` takes it up to ``limit`` positions a side."""
        choose("stem", stem, "auto", "paper", "small")
        return stem == "small" or (stem == "auto" and self.adapt and min(shape[1:]) <= limit)

    def drop_path(self, block: int, blocks: int) -> float:
        """Give the chance that this block (from 0) is left out: linear from near 0 to the option's value."""
        return self.style.stochastic_depth * (block + 1) / blocks


def excitation(maps: int, reduction: int = 16) -> Gate:
    """Make squeeze-and-excitation (Hu, Shen and Sun 2018, fig. 2): mean of every map -> two layers -> a factor each.

    The layer between has maps / reduction units, and at least 4: with fewer, one dead unit could silence the gate.
    """
    between = max(maps // reduction, 4)
    return Gate(
        (
            ("pool", Grid(1)),
            ("fc1", Conv(1, maps=between)),
            ("relu", Act("relu")),
            ("fc2", Conv(1, maps=maps)),
            ("sigmoid", Act("sigmoid")),
        )
    )


def _among(option: str, value: Any, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise ModelError(
            f"{option} '{value}' is unknown.{did_you_mean(str(value), known)}", f"Choose one of: {', '.join(known)}."
        )


def _within(option: str, value: Any, low: float, high: float, open_end: bool = False) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and (low <= value < high if open_end else low <= value <= high)):
        raise ModelError(
            f"{option} must be a number from {low:g} to {'below ' if open_end else ''}{high:g}, got {value!r}.",
            f"Leave {option} out to have the paper's.",
        )


def _whole(option: str, value: Any, low: int, high: int) -> None:
    if value is not None and not (isinstance(value, int) and low <= value <= high):
        raise ModelError(
            f"{option} must be a whole number from {low} to {high}, got {value!r}.",
            f"Leave {option} out to have the paper's.",
        )


def choose(option: str, value: Any, *known: Any) -> None:
    """Refuse a value that is not among the known ones.

    Raises:
        ModelError: naming the option, its value and the choices.
    """
    if value not in known:
        raise ModelError(f"{option} is {value!r}.", f"Choose one of: {', '.join(map(str, known))}.")


def count(option: str, value: Any, low: int = 1, high: int = 1_000_000) -> int:
    """Give a whole number (numpy's too) back as an int, or refuse it.

    Raises:
        ModelError: naming the option, its value and the range.
    """
    try:
        number = low - 1 if isinstance(value, bool) else index(value)
    except TypeError:
        number = low - 1
    if not low <= number <= high:
        raise ModelError(f"{option} is {value!r}.", f"Give a whole number from {low} to {high}.")
    return number


def names(style: type[Style] = Style) -> tuple[str, ...]:
    """List the options of a style."""
    return tuple(field.name for field in fields(style))
