"""Streams: a function of (seed, epoch, index); a saved position continues exactly; bad input is told in words."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightline.data.augment import Augment
from sightline.data.preprocess import Preprocessing
from sightline.data.stream import Batch, Stream, as_tensor, resident
from sightline.errors import SettingsError

COUNT = 40
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (COUNT, 8, 6, 3)).astype(np.uint8)
LABELS = np.arange(COUNT) % 4
PREPROCESSING = Preprocessing("image", 3, (8, 6)).fit(IMAGES, np.arange(COUNT))
STRONG = Augment(shift=0.2, flip=True, rotate=10, brightness=0.1, erase=0.2, noise=0.1, cutmix=1.0)


def stream(rows: Any = None, **changes: Any) -> Stream:
    rows = np.arange(COUNT) if rows is None else rows
    return Stream(IMAGES, LABELS, rows, PREPROCESSING, **{"batch_size": 12, **changes})


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(one, other, strict=True)
    )


def numbered(rows: Any = None, **changes: Any) -> Stream:
    """A stream whose labels are the row numbers."""
    rows = np.arange(COUNT) if rows is None else rows
    return Stream(IMAGES, np.arange(COUNT), rows, PREPROCESSING, **{"batch_size": 12, **changes})


def seen(batches: Any) -> list[int]:
    return [int(row) for _, y in batches for row in y]


def test_batches_are_ready_for_the_network() -> None:
    batches = list(stream(rows=np.arange(30), shuffle=False))
    assert [len(x) for x, _ in batches] == [12, 12, 6]
    x, y = (torch.cat(column) for column in zip(*batches, strict=True))
    assert x.shape == (30, 3, 8, 6)
    assert x.dtype == torch.float32
    assert batches[0][0].is_contiguous(memory_format=torch.channels_last)
    assert y.dtype == torch.int64
    assert y.tolist() == LABELS[:30].tolist()
    mean, std = torch.tensor(PREPROCESSING.mean), torch.tensor(PREPROCESSING.std)
    plain = (torch.from_numpy(IMAGES[:30]) / 255 - mean) / std
    assert torch.allclose(x, plain.permute(0, 3, 1, 2), atol=1e-4)


def test_every_epoch_has_every_row_once_in_a_new_order() -> None:
    rows = np.array([3, 1, 4, 15, 9, 26, 5, 35, 8, 7, 2, 33, 20])
    batches = numbered(rows)
    orders = [seen(batches) for _ in range(3)]
    assert all(sorted(order) == sorted(rows) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert batches.epoch == 3
    assert seen(numbered(rows, shuffle=False)) == rows.tolist()


def test_the_order_of_rows_given_does_not_matter_to_a_shuffle() -> None:
    rows = np.arange(COUNT)
    assert seen(numbered(rows)) == seen(numbered(rows[::-1]))


@given(st.integers(0, 2**31), st.integers(0, 4), st.integers(1, 45), st.booleans(), st.booleans())
def test_a_saved_position_continues_exactly(seed: int, stop: int, size: int, drop: bool, strong: bool) -> None:
    settings = {
        "seed": seed, "batch_size": size, "drop_last": drop and size <= COUNT, "augment": STRONG if strong else None,
    }  # fmt: skip
    whole = stream(**settings)
    through = [list(whole) for _ in range(2)]
    cut = stream(**settings)
    stop = min(stop, len(cut))
    before = list(islice(cut, stop))
    resumed = stream(**settings)
    resumed.load_state_dict(cut.state_dict())
    after = list(resumed)
    assert same(before + after, through[0])
    assert same(list(resumed), through[1])
    assert resumed.state_dict() == {"epoch": 2, "step": 0}


def test_the_position_after_batch_k_is_step_k_plus_1() -> None:
    batches = stream()
    positions = [batches.state_dict() for _ in batches]
    assert positions == [{"epoch": 0, "step": step} for step in range(1, 5)]
    assert batches.state_dict() == {"epoch": 1, "step": 0}


def test_a_loop_that_stops_behind_the_last_batch_goes_on_with_the_next_epoch() -> None:
    """zip and islice never ask for the batch after the last one."""
    batches = numbered()
    first = seen(islice(batches, len(batches)))
    assert batches.state_dict() == {"epoch": 0, "step": 4}
    second = seen(batches)
    assert sorted(first) == sorted(second)
    assert first != second
    assert batches.epoch == 2


def test_a_loop_left_early_goes_on_where_it_stopped_unless_rewound() -> None:
    batches, whole = numbered(), seen(numbered())
    assert seen(islice(batches, 2)) == whole[:24]
    assert seen(batches) == whole[24:]
    next(iter(batches))
    batches.rewind()
    assert batches.state_dict() == {"epoch": 1, "step": 0}
    assert len(seen(batches)) == COUNT


def test_one_batch_at_a_time_walks_through_the_data() -> None:
    batches, other = numbered(), numbered()
    walked = seen(next(iter(batches)) for _ in range(8))
    assert walked == seen(other) + seen(other)


def test_two_iterators_do_not_disturb_each_other() -> None:
    batches = numbered()
    pairs = [(seen([one]), seen([other])) for one, other in zip(batches, batches, strict=True)]
    assert all(one == other for one, other in pairs)
    assert batches.epoch == 1


def test_augmentation_belongs_to_the_sample_not_to_the_batch() -> None:
    spec = Augment(shift=0.2, flip=True, rotate=10, brightness=0.2, erase=0.2, noise=0.1)
    large, small = numbered(augment=spec, batch_size=40), numbered(np.arange(5, 25), augment=spec, batch_size=3)
    at = {int(row): x for xs, ys in large for x, row in zip(xs, ys, strict=True)}
    for xs, ys in small:
        for x, row in zip(xs, ys, strict=True):
            assert torch.allclose(x, at[int(row)], atol=1e-4)


def test_a_row_listed_twice_is_augmented_twice() -> None:
    twice = np.repeat(np.arange(10), 2)
    batches = numbered(twice, augment=Augment(noise=0.5), batch_size=20)
    x, y = next(iter(batches))
    assert sorted(y.tolist()) == twice.tolist()
    copies = [x[y == row] for row in range(10)]
    assert all(not torch.equal(*pair) for pair in copies)
    assert any(abs(np.flatnonzero(y == row)[0] - np.flatnonzero(y == row)[1]) > 1 for row in range(10))


def test_mixed_labels_are_shares() -> None:
    for _, y in stream(augment=Augment(mixup=0.4), num_classes=6):
        assert y.shape[1] == 6
        assert y.dtype == torch.float32
        assert torch.allclose(y.sum(dim=1), torch.ones(len(y)))


def test_targets_may_be_numbers_or_many_labels() -> None:
    for targets in (np.linspace(0, 1, COUNT), np.eye(4)[LABELS]):
        batches = Stream(IMAGES, targets, np.arange(COUNT), PREPROCESSING, batch_size=COUNT, shuffle=False)
        (_, y), *_ = batches
        assert y.dtype == torch.float32
        assert np.allclose(y.numpy(), targets)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("kind", "shape"), [("image", (8, 6, 1)), ("signal", (2, 30)), ("volume", (1, 4, 5, 6))])
def test_every_kind_of_data_comes_out_normalised(kind: Any, shape: tuple[int, ...], dtype: Any) -> None:
    array = np.random.default_rng(1).integers(0, 200, (64, *shape)).astype(dtype)
    size = shape[:-1] if kind == "image" else shape[1:]
    channels = shape[-1] if kind == "image" else shape[0]
    preprocessing = Preprocessing(kind, channels, size, stored=str(np.dtype(dtype)))  # type: ignore[arg-type]
    preprocessing = preprocessing.fit(array, np.arange(64))
    for spec in (None, Augment(shift=0.1, flip=True, brightness=0.1, noise=0.1, mixup=0.2)):
        batches = Stream(array, np.arange(64) % 2, np.arange(64), preprocessing, batch_size=64, augment=spec)
        x, _ = next(iter(batches))
        assert x.shape == (64, channels, *size)
        assert x.dtype == torch.float32
        assert abs(x.mean()) < 0.2
        assert abs(x.std() - 1) < 0.3


def test_a_read_only_memory_map_serves_and_stays_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", IMAGES)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    made = Stream(mapped, LABELS, np.arange(COUNT), PREPROCESSING, batch_size=12, augment=STRONG)
    assert same(list(made), list(stream(augment=STRONG)))
    assert (np.load(tmp_path / "pixels.npy") == IMAGES).all()


def test_a_tensor_serves_like_an_array() -> None:
    made = Stream(as_tensor(IMAGES), LABELS, np.arange(COUNT), PREPROCESSING, batch_size=12, augment=STRONG)
    assert same(list(made), list(stream(augment=STRONG)))
    assert resident(IMAGES, "cpu") is IMAGES


def test_looking_does_not_move() -> None:
    batches = stream(augment=STRONG)
    next(iter(batches))
    before = batches.state_dict()
    x, y = batches.peek(16)
    assert batches.state_dict() == before
    assert len(x) == len(y) == 16
    first = list(stream(augment=STRONG))
    assert torch.equal(x, torch.cat([first[0][0], first[1][0]])[:16])
    assert len(stream(rows=np.arange(5)).peek(16)[0]) == 5


def test_global_random_state_is_left_alone() -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    list(stream(augment=STRONG))
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_size": 0}, "1 to 40"),
        ({"batch_size": 2.5}, "whole number"),
        ({"batch_size": 64, "drop_last": True}, "batch_size 64 is larger than the 40 images"),
        ({"batch_size": 64, "drop_last": True}, "batch_size=40 or less"),
        ({"rows": np.array([], np.int64)}, "no rows"),
        ({"rows": np.array([[1, 2]])}, "shape (1, 2)"),
        ({"rows": np.array([0.5])}, "float64"),
        ({"rows": np.array([3, 40])}, "row 40 is not in the array of 40 rows"),
        ({"rows": np.array([-1])}, "row -1"),
        ({"num_classes": 3}, "row 3 has label 3, which is not in 0..2"),
        ({"augment": Augment(shift=0.1), "preprocessing": Preprocessing("image", 3, (8, 6))}, "no mean"),
        ({"preprocessing": Preprocessing("image", 3, (9, 6), mean=(0,) * 3, std=(1,) * 3)}, "(9, 6, 3)"),
        ({"preprocessing": Preprocessing("image", 3, (8, 6), stored="float32")}, "float32 of shape"),
        ({"labels": LABELS[:-1]}, "40 rows, the labels 39"),
        ({"labels": LABELS - 1}, "label -1"),
    ],
)
def test_bad_arguments_are_refused_in_words(changes: dict[str, Any], told: str) -> None:
    given_ = {"labels": LABELS, "rows": np.arange(COUNT), "preprocessing": PREPROCESSING, "batch_size": 12, **changes}
    with pytest.raises(SettingsError) as caught:
        Stream(IMAGES, **given_)
    assert told in str(caught.value)


def test_a_position_of_another_stream_is_refused() -> None:
    for state in ({"epoch": 0, "step": 5}, {"epoch": -1, "step": 0}):
        with pytest.raises(SettingsError, match="4 batches"):
            stream().load_state_dict(state)


def test_a_last_batch_that_is_not_full_is_dropped_on_request() -> None:
    assert [len(x) for x, _ in stream(drop_last=True)] == [12, 12, 12]
    assert len(stream(drop_last=True)) == 3
