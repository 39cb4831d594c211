"""What a file says besides its picture (native size, grey or colour) -> findings where that alone gives the class away.

A network takes the easiest way to the label. If cats come from a phone and dogs from a web site, size, shape, sharpness
and padding tell them apart, and the score says nothing about cats and dogs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline.data.pixels import Pixels
from sightline.finding import Finding

T = TypeVar("T")

GAIN_WARNING, GAIN_ERROR = 0.1, 0.5
"""Shares of the way from chance (0) to certainty (1) at which a guess from size alone is told."""

_FOLDS, _SHUFFLES, _CELLS = 5, 99, 64
GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L")
"""Pillow's names for pixels without colour."""


def size_correlates(pixels: Pixels) -> list[Finding]:
    """Guess the class from native width and height alone.

    See ``guess`` for the measure. A finding needs both: a guess better than all of 99 with shuffled labels (p <= 0.01),
    and a tenth of the way from chance to certainty or more; from half of the way on it is an error.
    """
    width, height = pixels.records.width[pixels.rows], pixels.records.height[pixels.rows]
    if (width == width[0]).all() and (height == height[0]).all():
        return []
    accuracy, chance, best_shuffled = guess(_size_cells(width, height), pixels.images.labels)
    gain = _gain(accuracy, chance)
    if accuracy <= best_shuffled or gain < GAIN_WARNING:
        return []
    return [
        Finding(
            "data/size-correlates-with-class",
            "error" if gain >= GAIN_ERROR else "warning",
            f"the class can be guessed from an image's width and height alone: right in {accuracy:.0%} of the cases, "
            f"the classes weighted equally, where chance gives {chance:.0%} (shuffled labels: {best_shuffled:.0%} at "
            "most).",
            "Take images of all classes from the same sources, or bring them to one size and sharpness before; "
            "`--resize crop` hides the shape but not the sharpness. Test on images whose size says nothing.",
            {
                "balanced_accuracy": round(accuracy, 4),
                "chance": round(chance, 4),
                "best_shuffled": round(best_shuffled, 4),
                "threshold": round(chance + GAIN_WARNING * (1 - chance), 4),
                "median_size": _by_class(
                    pixels, lambda rows: [int(np.median(width[rows])), int(np.median(height[rows]))]
                ),
            },
        )
    ]


def mixed_channels(pixels: Pixels) -> list[Finding]:
    """Find grey and colour images in one set; a warning if that tells classes apart (measured as for size)."""
    grey = np.isin(pixels.records.mode[pixels.rows], GREY)
    if pixels.images.paths is None or grey.all() or not grey.any():
        return []
    accuracy, chance, best_shuffled = guess(grey.astype(np.int64), pixels.images.labels)
    telling = accuracy > best_shuffled and _gain(accuracy, chance) >= GAIN_WARNING
    shares = _by_class(pixels, lambda rows: round(float(grey[rows].mean()), 4))
    most = max(shares, key=lambda name: shares[name])
    told = f" It tells classes apart: {shares[most]:.0%} of '{most}', {grey.mean():.0%} of all." if telling else ""
    return [
        Finding(
            "data/mixed-channels",
            "warning" if telling else "note",
            f"{int(grey.sum()):,} of {len(pixels):,} files are grey, the others colour; all become "
            f"{'RGB' if pixels.preprocessing.channels == 3 else 'grey, as none shows a colour'}.{told}",
            "Turn all files grey, or find colour versions of the grey ones."
            if telling
            else "Nothing has to be done; grey images to be predicted later are served as well.",
            {
                "grey": int(grey.sum()),
                "grey_share": shares,
                "files": [pixels.images.label_of(int(row)) for row in np.flatnonzero(grey)[:100]],
            },
        )
    ]


def guess(cells: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[float, float, float]:
    """Guess labels from a cell number by majority, five-fold cross-validated.

    In each fold a cell stands for the class that fills the largest share of itself with it in the other four folds; a
    cell not seen there counts as a guess at random. The score is balanced accuracy, so large classes give nothing away
    by being large.

    Args:
        cells: what is known of each image, int64 (N,), small numbers.
        labels: int64 (N,).

    Returns:
        The balanced accuracy; chance, 1 / classes; and the best of 99 runs with shuffled labels.
    """
    generator = np.random.default_rng(0)
    cells = np.unique(cells, return_inverse=True)[1]
    labels = np.unique(labels, return_inverse=True)[1]
    folds = generator.permutation(len(labels)) % _FOLDS
    shape = (_FOLDS, int(cells.max()) + 1, int(labels.max()) + 1)
    scores = []
    for shuffle in range(_SHUFFLES + 1):
        y = generator.permutation(labels) if shuffle else labels
        table = np.bincount((folds * shape[1] + cells) * shape[2] + y, minlength=int(np.prod(shape))).reshape(shape)
        known = table.sum(axis=0) - table
        share = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
        tied = share == share.max(axis=2, keepdims=True)  # all classes, for a cell not seen
        right = (table * tied / tied.sum(axis=2, keepdims=True)).sum(axis=(0, 1))
        scores.append(float((right / table.sum(axis=(0, 1))).mean()))
    return scores[0], 1 / shape[2], max(scores[1:])


def _gain(accuracy: float, chance: float) -> float:
    """Say how far from chance (0) to certainty (1) a guess is; a single class leaves nothing to guess."""
    return (accuracy - chance) / (1 - chance) if chance < 1 else 0.0


def _size_cells(width: NDArray[np.int32], height: NDArray[np.int32]) -> NDArray[np.int64]:
    """Number the native sizes: each one for itself if there are few, else eight ranges of area by eight of shape."""
    pairs = np.unique(np.stack([width, height], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    if pairs.max() < _CELLS:
        return pairs.astype(np.int64)
    area, aspect = np.log(width.astype(float) * height), np.log(width / height)
    steps = np.linspace(0, 1, 9)[1:-1]
    return np.searchsorted(np.quantile(area, steps), area) * 8 + np.searchsorted(np.quantile(aspect, steps), aspect)


def _by_class(pixels: Pixels, value: Callable[[NDArray[np.int64]], T]) -> dict[str, T]:
    labels = pixels.images.labels
    rows = {name: np.flatnonzero(labels == k) for k, name in enumerate(pixels.images.classes)}
    return {name: value(mine) for name, mine in rows.items() if len(mine)}
