"""Inputs and labels, without any network -> what a simple classifier makes of them: a reference, differences, damage.

All of it is closed-form arithmetic on inputs shrunk to a few hundred numbers, and takes parts of a second.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sightline.diagnosis import intervals
from sightline.diagnosis.intervals import Z

SIDES = {1: 64, 2: 12, 3: 6}
"""Positions per axis to which signals, images and volumes are shrunk."""
NEIGHBOURS = 5
LOST = 0.25
"""Share of its advantage over guessing that a simple classifier has to keep on augmented images."""

Numbers = NDArray[np.float64]


def shrunk(x: Tensor) -> Numbers:
    """Average (B, C, *size) down to float64 (B, few hundred)."""
    pools: dict[int, Any] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
    axes = x.ndim - 2
    small = pools[axes](x.float(), [min(SIDES[axes], side) for side in x.shape[2:]])
    return np.asarray(small.flatten(1).double().cpu().numpy())


def reference(x: Numbers, y: NDArray[Any], valid_x: Numbers, valid_y: NDArray[Any]) -> dict[str, Any]:
    """Recognise validation images by their nearest neighbours, and by a line through all pixels.

    Args:
        x: float (N, F), shrunk training images.
        y: int (N,), labels 0..K-1.
        valid_x: float (M, F).
        valid_y: int (M,).

    Returns:
        the better one's ``name``, its ``accuracy`` (0..1) and ``images``.
    """
    centre = x.mean(axis=0)
    found = {
        "a nearest-neighbour classifier": neighbours(x - centre, y, valid_x - centre),
        "a linear classifier": linear(x - centre, y, valid_x - centre),
    }
    scores = {name: float((named == valid_y).mean()) for name, named in found.items()}
    best = max(scores, key=lambda name: scores[name])
    return {"name": best, "accuracy": scores[best], "images": len(valid_y)}


def neighbours(x: Numbers, y: NDArray[Any], asked: Numbers) -> NDArray[np.int64]:
    """Name the class of each asked row by the votes of its nearest rows; the nearest breaks a tie."""
    return _voted((x**2).sum(axis=1)[None] - 2 * asked @ x.T, y)


def among(x: Numbers, y: NDArray[Any]) -> NDArray[np.int64]:
    """Name the class of each row by the votes of those nearest to it, its own left out."""
    distances = (x**2).sum(axis=1)[None] - 2 * x @ x.T
    distances[np.diag_indices_from(distances)] = np.inf
    return _voted(distances, y)


def _voted(distances: Numbers, y: NDArray[Any]) -> NDArray[np.int64]:
    """Name classes by the nearest of the known rows; of rows equally near, the first. Writes into ``distances``."""
    asked, known = distances.shape
    votes, rows = np.zeros((asked, int(y.max()) + 1)), np.arange(asked)
    for rank in range(min(NEIGHBOURS, known)):
        near = distances.argmin(axis=1)
        distances[rows, near] = np.inf
        votes[rows, y[near]] += 1 + 0.1 / (1 + rank)
    return np.asarray(votes.argmax(axis=1), dtype=np.int64)


def meaning(x: Numbers, y: NDArray[Any], valid_x: Numbers, valid_y: NDArray[Any]) -> dict[str, float | None] | None:
    """Ask whether labels mean for validation images what they mean for training images, by nearest neighbours.

    Both are named by the training images, a training image by the others: images of one kind are named equally well.
    Images turned on their side, or labelled by someone else, are not, though no pixel may tell them apart.

    Args:
        x: float (N, F), shrunk training images.
        y: int (N,), labels 0..K-1.
        valid_x: float (M, F).
        valid_y: int (M,).

    Returns:
        the shares named rightly, ``train`` and ``valid``, and their difference: ``value``, ``low``, ``high`` (95 %).
        None with fewer than 40 images of either.
    """
    if min(len(y), len(valid_y)) < 40:
        return None
    centre = x.mean(axis=0)
    right = among(x - centre, y) == y, neighbours(x - centre, y, valid_x - centre) == valid_y
    train, valid = (float(each.mean()) for each in right)
    half = Z * math.sqrt(sum(each.var() / len(each) for each in right))
    return {
        "train": train,
        "valid": valid,
        "value": train - valid,
        "low": train - valid - half,
        "high": train - valid + half,
    }


def linear(x: Numbers, y: NDArray[Any], asked: Numbers) -> NDArray[np.int64]:
    """Name the class of each asked row by ridge regression onto the classes."""
    target = np.eye(int(y.max()) + 1)[y]
    centre = target.mean(axis=0)
    return np.asarray((asked @ ridge(x, target - centre) + centre).argmax(axis=1), dtype=np.int64)


def ridge(x: Numbers, target: Numbers) -> Numbers:
    """Regress targets (N, K) on rows (N, F), both centred, with the mean variance as penalty: weights (F, K)."""
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += gram.trace() / len(gram) + 1e-12
    return np.asarray(np.linalg.solve(gram, x.T @ target))


def domain(x: Numbers, valid_x: Numbers) -> dict[str, float] | None:
    """Try to tell validation from training images, each half judged by a line fitted to the other.

    Returns:
        the area under the ROC curve, ``value`` with ``low`` and ``high`` (95 %, J. Hanley and B. McNeil 1982); 0.5 is
        chance. None with fewer than 40 images of either.
    """
    n = min(len(x), len(valid_x))
    if n < 40:
        return None
    random = np.random.default_rng(0)
    rows = [random.permutation(len(part))[:n] for part in (x, valid_x)]
    both = np.concatenate([described(x[rows[0]]), described(valid_x[rows[1]])])
    spread = both.std(axis=0)
    both = (both - both.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    is_valid = np.repeat([0.0, 1.0], n)
    fold = np.concatenate([np.arange(n) % 2, np.arange(n) % 2])
    areas = []
    for judged in (0, 1):
        fit, test = fold != judged, fold == judged
        weights = ridge(both[fit], (is_valid[fit] - 0.5)[:, None])
        areas.append(area((both[test] @ weights)[:, 0], is_valid[test] > 0))
    value = float(np.mean(areas))
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = (value * (1 - value) + (n - 1) * (q1 - value**2) + (n - 1) * (q2 - value**2)) / n**2
    half = Z * math.sqrt(max(variance, 0.0))
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half)}


def described(x: Numbers) -> Numbers:
    """Put beside pixels what a line through them cannot see: their mean, spread, extremes, and squares."""
    mean, spread = x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True)
    ends = np.quantile(x, [0.05, 0.95], axis=1).T
    return np.concatenate([x, x**2, mean, spread, ends], axis=1)


def area(scores: Numbers, positive: NDArray[np.bool_]) -> float:
    """Give the area under the ROC curve: the chance that a positive scores above a negative."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def class_shares(y: NDArray[Any], valid_y: NDArray[Any], classes: tuple[str, ...]) -> dict[str, Any]:
    """Compare how often each class occurs in training and in validation.

    Returns:
        ``differs``: whether a tenth of the images or more would have to change class, and chance would hardly make
        that difference (chi-square, 1 in 1,000); the class that differs most with both its shares.
    """
    k = len(classes)
    seen = np.stack([np.bincount(labels, minlength=k) for labels in (y, valid_y)]).astype(np.float64)
    shares = seen / seen.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    expected = seen.sum(axis=0) * (seen.sum(axis=1) / seen.sum())[:, None]
    there = expected > 0
    square, degrees = float(((seen - expected)[there] ** 2 / expected[there]).sum()), max(1, k - 1)
    cube = (square / degrees) ** (1 / 3)  # E. Wilson and M. Hilferty 1931: about normal
    deviations = (cube - (1 - 2 / (9 * degrees))) / math.sqrt(2 / (9 * degrees))
    worst = int(np.abs(shares[0] - shares[1]).argmax())
    return {
        "differs": bool(distance > 0.1 and deviations > 3.09),
        "distance": distance,
        "worst": classes[worst],
        "train": float(shares[0, worst]),
        "valid": float(shares[1, worst]),
    }


def damage(x: Numbers, y: NDArray[Any], augmented: Numbers, augmented_y: NDArray[Any]) -> dict[str, Any] | None:
    """Ask a nearest-neighbour classifier whether augmented images still show what they showed.

    Args:
        x: float (N, F), shrunk training images as they are; one half is known, the other asked about.
        y: int (N,).
        augmented: float (M, F), training images augmented.
        augmented_y: int (M,).

    Returns:
        shares recognised: ``plain``, ``changed`` and ``guess``, and whether augmentation ``destroys`` labels; None
        where the classifier recognises too little to be asked.
    """
    half = len(x) // 2
    order = np.random.default_rng(0).permutation(len(x))
    known, asked = order[:half], order[half:]
    centre = x.mean(axis=0)
    plain = float((neighbours((x - centre)[known], y[known], (x - centre)[asked]) == y[asked]).mean())
    right = neighbours((x - centre)[known], y[known], augmented - centre) == augmented_y
    changed = intervals.share(float(right.mean()), len(right))
    guess = float(np.bincount(y).max() / len(y))
    if plain < guess + 0.2 or len(right) < 40:
        return None
    assert changed.high is not None
    destroys = changed.high - guess < LOST * (plain - guess)
    told = {"plain": plain, "changed": changed.value, "guess": guess, "destroys": bool(destroys)}
    return {"name": "a nearest-neighbour classifier", **told}
