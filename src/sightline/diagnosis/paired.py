"""Two answers for each of the same images -> how much better the first ones are, with 95 % intervals.

Both are right on most images; only those on which they differ tell them apart, so pairs need far fewer images than two
sets of their own would.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis import intervals
from sightline.diagnosis.intervals import Figure, Z, by_class
from sightline.diagnosis.mistakes import balanced, macro_f1

AVERAGES = {"balanced_accuracy": balanced, "macro_f1": macro_f1}
"""Averages over classes, by the name of their field in ``Evaluation``."""

_DRAWS = 500
_CELLS = 4_000_000
"""Numbers held at a time while resampling (32 MB)."""


def differences(
    first: NDArray[np.int64], second: NDArray[np.int64], labels: NDArray[np.int64], classes: int, seed: int = 0
) -> dict[str, Figure]:
    """Subtract the scores of the second from those of the first.

    Accuracy has the interval of ``intervals.paired``. Averages over classes are resampled by images, together for both;
    to their variance is added that of two images more on which they differ, of any class alike: what rare classes
    would do is not known from a few images on which both happen to be right.

    Args:
        first: int (N,), classes named, 0..K-1; N >= 1.
        second: int (N,), likewise.
        labels: int (N,).
        classes: K.
        seed: of the resampling.

    Returns:
        Differences by name: ``accuracy``, ``balanced_accuracy``, ``macro_f1``; each -1..1.
    """
    right, other = first == labels, second == labels
    found = {"accuracy": intervals.paired(int((right & ~other).sum()), int((~right & other).sum()), len(labels))}
    cells, counts = np.unique(np.stack([labels, first, second]), axis=1, return_counts=True)
    values = _scores(cells, counts[None], classes)
    spread = _spread(cells, counts, classes, seed)
    for name, value in values.items():
        half = Z * spread[name]
        middle = float(value[0])
        found[name] = Figure(middle, max(-1.0, middle - half), min(1.0, middle + half))
    return found


def _scores(cells: NDArray[np.int64], counts: NDArray[np.int64], classes: int) -> dict[str, NDArray[np.float64]]:
    """Score the first less the second, float (draws,), from the counts (draws, cells) of each kind of image."""
    labels, first, second = cells
    labelled = by_class(counts, labels, classes)
    counted = [
        (by_class(counts * (called == labels), labels, classes), labelled, by_class(counts, called, classes))
        for called in (first, second)
    ]
    return {name: average(*counted[0]) - average(*counted[1]) for name, average in AVERAGES.items()}


def _spread(cells: NDArray[np.int64], counts: NDArray[np.int64], classes: int, seed: int) -> dict[str, float]:
    """Resample the images; give the standard deviation of each score."""
    images = int(counts.sum())
    chunk = max(1, min(_DRAWS, _CELLS // (len(counts) * 2 + classes)))
    generator = np.random.default_rng(seed)
    scores = [
        _scores(cells, generator.multinomial(images, counts / images, size=min(chunk, _DRAWS - start)), classes)
        for start in range(0, _DRAWS, chunk)
    ]
    supports = np.bincount(cells[0], weights=counts, minlength=classes)
    supports = supports[supports > 0]
    two_more = 2 * float(np.mean((len(supports) * supports) ** -2.0))
    drawn = {name: np.concatenate([part[name] for part in scores]) for name in AVERAGES}
    return {name: float(np.sqrt(values.var(ddof=1) + two_more)) for name, values in drawn.items()}
