"""Numbers -> the words and units a reader sees: percent, intervals, durations, counts; drawings -> markup."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup, escape

from sightline.diagnosis.intervals import Figure
from sightline.reports.svg import Svg, short

SPACE = "\N{NO-BREAK SPACE}"


def percent(share: float) -> str:
    """Write a share: ``98.6 %``. Only a share of exactly 1 is 100 %, only one of exactly 0 is 0 %."""
    rounded = f"{100 * share:.1f}"
    if (rounded == "100.0" and share < 1) or (rounded == "0.0" and share > 0):
        rounded = "99.99" if share > 0.9999 else "0.01" if share < 0.0001 else f"{100 * share:.2f}"
    return f"{rounded.removesuffix('.0') if share in (0, 1) else rounded}{SPACE}%"


def interval(figure: Figure, *, share: bool = True) -> str:
    """Write an interval: ``95.2 to 99.6 %``, or ``0.041 to 0.102`` for what is no share."""
    if figure.low is None or figure.high is None:
        return "no interval from one image"
    if share:
        return f"{percent(figure.low).removesuffix(SPACE + '%')} to {percent(figure.high)}"
    places = _places(figure.value)
    return f"{figure.low:.{places}f} to {figure.high:.{places}f}"


def decimal(value: float) -> str:
    """Write a loss or score: three decimals, more where it is small."""
    return f"{value:.{_places(value)}f}"


def _places(value: float) -> int:
    return 3 if abs(value) >= 0.01 or value == 0 else 5


def count(value: float) -> str:
    """Write a whole number: ``1,797``."""
    return f"{value:,.0f}"


def counted(value: int, thing: str) -> str:
    """Write how many there are of something: ``1 image``, ``180 images``."""
    return f"{count(value)}{SPACE}{thing.removesuffix('s') if value == 1 else thing}"


def times(factor: float) -> str:
    """Write how many times as much something is: ``1.8 ×``."""
    return f"{factor:.2g}{SPACE}×" if factor < 99.5 else f"{count(factor)}{SPACE}×"


def duration(seconds: float) -> str:
    """Write a time: ``0.8 s``, ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 10:
        return f"{seconds:.2g}{SPACE}s" if seconds >= 0.01 or seconds == 0 else f"under 0.01{SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60:02d}{SPACE}s"
    return f"{whole // 3600}{SPACE}h {whole % 3600 // 60:02d}{SPACE}min"


def value(anything: Any) -> str:
    """Write a setting's value as a person would type it."""
    if isinstance(anything, bool):
        return "on" if anything else "off"
    if isinstance(anything, float):
        return short(anything)
    if isinstance(anything, dict):
        return ", ".join(f"{k}={value(v)}" for k, v in anything.items()) or "none"
    if isinstance(anything, (list, tuple)):
        return ", ".join(map(value, anything)) or "none"
    return str(anything)


def sentence(text: str) -> Markup:
    """Write a sentence as markup: a capital first, and code between backticks as code."""
    first = text.split(" ", 1)[0]
    parts = (text[:1].upper() + text[1:] if first.isalpha() else text).split("`")
    if len(parts) % 2 == 0:  # a lone backtick is only a backtick
        return escape("`".join(parts))
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def size(lengths: list[int]) -> str:
    """Write a spatial size: ``32 × 32``."""
    return f"{SPACE}×{SPACE}".join(map(str, lengths))


def drawing(picture: Svg) -> Markup:
    """Give a drawing as markup that the template does not escape; its texts are escaped already."""
    return Markup(picture.inline)
