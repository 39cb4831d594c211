"""A source -> one array, decoded once: found again, never half, bad files left out."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.data import cache as caches
from sightline.data import packing
from sightline.data.cache import cached, clear
from sightline.data.decode import decode
from sightline.data.images import Images
from sightline.data.pixels import Pixels, choose_size, pack
from sightline.data.resize import resize_pixels
from sightline.errors import RunError, SettingsError, SourceError

CLASSES = ("bar", "disc", "grid")


def listed(root: Path) -> Images:
    """The images of class folders, without the help of the room next door."""
    classes = tuple(sorted(folder.name for folder in root.iterdir()))
    found = [(str(path), k) for k, name in enumerate(classes) for path in sorted((root / name).iterdir())]
    paths, labels = zip(*found, strict=True)
    return Images(root.name, "class folders", "image", classes, np.array(labels), paths=np.array(paths), root=root)


def arrayed(array: Any, kind: Any = "image", **more: Any) -> Images:
    return Images("given", "array", kind, ("a", "b"), np.arange(len(array)) % 2, array=array, **more)


@pytest.fixture
def root(tmp_path: Path, draw_folder: Callable[..., Path]) -> Path:
    return draw_folder(tmp_path / "photos", per_class=5)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def undecodable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give a switch after which decoding anything is a failure."""

    def fail(*_: Any) -> Any:
        raise AssertionError("decoded again")

    return lambda: monkeypatch.setattr(packing, "decode", fail)


# ---- files ----


def test_rows_are_the_decoded_files_in_order(root: Path, place: Path) -> None:
    images = listed(root)
    pixels = pack(images, (16, 20), "crop", cache=place)
    assert pixels.array.shape == (15, 16, 20, 3)
    assert images.paths is not None
    for row, path in enumerate(images.paths):
        np.testing.assert_array_equal(pixels.array[row], decode(path, (16, 20), "crop").pixels)
    assert pixels.rows.tolist() == list(range(15))
    assert pixels.images is images
    assert pixels.records.width.tolist() == [24] * 15
    assert set(pixels.records.mode) == {"RGB"}
    assert set(pixels.records.format) == {"PNG"}
    assert len(np.unique(pixels.records.digest)) == 15
    spec = pixels.preprocessing
    assert (spec.kind, spec.shape, spec.resize, spec.stored, spec.mean) == ("image", (3, 16, 20), "crop", "uint8", ())
    with pytest.raises(ValueError, match="read-only"):
        pixels.array[0] = 0


def test_packing_changes_no_file(root: Path, place: Path) -> None:
    def picture() -> dict[str, tuple[str, int]]:
        return {
            str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in root.rglob("*")
            if path.is_file()
        }

    before = picture()
    pack(listed(root), 8, cache=place)
    assert picture() == before


def test_what_was_decoded_is_found_again(root: Path, place: Path, undecodable: Callable[[], None]) -> None:
    (root / "bar" / "9.png").write_bytes(b"no image")
    images = listed(root)
    first = pack(images, 8, cache=place)
    undecodable()
    second = pack(images, 8, cache=place)
    assert second.place == first.place
    np.testing.assert_array_equal(second.array, first.array)
    assert isinstance(second.array.base, np.memmap)
    for name in ("width", "height", "mode", "format", "digest", "dhash"):
        np.testing.assert_array_equal(getattr(second.records, name), getattr(first.records, name))
    assert second.records.oddities == first.records.oddities
    assert second.records.error == first.records.error
    assert second.rows.tolist() == first.rows.tolist()


@pytest.mark.parametrize("change", ["content", "time", "place", "size", "policy", "fewer"])
def test_any_change_is_decoded_anew(root: Path, place: Path, change: str) -> None:
    first = pack(listed(root), 8, cache=place)
    size, resize = 8, "pad"
    if change == "content":
        Image.new("RGB", (24, 24), "red").save(root / "bar" / "0.png")
    elif change == "time":
        os.utime(root / "bar" / "0.png", ns=(1, 1))
    elif change == "place":
        root = root.rename(root.with_name("moved"))
    elif change == "size":
        size = 9
    elif change == "policy":
        resize = "squash"
    else:
        (root / "bar" / "0.png").unlink()
    second = pack(listed(root), size, resize, cache=place)  # type: ignore[arg-type]
    assert second.place != first.place
    assert len(second) == (14 if change == "fewer" else 15)
    if change == "content":
        assert (second.array[0] == (255, 0, 0)).all()


def test_bad_files_are_left_out_and_told(root: Path, place: Path) -> None:
    whole = (root / "bar" / "1.png").read_bytes()
    (root / "bar" / "1.png").write_bytes(whole[:300])
    (root / "disc" / "2.png").write_bytes(b"")
    (root / "grid" / "7.png").symlink_to("nowhere.png")
    (root / "grid" / "8.png").mkdir()
    images = listed(root)
    pixels = pack(images, 8, cache=place)
    assert len(images) == 17
    assert len(pixels) == len(pixels.images) == 13
    errors = {images.label_of(row): error for row, error in enumerate(pixels.records.error) if error}
    assert set(errors) == {"bar/1.png", "disc/2.png", "grid/7.png", "grid/8.png"}
    assert errors["bar/1.png"].startswith("truncated")
    assert errors["disc/2.png"] == "zero bytes"
    assert errors["grid/7.png"] == "a broken link"
    assert pixels.images.paths is not None
    assert images.paths is not None
    assert pixels.images.paths.tolist() == images.paths[pixels.rows].tolist()
    assert (pixels.records.digest[~pixels.records.readable] == 0).all()
    with pytest.raises(SourceError, match=r"4 of 17 files.*bar/1\.png \(truncated") as caught:
        pack(images, 8, cache=place, strict=True)
    assert "strict" in caught.value.hint


def test_nothing_readable_and_a_lost_class_are_refused(root: Path, place: Path) -> None:
    for path in (root / "disc").iterdir():
        path.write_text("gone")
    with pytest.raises(SourceError, match=r"class 'disc' has no readable image: disc/0\.png \(not an image"):
        pack(listed(root), 8, cache=place)
    for path in [*(root / "bar").iterdir(), *(root / "grid").iterdir()]:
        path.write_text("gone")
    with pytest.raises(SourceError, match="none of the 15 files"):
        pack(listed(root), 8, cache=place)
    with pytest.raises(SourceError, match="none of the 15 files"):
        pack(listed(root), cache=place)
    assert len(cached(place)) == 1


def test_grey_stays_one_channel_until_a_colour_turns_up(
    tmp_path: Path, place: Path, draw_folder: Callable[..., Path]
) -> None:
    root = draw_folder(tmp_path / "grey", per_class=40, mode="L")
    grey = pack(listed(root), 12, cache=place)
    assert grey.array.shape == (120, 12, 12, 1)
    Image.new("RGB", (24, 24), (10, 200, 10)).save(root / "disc" / "1.png")  # no sample looks at this one
    mixed = pack(listed(root), 12, cache=place)
    assert mixed.array.shape == (120, 12, 12, 3)
    np.testing.assert_array_equal(mixed.array[0], grey.array[0].repeat(3, axis=2))
    assert sorted(set(mixed.records.mode)) == ["L", "RGB"]


def test_progress_counts_every_file(root: Path, place: Path) -> None:
    class Counter:
        def __init__(self) -> None:
            self.total, self.done = 0.0, 0.0

        def task(self, name: str, total: float) -> Any:
            self.total = total
            return self

        def advance(self, amount: float = 1) -> None:
            self.done += amount

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None: ...

    counter = Counter()
    pack(listed(root), 8, cache=place, progress=counter)  # type: ignore[arg-type]
    assert counter.total == counter.done == 15


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_names_that_are_no_text_are_packed(root: Path, place: Path, undecodable: Callable[[], None]) -> None:
    os.rename(root, os.fsencode(root) + b"\xe9")
    odd = Path(os.fsdecode(os.fsencode(root) + b"\xe9"))
    os.rename(odd / "bar" / "0.png", os.fsencode(odd) + b"/bar/\xff0.png")
    pack(listed(odd), 8, cache=place)
    undecodable()
    assert len(pack(listed(odd), 8, cache=place)) == 15
    assert cached(place)[0].name == "photos?"


@pytest.mark.parametrize("size", [0, -3, 10_000, (8, 0), (1, 2, 3), 8.5])
def test_impossible_sizes_are_refused(root: Path, place: Path, size: Any) -> None:
    with pytest.raises(SettingsError, match="image_size"):
        pack(listed(root), size, cache=place)


def test_an_unknown_policy_is_refused(root: Path, place: Path) -> None:
    with pytest.raises(SettingsError, match="resize is 'stretch'"):
        pack(listed(root), 8, "stretch", cache=place)  # type: ignore[arg-type]


# ---- the cache ----


SLOW = """
import sys, time
from pathlib import Path
import numpy as np
from sightline.data import packing
from sightline.data.images import Images
from sightline.data.pixels import pack
slow = packing.decode
def decode(*arguments):
    time.sleep(float(sys.argv[3]))
    return slow(*arguments)
packing.decode = decode
packing._SMALL = 0
root = Path(sys.argv[1])
paths = sorted(str(path) for path in root.glob("*/*"))
names = sorted({Path(path).parent.name for path in paths})
labels = np.array([names.index(Path(path).parent.name) for path in paths])
images = Images(root.name, "class folders", "image", tuple(names), labels, paths=np.array(paths), root=root)
print("start", flush=True)
pack(images, 8, cache=Path(sys.argv[2]))
"""


def start(root: Path, place: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(root), str(place), str(seconds)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_killed_packing_leaves_nothing_that_is_believed(
    tmp_path: Path, place: Path, draw_folder: Callable[..., Path]
) -> None:
    root = draw_folder(tmp_path / "photos", per_class=40)
    process = start(root, place, 0.05)
    with process:
        deadline = time.monotonic() + 30
        while not list((place / "pixels").glob(".part-*/.pixels*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    left = list((place / "pixels").iterdir())
    assert [path.name.startswith(".part-") for path in left] == [True]
    assert cached(place) == []
    pixels = pack(listed(root), 8, cache=place)
    assert list((place / "pixels").iterdir()) == [pixels.place]
    assert len(pixels) == 120


def test_two_processes_that_pack_the_same_do_not_meet(tmp_path: Path, root: Path, place: Path) -> None:
    processes = [start(root, place, 0.02) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    images = listed(root)
    alone = pack(images, 8, cache=tmp_path / "other")
    together = pack(images, 8, cache=place)
    assert list((place / "pixels").iterdir()) == [together.place]
    np.testing.assert_array_equal(together.array, alone.array)


@pytest.mark.parametrize("damage", ["no manifest", "half the pixels", "no records", "manifest", "newer", "rows"])
def test_a_damaged_cache_is_not_believed(root: Path, place: Path, damage: str) -> None:
    first = pack(listed(root), 8, cache=place)
    assert first.place is not None
    wanted, folder = first.array.copy(), first.place
    manifest = json.loads((folder / caches.MANIFEST).read_text())
    if damage == "no manifest":
        (folder / caches.MANIFEST).unlink()
    elif damage == "half the pixels":
        content = (folder / caches.PIXELS).read_bytes()
        (folder / caches.PIXELS).write_bytes(content[: len(content) // 2])
    elif damage == "no records":
        (folder / caches.RECORDS).write_bytes(b"PK")
    elif damage == "manifest":
        (folder / caches.MANIFEST).write_text("{")
    elif damage == "newer":
        (folder / caches.MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    else:
        np.save(folder / caches.PIXELS, np.zeros((3, 8, 8, 3), np.uint8))
    again = pack(listed(root), 8, cache=place)
    np.testing.assert_array_equal(again.array, wanted)
    assert list(folder.parent.iterdir()) == [again.place]


def test_a_cache_that_cannot_be_written_is_told(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not be written") as caught:
        pack(listed(root), 8, cache=tmp_path / "file")
    assert "SIGHTLINE_CACHE" in caught.value.hint


def test_a_full_disk_is_told_and_nothing_is_left(root: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sightline.data.pixels._header", full)
    with pytest.raises(RunError, match="disk is full"):
        pack(listed(root), 8, cache=place)
    assert list((place / "pixels").iterdir()) == []


def test_listing_and_clearing(root: Path, place: Path, draw_folder: Callable[..., Path]) -> None:
    small, large = pack(listed(root), 8, cache=place), pack(listed(root), 32, cache=place)
    assert small.place is not None
    assert large.place is not None
    os.utime(small.place / caches.MANIFEST, (1, 1))
    found = cached(place)
    assert [one.place for one in found] == [large.place, small.place]
    assert {one.name for one in found} == {"photos"}
    assert found[0].bytes > 15 * 32 * 32 * 3 > found[1].bytes
    pack(listed(root), 8, cache=place)  # used again
    assert [one.place for one in cached(place)] == [small.place, large.place]
    assert [one.place for one in clear(small.place, cache=place)] == [small.place]
    assert not small.place.exists()
    with pytest.raises(RunError, match="no packed set"):
        clear(root, cache=place)
    stale = place / "pixels" / f".part-999999999-{__import__('socket').gethostname()}-0123abcd"
    shutil.copytree(large.place, stale)
    clear(cache=place)
    assert list((place / "pixels").iterdir()) == []
    assert clear(cache=place) == []
    assert len(list(root.rglob("*.png"))) == 15


def test_the_environment_says_where_the_cache_is(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "there"))
    pixels = pack(listed(root), 8)
    assert pixels.place is not None
    assert pixels.place.is_relative_to(tmp_path / "there")


# ---- the size ----


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(8, 8)] * 3, (8, 8)),
        ([(28, 28)] * 3, (28, 28)),
        ([(64, 48)] * 3, (48, 64)),
        ([(96, 96)] * 3, (96, 96)),
        ([(100, 100)] * 3, (96, 96)),
        ([(30, 30), (40, 40), (70, 90)], (32, 32)),
        ([(640, 480), (500, 333), (480, 640)], (128, 128)),
        ([(10, 12), (11, 12), (12, 12)], (32, 32)),
    ],
)
def test_the_size_is_chosen_from_the_files(
    tmp_path: Path, sizes: list[tuple[int, int]], expected: tuple[int, int]
) -> None:
    (tmp_path / "a").mkdir()
    for number, size in enumerate(sizes):
        Image.new("L", size).save(tmp_path / "a" / f"{number}.png")
    (tmp_path / "a" / "bad.png").write_bytes(b"bad")
    size, why = choose_size(listed(tmp_path))
    assert size == expected
    assert str(expected[0]) in why


def test_arrays_keep_their_size() -> None:
    assert choose_size(arrayed(np.zeros((4, 8, 9), np.uint8)))[0] == (8, 9)
    assert choose_size(arrayed(np.zeros((4, 2, 140), np.float32), "signal"))[0] == (140,)
    assert choose_size(arrayed(np.zeros((4, 1, 5, 6, 7), np.float32), "volume"))[0] == (5, 6, 7)


# ---- arrays ----


def test_bytes_are_used_as_they_are() -> None:
    array = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), np.uint8)
    pixels = pack(arrayed(array))
    assert np.shares_memory(pixels.array, array)
    assert array.flags.writeable
    assert not pixels.array.flags.writeable
    assert pixels.place is None
    assert pixels.preprocessing.shape == (3, 8, 9)
    assert pixels.records.width.tolist() == [9] * 6
    assert pixels.records.height.tolist() == [8] * 6
    assert pack(arrayed(array[..., 0])).array.shape == (6, 8, 9, 1)


@pytest.mark.parametrize(
    ("dtype", "top", "stored"),
    [("bool", 1, "uint8"), ("int64", 255, "uint8"), ("uint16", 256, "float32"), ("int8", -1, "float32"),
     ("float16", 1, "float32"), ("float64", 1, "float32")],
)  # fmt: skip
def test_other_types_become_bytes_or_floats(dtype: str, top: int, stored: str) -> None:
    array = np.zeros((4, 5, 5), dtype)
    array[1, 2, 3] = top
    pixels = pack(arrayed(array))
    assert pixels.array.dtype == stored == pixels.preprocessing.stored
    assert pixels.array[1, 2, 3, 0] == (255 if dtype == "bool" else top)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("kind", ["image", "signal"])
def test_values_that_are_no_numbers_are_refused(bad: float, kind: str) -> None:
    array = np.zeros((300, 4, 40))
    array[[7, 250], 2, 3] = bad
    with pytest.raises(SourceError, match=r"2 of 300 rows.*first is row 7"):
        pack(arrayed(array, kind), image_size=6 if kind == "image" else None)


def test_arrays_are_resized_only_if_asked() -> None:
    array = np.random.default_rng(0).random((5, 12, 20, 3)).astype(np.float32)
    pixels = pack(arrayed(array), (8, 8), "crop")
    assert pixels.array.shape == (5, 8, 8, 3)
    np.testing.assert_array_equal(pixels.array[3], resize_pixels(array[3], (8, 8), "crop"))
    assert pixels.records.width.tolist() == [20] * 5
    assert np.shares_memory(pack(arrayed(array), (12, 20)).array, array)


@pytest.mark.parametrize(("kind", "shape"), [("signal", (6, 2, 30)), ("volume", (6, 1, 4, 5, 6))])
def test_signals_and_volumes_are_taken_as_they_are(kind: Any, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random(shape).astype(np.float32)
    pixels = pack(arrayed(array, kind))
    assert pixels.preprocessing.shape == shape[1:]
    assert len(np.unique(pixels.records.digest)) == 6
    with pytest.raises(SettingsError, match="taken as they are"):
        pack(arrayed(array, kind), 32)


def test_equal_rows_have_equal_digests_however_they_came(root: Path, place: Path) -> None:
    shutil.copy(root / "bar" / "0.png", root / "disc" / "9.png")
    Image.open(root / "bar" / "0.png").save(root / "grid" / "9.tif")

    def digest(pixels: Pixels, name: str) -> int:
        rows = [row for row in range(len(pixels)) if pixels.images.label_of(row) == name]
        return int(pixels.records.digest[pixels.rows[rows[0]]])

    pixels = pack(listed(root), 12, cache=place)
    assert digest(pixels, "bar/0.png") == digest(pixels, "disc/9.png") == digest(pixels, "grid/9.tif")
    assert len(np.unique(pixels.records.digest)) == 15
