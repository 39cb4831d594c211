from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.diagnosis.calibration import BINS, fit_temperature, losses, reliability
from sightline.diagnosis.mistakes import evaluate
from sightline.errors import ModelError


def calibrated(n: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits, then labels from the very probabilities they state."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, k)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return logits, (chances.cumsum(axis=1) > generator.random((n, 1))).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    logits, labels = calibrated(20_000, 5, seed=0)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(5, 60), st.integers(0, 10_000), st.floats(0.2, 5))
def test_no_temperature_on_a_grid_is_better(k: int, n: int, seed: int, sharper: float) -> None:
    logits, labels = calibrated(n, k, seed)
    logits = logits * sharper
    found = fit_temperature(logits, labels)
    if (logits.argmax(axis=1) == labels).all():
        assert found == 1.0
        return
    best = losses(logits, labels, found).mean()
    assert all(best <= losses(logits, labels, t).mean() + 1e-6 for t in np.geomspace(0.05, 20, 200))


def test_when_all_is_right_nothing_can_be_learnt() -> None:
    assert fit_temperature(np.eye(4), np.arange(4)) == 1.0


def test_the_temperature_mends_an_overconfident_network_without_changing_its_answers() -> None:
    logits, labels = calibrated(6000, 4, seed=2)
    temperature = fit_temperature(logits[:3000] * 3, labels[:3000])
    found = evaluate(logits[3000:] * 3, labels[3000:], list("abcd"), temperature=temperature)
    assert found.temperature == temperature
    assert found.calibration.ece is not None
    assert found.calibration.loss is not None
    assert found.calibration.ece.value < 0.03 < 0.1 < found.ece.value
    assert found.calibration.loss.value < found.loss.value


def test_bins_partition_the_images_and_give_the_error_back() -> None:
    logits, labels = calibrated(700, 3, seed=1)
    found = evaluate(logits, labels, list("abc"))
    bins = found.calibration.bins
    assert len(bins) == BINS
    assert sum(b.count for b in bins) == 700
    assert (bins[0].low, bins[-1].high) == (0, 1)
    for each in bins:
        assert (each.count == 0) == (each.confidence is None) == (each.accuracy is None)
        if each.confidence is not None:
            assert each.low < each.confidence <= each.high
    gaps = [b.count / 700 * abs(b.accuracy - b.confidence) for b in bins if b.accuracy is not None and b.confidence]
    assert found.ece.value == pytest.approx(sum(gaps))


def test_good_calibration_is_told_from_bad() -> None:
    logits, labels = calibrated(2000, 5, seed=5)
    good, bad = (evaluate(logits * sharper, labels, list("abcde")) for sharper in (1, 2))
    assert good.ece.low == 0
    assert good.calibration.expected == pytest.approx(good.ece.value, rel=0.5)
    assert bad.ece.low is not None
    assert bad.ece.low > 0.05


def test_confidence_at_the_edges() -> None:
    figure, expected, bins = reliability(np.array([1.0, 1.0, 0.0]), np.array([True, True, False]))
    assert (figure.value, figure.low, figure.high, expected) == (0, 0, 0, 0)
    assert (bins[0].count, bins[-1].count) == (1, 2)


def test_a_broken_network_has_no_temperature() -> None:
    with pytest.raises(ModelError, match="NaN"):
        fit_temperature(np.full((3, 2), np.nan), np.array([0, 1, 0]))
