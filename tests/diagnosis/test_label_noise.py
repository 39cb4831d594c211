"""The estimate of wrong labels is right where the truth is known, and blames no label for what networks get wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline.diagnosis.confident import confident
from sightline.diagnosis.label_noise import estimate

Pair = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def draw(
    n: int, k: int, noise: float, *, blur: float = 1.0, exponent: float = 1.0, regular: bool = False, seed: int = 0
) -> Pair:
    """Draw probabilities, the labels given and the true ones.

    Args:
        n: images.
        k: classes.
        noise: share of wrong labels.
        blur: how hard the images are: the true class follows probabilities that are as spread as this.
        exponent: how much too sure the network says it is.
        regular: a wrong label is always the next class.
        seed: of everything.
    """
    random = np.random.default_rng(seed)
    chances = random.dirichlet(np.full(k, 0.3 * blur), n)
    true = (random.random((n, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)
    wrong = random.random(n) < noise
    labels = np.where(wrong, (true + (1 if regular else random.integers(1, k, n))) % k, true)
    said = chances**exponent + 1e-12
    return said / said.sum(axis=1, keepdims=True), labels.astype(np.int64), true.astype(np.int64)


@pytest.mark.parametrize(("noise", "blur", "exponent"), [(0.02, 0.3, 1), (0.1, 1, 2), (0.1, 1, 0.5), (0.3, 0.3, 1)])
def test_the_interval_holds_the_truth_as_often_as_it_says(noise: float, blur: float, exponent: float) -> None:
    hits = 0
    for seed in range(16):
        p, labels, true = draw(500, 4, noise, blur=blur, exponent=exponent, seed=seed)
        found = estimate(p, labels)
        share = float((labels != true).mean())
        assert found.share.low is not None
        assert found.share.high is not None
        hits += found.share.low <= noise <= found.share.high or found.share.low <= share <= found.share.high
    assert hits >= 13  # of 16, at 95 %: fewer in 1 of 1000 such tests


def test_without_wrong_labels_there_is_no_sign_of_any() -> None:
    said = [estimate(*draw(600, 4, 0.0, blur=2, exponent=1.7, seed=seed)[:2]).verdict for seed in range(24)]
    assert said.count("no sign") >= 20  # 1.2 others are expected


def test_confident_learning_blames_labels_for_hard_images() -> None:
    p, labels, _ = draw(3000, 4, 0.0, blur=2)
    assert 1 - np.trace(confident(p, labels).joint) > 0.1
    assert estimate(p, labels).verdict == "no sign"


def test_networks_that_learnt_too_little_are_no_witnesses() -> None:
    random = np.random.default_rng(0)
    p, labels, _ = draw(400, 6, 0.0, blur=1, exponent=0.2)
    mixed = 0.9 * p + 0.1 * random.dirichlet(np.full(6, 0.2), 400)  # errs with confidence, too
    mixed *= np.array([1, 0.2, 1, 0.3, 1, 1.5])  # and favours classes
    found = estimate(mixed / mixed.sum(axis=1, keepdims=True), labels)
    assert found.dispersion > 1
    assert found.share.low == 0
    assert np.ptp(found.favour[[0, 1]]) > 0.5  # the second was held down


def test_regular_mistakes_are_told_as_pairs() -> None:
    p, labels, true = draw(4000, 4, 0.15, blur=0.5, regular=True)
    found = estimate(p, labels)
    assert found.kind == "pairs"
    assert found.share.value == pytest.approx(0.15, abs=0.03)
    score, suggested = found.judge(p, labels)
    wrong = labels != true
    assert (suggested[wrong] == true[wrong]).mean() > 0.85
    own = confident(p, labels).self_confidence
    assert auroc(wrong, score) > auroc(wrong, -own)
    off = np.array([found.matrix[i, (i + 1) % 4] for i in range(4)])
    assert off == pytest.approx(np.full(4, 0.15), abs=0.06)


def test_a_score_of_one_half_is_right_half_of_the_time() -> None:
    p, labels, true = draw(20_000, 5, 0.1, blur=1, exponent=1.5)
    score, _ = estimate(p, labels).judge(p, labels)
    wrong = labels != true
    for low in np.arange(0, 1, 0.2):
        inside = (score >= low) & (score < low + 0.2)
        chance = score[inside].mean()
        luck = 3 * np.sqrt(chance * (1 - chance) / inside.sum())
        assert wrong[inside].mean() == pytest.approx(chance, abs=luck + 0.01)
    assert score.sum() == pytest.approx(wrong.sum(), rel=0.1)


def auroc(wrong: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(wrong, score))


@settings(max_examples=15)
@given(st.integers(2, 5), st.integers(5, 60), st.integers(0, 999))
def test_any_probabilities_give_shares_and_an_order(k: int, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.full(k, random.choice([0.01, 1, 100])), n)
    labels = random.integers(0, k, n)
    found = estimate(p, labels)
    low, high = found.share.low, found.share.high
    assert low is not None
    assert high is not None
    assert 0 <= low <= found.share.value <= high
    assert np.allclose(found.matrix.sum(axis=1), 1)
    assert found.dispersion >= 1
    assert found.verdict in ("wrong labels", "no sign", "cannot tell")
    score, suggested = found.judge(p, labels)
    assert ((score >= 0) & (score <= 1)).all()
    assert (suggested != labels).all()


def test_confident_learning_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9], [0.85, 0.15]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    found = confident(p, labels)
    assert found.thresholds == pytest.approx([0.6, 0.55])
    assert found.counts.tolist() == [[2, 1], [1, 2]]
    assert found.joint == pytest.approx(np.array([[2, 1], [1, 2]]) / 6)
    assert found.doubted.tolist() == [False, False, True, False, False, True]
    assert found.self_confidence == pytest.approx([0.9, 0.7, 0.2, 0.6, 0.9, 0.15])
    assert found.margin == pytest.approx([0.8, 0.4, -0.6, 0.2, 0.8, -0.7])


def test_a_class_without_labels_is_no_class_for_anyone() -> None:
    p = np.full((4, 3), 1 / 3)
    found = confident(p, np.array([0, 0, 1, 1]))
    assert np.isnan(found.thresholds[2])
    assert found.joint[:, 2].sum() == 0
    assert found.joint.sum() == pytest.approx(1)
