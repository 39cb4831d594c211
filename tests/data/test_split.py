"""Splits: partitions, no group or duplicate on two sides, stratified, seeded; what cannot be split is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.data.split import Split, split
from sightline.errors import SettingsError, SourceError


def parts_of(made: Split) -> list[np.ndarray[Any, Any]]:
    return [made.train, made.valid, made.test]


@st.composite
def labelled(draw: st.DrawFn, least: int = 2) -> np.ndarray[Any, Any]:
    counts = draw(st.lists(st.integers(least, 60), min_size=2, max_size=6))
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(labels)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    labels = draw(labelled(least=8))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    groups = random.integers(0, draw(st.integers(8, 80)), len(labels)).astype(str)
    groups[random.random(len(labels)) < draw(st.sampled_from([0, 0.5]))] = ""
    digests = np.arange(len(labels)).astype("S16")
    twins = random.integers(0, len(labels), (len(labels) // 8, 2))
    digests[twins[:, 0]] = digests[twins[:, 1]]
    return labels, groups, digests


@given(labelled(), st.sampled_from([(0.1, 0.1), (0.2, 0.0), (0.15, 0.3)]), st.integers(0, 5))
def test_single_images_are_partitioned_and_stratified(labels: Any, shares: tuple[float, float], seed: int) -> None:
    made = split(labels, valid=shares[0], test=shares[1], seed=seed)
    assert sorted(np.concatenate(parts_of(made))) == list(range(len(labels)))
    count = np.bincount(labels)
    wanted = (1 - sum(shares), *shares)
    for rows, share in zip(parts_of(made), wanted, strict=True):
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
        got = np.bincount(labels[rows], minlength=len(count))
        assert (abs(got - share * count) < 2).all()  # within one in valid and test, so within two in what is left
    for rows, share in zip((made.valid, made.test), shares, strict=True):
        got = np.bincount(labels[rows], minlength=len(count))
        assert (abs(got - share * count) <= 1).all()
        assert abs(len(rows) - share * len(labels)) <= 1
    assert (np.bincount(labels[made.train], minlength=len(count)) > 0).all()
    assert len(made.valid)
    assert len(made.test) or not shares[1]


@given(grouped(), st.integers(0, 5))
def test_no_group_and_no_duplicate_straddles_two_parts(data: Any, seed: int) -> None:
    labels, groups, digests = data
    try:
        made = split(labels, groups=groups, digests=digests, seed=seed)
    except SourceError:
        return  # one huge knot of groups
    assert sorted(np.concatenate(parts_of(made))) == list(range(len(labels)))
    assert all(len(rows) for rows in parts_of(made))
    assert set(labels[made.train]) == set(labels)
    for keys in (groups, digests):
        seen = [set(keys[rows]) - {""} for rows in parts_of(made)]
        assert not seen[0] & seen[1]
        assert not seen[0] & seen[2]
        assert not seen[1] & seen[2]


def test_a_chain_of_groups_and_duplicates_stays_together() -> None:
    labels = np.zeros(40, np.int64)
    groups = np.array(["a", "a", "b", "b", "c", "c"] + [""] * 34)
    digests = np.arange(40).astype("S16")
    digests[2], digests[4] = digests[1], digests[3]  # a - b - c
    for seed in range(20):
        made = split(labels, groups=groups, digests=digests, seed=seed)
        assert sum(bool({0, 1, 2, 3, 4, 5} & set(rows)) for rows in parts_of(made)) == 1


def test_groups_are_shared_out_by_the_classes_they_hold() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 10)
    labels = (np.repeat(random.random(100), 10) < random.random(1000) * 1.5).astype(np.int64)
    made = split(labels, groups=groups, seed=1)
    for rows, share in zip(parts_of(made), (0.8, 0.1, 0.1), strict=True):
        assert np.bincount(labels[rows]) == pytest.approx(share * np.bincount(labels), abs=0.03 * len(labels))
    assert "1000" not in made.notes[1]
    assert "900 images stay" in made.notes[1]


def test_the_seed_decides() -> None:
    labels = np.repeat(np.arange(3), 50)
    one, same, other = split(labels, seed=1), split(labels, seed=1), split(labels, seed=2)
    assert all((a == b).all() for a, b in zip(parts_of(one), parts_of(same), strict=True))
    assert set(one.test) != set(other.test)


def test_whole_shares_are_met_exactly() -> None:
    labels = np.repeat(np.arange(2), 100)
    made = split(labels)
    assert np.bincount(labels[made.valid]).tolist() == [10, 10]
    assert np.bincount(labels[made.test]).tolist() == [10, 10]
    assert made.notes == ("Split: valid 10% and test 10% of all images, stratified, seed 0.",)


def test_given_splits_are_kept_even_with_a_duplicate_on_both_sides() -> None:
    labels = np.tile([0, 1], 6)
    splits = np.array(["train"] * 6 + ["valid"] * 4 + ["test"] * 2)
    made = split(labels, splits=splits, digests=np.array([b"same"] * 12))
    assert [rows.tolist() for rows in parts_of(made)] == [[*range(6)], [6, 7, 8, 9], [10, 11]]
    assert made.notes == ("Splits are used as given.",)


@pytest.mark.parametrize(("given_part", "carved"), [("test", "valid"), ("valid", "test")])
def test_the_missing_part_is_carved_from_train(given_part: str, carved: str) -> None:
    labels = np.tile([0, 1], 60)
    splits = np.array(["train"] * 100 + [given_part] * 20)
    made = split(labels, splits=splits)
    assert getattr(made, given_part).tolist() == list(range(100, 120))
    assert np.bincount(labels[getattr(made, carved)]).tolist() == [5, 5]
    assert len(made.train) == 90
    assert f"{given_part} as given" in made.notes[0]


def test_without_a_test_share_nothing_is_tested() -> None:
    made = split(np.repeat([0, 1], 50), test=0)
    assert (len(made.train), len(made.valid), len(made.test)) == (90, 10, 0)


def test_sums_are_met_over_many_tiny_classes() -> None:
    made = split(np.repeat(np.arange(100), 5), classes=[f"c{k}" for k in range(100)])
    assert [len(rows) for rows in parts_of(made)] == [400, 50, 50]
    assert "and 45 more have no validation image: no epoch is chosen by them." in made.notes[1]
    assert "have no test image" in made.notes[2]


def test_a_tiny_class_is_learnt_and_named() -> None:
    labels = np.repeat([0, 1, 2], [50, 50, 2])
    made = split(labels, classes=["ant", "bee", "moth"])
    assert (labels[made.train] == 2).sum() == 2
    assert made.notes[1] == "class 'moth' has no validation image: no epoch is chosen by it."


def test_four_images_are_enough() -> None:
    labels = np.array([0, 0, 1, 1])
    made = split(labels)
    assert [len(rows) for rows in parts_of(made)] == [2, 1, 1]
    assert set(labels[made.train]) == {0, 1}


def test_a_class_given_only_for_test_is_noted() -> None:
    made = split(np.array([0, 0, 1, 0, 1]), splits=np.array(["train", "train", "test", "valid", "valid"]))
    assert made.notes[1] == "class '1' has no training image: the network cannot learn it."


@pytest.mark.parametrize(
    ("kwargs", "told"),
    [
        ({"labels": np.array([0, 0, 0, 1])}, "class 'b' has one image"),
        ({"labels": np.array([0, 1])}, "classes 'a', 'b' have one image"),
        ({"labels": np.array([], np.int64)}, "no images"),
        ({"labels": np.zeros(9, np.int64), "groups": np.array(["p"] * 9)}, "in 1 group "),
        ({"labels": np.array([0, 0, 1, 1]), "groups": np.array(list("aabb")), "test": 0}, "can be spared"),
        ({"labels": np.zeros(2, np.int64), "splits": np.array(["valid", "test"])}, "none for training"),
        ({"labels": np.zeros(2, np.int64), "splits": np.array(["train", "tset"])}, "'tset' is no split"),
    ],
)
def test_what_cannot_be_split_is_one_clear_message(kwargs: dict[str, Any], told: str) -> None:
    with pytest.raises(SourceError) as caught:
        split(classes=["a", "b"], **kwargs)
    assert told in caught.value.fault
    assert caught.value.hint


@pytest.mark.parametrize("shares", [(0.0, 0.1), (0.5, 0.5), (0.1, -0.1)])
def test_impossible_shares_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(SettingsError):
        split(np.repeat([0, 1], 10), valid=shares[0], test=shares[1])
