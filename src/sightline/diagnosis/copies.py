"""Images, and augmented copies of them -> how much that augmentation promises, without any network.

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
RIDGES = (0.002, 0.008, 0.03, 0.125, 0.5, 2.0)
"""Variances of the noise that are tried, each four times the last: an image that is there four times asks for that."""
FEW = 40
"""Images of either part below which nothing is asked."""


def promised(
    plain: tuple[Numbers, NDArray[np.int64]],
    copied: tuple[Numbers, NDArray[np.int64]],
    asked: tuple[Numbers, NDArray[np.int64]],
    classes: int,
) -> dict[str, Any]:
    """Compare what a kernel regression mistakes after the images, and after the images and their copies.

    Args:
        plain: float (N, F), shrunk training images as they are, and int (N,), their labels 0..K-1.
        copied: copies of them, augmented, some times N.
        asked: float (M, F), validation images, and their labels.
        classes: K.

    Returns:
        ``value``, ``low``, ``high``: the fall of the squared error on validation images, as a share of what it was,
        with its 95 % interval over the images; and ``images``.
    """
    scale = kernel.fitted(*plain, classes)
    both = np.concatenate([plain[0], copied[0]]), np.concatenate([plain[1], copied[1]])
    before, after = (_missed(taught, asked, scale, classes) for taught in (plain, both))
    fall, was = trend.difference(before, after), max(float(before.mean()), 1e-3)
    told = {name: None if side is None else side / was for name, side in fall.as_dict().items()}
    return {**told, "images": len(asked[1])}


def _missed(
    taught: tuple[Numbers, NDArray[np.int64]], asked: tuple[Numbers, NDArray[np.int64]], scale: float, classes: int
) -> Numbers:
    """Give each asked image's squared error after learning, with the ridge that leaves least of it: float (M,)."""
    x, y = taught
    given = np.eye(classes)[y]
    centre = given.mean(axis=0)
    close, near = (np.exp(-kernel.distances(other, x) / scale) for other in (x, asked[0]))
    truth = np.eye(classes)[asked[1]]
    tried = []
    for ridge in RIDGES:
        weights = np.linalg.solve(close + ridge * np.eye(len(x)), given - centre)
        tried.append(((near @ weights + centre - truth) ** 2).sum(axis=1))
    return min(tried, key=lambda missed: float(missed.mean()))
