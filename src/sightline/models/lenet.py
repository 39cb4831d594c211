"""LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998): LeNet-5."""

from __future__ import annotations

from typing import Literal

from sightline.models.adapt import fit, last_map
from sightline.models.plan import Conv, Dense, Flatten, Grid, Layer, Plan, Scale, Shape, by, chain
from sightline.models.style import Filled, Parts, Style, choose

MAPS = {"C1": 6, "C3": 16, "C5": 120, "F6": 84}
# Table I: the maps of S2 that each of C3's sixteen maps sees
CONNECTIONS = (
    (0, 1, 2),
    (1, 2, 3),
    (2, 3, 4),
    (3, 4, 5),
    (0, 4, 5),
    (0, 1, 5),
    (0, 1, 2, 3),
    (1, 2, 3, 4),
    (2, 3, 4, 5),
    (0, 3, 4, 5),
    (0, 1, 4, 5),
    (0, 1, 2, 5),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)
NATIVE = 32
"""Side of the paper's input: a 28x28 digit in the middle of a 32x32 field."""


def lenet5(
    name: str, shape: Shape, classes: int, style: Style, *, connections: Literal["paper", "full"] = "paper"
) -> Plan:
    """Plan LeNet-5, with a dense layer in place of the paper's last layer of distances to drawn digits.

    Args:
        name: its name, for messages.
        shape: the input, ``(channels, *positions)``, one to three axes.
        classes: length of the logits.
        style: norm (none), activation (scaled_tanh), pooling (average, with a learnt factor and offset per map; max
            has neither) and the other shared options.
        connections: ``paper`` lets each map of C3 see the maps of S2 that table I names; ``full`` all of them.
    """
    choose("connections", connections, "paper", "full")
    filled = style.filled(activation="scaled_tanh", pooling="average")
    maps = {layer: filled.wide(count) for layer, count in MAPS.items()}
    table = CONNECTIONS if connections == "paper" and (maps["C1"], maps["C3"]) == (6, 16) else ()
    side, notes = min(shape[1:]), []
    pads = {"C1": 0, "C3": 0}
    if style.adapt and side < NATIVE:
        pads["C1"] = 2
        notes.append(
            f"c1 pads by 2, as the paper's {NATIVE}x{NATIVE} field does for its digits: the input is {by(shape)}"
        )
    if style.adapt and side < 24:
        pads["C3"] = 2
        notes.append("c3 pads by 2, or nothing would be left of the map")
    first = filled.first(Conv(5, maps=maps["C1"], padding=pads["C1"]))
    body: Parts = (
        *_convs("c1", first, filled),
        *_subsampling("s2", filled),
        *_convs("c3", Conv(5, maps=maps["C3"], padding=pads["C3"], connections=table), filled),
        *_subsampling("s4", filled),
    )
    body, more = fit(body, shape, filled)
    return _finish(name, shape, classes, filled, body, (*notes, *more), maps)


def _convs(name: str, conv: Conv, style: Filled) -> Parts:
    """Make a convolution, its activation, and as many more of its kind as the depth factor asks for."""
    last = style.deep(1) == 1
    parts = style.conv(conv, (name, f"{name}_norm", f"{name}_act" if last else f"{name}_act1"))
    for i in range(2, style.deep(1) + 1):
        act = f"{name}_act" if i == style.deep(1) else f"{name}_act{i}"
        parts += style.conv(Conv(5, maps=conv.maps), (f"{name}_{i}", f"{name}_norm{i}", act))
    return (*parts, *style.excite(f"{name}_se", conv.maps))


def _subsampling(name: str, style: Filled) -> Parts:
    """Make a sub-sampling layer: the mean of 2x2 (their sum, up to the factor), a factor, an offset, a squashing."""
    learnt: Parts = (("scale", Scale()), *style.act("act")) if style.pooling == "average" else ()
    return ((name, chain(("pool", style.pool(2, 2)), *learnt)),)


def _finish(
    name: str, shape: Shape, classes: int, style: Filled, body: Parts, notes: tuple[str, ...], maps: dict[str, int]
) -> Plan:
    """Add C5, whose kernels cover the whole map, F6 and the logits."""
    paper = (5,) * (len(shape) - 1)
    last = (last_map(body, shape) if style.adapt else ()) or paper
    if max(last) > 5:
        cells = tuple(min(n, 5) for n in last)
        body = (*body, ("grid", Grid(cells)))
        notes = (*notes, f"the last map is averaged from {by(last)} to {by(cells)}, the size c5 has in the paper")
        last = cells
    c5: Layer = Conv(last, maps=maps["C5"], padding=0, bias=style.norm == "none")
    dense = Dense(maps["F6"], bias=style.norm == "none")
    head: Parts = (
        ("c5", c5),
        ("flatten", Flatten()),
        *style.normed("c5_norm"),
        *style.act("c5_act"),
        ("f6", dense),
        *style.normed("f6_norm"),
        *style.act("f6_act"),
        *style.drop(),
        ("head", Dense(classes)),
    )
    whole = chain(*body, *head)
    stages = {"C1": "c1_act", "S2": "s2", "C3": "c3_act", "S4": "s4", "C5": "c5_act", "F6": "f6_act", "head": "head"}
    init = "lecun" if style.activation.endswith("tanh") else "he"
    return Plan(name, whole, shape, tuple(stages.items()), notes, init)
