"""Rise, slope and gain: analytic values, and no claim within chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.diagnosis import trend


def test_a_moving_mean_keeps_a_line_and_the_sum_of_what_it_sees() -> None:
    assert trend.smooth(np.arange(9.0), 3)[1:-1] == pytest.approx(np.arange(1.0, 8.0))
    assert trend.smooth(np.arange(9.0), 3)[0] == pytest.approx(0.5)
    assert trend.smooth(np.arange(9.0), 1) == pytest.approx(np.arange(9.0))


def test_shake_finds_the_noise_and_not_the_trend() -> None:
    random = np.random.default_rng(0)
    curve = 2 * np.exp(-np.arange(400) / 100)
    assert trend.shake(curve) < 1e-3
    assert trend.shake(curve + 0.05 * random.standard_normal(400)) == pytest.approx(0.05, rel=0.25)
    assert trend.shake(np.where(np.arange(400) > 200, 5.0, 0.0)) == 0.0  # one jump, as when the rate drops


def test_rise_of_a_curve_without_noise_is_its_rise() -> None:
    valid = np.array([2, 1.5, 1.0, 1.1, 1.2, 1.3])
    found = trend.rise(valid)
    assert (found.epoch, found.climb, found.paired) == (2, 3, False)
    assert found.value == pytest.approx(0.3)
    each = valid[:, None] * np.ones(50)
    assert trend.rise(valid, each).value == pytest.approx(0.3)
    assert trend.rise(valid, each).paired


def test_nothing_that_falls_to_its_end_has_risen() -> None:
    valid = np.linspace(2, 1, 30)
    each = valid[:, None] * np.random.default_rng(0).gamma(0.5, 2, 200)
    assert trend.rise(valid, each).value <= 0.01


@given(st.floats(0.01, 100), st.integers(0, 1000))
def test_rise_does_not_depend_on_the_unit_of_the_loss(scale: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    each = random.gamma(1, 1, (15, 60))
    one, other = trend.rise(each.mean(1), each), trend.rise(scale * each.mean(1), scale * each)
    assert (one.value, one.low, one.epoch) == pytest.approx((other.value, other.low, other.epoch))


def test_noise_alone_is_hardly_ever_a_rise() -> None:
    """Of 200 trainings that stay where they are, with images and epochs at chance, at most 5 % seem to rise by 4 %."""
    claimed = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        weight = random.gamma(0.4, 2.5, 100)
        luck = 1 + 0.05 * random.standard_normal(40)
        each = weight * random.gamma(10, 0.1, (40, 100)) * luck[:, None]
        claimed += trend.rise(each.mean(1), each).low > 0.04
    assert claimed <= 10


def test_a_rise_by_a_third_is_found_on_100_images() -> None:
    found = 0
    for seed in range(50):
        random = np.random.default_rng(seed)
        curve = np.concatenate([np.linspace(2, 1, 15), np.linspace(1, 1.33, 25)])
        each = curve[:, None] * random.gamma(0.4, 2.5, 100) * random.gamma(20, 0.05, (40, 100))
        found += trend.rise(each.mean(1), each).low > 0.04
    assert found >= 45


def test_slope_is_that_of_a_line_whatever_two_outliers_say() -> None:
    x = np.arange(20.0)
    y = 3 - 0.5 * x
    assert trend.slope(x, y).value == pytest.approx(-0.5)
    y[[4, 11]] = 100
    found = trend.slope(x, y)
    assert found.value == pytest.approx(-0.5)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= -0.5 <= found.high
    two = trend.slope(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert (two.value, two.low, two.high) == (1.0, 1.0, 1.0)


def test_gain_of_a_power_law_is_exact() -> None:
    losses = 2 * np.arange(1, 41) ** -0.5
    found = trend.gain(losses)
    assert found is not None
    assert found.value == pytest.approx(1 - 2**-0.5)
    assert trend.gain(np.ones(40)).value == pytest.approx(0)  # type: ignore[union-attr]
    assert trend.gain(losses[:2]) is None


def test_gain_counts_training_by_the_learning_rate() -> None:
    """A schedule that falls to nothing makes the curve flat at its end, which is no sign of having arrived."""
    rates = np.concatenate([np.ones(30), np.linspace(1, 0, 30)])
    losses = 2 * np.cumsum(rates) ** -0.4
    found, naive = trend.gain(losses, rates), trend.gain(losses)
    assert found is not None
    assert naive is not None
    assert found.value == pytest.approx(1 - 2**-0.4, abs=0.01)
    assert naive.value < found.value - 0.03


def test_right_is_exact_where_losses_tell() -> None:
    losses = np.array([0.1, 3.0, 0.5, 2.5])
    assert trend.right(losses, 0.5).tolist() == [True, False, True, False]
    assert not trend.right(losses, 0.0).any()
