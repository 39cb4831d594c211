"""Members and their vote -> drawings: scores side by side, what the vote gains on each, who agrees with whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from sightline.diagnosis.intervals import Figure
from sightline.reports.svg import Scale, Svg, around, axes, clean, fit, short, tag, text, width
from sightline.voting.diversity import Diversity

WIDTH = 440.0
"""Units, as of the other drawings."""

LABELS = 150.0
"""Units, at most, for the names on the left."""

ROW = 25.0
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Line:
    """One line of a chart of intervals.

    Attributes:
        name: on the left.
        figure: the dot and its whiskers.
        kind: colour, ``"valid"``, ``"train"``, ``"third"`` or ``"plain"``.
    """

    name: str
    figure: Figure
    kind: str = "plain"


def lines(rows: Sequence[Line], title: str, *, mark: float | None = None, signed: bool = False) -> Svg:
    """Draw figures under each other, each a dot with its interval, its value at the right.

    Args:
        rows: from top to bottom; shares, shown in percent.
        title: what is shown, with unit; above.
        mark: an upright line, such as the value to beat; a share.
        signed: the figures are differences: points with a sign.
    """
    ends = [100 * end for row in rows for end in _ends(row.figure)]
    bounds = around([*ends, *([100 * mark] if mark is not None else [])], most=None if signed else 100)
    left = 12 + min(LABELS, max(width(row.name, bold=row.kind != "plain") for row in rows))
    base = 30 + ROW * len(rows)
    x = Scale(*bounds, left + 8, WIDTH - 62)
    ticks = {tick: (f"{tick:+g}" if signed and tick else short(tick)).replace("-", MINUS) for tick in x.ticks(5)}
    frame = axes(x, Scale(0, 1, base, 30), x_title="", y_title=title, x_ticks=ticks, y_ticks={})
    body = [tag("line", x1=x(tick), x2=x(tick), y1=26, y2=base, kind="grid") for tick in ticks] + [frame]
    if mark is not None:
        body.append(tag("line", x1=x(100 * mark), x2=x(100 * mark), y1=22, y2=base, kind="mark"))
    said = []
    for number, row in enumerate(rows):
        y = 30 + ROW * (number + 0.5)
        low, high = (x(100 * end) for end in _ends(row.figure))
        value = f"{100 * row.figure.value:{'+' if signed else ''}.1f}{'' if signed else ' %'}".replace("-", MINUS)
        strong = "strong" if row.kind != "plain" else ""
        body.append(text(0, y + 4, fit(row.name, left - 8), kind=strong or "title", whole=row.name))
        body.append(tag("line", x1=low, x2=high, y1=y, y2=y, kind="whisker"))
        body += [tag("line", x1=end, x2=end, y1=y - 4, y2=y + 4, kind="whisker") for end in (low, high)]
        body.append(tag("circle", cx=x(100 * row.figure.value), cy=y, r=5 if strong else 4, kind=f"dot {row.kind}"))
        body.append(text(WIDTH, y + 4, value, anchor="end", kind=strong))
        said.append(f"{row.name} {value}")
    return Svg(WIDTH, base + 24, f"{title}: {'; '.join(said)}", "".join(body))


def _ends(figure: Figure) -> tuple[float, float]:
    low, high = figure.low, figure.high
    return (figure.value if low is None else low, figure.value if high is None else high)


def agreement(found: Diversity, names: Sequence[str], errors: Sequence[float]) -> Svg:
    """Draw who agrees with whom.

    Below the diagonal, blue: the share of images that two members call by different names. Above it, orange: of the
    images that either gets wrong, the share that both get wrong. On it: each member's own share of mistakes.

    Args:
        found: the pairs.
        names: of the members.
        errors: share of images that each gets wrong.
    """
    count = len(names)
    start = 20.0 if count < 10 else 27.0
    left = start + 10 + min(LABELS, max(map(width, names)))
    side = min(58.0, (WIDTH - left - 2) / count)
    top = 24.0
    body = []
    for number, name in enumerate(names):
        middle = (number + 0.5) * side
        body.append(text(0, top + middle + 4, f"{number + 1}", kind="strong"))
        body.append(text(start, top + middle + 4, fit(name, left - start - 8), whole=name))
        body.append(text(left + middle, top - 8, f"{number + 1}", anchor="middle", kind="strong"))
    most = max((pair.differ for pair in found.pairs), default=0.0) or 1.0
    for pair in found.pairs:
        told = f"{names[pair.first]} and {names[pair.second]}"
        said = f"{told}: differ on {pair.differ:.1%} of the images"
        body.append(_cell(left, top, side, pair.second, pair.first, pair.differ, pair.differ / most, "right", said))
        if pair.overlap is not None:
            said = f"{told}: {pair.overlap:.1%} of what either gets wrong, both get wrong"
            body.append(_cell(left, top, side, pair.first, pair.second, pair.overlap, pair.overlap, "wrong", said))
    for number, error in enumerate(errors):
        said = f"{names[number]}: {error:.1%} wrong"
        body.append(_cell(left, top, side, number, number, error, -1.0, "cell", said))
    label = (
        f"Agreement of {count} members: two of them differ on {found.differ:.1%} of the images on average"
        f"{'' if found.overlap is None else f', and share {found.overlap:.1%} of their mistakes'}"
    )
    return Svg(left + side * count + 2, top + side * count + 4, label, "".join(body))


def _cell(
    left: float, top: float, side: float, row: int, column: int, value: float, depth: float, kind: str, said: str
) -> str:
    """Draw one cell; ``depth`` 0..1 decides its shade, below 0 there is none."""
    shade = min(6, 1 + int(depth * 6)) if depth >= 0 else 0
    x, y = left + column * side, top + row * side
    fill = f"{kind} l{shade}" if shade else kind
    drawn = tag(
        "rect", tag("title", escape(clean(said))), x=x + 1, y=y + 1, width=side - 2, height=side - 2, rx=2, kind=fill
    )
    size = min(12.0, side * 0.36)
    if size < 6:
        return drawn
    on = f"on-{kind}" if shade >= 5 else "on"
    return drawn + text(x + side / 2, y + side / 2 + size * 0.36, _share(value), anchor="middle", kind=on, size=size)


def _share(value: float) -> str:
    """Write a share in percent, short enough for a cell: ``7.2``, ``42``, ``0``."""
    return f"{100 * value:.1f}".removesuffix(".0") if value < 0.0995 else f"{100 * value:.0f}"
