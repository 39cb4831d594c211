"""Folds hold equal shares of the classes, and nothing that belongs together is on two sides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.data.folds import folds
from sightline.errors import SettingsError, SourceError


@given(st.integers(2, 200), st.integers(1, 6), st.integers(2, 7), st.integers(0, 99))
def test_without_sets_folds_differ_by_one_of_each_class(rows: int, classes: int, count: int, seed: int) -> None:
    count = min(count, rows)
    labels = np.random.default_rng(seed).integers(0, classes, rows)
    fold = folds(labels, count, seed=seed)
    assert fold.min() >= 0
    assert len(np.unique(fold)) == count
    sizes = np.bincount(fold, minlength=count)
    assert np.ptp(sizes) <= classes
    for k in range(classes):
        assert np.ptp(np.bincount(fold[labels == k], minlength=count)) <= 1
    assert (folds(labels, count, seed=seed) == fold).all()


@given(st.integers(20, 120), st.integers(2, 5), st.integers(0, 99))
def test_groups_and_duplicates_stay_on_one_side(rows: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, rows)
    groups = random.integers(0, rows, rows).astype(str)
    digests = random.integers(1, 9 * rows, rows).astype(np.uint64)
    fold = folds(labels, count, groups=groups, digests=digests, seed=seed)
    for keys in (groups, digests):
        for key in np.unique(keys):
            assert len(np.unique(fold[keys == key])) == 1
    assert np.bincount(fold, minlength=count).min() > 0


def test_large_sets_leave_the_shares_as_even_as_they_can() -> None:
    labels = np.repeat([0, 1], 100)
    groups = np.concatenate([np.repeat([f"g{i}" for i in range(20)], 5), np.full(100, "")])
    fold = folds(labels, 5, groups=groups)
    assert np.array_equal(np.bincount(fold), [40] * 5)
    assert np.array_equal(np.bincount(fold[:100]), [20] * 5)


def test_another_seed_gives_other_folds() -> None:
    labels = np.arange(60) % 3
    assert (folds(labels, 5, seed=0) != folds(labels, 5, seed=1)).any()


def test_what_cannot_be_dealt() -> None:
    with pytest.raises(SettingsError, match="6 images cannot be dealt into 7 folds"):
        folds(np.arange(6) % 2, 7)
    with pytest.raises(SettingsError, match="1 folds"):
        folds(np.arange(6) % 2, 1)
    with pytest.raises(SourceError, match="in 2 groups"):
        folds(np.arange(6) % 2, 3, groups=np.array(["a", "b"] * 3))
