"""An image and what became of it -> the kernel that did it, found by gradient descent, step after step.

This is what a convolutional layer does when it is trained, with one kernel and one image: the kernel starts at random,
its output differs from the one wanted, and every weight moves against the slope of the mean squared difference. The
loss is a bowl (its Hessian is constant), so the learning rate is known: 1 over the largest curvature never overshoots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sightline.errors import SettingsError
from sightline.seeing.sliding import Slide, convolve, say
from sightline.seeing.windows import Floats, Pair, checked, patches


@dataclass(frozen=True, eq=False)
class Learnt:
    """A kernel on its way.

    Attributes:
        target: float64 (M, H', W'): the output wanted.
        kernels: float64 (steps + 1, M, C, k, l): the kernel before the first step, and after each.
        losses: float64 (steps + 1,): mean squared difference from the target.
        rate: the learning rate.
        condition: how many times steeper the loss bends in one direction than in another; infinite where the image
            says nothing about some weights.
        slide: the last kernel on the image.
    """

    target: Floats
    kernels: Floats
    losses: Floats
    rate: float
    condition: float
    slide: Slide

    def after(self, step: int) -> Slide:
        """Give the kernel after that many steps, on the image."""
        last = self.slide
        return convolve(
            last.image, self.kernels[step], stride=last.stride, padding=last.padding, dilation=last.dilation
        )

    @property
    def sentence(self) -> str:
        """How it went."""
        off = float(np.abs(self.slide.output - self.target).max())
        return (
            f"In {len(self.losses) - 1} steps at rate {say(self.rate)} the mean squared difference fell from "
            f"{say(self.losses[0])} to {say(self.losses[-1])}; the output is at most {say(off)} off the target."
        )


def learn(
    image: ArrayLike,
    target: ArrayLike,
    size: int | Pair = 3,
    *,
    steps: int = 100,
    rate: float | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    seed: int = 0,
) -> Learnt:
    """Find the kernel that makes ``target`` of ``image``, by gradient descent.

    Args:
        image: (H, W), or (C, H, W).
        target: the output wanted, (H', W') or (M, H', W'), such as ``convolve(image, edge).output``.
        size: rows and columns of the kernel.
        steps: of gradient descent, 1 or more.
        rate: learning rate; None takes 1 over the largest curvature.
        stride: of the convolution, as for ``convolve``.
        padding: likewise.
        dilation: likewise.
        seed: of the kernel it starts with: normal, deviation 0.1.

    Raises:
        SettingsError: the target does not have the size of the output, or a setting is out of range.
    """
    if steps < 1 or (rate is not None and not 0 < rate < np.inf):
        raise SettingsError(
            f"{steps} steps at rate {rate} are not possible.", "Take a step or more, and a rate over 0."
        )
    pixels, wanted = checked(image), checked(target)
    both = (size, size) if isinstance(size, int) else size
    start = np.random.default_rng(seed).normal(0, 0.1, (len(wanted), len(pixels), *both))
    first = convolve(pixels, start, stride=stride, padding=padding, dilation=dilation)
    if first.output.shape != wanted.shape:
        raise SettingsError(
            f"the target is {wanted.shape[1:]}, and this convolution makes {first.output.shape[1:]}.",
            "Make the target with the same size, stride, padding and dilation.",
        )
    # every window as one row: (positions, C * k * l), in the order of the kernel's weights
    taps = [patch for *_, patch in patches(pixels, first.size, first.stride, first.padding, first.dilation, 0.0)]
    windows = np.stack(taps, axis=1).reshape(len(pixels) * len(taps), -1).T
    goal = wanted.reshape(len(wanted), -1)
    curves = np.linalg.eigvalsh(2 * windows.T @ windows / goal.size)
    if curves[-1] <= 0:
        raise SettingsError("the image is 0 everywhere: it says nothing about the kernel.", "Take another image.")
    rate = 1.0 / float(curves[-1]) if rate is None else rate
    if rate * curves[-1] > 2:
        raise SettingsError(
            f"at rate {say(rate)} the kernel grows without bounds.", f"Take a rate below {say(2 / curves[-1])}."
        )
    weights = start.reshape(len(wanted), -1)
    kernels, losses = [weights], []
    for _ in range(steps):
        difference = weights @ windows.T - goal
        losses.append(float((difference**2).mean()))
        slope = 2 * difference @ windows / goal.size
        weights = weights - rate * slope
        kernels.append(weights)
    losses.append(float(((weights @ windows.T - goal) ** 2).mean()))
    last = convolve(pixels, weights.reshape(start.shape), stride=stride, padding=padding, dilation=dilation)
    condition = float(curves[-1] / curves[0]) if curves[0] > curves[-1] * 1e-12 else np.inf
    return Learnt(wanted, np.stack(kernels).reshape(-1, *start.shape), np.array(losses), rate, condition, last)
