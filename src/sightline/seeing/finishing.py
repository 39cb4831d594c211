"""Images made for units -> those of a first layer to the pixel, others without idle fine structure."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sightline.seeing.canvas import Canvas
from sightline.seeing.layers import Layers
from sightline.seeing.nature import frequencies
from sightline.seeing.objectives import LOGITS, Objective
from sightline.seeing.transforms import transform

MOVED = 8
"""Steps on images that are moved a little, so that they do not hang on single pixels."""

STRAIGHT = 8
"""Steps after these on images as they are; hardly anything changes in the last ones."""

FINE = 64
"""Positions along the shorter side from which on no image is finished pixel by pixel: nobody looks at single pixels
there, and what a large kernel asks of each of them is noise to the eye."""

CALM = 0.03
"""Share of what was gained that fine structure may take along when it goes."""

FINEST = (0.15, 0.18, 0.22, 0.27, 0.33, 0.4, 0.5, 0.6)
"""Frequencies at which waves are halved, cycles per position: the first that costs no more than ``CALM`` is taken."""

CONVEX = ("Conv", "Linear", "BatchNorm", "ReLU", "LeakyReLU", "MaxPool", "AvgPool", "Dropout", "Identity", "Flatten")
"""How kinds of layers begin which, one weighted layer among them, make a convex function of the pixels."""


def first(objective: Objective, known: Layers) -> bool:
    """Whether an objective asks for units behind a single weighted layer, and nothing that bends down comes between."""
    return all(name != LOGITS and _first(name, known) for name in objective.layers)


def _first(name: str, known: Layers) -> bool:
    """A layer of several calls would be heard in its last one, which need not be the first thing that happens."""
    leaves = []
    for place in known:  # in the order in which they finish
        if place.leaf:
            leaves.append(place)
        if place.name == name:
            break
    weighted = sum(place.kind.startswith(("Conv", "Linear")) for place in leaves)
    return weighted == 1 and all(place.kind.startswith(CONVEX) and place.calls == 1 for place in leaves)


def finished(
    measure: Callable[[Tensor], Tensor],
    images: Tensor,
    values: Tensor,
    low: Tensor,
    high: Tensor,
    numbers: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Move every pixel to the end of the range that the gradient asks for, again and again; the best is kept.

    What a first layer answers is a weighted sum of pixels, rectified: a convex function of the image. Its largest value
    lies where every pixel is at an end of its range, and a step to the ends that the gradient asks for never lowers it
    (Frank and Wolfe 1956). Waves leave blots where noise happened to be; this takes them away. The first steps see
    images moved, as the ascent does: of several such best images, that is the one that does not hang on single pixels.

    Args:
        measure: images -> the objective of each, (B,), differentiable.
        images: float (B, C, *positions).
        values: float (B,), the objective on these.
        low: the least value of each channel, as it broadcasts to the images.
        high: the largest.
        numbers: for the movements.

    Returns:
        The images and their values: nowhere lower than before.
    """
    best, most, x = images.clone(), values.clone(), images
    for step in range(MOVED + STRAIGHT):
        seen = x.detach().clone().requires_grad_()
        score = measure(transform(seen, numbers) if step < MOVED else seen)
        (slope,) = torch.autograd.grad(score.sum(), seen)
        x = torch.where(slope > 0, high, torch.where(slope < 0, low, x))
        with torch.no_grad():
            now = measure(x)
        better = now > most
        best[better], most = x[better], torch.maximum(now, most)
    return best, most


def calmed(
    measure: Callable[[Tensor], Tensor], canvas: Canvas, images: Tensor, values: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Take away fine waves as far as this costs hardly anything: what is left is what the objective asks for.

    Args:
        measure: images -> the objective of each, (B,).
        canvas: paints them.
        images: float (B, C, *positions).
        values: float (B,), the objective on these.
        starts: float (B,), the objective where they began.

    Returns:
        The images and their values; an image without such waves as it was.
    """
    frequency = frequencies(canvas.shape[1:]).to(images)
    coefficients, floor = canvas.read(images), values - CALM * (values - starts)
    found, reached = images.clone(), values.clone()
    left = torch.ones_like(values, dtype=torch.bool)
    with torch.no_grad():
        for middle in FINEST:
            calm = canvas.paint(coefficients / (1 + (frequency / middle) ** 4))
            now = measure(calm)
            fits = left & (now >= floor) & (now > starts)
            found[fits], reached[fits] = calm[fits], now[fits]
            left &= ~fits
    return found, reached
