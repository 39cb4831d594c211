"""Images, and copies of them under more augmentation -> how much that augmentation promises, without any network.

An image that may be moved is worth several. Whether it may be is a question to the data that a regression on a kernel
answers in a fraction of a second: it is taught the images, then the images and their copies (virtual examples: B.
Schoelkopf, C. Burges, V. Vapnik, Incorporating Invariances in Support Vector Learning Machines, 1996, section 3), and
asked about validation images both times. What it gains, networks gain; docs/diagnosis/how-good.md says how often.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis import kernel, trend

Numbers = NDArray[np.float64]

IMAGES, COPIES, ASKED = 300, 3, 1000
"""Training images that are copied, copies of each, and validation images that are asked about, at most."""
RIDGES = (0.1, 0.3, 1.0, 3.0)
"""Variances of the noise that are tried for each; copies of one image agree with each other, which asks for more."""
FEW = 40
"""Images of either part below which nothing is asked."""


def promised(
    plain: tuple[Numbers, NDArray[np.int64]],
    now: tuple[Numbers, NDArray[np.int64]],
    then: tuple[Numbers, NDArray[np.int64]],
    asked: tuple[Numbers, NDArray[np.int64]],
    classes: int,
) -> dict[str, Any]:
    """Compare what a kernel regression mistakes after copies of one augmentation and after those of another.

    Args:
        plain: float (N, F), shrunk training images as they are, and int (N,), their labels 0..K-1.
        now: copies of them under the augmentation of the training, none or some times N.
        then: copies of them under the one that is asked about.
        asked: float (M, F), validation images, and their labels.
        classes: K.

    Returns:
        ``value``, ``low``, ``high``: the fall of the squared error on validation images, as a share of what it was,
        with its 95 % interval over the images; and ``images``.
    """
    scale = kernel.fitted(*plain, classes)
    before, after = (_missed(plain, more, asked, scale, classes) for more in (now, then))
    fall, was = trend.difference(before, after), max(float(before.mean()), 1e-3)
    told = {name: None if side is None else side / was for name, side in fall.as_dict().items()}
    return {**told, "images": len(asked[1])}


def _missed(
    plain: tuple[Numbers, NDArray[np.int64]],
    more: tuple[Numbers, NDArray[np.int64]],
    asked: tuple[Numbers, NDArray[np.int64]],
    scale: float,
    classes: int,
) -> Numbers:
    """Give each asked image's squared error after learning, with the ridge that leaves least of it: float (M,)."""
    x, y = (np.concatenate([first, second]) for first, second in zip(plain, more, strict=True))
    given = np.eye(classes)[y]
    centre = given.mean(axis=0)
    close, near = (np.exp(-kernel.distances(other, x) / scale) for other in (x, asked[0]))
    truth = np.eye(classes)[asked[1]]
    tried = []
    for ridge in RIDGES:
        weights = np.linalg.solve(close + ridge * np.eye(len(x)), given - centre)
        tried.append(((near @ weights + centre - truth) ** 2).sum(axis=1))
    return min(tried, key=lambda missed: float(missed.mean()))
