"""A plan -> a drawing of the whole network: its maps to scale, and where its weights and its work are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from math import prod

from sightline.models import arithmetic
from sightline.models.plan import (
    Branches,
    Conv,
    Dense,
    Flatten,
    Gate,
    Group,
    Layer,
    Plan,
    Residual,
    Shape,
    Side,
    by,
    leaves,
)
from sightline.models.sequence import Attention, Steps, Tokens
from sightline.reports.svg import TEXT, Svg, number, tag, text, width

ACROSS = 940.0
"""Units that a drawing is wide, at most, as long as its labels fit."""
MARGIN, TALL, UNITS, BAR = 92.0, 180.0, 110.0, 44.0
"""Units: room for the titles of the rows, height of the tallest map, of the longest vector, of the longest bar."""
LABELS = 76.0
"""Units for what is written below the columns, and the value above the longest bar."""
SHADES = ("l3", "l4", "l6", "l2")
"""How the branches of a module are told apart, in their order."""


@dataclass
class Box:
    """A feature map or vector: what one layer gives.

    Attributes:
        shape: ``(channels, *positions)`` or ``(units,)``.
        hollow: nothing is learnt for it (pools).
        widths: channels of each branch where several lie side by side.
        layers: names of the leaves that make it.
        arcs: shortcuts that end behind it: boxes they span, and whether they change the shape.
        gated: squeeze-and-excitation weighs its maps.
        side: an auxiliary head looks at it.
        things: what its positions are, where they are no pixels: ``tokens``, ``steps``.
    """

    shape: Shape
    hollow: bool = False
    widths: tuple[int, ...] = ()
    layers: list[str] = field(default_factory=list)
    arcs: list[tuple[int, bool]] = field(default_factory=list)
    gated: bool = False
    side: str = ""
    things: str = ""

    @property
    def vector(self) -> bool:
        """Whether it has no positions to speak of."""
        return prod(self.shape[1:]) == 1

    @property
    def size(self) -> tuple[int, ...]:
        """Its positions; none of a vector."""
        return () if self.vector else self.shape[1:]


@dataclass
class Column:
    """Maps of one size, or one vector, with what they cost."""

    boxes: list[Box]
    weights: int
    work: int
    first: bool = False

    @property
    def lines(self) -> list[str]:
        """What is written below: size, maps, layers."""
        last = self.boxes[-1]
        size = f"{by(last.size).replace('x', '×')} {last.things}".rstrip() if last.size else "vector"
        thing = "units" if last.vector else "features" if last.things else "maps"
        if self.first:
            thing = "channels" if last.shape[0] > 1 else "channel"
        count = sum(not box.hollow for box in self.boxes)
        return [size, f"{last.shape[0]:,} {thing}", f"{count} layers" if count > 1 and not self.first else ""]

    @property
    def room(self) -> float:
        """Units that its labels take."""
        sums = [amount(self.weights), amount(self.work)]
        return max(width(line, bold=i == 0) for i, line in enumerate([*self.lines, *sums])) + 4


def draw(plan: Plan) -> Svg:
    """Draw a network from its input to its logits.

    Each map is a box as tall as its first side and as wide as its channels, both to scale; maps of one size stand in a
    column, above bars for the weights and the multiply-adds that went into them.

    Raises:
        ModelError: the input does not pass through.
    """
    rows = {row.name: row for row in arithmetic.table(plan)}
    columns = _columns(Walk(plan).boxes, rows)
    boxes = [box for column in columns for box in column.boxes]
    gap = 6.0 if len(boxes) <= 26 else 4.0 if len(boxes) <= 60 else 2.0
    scale = _scale(columns, gap)
    tall = TALL / max(max(box.size, default=1) for box in boxes)
    units = UNITS / max((box.shape[0] for box in boxes if box.vector), default=1)
    lift = max(6.0, *(_high(box, tall, units) / 2 + _lift(box) - TALL / 2 for box in boxes))
    title = (
        f"{plan.name} at {by(plan.shape).replace('x', '×')}: {amount(sum(c.weights for c in columns))} weights, "
        f"{amount(sum(c.work for c in columns))} multiply-adds"
    )
    beside = sum(row.parameters for row in rows.values()) - sum(column.weights for column in columns)
    if beside:
        title += f"; {amount(beside)} weights more in heads for training"
    middle = 26 + lift + TALL / 2
    parts = [text(0, 13, title, kind="strong")]
    edges: list[tuple[Box, float, float, float]] = []
    x = MARGIN
    places = []
    for column in columns:
        inside = sum(_wide(box, scale) for box in column.boxes) + gap * (len(column.boxes) - 1)
        here = x + (max(column.room, inside) - inside) / 2
        for box in column.boxes:
            wide = _wide(box, scale)
            edges.append((box, here, wide, _high(box, tall, units)))
            here += wide + gap
        places.append((x, max(column.room, inside)))
        x += max(column.room, inside) + 12
    end = x - 12
    parts.append(tag("line", x1=edges[0][1], x2=edges[-1][1] + edges[-1][2], y1=middle, y2=middle, kind="axis"))
    for i, (box, left, wide, high) in enumerate(edges):
        parts.append(_box(box, left, middle - high / 2, wide, high, first=i == 0))
    for i in range(len(edges)):
        parts.append(_above(edges, i, middle, gap))
    below = middle + TALL / 2 + 12
    parts += [_labels(column, *place, below) for column, place in zip(columns, places, strict=True)]
    for row, (name, unit) in enumerate((("weights", "weights"), ("multiply-adds", "work"))):
        base = below + LABELS + BAR + row * (BAR + 38)
        parts.append(_bars(columns, places, base, name, [getattr(column, unit) for column in columns], end))
    bottom = base + 24
    legend, height = _legend(boxes, bottom, max(end, ACROSS * 0.6))
    return Svg(
        max(end, width(title, bold=True)) + 4, bottom + height, f"{title}. {_words(columns)}", "".join(parts) + legend
    )


def amount(count: int) -> str:
    """Write a large count in three digits: ``61.1 M``, ``2.4 k``, ``3.66 G``."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * factor:  # 999,999 is 1 M, not 1000 k
            return f"{count / factor:.3g}\N{NO-BREAK SPACE}{unit}"
    return str(count)


class Walk:
    """Goes through a plan and notes a box wherever a map comes out; what only changes values joins the box before."""

    def __init__(self, plan: Plan) -> None:
        self.boxes = [Box(plan.shape, hollow=True)]
        self.things = ""
        self.through(plan.body, "", plan.shape)

    def through(self, layer: Layer, name: str, shape: Shape) -> None:
        """Go through one layer, which gets a map of ``shape``."""
        if isinstance(layer, Gate):
            self.boxes[-1].gated = True
            self.boxes[-1].layers += [leaf for leaf, _ in leaves(layer, name)]
        elif isinstance(layer, Side):
            self.boxes[-1].side = name
        elif isinstance(layer, Branches):
            widths = tuple(part.out(shape)[0] for _, part in layer.parts)
            self.note(layer.out(shape), [leaf for leaf, _ in leaves(layer, name)], widths=widths)
        elif isinstance(layer, Group):
            self.group(layer, name, shape)
        elif isinstance(layer, Conv | Dense | Attention):
            self.note(layer.out(shape), [name])
        elif isinstance(layer, Tokens | Steps):
            self.things = "tokens" if isinstance(layer, Tokens) else "steps"
        elif layer.out(shape) != shape and not isinstance(layer, Flatten):
            self.note(layer.out(shape), [name], hollow=not layer.parameters(shape))
        else:
            self.boxes[-1].layers.append(name)

    def group(self, layer: Group, name: str, shape: Shape) -> None:
        """Go through the parts, and note the shortcut around them where there is one."""
        before = len(self.boxes)
        here = shape
        for part, child in layer.parts:
            self.through(child, f"{name}.{part}" if name else part, here)
            here = child.out(here)
        if isinstance(layer, Residual):
            if layer.shortcut:
                self.boxes[-1].layers += [leaf for leaf, _ in leaves(layer.shortcut, f"{name}.{layer.beside}")]
            self.boxes[-1].arcs.append((max(1, len(self.boxes) - before), layer.shortcut is not None))

    def note(self, shape: Shape, layers: list[str], *, hollow: bool = False, widths: tuple[int, ...] = ()) -> None:
        """Add a box."""
        self.boxes.append(Box(shape, hollow, widths, layers, things=self.things if len(shape) > 1 else ""))


def _columns(boxes: list[Box], rows: dict[str, arithmetic.Row]) -> list[Column]:
    columns: list[Column] = []
    for i, box in enumerate(boxes):
        own = [rows[name] for name in box.layers]
        weights, work = sum(row.parameters for row in own), sum(row.multiply_adds for row in own)
        same = i > 1 and not box.vector and columns[-1].boxes[-1].size == box.size
        if same and len(columns[-1].boxes[-1].shape) == len(box.shape):
            columns[-1].boxes.append(box)
            columns[-1].weights += weights
            columns[-1].work += work
        else:
            columns.append(Column([box], weights, work, first=i == 0))
    return columns


def _wide(box: Box, scale: float) -> float:
    return 6.0 if box.vector else max(2.0, box.shape[0] * scale)


def _high(box: Box, tall: float, units: float) -> float:
    return max(2.0, box.shape[0] * units if box.vector else box.shape[1] * tall)


def _lift(box: Box) -> float:
    """Give the units that stand above a box."""
    return 48.0 if box.side else 26.0 if box.arcs else 10.0 if box.gated else 0.0


def _scale(columns: list[Column], gap: float) -> float:
    """Choose the units per channel: as many as fit, and no map wider than it needs to be."""
    boxes = [box for column in columns for box in column.boxes]
    scale = min(3.0, 44.0 / max((box.shape[0] for box in boxes if not box.vector), default=44))
    least = MARGIN + _taken(columns, 0, gap)
    while MARGIN + _taken(columns, scale, gap) > max(ACROSS, least * 1.02):
        scale *= 0.95
    return scale


def _taken(columns: list[Column], scale: float, gap: float) -> float:
    inside = [sum(_wide(box, scale) for box in column.boxes) + gap * (len(column.boxes) - 1) for column in columns]
    return sum(max(column.room, wide) + 12 for column, wide in zip(columns, inside, strict=True))


def _box(box: Box, x: float, y: float, wide: float, high: float, *, first: bool) -> str:
    if box.widths:
        parts, here = [], x
        for channels, shade in zip(box.widths, (SHADES * len(box.widths))[: len(box.widths)], strict=True):
            part = wide * channels / sum(box.widths)
            parts.append(tag("rect", x=here, y=y, width=part, height=high, kind=f"right {shade}"))
            here += part
        return tag("rect", x=x, y=y, width=wide, height=high, kind="paper") + "".join(parts)
    kind = "input" if first else "hollow" if box.hollow else "third" if box.vector else "right"
    return tag("rect", x=x, y=y, width=wide, height=high, rx=min(1.5, wide / 3), kind=kind)


def _above(edges: list[tuple[Box, float, float, float]], i: int, middle: float, gap: float) -> str:
    """Draw what stands above a box: the shortcuts that end behind it, its gate, its auxiliary head."""
    box, left, wide, high = edges[i]
    parts = []
    for span, changed in box.arcs:
        over = edges[i - span + 1 : i + 1]
        start, end = over[0][1] - gap / 2, left + wide + gap / 2
        most = max(each[3] for each in over)
        first, last = (middle - max(most, each) / 2 - 3 for each in (edges[i - span][3] if changed else 0, 0))
        rise = min(18.0, 8 + (end - start) * 0.12)
        path = f"M{number(start)} {number(first)}C{number(start)} {number(first - rise)} {number(end)} "
        path += f"{number(last - rise)} {number(end)} {number(last)}"
        parts.append(tag("path", d=path, kind="arc changed" if changed else "arc"))
    top = middle - high / 2
    if box.gated:
        parts.append(tag("circle", cx=left + wide / 2, cy=top - 5, r=2.6, kind="third"))
    if box.side:
        x = left + wide / 2
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=top - 18, kind="mark"))
        parts.append(tag("rect", x=x - 5, y=top - 28, width=10, height=10, kind="hollow dashed"))
        parts.append(text(x, top - 32, box.side, anchor="middle"))
    return "".join(parts)


def _labels(column: Column, x: float, wide: float, y: float) -> str:
    """Draw the bracket under a column, and what it says."""
    parts = [tag("line", x1=x, x2=x + wide, y1=y, y2=y, kind="axis")]
    for i, line in enumerate(column.lines):
        if line:
            parts.append(text(x + wide / 2, y + 17 + i * 15, line, anchor="middle", kind="" if i else "strong"))
    return "".join(parts)


def _bars(
    columns: list[Column], places: list[tuple[float, float]], base: float, name: str, values: list[int], end: float
) -> str:
    """Draw a row of bars on one scale, with their values above them."""
    most = max(values) or 1
    parts = [
        text(0, base - BAR / 2 - 3, name, kind="title"),
        text(0, base - BAR / 2 + 13, f"{amount(sum(values))} in all"),
    ]
    parts.append(tag("line", x1=MARGIN, x2=end, y1=base, y2=base, kind="grid"))
    for (x, wide), value in zip(places, values, strict=True):
        if value:
            high = max(1.0, value / most * BAR)
            bar = min(26.0, wide - 6)
            x += wide / 2
            parts.append(tag("rect", x=x - bar / 2, y=base - high, width=bar, height=high, kind="right l4"))
            parts.append(text(x, base - high - 5, amount(value), anchor="middle"))
    return "".join(parts)


def _legend(boxes: Iterable[Box], y: float, room: float) -> tuple[str, float]:
    """Explain what is in the drawing, and nothing else; in as many lines as it takes."""
    boxes = list(boxes)
    arcs = [changed for box in boxes for _, changed in box.arcs]
    entries = []
    if any(not box.vector and not box.hollow for box in boxes):
        sign = tag("rect", x=1, y=-10, width=8, height=12, kind="right")
        entries.append((sign, "maps of a layer, side and number to scale"))
    if any(box.widths for box in boxes):
        parts = [tag("rect", x=3 * i, y=-10, width=3, height=12, kind=f"right {s}") for i, s in enumerate(SHADES)]
        entries.append(("".join(parts), "the same, from branches side by side"))
    if any(box.hollow for box in boxes[1:]):
        entries.append((tag("rect", x=1, y=-10, width=8, height=12, kind="hollow"), "pooled"))
    if any(box.vector and not box.hollow for box in boxes):
        entries.append((tag("rect", x=3, y=-10, width=5, height=12, kind="third"), "dense (a scale of its own)"))
    curve = "M-1 0C-1 -12 13 -12 13 0"
    if not all(arcs):
        entries.append((tag("path", d=curve, kind="arc"), "shortcut: what came in is added"))
    if any(arcs):
        entries.append((tag("path", d=curve, kind="arc changed"), "shortcut that changes the shape"))
    if any(box.gated for box in boxes):
        entries.append((tag("circle", cx=6, cy=-4, r=2.6, kind="third"), "each map weighed by a factor"))
    if any(box.side for box in boxes):
        entries.append((tag("rect", x=1, y=-9, width=10, height=10, kind="hollow dashed"), "head for training only"))
    parts, x, line = [], 0.0, 0
    for sign, words in entries:
        wide = 20 + width(words, TEXT) + 16
        if x and x + wide > room:
            x, line = 0.0, line + 1
        parts.append(tag("g", sign + text(18, 0, words), transform=f"translate({number(x)} {number(y + line * 19)})"))
        x += wide
    return "".join(parts), line * 19 + 8


def _words(columns: list[Column]) -> str:
    """Say what the drawing shows: column by column."""
    said = [f"{column.lines[0]}, {column.lines[1]}" for column in columns]
    return "From the input to the logits: " + "; ".join(key for key, _ in groupby(said)) + "."
