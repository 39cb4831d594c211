"""Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks" (2012)."""

from __future__ import annotations

from typing import NamedTuple

from sightline.models.adapt import ends, fit, grid
from sightline.models.plan import Chain, Conv, Dense, Flatten, Grid, LocalResponse, Plan, Shape, by, chain
from sightline.models.style import Filled, Parts, Stem, Style, Variant, choose, count


class Row(NamedTuple):
    """A convolution: its place in torchvision's numbering, and what follows it."""

    place: int
    maps: int
    kernel: int
    stride: int = 1
    columns: int = 1  # each map sees the maps of its own column; the paper had one column on each of two GPUs
    response: bool = False  # local response norm after the activation
    pool: bool = False  # a 3x3 pool with stride 2, after all that


# Section 3.5 and figure 2; in the 2014 variant (Krizhevsky, "One weird trick", arXiv 1404.5997) one column is left
TABLE = {
    "paper": (
        Row(0, 96, 11, 4, response=True, pool=True),
        Row(3, 256, 5, columns=2, response=True, pool=True),
        Row(6, 384, 3),
        Row(8, 384, 3, columns=2),
        Row(10, 256, 3, columns=2, pool=True),
    ),
    "public": (
        Row(0, 64, 11, 4, pool=True),
        Row(3, 192, 5, pool=True),
        Row(6, 384, 3),
        Row(8, 256, 3),
        Row(10, 256, 3, pool=True),
    ),
}
SMALL = 96
"""Inputs whose shorter side is at most this long get a first convolution of 3x3 with stride 1."""
GRID = 6


def alexnet(
    name: str,
    shape: Shape,
    classes: int,
    style: Style,
    *,
    variant: Variant = "paper",
    stem: Stem = "auto",
    columns: int = 2,
    hidden: int = 4096,
) -> Plan:
    """Plan AlexNet; the paper's two columns are one network here, with the same connections. torchvision's names.

    Args:
        name: its name, for messages.
        shape: the input, ``(channels, *positions)``, one to three axes.
        classes: length of the logits.
        style: norm (none; any other takes the place of the paper's local response norm), activation (relu), pooling
            (max), dropout (0.5, twice) and the other shared options.
        variant: ``paper`` is the network of 2012 with local response norm; ``public`` the one column of 2014 that the
            public ImageNet weights are for.
        stem: ``paper`` (11x11 with stride 4), ``small`` (3x3 with stride 1) or ``auto``: small up to 96 positions.
        columns: 2 as in the paper, or 1: every map sees every map. No difference for ``public``.
        hidden: units of the two dense layers.
    """
    choose("variant", variant, "paper", "public")
    choose("columns", columns, 1, 2)
    filled = style.filled(dropout=0.5)
    hidden, notes = filled.wide(count("hidden", hidden)), []
    stages: list[tuple[str, Parts]] = []
    for row in TABLE[variant]:
        groups = row.columns if columns == 2 and filled.wide(row.maps) % 2 == 0 else 1
        conv = Conv(row.kernel, maps=filled.wide(row.maps), stride=row.stride, groups=groups)
        if row.stride > 1:
            conv = Conv(row.kernel, maps=conv.maps, stride=row.stride, padding=2)
            if filled.small(stem, shape, SMALL):
                conv = Conv(3, maps=conv.maps)
                notes.append(
                    f"the first convolution is 3x3 with stride 1, not 11x11 with stride 4: the input is {by(shape)}"
                )
            conv = filled.first(conv)
        stages.append((f"conv{len(stages) + 1}", _row(row, conv, filled)))
    parts, more = fit(tuple(part for _, stage in stages for part in stage), shape, filled)
    cells, fewer = grid(parts, shape, GRID, filled)
    classifier = chain(
        *filled.drop("0"),
        ("1", Dense(hidden)),
        *filled.act("2"),
        *filled.drop("3"),
        ("4", Dense(hidden)),
        *filled.act("5"),
        ("6", Dense(classes)),
    )
    whole = chain(
        ("features", Chain(parts)), ("avgpool", Grid(cells)), ("flatten", Flatten()), ("classifier", classifier)
    )
    dense = (("fc6", "classifier.2"), ("fc7", "classifier.5"), ("head", "classifier.6"))
    return Plan(name, whole, shape, (*ends(stages, parts, "features"), *dense), (*notes, *more, *fewer))


def _row(row: Row, conv: Conv, style: Filled) -> Parts:
    """Make a convolution of the table with what follows it; the depth factor repeats the 3x3 convolutions."""
    here = row.place
    parts = style.conv(conv, (str(here), f"norm{here}", str(here + 1)))
    for i in range(2, (style.deep(1) if row.kernel == 3 else 1) + 1):
        parts += style.conv(Conv(3, maps=conv.maps), (f"{here}_{i}", f"norm{here}_{i}", f"{here + 1}_{i}"))
    parts += style.excite(f"se{here}", conv.maps)
    parts += ((f"response{here}", LocalResponse()),) if row.response and style.norm == "none" else ()
    return (*parts, *((((str(here + 2)), style.pool(3, 2)),) if row.pool else ()))
