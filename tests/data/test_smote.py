"""SMOTE: the examples imbalanced-learn would invent, from parents that are known, in bounded memory."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from imblearn.over_sampling import SMOTE
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from sightline.data import smote
from sightline.data.balance import Balance, draw
from sightline.data.preprocess import Preprocessing
from sightline.data.smote import invent, mix, nearest, refuse_single, some
from sightline.data.stream import Stream
from sightline.errors import SettingsError

RANDOM = np.random.default_rng(0)
SIGNALS = RANDOM.normal(size=(90, 1, 30)).astype(np.float32).cumsum(axis=2)
LABELS = np.repeat([0, 1, 2, 3], [50, 28, 10, 2])[RANDOM.permutation(90)]


def test_the_examples_are_those_of_imbalanced_learn() -> None:
    """Twins: the same seed gives the same children as its SMOTE on the values themselves."""
    rows = np.flatnonzero(LABELS < 3)
    flat = SIGNALS[rows].reshape(len(rows), -1)
    expected, labels = SMOTE(random_state=7, k_neighbors=5).fit_resample(flat, LABELS[rows])
    found = invent(SIGNALS, LABELS, rows, seed=7)
    first, second = (torch.from_numpy(SIGNALS[parent]) for parent in (found.first, found.second))
    children = mix(first, second, torch.from_numpy(found.place))
    assert LABELS[found.first].tolist() == labels[len(rows) :].tolist()
    assert children.flatten(1).numpy() == pytest.approx(expected[len(rows) :], abs=1e-5)


@given(st.lists(st.integers(1, 12), min_size=2, max_size=4), st.integers(1, 7), st.integers(0, 5))
def test_classes_come_out_even_and_parents_are_neighbours_of_one_class(
    sizes: list[int], neighbours: int, seed: int
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    values = np.random.default_rng(seed).normal(size=(len(labels), 3)).astype(np.float32)
    rows = np.arange(len(labels))
    found = invent(values, labels, rows, neighbours=neighbours, seed=seed)
    assert (labels[found.first] == labels[found.second]).all()
    assert ((found.place >= 0) & (found.place <= 1)).all()
    assert found.place.dtype == np.float32
    after = np.bincount(labels[np.concatenate([rows, found.first])])
    assert set(after) == {max(sizes)}
    assert all((labels == labels[a]).sum() == 1 for a, b in zip(found.first, found.second, strict=True) if a == b)
    for a, b in zip(found.first, found.second, strict=True):
        own, apart = values[labels == labels[a]], np.linalg.norm(values[a] - values[b])
        closer = [(np.linalg.norm(own - values[parent], axis=1) < 0.9999 * apart).sum() for parent in (a, b)]
        assert min(closer) <= neighbours  # itself, and fewer than k others, seen from one of the two


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(3, 30), st.just(4)), unique=False),
    st.integers(1, 2),
    st.sampled_from([1, 20, 10_000]),
)
def test_neighbours_are_the_nearest_whatever_the_blocks(values: NDArray[np.uint8], k: int, block: int) -> None:
    rows = np.arange(len(values))
    before, smote.BLOCK = smote.BLOCK, block
    try:
        found = nearest(values, rows, k)
    finally:
        smote.BLOCK = before
    assert all(row not in others for row, others in enumerate(found))
    exact = values.astype(float)
    far = np.linalg.norm(exact[found] - exact[:, None], axis=2)
    expected = NearestNeighbors(n_neighbors=k).fit(exact).kneighbors(return_distance=True)[0]
    assert far == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("stored", ["uint8", "float32"])
def test_a_stream_gives_the_mixtures_in_the_stored_type(stored: str) -> None:
    values = (SIGNALS * 20 + 128).clip(0, 255).astype(stored)
    rows = np.flatnonzero(LABELS < 3)
    drawn = draw(Balance("smote", space="values"), values, LABELS, rows, seed=0, classes="abcd")
    assert drawn.invented is not None
    spec = Preprocessing("signal", 1, (30,), stored=stored).fit(values, rows)  # type: ignore[arg-type]
    batches = Stream(
        values, LABELS, drawn.rows, spec, batch_size=16, shuffle=False, num_classes=4, invented=drawn.invented
    )
    x, y = (torch.cat(column) for column in zip(*batches, strict=True))
    assert torch.bincount(y).tolist() == [50, 50, 50]
    scale = 255 if stored == "uint8" else 1
    x = (x * spec.std[0] + spec.mean[0]) * scale
    assert x[: len(rows)].numpy() == pytest.approx(values[rows].astype(np.float32), abs=1e-3)
    parents = (values[part].astype(np.float32) for part in (drawn.invented.first, drawn.invented.second))
    a, b = parents
    expected = a + drawn.invented.place[:, None, None] * (b - a)
    assert x[len(rows) :].numpy() == pytest.approx(expected, abs=0.51 if stored == "uint8" else 1e-3)


def test_memory_stays_flat() -> None:
    """2,400 images of 3 x 32 x 32 as float64 would take 59 MB, and what is invented 115 MB more."""
    images = np.random.default_rng(0).integers(0, 256, (2400, 32, 32, 3), dtype=np.uint8)
    labels = np.repeat([0, 1, 2], [2000, 200, 200])
    rows = np.arange(2400)
    invent(images[:40], np.repeat([0, 1], [30, 10]), np.arange(40))  # imports are not counted
    tracemalloc.start()
    found = invent(images, labels, rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.first) == 3600
    assert peak < 20e6


def test_a_class_of_one_image_is_refused_by_name_or_repeated() -> None:
    labels = np.repeat([0, 1, 2], [8, 5, 1])
    values = np.random.default_rng(0).normal(size=(14, 1, 4)).astype(np.float32)
    how = {"seed": 0, "classes": ["ant", "bee", "cow"]}
    with pytest.raises(SettingsError) as caught:
        draw(Balance("smote"), values, labels, np.arange(14), **how)  # type: ignore[arg-type]
    assert "class 'cow' has one training image" in caught.value.fault
    assert "single=repeat" in caught.value.hint
    drawn = draw(Balance("smote", single="repeat"), values, labels, np.arange(14), **how)  # type: ignore[arg-type]
    assert drawn.invented is not None
    assert np.bincount(labels[np.concatenate([drawn.rows, drawn.invented.first])]).tolist() == [8, 8, 8]


def test_a_few_are_chosen_from_each_class_the_rarest_first() -> None:
    found = invent(SIGNALS, LABELS, np.arange(90))
    shown = some(found, LABELS, 7)
    assert LABELS[shown.first].tolist() == [3, 2, 1, 3, 2, 1, 3]
    assert len(some(found, LABELS, 10_000).first) == len(found.first)
    alone = invent(SIGNALS, np.repeat([0, 1], [89, 1]), np.arange(90))
    assert len(alone.first) == 88
    assert len(some(alone, np.repeat([0, 1], [89, 1])).first) == 0


def test_many_single_classes_are_not_all_listed() -> None:
    with pytest.raises(SettingsError, match="'4' and 2 more have one"):
        refuse_single(np.array([1] * 7 + [9]), [str(k) for k in range(8)])


def test_imbalanced_learn_raises_no_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        invent(SIGNALS, LABELS, np.arange(90))
