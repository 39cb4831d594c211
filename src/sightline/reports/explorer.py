"""An image, a kernel and settings -> one self-contained page that convolves and pools in front of one's eyes.

The page calculates by a script of its own (``explorer.js``), the only one that its policy allows; the tests hold its
arithmetic against torch's in a browser.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

import sightline
from sightline.reports import frame
from sightline.seeing import stencils
from sightline.seeing.sliding import Slide

SIZES = range(1, 8)
"""Sizes of kernels that the page offers."""


def explorer(slide: Slide | None = None, *, image: str = "own", kernel: str = "own", goal: str = "edge") -> str:
    """Give the page as text.

    Args:
        slide: what it opens with; None opens with a digit and the kernel that finds edges. The page takes the strides,
            padding and dilation of the rows for both axes, and no biases.
        image: the name of the slide's image among ``SAMPLES``, for the list.
        kernel: the name of its kernel, or ``learnable``.
        goal: of a learnable kernel: the kernel whose output it is to reach.
    """
    if slide is None:
        from sightline.seeing.sliding import convolve

        image, kernel = "digit", "edge"
        slide = convolve(stencils.sample(image), stencils.kernel(kernel))
    known = {name: _sizes(name) for name in stencils.KERNELS}
    own = {"own": "numbers of your own", "learnable": "random at first; gradient descent finds the rest"}
    given = {
        "start": _start(slide) | {"picture": image, "named": kernel, "goal": goal},
        "images": {name: stencils.sample(name).tolist() for name in stencils.SAMPLES},
        "kernels": known,
        "does": {**stencils.KERNELS, **own},
    }
    script = files("sightline.reports").joinpath("explorer.js").read_text(encoding="utf-8")
    return frame.render(
        "explorer.html.j2",
        extra=files("sightline.reports").joinpath("explorer.css").read_text(encoding="utf-8"),
        digest=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        script=script,
        given=json.dumps(given).replace("<", "\\u003c"),
        images=list(stencils.SAMPLES),
        kernels=list(stencils.KERNELS),
        goals=[name for name in stencils.KERNELS if 3 in known[name]],
        environment={"sightline": sightline.__version__},
    )


def _start(slide: Slide) -> dict[str, Any]:
    """Give the page's state for a slide; of a pool, the kernel to go on with is the identity."""
    channels, size = len(slide.image), slide.size[0]
    taps = stencils.kernel("identity", 3, channels) if slide.kernel is None else slide.kernel
    return {
        "mode": slide.kind.split()[0],
        "image": slide.image.tolist(),
        "kernel": taps.tolist(),
        "size": size,
        "stride": slide.stride[0],
        "padding": slide.padding[0],
        "dilation": slide.dilation[0],
        "groups": slide.groups,
    }


def _sizes(name: str) -> dict[int, Any]:
    """Give a named kernel in every size that it has."""
    from sightline.errors import SettingsError

    found: dict[int, Any] = {}
    for size in (1,) if name in ("mix", "swap") else SIZES:
        try:
            found[size] = stencils.kernel(name, size)[0, 0].tolist()
        except SettingsError:
            continue
    return found
