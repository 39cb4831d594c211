"""IDX files: the format, the pairs in a folder, and what is refused."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.data.idx import TYPES, is_idx, read_idx
from sightline.data.sources import load
from sightline.errors import SourceError


def idx_bytes(array: NDArray[Any], code: int = 0x08) -> bytes:
    """Write an array as the format's description says."""
    head = struct.pack(">HBB", 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(TYPES[code]).tobytes()


def write(path: Path, array: NDArray[Any], code: int = 0x08) -> Path:
    content = idx_bytes(array, code)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def pair(folder: Path, prefix: str, count: int, end: str = "") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Write images 6 x 5 and labels, and give them."""
    x = (np.arange(count * 30) % 251).astype(np.uint8).reshape(count, 6, 5)
    y = np.arange(count) % 2 * 7
    write(folder / f"{prefix}images-idx3-ubyte{end}", x)
    write(folder / f"{prefix}labels-idx1-ubyte{end}", y)
    return x, y


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_every_number_type(tmp_path: Path, code: int, end: str) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    found = read_idx(write(tmp_path / f"x-idx3-ubyte{end}", array, code))
    np.testing.assert_array_equal(found, array)
    assert found.dtype.isnative


@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_folder_with_the_four_files(tmp_path: Path, end: str) -> None:
    train, y = pair(tmp_path, "train-", 6, end)
    test, _ = pair(tmp_path, "t10k-", 4, end)
    (tmp_path / "README.txt").write_text("about")
    images = load(tmp_path)
    assert images.classes == ("0", "7")
    assert images.splits is not None
    assert images.splits.tolist() == ["train"] * 6 + ["test"] * 4
    assert images.array is not None
    np.testing.assert_array_equal(images.array[..., 0], np.concatenate([train, test]))
    assert [int(images.classes[k]) for k in images.labels[:6]] == y.tolist()
    assert images.layout == "IDX files, N,H,W read as grey images"


def test_one_file_whose_labels_lie_beside_it(tmp_path: Path) -> None:
    x, _ = pair(tmp_path, "emnist-letters-train-", 6, ".gz")
    pair(tmp_path, "emnist-letters-test-", 4)
    images = load(tmp_path / "emnist-letters-train-images-idx3-ubyte.gz")
    assert images.splits is None
    assert images.array is not None
    np.testing.assert_array_equal(images.array[..., 0], x)
    assert images.name == "emnist-letters-train-images-idx3-ubyte"


def test_packed_images_with_plain_labels(tmp_path: Path) -> None:
    pair(tmp_path, "train-", 6)
    images = tmp_path / "train-images-idx3-ubyte"
    images.with_name("train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images.read_bytes()))
    images.unlink()
    assert len(load(tmp_path)) == 6


def refused(path: Path) -> str:
    with pytest.raises(SourceError) as error:
        load(path)
    return str(error.value)


def test_labels_that_are_missing(tmp_path: Path) -> None:
    pair(tmp_path, "train-", 6)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert "'train-labels-idx1-ubyte' or 'train-labels-idx1-ubyte.gz' is missing" in refused(tmp_path)


def test_images_that_are_missing(tmp_path: Path) -> None:
    pair(tmp_path, "train-", 6)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    assert "none of images" in refused(tmp_path)
    assert "is not called like a file of images" in refused(tmp_path / "train-labels-idx1-ubyte")


def test_two_files_for_one_part(tmp_path: Path) -> None:
    pair(tmp_path, "emnist-digits-train-", 6)
    pair(tmp_path, "emnist-letters-train-", 6)
    assert "are both train" in refused(tmp_path)


def test_counts_that_differ(tmp_path: Path) -> None:
    pair(tmp_path, "train-", 6)
    write(tmp_path / "train-labels-idx1-ubyte", np.zeros(5))
    assert "has 6 rows and its labels have 5" in refused(tmp_path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "is no IDX file"),
        (b"\0\0\x08", "is no IDX file"),
        (b"<html><body>not found</body></html>", "is no IDX file"),
        (b"\0\0\x07\x01\0\0\0\0", "is no IDX file"),
        (idx_bytes(np.zeros((4, 3, 3)))[:-1], "is cut off: its header says 4 x 3 x 3, 52 bytes, and it has 51"),
        (idx_bytes(np.zeros((4, 3, 3))) + b"x", "is too long"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "is cut off"),
        (gzip.compress(idx_bytes(np.zeros((4, 3, 3))), mtime=0)[:-9], "cannot be read"),
        (b"\x1f\x8b", "cannot be read"),
    ],
)
def test_files_that_are_damaged(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=word):
        read_idx(path)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels.idx1-ubyte", "A-IMAGES-IDX3-UBYTE.GZ"])
def test_names(name: str) -> None:
    assert is_idx(name)
    assert not is_idx(f"{name}.txt")
