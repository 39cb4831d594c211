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

from sightline.reports import frame
from sightline.reports.words import count, size
from sightline.seeing import picture
from sightline.seeing.kernels import Kernels

THUMB, LARGE = 64, 96
"""CSS pixels of a picture's longer side, about; of pictures too large to be shown pixel by pixel, exactly."""
FIRST, DEEPER, INPUTS = 64, 6, 6
"""How many kernels of a first layer are shown, units of a deeper one, and input maps of each of these."""


def shown(pixels: NDArray[np.uint8], alt: str, *, side: int = THUMB) -> Markup:
    """Give a picture as markup: enlarged by a whole number, or made smaller where it is larger than ``side``.

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
    uri = frame.data_uri(picture.png(pixels), alt)
    return Markup('<img{} src="{}" width="{}" height="{}" alt="{}" title="{}">').format(
        Markup(' class="px"') if sharp else "", uri, wide * factor, high * factor, alt, alt
    )


def scale(most: float) -> Markup:
    """Draw the colour scale with its numbers: -most, 0, most."""
    from sightline.reports.svg import short

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
        "what": f"{what} over {count(inputs)} input {'maps' if window else 'values'}",
        "scale": scale(each.most),
        "norms": (float(norms.min()), float(np.median(norms)), float(norms.max())),
        "first": each.first,
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


def render(**parts: Any) -> str:
    """Give a page as text.

    Args:
        **parts: ``title``, ``kicker`` (short texts), ``lede``, ``environment``, and the sections that there are:
            ``network``, ``kernels``.
    """
    none: dict[str, Any] = {"network": None, "kernels": []}
    return frame.render("gallery.html.j2", **{**none, **parts})
