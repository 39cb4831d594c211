"""Counts and per-image scores -> 95 % intervals that also hold near 100 %, where trained networks live.

The plain percentile bootstrap is not used: with three mistakes in 180 images it holds the true macro-F1 in 84 % of
the cases and the true loss in 78 %, because three rare events say little about their own rarity. Wilson's form for
shares and Hall's for means keep what they promise far better; a test simulates it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""Standard deviations on each side that hold 95 % of a normal distribution."""

_CELLS = 4_000_000
"""Numbers held at a time while resampling (32 MB)."""


@dataclass(frozen=True)
class Figure:
    """A number and the 95 % interval it is known to.

    Attributes:
        value: measured on the images at hand.
        low: lower end, at most ``value``; None where one image gives no spread.
        high: upper end, at least ``value``; None likewise.
    """

    value: float
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Give ``{"value": ..., "low": ..., "high": ...}``."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Figure:
        """Read what ``as_dict`` gave."""
        return cls(values["value"], values["low"], values["high"])


def share(value: float, whole: float) -> Figure:
    """Give a proportion the score interval of Wilson (1927, JASA 22:209).

    Args:
        value: the proportion, 0..1.
        whole: of how many, above 0. May be an effective number that is no integer.
    """
    centre = (value + Z**2 / (2 * whole)) / (1 + Z**2 / whole)
    half = Z / (1 + Z**2 / whole) * np.sqrt(value * (1 - value) / whole + Z**2 / (4 * whole**2))
    return Figure(float(value), float(max(0.0, min(value, centre - half))), float(min(1.0, max(value, centre + half))))


def paired(gained: int, lost: int, whole: int) -> Figure:
    """Give the difference of two shares measured on the same images an interval.

    The adjusted Wald interval of Bonett and Price (2012, J. Educ. Behav. Stat. 37:479): one image is added on each
    side, so that a handful of images on which two networks differ is not taken for certainty. Simulated with 25 to
    1,000 images it held the truth in 95 to 100 % of the cases; without the addition in as few as 16 %.

    Args:
        gained: images that the first gets right and the second wrong.
        lost: images that the first gets wrong and the second right.
        whole: all images, above 0.

    Returns:
        The share of the first less that of the second, -1..1.
    """
    value = (gained - lost) / whole
    more, less = (gained + 1) / (whole + 2), (lost + 1) / (whole + 2)
    half = Z * np.sqrt((more + less - (more - less) ** 2) / (whole + 2))
    low, high = more - less - half, more - less + half
    return Figure(value, float(max(-1.0, min(value, low))), float(min(1.0, max(value, high))))


def f1(right: float, labelled: float, called: float) -> Figure:
    """Measure the F1 score of one class: the harmonic mean of its precision and recall.

    F1 = 2J / (1 + J), where J is the share of right ones among the images that are of the class or were called so;
    J is a proportion, so Wilson's interval carries over.

    Args:
        right: images of the class that were called so.
        labelled: images of the class.
        called: images that were called so; ``labelled + called > 0``.
    """
    either = labelled + called - right
    overlap = share(right / either, either)
    value, low, high = (2 * end / (1 + end) for end in (overlap.value, overlap.low or 0.0, overlap.high or 0.0))
    return Figure(float(value), float(low), float(high))


def mean(scores: NDArray[np.float64], most: float = np.inf) -> Figure:
    """Average a score over images, with the interval of Hall (1992, JRSS B 54:221), which corrects for skewness.

    Losses are skewed: most images cost nothing, a few cost a lot, and which few is chance.

    Args:
        scores: float (N,), at least 0, N >= 1.
        most: the largest value a score can have.
    """
    n, value = len(scores), float(scores.mean())
    if n < 2:
        return Figure(value, None, None)
    deviation = float(scores.std())
    if deviation <= 1e-12 * max(1.0, abs(value)):
        return Figure(value, value, value)
    skew = float(np.mean(((scores - value) / deviation) ** 3)) / np.sqrt(n)

    def quantile(z: float) -> float:
        return z if abs(skew) < 1e-6 else float(3 / skew * (np.cbrt(1 + skew * (z - skew / 6)) - 1))

    error = deviation / np.sqrt(n - 1)
    low, high = value - quantile(Z) * error, value - quantile(-Z) * error
    return Figure(value, float(max(0.0, min(value, low))), float(min(most, max(value, high))))


def averaged_share(value: float, resampled: NDArray[np.float64], supports: NDArray[np.int64]) -> Figure:
    """Give an average of per-class shares (balanced accuracy, macro-F1) its interval.

    Wilson's form, with the number of images that would make a plain share as uncertain as the bootstrap says this
    one is. When every image is right nothing varies; then each class counts by its own number of images.

    Args:
        value: the average over all images, 0..1.
        resampled: float (draws,), the same average over resampled images.
        supports: int (K,), images of each class.
    """
    supports = supports[supports > 0]
    effective = len(supports) ** 2 / float((1 / supports).sum())
    variance = float(resampled.var(ddof=1))
    if variance > 0:
        effective = max(1.0, min(effective, value * (1 - value) / variance))
    return share(value, effective)


def resample(
    confusion: NDArray[np.int64], seed: int, draws: int = 500
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Draw the images again with replacement, as counts: a confusion matrix is all that shares depend on.

    Args:
        confusion: int (K, K), rows are true classes.
        seed: the same seed gives the same draws.
        draws: how often; they come in chunks, so that memory stays below about 100 MB.

    Yields:
        int (chunk, K) each: images right, images of the class, images called so.
    """
    classes, total = len(confusion), int(confusion.sum())
    cells = np.flatnonzero(confusion)
    rows, columns = np.divmod(cells, classes)
    odds = confusion.ravel()[cells] / total
    generator = np.random.default_rng(seed)
    chunk = max(1, min(draws, _CELLS // max(len(cells), classes)))
    for start in range(0, draws, chunk):
        counts = generator.multinomial(total, odds, size=min(chunk, draws - start))
        diagonal = rows == columns
        yield (
            by_class(counts[:, diagonal], rows[diagonal], classes),
            by_class(counts, rows, classes),
            by_class(counts, columns, classes),
        )


def by_class(counts: NDArray[np.int64], kinds: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Sum the columns of ``counts`` (draws, cells) by the class each belongs to: int (draws, K)."""
    order = np.argsort(kinds, kind="stable")
    present, starts = np.unique(kinds[order], return_index=True)
    sums = np.zeros((len(counts), classes), dtype=np.int64)
    if len(present):
        sums[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return sums
