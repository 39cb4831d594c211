"""Images made for targets, and what a unit answers to the data -> a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from torch import Tensor

from sightline.reports import frame
from sightline.reports.gallery import shown
from sightline.reports.svg import Scale, Svg, fit, line, short, tag, text
from sightline.reports.words import drawing
from sightline.seeing import picture
from sightline.seeing.portraits import Portrait
from sightline.seeing.subject import Subject
from sightline.seeing.units import Unit

THUMB, MADE, FIRST = 56, 128, 8
"""CSS pixels of an example's and of a made image's longer side, about; classes whose evidence is shown."""

THINGS = {"image": "images", "signal": "signals", "volume": "volumes"}


def image(subject: Subject, x: Tensor, alt: str, side: int) -> Markup:
    """Give one input (C, *positions) as a picture: greyscale grey, pixels not blurred."""
    return shown(picture.natural(subject.drawable(x[None])[0]), alt, side=side)


def page(
    subject: Subject,
    portraits: Sequence[Portrait],
    unit: Unit | None = None,
    *,
    kicker: Sequence[str],
    environment: dict[str, Any],
) -> str:
    """Give the page of some targets, or of one unit.

    Args:
        subject: what was looked at.
        portraits: what was made, in the order in which it is shown.
        unit: what the unit answers to the data, where the page is about one.
        kicker: short texts above the title.
        environment: versions.
    """
    kind = subject.preprocessing.kind if subject.preprocessing else "image"
    return frame.render(
        "dreams.html.j2",
        title=f"Unit {unit.name}" if unit else "What the network likes best",
        kicker=kicker,
        lede="",
        environment=environment,
        things=THINGS[kind],
        unit=_unit(subject, unit) if unit else None,
        portraits=[_portrait(subject, one) for one in portraits],
    )


def _portrait(subject: Subject, one: Portrait) -> dict[str, Any]:
    made = one.dream
    return {
        "name": made.name,
        "image": image(subject, made.image, f"made for {made.name}", MADE),
        "control": "" if one.control is None else image(subject, one.control, "made with shuffled weights", MADE),
        "examples": [image(subject, subject.examples[i], _called(subject, i), THUMB) for i in one.strongest],
        "sentence": one.sentence,
        "start": made.start,
        "value": made.value,
        "steps": made.steps,
        "woken": made.woken,
        "natural": None if np.isnan(one.natural) else one.natural,
        "likeness": one.likeness,
        "evidence": _bars(subject, made.logits.numpy(), made.probabilities.numpy() if len(made.logits) else None),
    }


def _unit(subject: Subject, unit: Unit) -> dict[str, Any]:
    def pictures(rows: NDArray[np.int64]) -> list[Markup]:
        named = ((row, f"{_called(subject, row)}: {unit.answers[row]:.3g}") for row in rows.tolist())
        return [image(subject, subject.examples[row], name, THUMB) for row, name in named]

    low, high = short(float(unit.answers.min())), short(float(unit.answers.max()))
    told = (
        f"Its answer is the mean of its map: {low} to {high}, above 0 for {unit.active:.0%} of {len(unit.answers):,}."
    )
    if unit.dead:
        told = f"Dead: it answers {low} to all {len(unit.answers):,}."
    return {
        "told": told,
        "count": len(unit.answers),
        "parts": [
            {"name": "most", "pictures": pictures(unit.most)},
            {"name": "in the middle", "pictures": pictures(unit.middle)},
            {"name": "least", "pictures": pictures(unit.least)},
        ],
        "histogram": drawing(histogram(unit, subject.classes)),
        "feeds": _bars(subject, unit.feeds, None),
    }


def _bars(subject: Subject, values: NDArray[np.float32], chances: NDArray[np.float32] | None) -> list[dict[str, Any]]:
    """Tell the classes with the largest magnitudes, strongest evidence first."""
    if not len(values):
        return []
    chosen = np.argsort(-np.abs(values), kind="stable")[:FIRST] if chances is None else np.argsort(-values)[:FIRST]
    most = float(np.abs(values).max()) or 1.0
    return [
        {
            "name": subject.classes[k] if k < len(subject.classes) else str(k),
            "value": float(values[k]),
            "share": round(100 * abs(float(values[k])) / most, 1),
            "chance": None if chances is None else float(chances[k]),
        }
        for k in sorted(chosen.tolist(), key=lambda k: -values[k])
    ]


def histogram(unit: Unit, classes: Sequence[str]) -> Svg:
    """Draw how a unit answers to each class: a row of bars for each, on one scale, with the class's mean."""
    rows, height, left, wide = unit.counts, 26.0, 110.0, 330.0
    x = Scale(float(unit.edges[0]), float(unit.edges[-1]), left, left + wide)
    parts = []
    for k, counts in enumerate(rows):
        base = (k + 1) * height
        name = classes[k] if k < len(classes) else "all"
        parts.append(text(left - 8, base - 6, fit(name, left - 12), anchor="end", whole=name))
        most = max(int(counts.max()), 1)
        for i, count in enumerate(counts.tolist()):
            high = (height - 6) * count / most
            a, b = x(float(unit.edges[i])), x(float(unit.edges[i + 1]))
            if count:
                parts.append(tag("rect", x=a, y=base - high, width=max(b - a - 0.6, 0.6), height=high, kind="right"))
        parts.append(tag("line", x1=left, x2=left + wide, y1=base, y2=base, kind="grid"))
        if counts.sum():
            centre = x(float((counts * (unit.edges[:-1] + unit.edges[1:]) / 2).sum() / counts.sum()))
            parts.append(line([(centre, base - height + 5), (centre, base)], "wrong"))
    end = len(rows) * height + 18
    for value in x.ticks(5):
        parts.append(text(x(value), end, short(value), anchor="middle"))
    return Svg(left + wide + 12, end + 8, f"answers of {unit.name} by class", "".join(parts))


def _called(subject: Subject, row: int) -> str:
    name = subject.names[row] if row < len(subject.names) else f"example {row}"
    label = int(subject.labels[row])
    return f"{name} ({subject.classes[label]})" if 0 <= label < len(subject.classes) else name
