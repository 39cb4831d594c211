"""Augmentation: exact where it says exact, the same for a sample in any batch, every knob within its range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from sightline.data import geometry
from sightline.data.augment import Augment, augment, symmetric_beta
from sightline.data.preprocess import Preprocessing
from sightline.errors import SettingsError

KNOBS: dict[str, dict[str, Any]] = {
    "shift": {"shift": 0.2},
    "shift-edge": {"shift": 0.2, "border": "edge"},
    "shift-constant": {"shift": 0.2, "border": "constant", "fill": 9.0},
    "flip": {"flip": True},
    "crop": {"crop": 0.5},
    "rotate": {"rotate": 20.0},
    "scale": {"scale": 0.3},
    "shear": {"shear": 10.0},
    "brightness": {"brightness": 0.3},
    "contrast": {"contrast": 0.3},
    "saturation": {"saturation": 0.5},
    "erase": {"erase": 0.4},
    "noise": {"noise": 0.2},
    "all": {
        "shift": 0.1, "flip": True, "crop": 0.3, "rotate": 10.0, "scale": 0.1, "shear": 5.0, "brightness": 0.2,
        "contrast": 0.2, "saturation": 0.2, "erase": 0.3, "noise": 0.1,
    },
}  # fmt: skip
FOR_SIGNALS = [
    "shift",
    "shift-edge",
    "shift-constant",
    "flip",
    "crop",
    "scale",
    "brightness",
    "contrast",
    "erase",
    "noise",
]
FOR_VOLUMES = ["shift", "shift-edge", "shift-constant", "flip", "brightness", "contrast", "erase", "noise"]
CASES = (
    [("image", name) for name in KNOBS]
    + [("signal", name) for name in FOR_SIGNALS]
    + [("volume", name) for name in FOR_VOLUMES]
)
SHAPES = {"image": (3, 12, 10), "signal": (2, 40), "volume": (1, 5, 8, 6)}


def batch(kind: str, count: int = 12, seed: int = 0) -> tuple[Tensor, Tensor, Any]:
    """Random pixels, uint8 for images, float32 else; labels; rows that are not 0, 1, 2."""
    random = np.random.default_rng(seed)
    channels, *size = SHAPES[kind]
    if kind == "image":
        pixels = random.integers(0, 256, (count, *size, channels)).astype(np.uint8)
        x = torch.from_numpy(pixels).movedim(-1, 1)
    else:
        x = torch.from_numpy(random.normal(2, 3, (count, channels, *size)).astype(np.float32))
    return x, torch.from_numpy(random.integers(0, 4, count)), 1000 + 7 * np.arange(count)


def run(x: Tensor, y: Tensor, rows: Any, spec: Augment, epoch: int = 3) -> tuple[Tensor, Tensor]:
    return augment(x, y, rows, spec, seed=5, epoch=epoch, num_classes=4)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_sample_meets_the_same_in_any_batch(kind: str, name: str) -> None:
    x, y, rows = batch(kind)
    spec = Augment(**KNOBS[name])
    whole, _ = run(x, y, rows, spec)
    for chosen in ([3], [11, 0, 5], list(range(11, -1, -1))):
        some, labels = run(x[chosen], y[chosen], rows[chosen], spec)
        assert torch.allclose(some.float(), whole[chosen].float(), rtol=1e-5, atol=1e-3)
        assert (labels == y[chosen]).all()


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_every_knob_keeps_shape_and_range_and_does_something(kind: str, name: str) -> None:
    x, y, rows = batch(kind)
    before = x.clone()
    out, labels = run(x, y, rows, Augment(**KNOBS[name]))
    assert out.shape == x.shape
    assert labels is y
    assert (x == before).all()  # the store's rows are not written to
    assert not (out.float() == x.float()).all()
    assert not (out.float() == run(x, y, rows, Augment(**KNOBS[name]), epoch=4)[0].float()).all()
    if kind == "image":
        assert out.float().min() >= 0
        assert out.float().max() <= 255
        assert out.is_contiguous(memory_format=torch.channels_last)
        exact = name.startswith(("shift", "flip", "erase", "crop"))
        assert out.dtype == (torch.uint8 if exact else torch.float32)
    else:
        assert out.dtype == torch.float32
        assert out.is_contiguous()


@given(st.integers(0, 50), st.integers(-30, 30), st.integers(-30, 30), st.booleans())
def test_the_gather_is_the_warp_by_whole_pixels(seed: int, down: int, right: int, mirrored: bool) -> None:
    """Twins: the fast path equals grid_sample with the same matrix, for every border."""
    random = np.random.default_rng(seed)
    height, width = random.integers(2, 12, 2)
    x = torch.from_numpy(random.integers(0, 256, (2, 2, height, width)).astype(np.uint8))
    shift = np.array([[down % height, right % width], [-(down % height), 0]])
    mirror = np.array([mirrored, not mirrored])
    zeros = np.zeros(2)
    matrix = geometry.affine(zeros, zeros + 1, zeros, mirror)
    offset = -np.einsum("bij,bj->bi", matrix, shift[:, ::-1].astype(float))
    for border in ("reflect", "edge", "constant"):
        moved = geometry.move(x, shift, mirror, border, 7.0)
        warped = geometry.warp(x, matrix, offset, border, 7.0)
        assert moved.dtype == torch.uint8
        assert torch.allclose(moved.float(), warped, atol=0.05)


def test_a_shift_moves_content_towards_higher_indices() -> None:
    x = torch.arange(6.0).view(1, 1, 6)
    still = np.array([False])
    moved = [geometry.move(x, np.array([[2]]), still, border, -1.0).flatten().tolist() for border in
             ("reflect", "edge", "constant")]  # fmt: skip
    assert moved == [[1, 0, 0, 1, 2, 3], [0, 0, 0, 1, 2, 3], [-1, -1, 0, 1, 2, 3]]
    assert geometry.move(x, np.array([[0]]), ~still, "edge", 0).flatten().tolist() == [5, 4, 3, 2, 1, 0]


def test_shifts_reach_their_limit_and_no_farther() -> None:
    x = torch.zeros(400, 1, 16, 16, dtype=torch.uint8)
    x[:, :, 8, 8] = 255
    out, _ = run(x, torch.zeros(400, dtype=torch.int64), np.arange(400), Augment(shift=0.125, border="constant"))
    places = out[:, 0].flatten(1).argmax(dim=1)
    for axis in (places // 16 - 8, places % 16 - 8):
        assert sorted(set(axis.tolist())) == [-2, -1, 0, 1, 2]
        assert stats.chisquare(np.bincount(axis + 2)).pvalue > 1e-4


def test_half_of_the_samples_are_mirrored() -> None:
    x = torch.arange(8, dtype=torch.uint8).view(1, 1, 1, 8).expand(1000, 1, 1, 8)
    out, _ = run(x, torch.zeros(1000, dtype=torch.int64), np.arange(1000), Augment(flip=True))
    mirrored = out[:, 0, 0, 0] == 7
    assert 0.45 < mirrored.float().mean() < 0.55
    assert (out[mirrored] == x[mirrored].flip(3)).all()
    assert (out[~mirrored] == x[~mirrored]).all()


def test_a_quarter_turn_is_exact() -> None:
    x = torch.from_numpy(np.random.default_rng(0).random((1, 3, 9, 9)).astype(np.float32))
    matrix = geometry.affine(np.array([math.pi / 2]), np.ones(1), np.zeros(1), np.array([False]))
    assert torch.allclose(geometry.warp(x, matrix, np.zeros((1, 2)), "edge", 0), x.rot90(-1, (2, 3)), atol=1e-4)


def test_a_zoom_by_two_shows_the_middle_twice_as_large() -> None:
    x = F.pad(torch.ones(1, 1, 4, 4), (6,) * 4)
    matrix = geometry.affine(np.zeros(1), np.full(1, 2.0), np.zeros(1), np.array([False]))
    assert geometry.warp(x, matrix, np.zeros((1, 2)), "edge", 0).sum() == pytest.approx(64, rel=0.02)


@given(st.floats(0.01, 1), st.floats(0, 1))
def test_crops_have_the_area_drawn_and_fit(area: float, turn: float) -> None:
    shares = geometry.crop_shares(np.array([area]), np.array([turn]), 2)[0]
    assert shares.prod() == pytest.approx(area)
    assert shares.max() <= 1 + 1e-12
    assert 3 / 4 - 1e-9 <= shares[1] / shares[0] <= 4 / 3 + 1e-9


def test_a_crop_shows_only_what_is_inside() -> None:
    ramp = torch.linspace(0, 1, 64).view(1, 1, 64).expand(500, 1, 64).contiguous()
    out, _ = run(ramp, torch.zeros(500, dtype=torch.int64), np.arange(500), Augment(crop=0.5, border="edge"))
    length = (out[:, 0, -1] - out[:, 0, 0]).numpy()
    assert 0.47 < length.min() < 0.52
    assert 0.95 < length.max() <= 1
    assert out.min() >= 0
    assert out.max() <= 1


def test_colours() -> None:
    x, y, rows = batch("image")
    x = (x // 4 + 96).contiguous(memory_format=torch.channels_last)  # nothing reaches 0 or 255
    for spec, kept in (
        (Augment(contrast=0.2), lambda t: t.mean(dim=(1, 2, 3))),
        (Augment(saturation=0.2), lambda t: (t * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(dim=1)),
        (Augment(brightness=0.2), lambda t: t / t.mean(dim=(1, 2, 3), keepdim=True)),
    ):
        out, _ = run(x, y, rows, spec)
        assert torch.allclose(kept(out), kept(x.float()), rtol=1e-3)


def test_all_colour_knobs_at_once_are_one_after_the_other() -> None:
    x, y, rows = batch("image")
    x = x // 4 + 96
    once, _ = run(x, y, rows, Augment(brightness=0.1, contrast=0.2, saturation=0.3))
    steps = x
    for spec in (Augment(brightness=0.1), Augment(contrast=0.2), Augment(saturation=0.3)):
        steps, _ = run(steps, y, rows, spec)
    assert torch.allclose(once, steps, atol=1e-2)


def test_noise_is_measured_in_the_samples_own_spread() -> None:
    x = torch.randn(50, 1, 500, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 51).view(50, 1, 1)
    out, _ = run(x, torch.zeros(50, dtype=torch.int64), np.arange(50), Augment(noise=0.5))
    ratio = (out - x).std(dim=2) / x.std(dim=2)
    assert ratio.mean() == pytest.approx(0.5, rel=0.02)
    assert ratio.std() < 0.03


def test_erasing_covers_up_to_its_share_with_the_mean() -> None:
    x = torch.zeros(300, 1, 20, 20)
    x[:, :, ::2] = 10.0
    out, _ = run(x, torch.zeros(300, dtype=torch.int64), np.arange(300), Augment(erase=0.3))
    erased = (out == 5).float().mean(dim=(1, 2, 3))
    assert ((out == 5) | (out == x)).all()
    assert 0.25 < erased.max() < 0.34
    assert erased.mean() == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("spec", [Augment(mixup=1), Augment(cutmix=1), Augment(mixup=0.4, cutmix=1)])
def test_mixing_gives_images_and_labels_the_same_shares(kind: str, spec: Augment) -> None:
    """Samples filled with their own class number show their shares in their mean."""
    count = 200
    y = torch.arange(count) % 4
    x = y.view(-1, *(1,) * len(SHAPES[kind])).expand(count, *SHAPES[kind]).float().contiguous()
    mixed, target = augment(x, y, np.arange(count), spec, seed=0, epoch=0, num_classes=4)
    assert target.dtype == torch.float32
    assert target.shape == (count, 4)
    assert torch.allclose(target.sum(dim=1), torch.ones(count))
    assert torch.allclose(mixed.flatten(1).mean(dim=1), target @ torch.arange(4.0), atol=1e-4)
    own, partner = target[torch.arange(count), y], target[torch.arange(count), y.roll(1)]
    assert torch.allclose(own + partner, torch.ones(count))
    assert 0.4 < own.mean() < 0.6


def test_only_pasting_keeps_uint8_and_float_labels_mix_too() -> None:
    x, y, rows = batch("image")
    pasted, _ = run(x, y, rows, Augment(cutmix=1, flip=True))
    assert pasted.dtype == torch.uint8
    targets = torch.rand(len(y), 2)
    _, mixed = run(x, targets, rows, Augment(mixup=1))
    assert torch.allclose(mixed.sum(), targets.sum(), atol=len(y))
    assert mixed.min() >= targets.min()
    assert mixed.max() <= targets.max()


def test_a_batch_of_one_mixes_with_itself() -> None:
    x, y, rows = batch("image", count=1)
    mixed, target = run(x, y, rows, Augment(mixup=1, cutmix=1))
    assert torch.allclose(mixed, x.float())
    assert target[0, y[0]] == pytest.approx(1)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 5.0])
def test_the_share_of_the_own_image_is_from_the_beta_distribution(alpha: float) -> None:
    u = np.random.default_rng(1).random((3, 20_000))
    assert stats.kstest(symmetric_beta(np.full(20_000, alpha), *u), stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    corners = np.array([[0, 0, 0], [0, 0.25, 0.9], [1 - 2**-53, 0.25, 0], [1 - 2**-53, 0, 0.9]]).T
    assert (
        (symmetric_beta(np.full(4, alpha), *corners) >= 0) & (symmetric_beta(np.full(4, alpha), *corners) <= 1)
    ).all()


def test_one_knob_leaves_the_random_numbers_of_the_others() -> None:
    x, y, rows = batch("image")
    flipped, _ = run(x, y, rows, Augment(flip=True))
    both, _ = run(x, y, rows, Augment(flip=True, erase=0.2))
    erased = (both != flipped).any(dim=1)
    assert 0 < erased.float().mean() < 0.4


@given(st.dictionaries(st.sampled_from(["shift", "crop", "erase", "mixup"]), st.floats(0, 0.9)), st.booleans())
def test_a_spec_survives_its_dictionary(amounts: dict[str, float], flip: bool) -> None:
    spec = Augment(flip=flip, **amounts)  # type: ignore[arg-type]
    assert Augment.from_dict(spec.as_dict()) == spec


def test_a_spec_names_what_is_on() -> None:
    assert str(Augment()) == "none"
    assert str(Augment(shift=0.125, flip=True, border="edge")) == "shift 0.125, flip"


@pytest.mark.parametrize(
    "bad",
    [{"shift": -0.1}, {"crop": 1.0}, {"rotate": 181}, {"noise": math.nan}, {"mixup": math.inf}, {"border": "wrap"}],
)
def test_impossible_amounts_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        Augment(**bad)
    assert f"'{next(iter(bad))}'" in caught.value.fault


def test_an_unknown_knob_is_named_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'rotate'"):
        Augment.from_dict({"rotat": 5})


@pytest.mark.parametrize(
    ("preprocessing", "spec", "named"),
    [
        (Preprocessing("signal", 1, (9,)), Augment(rotate=5), "rotate"),
        (Preprocessing("volume", 1, (9, 9, 9)), Augment(crop=0.5), "crop"),
        (Preprocessing("image", 1, (9, 9)), Augment(saturation=0.5), "saturation"),
    ],
)
def test_what_makes_no_sense_for_the_data_is_refused(preprocessing: Preprocessing, spec: Augment, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        spec.check(preprocessing)
