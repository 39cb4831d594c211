"""Metrics against scikit-learn; batches of any sizes give what the whole gives; the lecture's names and calls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch.utils.data import DataLoader, TensorDataset

from sightline.errors import SettingsError, SourceError
from sightline.metrics import MAE, MASE, METRICS, Accuracy, BalancedAccuracy, F1Score, Metric, TopK, key, name

CLASSIFYING = [Accuracy(), TopK(2), BalancedAccuracy(), F1Score(), F1Score("macro")]


def answers(seed: int, size: int, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(classes, (size,), generator=generator), torch.randn(size, classes, generator=generator)


@given(st.integers(0, 10**6), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_batches_of_any_sizes_give_what_the_whole_gives(seed: int, sizes: list[int]) -> None:
    y, yhat = answers(seed, sum(sizes))
    for metric in CLASSIFYING:
        parts = [metric.sums(*pair) for pair in zip(y.split(sizes), yhat.split(sizes), strict=True)]
        top, bottom = (sum(column) for column in zip(*parts, strict=True))
        assert float(metric.value(top, bottom)) == pytest.approx(metric(y, yhat), abs=1e-6)


@given(st.integers(0, 10**6))
def test_scikit_learn_finds_the_same(seed: int) -> None:
    y, yhat = answers(seed, 40)
    found = yhat.argmax(1)
    assert Accuracy()(y, yhat) == pytest.approx(sk.accuracy_score(y, found))
    assert TopK(2)(y, yhat) == pytest.approx(sk.top_k_accuracy_score(y, yhat, k=2, labels=range(4)))
    assert BalancedAccuracy()(y, yhat) == pytest.approx(sk.recall_score(y, found, average="macro", labels=y.unique()))
    for average in ("micro", "macro"):
        wanted = sk.f1_score(y, found, average=average, labels=range(4), zero_division=0)
        assert F1Score(average)(y, yhat) == pytest.approx(wanted, abs=1e-5)
    several = (torch.randn(40, 4, generator=torch.Generator().manual_seed(seed)) > 0).float()
    for average in ("micro", "macro"):
        wanted = sk.f1_score(several, yhat > 0, average=average, zero_division=0)
        assert F1Score(average)(several, yhat) == pytest.approx(wanted, abs=1e-5)
    assert MAE()(several, yhat) == pytest.approx(sk.mean_absolute_error(several, yhat), rel=1e-5)


def test_few_classes_are_all_among_the_top() -> None:
    assert TopK(5)(*answers(0, 9)) == 1


def test_the_threshold_of_f1_is_a_probability() -> None:
    y, yhat = torch.tensor([[1, 0]]), torch.tensor([[1.0, 1.0]])  # sigmoid(1) = 0.73
    assert F1Score(threshold=0.7)(y, yhat) == pytest.approx(2 / 3)
    assert F1Score(threshold=0.8)(y, yhat) == 0


def test_arrays_are_taken_too() -> None:
    assert Accuracy()(np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]])) == 0.5
    assert isinstance(Accuracy()(*answers(0, 3)), float)


def test_soft_targets_count_by_their_highest() -> None:
    y, yhat = answers(1, 20)
    soft = torch.nn.functional.one_hot(y, 4) * 0.6 + 0.1
    for metric in CLASSIFYING[:3]:
        assert metric(soft, yhat) == metric(y, yhat)


def test_names_are_the_lectures() -> None:
    named = {"Accuracy": "accuracy", "Top2": "top2", "BalancedAccuracy": "balanced_accuracy", "F1(macro)": "f1_macro",
             "F1(micro)": "f1_micro", "MAE": "mae", "MASE(scale=0.123)": "mase"}  # fmt: skip
    assert [str(metric) for metric in (*CLASSIFYING, MAE())] == [
        "Accuracy", "Top2", "BalancedAccuracy", "F1(micro)", "F1(macro)", "MAE"
    ]  # fmt: skip
    assert {text: key(text) for text in named} == named
    assert name(Accuracy()) == "Accuracy"
    assert name(name) == "name"


def test_mase_is_one_for_the_naive_forecast() -> None:
    series = torch.randn(200).cumsum(0)
    windows = series.unfold(0, 12, 1)
    x, y = windows[:, :10, None], windows[:, 10:]
    loader = DataLoader(TensorDataset(x, y), batch_size=len(x))
    metric = MASE(loader, horizon=2)
    naive = x[:, -2:, 0]
    assert metric(y, naive) == pytest.approx(1, abs=1e-5)
    assert str(metric) == f"MASE(scale={metric.scale:.3f})"
    assert metric(y, y) == 0
    assert not metric.higher_is_better


def test_mase_reads_as_much_as_it_is_told() -> None:
    def forever() -> object:
        number = 0
        while True:
            number += 1
            yield torch.zeros(4, 5, 1), torch.full((4, 1), float(number))

    assert float(MASE(forever(), horizon=1, n_batches=3).scale) == 2
    with pytest.raises(SettingsError, match="how much of 'train' to read"):
        MASE(forever(), horizon=1)
    with pytest.raises(SettingsError, match="no batches"):
        MASE([], horizon=1)


def test_a_metric_in_the_manner_of_mltrainer() -> None:
    class Bias(Metric):
        def _compute(self, y: torch.Tensor, yhat: torch.Tensor) -> torch.Tensor:
            return (yhat - y).mean()

        def __repr__(self) -> str:
            return "Bias"

    y, yhat = torch.zeros(5), torch.tensor([1.0, 1.0, 1.0, 1.0, 6.0])
    assert Bias()(y, yhat) == 2
    parts = [Bias().sums(y[:4], yhat[:4]), Bias().sums(y[4:], yhat[4:])]
    assert float(Bias().value(parts[0][0] + parts[1][0], parts[0][1] + parts[1][1])) == 2


@pytest.mark.parametrize(("metric", "y"), [(Accuracy(), torch.zeros(3)), (MAE(), torch.zeros(4))])
def test_targets_that_do_not_belong_are_refused(metric: Metric, y: torch.Tensor) -> None:
    with pytest.raises(SourceError, match="do not belong"):
        metric(y, torch.zeros(4, 2))


def test_a_lone_axis_is_no_difference() -> None:
    assert MAE()(torch.ones(4), torch.zeros(4, 1)) == 1


def test_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match="'micro' or 'macro'"):
        F1Score("mean")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="'k' is 0"):
        TopK(0)


def test_every_metric_is_described() -> None:
    assert all(issubclass(kind, Metric) and text for kind, text in METRICS.values())
