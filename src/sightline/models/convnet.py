"""The lecture's stack of convolution blocks, as a plan: blocks of two convolutions, a pool after every other block."""

from __future__ import annotations

from sightline.models.adapt import fit
from sightline.models.plan import Chain, Conv, Dense, Flatten, Plan, Pool, Shape, Sizes, chain, each
from sightline.models.style import Filled, Style, count


def block(maps: int, kernel: Sizes, stride: Sizes, padding: Sizes | None, style: Filled) -> Chain:
    """Make two convolutions with their activations; its names are those of the lecture's ``ConvBlock``."""
    first = Conv(kernel, maps=maps, stride=stride, padding=padding)
    second = Conv(kernel, maps=maps, stride=stride, padding=padding)
    layers = (*style.conv(first, ("0", "norm0", "1")), *style.conv(second, ("2", "norm2", "3")))
    return chain(("conv", Chain((*layers, *style.excite("se", maps)))))


def cnn(
    name: str,
    shape: Shape,
    classes: int,
    style: Style,
    *,
    hidden: int = 64,
    kernel_size: Sizes = 3,
    maxpool: int = 2,
    num_layers: int = 4,
) -> Plan:
    """Plan the lecture's network: ``num_layers`` + 1 blocks of ``hidden`` maps, then two dense layers.

    Args:
        name: its name, for messages.
        shape: the input, ``(channels, *positions)``, one to three axes.
        classes: length of the logits.
        style: ``stride`` and ``padding`` hold for every convolution here; no padding given keeps the size.
        hidden: feature maps of every convolution, and units of the dense layer.
        kernel_size: positions under each kernel.
        maxpool: positions under each pool, and its stride.
        num_layers: blocks after the first.
    """
    filled = style.filled()
    hidden, stride = filled.wide(count("hidden", hidden)), style.stride or 1
    for size in each(kernel_size, 1):
        count("kernel_size", size)
    count("maxpool", maxpool)
    one = block(hidden, kernel_size, stride, style.padding, filled)
    layers: list[tuple[str, Chain | Pool]] = [("0", one)]
    stages = [("block0", "convolutions.0")]
    for i in range(filled.deep(num_layers) if count("num_layers", num_layers, low=0) else 0):
        layers.append((str(len(layers)), one))
        stages.append((f"block{i + 1}", f"convolutions.{layers[-1][0]}"))
        # the lecture's code has an activation here that changes nothing; its place in the numbering is kept
        layers.append((str(len(layers)), chain()))
        if i % 2 == 0:
            layers.append((str(len(layers)), Pool(maxpool, maxpool, 0, kind=filled.pooling)))
    kept, notes = fit(tuple(layers), shape, filled)
    dense = chain(
        ("0", Flatten()),
        ("1", Dense(hidden)),
        *filled.act("2"),
        *filled.drop(),
        ("3", Dense(classes)),
    )
    body = chain(("convolutions", Chain(kept)), ("dense", dense))
    return Plan(name, body, shape, (*stages, ("head", "dense.3")), notes)
