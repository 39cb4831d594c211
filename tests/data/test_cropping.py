"""Boxes cut out of images and stretched: as the formulas say, with whatever border, for any thread count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from sightline.data.augment import Augment, augment
from sightline.data.batchwise import gather, in_parts
from sightline.data.cropping import crop, crop_plainly
from sightline.data.geometry import move
from sightline.data.preprocess import Preprocessing


@given(st.integers(0, 10_000), st.sampled_from(["reflect", "edge", "constant"]), st.booleans(), st.sampled_from([1, 3]))
def test_the_fast_crop_is_the_plain_one(seed: int, border: str, whole: bool, channels: int) -> None:
    """Twins: slices that are resized equal the four neighbours of each position mixed; uint8 within one level."""
    random = np.random.default_rng(seed)
    height, width = random.integers(4, 24, 2)
    x = torch.from_numpy(random.integers(0, 256, (3, channels, height, width)).astype(np.uint8))
    x = x if whole else x.to(torch.float32)
    sides = np.stack([random.integers(1, height + 1, 3), random.integers(1, width + 1, 3)], 1)
    boxes = np.concatenate([random.integers(-3, 4, (3, 2)), sides], 1)
    mirror = random.random(3) < 0.5
    fast, plain = (way(x, boxes, mirror, border, 7.0) for way in (crop, crop_plainly))
    assert fast.dtype == plain.dtype == x.dtype
    assert fast.is_contiguous(memory_format=torch.channels_last)
    assert (fast.float() - plain.float()).abs().max() <= (1 if whole else 1e-3)


def test_a_box_is_cut_out_and_stretched() -> None:
    x = torch.arange(36.0).view(1, 1, 6, 6)
    box = np.array([[1, 2, 3, 3]])
    out = crop(x, box, np.array([False]), "reflect", 0)
    assert torch.equal(out, F.interpolate(x[:, :, 1:4, 2:5], (6, 6), mode="bilinear"))
    assert torch.equal(crop(x, box, np.array([True]), "reflect", 0), out.flip(3))


@pytest.mark.parametrize("border", ["reflect", "edge", "constant"])
def test_a_box_of_the_whole_size_moves_the_image(border: str) -> None:
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 8, 10)).astype(np.uint8))
    shift, mirror = np.array([[2, -3], [-1, 4]]), np.array([False, True])
    corner = -shift * np.array([[1, 1], [1, -1]])  # what is mirrored first moves the other way in the image
    boxes = np.concatenate([corner, [[8, 10]] * 2], 1)
    assert torch.equal(crop(x, boxes, mirror, border, 9.0), move(x, shift, mirror, border, 9.0))


def test_crops_are_the_same_in_any_batch_and_number_of_threads() -> None:
    x = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (7, 3, 20, 16)).astype(np.uint8))
    y, rows, spec = torch.zeros(7, dtype=torch.int64), np.arange(7), Augment(crop=0.9, shift=0.2, flip=True)
    threads = torch.get_num_threads()
    whole, _ = augment(x, y, rows, spec, seed=3, epoch=2, num_classes=1)
    try:
        torch.set_num_threads(3)
        shared, _ = augment(x, y, rows, spec, seed=3, epoch=2, num_classes=1)
    finally:
        torch.set_num_threads(threads)
    one, _ = augment(x[4:5], y[:1], rows[4:5], spec, seed=3, epoch=2, num_classes=1)
    assert torch.equal(whole, shared)
    assert torch.equal(whole[4:5], one)


def test_crops_reach_every_place_and_every_area() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).expand(1, 64, 64)
    x = torch.stack([ramp, ramp.transpose(1, 2)], 1).expand(600, 2, 64, 64)
    out, _ = augment(
        x, torch.zeros(600, dtype=torch.int64), np.arange(600), Augment(crop=0.5), seed=0, epoch=0, num_classes=1
    )
    across = (out[:, 0, 0, -1].int() - out[:, 0, 0, 0].int() + 1).numpy()
    down = (out[:, 1, -1, 0].int() - out[:, 1, 0, 0].int() + 1).numpy()
    area = across * down / 64**2
    assert 0.47 < area.min() < 0.53
    assert 0.97 < area.max() <= 1
    assert out[:, :, 0, 0].min() == 0
    assert out[:, :, -1, -1].max() == 63


def test_what_a_part_of_the_work_raises_is_raised() -> None:
    def fail(samples: range) -> None:
        if 5 in samples:
            raise ValueError("sample 5")

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ValueError, match="sample 5"):
            in_parts(fail, 6)
    finally:
        torch.set_num_threads(threads)


def test_threads_that_share_work_have_no_helpers_and_others_keep_theirs() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: list[tuple[int, int]] = []
        in_parts(lambda samples: seen.append((samples.start, torch.get_num_threads())), 2)
        assert sorted(seen) == [(0, 1), (1, 1)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_rows_that_threads_gather_are_those_that_one_takes() -> None:
    store = torch.randint(0, 256, (300, 64, 64, 3), dtype=torch.uint8)
    rows = torch.randperm(300)
    for count in (1, 3, 300):  # a small copy, and one that is shared
        out = torch.empty((count, 64, 64, 3), dtype=torch.uint8)
        gather(store, rows[:count], out)
        assert torch.equal(out, store[rows[:count]])


def test_mean_and_deviation_hang_on_no_number_of_threads() -> None:
    array = np.random.default_rng(0).integers(0, 256, (70, 40, 30, 3), dtype=np.uint8)
    spec, before = Preprocessing("image", 3, (40, 30)), torch.get_num_threads()
    fitted = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            fitted.append(spec.fit(array, np.arange(5, 70)))
    finally:
        torch.set_num_threads(before)
    assert fitted[0] == fitted[1] == fitted[2]
    assert np.allclose(fitted[0].mean, array[5:].mean(axis=(0, 1, 2)) / 255)
    assert np.allclose(fitted[0].std, array[5:].std(axis=(0, 1, 2)) / 255)


def test_parts_are_worked_on_in_the_mode_of_the_caller() -> None:
    spec = Preprocessing("image", 3, (32, 32)).fit(np.zeros((2, 32, 32, 3), np.uint8), np.arange(2))
    batch = torch.randint(0, 256, (512, 32, 32, 3), dtype=torch.uint8)
    plain = spec.normalise(batch)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            assert torch.equal(spec.normalise(batch), plain)
    finally:
        torch.set_num_threads(before)
