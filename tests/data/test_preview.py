"""The sheet shows the network's inputs as they are: pixel for pixel, with their classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.data.augment import Augment
from sightline.data.preprocess import Preprocessing
from sightline.data.preview import GAP, TILE, families, sheet
from sightline.data.smote import Invented
from sightline.data.stream import Stream


def make(kind: Any, array: Any, **changes: Any) -> Stream:
    image = kind == "image"
    preprocessing = Preprocessing(
        kind,
        array.shape[-1 if image else 1],
        array.shape[1:-1] if image else array.shape[2:],
        stored=str(array.dtype),  # type: ignore[arg-type]
    ).fit(array, np.arange(len(array)))
    labels = np.arange(len(array)) % 3
    return Stream(array, labels, np.arange(len(array)), preprocessing, **{"batch_size": 8, "shuffle": False, **changes})


def test_tiles_hold_the_very_pixels_enlarged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype(np.uint8)
    picture = sheet(make("image", pixels), ["ant", "bee", "cow"])
    assert picture.mode == "RGB"
    factor = TILE // 8
    shown = np.asarray(picture)
    top = next(row for row in range(len(shown)) if (shown[row, GAP] == pixels[0, 0, 0]).all())
    tile = shown[top : top + TILE, GAP : GAP + TILE]
    assert (tile == pixels[0].repeat(factor, 0).repeat(factor, 1)).all()
    assert (shown[top : top + TILE, 2 * GAP + TILE : 2 * GAP + 2 * TILE][::factor, ::factor] == pixels[1]).all()


def test_the_stream_stays_where_it_is() -> None:
    stream = make("image", np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1)).astype(np.uint8), shuffle=True)
    next(iter(stream))
    before = stream.state_dict()
    sheet(stream, ["a", "b", "c"])
    assert stream.state_dict() == before


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("image", (28, 28, 1)), ("image", (300, 200, 3)), ("image", (10, 10, 5)), ("signal", (2, 140)),
        ("volume", (1, 5, 20, 20)),
    ],
)  # fmt: skip
def test_every_kind_of_data_makes_a_sheet(kind: Any, shape: tuple[int, ...], dtype: Any) -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, *shape)).astype(dtype)
    picture = sheet(make(kind, array, augment=Augment(mixup=0.4)), ["a long class name that never ends", "b", "c"])
    assert isinstance(picture, Image.Image)
    assert len(np.unique(np.asarray(picture))) > 20
    assert max(picture.size) < 2500


def test_a_flat_signal_is_a_line() -> None:
    assert sheet(make("signal", np.zeros((2, 1, 9), np.float32)), ["a", "b", "c"]).size


def test_an_invented_image_stands_between_its_parents() -> None:
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    pixels[1], pixels[2] = 200, 30
    spec = Preprocessing("image", 3, (8, 8)).fit(pixels, np.arange(3))
    one = Invented(np.array([0]), np.array([1]), np.array([0.25], np.float32))
    shades = []
    for nearest in (None, np.array([2])):
        shown = np.asarray(families(pixels, np.zeros(3, int), one, spec, ["ant"], nearest))
        row = shown[next(row for row in range(len(shown)) if (shown[row, GAP] == 0).all()) + 1]
        shades.append([int(row[GAP + place * (TILE + GAP)][0]) for place in range(3)])
    assert shades == [[0, 50, 200], [0, 30, 200]]


@pytest.mark.parametrize(
    ("kind", "shape"), [("signal", (5, 2, 30)), ("volume", (5, 1, 4, 6, 6)), ("image", (5, 6, 6, 1))]
)
def test_families_of_every_kind_are_drawn(kind: Any, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    spec = make(kind, array).preprocessing
    found = Invented(np.array([0, 1, 2]), np.array([3, 4, 4]), np.array([0.1, 0.5, 0.9], np.float32))
    picture = families(array, np.zeros(5, int), found, spec, ["ant"])
    assert picture.width > 5 * TILE
