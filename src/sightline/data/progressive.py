"""A size and a number of epochs -> the size of the inputs in each: small ones first, which cost less.

Early epochs learn coarse features, for which small images do (J. Howard's entry to DAWNBench, 2018; M. Tan and Q. V.
Le, "EfficientNetV2", 2021, section 4). The last third of the epochs is at full size, so that the network is judged at
the size it was last trained at.
"""

from __future__ import annotations

GROWING = 2 / 3
"""Share of the epochs in which the side grows."""

STEP = 4
"""Sides change by whole multiples of this many pixels: libraries prepare kernels anew for each."""


def sizes(size: tuple[int, ...], start: float, epochs: int | None) -> tuple[tuple[int, ...], ...]:
    """Give the size of the inputs in each epoch.

    Args:
        size: (height, width) in pixels, at the end.
        start: share of the sides in the first epoch, above 0, at most 1.
        epochs: of the training; None: not known yet.

    Returns:
        One (height, width) for each epoch in which the inputs are smaller than ``size``.
    """
    growing = round(GROWING * (epochs or 0)) if start < 1 else 0
    shares = (start + (1 - start) * epoch / growing for epoch in range(growing))
    grown = (tuple(min(side, max(STEP, round(side * share / STEP) * STEP)) for side in size) for share in shares)
    return tuple(one for one in grown if one != size)


def work(size: tuple[int, ...], start: float, epochs: int = 60) -> float:
    """Give the pixels of a training as a share of those at full size, 0..1."""
    small = sizes(size, start, epochs)
    return (epochs - len(small) + sum(one[0] * one[1] / (size[0] * size[1]) for one in small)) / epochs
