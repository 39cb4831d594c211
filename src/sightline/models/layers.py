"""A plan's layers -> torch modules, under the same names. One place for every block, whichever paper uses it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.models import tokens
from sightline.models.convolution import Conv1d, Conv2d, Conv3d
from sightline.models.plan import (
    Act,
    Branches,
    Constant,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Gate,
    Grid,
    Group,
    Layer,
    LocalResponse,
    Norm,
    Pool,
    Residual,
    Scale,
    Shape,
    Side,
    Subsample,
    each,
)
from sightline.models.sequence import TokenNorm

CONV: dict[int, type[nn.Module]] = {1: Conv1d, 2: Conv2d, 3: Conv3d}
MAX: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
MEAN: dict[int, type[nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
GRID: dict[int, type[nn.Module]] = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
GRID_MAX: dict[int, type[nn.Module]] = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}
BATCH: dict[int, type[nn.Module]] = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
LAZY: dict[int, type[nn.Module]] = {
    0: nn.LazyBatchNorm1d,
    1: nn.LazyBatchNorm1d,
    2: nn.LazyBatchNorm2d,
    3: nn.LazyBatchNorm3d,
}
WHOLE: dict[int, type[nn.Module]] = {1: nn.Dropout1d, 2: nn.Dropout2d, 3: nn.Dropout3d}
INSTANCE: dict[int, type[nn.Module]] = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x / 3): keeps targets of +-1 where the slope still teaches (LeCun 1998, appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to the same shape, values within +-1.7159."""
        return 1.7159 * torch.tanh(x * (2 / 3))


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "scaled_tanh": ScaledTanh,
    "sigmoid": nn.Sigmoid,
}


class PerMap(nn.Module):
    """One learnt factor and offset for every feature map: (B, C, ...) -> (B, C, ...)."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(maps))
        self.bias = nn.Parameter(torch.zeros(maps))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift every map."""
        spread = (-1,) + (1,) * (x.dim() - 2)
        return x * self.weight.view(spread) + self.bias.view(spread)


class Times(nn.Module):
    """A fixed factor on everything."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        return x * self.factor

    def extra_repr(self) -> str:
        """Tell the factor."""
        return f"{self.factor:.3g}"


class TableConv(nn.Module):
    """A convolution in which each output map sees only the input maps a table names (LeCun 1998, table I).

    Only the kernels that exist are learnt; ``weight`` is (connections, *kernel). The rest is filled with zeros for
    one full convolution.
    """

    def __init__(self, connections: tuple[tuple[int, ...], ...], layer: Conv, shape: Shape) -> None:
        super().__init__()
        axes = len(shape) - 1
        pairs = [(o, i) for o, inputs in enumerate(connections) for i in inputs]
        self.kernel, self.padding, self.stride = each(layer.kernel, axes), layer.pads(axes), each(layer.stride, axes)
        self.fan_in = len(pairs) // len(connections)
        self.size = (len(connections), shape[0], *self.kernel)
        self.weight = nn.Parameter(torch.empty(len(pairs), *self.kernel))
        self.bias = nn.Parameter(torch.zeros(len(connections))) if layer.bias else None
        nn.init.uniform_(self.weight, -0.1, 0.1)
        self.register_buffer("pairs", torch.tensor(pairs), persistent=False)

    def whole(self) -> Tensor:
        """Give all kernels, (outputs, inputs, *kernel), zeros where the table names no connection."""
        pairs = self.get_buffer("pairs")
        return self.weight.new_zeros(self.size).index_put((pairs[:, 0], pairs[:, 1]), self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, ...) to (B, outputs, ...)."""
        conv = (F.conv1d, F.conv2d, F.conv3d)[len(self.kernel) - 1]
        return conv(x, self.whole(), self.bias, self.stride, self.padding)


class SubsampleModule(nn.Module):
    """Every s-th position, then maps of zeros behind: (B, C, ...) -> (B, maps, ...); nothing is learnt."""

    def __init__(self, layer: Subsample) -> None:
        super().__init__()
        self.maps, self.stride = layer.maps, layer.stride

    def forward(self, x: Tensor) -> Tensor:
        """Thin out and pad, or drop the maps too many."""
        x = x[(slice(None), slice(0, self.maps), *(slice(None, None, self.stride),) * (x.dim() - 2))]
        return F.pad(x, (0, 0) * (x.dim() - 2) + (0, self.maps - x.shape[1]))


class GateModule(nn.Sequential):
    """Multiplies its input by what its children make of it: (B, C, ...) -> (B, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """Weigh every map by a factor of its own."""
        factor = x
        for child in self:
            factor = child(factor)
        return x * factor


class SideModule(nn.Sequential):
    """Gives its input back, and keeps the logits its children make of it while training.

    Attributes:
        logits: (B, num_classes) of the last training batch; ``Network.auxiliary_logits`` takes them away.
    """

    logits: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        # a copy starts without logits: torch refuses to copy a tensor that has a graph
        return {**self.__dict__, "logits": None}

    def forward(self, x: Tensor) -> Tensor:
        """Look at the maps, and pass them on."""
        if self.training:
            y = x
            for child in self:
                y = child(y)
            self.logits = y
        return x


class ResidualModule(nn.Module):
    """``after(body(x) + shortcut(x))``; the body's layers are its direct children, as in torchvision."""

    def __init__(self, layer: Residual, shape: Shape) -> None:
        super().__init__()
        self.body = tuple(name for name, _ in layer.parts)
        for name, child in children(layer, shape):
            self.add_module(name, child)
        self.beside = layer.beside if layer.shortcut else ""
        if layer.shortcut:
            self.add_module(layer.beside, module(layer.shortcut, shape))
        self.after = module(layer.after, layer.out(shape)) if layer.after else None
        self.drop = layer.drop

    def forward(self, x: Tensor) -> Tensor:
        """Add what the body makes to what comes in."""
        y = x
        for name in self.body:
            y = getattr(self, name)(y)
        if self.training and self.drop:
            keep = torch.rand((x.shape[0],) + (1,) * (x.dim() - 1), device=x.device) >= self.drop
            y = y * keep.to(y.dtype) / (1 - self.drop)
        y = y + (getattr(self, self.beside)(x) if self.beside else x)
        return y if self.after is None else self.after(y)

    def extra_repr(self) -> str:
        """Tell the chance of being left out, where there is one."""
        return f"drop={self.drop}" if self.drop else ""


class BranchesModule(nn.Module):
    """Every child sees the same input; their maps are concatenated along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Lay the maps of all branches side by side."""
        return torch.cat([branch(x) for branch in self.children()], dim=1)


def children(layer: Group, shape: Shape) -> list[tuple[str, nn.Module]]:
    """Build the parts of a group, each for the shape that reaches it."""
    built = []
    for name, part in layer.parts:
        built.append((name, module(part, shape)))
        shape = shape if isinstance(layer, Branches) else part.out(shape)
    return built


def module(layer: Layer, shape: Shape) -> nn.Module:
    """Build the torch module of one layer of a plan, for inputs of ``shape``: ``(channels, *positions)``."""
    axes = len(shape) - 1
    match layer:
        case Residual():
            return ResidualModule(layer, shape)
        case Branches():
            branches = BranchesModule()
            for name, child in children(layer, shape):
                branches.add_module(name, child)
            return branches
        case Side():
            return SideModule(OrderedDict(children(layer, shape)))
        case Gate():
            return GateModule(OrderedDict(children(layer, shape)))
        case Group():
            return nn.Sequential(OrderedDict(children(layer, shape)))
        case Conv() if layer.connections:
            return TableConv(layer.connections, layer, shape)
        case Conv():
            window = {"stride": each(layer.stride, axes), "padding": layer.pads(axes), "dilation": layer.dilation}
            kernel = each(layer.kernel, axes)
            return CONV[axes](shape[0], layer.maps, kernel, **window, groups=layer.groups, bias=layer.bias)
        case Pool():
            pool = (MAX if layer.kind == "max" else MEAN)[axes]
            sizes = each(layer.kernel, axes), each(layer.stride, axes), layer.pads(axes)
            return pool(*sizes, ceil_mode=layer.ceil)
        case Grid():
            return (GRID_MAX if layer.kind == "max" else GRID)[axes](each(layer.size, axes))
        case TokenNorm():
            one = layer.kind == "layer"
            return norm(layer, shape[:1]) if one else tokens.TokenNormModule(norm(layer, shape))
        case Norm():
            return norm(layer, shape)
        case LocalResponse():
            # torch divides alpha by the number of maps, the paper does not
            return nn.LocalResponseNorm(layer.size, layer.alpha * layer.size, layer.beta, layer.k)
        case Act():
            return ACTIVATIONS[layer.kind]()
        case Dropout():
            return (WHOLE[len(shape) - 1] if layer.whole else nn.Dropout)(layer.share)
        case Constant():
            return Times(layer.factor)
        case Scale():
            return PerMap(shape[0])
        case Subsample():
            return SubsampleModule(layer)
        case Flatten():
            return nn.Flatten()
        case Dense():
            return nn.Linear(shape[0], layer.features, bias=layer.bias)
        case _:
            built = tokens.module(layer, shape)
            if built is None:
                raise AssertionError(f"no module for {layer}")
            return built


def norm(layer: Norm, shape: Shape) -> nn.Module:
    """Build a norm for (B, C, ...) maps, or for (B, features) vectors.

    On maps, ``layer`` is over all maps and positions of an example, ``instance`` over the positions of each map
    (Wu and He 2018, fig. 2). A vector is one map whose positions are its features, so both normalise over it.
    """
    maps, axes, eps = shape[0], len(shape) - 1, layer.eps
    match layer.kind:
        case "batch":
            built: nn.Module = BATCH[axes](maps, eps=eps, momentum=layer.momentum)
        case "lazy":
            built = LAZY[axes](eps=eps, momentum=layer.momentum)
        case "sync":
            built = nn.SyncBatchNorm(maps, eps=eps, momentum=layer.momentum)
        case "group":
            built = nn.GroupNorm(groups(maps), maps, eps=eps)
        case "layer" | "instance" if not axes:
            built = nn.LayerNorm(maps, eps=eps)
        case "layer":
            built = nn.GroupNorm(1, maps, eps=eps)
        case "instance":
            built = INSTANCE[axes](maps, affine=True, eps=eps)
        case _:
            raise AssertionError(f"no norm '{layer.kind}'")
    return built


def groups(maps: int) -> int:
    """Choose the groups of a group norm: the most, up to the paper's 32, that leave two maps or more in each."""
    return next((g for g in range(min(32, maps // 2), 1, -1) if maps % g == 0), 1)
