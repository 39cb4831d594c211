"""Known names: digits offline, files already there, downloads that break, resume, and are checked."""

from __future__ import annotations

import gzip
import io
import re
import struct
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server import Server, record
from sightline.data.known import KNOWN, Known, kept, load_known
from sightline.data.sources import load
from sightline.errors import SourceError
from sightline.files import cache_folder

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 700_000, dtype=np.uint8))


# the table


def test_the_table_is_complete() -> None:
    for name, entry in KNOWN.items():
        assert name == name.lower()
        assert entry.description
        assert name == "digits" or entry.files
        for file in entry.files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.size > 1000
            assert len({url.split("/")[2] for url in file.urls}) >= 2, "two mirrors on two machines"
            assert all(url.endswith(f"/{file.name}") for url in file.urls)


def test_digits_need_no_network() -> None:
    from sklearn.datasets import load_digits

    images = load("digits")
    assert images.classes == tuple("0123456789")
    assert images.array is not None
    assert (images.array.shape, images.array.dtype) == ((1797, 8, 8, 1), np.uint8)
    assert (images.array.min(), images.array.max()) == (0, 255)
    theirs = load_digits()
    np.testing.assert_array_equal(images.labels, theirs.target)
    np.testing.assert_allclose(images.array[..., 0] / 255, theirs.images / 16, atol=0.5 / 255)
    assert (images.name, images.splits) == ("digits", None)
    assert load("DIGITS").name == "digits"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "digits"])
@pytest.mark.usefixtures("no_network")
def test_nothing_is_downloaded_unless_asked(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as error:
        load(name)
    message = str(error.value)
    assert KNOWN[name].files[0].name in message
    assert KNOWN[name].files[0].urls[0] in message
    assert "--download" in message
    assert "--data-dir" in message
    assert str(tmp_path / "cache" / "datasets" / name) in message
    assert not (tmp_path / "cache").exists()


# the readers, on small files of the same form


def idx_bytes(array: np.ndarray[Any, Any]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def mnist_contents(count: int = 20) -> dict[str, bytes]:
    random = np.random.default_rng(1)
    contents = {}
    for part, rows in (("train", count), ("t10k", count // 2)):
        x = random.integers(0, 256, (rows, 28, 28))
        contents[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(idx_bytes(x))
        contents[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(idx_bytes(np.arange(rows) % 10))
    return contents


def cifar_contents(labels: int, rows: int = 20) -> tuple[dict[str, bytes], np.ndarray[Any, Any]]:
    """Make the files of CIFAR-10 (1 label) or CIFAR-100 (2 labels), and give the pixels N,H,W,C in their order."""
    random = np.random.default_rng(2)
    if labels == 1:
        names = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
        table = {"batches.meta.txt": "".join(f"class {k}\n" for k in range(10)).encode() + b"\n"}
    else:
        names = ["train.bin", "test.bin"]
        table = {
            "fine_label_names.txt": "".join(f"fine_{k}\n" for k in range(10)).encode(),
            "coarse_label_names.txt": b"c\n",
        }
    pixels, contents = [], dict(table)
    for name in names:
        x = random.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8)
        y = np.arange(rows, dtype=np.uint8)[:, None] % 10
        head = [y] if labels == 1 else [np.full_like(y, 77), y]
        contents[name] = np.hstack([*head, x.transpose(0, 3, 1, 2).reshape(rows, -1)]).tobytes()
        pixels.append(x)
    return contents, np.concatenate(pixels)


def packed(folder: str, contents: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def small(name: str, contents: dict[str, bytes], size: int, url: Callable[[str], str]) -> dict[str, Known]:
    """Give the table with one set, whose files have these contents."""
    files = tuple(record(url(file.name), content=contents[file.name], name=file.name) for file in KNOWN[name].files)
    return {name: replace(KNOWN[name], files=files, size=size)}


def nowhere(name: str) -> str:
    return f"http://127.0.0.1:9/{name}"


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_mnist_is_downloaded_once_and_read(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path))
    server.files = mnist_contents()
    table = small(name, server.files, 30, server.url)
    images = load_known(name, download=True, known=table)
    assert (images.name, len(images), len(images.classes)) == (name, 30, 10)
    assert images.counts("train").tolist() == [2] * 10
    assert images.counts("test").tolist() == [1] * 10
    again = load_known(name, known=table)
    np.testing.assert_array_equal(again.labels, images.labels)
    assert len(server.asked) == 4
    assert [(one.place, one.name) for one in kept()] == [(tmp_path / "datasets" / name, name)]


def test_fashion_has_its_names_in_order() -> None:
    contents = mnist_contents()
    folder = cache_folder() / "fashion"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    images = load_known("fashion-mnist", data_dir=folder, known=small("fashion-mnist", contents, 30, nowhere))
    assert images.classes[:3] == ("Ankle boot", "Bag", "Coat")
    assert [images.classes[k] for k in images.labels[:10]] == [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "labels", "size"), [("cifar10", 1, 120), ("cifar100", 2, 40)])
@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.usefixtures("no_network")
def test_cifar_from_files_already_there(name: str, labels: int, size: int, unpacked: bool, tmp_path: Path) -> None:
    contents, pixels = cifar_contents(labels)
    folder = KNOWN[name].folders[0]
    archive = packed(folder, contents)
    if unpacked:
        (tmp_path / folder).mkdir()
        for file, content in contents.items():
            (tmp_path / folder / file).write_bytes(content)
    else:
        (tmp_path / KNOWN[name].files[0].name).write_bytes(archive)
    table = small(name, {KNOWN[name].files[0].name: archive}, size, nowhere)
    images = load_known(name, data_dir=tmp_path, known=table)
    assert images.array is not None
    np.testing.assert_array_equal(images.array, pixels)
    assert [images.classes[k] for k in images.labels[:3]] == [
        f"{'class ' if labels == 1 else 'fine_'}{k}" for k in range(3)
    ]
    assert images.splits is not None
    assert (images.splits == "test").sum() == 20
    assert (images.splits[-20:] == "test").all()


@pytest.mark.parametrize("below", ["", "mnist", "MNIST/raw", "raw"])
@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.usefixtures("no_network")
def test_mnist_where_other_programs_put_it(below: str, unpacked: bool, tmp_path: Path) -> None:
    contents = mnist_contents()
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        path = tmp_path / below / (name.removesuffix(".gz") if unpacked else name)
        path.write_bytes(gzip.decompress(content) if unpacked else content)
    before = sorted(path for path in tmp_path.rglob("*"))
    assert len(load_known("mnist", data_dir=tmp_path, known=small("mnist", contents, 30, nowhere))) == 30
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("no_network")
def test_files_of_another_set_are_not_taken(tmp_path: Path) -> None:
    contents = mnist_contents()
    table = small("mnist", contents, 30, nowhere)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content[:-1] + b"?")
    with pytest.raises(SourceError, match="is not the file of data set 'mnist'"):
        load_known("mnist", data_dir=tmp_path, known=table)
    for name, content in mnist_contents(10).items():
        (tmp_path / name).unlink()
        (tmp_path / name.removesuffix(".gz")).write_bytes(gzip.decompress(content))
    with pytest.raises(SourceError, match="has 30 images, but its files hold 15"):
        load_known("mnist", data_dir=tmp_path, known=table)


@pytest.mark.usefixtures("no_network")
def test_a_pickled_cifar_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(SourceError, match="a pickle, which is never read"):
        load("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("damage", ["cut", "no names", "half a record", "label"])
@pytest.mark.usefixtures("no_network")
def test_cifar_that_is_damaged(damage: str, tmp_path: Path) -> None:
    contents, _ = cifar_contents(1)
    if damage == "no names":
        del contents["batches.meta.txt"]
    elif damage == "half a record":
        contents["data_batch_3.bin"] = contents["data_batch_3.bin"][:-100]
    elif damage == "label":
        contents["data_batch_3.bin"] = b"\x0b" + contents["data_batch_3.bin"][1:]
    archive = packed("cifar-10-batches-bin", contents)
    if damage == "cut":
        archive = archive[: len(archive) // 2]
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(archive)
    table = small("cifar10", {"cifar-10-binary.tar.gz": archive}, 120, nowhere)
    words = {
        "cut": "cannot be read",
        "no names": "names the classes",
        "half a record": "cut off",
        "label": "out of range",
    }
    with pytest.raises(SourceError, match=words[damage]):
        load_known("cifar10", data_dir=tmp_path, known=table)
