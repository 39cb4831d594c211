"""He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2015): residual and plain nets, as plans."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sightline.errors import ModelError
from sightline.models.adapt import fit
from sightline.models.plan import Chain, Conv, Dense, Flatten, Grid, Layer, Plan, Residual, Shape, Subsample, by, chain
from sightline.models.style import Filled, Style

Variant = Literal["paper", "public"]
Stem = Literal["auto", "paper", "small"]
Shortcut = Literal["A", "B", "C"]


class Net(NamedTuple):
    """A column of the paper's table 1, or a row of its section 4.2."""

    block: Literal["basic", "bottleneck"]
    blocks: tuple[int, ...]  # in each stage
    maps: tuple[int, ...]  # of each stage's 3x3 convolutions
    stem: Literal["7x7", "3x3"]
    residual: bool
    shortcut: Shortcut  # where the number of maps changes


WIDE = (64, 128, 256, 512)
NARROW = (16, 32, 64)
# Table 1 (ImageNet) and section 4.2 (CIFAR-10, 6n + 2 layers); plain nets are the same without their shortcuts.
TABLE = {
    "resnet18": Net("basic", (2, 2, 2, 2), WIDE, "7x7", True, "B"),
    "resnet34": Net("basic", (3, 4, 6, 3), WIDE, "7x7", True, "B"),
    "resnet50": Net("bottleneck", (3, 4, 6, 3), WIDE, "7x7", True, "B"),
    "resnet101": Net("bottleneck", (3, 4, 23, 3), WIDE, "7x7", True, "B"),
    "resnet152": Net("bottleneck", (3, 8, 36, 3), WIDE, "7x7", True, "B"),
    "plain18": Net("basic", (2, 2, 2, 2), WIDE, "7x7", False, "A"),
    "plain34": Net("basic", (3, 4, 6, 3), WIDE, "7x7", False, "A"),
    "resnet20": Net("basic", (3, 3, 3), NARROW, "3x3", True, "A"),
    "resnet32": Net("basic", (5, 5, 5), NARROW, "3x3", True, "A"),
    "resnet44": Net("basic", (7, 7, 7), NARROW, "3x3", True, "A"),
    "resnet56": Net("basic", (9, 9, 9), NARROW, "3x3", True, "A"),
    "resnet110": Net("basic", (18, 18, 18), NARROW, "3x3", True, "A"),
    "plain20": Net("basic", (3, 3, 3), NARROW, "3x3", False, "A"),
    "plain56": Net("basic", (9, 9, 9), NARROW, "3x3", False, "A"),
}
EXPANSION = {"basic": 1, "bottleneck": 4}
SMALL = 48
"""Images whose shorter side is at most this many pixels get the stem of the paper's CIFAR-10 nets."""


def basic(maps: int, stride: int, style: Filled, variant: Variant, zero: bool) -> Chain:
    """Make the two 3x3 convolutions of figure 5, left."""
    return chain(
        *style.conv(Conv(3, maps=maps, stride=stride), ("conv1", "bn1", "relu")),
        *style.conv(Conv(3, maps=maps), ("conv2", "bn2", None), zero=zero),
    )


def bottleneck(maps: int, stride: int, style: Filled, variant: Variant, zero: bool) -> Chain:
    """Make the 1x1, 3x3, 1x1 convolutions of figure 5, right; the stride is in the first, or publicly the second."""
    first, second = (stride, 1) if variant == "paper" else (1, stride)
    return chain(
        *style.conv(Conv(1, maps=maps, stride=first), ("conv1", "bn1", "relu")),
        *style.conv(Conv(3, maps=maps, stride=second), ("conv2", "bn2", "relu2")),
        *style.conv(Conv(1, maps=4 * maps), ("conv3", "bn3", None), zero=zero),
    )


BLOCKS = {"basic": basic, "bottleneck": bottleneck}


def shortcut(kind: Shortcut, maps_in: int, maps: int, stride: int, style: Filled) -> Layer | None:
    """Make what stands beside a block: nothing where the shapes agree, else option A, B or C of section 3.3."""
    if maps_in == maps and stride == 1 and kind != "C":
        return None
    if kind == "A":
        return Subsample(maps, stride)
    return Chain(style.conv(Conv(1, maps=maps, stride=stride), ("0", "1", None)))


def stem(net: Net, shape: Shape, choice: Stem, style: Filled) -> tuple[Chain, tuple[str, ...]]:
    """Make the first convolution (and pool), and a sentence where they are not the paper's."""
    small = choice == "small" or (choice == "auto" and style.style.adapt and min(shape[1:]) <= SMALL)
    names = ("conv1", "bn1", "relu")
    if net.stem == "3x3":
        return Chain(style.conv(style.first(Conv(3, maps=style.wide(16))), names)), ()
    if small:
        note = f"the stem is 3x3 with stride 1 and no pool, not 7x7 with stride 2 and a pool: the input is {by(shape)}"
        return Chain(style.conv(style.first(Conv(3, maps=style.wide(64))), names)), (note,)
    conv = style.conv(style.first(Conv(7, maps=style.wide(64), stride=2)), names)
    return chain(*conv, ("maxpool", style.pool(3, 2, 1))), ()


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
    """Plan a residual or plain net of the paper, with torchvision's names.

    Args:
        name: a name of ``TABLE``.
        shape: the input, ``(channels, *positions)``, one to three axes.
        classes: length of the logits.
        style: norm (batch), activation (relu), pooling (max) and the other shared options.
        variant: ``paper`` has a bottleneck's stride in its first 1x1 convolution; ``public`` in its 3x3, as the
            public ImageNet weights do. No difference for 18 and 34 layers.
        stem: ``paper``, ``small`` (3x3 with stride 1, no pool) or ``auto``: small up to 48 pixels.
        shortcut: where maps or sizes change, A thins out and pads with zeros, B projects; C projects everywhere.
        zero_init: start the last norm of every block at 0, so that each block starts as its shortcut
            (Goyal et al. 2017, 5.1).
    """
    return build(TABLE[name], name, shape, classes, style, variant, stem, shortcut, zero_init)


def build(
    net: Net,
    name: str,
    shape: Shape,
    classes: int,
    style: Style,
    variant: Variant,
    stem_choice: Stem,
    kind: Shortcut | None,
    zero_init: bool,
) -> Plan:
    """Put stem, stages and head together; the arguments are ``resnet``'s."""
    for option, value, known in (
        ("variant", variant, ("paper", "public")),
        ("stem", stem_choice, ("auto", "paper", "small")),
        ("shortcut", kind, (None, "A", "B", "C")),
    ):
        if value not in known:
            raise ModelError(f"{option} of '{name}' is {value!r}.", f"Choose one of: {', '.join(map(str, known))}.")
    filled = style.filled(norm="batch")
    first, notes = stem(net, shape, stem_choice, filled)
    parts = [*first.parts]
    stages = [("stem", parts[-1][0])]
    maps_in = filled.wide(net.maps[0])
    depths = [filled.deep(count) for count in net.blocks]
    done = 0
    for i, (depth, maps) in enumerate(zip(depths, map(filled.wide, net.maps), strict=True), 1):
        blocks: list[tuple[str, Layer]] = []
        for j in range(depth):
            stride = 2 if i > 1 and j == 0 else 1
            inside = BLOCKS[net.block](maps, stride, filled, variant, zero_init and net.residual)
            maps_out = maps * EXPANSION[net.block]
            parts_inside = (*inside.parts, *filled.excite("se", maps_out))
            after = filled.act("after")[0][1]
            if net.residual:
                beside = shortcut(kind or net.shortcut, maps_in, maps_out, stride, filled)
                drop = filled.drop_path(done, sum(depths))
                blocks.append((str(j), Residual(parts_inside, shortcut=beside, after=after, drop=drop)))
            else:
                blocks.append((str(j), chain(*parts_inside, ("after", after))))
            maps_in, done = maps_out, done + 1
        parts.append((f"layer{i}", Chain(tuple(blocks))))
        stages.append((f"layer{i}", f"layer{i}"))
    kept, more = fit(tuple(parts), shape, filled)
    head = (("avgpool", Grid(1)), ("flatten", Flatten()), *filled.drop(), ("fc", Dense(classes)))
    stages = [(stage, where) for stage, where in stages if where in dict(kept)]
    return Plan(name, Chain((*kept, *head)), shape, (*stages, ("head", "fc")), (*notes, *more))
