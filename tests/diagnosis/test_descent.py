"""Whether going down hill ends where calculus says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from sightline.diagnosis.descent import descend


def bowl(point: np.ndarray) -> tuple[float, np.ndarray]:
    """Give an oblique bowl whose lowest point is (1, -2)."""
    shape = np.array([[3.0, 1.0], [1.0, 0.5]])
    away = point - np.array([1.0, -2.0])
    return float(away @ shape @ away / 2), shape @ away


def rosenbrock(point: np.ndarray) -> tuple[float, np.ndarray]:
    """Give Rosenbrock's valley, whose lowest point is (1, 1)."""
    x, y = point
    return float((1 - x) ** 2 + 100 * (y - x * x) ** 2), np.array(
        [-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)]
    )


def test_the_bottom_of_a_bowl_is_found() -> None:
    point, value = descend(bowl, np.zeros(2), np.full(2, -9.0), np.full(2, 9.0))
    assert point == pytest.approx([1.0, -2.0], abs=1e-3)
    assert value == pytest.approx(0.0, abs=1e-6)


def test_a_bound_is_kept_and_the_rest_goes_on_down() -> None:
    point, _ = descend(bowl, np.array([3.0, 3.0]), np.array([2.0, -9.0]), np.full(2, 9.0))
    assert point[0] == 2.0
    assert point[1] == pytest.approx(-4.0, abs=1e-3)  # where the slope along the other axis is 0: 1 (2 - 1) = 0.5 * 2


def test_a_start_outside_is_brought_inside() -> None:
    point, _ = descend(bowl, np.array([50.0, 50.0]), np.full(2, -0.5), np.full(2, 0.5))
    assert (np.abs(point) <= 0.5).all()


@pytest.mark.parametrize("start", [[-1.2, 1.0], [0.0, 0.0], [2.0, -1.0]])
def test_it_ends_where_scipy_does_in_a_bent_valley(start: list[float]) -> None:
    low, high = np.full(2, -3.0), np.full(2, 3.0)
    theirs = minimize(rosenbrock, start, jac=True, method="L-BFGS-B", bounds=list(zip(low, high, strict=True)))
    point, value = descend(rosenbrock, np.array(start), low, high)
    assert value <= theirs.fun + 1e-4
    assert point == pytest.approx([1.0, 1.0], abs=0.02)
