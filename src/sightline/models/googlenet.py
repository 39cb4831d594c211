"""Szegedy et al., "Going deeper with convolutions" (2014): GoogLeNet, as a plan."""

from __future__ import annotations

from typing import NamedTuple

from sightline.models.adapt import ends, fit, last_map
from sightline.models.plan import (
    Branches,
    Chain,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Grid,
    LocalResponse,
    Plan,
    Pool,
    Shape,
    Side,
    by,
    chain,
)
from sightline.models.style import Filled, Parts, Stem, Style, Variant, choose


class Inception(NamedTuple):
    """A row of table 1: maps of the four branches, and of the 1x1 bottlenecks before the large kernels."""

    one: int
    before_three: int
    three: int
    before_five: int
    five: int
    after_pool: int


TABLE = {
    "3a": Inception(64, 96, 128, 16, 32, 32),
    "3b": Inception(128, 128, 192, 32, 96, 64),
    "4a": Inception(192, 96, 208, 16, 48, 64),
    "4b": Inception(160, 112, 224, 24, 64, 64),
    "4c": Inception(128, 128, 256, 24, 64, 64),
    "4d": Inception(112, 144, 288, 32, 64, 64),
    "4e": Inception(256, 160, 320, 32, 128, 128),
    "5a": Inception(256, 160, 320, 32, 128, 128),
    "5b": Inception(384, 192, 384, 48, 128, 128),
}
AUXILIARY = {"4a": "aux1", "4d": "aux2"}
"""The module behind which each auxiliary head looks at the maps (figure 3)."""
SMALL = 48
"""Inputs whose shorter side is at most this long get a first convolution of 3x3 with stride 1, and no pools there."""
EPS = {"paper": 1e-5, "public": 1e-3}


def googlenet(
    name: str,
    shape: Shape,
    classes: int,
    style: Style,
    *,
    variant: Variant = "paper",
    stem: Stem = "auto",
    auxiliary: bool = False,
) -> Plan:
    """Plan GoogLeNet, with torchvision's names.

    Args:
        name: its name, for messages.
        shape: the input, ``(channels, *positions)``, one to three axes.
        classes: length of the logits.
        style: norm (none, or batch for ``public``; any takes the place of local response norm), activation (relu),
            pooling (max), dropout (0.4, or 0.2 for ``public``) and the other shared options.
        variant: ``paper`` has 5x5 kernels and local response norm; ``public`` has 3x3 kernels in their place and
            batch norm, as the public ImageNet weights do.
        stem: ``paper`` (strides to an eighth), ``small`` (none) or ``auto``: small up to 48 positions a side.
        auxiliary: two more heads that learn from the middle while training; ``Network.auxiliary_logits`` gives
            theirs, and ``losses.WithAuxiliary`` adds their losses to the training loss, with the weight 0.3.
    """
    choose("variant", variant, "paper", "public")
    choose("auxiliary", auxiliary, True, False)
    paper = variant == "paper"
    filled = style.filled(norm="none" if paper else "batch", dropout=0.4 if paper else 0.2)
    first, notes = _stem(shape, variant, filled.small(stem, shape, SMALL), filled)
    stages: list[tuple[str, Parts]] = [("stem", first)]
    for stage in "345":
        modules = [module for module in TABLE if module.startswith(stage)]
        for i in range(filled.deep(len(modules))):
            module = f"{stage}{'abcdefghijklmnopqrstuvwxyz'[i]}" if i < 26 else f"{stage}_{i}"
            row = TABLE[modules[min(i, len(modules) - 1)]]
            inside = inception(row, variant, filled)
            parts: Parts = ((f"inception{module}", inside), *filled.excite(f"se{module}", _maps(row, filled)))
            stages.append((f"inception{module}", parts))
        if stage in "34":
            width = 2 if stage == "4" and not paper else 3
            stages.append((f"pool{stage}", ((f"maxpool{stage}", filled.pool(width, 2, ceil=True)),)))
    kept, more = fit(tuple(part for _, parts in stages for part in parts), shape, filled)
    if auxiliary:
        kept = _with_heads(kept, shape, classes, variant, filled)
    head = (("avgpool", Grid(1)), ("flatten", Flatten()), *filled.drop(), ("fc", Dense(classes)))
    found = tuple((stage, where) for stage, where in ends(stages, kept) if not stage.startswith("pool"))
    return Plan(name, Chain((*kept, *head)), shape, (*found, ("head", "fc")), (*notes, *more))


def _unit(name: str, conv: Conv, variant: Variant, style: Filled) -> Parts:
    """Make a convolution, its norm and its activation under one name, as torchvision groups them."""
    return ((name, Chain(style.conv(conv, ("conv", "bn", "relu"), eps=EPS[variant]))),)


def _stem(shape: Shape, variant: Variant, small: bool, style: Filled) -> tuple[Parts, tuple[str, ...]]:
    """Make the layers before the first inception module, and a sentence where they are not the paper's."""
    maps = style.wide(64)
    first = style.first(Conv(3, maps=maps) if small else Conv(7, maps=maps, stride=2))
    response = variant == "paper" and style.norm == "none"
    pool = style.pool(3, 2, ceil=True)
    parts: Parts = (
        *_unit("conv1", first, variant, style),
        *((("maxpool1", pool),) if not small else ()),
        *((("response1", LocalResponse()),) if response else ()),
        *_unit("conv2", Conv(1, maps=maps), variant, style),
        *_unit("conv3", Conv(3, maps=style.wide(192)), variant, style),
        *((("response2", LocalResponse()),) if response else ()),
        *((("maxpool2", pool),) if not small else ()),
    )
    note = f"the stem is 3x3 with stride 1 and no pools, not 7x7 with stride 2 and two pools: the input is {by(shape)}"
    return parts, (note,) if small else ()


def _maps(row: Inception, style: Filled) -> int:
    return sum(map(style.wide, (row.one, row.three, row.five, row.after_pool)))


def inception(row: Inception, variant: Variant, style: Filled) -> Branches:
    """Make the four branches of figure 2b; the widest kernel is 5x5, in the public variant 3x3."""
    maps = Inception(*map(style.wide, row))
    widest = 5 if variant == "paper" else 3
    pool = Pool(3, 1, 1, kind=style.pooling)
    three = (
        *_unit("0", Conv(1, maps=maps.before_three), variant, style),
        *_unit("1", Conv(3, maps=maps.three), variant, style),
    )
    five = (
        *_unit("0", Conv(1, maps=maps.before_five), variant, style),
        *_unit("1", Conv(widest, maps=maps.five), variant, style),
    )
    return Branches(
        (
            *_unit("branch1", Conv(1, maps=maps.one), variant, style),
            ("branch2", Chain(three)),
            ("branch3", Chain(five)),
            ("branch4", chain(("0", pool), *_unit("1", Conv(1, maps=maps.after_pool), variant, style))),
        )
    )


def _with_heads(parts: Parts, shape: Shape, classes: int, variant: Variant, style: Filled) -> Parts:
    """Put an auxiliary head behind each of its two modules (section 5)."""
    result: Parts = ()
    if not last_map(parts, shape):
        return parts  # the network will say why
    for name, layer in parts:
        shape = layer.out(shape)
        result += ((name, layer),)
        side = AUXILIARY.get(name.removeprefix("se" if style.se else "inception"))
        if side:
            fine = variant == "paper" and min(shape[1:]) >= 14
            cells = Pool(5, 3, 0, kind="average") if fine else Grid(tuple(min(4, n) for n in shape[1:]))
            head: Parts = (
                ("pool", cells),
                *_unit("conv", Conv(1, maps=style.wide(128)), variant, style),
                ("flatten", Flatten()),
                ("fc1", Dense(style.wide(1024))),
                *style.act("relu"),
                *((("dropout", Dropout(0.7)),) if style.dropout else ()),
                ("fc2", Dense(classes)),
            )
            result += ((side, Side(head)),)
    return result
