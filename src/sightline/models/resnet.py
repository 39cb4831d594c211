"""He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2015): residual and plain nets, as plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

from sightline.models.adapt import ends, fit
from sightline.models.plan import Chain, Conv, Dense, Flatten, Grid, Layer, Plan, Residual, Shape, Subsample, by, chain
from sightline.models.style import Filled, Parts, Stem, Style, Variant, choose

Shortcut = Literal["A", "B", "C"]
SMALL = 48
"""Inputs whose shorter side is at most this long get the stem of the paper's CIFAR-10 nets."""


def basic(maps: int, stride: int, style: Filled, variant: Variant, zero: bool) -> Parts:
    """Make the two 3x3 convolutions of figure 5, left."""
    return (
        *style.conv(Conv(3, maps=maps, stride=stride), ("conv1", "bn1", "relu1")),
        *style.conv(Conv(3, maps=maps), ("conv2", "bn2", None), zero=zero),
    )


def bottleneck(maps: int, stride: int, style: Filled, variant: Variant, zero: bool) -> Parts:
    """Make the 1x1, 3x3, 1x1 convolutions of figure 5, right; the stride is in the first, or publicly the second."""
    first, second = (stride, 1) if variant == "paper" else (1, stride)
    return (
        *style.conv(Conv(1, maps=maps, stride=first), ("conv1", "bn1", "relu1")),
        *style.conv(Conv(3, maps=maps, stride=second), ("conv2", "bn2", "relu2")),
        *style.conv(Conv(1, maps=4 * maps), ("conv3", "bn3", None), zero=zero),
    )


def imagenet_stem(shape: Shape, small: bool, style: Filled, variant: Variant) -> tuple[Parts, tuple[str, ...]]:
    """Make 7x7 with stride 2 and a pool; small, 3x3 alone. With a sentence where it is not the paper's."""
    names = ("conv1", "bn1", "relu")
    if small:
        note = f"the stem is 3x3 with stride 1 and no pool, not 7x7 with stride 2 and a pool: the input is {by(shape)}"
        return style.conv(style.first(Conv(3, maps=style.wide(64))), names), (note,)
    conv = style.conv(style.first(Conv(7, maps=style.wide(64), stride=2)), names)
    return (*conv, ("maxpool", style.pool(3, 2, 1))), ()


def cifar_stem(shape: Shape, small: bool, style: Filled, variant: Variant) -> tuple[Parts, tuple[str, ...]]:
    """Make the one 3x3 convolution of section 4.2."""
    return style.conv(style.first(Conv(3, maps=style.wide(16))), ("conv1", "bn1", "relu")), ()


def projection(maps: int, stride: int, style: Filled) -> Layer:
    """Make the 1x1 convolution beside a block that changes the shape (option B)."""
    return Chain(style.conv(Conv(1, maps=maps, stride=stride), ("0", "1", None)))


class Net(NamedTuple):
    """A column of the paper's table 1, or a row of its section 4.2."""

    block: Callable[[int, int, Filled, Variant, bool], Parts]
    expansion: int  # maps that leave a block / maps of its 3x3 convolution
    blocks: tuple[int, ...]  # in each stage
    maps: tuple[int, ...]  # of each stage's 3x3 convolutions
    stem: Callable[[Shape, bool, Filled, Variant], tuple[Parts, tuple[str, ...]]]
    shortcut: Shortcut | None  # where the shape changes; None: a plain net
    project: Callable[[int, int, Filled], Layer] = projection


WIDE = (64, 128, 256, 512)
NARROW = (16, 32, 64)
# Table 1 (ImageNet) and section 4.2 (CIFAR-10, 6n + 2 layers); plain nets are the same without their shortcuts.
TABLE = {
    "resnet18": Net(basic, 1, (2, 2, 2, 2), WIDE, imagenet_stem, "B"),
    "resnet34": Net(basic, 1, (3, 4, 6, 3), WIDE, imagenet_stem, "B"),
    "resnet50": Net(bottleneck, 4, (3, 4, 6, 3), WIDE, imagenet_stem, "B"),
    "resnet101": Net(bottleneck, 4, (3, 4, 23, 3), WIDE, imagenet_stem, "B"),
    "resnet152": Net(bottleneck, 4, (3, 8, 36, 3), WIDE, imagenet_stem, "B"),
    "plain18": Net(basic, 1, (2, 2, 2, 2), WIDE, imagenet_stem, None),
    "plain34": Net(basic, 1, (3, 4, 6, 3), WIDE, imagenet_stem, None),
    "resnet20": Net(basic, 1, (3, 3, 3), NARROW, cifar_stem, "A"),
    "resnet32": Net(basic, 1, (5, 5, 5), NARROW, cifar_stem, "A"),
    "resnet44": Net(basic, 1, (7, 7, 7), NARROW, cifar_stem, "A"),
    "resnet56": Net(basic, 1, (9, 9, 9), NARROW, cifar_stem, "A"),
    "resnet110": Net(basic, 1, (18, 18, 18), NARROW, cifar_stem, "A"),
    "plain20": Net(basic, 1, (3, 3, 3), NARROW, cifar_stem, None),
    "plain32": Net(basic, 1, (5, 5, 5), NARROW, cifar_stem, None),
    "plain44": Net(basic, 1, (7, 7, 7), NARROW, cifar_stem, None),
    "plain56": Net(basic, 1, (9, 9, 9), NARROW, cifar_stem, None),
}


def resnet(
    name: str,
    shape: Shape,
    classes: int,
    style: Style,
    *,
    variant: Variant = "paper",
    stem: Stem = "auto",
    shortcut: Shortcut | None = None,
    zero_init: bool = False,
) -> Plan:
    """Plan a residual net of the paper, with torchvision's names.

    Args:
        name: a name of ``TABLE``.
        shape: the input, ``(channels, *positions)``, one to three axes.
        classes: length of the logits.
        style: norm (batch), activation (relu), pooling (max) and the other shared options.
        variant: ``paper`` has a bottleneck's stride in its first 1x1 convolution; ``public`` in its 3x3, as the
            public ImageNet weights do. No difference for basic blocks.
        stem: ``paper``, ``small`` (3x3 with stride 1, no pool) or ``auto``: small up to 48 positions a side.
        shortcut: where the shape changes, A thins out and fills up with zeros, B projects; C projects everywhere.
        zero_init: start the last norm of every block at 0, so that each block starts as its shortcut
            (Goyal et al. 2017, 5.1).
    """
    choose("shortcut", shortcut, None, "A", "B", "C")
    net = TABLE[name]
    net = net._replace(shortcut=shortcut or net.shortcut)
    return assemble(net, name, shape, classes, style.filled(norm="batch"), variant, stem, zero_init)


def plain(name: str, shape: Shape, classes: int, style: Style, *, stem: Stem = "auto") -> Plan:
    """Plan a plain net of the paper: the residual net of as many layers without its shortcuts.

    The arguments are those of ``resnet``.
    """
    return assemble(TABLE[name], name, shape, classes, style.filled(norm="batch"), "paper", stem, False)


def assemble(
    net: Net, name: str, shape: Shape, classes: int, style: Filled, variant: Variant, stem: Stem, zero_init: bool
) -> Plan:
    """Put stem, stages and head of a residual or plain net together."""
    choose("variant", variant, "paper", "public")
    first, notes = net.stem(shape, style.small(stem, shape, SMALL), style, variant)
    stages: list[tuple[str, Parts]] = [("stem", first)]
    counts = [style.deep(count) for count in net.blocks]
    maps_in = next(layer.maps for _, layer in reversed(first) if isinstance(layer, Conv))
    done = 0
    for stage, (count, maps) in enumerate(zip(counts, map(style.wide, net.maps), strict=True)):
        blocks: list[tuple[str, Layer]] = []
        for i in range(count):
            stride, maps_out = 2 if stage and not i else 1, maps * net.expansion
            inside = net.block(maps, stride, style, variant, zero_init)
            if style.norm == "none" and net.shortcut:
                inside = _quieter(inside, sum(counts))
            inside = (*inside, *style.excite("se", maps_out))
            after = style.act("after")
            if net.shortcut:
                drop = style.drop_path(done, sum(counts))
                beside = _shortcut(net, maps_in, maps_out, stride, style)
                blocks.append((str(i), Residual(inside, shortcut=beside, after=after[0][1], drop=drop)))
            else:
                blocks.append((str(i), chain(*inside, *after)))
            maps_in, done = maps_out, done + 1
        stages.append((f"layer{stage + 1}", ((f"layer{stage + 1}", Chain(tuple(blocks))),)))
    kept, more = fit(tuple(part for _, parts in stages for part in parts), shape, style)
    head = (("avgpool", Grid(1)), ("flatten", Flatten()), *style.drop(), ("fc", Dense(classes)))
    return Plan(name, Chain((*kept, *head)), shape, (*ends(stages, kept), ("head", "fc")), (*notes, *more))


def _quieter(parts: Parts, blocks: int) -> Parts:
    """Let the last convolution of a block start at 1 / sqrt(blocks): without norms, sums would grow block by block."""
    last = max(i for i, (_, layer) in enumerate(parts) if isinstance(layer, Conv))
    return tuple(
        (name, replace(layer, gain=blocks**-0.5) if i == last and isinstance(layer, Conv) else layer)
        for i, (name, layer) in enumerate(parts)
    )


def _shortcut(net: Net, maps_in: int, maps: int, stride: int, style: Filled) -> Layer | None:
    """Make what stands beside a block: nothing where the shapes agree, else option A, B or C of section 3.3."""
    if maps_in == maps and stride == 1 and net.shortcut != "C":
        return None
    return Subsample(maps, stride) if net.shortcut == "A" else net.project(maps, stride, style)
