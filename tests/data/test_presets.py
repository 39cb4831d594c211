"""Presets: light and strong do what they say, and nothing is mirrored that might not be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sightline.data.augment import Augment
from sightline.data.mirror import compare, keeps_label
from sightline.data.preprocess import Preprocessing
from sightline.data.presets import PRESETS, preset
from sightline.errors import SettingsError

COLOUR = Preprocessing("image", 3, (32, 32))
GREY = Preprocessing("image", 1, (28, 28))
SIGNAL = Preprocessing("signal", 2, (100,))
VOLUME = Preprocessing("volume", 1, (8, 8, 8))
THINGS = ("ant", "bee", "sea horse")


def blobs(*, sided: bool, count: int = 600, seed: int = 0) -> tuple[Any, Any]:
    """Bright blobs: the class is their height; if ``sided``, the side they are on."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    near, far = random.integers(2, 5, count), random.integers(2, 14, count)
    place = np.where(labels == 1, 15 - near, near)
    pixels = random.integers(0, 60, (count, 16, 16, 1))
    down, right = (far, place) if sided else (place, far)
    for k in range(count):
        pixels[k, max(0, down[k] - 2) : down[k] + 2, max(0, right[k] - 2) : right[k] + 2] += 150
    return pixels.astype(np.uint8), labels


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (THINGS, True),
        (("airplane", "automobile", "T-shirt"), True),
        (("n01440764", "n01443537"), True),
        (("Löwenzahn", "Gänseblümchen"), True),
        (tuple("0123456789"), False),
        (("a", "b", "c"), False),
        (("p", "q"), False),
        (("あ", "い"), False),
        (("zero", "one", "two"), False),
        (("digit_0", "digit_1"), False),
        (("character_1_ka", "character_2_kha"), False),
        (("turnLeft", "straight"), False),
        (("links", "rechts"), False),
        (("thumb", "hand-right"), False),
        (("class 1", "class 2"), False),
        (("c0", "c1"), False),
        (("stop sign", "yield sign"), False),
        (("dog", "cat", "street sign"), True),
    ],
)
def test_names_decide_first(names: tuple[str, ...], allowed: bool) -> None:
    assert keeps_label(names, COLOUR)[0] is allowed


def test_digits_under_innocent_names_are_seen_in_the_pixels() -> None:
    digits = load_digits()
    pixels = (digits.images * 255 / 16).astype(np.uint8)[..., None]
    names = ["cup", "bow", "fan", "hat", "jar", "key", "log", "map", "net", "oar"]
    allowed, why = keeps_label(names, Preprocessing("image", 1, (8, 8)), pixels, digits.target)
    assert not allowed
    assert "mirror images" in why
    assert "%" in why


@pytest.mark.parametrize("sided", [True, False])
def test_pixels_show_whether_sides_matter(sided: bool) -> None:
    pixels, labels = blobs(sided=sided)
    allowed, why = keeps_label(("low", "high"), Preprocessing("image", 1, (16, 16)), pixels, labels)
    assert allowed is not sided
    assert "linear classifier" in why


def test_only_training_rows_are_looked_at() -> None:
    pixels, labels = blobs(sided=True)
    pixels[300:] = 0
    plain, mirrored, _, _ = compare(pixels, labels, np.arange(300))
    assert plain > 0.9
    assert mirrored < 0.2


def test_pixels_that_show_nothing_leave_it_to_the_names() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(200) % 2
    assert keeps_label(("ant", "bee"), Preprocessing("image", 1, (8, 8)), noise, labels)[0]
    assert not keeps_label(("1", "2"), Preprocessing("image", 1, (8, 8)), noise, labels)[0]


def test_signals_and_volumes_are_never_mirrored() -> None:
    for preprocessing in (SIGNAL, VOLUME):
        for name in [*PRESETS, "auto"]:
            spec, why = preset(name, preprocessing, THINGS)
            assert not spec.flip
            assert why
        assert preset("light,flip=on", preprocessing, THINGS)[0].flip


@pytest.mark.parametrize("name", [*PRESETS, "auto"])
@pytest.mark.parametrize("preprocessing", [COLOUR, GREY, SIGNAL, VOLUME])
def test_every_preset_fits_every_kind_of_data(name: str, preprocessing: Preprocessing) -> None:
    spec, why = preset(name, preprocessing, THINGS)
    spec.check(preprocessing)
    assert str(spec) in why
    assert not spec.mixes


def test_none_is_nothing() -> None:
    assert preset("none", COLOUR, THINGS)[0] == Augment()


def test_the_reason_names_the_setting_that_changes_it() -> None:
    spec, why = preset("auto", GREY, tuple("0123456789"))
    assert not spec.flip
    assert spec.border == "edge"
    assert "--augment auto,flip=on" in why
    assert preset("auto,flip=on", GREY, tuple("0123456789"))[0].flip
    spec, why = preset("light", COLOUR, THINGS)
    assert spec.flip
    assert "--augment light,flip=off" in why


def test_auto_is_light_and_strong_does_more() -> None:
    assert preset("auto", COLOUR, THINGS)[0] == preset("light", COLOUR, THINGS)[0]
    for kind in ("image", "signal", "volume"):
        light, strong = (PRESETS[name].amounts[kind].as_dict() for name in ("light", "strong"))
        assert all(strong[knob] >= amount for knob, amount in light.items() if knob != "border")


def test_single_knobs_follow_the_name() -> None:
    spec, _ = preset("strong, rotate=25,erase=0, border=constant,mixup=0.2", COLOUR, THINGS)
    assert (spec.rotate, spec.erase, spec.border, spec.mixup) == (25, 0, "constant", 0.2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stong", "Did you mean 'strong'"),
        ("light,flp=on", "Did you mean 'flip'"),
        ("light,flip", "Give on or off"),
        ("light,rotate=much", "Give a number"),
        ("light,rotate=999", "0 to 180"),
        ("light,border=wrap", "reflect, edge, constant"),
    ],
)
def test_what_cannot_be_read_is_one_clear_message(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        preset(text, COLOUR, THINGS)
    assert told in str(caught.value)


def test_saturation_is_not_forced_on_grey_images() -> None:
    assert preset("strong", GREY, THINGS)[0].saturation == 0
    with pytest.raises(SettingsError, match="3 channels"):
        preset("light,saturation=0.5", GREY, THINGS)
