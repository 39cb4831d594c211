"""Images made for units -> those of a first layer to the pixel and softened, others without idle fine structure."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sightline.seeing.ascent import Adam
from sightline.seeing.canvas import Canvas
from sightline.seeing.layers import Layers
from sightline.seeing.nature import falls, frequencies, transformed
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

EVEN = 0.01
"""Share of what was gained that all structure may take along when it goes."""

SOFTER = 64
"""Steps in which an image of black and white gets a spectrum such as the data have."""

RATE = 0.03
"""Each of them, as a share of the range."""

FLATTER = 0.45
"""How much less steeply its amplitudes may then fall with frequency; single photos differ by as much."""

MARGIN = 0.02
"""How much more steeply they are made to fall than they must, so that one step does not spoil it."""

PRICE = 30.0
"""Of a fall that is too flat by 1, in gains; it grows with the square."""

WORTH = 0.5
"""Share of what was gained that has to be left then; where it is not, fine structure is what a unit looks for."""

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


def evened(
    measure: Callable[[Tensor], Tensor], images: Tensor, values: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Take away all structure where one colour is nearly as good: brightness is what is looked for then.

    Args:
        measure: images -> the objective of each, (B,).
        images: float (B, C, *positions).
        values: float (B,), the objective on these.
        starts: float (B,), the objective where they began.

    Returns:
        The images and their values.
    """
    middle = images.flatten(2).median(2).values.view(*images.shape[:2], *[1] * (images.ndim - 2)).expand_as(images)
    with torch.no_grad():
        now = measure(middle)
    fits = now >= values - EVEN * (values - starts)
    return torch.where(_over(fits, images), middle, images), torch.where(fits, now, values)


def softened(
    measure: Callable[[Tensor], Tensor], canvas: Canvas, images: Tensor, values: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Let amplitudes fall with frequency nearly as steeply as in the data, at the least cost that is found.

    Images of black and white alone have edges too many: their spectra are flat, those of photos are not. What is flat
    is tilted, and then climbed in small steps, less a fine for what is missing in its fall; the best of all that fall
    steeply enough is taken. Even images have no spectrum, and stay as they are.

    Args:
        measure: images -> the objective of each, (B,), differentiable.
        canvas: knows the range and the spectrum of the data.
        images: float (B, C, *positions).
        values: float (B,), the objective on these.
        starts: float (B,), the objective where they began.

    Returns:
        The images and their values.
    """
    least, span, gain = canvas.fall - FLATTER, canvas.high - canvas.low, (values - starts).clamp(min=1e-12)
    flat = falls(images) < least
    if not flat.any():
        return images, values
    found, most = images.clone(), starts + WORTH * gain
    shares = (_tilted(images, least + MARGIN, canvas) - canvas.low) / span
    climber, rows = Adam(shares, RATE), flat.nonzero()[:, 0].tolist()
    done = torch.zeros_like(flat)
    for _ in range(SOFTER):
        seen = shares.clone().requires_grad_()
        x = canvas.low + span * seen
        now, fall = measure(x), falls(x)
        better = flat & (fall >= least) & (now > most)
        found[better], most, done = x.detach()[better], torch.where(better, now.detach(), most), done | better
        missing = (least + MARGIN - fall).clamp(min=0)
        (uphill,) = torch.autograd.grad((now / gain - PRICE * missing.square())[flat].sum(), seen)
        climber.step(rows, uphill[flat])
        shares.clamp_(0, 1)
    return found, torch.where(done, most, values)


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


def _tilted(images: Tensor, least: float, canvas: Canvas) -> Tensor:
    """Scale waves by a power of their frequency, so that their amplitudes fall as steeply as wanted; contrast is kept.

    Cutting to the range makes spectra flatter again, so that more is asked for until that is met, eight times at most.
    """
    axes = tuple(range(2, images.ndim))
    middle, own, tilted = images.mean(dim=axes, keepdim=True), falls(images), images
    waves = transformed(images - middle)
    frequency = frequencies(canvas.shape[1:]).to(images).clamp(min=1 / max(canvas.shape[1:]))
    for attempt in range(8):
        flat = falls(tilted) < least
        if not flat.any():
            break
        more = ((least - own) * (1 + 0.15 * attempt) + 0.02).to(images)
        steeper = transformed(waves * frequency ** -_over(more, images))
        power, left = (x.square().mean(dim=(1, *axes), keepdim=True) for x in (images - middle, steeper))
        there = torch.minimum(torch.maximum(middle + steeper * (power / left).sqrt(), canvas.low), canvas.high)
        tilted = torch.where(_over(flat, images), there, tilted)
    return tilted


def _over(chosen: Tensor, images: Tensor) -> Tensor:
    """Give a choice of images (B,) the axes of these."""
    return chosen.view(-1, *[1] * (images.ndim - 1))
