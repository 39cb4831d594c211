"""A map of images and its regions -> one self-contained page: thumbnails where they lie, mistakes framed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

import sightline
from sightline import files
from sightline.reports import frame
from sightline.reports.svg import Svg, apart, number, tag, text, width
from sightline.reports.thumbnails import thumbnails
from sightline.seeing import picture
from sightline.seeing.atlas import Atlas, Region

WIDE, EDGE = 1080.0, 24.0
"""Units of the drawing, and of its margin."""

STEP, THUMB = 36.0, 32.0
"""From one place for a thumbnail to the next, and its size."""

STORED = 64
"""Pixels along the longer side of a stored thumbnail, at most."""


def page(
    found: Atlas,
    array: NDArray[Any],
    rows: NDArray[np.int64],
    classes: Sequence[str],
    *,
    title: str,
    side: int = 0,
    regions: Sequence[Region] = (),
    dreams: Sequence[NDArray[np.uint8]] = (),
) -> str:
    """Give the page as text.

    Args:
        found: the map of N images.
        array: the pixel store.
        rows: int64 (N,): which of its rows the images are.
        classes: K names.
        title: what was looked at: the run's name.
        side: cells along the side of the grid of regions; 0 draws none.
        regions: of that grid.
        dreams: an image for each region, uint8 (H, W) or (H, W, 3), made for its activation; or none at all.
    """
    cells: dict[tuple[int, int], dict[str, Any]] = {}
    for i, region in enumerate(regions):
        counts = np.bincount(found.labels[region.members], minlength=len(classes))
        most = int(counts.argmax())
        share = counts[most] / len(region.members)
        shown = [picture.png(dreams[i])] if dreams else []
        shown.append(thumbnail(array, int(rows[region.typical])))
        cells[region.row, region.column] = {
            "pictures": [frame.data_uri(each, "region") for each in shown],
            "name": classes[most],
            "told": f"{len(region.members)} images, {share:.0%} of them {classes[most]}",
            "mixed": share < 0.5,
        }
    return frame.render(
        "atlas.html.j2",
        title=title,
        found=found,
        drawing=Markup(drawing(found, array, rows, classes).inline),
        side=side,
        cells=cells,
        dreamt=bool(dreams),
        environment={"sightline": sightline.__version__},
    )


def write(path: Path, content: str) -> Path:
    """Write a page, whole or not at all."""
    files.make_folder(path.parent)
    files.write_text(path, content)
    return path


def drawing(found: Atlas, array: NDArray[Any], rows: NDArray[np.int64], classes: Sequence[str]) -> Svg:
    """Draw the map: a thumbnail in every place where images lie, mistakes first; the others as dots."""
    high = found.places[:, 1].max()
    unit = WIDE - 2 * EDGE
    x, y = EDGE + found.places[:, 0] * unit, EDGE + (high - found.places[:, 1]) * unit
    dots, shown = [], []
    cells = np.floor(np.stack([x, y], axis=1) / STEP).astype(int)
    tall = float((cells[:, 1].max() + 1) * STEP + 4)
    for cell in np.unique(cells, axis=0):
        members = np.flatnonzero((cells == cell).all(axis=1))
        centre = (cell + 0.5) * STEP
        far = (x[members] - centre[0]) ** 2 + (y[members] - centre[1]) ** 2
        chosen = int(members[np.lexsort([far, ~found.wrong[members]])[0]])
        shown.append(_thumb(found, chosen, centre, thumbnail(array, int(rows[chosen])), classes))
    for i in np.argsort(found.wrong, kind="stable"):
        kind = "dot wrong" if found.wrong[i] else "dot plain"
        dots.append(tag("circle", cx=float(x[i]), cy=float(y[i]), r=2.6, kind=kind))
    label = f"A map of {len(rows)} images. {found.sentence}"
    names = _names(found, x, y, classes, tall)
    return Svg(WIDE, tall, label, "".join([*dots, *shown, names]))


def thumbnail(array: NDArray[Any], row: int) -> bytes:
    """Give an image of the pixel store as a small picture: PNG, or SVG of a signal."""
    image = array[row]
    if image.ndim == 3 and image.dtype == np.uint8 and image.shape[-1] in (1, 3):
        from PIL import Image

        pixels = image if image.shape[-1] == 3 else image[..., 0]
        if max(image.shape[:2]) > STORED:
            small = Image.fromarray(pixels)
            small.thumbnail((STORED, STORED), Image.Resampling.LANCZOS)
            pixels = np.asarray(small)
        return picture.png(pixels)
    return thumbnails(array, [row], ["image"])["image"]


def _thumb(found: Atlas, i: int, centre: NDArray[np.float64], png: bytes, classes: Sequence[str]) -> str:
    left, top = float(centre[0] - THUMB / 2), float(centre[1] - THUMB / 2)
    true, answer = classes[found.labels[i]], classes[found.answers[i]]
    told = f"{true}, taken for {answer}" if found.wrong[i] else true
    parts = [
        tag("title", Markup.escape(told)),
        tag("rect", x=left, y=top, width=THUMB, height=THUMB, kind="cell"),
        tag(
            "image",
            x=left,
            y=top,
            width=THUMB,
            height=THUMB,
            href=frame.data_uri(png, told),
            style="image-rendering:pixelated",
        ),
    ]
    if found.wrong[i]:
        parts.append(
            tag(
                "rect", x=left, y=top, width=THUMB, height=THUMB, kind="line wrong", style="stroke-width:3", fill="none"
            )
        )
    return tag("g", "".join(parts))


def _names(found: Atlas, x: NDArray[Any], y: NDArray[Any], classes: Sequence[str], tall: float) -> str:
    """Write the classes where the middles of their images are, apart from each other."""
    there = [k for k in range(len(classes)) if (found.labels == k).any()]
    if len(there) > 30:
        return ""
    middles = [(float(np.median(x[found.labels == k])), float(np.median(y[found.labels == k]))) for k in there]
    heights = apart([y for _, y in middles], 20.0, 20.0, tall - 12)
    body = []
    for k, (left, _), top in zip(there, middles, heights, strict=True):
        half = width(classes[k], 18, bold=True) / 2
        place = min(max(left, half), WIDE - half)
        body.append(text(place, top, classes[k], anchor="middle", kind="strong halo", size=18))
    return "".join(body)


def measure(found: Atlas) -> dict[str, Any]:
    """Give what a map shows as plain JSON values."""
    return {
        "layer": found.layer,
        "method": found.method,
        "images": len(found.labels),
        "wrong": int(found.wrong.sum()),
        "agreement": {"map": found.agreement(), "layer": found.agreement(features=True)},
        "variance_kept": found.kept,
        "places": [[number(a), number(b)] for a, b in found.places.tolist()],
    }
