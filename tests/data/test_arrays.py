"""Arrays and labels: what a shape means, which label is which class, what is refused and with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline.data.images import Images, natural_key
from sightline.data.labels import index_classes, name_labels
from sightline.data.sources import load
from sightline.errors import SourceError


def of_shape(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Give numbers 0..100 of a shape."""
    return (np.arange(np.prod(shape)).reshape(shape) % 101).astype(dtype)


def labels(count: int, classes: int = 2) -> NDArray[np.int64]:
    return np.arange(count) % classes


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


def refused(source: object) -> str:
    with pytest.raises(SourceError) as error:
        load(source)
    assert error.value.hint
    return str(error.value)


def names(images: Images) -> list[str]:
    return [images.classes[label] for label in images.labels]


# what a shape means


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "result"),
    [
        ((8, 140), np.float32, "signal", (8, 1, 140)),
        ((8, 784), np.uint8, "signal", (8, 1, 784)),
        ((8, 12, 1000), np.float32, "signal", (8, 12, 1000)),
        ((8, 3, 128), np.float64, "signal", (8, 3, 128)),
        ((8, 9, 128), np.int64, "signal", (8, 9, 128)),
        ((8, 1, 60), np.uint8, "signal", (8, 1, 60)),
        ((8, 1, 2), np.float32, "signal", (8, 1, 2)),
        ((8, 28, 28), np.float32, "image", (8, 28, 28, 1)),
        ((8, 8, 8), np.float32, "image", (8, 8, 8, 1)),
        ((8, 12, 20), np.float32, "image", (8, 12, 20, 1)),
        ((8, 12, 1000), np.uint8, "image", (8, 12, 1000, 1)),
        ((8, 64, 256), np.float32, "image", (8, 64, 256, 1)),
        ((8, 28, 28, 1), np.uint8, "image", (8, 28, 28, 1)),
        ((8, 32, 48, 3), np.uint8, "image", (8, 32, 48, 3)),
        ((8, 3, 32, 48), np.uint8, "image", (8, 32, 48, 3)),
        ((8, 1, 28, 28), np.float32, "image", (8, 28, 28, 1)),
        ((8, 3, 32, 3), np.uint8, "image", (8, 3, 32, 3)),
        ((8, 64, 64, 13), np.uint8, "image", (8, 64, 64, 13)),
        ((8, 13, 64, 64), np.uint8, "image", (8, 64, 64, 13)),
        ((8, 1, 16, 16, 16), np.float32, "volume", (8, 1, 16, 16, 16)),
        ((8, 3, 4, 16, 16), np.uint8, "volume", (8, 3, 4, 16, 16)),
    ],
)
def test_shapes(shape: tuple[int, ...], dtype: Any, kind: str, result: tuple[int, ...]) -> None:
    images = load((of_shape(*shape, dtype=dtype), labels(8)))
    assert images.kind == kind
    assert images.array is not None
    assert images.array.shape == result
    assert images.paths is None
    assert images.array.flags["C_CONTIGUOUS"]
    assert "read as" in images.layout


def test_channels_first_are_moved_not_reshaped() -> None:
    x = of_shape(4, 3, 10, 12, dtype=np.uint8)
    images = load((x, labels(4)))
    assert images.array is not None
    np.testing.assert_array_equal(images.array[2, 4, 5], x[2, :, 4, 5])


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        ((8,), "a sample must have pixels"),
        ((0, 8, 8), "nothing is in it"),
        ((8, 0, 8), "nothing is in it"),
        ((8, 1000, 12), "x.transpose(0, 2, 1)"),
        ((8, 140, 1), "x.transpose(0, 2, 1)"),
        ((8, 16, 16, 16), "x[:, None]"),
        ((8, 16, 16, 16, 1), "numpy.moveaxis(x, -1, 1)"),
        ((2, 2, 2, 2, 2, 2), "6 axes"),
    ],
)
def test_shapes_that_mean_nothing(shape: tuple[int, ...], word: str) -> None:
    assert word in refused((of_shape(*shape), labels(shape[0])))


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [
        (np.uint8, np.uint8),
        (np.int64, np.uint8),
        (np.int16, np.uint8),
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float32),
    ],
)
def test_number_types(given_type: Any, kept: Any) -> None:
    x = of_shape(4, 8, 8, dtype=given_type)
    images = load((x, labels(4)))
    assert images.array is not None
    assert images.array.dtype == kept
    np.testing.assert_array_equal(images.array[..., 0], x.astype(kept))


def test_numbers_beyond_a_byte_stay_themselves() -> None:
    x = of_shape(4, 8, 8, dtype=np.uint16) * 600
    images = load((x, labels(4)))
    assert images.array is not None
    assert images.array.dtype == np.float32
    np.testing.assert_array_equal(images.array[..., 0], x)


def test_truth_values_become_black_and_white() -> None:
    images = load((of_shape(4, 8, 8) > 50, labels(4)))
    assert images.array is not None
    assert set(np.unique(images.array)) == {0, 255}


def test_signals_are_floats() -> None:
    images = load((of_shape(4, 60, dtype=np.uint8), labels(4)))
    assert images.array is not None
    assert images.array.dtype == np.float32


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
@pytest.mark.parametrize("shape", [(9, 8, 8), (9, 60), (9, 1, 4, 4, 4)])
def test_pixels_that_are_no_numbers(value: float, word: str, shape: tuple[int, ...]) -> None:
    x = of_shape(*shape)
    x[3].flat[5] = x[7].flat[0] = value
    assert f"x: row 3 has {word} pixels (and 1 more rows)" in refused((x, labels(9)))


def test_numbers_too_large_for_a_float32() -> None:
    x = of_shape(4, 8, 8, dtype=np.float64)
    x[2, 0, 0] = 1e300
    assert "row 2 has infinite pixels" in refused((x, labels(4)))


@pytest.mark.parametrize("x", [of_shape(4, 8, 8).astype(complex), np.full((4, 8, 8), "a"), [[1, 2], [3]]])
def test_pixels_of_no_use(x: Any) -> None:
    refused((x, labels(len(x))))


def test_the_given_array_is_left_alone() -> None:
    x = of_shape(4, 8, 8, dtype=np.float64)
    before = x.copy()
    load((x, labels(4)))
    np.testing.assert_array_equal(x, before)


# which label is which class


def test_integers_are_named_by_themselves_in_natural_order() -> None:
    images = load((of_shape(6, 8, 8), [10, 9, 2, 10, 9, 2]))
    assert images.classes == ("2", "9", "10")
    assert images.labels.tolist() == [2, 1, 0, 2, 1, 0]
    assert images.labels.dtype == np.int64


@pytest.mark.parametrize(
    "y",
    [
        ["b", "a", "b", "a"],
        np.array(["b", "a", "b", "a"]),
        np.array(["b", "a", "b", "a"], dtype=object),
        np.array([b"b", b"a", b"b", b"a"]),
        [" b", "a ", "b", "a"],
    ],
)
def test_labels_may_be_strings(y: Any) -> None:
    images = load((of_shape(4, 8, 8), y))
    assert images.classes == ("a", "b")
    assert images.labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float32, np.float64, bool, object])
def test_labels_may_be_numbers_of_any_type(dtype: Any) -> None:
    images = load((of_shape(4, 8, 8), np.array([1, 0, 1, 0]).astype(dtype)))
    assert images.classes == ("0", "1")
    assert images.labels.tolist() == [1, 0, 1, 0]


def test_labels_may_be_a_column() -> None:
    assert load((of_shape(4, 8, 8), np.array([[1], [0], [1], [0]]))).labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("y", "word"),
    [
        ([0, 1, np.nan, 1], "row 2 has nan, no whole number"),
        ([0, 1, np.inf, 1], "row 2 has inf, no whole number"),
        ([0, 0.5, 1, 1.5], "row 1 has 0.5, no whole number (and 1 more rows)"),
        (["a", "", "a", "b"], "row 1 has '', an empty label"),
        (np.eye(4), "labels.argmax(axis=1)"),
        (np.zeros((4, 2, 2)), "a list of labels"),
        (np.array(["a", None, "b", "a"], dtype=object), "row 1 is None"),
        (np.array([1 + 2j] * 4), "of type complex"),
        ([0, 1, 0], "x has 4 rows and its labels have 3"),
        ([0, 1, 0, 1, 0], "x has 4 rows and its labels have 5"),
        ([1, 1, 1, 1], "one class, '1'"),
        ([0, 1, 1, 1], "only one image of class '0'"),
        ([0, 1, 2, 3], "4 classes for 4 images"),
    ],
)
def test_labels_that_are_refused(y: Any, word: str) -> None:
    assert word in refused((of_shape(4, 8, 8), y))


@given(st.lists(st.text(min_size=1, max_size=6).filter(lambda text: text.strip()), min_size=1, max_size=30))
def test_a_label_keeps_its_name(words: list[str]) -> None:
    plain = [word.strip() for word in words]
    found = name_labels(np.array(plain, dtype=object))
    classes, numbers = index_classes(found)
    assert [classes[number] for number in numbers] == found.tolist()
    assert sorted(set(found.tolist())) == sorted(classes)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=30))
def test_numbers_are_in_natural_order(numbers: list[int]) -> None:
    classes, found = index_classes(name_labels(np.array(numbers)))
    assert list(classes) == sorted(classes, key=natural_key)
    assert [int(name) for name in classes] == sorted(set(numbers))
    assert [int(classes[k]) for k in found] == numbers


# .npz


def test_npz_pair(tmp_path: Path) -> None:
    images = load(npz(tmp_path, x=of_shape(4, 8, 8), y=["b", "a", "b", "a"]))
    assert (images.name, images.classes, images.splits) == ("data", ("a", "b"), None)
    assert images.layout.startswith("npz, ")
    assert images.root == tmp_path / "data.npz"


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "y_train", "X_test", "y_test"),
        ("X_TRAIN", "Y_TRAIN", "X_HOLDOUT", "Y_HOLDOUT"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_npz_splits(tmp_path: Path, keys: tuple[str, ...]) -> None:
    values = (of_shape(4, 8, 8), [0, 1, 0, 1], of_shape(2, 8, 8) + 1, [0, 2])
    images = load(npz(tmp_path, **dict(zip(keys, values, strict=True))), training=False)
    assert images.splits is not None
    assert images.splits.tolist() == ["train"] * 4 + ["test"] * 2
    assert images.classes == ("0", "1", "2")
    assert images.array is not None
    np.testing.assert_array_equal(images.array[:4, ..., 0], values[0])
    np.testing.assert_array_equal(images.array[4:, ..., 0], values[2])


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "dev"])
def test_npz_with_three_splits(tmp_path: Path, valid: str) -> None:
    arrays = {f"x_{part}": of_shape(4, 60) for part in ("test", valid, "train")}
    images = load(npz(tmp_path, **arrays, **{key.replace("x", "y", 1): labels(4) for key in arrays}))
    assert images.splits is not None
    assert images.splits.tolist() == ["train"] * 4 + ["valid"] * 4 + ["test"] * 4


def test_npz_with_only_a_training_part_has_no_split(tmp_path: Path) -> None:
    assert load(npz(tmp_path, X_train=of_shape(4, 60), y_train=labels(4))).splits is None


def test_npz_class_names_are_put_in_order(tmp_path: Path) -> None:
    images = load(npz(tmp_path, x=of_shape(6, 8, 8), y=[0, 1, 2] * 2, classes=["pear", "apple", "fig"]))
    assert images.classes == ("apple", "fig", "pear")
    assert names(images) == ["pear", "apple", "fig"] * 2


def test_npz_what_has_no_meaning_is_told(tmp_path: Path) -> None:
    images = load(npz(tmp_path, x=of_shape(4, 8, 8), y=labels(4), weights=np.ones(4)))
    assert images.ignored == ("arrays without a meaning here: 'weights'",)


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({}, "it has nothing"),
        ({"a": [1], "b": [2]}, "has no arrays x and y: it has 'a', 'b'"),
        ({"xtrain": [1]}, "Did you mean 'x_train'?"),
        ({"x": of_shape(4, 8, 8)}, "has 'x' without its 'y'"),
        ({"y_train": [1, 2]}, "has 'y_train' without its 'x'"),
        ({"x": of_shape(4, 8, 8), "X": [1], "y": [0]}, "both 'x' and 'X'"),
        (
            {"x": of_shape(4, 8, 8), "y": labels(4), "x_test": of_shape(4, 8, 8), "y_test": labels(4)},
            "with and without",
        ),
        ({"x": of_shape(4, 8, 8), "y": labels(3)}, "x has 4 rows and its labels have 3"),
        ({"x": of_shape(4, 8, 8), "y": [0, 1, 2, 0], "classes": ["a", "b"]}, "row 2 has 2, out of range"),
        ({"x": of_shape(4, 8, 8), "y": [0, -1, 1, 0], "classes": ["a", "b"]}, "row 1 has -1, out of range"),
        ({"x": of_shape(4, 8, 8), "y": ["a", "b", "c", "a"], "classes": ["a", "b"]}, "row 2 has 'c'"),
        ({"x": of_shape(4, 8, 8), "y": labels(4), "classes": ["a", "a"]}, "no list of different names"),
        ({"x": np.array([None, 1], dtype=object), "y": [0, 1]}, "array 'x' in"),
        (
            {"x_train": of_shape(4, 8, 8), "y_train": labels(4), "x_test": of_shape(4, 9, 8), "y_test": labels(4)},
            "x_test has shape (4, 9, 8), x_train has (4, 8, 8)",
        ),
        (
            {
                "x_train": of_shape(4, 8, 8, dtype=np.uint8),
                "y_train": labels(4),
                "x_test": of_shape(4, 8, 8),
                "y_test": labels(4),
            },
            "different number types: x_train uint8, x_test float32",
        ),
    ],
)
def test_npz_that_is_refused(tmp_path: Path, arrays: dict[str, Any], word: str) -> None:
    assert word in refused(npz(tmp_path, **arrays))


def test_npz_never_runs_a_pickle(tmp_path: Path) -> None:
    message = refused(npz(tmp_path, x=of_shape(4, 8, 8), y=np.array([{"a": 1}] * 4, dtype=object)))
    assert "array 'y'" in message
    assert "never reads pickles" in message


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_npz_that_is_damaged(tmp_path: Path, keep: int) -> None:
    path = npz(tmp_path, x=of_shape(40, 8, 8), y=labels(40))
    path.write_bytes(path.read_bytes()[:keep])
    assert "cannot be read as .npz" in refused(path)


def test_npz_with_flipped_bytes(tmp_path: Path) -> None:
    path = npz(tmp_path, x=of_shape(40, 8, 8), y=labels(40))
    content = bytearray(path.read_bytes())
    content[5000] ^= 0xFF
    path.write_bytes(bytes(content))
    assert "cannot be read as .npz" in refused(path)


def test_npz_that_is_an_npy(tmp_path: Path) -> None:
    with (tmp_path / "x.npz").open("wb") as file:
        np.save(file, of_shape(4, 8))
    assert "holds one array" in refused(tmp_path / "x.npz")


# in memory


def test_a_dict_of_splits() -> None:
    images = load(
        {"train": (of_shape(4, 8, 8), list("abab")), "Validation": (of_shape(2, 8, 8), ["a", "c"])}, training=False
    )
    assert images.splits is not None
    assert images.splits.tolist() == ["train"] * 4 + ["valid"] * 2
    assert images.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ({}, "this dict has nothing"),
        ({"x": 1, "y": 2}, "this dict has 'x', 'y'"),
        ({"tain": (1, 2)}, "Did you mean 'train'?"),
        ({"val": (1, 2), "dev": (1, 2)}, "both 'val' and 'dev' mean valid"),
        ({"train": (of_shape(4, 8, 8), labels(4), 3)}, "not all pairs"),
    ],
)
def test_dicts_that_are_refused(source: dict[str, Any], word: str) -> None:
    assert word in refused(source)


def test_torch_tensors() -> None:
    import torch

    x = torch.arange(4 * 3 * 8 * 10).reshape(4, 3, 8, 10).to(torch.uint8)
    images = load((x, torch.tensor([0, 1, 0, 1])))
    assert images.array is not None
    assert images.array.shape == (4, 8, 10, 3)
    np.testing.assert_array_equal(images.array[1, 2, 3], x[1, :, 2, 3].numpy())
    half = load((torch.rand(4, 60, requires_grad=True).to(torch.bfloat16), torch.tensor([0, 1, 0, 1])))
    assert half.array is not None
    assert half.array.dtype == np.float32
