"""Numbers and texts -> SVG markup: scales, ticks, axes, labels that fit. Colours live in ``chart.css``, for dark pages.

Drawn by hand rather than by matplotlib: text stays text (it can be searched, read aloud and takes the page's font),
one drawing serves light, dark and paper, and ten figures take milliseconds.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files

TEXT = 12.0
"""Size of text in drawing units; drawings are made to be shown at about one unit per CSS pixel."""

_WIDTHS = {**dict.fromkeys("ijlI.,:;'|!ftr()[]{}/ ", 0.36), **dict.fromkeys("mwMWQ@%—…", 0.95)}


@dataclass(frozen=True)
class Svg:
    """A drawing.

    ``str(drawing)`` is a file of its own, light or dark as the viewer is; ``inline`` is for a page that has
    ``stylesheet()``. A notebook shows it as it is.

    Attributes:
        width: in units, each about one CSS pixel.
        height: likewise.
        label: what a person who does not see the drawing should know of it.
        body: the markup inside.
    """

    width: float
    height: float
    label: str
    body: str

    @property
    def inline(self) -> str:
        """The drawing as an element of an HTML page."""
        return (
            f'<svg class="chart" viewBox="0 0 {number(self.width)} {number(self.height)}" role="img" '
            f'style="max-width:{number(self.width * 1.4)}px" aria-label="{escape(clean(self.label))}">{self.body}</svg>'
        )

    def __str__(self) -> str:
        size = f'width="{number(self.width)}" height="{number(self.height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="chart alone" {size} role="img" '
            f'viewBox="0 0 {number(self.width)} {number(self.height)}">'
            f"<title>{escape(clean(self.label))}</title><style>{stylesheet()}</style>"
            f'<rect class="paper" width="100%" height="100%"/>{self.body}</svg>\n'
        )

    def _repr_svg_(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Scale:
    """The way from a number to a place on the paper.

    Attributes:
        low: number at ``start``; above 0 if ``log``.
        high: number at ``end``, not equal to ``low``.
        start: place in units.
        end: place in units.
        log: equal ratios take equal space.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Give the place of ``value``."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(max(value, low * 1e-6)), math.log(low), math.log(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Choose about ``count`` round numbers within the scale."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            every = max(1, math.ceil((len(powers) - 2) / count))
            for steps in ((1, 2, 5), (1, 3), (1,)):
                marks = [step * 10.0**power for power in powers if power % every == 0 for step in steps]
                marks = [mark for mark in marks if self.low <= mark * 1.0001 and mark * 0.9999 <= self.high]
                if len(marks) <= count + 2:
                    break
            return marks
        step = round_up((self.high - self.low) / max(count, 1))
        first = math.ceil(self.low / step - 1e-9)
        return [round(k * step, 12) for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def round_up(value: float) -> float:
    """Give the next number of the form 1, 2 or 5 times a power of ten, from the smallest that floats hold exactly."""
    value = max(value, sys.float_info.min)
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def around(values: Iterable[float], *, least: float | None = None, most: float | None = None) -> tuple[float, float]:
    """Give round ends for a linear scale that holds the finite ones among ``values``.

    Args:
        values: what is to be shown.
        least: the scale never goes below this.
        most: the scale never goes above this.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    spread = (high - low) or abs(high) or 1.0
    step = round_up(spread / 5)
    low, high = math.floor((low - spread * 0.03) / step) * step, math.ceil((high + spread * 0.03) / step) * step
    low, high = max(low, least if least is not None else low), min(high, most if most is not None else high)
    return (low, high) if high > low else (low - step, high) if most is not None else (low, low + step)


def number(value: float) -> str:
    """Write a coordinate: two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def short(value: float) -> str:
    """Write a number for people: three digits that count, ``2e-05`` where it is tiny."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) < 1e-3 or abs(value) >= 1e6:
        mantissa, exponent = f"{value:.2g}".split("e") if "e" in f"{value:.2g}" else f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def clean(text: str) -> str:
    """Replace what XML cannot hold (control characters, halves of surrogate pairs) by a visible mark."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)


def width(text: str, size: float = TEXT, *, bold: bool = False) -> float:
    """Estimate how wide a text is, in units; a little too much rather than too little."""
    return (
        size
        * (1.12 if bold else 1.0)
        * sum(
            0.0
            if unicodedata.combining(letter)
            else 1.05
            if unicodedata.east_asian_width(letter) in "WF"
            else _WIDTHS.get(letter, 0.76 if letter.isupper() else 0.64)
            for letter in text
        )
    )


def fit(text: str, room: float, size: float = TEXT) -> str:
    """Cut a text in its middle so that it takes at most ``room`` units: names often differ at their ends."""
    if width(text, size) <= room:
        return text
    for kept in range(len(text) - 1, 0, -1):
        cut = text[: kept - kept // 2].rstrip() + "…" + text[len(text) - kept // 2 :].lstrip()
        if width(cut, size) <= room:
            return cut
    return "…"


def tag(name: str, content: str = "", **attributes: str | float) -> str:
    """Write an element; ``content`` is markup, attributes are escaped, ``kind`` becomes ``class``."""
    written = "".join(
        f" {'class' if key == 'kind' else key.replace('_', '-')}="
        f'"{number(value) if isinstance(value, (int, float)) else escape(clean(value))}"'
        for key, value in attributes.items()
        if value != ""
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def text(
    x: float,
    y: float,
    content: str,
    *,
    anchor: str = "",
    kind: str = "",
    turn: float = 0.0,
    size: float = 0.0,
    whole: str = "",
) -> str:
    """Write a text at a place.

    Args:
        x: of the anchor, units.
        y: of the baseline, units.
        content: plain text.
        anchor: ``""`` (start), ``"middle"`` or ``"end"``.
        kind: class names for the style sheet.
        turn: degrees, clockwise, about the place.
        size: in units, 0 for the usual one.
        whole: the full text, shown when pointed at, where ``content`` was cut.
    """
    inner = escape(clean(content)) + (tag("title", escape(clean(whole))) if whole and whole != content else "")
    return tag(
        "text",
        inner,
        x=x,
        y=y,
        text_anchor=anchor,
        kind=kind,
        transform=f"rotate({number(turn)} {number(x)} {number(y)})" if turn else "",
        style=f"font-size:{number(size)}px" if size else "",
    )


def line(points: Sequence[tuple[float, float]], kind: str) -> str:
    """Draw a line through points; a gap where a point is not finite, a dot where one stands alone."""
    parts, run = [], list[tuple[float, float]]()
    for point in [*points, (math.nan, math.nan)]:
        if math.isfinite(point[0]) and math.isfinite(point[1]):
            run.append(point)
        elif run:
            if len(run) == 1:
                parts.append(tag("circle", cx=run[0][0], cy=run[0][1], r=3.5, kind=f"dot {kind}"))
            else:
                path = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in run)
                parts.append(tag("path", d=path, kind=f"line {kind}"))
            run = []
    return "".join(parts)


def axes(
    x: Scale, y: Scale, *, x_title: str, y_title: str, x_ticks: dict[float, str], y_ticks: dict[float, str]
) -> str:
    """Draw quiet grid lines, tick labels, the vertical axis's title above it and the horizontal one's below.

    Args:
        x: places along the drawing.
        y: places up the drawing (``start`` is the bottom).
        x_title: what is shown, with unit.
        y_title: likewise.
        x_ticks: number -> label.
        y_ticks: number -> label.
    """
    parts = [text(0, 12, y_title, kind="title")]
    for value, label in y_ticks.items():
        place = y(value)
        parts.append(tag("line", x1=x.start, x2=x.end, y1=place, y2=place, kind="grid"))
        parts.append(text(x.start - 8, place + 4, label, anchor="end"))
    parts.append(tag("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, kind="axis"))
    for value, label in x_ticks.items():
        place = x(value)
        parts.append(tag("line", x1=place, x2=place, y1=y.start, y2=y.start + 4, kind="axis"))
        parts.append(text(place, y.start + 17, label, anchor="middle"))
    parts.append(text(x.end, y.start + 34, x_title, anchor="end", kind="title"))
    return "".join(parts)


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places as little as needed until neighbours are ``gap`` apart, within low..high where they fit."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for before, this in zip([None, *order], order, strict=False):
        moved[this] = max(moved[this], low if before is None else moved[before] + gap)
    for after, this in zip([None, *order[::-1]], order[::-1], strict=False):
        moved[this] = min(moved[this], high if after is None else moved[after] - gap)
    return moved


@cache
def stylesheet() -> str:
    """Give the rules for all drawings: colours for light, dark and paper, lines and letters."""
    return files("sightline.reports").joinpath("chart.css").read_text(encoding="utf-8")
