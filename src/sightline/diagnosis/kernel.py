"""Inputs and labels -> for each image its class, as all the others tell it: regression on a kernel, in closed form.

It needs no network and no images held out: leaving one image out of a kernel regression takes no second fit
(C. Rasmussen and C. Williams, Gaussian Processes for Machine Learning, 2006, section 5.4.2). So training and validation
labels can be judged together, which doubles or trebles the few images that a small validation part has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.diagnosis import label_noise

Numbers = NDArray[np.float64]

SCALES = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Squared widths of the kernel that are tried, as shares of the median squared distance between two images."""
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Variances of the noise that are tried, where an image's own is 1."""
LEAST = 1e-3
"""Smallest share of a class where scores are cut off: a regression may fall below zero."""
SHARP = 5.0
"""Exponent of the scores where they are not; ``label_noise`` fits its own to what comes of it."""
FEW, MOST = 60, 800
"""Images below which labels are not judged, and above which some are drawn: it takes cubes of their number."""


def unseen(x: Numbers, y: NDArray[np.int64], classes: int) -> Numbers:
    """Give each image's score for each class, float (N, K), from a kernel regression on all images but itself.

    1 stands for the class, 0 for the others. Width and ridge are those with the least squared error.

    Args:
        x: float (N, F).
        y: int (N,), labels 0..K-1.
        classes: K.
    """
    return _regressed(x, y, classes)[1]


def fitted(x: Numbers, y: NDArray[np.int64], classes: int) -> float:
    """Give the squared width of the kernel with which images tell each other's classes best; see ``unseen``."""
    return _regressed(x, y, classes)[0]


def distances(x: Numbers, others: Numbers) -> Numbers:
    """Give the squared distances of rows (N, F) from others (M, F): float (N, M)."""
    centre = others.mean(axis=0)  # rounding errors grow with what is subtracted
    x, others = x - centre, others - centre
    return np.asarray(np.maximum((x**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * x @ others.T, 0.0))


def _regressed(x: Numbers, y: NDArray[np.int64], classes: int) -> tuple[float, Numbers]:
    """Give the squared width with the least squared error, and each image's scores without itself."""
    between = distances(x, x)
    apart = between[between > 0]
    middle = float(np.median(apart)) if len(apart) else 1.0
    given = np.eye(classes)[y]
    centred = given - given.mean(axis=0)

    def errors(scale: float) -> list[float]:
        # One decomposition serves all ridges; float32 takes a third of the time, and only says which is lowest.
        values, vectors = torch.linalg.eigh(torch.from_numpy(np.exp(-between / (middle * scale))).float())
        turned, squared = vectors.T @ torch.from_numpy(centred).float(), vectors**2
        inverses = [1 / (values.clamp(min=0) + ridge) for ridge in RIDGES]
        return [
            float(((vectors @ (each[:, None] * turned)) / (squared @ each)[:, None]).square().sum())
            for each in inverses
        ]

    tried: dict[int, list[float]] = {}
    at, better = -1, len(SCALES) // 2
    while at != better:  # down hill from the middle: there is one valley
        at = better
        near = [place for place in (at, at - 1, at + 1) if 0 <= place < len(SCALES)]
        tried |= {place: errors(SCALES[place]) for place in near if place not in tried}
        better = min(near, key=lambda place: min(tried[place]))
    width = middle * SCALES[at]
    kernel = np.exp(-between / width) + RIDGES[int(np.argmin(tried[at]))] * np.eye(len(x))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(torch.from_numpy(kernel))).numpy()
    missed: Numbers = inverse @ centred / np.diag(inverse)[:, None]
    return width, given - missed


def doubted(x: Numbers, y: NDArray[Any], classes: int) -> dict[str, Any] | None:
    """Estimate the share of wrong labels among images that no network has seen yet; None with too few of them.

    Scores become probabilities in two ways, and neither is right: cut off at zero they are too sure where classes
    overlap, and overlap looks like wrong labels; as exponents they are too timid, and wrong labels look like overlap.

    Args:
        x: float (N, F), shrunk images, of all parts that are at hand.
        y: int (N,).
        classes: K.

    Returns:
        ``value``, ``low``, ``high`` (95 %) and ``kind`` of the timid estimate; the same of the sure one as ``sure``;
        ``images``, and ``accuracy``: how often the others tell the label.
    """
    if len(y) < FEW or classes < 2:
        return None
    rows = np.random.default_rng(0).permutation(len(y))[:MOST]
    x, y = x[rows], np.asarray(y[rows], dtype=np.int64)
    scores = unseen(x, y, classes)
    powers = np.exp(SHARP * (scores - scores.max(axis=1, keepdims=True)))
    timid, sure = (_estimate(each, y) for each in (powers, np.maximum(scores, LEAST)))
    right = float((scores.argmax(axis=1) == y).mean())
    return {**timid, "sure": sure, "images": len(y), "accuracy": right}


def _estimate(shares: Numbers, y: NDArray[np.int64]) -> dict[str, Any]:
    found = label_noise.estimate(shares / shares.sum(axis=1, keepdims=True), y)
    return {**found.share.as_dict(), "kind": found.kind}
