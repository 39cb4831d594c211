"""A smooth function of some numbers, with its slope -> where it is least within bounds.

What scipy.optimize does as well, whose import takes longer than all that is minimised here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

STEPS = 300
"""Steps at most."""
FLAT, STILL = 1e-5, 2e-9
"""A slope, and a fall as a share of the value, below which it ends."""


def descend(
    cost: Callable[[Numbers], tuple[float, Numbers]], start: Numbers, low: Numbers, high: Numbers
) -> tuple[Numbers, float]:
    """Go down by quasi-Newton steps, cut off at the bounds (BFGS: Nocedal and Wright 2006, sections 6.1 and 16.7).

    Args:
        cost: gives the value and its slope, float (P,).
        start: float (P,).
        low: lower bounds, float (P,).
        high: upper bounds, float (P,).

    Returns:
        The point, float (P,), and the value there: a minimum near the start, not always the lowest.
    """
    x = np.clip(start, low, high)
    value, slope = cost(x)
    inverse = np.eye(len(x)) / max(1.0, float(np.abs(slope).max()))
    for _ in range(STEPS):
        free = ~(((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0)))
        if not free.any() or np.abs(slope[free]).max() < FLAT:
            break
        along = np.zeros_like(x)
        along[free] = -inverse[np.ix_(free, free)] @ slope[free]
        there, found = x, (value, slope)
        for half in range(40):
            there = np.clip(x + along * 0.5**half, low, high)
            found = cost(there)
            if found[0] <= value + 1e-4 * float(slope @ (there - x)):
                break
        else:
            break
        moved, turned = there - x, found[1] - slope
        bent = float(moved @ turned)
        if bent > 1e-10 * float(moved @ moved):
            left = np.eye(len(x)) - np.outer(moved, turned) / bent
            inverse = left @ inverse @ left.T + np.outer(moved, moved) / bent
        fell = value - found[0]
        x, (value, slope) = there, found
        if fell <= STILL * max(1.0, abs(value)):
            break
    return x, value
