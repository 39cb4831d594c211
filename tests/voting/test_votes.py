"""Votes against counting by hand, weights against what is known of mixtures, subsets against trying them all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.diagnosis import intervals
from sightline.diagnosis.paired import differences
from sightline.errors import SettingsError
from sightline.voting import diversity, votes


def opinions(seed: int, members: int = 3, images: int = 40, classes: int = 4) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.full(classes, 0.5), (members, images)).astype(np.float32)


def test_a_soft_vote_is_the_mean() -> None:
    p = opinions(0)
    assert np.allclose(votes.count(p, "soft"), p.mean(axis=0))
    assert np.allclose(votes.count(p, "weighted", [2, 1, 1]), 0.5 * p[0] + 0.25 * p[1] + 0.25 * p[2])


@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(2, 6))
def test_a_hard_vote_counts_heads_and_breaks_ties_by_summed_probability(seed: int, members: int, classes: int) -> None:
    p = opinions(seed, members, 20, classes)
    found = votes.count(p, "hard")
    for image, winner in enumerate(found.argmax(axis=1)):
        heads = np.bincount(p[:, image].argmax(axis=1), minlength=classes)
        tied = np.flatnonzero(heads == heads.max())
        assert winner == tied[p[:, image, tied].sum(axis=0).argmax()]
    assert np.allclose(found.sum(axis=1), 1)
    assert (found > 0).all(), "a probability of 0 would make a loss infinite"


@given(st.integers(0, 10_000), st.sampled_from(sorted(votes.VOTES)))
def test_the_order_of_members_and_classes_does_not_matter(seed: int, kind: str) -> None:
    p, weights = opinions(seed), np.array([0.5, 0.3, 0.2])
    members, classes = np.array([2, 0, 1]), np.array([3, 1, 0, 2])
    assert np.allclose(
        votes.count(p, kind, weights)[:, classes], votes.count(p[members][:, :, classes], kind, weights[members])
    )


@pytest.mark.parametrize("kind", sorted(votes.VOTES))
def test_members_that_agree_are_believed(kind: str) -> None:
    p = np.repeat(opinions(1, 1), 4, axis=0)
    assert (votes.count(p, kind).argmax(axis=1) == p[0].argmax(axis=1)).all()


def test_weights_prefer_who_knows_and_are_shares() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 400)
    good = np.full((400, 4), 0.1)
    good[np.arange(400), labels] = 0.7
    found = votes.fit_weights(np.stack([good, opinions(1, 1, 400)[0], opinions(2, 1, 400)[0]]), labels)
    assert found.sum() == pytest.approx(1)
    assert found[0] > 0.9
    few = votes.fit_weights(np.stack([good[:1], good[:1][:, ::-1]]), labels[:1])
    assert 0.2 < few.min() < 0.5, "one image does not decide"


def test_fitted_weights_are_at_least_as_likely_as_any_others() -> None:
    p, labels = opinions(3, 3, 3000), np.random.default_rng(3).integers(0, 4, 3000)
    best = votes.loss(votes.count(p, "weighted", votes.fit_weights(p, labels)), labels)
    for weights in itertools.product((0.0, 0.5, 1.0), repeat=3):
        if sum(weights):
            assert best <= votes.loss(votes.count(p, "weighted", weights), labels) + 1e-4


@pytest.mark.parametrize("limit", [12, 0])
def test_the_best_subset_leaves_out_who_harms(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(votes, "ALL_SUBSETS", limit)
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 500)
    good = opinions(5, 2, 500)
    good[:, np.arange(500), labels] += 1.0
    good /= good.sum(axis=2, keepdims=True)
    p = np.concatenate([opinions(6, 1, 500), good, opinions(7, 1, 500)])
    assert votes.best_subset(p, labels) == (1, 2)


@pytest.mark.parametrize(
    ("weights", "said"),
    [([1, 2], "2 weights for 3"), ([1, -1, 1], "cannot be shares"), ([0, 0, 0], "cannot be shares")],
)
def test_wrong_weights_are_refused(weights: list[float], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        votes.count(opinions(0), "weighted", weights)


def test_an_unknown_vote_is_refused() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'soft'"):
        votes.count(opinions(0), "sofft")


def test_diversity_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    found = diversity.measure(np.array([[0, 0, 1, 0], [0, 1, 1, 0]]), labels)
    (pair,) = found.pairs
    assert pair.differ == 0.25
    assert pair.overlap == 0.5  # of images 1 and 3, which either gets wrong, both get 3 wrong
    assert pair.q == pytest.approx((2 * 1 - 1 * 0) / (2 * 1 + 1 * 0))
    assert pair.kappa == pytest.approx((0.75 - 0.5) / 0.5)
    assert (found.unanimous, found.none_right, found.same_wrong) == (0.75, 0.25, 0.25)
    assert diversity.Diversity.from_dict(found.as_dict()) == found


def test_members_that_are_always_right_have_no_errors_to_share() -> None:
    labels = np.array([0, 0, 0])
    (pair,) = diversity.measure(np.stack([labels, labels]), labels).pairs
    assert (pair.differ, pair.overlap, pair.q, pair.kappa) == (0, None, None, None)


def test_paired_intervals_hold_what_they_promise() -> None:
    random = np.random.default_rng(0)
    for images, gained, lost in ((50, 0.05, 0.02), (180, 0.02, 0.02), (180, 0.04, 0.0), (1000, 0.01, 0.005)):
        drawn = random.multinomial(images, [gained, lost, 1 - gained - lost], size=2000)
        found = [intervals.paired(int(more), int(less), images) for more, less, _ in drawn]
        held = [figure.low <= gained - lost <= figure.high for figure in found]
        assert np.mean(held) >= 0.94, (images, gained, lost)


def test_differences_are_those_of_the_scores() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 200)
    first = np.where(random.random(200) < 0.9, labels, (labels + 1) % 3)
    second = np.where(random.random(200) < 0.7, labels, (labels + 1) % 3)
    found = differences(first, second, labels, 3)
    assert found["accuracy"].value == pytest.approx((first == labels).mean() - (second == labels).mean())
    recalls = [np.mean([(p == labels)[labels == k].mean() for k in range(3)]) for p in (first, second)]
    assert found["balanced_accuracy"].value == pytest.approx(recalls[0] - recalls[1])
    assert all(figure.low < figure.value < figure.high for figure in found.values())
    same = differences(first, first, labels, 3)
    assert all(figure.value == 0 and figure.low < 0 < figure.high for figure in same.values())
