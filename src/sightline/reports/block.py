"""A part of a plan -> a drawing of its layers one by one: what follows what, what runs side by side, what is added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sightline.models import arithmetic
from sightline.models.plan import (
    Act,
    Branches,
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
    by,
    each,
)
from sightline.models.sequence import Attention, Recurrent
from sightline.reports.svg import Svg, number, tag, text, width

NEXT, HIGH, APART = 22.0, 20.0, 14.0
"""Units between two layers in a row, half the height of a layer, and between paths that run side by side."""
TIPS = {"axis": "tip", "arc": "wrong", "factor": "third"}
"""The line's kind -> that of its arrow's head: the way of most values, a shortcut, what others are multiplied by."""


@dataclass(frozen=True)
class Piece:
    """A part of the drawing that a line runs through from left to right.

    Attributes:
        wide: units from where the line comes in to where it leaves.
        up: units above the line.
        down: units below it.
        put: (x, y) of the line's beginning -> markup.
        splits: whether the line splits up where it comes in, so that no arrow ends there.
    """

    wide: float
    up: float
    down: float
    put: Callable[[float, float], str]
    splits: bool = False


def draw(layer: Layer, shape: Shape, title: str) -> Svg:
    """Draw the layers inside a part of a network, for an input of ``shape``.

    Convolutions are named by kernel and maps; norms and activations stand in the box of the layer they follow.

    Args:
        layer: a block, a module, or a row of layers.
        shape: ``(channels, *positions)`` that come in.
        title: what it is.
    """
    inside = _piece(layer, shape)
    ends = [_end(line) for line in (_shape(shape), _shape(layer.out(shape)))]
    whole = _row([ends[0], inside, ends[1]])
    top = 30 + whole.up
    body = text(0, 13, title, kind="strong") + whole.put(2, top)
    wide = max(whole.wide + 4, width(title, bold=True))
    return Svg(wide, top + whole.down + 4, f"{title}: {_words(layer)}", body)


def _shape(shape: Shape) -> str:
    return by(shape).replace("x", "×")


def _end(words: str) -> Piece:
    wide = width(words) + 4
    return Piece(wide, 8, 8, lambda x, y: text(x + wide / 2, y + 4, words, anchor="middle"))


def _piece(layer: Layer, shape: Shape) -> Piece:
    if isinstance(layer, Residual):
        return _residual(layer, shape)
    if isinstance(layer, Branches):
        return _branches([_piece(part, shape) for _, part in layer.parts])
    if isinstance(layer, Gate):
        return _gate(_parts(layer, shape))
    return _parts(layer, shape) if isinstance(layer, Group) else _node([layer], shape)


def _parts(layer: Group, shape: Shape) -> Piece:
    """Lay the parts of a group in a row; what only changes values goes into the box before it."""
    pieces: list[Piece] = []
    run: list[Layer] = []
    start = shape

    def close() -> None:
        if run:
            pieces.append(_node(list(run), start))
            run.clear()

    for _, part in layer.parts:
        if isinstance(part, Group):
            close()
            if not isinstance(part, Side):
                pieces.append(_piece(part, shape))
        elif not isinstance(part, Flatten):
            if not (run and isinstance(part, Norm | Act | Dropout | LocalResponse | Scale)):
                close()
                start = shape
            run.append(part)
        shape = part.out(shape)
    close()
    return _row(pieces)


def _node(layers: Sequence[Layer], shape: Shape) -> Piece:
    first, *others = layers
    lines = [_name(first, shape), ", ".join(arithmetic.kind(other) for other in others)]
    wide = max(width(line, bold=i == 0) for i, line in enumerate(lines)) + 16
    kind = "node" if first.parameters(shape) else "node plain"

    def put(x: float, y: float) -> str:
        parts = [tag("rect", x=x, y=y - HIGH, width=wide, height=2 * HIGH, rx=5, kind=kind)]
        places = (-3, 13) if lines[1] else (4,)
        parts += [
            text(x + wide / 2, y + place, line, anchor="middle", kind="" if i else "strong")
            for i, (place, line) in enumerate(zip(places, lines, strict=False))
        ]
        return "".join(parts)

    return Piece(wide, HIGH, HIGH, put)


def _name(layer: Layer, shape: Shape) -> str:
    """Name a layer by what matters of it: ``3×3, 64 maps, stride 2``."""
    axes = len(shape) - 1
    if isinstance(layer, Conv | Pool):
        kernel, stride = each(layer.kernel, axes), each(layer.stride, axes)
        what = f"{layer.maps:,}" if isinstance(layer, Conv) else f"{layer.kind} pool"
        name = f"{_shape(kernel)}, {what}"
        if isinstance(layer, Conv) and layer.groups > 1:
            name += f" in {layer.groups} groups"
        return name + (f", stride {stride[0]}" if max(stride) > 1 else "")
    if isinstance(layer, Grid):
        return "mean of all" if max(each(layer.size, axes)) == 1 else f"means of {_shape(each(layer.size, axes))}"
    if isinstance(layer, Dense):
        return f"dense, {layer.features:,}"
    if isinstance(layer, Attention):
        return f"attention, {layer.heads} heads"
    if isinstance(layer, Recurrent):
        return f"GRU, {layer.layers} × {layer.units} both ways"
    return arithmetic.kind(layer)


def _row(pieces: Sequence[Piece]) -> Piece:
    """Put pieces one after the other, with an arrow between."""
    wide = sum(piece.wide for piece in pieces) + NEXT * (len(pieces) - 1)

    def put(x: float, y: float) -> str:
        parts = []
        for i, piece in enumerate(pieces):
            if i:
                parts.append(_bend((x - NEXT, y), (x, y), arrow=not piece.splits))
            parts.append(piece.put(x, y))
            x += piece.wide + NEXT
        return "".join(parts)

    up, down = max(piece.up for piece in pieces), max(piece.down for piece in pieces)
    return Piece(wide, up, down, put, splits=pieces[0].splits)


def _residual(layer: Residual, shape: Shape) -> Piece:
    """Draw a path above the parts that joins them in a plus."""
    body = _parts(layer, shape)
    beside = _piece(layer.shortcut, shape) if layer.shortcut else None
    over = body.up + APART + (beside.down if beside else 0)
    inner = max(body.wide, beside.wide + 2 * NEXT if beside else 0)
    wide = NEXT + inner + NEXT + 16
    up = over + (beside.up if beside else 2)

    def put(x: float, y: float) -> str:
        start, plus, high = x + 4, x + wide - 8, y - over
        parts = [tag("line", x1=x, x2=start, y1=y, y2=y, kind="axis")]
        left = x + NEXT + (inner - body.wide) / 2
        parts += [_arrow(start, left, y), body.put(left, y), _arrow(left + body.wide, plus - 8, y)]
        if beside:
            middle = x + NEXT + (inner - beside.wide) / 2
            parts.append(_bend((start, y), (start, high), (middle, high), arrow=True, kind="arc"))
            parts.append(beside.put(middle, high))
            parts.append(_bend((middle + beside.wide, high), (plus, high), (plus, y - 8), arrow=True, kind="arc"))
        else:
            parts.append(_bend((start, y), (start, high), (plus, high), (plus, y - 8), arrow=True, kind="arc"))
        return "".join([*parts, _sign(plus, y, "+")])

    whole = Piece(wide, up, body.down, put, splits=True)
    return _row([whole, _node([layer.after], shape)]) if layer.after else whole


def _gate(body: Piece) -> Piece:
    """Draw the way straight on, and below it the parts that make the factor."""
    under = body.up + APART
    wide = NEXT + body.wide + NEXT + 16

    def put(x: float, y: float) -> str:
        start, times, low = x + 4, x + wide - 8, y + under
        return "".join(
            [
                _arrow(x, times - 8, y),
                _bend((start, y), (start, low), (x + NEXT, low), arrow=True, kind="factor"),
                body.put(x + NEXT, low),
                _bend((x + NEXT + body.wide, low), (times, low), (times, y + 8), arrow=True, kind="factor"),
                _sign(times, y, "×"),
            ]
        )

    return Piece(wide, 10, under + body.down, put, splits=True)


def _branches(pieces: Sequence[Piece]) -> Piece:
    """Draw paths above each other that begin in one point and are laid side by side at the end."""
    heights = [piece.up + piece.down for piece in pieces]
    total = sum(heights) + APART * (len(pieces) - 1)
    inner = max(piece.wide for piece in pieces)
    wide = 2 * NEXT + inner + 10

    def put(x: float, y: float) -> str:
        start, end, top = x + 4, x + wide - 10, y - total / 2
        parts = [tag("line", x1=x, x2=start, y1=y, y2=y, kind="axis")]
        here = top
        for piece, height in zip(pieces, heights, strict=True):
            line = here + piece.up
            parts.append(_bend((start, y), (start, line), (x + NEXT, line), arrow=True))
            parts.append(piece.put(x + NEXT, line))
            parts.append(_arrow(x + NEXT + piece.wide, end, line))
            here += height + APART
        parts.append(tag("rect", x=end, y=top, width=8, height=total, rx=2, kind="right l4"))
        return "".join(parts)

    return Piece(wide, total / 2, total / 2, put, splits=True)


def _arrow(start: float, end: float, y: float) -> str:
    return _bend((start, y), (end, y), arrow=True)


def _bend(*points: tuple[float, float], arrow: bool = False, kind: str = "axis") -> str:
    """Draw a line with corners, and the head of an arrow at its end."""
    path = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
    drawn = tag("path", d=path, kind=f"{kind} open")
    if not arrow:
        return drawn
    (x, y), (left, above) = points[-1], points[-2]
    along, across = (x > left) - (x < left), (y > above) - (y < above)
    head = [(x, y), (x - 6 * along - 3 * across, y - 6 * across - 3 * along)]
    head.append((x - 6 * along + 3 * across, y - 6 * across + 3 * along))
    corners = "L".join(f"{number(a)} {number(b)}" for a, b in head)
    return drawn + tag("path", d=f"M{corners}Z", kind=TIPS[kind])


def _sign(x: float, y: float, sign: str) -> str:
    return tag("circle", cx=x, cy=y, r=8, kind="hollow") + text(x, y + 4.5, sign, anchor="middle", kind="strong")


def _words(layer: Layer) -> str:
    """Say what is drawn, for those who do not see it."""
    if isinstance(layer, Residual):
        return "what comes in is added to what the layers make of it"
    if isinstance(layer, Branches):
        return f"{len(layer.parts)} paths side by side"
    return "layers in a row"
