"""Inputs of a network -> what they are like: range, mean, colours that go together, share of coarse and fine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sightline.errors import SettingsError
from sightline.models.plan import Shape, by


@dataclass(frozen=True, eq=False)
class Nature:
    """What images that a network knows have in common, in the units of its input (after normalisation).

    Attributes:
        low: float32 (C,), the least value of each channel.
        high: float32 (C,), the largest, above ``low``.
        mean: float32 (C,), as a share of the way from ``low`` to ``high``, within 0.05..0.95.
        colours: float32 (C, C), lower triangle: independent channels -> channels that go together as in the images
            (Cholesky factor of their covariance, scaled so that its longest row is 1).
        exponent: amplitude falls as frequency ** -exponent; natural photos have about 1 (Field 1987).
        fall: the same, as it is in a single input: the median of ``falls``; NaN where that cannot be told.
        measured: how many inputs it rests on; 0: nothing was measured, and the values are usual ones.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    colours: Tensor
    exponent: float
    fall: float
    measured: int


def usual(channels: int) -> Nature:
    """Give what can be said without data: normalised inputs lie within 2 deviations, spectra fall as 1/f."""
    wide = torch.full((channels,), 2.0)
    return Nature(-wide, wide, torch.full((channels,), 0.5), torch.eye(channels), 1.0, 1.0, 0)


def measure(inputs: Tensor) -> Nature:
    """Measure what inputs have in common.

    Args:
        inputs: float (N, C, *positions), as the network gets them; a few hundred suffice.

    Raises:
        SettingsError: there are none, or they are not finite.
    """
    if inputs.ndim < 3 or not len(inputs) or not bool(torch.isfinite(inputs).all()):
        raise SettingsError(
            f"nothing can be measured on inputs of shape {by(tuple(inputs.shape))}.",
            "Give finite float inputs (N, C, *positions), N of 1 or more, as the network gets them.",
        )
    x = inputs.detach().float().cpu()
    pixels = x.movedim(1, -1).flatten(0, -2)  # a row for each place
    low, high = pixels.amin(0), pixels.amax(0)
    high = torch.where(high > low, high, low + 1)
    shares = (pixels - low) / (high - low)
    centred = (shares - shares.mean(0)).double()
    covariance = centred.T @ centred / len(centred)
    covariance += torch.eye(len(low), dtype=torch.double) * (1e-3 * covariance.diagonal().amax() + 1e-9)
    colours = torch.linalg.cholesky(covariance)
    colours = (colours / colours.norm(dim=1).amax()).float()
    return Nature(low, high, shares.mean(0).clamp(0.05, 0.95), colours, slope(x), float(falls(x).nanmedian()), len(x))


def slope(inputs: Tensor) -> float:
    """Fit how fast amplitudes fall with frequency: -d log(amplitude) / d log(frequency), within 0.5..2.

    Args:
        inputs: float (N, C, *positions); of fewer than 4 positions along every axis, 1.0 is the answer.
    """
    axes = tuple(range(2, inputs.ndim))
    spectrum = transformed(inputs - inputs.mean(dim=axes, keepdim=True))
    power = spectrum.square().mean(dim=(0, 1)).flatten().double()
    frequency = frequencies(tuple(inputs.shape[2:])).flatten().double()
    inside = (frequency > 0) & (frequency <= 0.5) & (power > 1e-12 * power.amax())
    distinct = torch.unique(frequency[inside].round(decimals=6))
    if len(distinct) < 3:
        return 1.0
    f, p = frequency[inside].log(), power[inside].log() / 2
    weight = 1 / frequency[inside]  # a ring of frequency f holds about f of them: every ring counts the same
    mean_f, mean_p = (weight * f).sum() / weight.sum(), (weight * p).sum() / weight.sum()
    fall = -(weight * (f - mean_f) * (p - mean_p)).sum() / (weight * (f - mean_f).square()).sum()
    return float(fall.clamp(0.5, 2.0))


def falls(inputs: Tensor) -> Tensor:
    """Fit the same to each input on its own, without bounds, from the mean power of rings of frequency.

    Single waves of a single image may be next to nothing, whose logarithm says little: rings hold many.

    Args:
        inputs: float (N, C, *positions).

    Returns:
        float32 (N,), differentiable; NaN where nothing varies, and for all where there are fewer than three rings.
    """
    positions = tuple(inputs.shape[2:])
    varying = inputs - inputs.mean(dim=tuple(range(2, inputs.ndim)), keepdim=True)
    power = transformed(varying).square().mean(1).flatten(1)
    frequency = frequencies(positions).flatten().to(power).clamp(max=0.5)  # diagonals finer than that count as finest
    ring = (frequency * max(positions)).round().long()
    inside = ring.bincount()[1:] > 0
    if int(inside.sum()) < 3:
        return torch.full((len(inputs),), torch.nan, device=inputs.device)
    member = nn.functional.one_hot(ring)[:, 1:][:, inside].to(power)
    member = member / member.sum(0)
    rings, middle = power @ member, frequency @ member
    p = (rings + 1e-12 * rings.amax(1, keepdim=True) + 1e-30).log() / 2
    f = middle.log() - middle.log().mean()
    varies = power.mean(1) > 1e-8 * inputs.square().flatten(1).mean(1)  # the rest is what rounding leaves
    return torch.where(varies, -(p * f).sum(1) / f.square().sum(), torch.nan)


def transformed(x: Tensor) -> Tensor:
    """Give the waves of inputs (N, C, *positions), or the inputs of their waves: Hartley's transform of each axis."""
    for axis in range(2, x.ndim):
        x = torch.tensordot(x, hartley(x.shape[axis]).to(x), dims=([axis], [0])).movedim(-1, axis)
    return x


def hartley(size: int) -> Tensor:
    """Give the matrix cos(2 pi k n / N) + sin(2 pi k n / N), over the root of N: float32 (N, N).

    It is symmetric and its own inverse: one real matrix product per axis does what a Fourier transform does, on every
    device (Bracewell 1983).
    """
    steps = torch.arange(size, dtype=torch.double)
    angle = (steps[:, None] * steps % size) * (2 * torch.pi / size)
    waves: Tensor = (angle.cos() + angle.sin()) / size**0.5
    return waves.float()


def frequencies(positions: Shape) -> Tensor:
    """Give the frequency of each coefficient, in cycles per position: 0 at the first, 0.5 the finest along an axis."""
    total: Tensor = torch.zeros(positions)
    for axis, size in enumerate(positions):
        steps = torch.arange(size)
        along = torch.minimum(steps, size - steps) / size
        total += along.square().view(-1, *[1] * (len(positions) - axis - 1))
    return total.sqrt()
