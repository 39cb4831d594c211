"""A loss over two parameters and a walk on it -> a drawing: contours, the path, the least loss; two side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis.scaling import Scaling, Walk, loss
from sightline.reports.svg import Scale, Svg, axes, number, short, tag, text

LEVELS = (0.01, 0.04, 0.1, 0.2, 0.35, 0.55, 0.8, 1.1, 1.6, 2.4, 3.6)
"""Contours, as shares of the way from the least loss to that at the start."""

WIDTH, HEIGHT, GRID = 860.0, 424.0, 200
PANEL, GAP = 400.0, 60.0
ACROSS, UP = (46.0, 394.0), (330.0, 66.0)
"""Where a panel's axes begin and end."""


def descent(found: Scaling) -> Svg:
    """Draw the loss surface with and without feature scaling, and gradient descent on each."""
    titles = ("Without feature scaling", "With feature scaling: mean 0, deviation 1")
    one, other = found.classes
    body = [
        text(0, 14, f"Chance of ‘{one}’ rather than ‘{other}’ by the {found.feature}", kind="title"),
        tag("circle", cx=6, cy=HEIGHT - 10, r=5, kind="dot wrong"),
        text(16, HEIGHT - 6, "start, and gradient descent at the rate that needs the fewest steps"),
        tag("circle", cx=PANEL + GAP + 6, cy=HEIGHT - 10, r=5, kind="dot valid"),
        text(PANEL + GAP + 16, HEIGHT - 6, "least loss, and lines of equal loss"),
    ]
    for i, (title, walk) in enumerate(zip(titles, (found.plain, found.scaled), strict=True)):
        body.append(tag("g", _panel(title, walk, found), transform=f"translate({number(i * (PANEL + GAP))} 28)"))
    return Svg(WIDTH, HEIGHT, found.sentence, "".join(body))


def _panel(title: str, walk: Walk, found: Scaling) -> str:
    x = (found.values - walk.mean) / walk.std
    weights, biases = _reach(walk)
    across, up = Scale(*weights, *ACROSS), Scale(*biases, *UP)
    grid = np.stack(np.meshgrid(np.linspace(*weights, GRID), np.linspace(*biases, GRID)), axis=-1)
    losses = loss(x, found.labels, grid.reshape(-1, 2)).reshape(GRID, GRID)
    told = f"condition number {short(walk.condition)} · {_counted(walk)} at rate {short(walk.rate)}"
    body = [
        text(0, 13, title, kind="strong", size=14),
        text(0, 33, told, kind="title"),
        axes(
            across,
            up,
            x_title="weight",
            y_title="",
            x_ticks={tick: short(tick) for tick in across.ticks(5)},
            y_ticks={tick: short(tick) for tick in up.ticks(5)},
        ),
        text(0, 56, "bias", kind="title"),
    ]
    for share in LEVELS:
        level = found.last + share * (found.first - found.last)
        places = [(across(u), up(v), across(s), up(t)) for u, v, s, t in segments(grid, losses, level)]
        path = "".join(f"M{number(a)} {number(b)}L{number(c)} {number(d)}" for a, b, c, d in places)
        if path:
            body.append(tag("path", d=path, kind="line valid thin faint"))
    points = [(across(float(u)), up(float(v))) for u, v in walk.path]
    route = "M" + "L".join(f"{number(u)} {number(v)}" for u, v in points)
    body.append(tag("path", d=route, kind="line wrong thin", style="stroke-opacity:.6" if len(points) > 200 else ""))
    if len(points) <= 60:
        body += [tag("circle", cx=u, cy=v, r=2.5, kind="dot wrong") for u, v in points[1:]]
    body.append(tag("circle", tag("title", "start"), cx=points[0][0], cy=points[0][1], r=5, kind="dot wrong"))
    aim = across(float(walk.least[0])), up(float(walk.least[1]))
    body.append(tag("circle", tag("title", "least loss"), cx=aim[0], cy=aim[1], r=5, kind="dot valid"))
    return "".join(body)


def _counted(walk: Walk) -> str:
    return f"{'' if walk.done else 'more than '}{walk.steps:,} step{'s' * (walk.steps != 1)}"


def _reach(walk: Walk) -> tuple[tuple[float, float], tuple[float, float]]:
    """Give the ends of both axes, with the walk and the least loss inside and a unit as long on one as on the other."""
    points = np.vstack([walk.path, walk.least])
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([ACROSS[1] - ACROSS[0], UP[0] - UP[1]])
    unit = 1.5 * float(((high - low) / room).max()) or 1.0
    ends = [((a + b) / 2 - unit * r / 2, (a + b) / 2 + unit * r / 2) for a, b, r in zip(low, high, room, strict=True)]
    return ends[0], ends[1]


def segments(grid: NDArray[np.float64], losses: NDArray[np.float64], level: float) -> list[tuple[float, ...]]:
    """Trace a contour by marching squares: segments (u, v, s, t) in the coordinates of the grid.

    Args:
        grid: float (rows, columns, 2).
        losses: float (rows, columns).
        level: whose contour.
    """
    corners = [(0, 0), (0, 1), (1, 1), (1, 0)]
    rows, columns = losses.shape
    above = losses > level
    parts = [above[r : rows - 1 + r, c : columns - 1 + c] for r, c in corners]
    mixed = np.argwhere(~(np.all(parts, axis=0) | ~np.any(parts, axis=0)))
    found: list[tuple[float, ...]] = []
    for row, column in mixed.tolist():
        crossed: list[Any] = []
        for (r, c), (s, d) in zip(corners, corners[1:] + corners[:1], strict=True):
            one, other = (row + r, column + c), (row + s, column + d)
            if above[one] != above[other]:
                share = (level - losses[one]) / (losses[other] - losses[one])
                crossed.append(grid[one] + share * (grid[other] - grid[one]))
        for start, end in zip(crossed[::2], crossed[1::2], strict=True):
            if math.isfinite(float(start.sum() + end.sum())):
                found.append((float(start[0]), float(start[1]), float(end[0]), float(end[1])))
    return found
