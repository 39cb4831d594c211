"""Numbers over epochs -> how much they rose, whether they still fall, how much they shake, each with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis.intervals import Figure, Z

SHARE = 0.05
"""Width of the moving mean as a share of the epochs: what predicts best whether a curve was labelled overfitted in the
published curves of OverfitGuard (Li et al. 2024, arXiv 2401.10359)."""

SHORT = 12
"""Epochs below which nothing is smoothed: there is too little to average."""


@dataclass(frozen=True)
class Rise:
    """How much a loss rose after its minimum.

    Attributes:
        value: last level / lowest level - 1; 0.05 is 5 %.
        low: lower end of its 95 % interval.
        high: upper end.
        epoch: position (from 0) of the lowest level.
        lowest: the loss there.
        last: the loss at the end.
        paired: whether it was measured image by image, lowest point and rise on different halves of the images.
        climb: how many of the epochs after the lowest one.
    """

    value: float
    low: float
    high: float
    epoch: int
    lowest: float
    last: float
    paired: bool
    climb: int

    @property
    def figure(self) -> Figure:
        """The rise with its interval."""
        return Figure(self.value, self.low, self.high)


def window(epochs: int) -> int:
    """Give the odd width of the moving mean for so many epochs."""
    if epochs < SHORT:
        return 1
    wide = max(3, round(epochs * SHARE))
    return wide + 1 - wide % 2


def smooth(values: NDArray[Any], wide: int) -> NDArray[np.float64]:
    """Take the moving mean along the first axis; at the ends over what is there."""
    values = np.asarray(values, dtype=np.float64)
    half, n = wide // 2, len(values)
    sums = np.concatenate([np.zeros_like(values[:1]), values.cumsum(axis=0)])
    low = np.maximum(np.arange(n) - half, 0)
    high = np.minimum(np.arange(n) + half + 1, n)
    return np.asarray((sums[high] - sums[low]) / (high - low).reshape(-1, *[1] * (values.ndim - 1)))


def shake(values: NDArray[Any]) -> float:
    """Estimate the standard deviation of an epoch's number around its own trend, from second differences.

    A trend that bends slowly cancels out; the median makes single jumps (a step of the learning rate) harmless.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 4:
        return 0.0
    bends = values[:-2] - 2 * values[1:-1] + values[2:]
    return float(np.median(np.abs(bends)) * 1.4826 / math.sqrt(6))


def rise(valid: NDArray[Any], examples: NDArray[Any] | None = None, *, least: float = 0.0) -> Rise:
    """Measure how much a validation loss rose from its minimum to the end.

    The minimum is chosen, so it flatters: with ``examples`` it is chosen on one half of the images and the rise is
    measured, image by image, on the other, and the other way round. What remains is the luck of an epoch, which all
    images share: the spread between neighbouring epochs widens the interval, and the luckiest of many epochs is
    expected to lie below the others, which is taken off the lower end.

    Args:
        valid: float (E,), finite, E >= 2: mean loss after each epoch.
        examples: float (E, n): the loss of each image after each epoch; None if only the means are known.
        least: losses are not divided by less than this, so that a rise from nothing to almost nothing stays small.
    """
    valid = np.asarray(valid, dtype=np.float64)
    epochs = len(valid)
    wide = window(epochs)
    curve = smooth(valid, wide)
    lowest = int(curve.argmin())
    luck = shake(valid)
    tail = slice(epochs - (wide + 1) // 2, epochs)
    if examples is None or examples.shape[1] < 4:
        before, after = float(curve[lowest]), float(valid[tail].mean())
        base = max(before, least)
        value, image = (after - before) / base, 0.0
    else:
        each = np.asarray(examples, dtype=np.float64)
        order = np.random.default_rng(0).permutation(each.shape[1])
        halves = order[::2], order[1::2]
        apart = shake(each[:, halves[0]].mean(axis=1) - each[:, halves[1]].mean(axis=1)) / 2
        luck = math.sqrt(max(0.0, luck**2 - apart**2))  # what the halves do not share is in the images' spread
        a, b = np.empty(each.shape[1]), np.empty(each.shape[1])
        for chosen, judged in (halves, halves[::-1]):
            at = int(smooth(each[:, chosen].mean(axis=1), wide).argmin())
            around = slice(max(0, at - wide // 2), min(epochs, at + wide // 2 + 1))
            b[judged] = each[around][:, judged].mean(axis=0)
            a[judged] = each[tail][:, judged].mean(axis=0) if at + wide // 2 < epochs - 1 else b[judged]
        before, after = float(b.mean()), float(a.mean())
        base = max(before, least)
        value = (after - before) / base
        image = float((a - b - value * (b - before)).std(ddof=1)) / math.sqrt(len(a)) / base
    places = max(1.0, epochs / wide)
    luck /= math.sqrt((wide + 1) / 2) * base
    spread = Z * math.hypot(image, luck * math.sqrt(2))
    low = value - spread - luck * math.sqrt(2 * math.log(places))
    return Rise(
        value, low, value + spread, lowest, float(curve[lowest]), after, examples is not None, epochs - 1 - lowest
    )


def difference(after: NDArray[Any], before: NDArray[Any]) -> Figure:
    """Average paired differences over images, float (n,) each, with a normal 95 % interval."""
    each = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    value = float(each.mean())
    if len(each) < 2:
        return Figure(value, None, None)
    half = Z * float(each.std(ddof=1)) / math.sqrt(len(each))
    return Figure(value, value - half, value + half)


def slope(x: NDArray[Any], y: NDArray[Any]) -> Figure:
    """Fit a line by the median of all slopes between two points (Theil 1950), with Sen's interval (1968, JASA 63:1379).

    Args:
        x: float (n,), rising, n >= 2.
        y: float (n,).

    Returns:
        change of y per unit of x; with fewer than five points the interval is wider than all slopes.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    n = len(y)
    i, j = np.triu_indices(n, 1)
    slopes = np.sort((y[j] - y[i]) / (x[j] - x[i]))
    half = Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = math.floor((len(slopes) - half) / 2)
    if low >= 0:
        return Figure(float(np.median(slopes)), float(slopes[low]), float(slopes[-low - 1]))
    widest = float(slopes[-1] - slopes[0])
    return Figure(float(np.median(slopes)), float(slopes[0]) - widest, float(slopes[-1]) + widest)


def gain(losses: NDArray[Any], rates: NDArray[Any] | None = None, *, least: float = 1e-9) -> Figure | None:
    """Predict by how much the loss would fall if the training went on as long again, as a share of what it is.

    Losses fall about as a power of the training so far (J. Hestness et al. 2017, arXiv 1712.00409), and what counts as
    training is the sum of the learning rates. Where a schedule lets the rate fall to nothing, the loss falls with it
    once, and is flat at the end, whether it has arrived or not. So a line is fitted to log loss over log sum where the
    rate is at least half of its highest, in the later half of that part; where that is less than four epochs, to all
    but the first two fifths of the sum.

    Args:
        losses: float (E,).
        rates: float (E,), the learning rate of each epoch; None: the same in all.
        least: smaller losses count as this.

    Returns:
        the share, positive where the loss would fall, with its interval; None with fewer than three epochs there.
    """
    losses = np.maximum(np.asarray(losses, dtype=np.float64), least)
    rates = np.ones(len(losses)) if rates is None else np.asarray(rates, dtype=np.float64)
    if not np.isfinite(losses).all() or not np.isfinite(rates).all() or not (rates >= 0).all() or not rates.any():
        return None
    done = np.cumsum(rates)
    high = np.flatnonzero(rates >= rates.max() / 2)
    later = high[done[high] >= (done[high[0]] + done[high[-1]]) / 2]
    used = later if len(later) >= 4 else np.flatnonzero(done >= 0.4 * done[-1])
    if len(used) < 3 or done[used[0]] == done[used[-1]]:
        return None
    used = used[np.diff(done[used], prepend=0) > 1e-6 * done[-1]]  # where nothing is learnt any more, there is no pace
    if len(used) < 3:
        return None
    power = slope(np.log(done[used]), np.log(losses[used]))
    assert power.low is not None
    assert power.high is not None
    value, low, high_end = (1 - 2 ** float(np.clip(p, -20, 20)) for p in (power.value, power.high, power.low))
    return Figure(value, low, high_end)


def halves(losses: NDArray[Any], rates: NDArray[Any] | None, start: float) -> tuple[float, float]:
    """Give how much a loss fell in the first and in the second half of a training.

    Halves are of the sum of the learning rates: where a schedule ends at nothing, the last epochs are hardly any
    training, and a flat end is no arrival.

    Args:
        losses: float (E,), after each epoch.
        rates: float (E,), the learning rate of each epoch; None: the same in all.
        start: the loss before the first epoch.
    """
    rates = np.ones(len(losses)) if rates is None else np.asarray(rates, dtype=np.float64)
    done = np.concatenate([[0.0], np.cumsum(rates)])
    middle = float(np.interp(done[-1] / 2, done, np.concatenate([[start], losses])))
    return start - middle, middle - float(losses[-1])


def right(losses: NDArray[Any], accuracy: float) -> NDArray[np.bool_]:
    """Tell which images were recognised from their losses and how many were.

    The share ``accuracy`` of the images with the lowest losses counts as right. A loss below ln 2 is always right and
    one above ln K always wrong; in between this is the likeliest guess.
    """
    count = round(float(accuracy) * len(losses))
    found = np.zeros(len(losses), dtype=bool)
    found[np.argsort(losses, kind="stable")[:count]] = True
    return found
