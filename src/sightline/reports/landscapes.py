"""The loss around the weights of networks -> a drawing: for each, contours and the surface, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, cos, floor, log, log10, pi, sin

import numpy as np
from numpy.typing import NDArray

from sightline.errors import SettingsError
from sightline.reports.surfaces import segments
from sightline.reports.svg import Scale, Svg, axes, fit, number, short, tag, text
from sightline.seeing.landscape import Landscape

Floats = NDArray[np.float64]

PANEL, GAP = 400.0, 48.0
ACROSS, UP = (40.0, 380.0), (390.0, 50.0)
"""Where the axes of a panel of contours begin and end."""

BELOW = 456.0
"""Where the surfaces begin, below the contours."""

FINE = 121
"""Places along each side to which a grid is refined by a spline, for smooth contours."""

MESH = 33
"""Places along each side of a surface at most: more lines than that run together."""

HIGH = 1000.0
"""Losses above this are drawn as this."""

BANDS = 16
"""Shades from the least loss to the largest."""

STYLE = (
    ".height { fill: color-mix(in srgb, var(--right) calc(var(--h) * 1%), var(--paper)); }"
    ".mesh { stroke: var(--ink); stroke-width: .4; stroke-opacity: .35; stroke-linejoin: round; }"
    ".contour { fill: none; stroke: var(--ink); stroke-width: .75; stroke-opacity: .4; }"
    ".guess { fill: none; stroke: var(--wrong); stroke-width: 2; }"
)
"""Rules of these drawings alone; colours are those of all (``chart.css``)."""

TURN, TILT, RISE = pi / 4, 0.6, 130.0
"""How a surface is looked at: turned about its middle, from above by the tilt's part, heights in units."""


def landscapes(found: Sequence[Landscape]) -> Svg:
    """Draw landscapes side by side, with the same colours and heights for the same losses.

    Losses are on a log scale and end at ``HIGH``. The orange line is the loss of guessing.

    Raises:
        SettingsError: there are none, or more than four.
        RunError: too little of one has been measured.
    """
    check_count(len(found))
    grids = [each.grid() for each in found]
    low = min(float(losses.min()) for _, losses in grids)
    high = min(max(float(losses.max()) for _, losses in grids), HIGH)
    scale = Scale(max(low, 1e-6), max(high, low * 10, 1e-5), 0.0, 1.0, log=True)
    guess = log(found[0].classes)
    body, deepest = [tag("style", STYLE)], 0.0
    for i, (each, (places, losses)) in enumerate(zip(found, grids, strict=True)):
        clipped = np.clip(losses, scale.low, scale.high)
        surface, height = _surface(clipped, scale)
        deepest = max(deepest, height)
        parts = [
            text(0, 14, fit(each.name, PANEL - 10), kind="strong", size=15, whole=each.name),
            text(0, 34, f"loss {short(each.least)} at the weights found · {each.rising:.0%} of walks only rise"),
            tag("g", _contours(places, clipped, scale, log(each.classes)), transform="translate(0 14)"),
            tag("g", surface, transform=f"translate(0 {number(BELOW)})"),
        ]
        body.append(tag("g", "".join(parts), transform=f"translate({number(i * (PANEL + GAP))} 0)"))
    width = max(len(found) * (PANEL + GAP) - GAP, PANEL)
    end = BELOW + deepest + 24
    body.append(tag("g", _key(scale, guess, width), transform=f"translate(0 {number(end)})"))
    label = f"Loss around the weights. {' '.join(each.sentence for each in found)}"
    return Svg(width, end + 56, label, "".join(body))


def check_count(count: int) -> None:
    """Refuse more landscapes than fit side by side, before they are measured.

    Raises:
        SettingsError: there are none, or more than four.
    """
    if not 1 <= count <= 4:
        raise SettingsError(f"{count} landscapes do not fit side by side.", "Give one to four.")


def _contours(places: Floats, losses: Floats, scale: Scale, guess: float) -> str:
    """Draw lines of equal loss over shades, and a dot where the weights are."""
    reach = float(places[-1])
    x, y = Scale(-reach, reach, *ACROSS), Scale(-reach, reach, *UP)
    fine, heights = _refined(places, np.log(losses))
    shades = np.array([scale(float(n)) for n in np.exp(heights).ravel()]).reshape(heights.shape)
    cell = (ACROSS[1] - ACROSS[0]) / (FINE - 1)
    bands = np.clip((shades * BANDS).astype(int), 0, BANDS - 1)
    body = []
    for band in range(BANDS):
        path = []
        for row, line in enumerate(bands == band):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
            for start, end in edges.reshape(-1, 2).tolist():
                left = max(x(float(fine[start])) - cell / 2, ACROSS[0])
                right = min(x(float(fine[end - 1])) + cell / 2, ACROSS[1])
                top = max(y(float(fine[row])) - cell / 2, UP[1])
                bottom = min(y(float(fine[row])) + cell / 2, UP[0])
                path.append(f"M{number(left)} {number(top)}H{number(right)}V{number(bottom)}H{number(left)}z")
        if path:
            body.append(tag("path", d="".join(path), kind="height", style=_shade(band), shape_rendering="crispEdges"))
    grid = np.stack(np.meshgrid(fine, fine), axis=-1)
    for level in [*_levels(scale), guess]:
        lines = segments(grid, heights, log(level))
        path = ["".join(f"M{number(x(a))} {number(y(b))}L{number(x(c))} {number(y(d))}" for a, b, c, d in lines)]
        if path[0]:
            body.append(tag("path", d=path[0], kind="guess" if level == guess else "contour"))
    ticks = {tick: short(tick) for tick in x.ticks(4)}
    frame = axes(
        x, y, x_title="first direction, filter norms", y_title="", x_ticks=ticks, y_ticks=dict(ticks)
    )  # drawn below the shades, for its labels
    middle = tag("circle", tag("title", "the weights found"), cx=x(0), cy=y(0), r=4.5, kind="dot wrong")
    return frame + "".join(body) + middle + text(0, 40, "second direction", kind="title")


def _surface(losses: Floats, scale: Scale) -> tuple[str, float]:
    """Draw the surface as a mesh, seen from a corner above, far cells first; give the drawing and its height."""
    step = max(1, ceil((len(losses) - 1) / (MESH - 1)))
    losses = losses[::step, ::step]
    n = len(losses)
    heights = np.array([scale(float(value)) for value in losses.ravel()]).reshape(n, n)
    rows, columns = np.mgrid[:n, :n] / (n - 1) - 0.5
    right = (columns * cos(TURN) - rows * sin(TURN)) * PANEL * 0.68 + PANEL / 2
    front = (columns * sin(TURN) + rows * cos(TURN)) * PANEL * 0.68 * TILT
    up = front - front.min() + (1 - heights) * RISE
    cells = sorted(((i, j) for i in range(n - 1) for j in range(n - 1)), key=sum)
    body = []
    for i, j in cells:
        corners = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j)]
        d = "M" + "L".join(f"{right[at]:.1f} {up[at]:.1f}" for at in corners) + "z"
        band = min(int(np.mean([heights[at] for at in corners]) * BANDS), BANDS - 1)
        body.append(tag("path", d=d, kind="height mesh", style=_shade(band)))
    return "".join(body), float(up.max())


def _key(scale: Scale, guess: float, width: float) -> str:
    """Draw what the shades and lines mean."""
    left, long = 150.0, min(width - 200.0, 420.0)
    parts = [text(0, 12, "loss, nats, log scale", kind="title")]
    for band in range(BANDS):
        size = long / BANDS
        parts.append(
            tag("rect", x=left + band * size, y=0, width=size + 0.3, height=14, kind="height", style=_shade(band))
        )
    for level in _levels(scale):
        place = left + scale(level) * long
        parts.append(tag("line", x1=place, x2=place, y1=0, y2=18, kind="contour"))
        parts.append(text(place, 30, short(level), anchor="middle"))
    parts += [
        tag("circle", cx=6, cy=44, r=4.5, kind="dot wrong"),
        text(18, 48, "the weights found"),
        tag("line", x1=left, x2=left + 26, y1=44, y2=44, kind="guess"),
        text(left + 34, 48, f"as good as guessing: {short(guess)}"),
    ]
    return "".join(parts)


def _levels(scale: Scale) -> list[float]:
    """List round losses for contours: 1, 2 and 5 times powers of ten, or powers alone where that is plenty."""
    powers = range(floor(log10(scale.low)), ceil(log10(scale.high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 5 else (1, 3) if len(powers) <= 7 else (1,)
    return [step * 10.0**power for power in powers for step in steps if scale.low < step * 10.0**power < scale.high]


def _refined(places: Floats, heights: Floats) -> tuple[Floats, Floats]:
    """Lay a spline through a grid and read it off at ``FINE`` places; it does not leave the range of the grid."""
    from scipy.interpolate import RectBivariateSpline

    degree = min(3, len(places) - 1)
    fine = np.linspace(float(places[0]), float(places[-1]), FINE)
    smooth = RectBivariateSpline(places, places, heights, kx=degree, ky=degree)(fine, fine)
    return fine, np.clip(smooth, heights.min(), heights.max())


def _shade(band: int) -> str:
    return f"--h:{round(4 + 88 * band / (BANDS - 1))}"
