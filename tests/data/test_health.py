"""Images and pixels -> findings: each rule speaks when it should, and is silent when it should be."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits

from sightline.data.health import RULES, check, wilson
from sightline.data.images import Images
from sightline.data.pixels import pack
from sightline.data.shortcuts import guess
from sightline.data.split import Split
from sightline.finding import Finding


def photo(seed: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> Image.Image:
    """A picture like no other: soft blobs of colour with some grain; ``size`` is width and height."""
    random = np.random.default_rng(seed)
    blobs = Image.fromarray(random.integers(0, 256, (7, 7, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = random.normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(blobs) + grain).clip(0, 255).astype(np.uint8)).convert(mode)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    memory = io.BytesIO()
    image.save(memory, "JPEG", quality=quality)
    return Image.open(memory)


def arrayed(pictures: Any, labels: Any = None, **more: Any) -> Images:
    """A set of pictures in memory; two classes in turn unless said otherwise."""
    array = np.stack([np.asarray(picture) for picture in pictures])
    labels = np.arange(len(array)) % 2 if labels is None else np.asarray(labels)
    classes = tuple("abcdefghij"[: int(labels.max()) + 1])
    return Images("drawn", "array", more.pop("kind", "image"), classes, labels, array=array, **more)


@pytest.fixture
def foldered(tmp_path: Path) -> Callable[..., Images]:
    """Give a function that saves {name: picture or bytes} into class folders and lists them."""

    def save(files: dict[str, Image.Image | bytes]) -> Images:
        paths = []
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                content.save(path)
            paths.append(path)
        classes = tuple(sorted({path.parent.name for path in paths}))
        labels = np.array([classes.index(path.parent.name) for path in paths])
        return Images(
            "photos", "class folders", "image", classes, labels, paths=np.array([str(p) for p in paths]), root=tmp_path
        )

    return save


def found(images: Images, split: Split | None = None, **options: Any) -> dict[str, Finding]:
    """Check and give the findings by code; every one must be whole and fit for JSON."""
    findings = check(images, pack(images, **options), split)
    for finding in findings:
        json.dumps(finding.as_dict(), allow_nan=False)
        assert finding.code.startswith("data/")
        assert finding.message.endswith(".")
        assert finding.advice.endswith(".")
        assert any(character.isdigit() for character in finding.message)
    by_code = {finding.code: finding for finding in findings}
    assert len(by_code) == len(findings)
    order = [("error", "warning", "note").index(finding.severity) for finding in findings]
    assert order == sorted(order)
    return by_code


def split(count: int, train: float = 0.6) -> Split:
    a, b = int(train * count), int((1 + train) / 2 * count)
    rows = np.arange(count)
    return Split(rows[:a], rows[a:b], rows[b:])


def test_a_sound_set_has_nothing_but_a_small_size(foldered: Callable[..., Images]) -> None:
    codes = found(foldered({f"{'ab'[k % 2]}/{k}.png": photo(k) for k in range(60)}))
    assert set(codes) == {"data/small-validation"}
    assert len(RULES) == 12


# ---- files ----


def test_unreadable_files_are_counted_by_reason(foldered: Callable[..., Images]) -> None:
    files: dict[str, Image.Image | bytes] = {f"{'ab'[k % 2]}/{k}.png": photo(k) for k in range(50)}
    finding = found(foldered({**files, "a/x.jpg": b"", "a/y.jpg": b"", "b/z.jpg": b"words"}))["data/unreadable-file"]
    assert finding.severity == "warning"
    assert "3 of 53 files" in finding.message
    assert "2 zero bytes, 1 not an image (text)" in finding.message
    assert finding.evidence["reasons"] == {"zero bytes": 2, "not an image (text)": 1}
    assert finding.evidence["classes"] == {"a": 2, "b": 1}
    assert list(finding.evidence["files"]) == ["a/x.jpg", "a/y.jpg", "b/z.jpg"]
    assert finding.evidence["files"]["b/z.jpg"].startswith("not an image (text)")
    assert "--strict" in finding.advice
    many = {f"a/x{k}.jpg": b"" for k in range(20)}
    assert found(foldered({**files, **many}))["data/unreadable-file"].severity == "error"


def test_odd_files_are_counted_by_oddity(foldered: Callable[..., Images]) -> None:
    files: dict[str, Image.Image | bytes] = {f"{'ab'[k % 2]}/{k}.png": photo(k) for k in range(20)}
    assert "data/odd-file" not in found(foldered(files))
    mild = found(foldered({**files, "a/p.png": photo(30).quantize(8)}))["data/odd-file"]
    assert mild.severity == "note"
    more = {
        "a/p.png": photo(30).quantize(8),
        "a/c.jpg": photo(31).convert("CMYK"),
        "b/c.jpg": photo(32).convert("CMYK"),
    }
    serious = found(foldered({**files, **more}))["data/odd-file"]
    assert serious.severity == "warning"
    assert "3 of 23 files are odd but readable: 2 CMYK, 1 palette" in serious.message
    assert serious.evidence["files"] == {"a/c.jpg": "CMYK", "a/p.png": "palette", "b/c.jpg": "CMYK"}
    assert "profile" in serious.evidence["done"]["CMYK"]


def test_different_ranges_of_deep_files_are_told(foldered: Callable[..., Images]) -> None:
    def deep(top: int, seed: int) -> Image.Image:
        return Image.fromarray((np.asarray(photo(seed, mode="L")) / 255.0 * top).astype(np.uint16))

    files = {f"{'ab'[k % 2]}/{k}.png": deep(65535, k) for k in range(8)}
    assert "data/mixed-range" not in found(foldered(files))
    mixed = found(foldered({**files, "a/dark.png": deep(4000, 9)}))["data/mixed-range"]
    assert mixed.evidence["counts"] == {"16-bit": 8, "12-bit in 16": 1}


@pytest.mark.parametrize("kind", ["image", "signal"])
def test_images_that_show_nothing_are_listed(kind: str) -> None:
    pictures = [np.asarray(photo(k, (30, 30), "L"), np.float32) / 255 for k in range(30)]
    pictures[4] = np.full((30, 30), 0.5, np.float32)
    pictures[9] = pictures[9] * 0.005
    finding = found(arrayed(pictures, kind=kind))["data/constant-image"]
    assert finding.evidence["files"] == ["row 4", "row 9"]
    bytes_ = [(picture * 255).astype(np.uint8) for picture in pictures]
    assert found(arrayed(bytes_))["data/constant-image"].evidence["count"] == 2


# ---- duplicates ----


def test_copies_contradictions_and_leaks_are_told_apart() -> None:
    pictures = [photo(k) for k in range(40)]
    labels = np.arange(40) % 2
    pictures[2] = pictures[0]  # the same label, both in training
    pictures[5] = pictures[4]  # another label, both in training
    pictures[38] = pictures[8]  # the same label, training and test
    codes = found(arrayed(pictures, labels), split(40))
    copy, contradiction, leak = (
        codes[f"data/{name}"] for name in ("exact-duplicate", "duplicate-across-labels", "duplicate-across-splits")
    )
    assert [group["files"] for group in copy.evidence["listed"]] == [["row 0", "row 2"]]
    assert [group["labels"] for group in contradiction.evidence["listed"]] == [["a", "b"]]
    assert contradiction.evidence["images"] == 2
    assert leak.severity == "error"
    assert leak.evidence["counts"] == {"test in train": 1}
    assert leak.evidence["listed"][0]["splits"] == ["train", "test"]
    assert "1 of 8 test images (12.5%) are in train too" in leak.message
    assert "data/near-duplicate" not in codes
    whole = found(arrayed(pictures, labels))  # without a split there is no leak
    assert "data/duplicate-across-splits" not in whole
    assert whole["data/exact-duplicate"].evidence["images"] == 2


def test_given_splits_are_looked_at_without_being_asked() -> None:
    pictures = [photo(k) for k in range(20)]
    pictures[19] = pictures[0]
    images = arrayed(pictures, np.arange(20) % 2 * 0 + np.r_[np.zeros(10, int), np.ones(10, int)])
    given = Images(**{**vars(images), "splits": np.array(["train"] * 15 + ["valid"] * 5)})
    assert found(given)["data/duplicate-across-splits"].evidence["counts"] == {"valid in train": 1}


def almost(image: Image.Image) -> dict[str, Image.Image]:
    width, height = image.size
    return {
        "recompressed": jpeg(image, 60),
        "resized": image.resize((width // 2, height // 2), Image.Resampling.BOX).resize(image.size),
        "brighter": ImageEnhance.Brightness(image).enhance(1.15),
        "less contrast": ImageEnhance.Contrast(image).enhance(0.7),
        "trimmed": image.crop((1, 1, width - 1, height - 1)).resize(image.size),
    }


@pytest.mark.parametrize("change", list(almost(photo(0))))
def test_near_duplicates_are_found(change: str) -> None:
    pictures = [photo(k) for k in range(200)]
    for row in (150, 160, 170):
        pictures[row] = almost(pictures[row - 100])[change]
    codes = found(arrayed(pictures, np.repeat([0, 1], 100)), split(200))
    finding = codes["data/near-duplicate"]
    assert sorted(pair["files"] for pair in finding.evidence["listed"]) == [
        [f"row {row - 100}", f"row {row}"] for row in (150, 160, 170)
    ]
    assert (finding.evidence["pairs"], finding.evidence["images"]) == (3, 6)
    assert finding.evidence["across_splits"] == 3
    assert finding.evidence["across_labels"] == 3
    assert finding.severity == "warning"
    assert "data/exact-duplicate" not in codes


def silhouettes(count: int) -> NDArray[np.uint8]:
    """Trousers, more or less: a bright shape on black, alike in all images but for a few pixels of its outline."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:28, :28]
    images = []
    for _ in range(count):
        waist, gap, hem = random.integers(4, 8), random.integers(1, 4), random.integers(5, 9)
        outer = abs(columns - 13.5) < waist + (hem - waist) * rows / 28
        legs = (abs(columns - 13.5) > gap * rows / 28) | (rows < random.integers(6, 14))
        images.append((outer & legs) * random.integers(150, 255) + random.integers(0, 25, (28, 28)))
    return np.array(images).clip(0, 255).astype(np.uint8)


def test_things_that_look_alike_are_no_near_duplicates() -> None:
    assert "data/near-duplicate" not in found(arrayed([photo(k) for k in range(300)]))
    digits = load_digits()
    small = arrayed((digits.images * 15.9).astype(np.uint8), digits.target)
    assert "data/near-duplicate" not in found(small)
    enlarged = found(small, image_size=32).get("data/near-duplicate")
    assert enlarged is None or enlarged.evidence["images"] < 0.02 * len(small)


def test_flat_images_are_not_compared() -> None:
    random = np.random.default_rng(0)
    flat = [np.full((32, 32), level, np.uint8) for level in range(100, 200)]
    grain = [random.integers(126, 129, (32, 32)).astype(np.uint8) for _ in range(100)]
    assert "data/near-duplicate" not in found(arrayed([*flat, *grain]))


def test_many_images_with_one_hash_are_no_burden() -> None:
    rows = np.mgrid[:32, :32][1]
    slope = (rows * 6 + 20).astype(np.uint8)
    random = np.random.default_rng(0)
    many = np.stack([slope + random.integers(0, 3, (32, 32)).astype(np.uint8) for _ in range(2000)])
    codes = found(arrayed(many))
    assert codes.get("data/near-duplicate") is None or len(codes["data/near-duplicate"].evidence["listed"]) <= 100


# ---- classes and parts ----


@pytest.mark.parametrize(("small", "severity"), [(40, None), (20, "warning"), (2, "error")])
def test_imbalance_is_told_with_its_ratio(small: int, severity: str | None) -> None:
    labels = np.r_[np.zeros(150, int), np.ones(small, int)]
    random = np.random.default_rng(0)
    finding = found(arrayed(random.integers(0, 256, (len(labels), 8, 8), np.uint8), labels)).get("data/class-imbalance")
    assert (finding.severity if finding else None) == severity
    if finding:
        assert f"'a' has 150 training images and 'b' {small}, a ratio of {150 / small:.1f}" in finding.message
        assert finding.evidence["counts"] == {"a": 150, "b": small}


def test_only_training_images_count_for_balance() -> None:
    labels = np.r_[np.zeros(60, int), np.ones(60, int)]
    parts = Split(np.r_[0:60, 60:66], np.arange(66, 90), np.arange(90, 120))
    codes = found(arrayed(np.random.default_rng(0).integers(0, 256, (120, 8, 8), np.uint8), labels), parts)
    assert codes["data/class-imbalance"].evidence["ratio"] == 10
    assert codes["data/few-images-per-class"].evidence["classes"] == {"b": 6}


@pytest.mark.parametrize(("held_out", "severity"), [(100, "warning"), (200, "note"), (500, None)])
def test_held_out_parts_are_measured_by_their_interval(held_out: int, severity: str | None) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (1200, 4, 4), np.uint8)
    rows = np.arange(1200)
    parts = Split(rows[: 1200 - 2 * held_out], rows[1200 - 2 * held_out : 1200 - held_out], rows[1200 - held_out :])
    finding = found(arrayed(pictures), parts).get("data/small-validation")
    assert (finding.severity if finding else None) == severity
    if held_out == 100:
        assert finding is not None
        assert "has 100 images: a score of 90 % on it can mean anything from 83% to 94%" in finding.message


def test_without_a_split_a_tenth_is_assumed() -> None:
    finding = found(arrayed(np.random.default_rng(0).integers(0, 256, (400, 4, 4), np.uint8)))["data/small-validation"]
    assert finding.evidence["sizes"] == {"valid": 40, "test": 40}
    assert "a tenth, the default" in finding.message


def test_the_interval_is_wilson_s() -> None:
    assert wilson(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert wilson(1.0, 10)[1] == pytest.approx(1.0)


# ---- shortcuts and shapes ----


def test_a_size_that_gives_the_class_away_is_told(foldered: Callable[..., Images]) -> None:
    random = np.random.default_rng(0)
    sizes = [(60 + 30 * (k % 2) + int(random.integers(0, 25)), 60 + int(random.integers(0, 25))) for k in range(160)]
    images = foldered({f"{'ab'[k % 2]}/{k}.png": photo(k, size) for k, size in enumerate(sizes)})
    finding = found(images)["data/size-correlates-with-class"]
    assert finding.severity == "error"
    assert finding.evidence["balanced_accuracy"] > 0.85
    assert finding.evidence["chance"] == 0.5
    assert finding.evidence["median_size"]["b"][0] > finding.evidence["median_size"]["a"][0]


def test_sizes_that_have_nothing_to_do_with_the_class_are_not(foldered: Callable[..., Images]) -> None:
    random = np.random.default_rng(1)
    sizes = [(int(random.integers(50, 90)), int(random.integers(50, 90))) for _ in range(160)]
    labels = random.integers(0, 2, 160)
    images = foldered({f"{'ab'[labels[k]]}/{k}.png": photo(k, size) for k, size in enumerate(sizes)})
    assert "data/size-correlates-with-class" not in found(images)


@given(st.integers(0, 1000), st.integers(2, 6))
def test_a_guess_from_noise_is_chance_and_from_the_label_certain(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), random.integers(0, classes, 300)]
    accuracy, chance, best = guess(random.integers(0, 20, len(labels)), labels)
    assert chance == pytest.approx(1 / classes)
    assert abs(accuracy - chance) < 0.15
    assert chance < best < chance + 0.15
    skewed = np.r_[np.arange(classes).repeat(10), np.zeros(500, int)]  # a large class makes no good guess
    assert guess(np.zeros(len(skewed), int), skewed)[0] == pytest.approx(1 / classes, abs=1e-9)
    assert guess(skewed, skewed)[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("grey", "severity"), [("turns", "note"), ("class", "warning"), ("none", None), ("all", None)])
def test_grey_among_colour_is_told_and_worse_if_it_tells_classes_apart(
    foldered: Callable[..., Images], grey: str, severity: str | None
) -> None:
    pick = {"turns": lambda k: k % 4 < 2, "class": lambda k: k % 2 == 1, "none": lambda k: False, "all": lambda k: True}
    files = {f"{'ab'[k % 2]}/{k}.png": photo(k, mode="L" if pick[grey](k) else "RGB") for k in range(80)}
    finding = found(foldered(files)).get("data/mixed-channels")
    assert (finding.severity if finding else None) == severity
    if finding:
        assert "40 of 80 files are grey" in finding.message
        assert len(finding.evidence["files"]) == 40
    if grey == "class" and finding:
        assert finding.evidence["grey_share"] == {"a": 0.0, "b": 1.0}


@pytest.mark.parametrize(
    ("resize", "words"),
    [
        ("crop", "cropping cuts off 50% of an image"),
        ("pad", "padding makes 50% of an input border"),
        ("squash", "squashing stretches one side 2.00 times"),
    ],
)
def test_the_cost_of_another_shape_is_told(foldered: Callable[..., Images], resize: Any, words: str) -> None:
    images = foldered({f"{'ab'[k % 2]}/{k}.png": photo(k, (128, 64)) for k in range(20)})
    finding = found(images, image_size=64, resize=resize)["data/odd-aspect"]
    assert finding.severity == "warning"
    assert words in finding.message.split("worst")[0]
    assert "`--image-size 48x88`" in finding.advice
    assert finding.evidence["images_over_15_percent"] == 20
    assert "data/odd-aspect" not in found(images, image_size=(32, 64), resize=resize)


def test_images_smaller_than_the_input_are_told(foldered: Callable[..., Images]) -> None:
    images = foldered({f"{'ab'[k % 2]}/{k}.png": photo(k, (32, 32)) for k in range(20)})
    assert "data/enlarged" not in found(images)
    finding = found(images, image_size=128)["data/enlarged"]
    assert finding.severity == "warning"
    assert "20 of 20 images (100%)" in finding.message
    assert "up to 4.0 times" in finding.message


def test_a_single_class_is_checked_too(foldered: Callable[..., Images]) -> None:
    files = {f"a/{k}.png": photo(k, (50 + k, 60), "L" if k % 3 else "RGB") for k in range(20)}
    assert found(foldered(files))["data/mixed-channels"].severity == "note"


def test_signals_and_volumes_are_checked_too() -> None:
    random = np.random.default_rng(0)
    signals = random.normal(size=(50, 2, 40)).astype(np.float32)
    signals[7] = signals[5]
    codes = found(arrayed(signals, kind="signal"))
    assert codes["data/exact-duplicate"].evidence["images"] == 1
    found(arrayed(random.normal(size=(50, 1, 6, 6, 6)).astype(np.float32), kind="volume"))
