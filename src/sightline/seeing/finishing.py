"""Images for units of a first layer -> the same with each pixel at that end of its range which the unit asks for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sightline.seeing.layers import Layers
from sightline.seeing.objectives import LOGITS, Objective
from sightline.seeing.transforms import transform

MOVED = 8
"""Steps on images that are moved a little, so that they do not hang on single pixels."""

STRAIGHT = 8
"""Steps after these on images as they are; hardly anything changes in the last ones."""

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
