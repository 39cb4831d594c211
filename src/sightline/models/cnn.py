"""The lecture's names for a first convolutional network: ConvBlock, CNNConfig, CNNblocks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor, nn

from sightline.errors import ModelError
from sightline.models import convnet
from sightline.models.layers import module
from sightline.models.network import Network
from sightline.models.plan import Sizes
from sightline.models.style import ActName, NormName, PoolName, Style


class ConvBlock(nn.Module):
    """Two convolutions, each followed by an activation: (B, in_channels, ...) -> (B, out_channels, ...).

    Args:
        in_channels: feature maps that come in.
        out_channels: feature maps of both convolutions.
        kernel_size: positions under the kernel.
        stride, padding: of both convolutions, in positions; with the lecture's padding of 1 a 3x3 kernel keeps the
            size, and a 5x5 kernel takes two positions off it.
        dims: 1 for signals, 2 for images, 3 for volumes.
        norm, activation: see ``sightline.models.style.Style``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        *,
        stride: Sizes = 1,
        padding: Sizes | None = 1,
        dims: int = 2,
        norm: NormName = "none",
        activation: ActName = "relu",
    ) -> None:
        super().__init__()
        style = Style(norm=norm, activation=activation).filled()
        plan = convnet.block(out_channels, kernel_size, stride, padding, style)
        # the weights do not depend on the size of the map, so any size that surely fits will do
        self.conv = module(plan.parts[0][1], (in_channels, *(1024,) * dims))

    def forward(self, x: Tensor) -> Tensor:
        """Give the feature maps."""
        return self.conv(x)  # type: ignore[no-any-return]


@dataclass
class CNNConfig:
    """The settings of ``CNNblocks``; the first eight are the lecture's, the others have its values as defaults.

    Attributes:
        matrixshape: positions per axis of one example: (28, 28), or (140,), or (16, 16, 16).
        batchsize: examples in a batch; the network takes any, so this is for your own loop.
        input_channels: channels of one example.
        hidden: feature maps of every convolution, and units of the dense layer.
        kernel_size: positions under each kernel.
        maxpool: positions under each pool, and its stride.
        num_layers: blocks after the first; the 1st, 3rd, 5th ... is followed by a pool.
        num_classes: length of the logits.
        stride, padding: of every convolution, in positions; padding None keeps the size.
        norm, activation, pooling, dropout: see ``sightline.models.style.Style``.
    """

    matrixshape: tuple[int, ...]
    batchsize: int
    input_channels: int
    hidden: int
    kernel_size: int
    maxpool: int
    num_layers: int
    num_classes: int
    stride: int = 1
    padding: int | None = 1
    norm: NormName = "none"
    activation: ActName = "relu"
    pooling: PoolName = "max"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        self.matrixshape = tuple(self.matrixshape)
        if not 1 <= len(self.matrixshape) <= 3:
            raise ModelError(
                f"matrixshape has {len(self.matrixshape)} axes: {self.matrixshape}.",
                "Give (length,) for signals, (height, width) for images or (depth, height, width) for volumes.",
            )
        counts = {"batchsize", "input_channels", "hidden", "kernel_size", "maxpool", "num_classes", "stride"}
        for name, value in asdict(self).items():
            low = 1 if name in counts else 0
            for number in value if name == "matrixshape" else [value] * (name in counts | {"num_layers"}):
                if not isinstance(number, int) or isinstance(number, bool) or number < low:
                    raise ModelError(f"CNNConfig.{name} is {value!r}.", f"Give whole numbers from {low} upwards.")


class CNNblocks(Network):
    """The lecture's network, with the head's size found by following the sizes through the layers.

    It takes (B, input_channels, *matrixshape) and gives logits (B, num_classes). Names and, for the lecture's own
    settings, weights are those of ``mltrainer``, so a ``state_dict`` goes both ways.

    Raises:
        ModelError: the layers leave nothing of the image; the message tells which layer gives which size.
    """

    def __init__(self, config: CNNConfig) -> None:
        style = Style(
            norm=config.norm,
            activation=config.activation,
            pooling=config.pooling,
            dropout=config.dropout,
            stride=config.stride,
            padding=config.padding,
            adapt=False,
        )
        plan = convnet.cnn(
            "CNNblocks",
            (config.input_channels, *config.matrixshape),
            config.num_classes,
            style,
            hidden=config.hidden,
            kernel_size=config.kernel_size,
            maxpool=config.maxpool,
            num_layers=config.num_layers,
        )
        # the lecture's weights start as torch's constructors leave them
        super().__init__(replace(plan, init="torch"))
        self.config: dict[str, Any] = asdict(config)
