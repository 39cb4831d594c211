"""Images that may be moved, and images that may not -> what a kernel regression promises of moved copies."""

from __future__ import annotations

import numpy as np
import pytest

from sightline import Settings
from sightline.data.sources import load
from sightline.diagnosis import copies
from sightline.making.prepared import prepare
from sightline.making.promise import promise
from sightline.progress import Progress

QUIET = Progress(quiet=True)
Images = tuple[np.ndarray, np.ndarray]


def signals(n: int, seed: int, *, anywhere: bool) -> Images:
    """Draw three kinds of waves that begin anywhere; or one wave, and where it begins is the kind."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    begins = random.integers(0, 24, n) if anywhere else 8 * y + random.integers(0, 3, n)
    shapes = np.stack([np.sin(np.arange(24) * 2 * np.pi * (k + 1) / 24) for k in range(3)])
    waves = shapes[y if anywhere else np.zeros(n, dtype=int)]
    x = np.stack([np.roll(wave, begin) for wave, begin in zip(waves, begins, strict=True)])
    return x + 0.3 * random.standard_normal(x.shape), y


def moved(images: Images, most: int, times: int = 3) -> Images:
    random = np.random.default_rng(1)
    x, y = images
    rolled = [np.roll(row, random.integers(-most, most + 1)) for _ in range(times) for row in x]
    return np.stack(rolled), np.tile(y, times)


@pytest.mark.parametrize(("anywhere", "helps"), [(True, True), (False, False)])
def test_copies_that_may_be_moved_promise_and_others_threaten(anywhere: bool, helps: bool) -> None:
    train, held = signals(90, 0, anywhere=anywhere), signals(200, 5, anywhere=anywhere)
    found = copies.promised(train, moved(train, 8), held, 3)
    assert found["images"] == 200
    assert found["low"] <= found["value"] <= found["high"] < 1
    assert (found["low"] > 0.2) if helps else (found["high"] < -0.2)


def test_copies_that_are_no_others_promise_nothing() -> None:
    train, held = signals(60, 0, anywhere=True), signals(100, 5, anywhere=True)
    found = copies.promised(train, moved(train, 0), held, 3)
    assert abs(found["value"]) < 0.02


def test_a_training_without_augmentation_asks_what_light_would_bring() -> None:
    settings = Settings(model="mlp", augment="none", seed=1)
    data = prepare(load("digits"), settings, QUIET)
    found = promise(data, settings)
    assert found is not None
    assert (found["now"], found["then"]) == ("none", "light")
    assert found == promise(data, settings), "nothing in it is left to luck"
    assert promise(data, settings.model_copy(update={"augment": "light"})) is None
