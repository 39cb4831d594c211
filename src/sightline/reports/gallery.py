"""What was seen in a network -> the gallery: one self-contained HTML page, or a page of one part of it.

The page has no scripts and asks for nothing over the network. Small pictures are stored pixel by pixel and enlarged by
whole numbers, unblurred; large ones are made smaller first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from sightline.models.arithmetic import Row
from sightline.reports import frame, plots
from sightline.reports.svg import short
from sightline.reports.words import count, counted, percent, size
from sightline.seeing import picture
from sightline.seeing.exhibit import Asked, Chosen, Exhibit, Stage, Unit
from sightline.seeing.kernels import Kernels
from sightline.seeing.saliency import METHODS
from sightline.seeing.subject import Subject

THUMB, LARGE = 64, 96
"""CSS pixels of a picture's longer side, about; of pictures too large to be shown pixel by pixel, exactly."""
FIRST, DEEPER, INPUTS = 64, 6, 6
"""How many kernels of a first layer are shown, units of a deeper one, and input maps of each of these."""
MAPS = 12
"""How many maps of a stage are shown for each image."""


def shown(pixels: NDArray[np.uint8], alt: str, *, side: int = THUMB) -> Markup:
    """Give a picture as markup: enlarged by a whole number, or made smaller where it is larger than ``side`` (as JPEG).

    Args:
        pixels: uint8 (H, W) or (H, W, 3).
        alt: what it shows, in words.
        side: CSS pixels that its longer side should have, about.
    """
    high, wide = pixels.shape[:2]
    factor = max(1, round(side / max(high, wide)))
    sharp = max(high, wide) <= side * 1.5
    if not sharp:
        from PIL import Image

        scale = 2 * side / max(high, wide)  # twice the CSS pixels, for fine screens
        if scale < 1:
            small = Image.fromarray(pixels).resize(
                (max(1, round(wide * scale)), max(1, round(high * scale))), Image.Resampling.LANCZOS
            )
            pixels = np.asarray(small)
        wide, high = round(wide * side / max(high, wide)), round(high * side / max(high, wide))
        factor = 1
    uri = frame.data_uri(picture.png(pixels) if sharp else picture.jpeg(pixels), alt)
    return Markup('<img{} src="{}" width="{}" height="{}" alt="{}" title="{}">').format(
        Markup(' class="px"') if sharp else "", uri, wide * factor, high * factor, alt, alt
    )


def scale(most: float) -> Markup:
    """Draw the colour scale with its numbers: -most, 0, most."""
    ramp = picture.diverging(np.linspace(-1, 1, 81)[None], 1.0)
    return Markup('<span class="scale">−{}&nbsp;<img src="{}" width="81" height="10" alt="">&nbsp;{}</span>').format(
        short(most), frame.data_uri(picture.png(ramp), "scale"), short(most)
    )


def kernels(layers: Sequence[Kernels]) -> list[dict[str, Any]]:
    """Tell, layer by layer, what the weights are: pictures of a first layer's, tables of the others'."""
    return [_first(each) if each.first else _deeper(each) for each in layers]


def _told(each: Kernels) -> dict[str, Any]:
    units, inputs, *window = each.weights.shape
    what = f"{count(units)} units, each a window of {size(window)}" if window else f"{count(units)} units"
    norms = each.norms
    return {
        "layer": each.layer,
        "kind": each.kind,
        "what": f"{what} over {counted(inputs, 'input maps' if window else 'inputs')}",
        "scale": scale(each.most),
        "norms": (float(norms.min()), float(np.median(norms)), float(norms.max())),
        "first": each.first,
        "window": bool(window),
        "pictures": [],
        "rows": [],
        "hidden": 0,
    }


def _first(each: Kernels) -> dict[str, Any]:
    told, norms = _told(each), each.norms
    units = range(len(norms)) if len(norms) <= FIRST else sorted(each.order[:FIRST])
    colour = each.weights.shape[1] == 3
    for unit in units:
        alt = f"kernel of {each.layer}:{unit}, norm {norms[unit]:.2f}"
        pixels = each.colours(unit) if colour else each.picture(unit)
        told["pictures"].append({"picture": shown(pixels, alt, side=48), "unit": int(unit), "norm": float(norms[unit])})
    return {**told, "hidden": len(norms) - len(told["pictures"]), "colour": colour}


def _deeper(each: Kernels) -> dict[str, Any]:
    told, norms = _told(each), each.norms
    window = each.weights.ndim > 2
    for unit in map(int, each.order[:DEEPER]):
        inputs = each.strongest_inputs(unit, INPUTS)
        told["rows"].append(
            {
                "unit": unit,
                "norm": float(norms[unit]),
                "share": float(norms[unit] / max(norms.max(), 1e-30)),
                "bias": None if each.bias is None else float(each.bias[unit]),
                "inputs": [
                    {
                        "input": channel,
                        "picture": shown(each.picture(unit, channel), f"from map {channel}, norm {norm:.2f}", side=24)
                        if window
                        else escape(""),
                        "weight": norm if window else float(each.weights[unit, channel]),
                    }
                    for channel, norm in inputs
                ],
            }
        )
    return {**told, "hidden": len(norms) - len(told["rows"])}


def examples(subject: Subject, x: Any, alts: Sequence[str], *, side: int = THUMB) -> list[Markup]:
    """Draw inputs (n, C, *positions) as the images they were made of; signals as lines."""
    drawn = subject.drawable(x)
    if drawn.ndim == 3:
        values = x.detach().float().cpu().numpy()
        return [
            Markup('<span class="line">{}</span>').format(Markup(plots.signal(one, alt).inline))
            for one, alt in zip(values, alts, strict=True)
        ]
    return [shown(picture.natural(one), alt, side=side) for one, alt in zip(drawn, alts, strict=True)]


def signed(
    values: NDArray[Any], most: float, alt: str, *, side: int = THUMB, under: Any = None, nothing: str = "empty"
) -> Markup:
    """Draw a map in the colours of the scale; one of a signal as a strip, a single number as a square.

    Args:
        values: float (*positions).
        most: the end of the scale.
        alt: what it shows.
        side: CSS pixels of its longer side, about.
        under: an image of the same size, uint8 (H, W) or (H, W, 3), shown faintly below.
        nothing: what is written where all values are 0.
    """
    if values.ndim > 1 and not values.any():
        return Markup('<span class="empty" title="{}">{}</span>').format(alt, nothing)
    colours = picture.diverging(picture.flat(np.atleast_1d(values)), most)
    if under is not None:
        below = under if under.ndim == 2 else under.mean(axis=-1)
        colours = np.asarray(np.round(colours * (0.72 + 0.28 * below[..., None] / 255)), np.uint8)
    if values.ndim <= 1:
        uri = frame.data_uri(picture.png(colours), alt)
        wide = 160 if values.size > 1 else 20
        return Markup('<img class="px" src="{}" width="{}" height="20" alt="{}" title="{}">').format(
            uri, wide, alt, alt
        )
    return shown(colours, alt, side=side)


def stage(subject: Subject, through: Chosen, part: Stage, rows: Sequence[Row], most: int = MAPS) -> dict[str, Any]:
    """Tell a stage: its size, at most so many of its maps of the chosen images, its units."""
    place, dead = part.place, part.answers.dead
    last = next(
        (row for row in reversed(rows) if place.name == row.name or row.name.startswith(f"{place.name}.")), None
    )
    what = "maps" if place.positions else "units"
    told = f"{count(place.units)} {what}" + (f" of {size(list(place.positions))}" if place.positions else "")
    order = [*part.answers.different(most), *dead.tolist()][:most]
    limits = {u: picture.extent(part.maps.values[:, u]) for u in order}
    pictures = examples(subject, through.x, [_called(subject, through, i) for i in range(len(through))])
    side = THUMB if len(place.positions) != 1 else 80
    return {
        "name": part.name,
        "layer": place.name,
        "what": told,
        "field": "" if last is None or not place.positions else _seen(last.field, subject.shape[1:]),
        "dead": len(dead),
        "units": place.units,
        "examples": len(subject.examples),
        "order": order,
        "more": place.units - len(order),
        "rows": [
            {
                "picture": image,
                "maps": [
                    signed(
                        part.maps.values[i, u],
                        limits[u],
                        f"{place.name}:{u} on {through.names[i]}",
                        side=side,
                        nothing="0",
                    )
                    for u in order
                ],
            }
            for i, image in enumerate(pictures)
        ],
        "cards": [card(subject, each) for each in part.units],
    }


def _seen(field: Sequence[int], whole: Sequence[int]) -> str:
    """Say how much of an input a position of a map depends on."""
    seen = [min(pair) for pair in zip(field, whole, strict=True)]
    return "the whole input" if seen == list(whole) else f"{size(seen)} of {size(list(whole))} positions"


def card(subject: Subject, each: Unit) -> dict[str, Any]:
    """Tell a unit: the examples that excite it most, and the image made for it."""
    alts = [
        f"{_label(subject, int(row))}: {subject.names[row] if subject.names else f'example {row}'}" for row in each.rows
    ]
    portrait, made, empty = each.portrait, "", ""
    if portrait is not None:
        made = examples(subject, portrait.dream.image[None], [f"made for {each.name}: {portrait.sentence}"])[0]
        if portrait.control is not None:
            empty = examples(subject, portrait.control[None], ["made where nothing was learnt"])[0]
    return {
        "name": each.name,
        "pictures": examples(subject, subject.examples[each.rows.tolist()], alts),
        "commonest": each.clear,
        "made": made,
        "empty": empty,
        "portrait": portrait,
    }


def asked(subject: Subject, about: Chosen, ways: Sequence[Asked]) -> dict[str, Any]:
    """Tell where the network looked: a row for each image, a column for each way, a judgement for each way."""
    labels = [_called(subject, about, i) for i in range(len(about))]
    pictures = examples(subject, about.x, labels, side=LARGE)
    drawn = subject.drawable(about.x)
    rows = []
    for i, image in enumerate(pictures):
        # what a photo shows helps to read its map; the squares of a small image would only mix with it
        under = picture.natural(drawn[i]) if drawn.ndim == 4 and min(drawn.shape[2:]) > LARGE // 2 else None
        rows.append(
            {
                "picture": image,
                "true": _class(subject, int(about.labels[i])) if about.labels[i] >= 0 else "",
                "asked": [_class(subject, int(way.found.targets[i])) for way in ways[:1]],
                "said": _class(subject, int(about.predicted[i])),
                "right": bool(about.right[i]),
                "sure": percent(float(about.confidence[i])),
                "maps": [
                    signed(
                        way.found.values[i], picture.extent(way.found.values[i]),
                        f"{way.found.method} for {_class(subject, int(way.found.targets[i]))}", side=LARGE, under=under,
                    )
                    for way in ways
                ],
            }
        )  # fmt: skip
    return {
        "rows": rows,
        "ways": [
            {
                "name": NAMES[way.found.method],
                "says": METHODS[way.found.method].says,
                "source": METHODS[way.found.method].source,
                "resolution": way.found.resolution + (f" of layer {way.found.layer}" if way.found.layer else ""),
                "sentence": way.trust.sentence,
                "good": way.trust.learnt and way.trust.explains,
                "missed": f"{100 * float(way.found.missed.max()):.2g} %" if len(way.found.missed) else "",
            }
            for way in ways
        ],
        "count": len(about),
    }


NAMES = {
    "gradient": "Gradient",
    "smoothgrad": "SmoothGrad",
    "integrated": "Integrated gradients",
    "gradcam": "Grad-CAM",
    "occlusion": "Occlusion",
}
"""What the ways are called on the page."""


def _class(subject: Subject, number: int) -> str:
    return subject.classes[number] if 0 <= number < len(subject.classes) else str(number)


def _label(subject: Subject, row: int) -> str:
    return _class(subject, int(subject.labels[row])) if subject.labels[row] >= 0 else "no label"


def _called(subject: Subject, images: Chosen, i: int) -> str:
    """Name an image as its pictures are described: what it is and what it was taken for."""
    true, said = _class(subject, int(images.labels[i])), _class(subject, int(images.predicted[i]))
    if images.labels[i] < 0:
        return f"{images.names[i]}: taken for {said}"
    return f"{images.names[i]}: {true}" + ("" if images.right[i] else f", taken for {said}")


def exhibit(found: Exhibit, rows: Sequence[Row], weights: Sequence[Kernels]) -> dict[str, Any]:
    """Give the sections of a whole gallery, for ``render``: each stage with the kernels of its layers."""
    order = [place.name for place in found.subject.layers]
    left, told = list(weights), []
    for part in found.stages:
        inside = [each for each in left if order.index(each.layer) <= order.index(part.place.name)]
        left = [each for each in left if each not in inside]
        told.append({**stage(found.subject, found.through, part, rows), "kernels": kernels(inside)})
    return {
        "stages": told,
        "classes": [card(found.subject, each) for each in found.classes],
        "kernels": kernels(left),
        "saliency": asked(found.subject, found.about, found.asked) if found.asked else None,
        "left": list(found.left),
    }


def render(**parts: Any) -> str:
    """Give a page as text.

    Args:
        **parts: ``title``, ``kicker`` (short texts), ``lede``, ``environment``, and the sections that there are:
            ``network``, ``table``, ``kernels``, ``stages``, ``classes``, ``saliency``, ``left``, ``report``.
    """
    none: dict[str, Any] = {
        "network": None, "table": [], "kernels": [], "stages": [], "classes": [], "saliency": None, "left": [],
        "report": "", "things": "images",
    }  # fmt: skip
    return frame.render("gallery.html.j2", **{**none, **parts})
