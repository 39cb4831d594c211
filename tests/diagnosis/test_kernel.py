"""Images judged by all the others -> wrong labels are counted, and classes that overlap are not taken for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sightline.diagnosis import kernel
from sightline.diagnosis.doubts import label_noise
from sightline.diagnosis.evidence import of_rows
from sightline.diagnosis.measures import Measures


def clouds(n: int, apart: float, seed: int, wrong: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw four classes around centres that far from each other, and mislabel a share."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 4, n)
    x = random.standard_normal((n, 8)) + apart * np.eye(8)[y]
    mislabelled = random.random(n) < wrong
    y[mislabelled] = (y[mislabelled] + random.integers(1, 4, mislabelled.sum())) % 4
    return x, y


def told(x: np.ndarray, y: np.ndarray) -> bool:
    return label_noise(Measures(of_rows([], probes={"labels": kernel.doubted(x, y, 4)}))) is not None


def test_leaving_one_out_is_fitting_without_it() -> None:
    x, y = clouds(24, 2.0, 0)
    scores = kernel.unseen(x, y, 4)
    changed = y.copy()
    changed[5] = (y[5] + 1) % 4
    again = kernel.unseen(x, changed, 4)
    if np.allclose(np.delete(again, 5, 0), np.delete(scores, 5, 0), atol=0.5):  # the same width and ridge were chosen
        assert scores[5].argmax() == again[5].argmax(), "an image's own label does not judge it"


@pytest.mark.parametrize("seed", range(2))
def test_wrong_labels_are_counted(seed: int) -> None:
    found = kernel.doubted(*clouds(240, 5.0, seed, wrong=0.2), 4)
    assert found is not None
    assert found["low"] <= 0.2 <= found["high"]
    assert told(*clouds(240, 5.0, seed, wrong=0.2))


@pytest.mark.parametrize("apart", [5.0, 2.0])
def test_right_labels_are_left_alone(apart: float) -> None:
    assert not any(told(*clouds(240, apart, seed)) for seed in range(2))


def test_pairs_of_classes_that_look_alike_are_not_called_wrong_labels() -> None:
    told = {"value": 0.2, "low": 0.15, "high": 0.26}
    for kind, finds in (("even", True), ("pairs", False), ("none", False)):
        labels = {**told, "kind": kind, "sure": {**told, "kind": kind}, "images": 300, "accuracy": 0.7}
        assert (label_noise(Measures(of_rows([], probes={"labels": labels}))) is not None) is finds


def test_one_estimate_is_enough_where_classes_are_easy_and_the_only_pair_of_two_classes_counts() -> None:
    some, none = {"value": 0.2, "low": 0.15, "high": 0.26}, {"value": 0.0, "low": 0.0, "high": 0.2, "kind": "none"}

    def found(labels: dict[str, Any], accuracy: float, **known: Any) -> bool:
        probes = {"labels": {**labels, "images": 300, "accuracy": accuracy}}
        return label_noise(Measures(replace(of_rows([], probes=probes), **known))) is not None

    half = {**none, "sure": {**some, "kind": "even"}}
    assert found(half, 0.7)
    assert not found(half, 0.5), "overlapping classes look like this, too"
    pair = {**some, "kind": "pairs", "sure": {**some, "kind": "pairs"}}
    assert found(pair, 0.7, classes=2)
    assert not found(pair, 0.7, classes=3)


def test_few_images_are_not_judged() -> None:
    assert kernel.doubted(*clouds(40, 5.0, 0), 4) is None
