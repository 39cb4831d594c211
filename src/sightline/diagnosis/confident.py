"""Probabilities from networks that never saw the images, and labels -> which labels are unlike what was learnt.

Confident learning: C. Northcutt, L. Jiang, I. Chuang, Confident learning: estimating uncertainty in dataset labels,
JAIR 70 (2021) 1373. An image counts as confidently of a class if its probability reaches the mean that the images
labelled so get; where that class is not the label, the label is doubted.

On classes that a network mixes up, this counts the network's own mistakes as wrong labels. ``label_noise.py`` tells the
two apart; the table here says between which classes to look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Confident:
    """What confident learning finds.

    Attributes:
        thresholds: float (K,): mean probability of class k over the images labelled k (equation 2); NaN without any.
        counts: int (K, K), the confident joint: images labelled i (row) that are confidently of class j (column); those
            that are confidently of no class are not in it (equation 1).
        joint: float (K, K), sums to 1: the share of images with label i that are really j, by the counts, scaled to the
            number of each label (equation 3).
        doubted: bool (N,): counted off the diagonal.
        self_confidence: float (N,): probability of the given label; low ones are suspect.
        margin: float (N,), -1..1: that less the largest probability of another class.
    """

    thresholds: NDArray[np.float64]
    counts: NDArray[np.int64]
    joint: NDArray[np.float64]
    doubted: NDArray[np.bool_]
    self_confidence: NDArray[np.float64]
    margin: NDArray[np.float64]


def confident(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Confident:
    """Apply confident learning.

    Args:
        probabilities: float (N, K), rows sum to 1, each from networks that were not trained on that image.
        labels: int64 (N,), 0..K-1, as given.
    """
    n, k = probabilities.shape
    own = probabilities[np.arange(n), labels]
    sizes = np.bincount(labels, minlength=k)
    with np.errstate(invalid="ignore"):
        thresholds = np.bincount(labels, weights=own, minlength=k) / sizes
    reached = probabilities >= np.where(sizes > 0, thresholds, np.inf)
    found = np.where(reached, probabilities, -1.0).argmax(axis=1)
    sure = reached.any(axis=1)
    counts = np.zeros((k, k), np.int64)
    np.add.at(counts, (labels[sure], found[sure]), 1)
    scaled = counts + np.diag((counts.sum(axis=1) == 0).astype(np.int64))  # nobody is sure: the labels are believed
    joint = scaled / scaled.sum(axis=1, keepdims=True) * (sizes / n)[:, None]
    others = probabilities.copy()
    others[np.arange(n), labels] = -1.0
    return Confident(thresholds, counts, joint, sure & (found != labels), own, own - others.max(axis=1))
