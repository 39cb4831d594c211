"""Images in their source -> one array of pixels and a record of every entry: decoded once, kept in the cache.

The pixels of files are written to the cache one block after the other, so memory stays flat and a full disk is an error
rather than a crash. What is believed about a source is what its files say: their paths, sizes and times of change.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sightline import files
from sightline.data import cache as caches
from sightline.data.decode import Coloured, Unreadable, read_size, refuse_lenient
from sightline.data.fingerprint import dhashes, digests
from sightline.data.images import Images
from sightline.data.packing import BLOCK, all_grey, blocks
from sightline.data.preprocess import Preprocessing, Resize
from sightline.data.records import Records, join
from sightline.data.resize import resize_pixels
from sightline.errors import RunError, SettingsError, SourceError
from sightline.progress import Progress

SIZES = (32, 48, 64, 96, 128)
"""Sides in pixels that are chosen from where the images have different or large sizes."""

_SAMPLE = 1000  # files whose headers decide the size


@dataclass(frozen=True, eq=False)
class Pixels:
    """The readable entries of a source as one array.

    Attributes:
        array: read-only; images uint8 or float32 M,H,W,C, signals M,C,L, volumes M,C,D,H,W.
        images: the M readable entries, row i of them belongs to row i of ``array``.
        rows: int64 (M,), ascending: their rows in the source, and in ``records``.
        records: what is known of all N entries of the source.
        place: the folder in the cache that holds the array, or None if it is in memory.
        preprocessing: shape and policy; mean and standard deviation are still to be fitted.
    """

    array: NDArray[Any]
    images: Images
    rows: NDArray[np.int64]
    records: Records
    place: Path | None
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.array)

    @property
    def digests(self) -> NDArray[np.uint64]:
        """A number for each row that equal images share, uint64 (M,)."""
        return self.records.digest[self.rows]


def choose_size(images: Images) -> tuple[tuple[int, ...], str]:
    """Choose the size to train at: the native one if it is small and common to all, else a round one below it.

    Args:
        images: for files, the headers of up to 1,000 of them are read, evenly spread.

    Returns:
        The spatial size (images (height, width) in pixels, signals (length,), volumes (depth, height, width)), and a
        sentence that says why.

    Raises:
        SourceError: none of the files looked at is an image.
    """
    if images.array is not None:
        size = _spatial(images)
        return size, f"{_by(size)}, as the array has it."
    paths = _paths(images)
    spread = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), _SAMPLE)).astype(int))
    sizes, faults = [], []
    for row in spread:
        try:
            sizes.append(read_size(paths[row]))
        except Unreadable as fault:
            faults.append(f"{images.label_of(int(row))} ({fault.reason})")
    if not sizes:
        raise SourceError(
            f"none of the {len(paths):,} files of '{images.name}' is an image: {', '.join(faults[:3])}.",
            "Check that this is the right folder.",
        )
    looked = "all" if len(spread) == len(paths) else f"{len(spread):,} of {len(paths):,}"
    if len(set(sizes)) == 1 and max(sizes[0]) <= SIZES[-2]:
        return sizes[0], f"{_by(sizes[0])}, the native size of {looked} images looked at."
    shorter = float(np.median([min(size) for size in sizes]))
    side = max((side for side in SIZES if side <= shorter), default=SIZES[0])
    return (side, side), (
        f"{side} x {side} pixels: the largest of {', '.join(map(str, SIZES))} that is not above the median shorter "
        f"side, {shorter:g} pixels ({looked} images looked at)."
        if side <= shorter
        else f"{side} x {side} pixels, the smallest choice: the median shorter side is {shorter:g} pixels."
    )


def pack(
    images: Images,
    image_size: int | Sequence[int] | None = None,
    resize: Resize = "pad",
    *,
    strict: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Pixels:
    """Decode all images to one size, or take them from the cache if neither files nor settings have changed.

    Grey images stay one channel if all of them are grey (equal channels at every pixel), else all become RGB. Arrays
    are used as they are: uint8 stays, floats become float32 in their own units, integers of 0..255 become uint8.

    Args:
        images: the source; a bad file is left out and recorded.
        image_size: side in pixels, or (height, width); None: ``choose_size`` decides.
        resize: ``pad``, ``crop`` or ``squash``, see ``resize.py``.
        strict: refuse a source with an unreadable file.
        cache: the cache folder; None: $SIGHTLINE_CACHE or the user's.
        progress: told of each image decoded.

    Raises:
        SourceError: nothing can be read, a class has no readable image, an array holds NaN or infinite values, or
            ``strict`` and a file cannot be read.
        SettingsError: ``image_size`` or ``resize`` cannot be.
        RunError: the cache cannot be written.
    """
    size = _checked(images, image_size, resize)
    if images.array is not None:
        return _from_array(images, size or _spatial(images), resize)
    refuse_lenient()
    size = size or choose_size(images)[0]
    height, width = size
    paths = _paths(images)
    stats = _stats(paths)
    place = caches.place(cache, images.name, _key(paths, stats, (height, width), resize))
    found = caches.read(place)
    if found is None:
        start = 1 if all_grey(paths, (height, width)) else 3
        try:
            _build(place, images, stats, (height, width), resize, start, progress)
        except Coloured:
            _build(place, images, stats, (height, width), resize, 3, progress)
        found = caches.read(place)
    if found is None:
        raise RunError(f"'{place}' vanished while it was made.", "Run the same command again.")
    array, records = found
    refuse_bad(images, records, strict)
    rows = np.flatnonzero(records.readable)
    return Pixels(
        array=array,
        images=images if len(rows) == len(images) else images.select(rows),
        rows=rows,
        records=records,
        place=place,
        preprocessing=Preprocessing("image", array.shape[3], (height, width), resize),
    )


def refuse_bad(images: Images, records: Records, strict: bool) -> None:
    """Refuse a source that unreadable files have left unusable.

    Raises:
        SourceError: nothing is readable, a class has lost all its images, or ``strict`` and anything is unreadable.
    """
    readable = records.readable
    bad = np.flatnonzero(~readable)
    if not len(bad):
        return
    named = _named(images, records, bad)
    if len(bad) == len(images):
        raise SourceError(
            f"none of the {len(images):,} files of '{images.name}' can be read: {named}.",
            "Check that this is the right folder and that the files were copied whole.",
        )
    if strict:
        raise SourceError(
            f"{len(bad):,} of {len(images):,} files of '{images.name}' cannot be read, and strict is set: {named}.",
            "Repair or remove them, or leave strict off: they are then left out and reported.",
        )
    lost = np.flatnonzero(
        (images.counts() > 0) & (np.bincount(images.labels[readable], minlength=len(images.classes)) == 0)
    )
    if len(lost):
        own = bad[images.labels[bad] == lost[0]]
        raise SourceError(
            f"class '{images.classes[lost[0]]}' has no readable image: {_named(images, records, own)}.",
            "Repair these files, or remove the class.",
        )


def _named(images: Images, records: Records, rows: NDArray[np.int64], most: int = 3) -> str:
    named = ", ".join(f"{images.label_of(int(row))} ({records.error[row]})" for row in rows[:most])
    return named + (f" and {len(rows) - most:,} more" if len(rows) > most else "")


def _checked(images: Images, image_size: int | Sequence[int] | None, resize: str) -> tuple[int, ...] | None:
    """Refuse a size or policy that cannot be; give the size as (height, width)."""
    if resize not in get_args(Resize):
        raise SettingsError(f"resize is '{resize}', which is no resize policy.", "Use one of: pad, crop, squash.")
    if image_size is None:
        return None
    if images.kind != "image":
        raise SettingsError(
            f"image_size is {image_size}, but '{images.name}' holds {images.kind}s, which are taken as they are.",
            "Leave image_size out.",
        )
    size = tuple(image_size) if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(size) != 2 or not all(isinstance(side, int | np.integer) and 1 <= side <= 8192 for side in size):
        raise SettingsError(
            f"image_size is {image_size}, which is no size.", "Give a side such as 96, or height and width, 1 to 8192."
        )
    return int(size[0]), int(size[1])


def _spatial(images: Images) -> tuple[int, ...]:
    assert images.array is not None
    return tuple(images.array.shape[1:3] if images.kind == "image" else images.array.shape[2:])


def _paths(images: Images) -> NDArray[np.str_]:
    assert images.paths is not None
    return images.paths


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size)) + (" steps" if len(size) == 1 else " pixels")


# ---- files ----


def _stats(paths: NDArray[np.str_]) -> NDArray[np.int64]:
    """Read size in bytes and time of change in ns of each file, int64 (N, 2); -1 for one that is not there."""
    result = np.full((len(paths), 2), -1, np.int64)
    for row, path in enumerate(paths):
        try:
            stat = os.stat(path)
        except OSError:
            continue
        result[row] = stat.st_size, stat.st_mtime_ns
    return result


def _key(paths: NDArray[np.str_], stats: NDArray[np.int64], size: tuple[int, int], resize: str) -> str:
    """Give 16 hexadecimal digits that change with any file, its place, the size, the policy, or the format."""
    digest = hashlib.blake2b(f"{caches.FORMAT} {size[0]}x{size[1]} {resize}\n".encode(), digest_size=8)
    digest.update("\0".join(paths.tolist()).encode("utf-8", "surrogateescape"))
    digest.update(stats.tobytes())
    return digest.hexdigest()


def _build(
    place: Path,
    images: Images,
    stats: NDArray[np.int64],
    size: tuple[int, int],
    resize: Resize,
    channels: int,
    progress: Progress | None,
) -> None:
    """Decode all files into a new cache folder.

    Raises:
        Coloured: ``channels`` is 1 and a colour image turned up.
        SourceError: not one file can be read.
    """
    shape = (*size, channels)
    with caches.building(place) as folder:
        parts, count = [], 0
        with files.whole(folder / caches.PIXELS) as path, path.open("wb") as file:
            start = _header(file, (len(images), *shape))
            with (
                nullcontext() if progress is None else progress.task("Decoding", total=len(images)) as task,
                closing(blocks(_paths(images), stats[:, 0], size, resize, channels)) as decoded,
            ):
                for records, pixels in decoded:
                    parts.append(records)
                    count += len(pixels)
                    file.write(pixels.data)
                    if task is not None:
                        task.advance(len(records))
            file.seek(0)
            assert _header(file, (count, *shape)) == start
        records = join(parts)
        if not count:
            refuse_bad(images, records, strict=False)
        rest = records.save(folder / caches.RECORDS, length=stats[:, 0], changed=stats[:, 1])
        manifest = {
            "format": caches.FORMAT,
            "name": _text(images.name),
            "root": None if images.root is None else _text(str(images.root)),
            "shape": [count, *shape],
            "resize": resize,
            "files": len(images),
            "records": rest,
        }
        files.write_json(folder / caches.MANIFEST, manifest)


def _text(name: str) -> str:
    """Give a name that can be written as UTF-8: names of files need not be text."""
    return name.encode("utf-8", "replace").decode()


def _header(file: Any, shape: tuple[int, ...]) -> int:
    """Write the header of an ``.npy`` file of uint8; it leaves room for any number of rows."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return int(file.tell())


# ---- arrays ----


def _from_array(images: Images, size: tuple[int, ...], resize: Resize) -> Pixels:
    """Bring an array to the form of the pixel store; nothing is copied where nothing changes."""
    assert images.array is not None
    given = images.array[..., None] if images.kind == "image" and images.array.ndim == 3 else images.array
    dtype = _stored(given)
    native = _spatial(images)
    chunk = max(1, BLOCK // max(1, int(np.prod(given.shape[1:])) * 4))
    same = given.dtype == dtype and size == native
    shape = (len(given), *size, given.shape[3]) if images.kind == "image" else given.shape
    array = given.view() if same else np.empty(shape, dtype)
    bad: list[int] = []
    for start in range(0, len(given), chunk):
        rows = slice(start, start + chunk)
        part = given[rows]
        if part.dtype != dtype:
            with np.errstate(over="ignore"):
                part = (part * np.uint8(255) if part.dtype == bool else part).astype(dtype)
        if dtype == np.float32:
            finite = np.isfinite(part.reshape(len(part), -1)).all(axis=1)
            bad.extend((np.flatnonzero(~finite) + start).tolist())
        if bad or same:
            continue
        array[rows] = part if size == native else [resize_pixels(one, (size[0], size[1]), resize) for one in part]
    if bad:
        raise SourceError(
            f"{len(bad):,} of {len(given):,} rows of '{images.name}' hold NaN or infinite values, the first is row "
            f"{bad[0]}.",
            "Repair or remove these rows.",
        )
    array.flags.writeable = False
    count, channels = len(given), given.shape[-1 if images.kind == "image" else 1]
    width = np.full(count, native[-1], np.int32)
    height = np.full(count, native[-2] if len(native) > 1 else 1, np.int32)
    stored: Literal["uint8", "float32"] = "uint8" if dtype == np.uint8 else "float32"
    similar = [dhashes(array[start : start + chunk]) for start in range(0, count, chunk) if images.kind == "image"]
    records = Records(
        width=width,
        height=height,
        mode=np.full(count, {1: "L", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels")),
        format=np.full(count, "array"),
        oddities=[()] * count,
        error=[None] * count,
        digest=digests(array, width, height),
        dhash=np.concatenate(similar) if similar else np.zeros(count, np.uint64),
    )
    preprocessing = Preprocessing(images.kind, channels, size, resize, stored)
    return Pixels(array, images, np.arange(count), records, None, preprocessing)


def _stored(array: NDArray[Any]) -> type[np.uint8] | type[np.float32]:
    """Choose what an array is kept as: uint8 if it is, or holds only whole numbers 0..255 by its type, else float32."""
    if array.dtype == np.uint8 or array.dtype == bool:
        return np.uint8
    if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255:
        return np.uint8
    return np.float32
