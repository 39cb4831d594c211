"""A shallow, wide network of the CIFAR-10 speed records, as a plan: whitened patches, three blocks, a flat start.

Its form is that of K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (2024, arXiv 2404.00498), section 2,
which goes back to D. Page, "How to train your ResNet" (2018-2019). The first layer is not learnt: its kernels are the
directions in which small patches of the training images vary, each with its opposite, scaled so that all vary alike.
"""

from __future__ import annotations

from math import prod

from sightline.models.adapt import ends, fit
from sightline.models.plan import Chain, Constant, Conv, Dense, Flatten, Grid, Plan, Pool, Shape, chain
from sightline.models.style import Parts, Style, count

MAPS = (64, 256, 256)
"""Feature maps of the three blocks."""

FLAT = 1 / 9
"""Factor before the last layer: the softmax begins flat, and the last layer learns slowly."""


def fastnet(name: str, shape: Shape, classes: int, style: Style, *, whiten: int = 2) -> Plan:
    """Plan the network: whitening, three blocks of two 3x3 convolutions with a pool between them, the largest value.

    Args:
        name: its name, for messages.
        shape: the input, ``(channels, *positions)``, one to three axes.
        classes: length of the logits.
        style: norm (batch), activation (gelu), pooling (max), dropout (0) and the other shared options.
        whiten: side of the patches that are whitened, in positions.
    """
    filled = style.filled(norm="batch", activation="gelu")
    taps = shape[0] * prod((count("whiten", whiten, high=7),) * (len(shape) - 1))
    stages: list[tuple[str, Parts]] = [
        ("whiten", (("whiten", filled.first(Conv(whiten, padding=0, maps=2 * taps, whiten=True))), *filled.act("act0")))
    ]
    for block, maps in enumerate(map(filled.wide, MAPS), 1):
        conv = Conv(3, maps=maps, bias=filled.norm == "none")
        parts: Parts = (
            (f"conv{block}a", conv),
            (f"pool{block}", Pool(2, 2, 0, kind=filled.pooling)),
            *filled.normed(f"norm{block}a"),
            *filled.act(f"act{block}a"),
            *filled.drop_maps(f"act{block}a_maps"),
        )
        for more in "bcdefgh"[: filled.deep(1)]:
            parts += filled.conv(conv, (f"conv{block}{more}", f"norm{block}{more}", f"act{block}{more}"))
        stages.append((f"block{block}", (*parts, *filled.excite(f"se{block}", maps))))
    kept, notes = fit(tuple(part for _, parts in stages for part in parts), shape, filled)
    body = chain(
        ("features", Chain(kept)),
        ("pool", Grid(1, kind="max")),
        ("flatten", Flatten()),
        *filled.drop(),
        ("flat", Constant(FLAT)),
        ("fc", Dense(classes, bias=False)),
    )
    return Plan(name, body, shape, (*ends(stages, kept, "features"), ("head", "fc")), notes, init="dirac")
