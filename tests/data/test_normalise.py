"""What networks are given has the statistics that the setting promises, on training rows alone, and can be undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import sightline
from sightline.data.augment import Augment
from sightline.data.normalise import DAMPING, RARE, Normalise, Positions
from sightline.data.preprocess import Preprocessing
from sightline.data.stream import Stream
from sightline.errors import RunError, SettingsError

KINDS: dict[str, tuple[int, ...]] = {"image": (6, 5, 3), "signal": (2, 9), "volume": (1, 3, 4, 2)}
METHODS: tuple[Normalise, ...] = ("none", "pixel", "channel", "zca")


def store(kind: str, dtype: str, count: int = 80, seed: int = 0) -> NDArray[Any]:
    """Draw correlated values of different scales, so that every statistic has something to do."""
    random = np.random.default_rng(seed)
    size = int(np.prod(KINDS[kind]))
    mixed = random.normal(size=(count, size)) @ random.normal(size=(size, size)) * random.uniform(0.2, 3, size)
    values = 128 + 30 * mixed / mixed.std()
    return values.clip(0, 255).astype(dtype).reshape(count, *KINDS[kind])


def spec(kind: Any, array: NDArray[Any]) -> Preprocessing:
    shape = array.shape[1:]
    size, channels = (shape[:-1], shape[-1]) if kind == "image" else (shape[1:], shape[0])
    return Preprocessing(kind, channels, size, stored=str(array.dtype))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_statistics_on_the_training_rows_and_the_way_back(method: Normalise, kind: str, dtype: str) -> None:
    array = store(kind, dtype)
    rows = np.arange(0, 60)
    way = spec(kind, array).fit(array, rows, normalise=method)
    assert way.fitted
    kept = array.copy()
    x = way.normalise(torch.from_numpy(array[rows]))
    assert np.array_equal(array, kept)  # a stream hands out views of the store
    assert x.dtype == torch.float32
    assert tuple(x.shape[1:]) == way.shape
    values = x.numpy().astype(np.float64)
    axes = (0, *range(2, x.ndim))
    if method == "none":
        unit = 255 if dtype == "uint8" else 1
        assert np.allclose(np.moveaxis(values, 1, way.axis), array[rows] / unit, atol=1e-4)
    elif method == "channel":
        assert np.allclose(values.mean(axis=axes), 0, atol=1e-4)
        assert np.allclose(values.std(axis=axes), 1, atol=1e-3)
    elif method == "pixel":
        assert np.allclose(values.mean(axis=0), 0, atol=1e-3)
        assert (values.std(axis=0) < 1 + 1e-3).all()
        assert np.isclose(values.std(axis=0), 1, atol=1e-3).mean() > 0.9  # the others hardly vary, see below
    else:
        flat = np.moveaxis(values, 1, way.axis).reshape(len(rows), -1)
        raw = array[rows].reshape(len(rows), -1).astype(np.float64) / way.unit
        variances, directions = np.linalg.eigh(np.cov(raw.T, bias=True))
        damped = variances + DAMPING * variances.mean()
        wanted = directions @ np.diag(variances / damped) @ directions.T  # what is left of unit variance
        assert np.allclose(np.cov(flat.T, bias=True), wanted, atol=2e-3)
    back = np.moveaxis(way.denormalise(x.numpy()), 1, way.axis)
    assert np.allclose(back, array[rows], atol=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_only_training_rows_are_measured(method: Normalise) -> None:
    array = store("image", "uint8")
    rows = np.arange(50)
    changed = array.copy()
    changed[50:] = 255 - changed[50:]
    one, other = (spec("image", each).fit(each, rows, normalise=method) for each in (array, changed))
    assert one == other
    assert one != spec("image", array).fit(array, np.arange(80), normalise=method) or method == "none"


@given(st.integers(1, 40), st.integers(0, 2**31), st.sampled_from(METHODS))
def test_a_batch_is_its_images_one_by_one(count: int, seed: int, method: Normalise) -> None:
    array = store("image", "uint8", seed=seed % 7)
    way = spec("image", array).fit(array, np.arange(80), normalise=method)
    rows = np.random.default_rng(seed).integers(0, 80, count)
    whole = way.normalise(torch.from_numpy(array[rows]))
    single = torch.cat([way.normalise(torch.from_numpy(array[row : row + 1])) for row in rows])
    assert torch.allclose(whole, single, atol=1e-4)


def test_by_channel_is_bit_for_bit_what_it_was() -> None:
    array = store("image", "uint8")
    way = spec("image", array).fit(array, np.arange(80))
    assert way.normalisation == "channel"
    assert set(way.as_dict()) == {
        "kind", "channels", "size", "resize", "stored", "mean", "std", "normalisation",
    }  # fmt: skip
    mean, std = (torch.tensor(each) * 255 for each in (way.mean, way.std))
    plain = (torch.from_numpy(array).float() - mean) * std.reciprocal()
    assert torch.equal(way.normalise(torch.from_numpy(array)), plain.permute(0, 3, 1, 2))
    old = {key: value for key, value in way.as_dict().items() if key != "normalisation"}
    assert Preprocessing.from_dict(old) == way  # a run from before there was a choice


def test_positions_that_hardly_vary_are_not_blown_up() -> None:
    array = np.random.default_rng(0).integers(0, 256, (500, 4, 4, 1)).astype(np.uint8)
    array[:, 0, 0] = 7
    array[:, 0, 1] = 0
    array[3, 0, 1] = 1
    way = spec("image", array).fit(array, np.arange(500), normalise="pixel")
    x = way.normalise(torch.from_numpy(array)).numpy()
    assert (x[:, 0, 0, 0] == 0).all()
    assert 0 < x[3, 0, 0, 1] < 1 / (255 * RARE * 0.2)
    flat = np.full((5, 4, 4, 1), 9, np.uint8)
    for method in METHODS:
        same = spec("image", flat).fit(flat, np.arange(5), normalise=method).normalise(torch.from_numpy(flat))
        assert torch.isfinite(same).all()


def test_whitening_is_for_small_inputs() -> None:
    array = np.zeros((3, 48, 48, 3), np.uint8)
    with pytest.raises(SettingsError, match=r"48 x 48 x 3 = 6,912 values.*48 million"):
        spec("image", array).fit(array, np.arange(3), normalise="zca")


def test_what_is_not_measured_yet_is_refused() -> None:
    array = store("image", "uint8")
    way = Preprocessing("image", 3, (6, 5), normalisation="pixel")
    with pytest.raises(SettingsError, match="no mean"):
        Stream(array, np.zeros(80, np.int64), np.arange(80), way, batch_size=8)


@pytest.mark.parametrize("method", ["none", "pixel", "zca"])
def test_a_stream_gives_whole_batches_of_it(method: Normalise) -> None:
    array = store("image", "uint8")
    way = spec("image", array).fit(array, np.arange(80), normalise=method)
    stream = Stream(array, np.arange(80) % 3, np.arange(80), way, batch_size=16, augment=Augment(shift=0.2, flip=True))
    x, _ = next(iter(stream))
    assert x.shape == (16, 3, 6, 5)
    plain = Stream(array, np.arange(80) % 3, np.arange(80), way, batch_size=16, shuffle=False)
    x, _ = next(iter(plain))
    assert torch.equal(x, way.normalise(torch.from_numpy(array[:16])))


def test_positions_are_kept_whole(tmp_path: Path) -> None:
    array = store("image", "uint8")
    way = spec("image", array).fit(array, np.arange(80), normalise="zca")
    assert way.positions is not None
    (tmp_path / "kept").write_bytes(way.positions.as_bytes())
    assert Preprocessing.from_dict(way.as_dict(), Positions.read(tmp_path / "kept")) == way
    (tmp_path / "kept").write_bytes(way.positions.as_bytes()[:100])
    with pytest.raises(RunError, match="no whole safetensors file"):
        Positions.read(tmp_path / "kept")


@pytest.mark.parametrize("method", ["none", "pixel", "zca"])
def test_a_run_keeps_its_normalisation(method: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    y = np.arange(60) % 2
    x[y == 1, :4] //= 2
    run = sightline.train((x, y), "logistic", epochs=3, normalise=method, runs=tmp_path, name="run", compile="off")
    assert run.folder.positions.is_file() == (method != "none")
    again = sightline.Run.load(run.path)
    assert again.preprocessing == run.data().preprocessing
    assert again.preprocessing.normalisation == method
    other = random.integers(0, 256, (10, 8, 8, 1)).astype(np.uint8)
    assert np.array_equal(again.predict(other).probabilities, run.predict(other).probabilities)
    scored = run.evaluate((other, np.arange(10) % 2))
    assert scored.as_dict() == again.evaluate((other, np.arange(10) % 2)).as_dict()
    restored = again.data((x, y)).preprocessing
    assert restored == run.preprocessing
