"""Data sets that live in Python (Hugging Face ``datasets``, torch ``Dataset`` and ``DataLoader``) -> Images.

Known by what they can do, so neither library is imported. Samples are taken once, in order. Numbers become one array.
Pictures (``PIL.Image``) become one array too if they are small, of one size, and all grey or all RGB; any others are
written without loss into the user's cache, in a folder named after their content, and treated like files from then on.
What Hugging Face has as encoded images is taken as it is: local files where they are, bytes as they are.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline import files
from sightline.data import cache
from sightline.data.arrays import Part, as_array, assemble, from_pair
from sightline.data.folders import IMAGE_EXTENSIONS
from sightline.data.images import Images, Split
from sightline.data.labels import SPLIT_NAMES, index_classes, join_splits, listed, name_labels
from sightline.errors import SourceError, did_you_mean
from sightline.progress import Progress

SMALL = 96
"""Pictures with no side longer than this stay in memory."""

PICTURES = ("image", "img", "x")
LABELS = ("label", "labels", "fine_label", "target", "class", "y")
"""What the columns of a Hugging Face data set are called where their types leave a doubt, the likeliest first."""


def is_data_set(source: Any) -> bool:
    """Tell whether samples can be taken from this: a Hugging Face or torch data set, or a loader."""
    if isinstance(source, (str, bytes, list, tuple, Mapping, Iterator, np.ndarray)) or hasattr(source, "detach"):
        return False
    return hasattr(source, "__iter__") or (hasattr(source, "__getitem__") and hasattr(source, "__len__"))


def read_splits(source: Mapping[Any, Any], *, progress: Progress | None = None) -> Images:
    """Read a dict of splits, such as a Hugging Face ``DatasetDict``.

    Args:
        source: split names as folders have them (``train``, ``validation``, ``test``, ...), each with a pair
            ``(x, y)`` of arrays, or each with a data set.
        progress: shows the reading of data sets.

    Raises:
        SourceError: a name is no split's, or a part cannot be used.
    """
    named: dict[Split, Any] = {}
    strange = []
    for name in source:
        split = SPLIT_NAMES.get(str(name).lower())
        if split is None:
            strange.append(str(name))
        elif split in named:
            raise SourceError(f"both '{named[split]}' and '{name}' mean {split}.", "Keep one of them.")
        else:
            named[split] = name
    if not named:
        guess = did_you_mean(strange[0].lower(), SPLIT_NAMES) if strange else ""
        raise SourceError(
            f"this dict has {listed(strange)}; a dict of splits is needed.{guess}",
            "Give {'train': (x, y), 'test': (x, y)}; a split is one of: " + ", ".join(SPLIT_NAMES) + ".",
        )
    aside = [f"parts that are no split: {listed(strange)}"] if strange else []
    pairs = {split: source[name] for split, name in named.items() if isinstance(source[name], tuple)}
    if not pairs:
        return read_data_sets({split: source[name] for split, name in named.items()}, aside, progress=progress)
    if len(pairs) < len(named) or any(len(pair) != 2 for pair in pairs.values()):
        raise SourceError("the parts of this dict are not all pairs (x, y).", "Give pairs only, or data sets only.")
    parts = [from_pair(*pair, split=split) for split, pair in pairs.items()]
    return assemble(parts, aside, name="arrays", layout="dict of splits")


def read_data_sets(sets: Mapping[Any, Any], aside: Sequence[str] = (), *, progress: Progress | None = None) -> Images:
    """Read one data set, or one for each split.

    Args:
        sets: split, or None for the only one, to a Hugging Face data set with a column of pictures or arrays and one
            of labels, or to a torch data set or loader of ``(x, y)``: x a tensor C,H,W, C,L, L or C,D,H,W, an array
            H,W[,C], or a picture; y a whole number or a string.
        aside: sentences about what was left aside before.
        progress: shows how many samples have been taken.

    Returns:
        Images with ``array``, or with ``paths``, of local files or in the user's cache.

    Raises:
        SourceError: a sample is no pair or cannot be read, shapes differ, or labels cannot be used.
    """
    told = list(aside)
    names: list[NDArray[np.str_]] = []
    opened = {split: _open(data, told) for split, data in sets.items()}
    with _Keeper() as keeper, (progress or Progress(quiet=True)).task("Taking samples", _total(sets)) as task:
        for split, data in opened.items():
            what = "the labels" if split is None else f"the labels of {split}"
            labels = []
            for row, sample in enumerate(_taken(data)):
                x, y = _two(sample, row)
                keeper.add(x, row)
                labels.append(_one(y, row, what))
                task.advance()
            if not labels:
                raise SourceError(f"the {data.kind}{f' {split}' if split else ''} is empty.", "Give samples (x, y).")
            names.append(name_labels(np.array(labels), classes=data.classes, what=what))
        first = next(iter(opened.values()))
        if keeper.arrays:
            starts = np.cumsum([0, *map(len, names)])
            parts = [
                Part(np.stack(keeper.arrays[start : start + len(part)]), part, split, "the samples")
                for start, part, split in zip(starts, names, opened, strict=False)
            ]
            return assemble(parts, told, name=first.name, layout=first.kind)
        root, paths = keeper.finish()
    classes, numbers = index_classes(np.concatenate(names))
    return Images(
        name=first.name,
        layout=f"{first.kind}, {'its files' if root is None else 'its pictures kept as files in the cache'}",
        kind="image",
        classes=classes,
        labels=numbers,
        paths=np.array(paths, dtype=np.str_),
        splits=join_splits([(split, len(part)) for split, part in zip(opened, names, strict=True)]),
        ignored=tuple(told),
        root=root,
    )


def _total(sets: Mapping[Any, Any]) -> int | None:
    """Count the samples of all sets, where they know it; a loader counts batches, so its data set is asked."""
    try:
        return sum(len(getattr(data, "dataset", data)) for data in sets.values())
    except TypeError:
        return None


@dataclass(frozen=True)
class _Opened:
    """A data set of whatever make: what to call it, its class names if it has any, and its samples."""

    name: str
    kind: str
    classes: tuple[str, ...] | None
    samples: Iterator[Any]


def _open(data: Any, told: list[str]) -> _Opened:
    name = type(data).__name__
    if isinstance(getattr(data, "features", None), Mapping):
        return _open_columns(data, name)
    kind = "data set of (x, y)"
    batches = False
    if hasattr(data, "dataset") and hasattr(data, "batch_size"):
        kind = "loader of (x, y)"
        plain = getattr(getattr(data, "collate_fn", None), "__name__", "") in ("default_collate", "default_convert")
        if plain and hasattr(data.dataset, "__getitem__") and hasattr(data.dataset, "__len__"):
            told.append("the loader's order, batches and sampler: its data set was read")
            data = data.dataset
        else:
            batches = True
    if batches:
        samples = (pair for batch in data for pair in zip(*_two(batch, 0), strict=True))
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        samples = (data[row] for row in range(len(data)))
    else:
        samples = iter(data)
    knowing = data
    while not hasattr(knowing, "classes") and hasattr(knowing, "dataset"):  # a Subset knows them by its parent
        knowing = knowing.dataset
    classes = getattr(knowing, "classes", None)
    known = isinstance(classes, (list, tuple)) and all(isinstance(item, str) for item in classes)
    return _Opened(name, kind, tuple(classes) if known and classes is not None else None, samples)


def _open_columns(data: Any, name: str) -> _Opened:
    """Find the columns of pictures and labels in a Hugging Face data set."""
    features = data.features
    pictures = [key for key, kind in features.items() if type(kind).__name__ == "Image"]
    pictures = pictures or [key for key in PICTURES if key in features]
    labels = [key for key, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    labels = [key for key in LABELS if key in labels] or labels or [key for key in LABELS if key in features]
    if len(pictures) != 1 or not labels or (len(labels) > 1 and labels[0] not in LABELS):
        raise SourceError(
            f"this data set has the columns {listed(features)}; which is the image and which the label is not clear.",
            "Rename them with rename_column to 'image' and 'label', and remove other columns of images.",
        )
    picture, label = pictures[0], labels[0]
    classes = getattr(features[label], "names", None)
    if hasattr(data, "select_columns"):  # or other columns would be decoded too
        data = data.select_columns([picture, label])
    if type(features[picture]).__name__ == "Image" and hasattr(data, "cast_column") and _is_photo(data, picture):
        data = data.cast_column(picture, type(features[picture])(decode=False))  # gives {"bytes": ..., "path": ...}
    samples = ((row[picture], row[label]) for row in data)
    return _Opened(name, "Hugging Face data set", tuple(classes) if classes else None, samples)


def _is_photo(data: Any, column: str) -> bool:
    """Tell by its first row whether the pictures of a data set are better taken encoded, as files."""
    if not hasattr(data, "__len__") or not len(data):
        return False
    try:
        first = data[0][column]
    except OSError:
        return True
    return _is_picture(first) and max(first.size) > SMALL


def _is_picture(x: Any) -> bool:
    return hasattr(x, "convert") and hasattr(x, "getbands")


def _taken(data: _Opened) -> Iterator[Any]:
    row = 0
    while True:
        try:
            sample = next(data.samples)
        except StopIteration:
            return
        except OSError as error:
            raise SourceError(
                f"sample {row} of the {data.kind} cannot be read: {error}.",
                "Leave it out of the data set; `sightline check` on a folder names every such file.",
            ) from None
        yield sample
        row += 1


def _two(sample: Any, row: int) -> tuple[Any, Any]:
    if not isinstance(sample, (tuple, list)) or len(sample) != 2:
        told = f"{len(sample)} things" if isinstance(sample, (tuple, list)) else f"a {type(sample).__name__}"
        raise SourceError(f"sample {row} is {told}, not a pair (x, y).", "Make the data set give (x, y).")
    return sample[0], sample[1]


def _one(label: Any, row: int, what: str) -> Any:
    if isinstance(label, (str, int)):
        return label
    value = as_array(label)
    if value.size != 1:
        raise SourceError(f"{what}: sample {row} has one of shape {value.shape}.", "A label is one number or string.")
    return value.item()


class _Keeper:
    """Takes samples one by one: keeps them as arrays, or, from the first picture that does not fit, as files."""

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
        self._paths: list[str] = []
        self._folder: Path | None = None
        self._digest = hashlib.sha256()
        self._numbers = False

    def __enter__(self) -> _Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, x: Any, row: int) -> None:
        """Take the x of sample ``row``."""
        picture, encoded = _is_picture(x), isinstance(x, Mapping) and "bytes" in x
        numbers = not picture and not encoded
        if (self.arrays or self._paths) and numbers != self._numbers:
            raise SourceError(f"sample {row} is a {type(x).__name__}, those before are not.", "Give one kind only.")
        self._numbers = numbers
        if numbers:
            self._add_numbers(x, row)
        elif encoded:
            self._add_encoded(x)
        elif not self._paths and x.mode in ("L", "RGB") and max(x.size) <= SMALL and self._fits(x):
            self.arrays.append(_pixels(x))
        else:
            self._write_arrays()
            self._write_picture(x)

    def finish(self) -> tuple[Path | None, list[str]]:
        """Give the folder with what was written its final name, which says what is in it.

        Returns:
            The folder, or None where nothing had to be written; and the paths of all files.
        """
        if self._folder is None:
            return None, self._paths
        final = self._folder.with_name(self._digest.hexdigest()[:32])
        if not final.exists():
            try:
                self._folder.rename(final)
            except OSError:  # another process has just made the same one
                if not final.exists():
                    raise
        return final, [str(final / path) for path in self._paths]

    def _fits(self, x: Any) -> bool:
        return not self.arrays or self.arrays[0].shape == (x.size[1], x.size[0], len(x.getbands()))

    def _add_numbers(self, x: Any, row: int) -> None:
        array = as_array(x)
        if hasattr(x, "detach") and array.ndim == 3 and (array.shape[0] <= 4 or array.shape[0] < min(array.shape[1:])):
            array = np.moveaxis(array, 0, -1)  # torch's images are C,H,W
        if self.arrays and array.shape != self.arrays[0].shape:
            raise SourceError(
                f"sample {row} has shape {array.shape}, sample 0 has {self.arrays[0].shape}.",
                "Make the data set give samples of one size, or give pictures (PIL), which may differ.",
            )
        if array.dtype.kind not in "biuf":
            raise SourceError(
                f"sample {row} is a {type(x).__name__} of no numbers.", "Give tensors, arrays or pictures."
            )
        self.arrays.append(array)

    def _add_encoded(self, x: Mapping[str, Any]) -> None:
        self._write_arrays()
        path, content = str(x.get("path") or ""), x["bytes"]
        if content is None:
            self._paths.append(os.path.abspath(path))  # if it is not there, the decoder says so
        else:
            extension = os.path.splitext(path)[1].lower()
            self._write(content, extension if extension in IMAGE_EXTENSIONS else _extension(content))

    def _write_arrays(self) -> None:
        """Turn what was kept as arrays into files, because not all that follows can be."""
        from PIL import Image

        kept, self.arrays = self.arrays, []
        for array in kept:
            self._write_picture(Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array))

    def _write_picture(self, x: Any) -> None:
        bare = x.copy()  # without EXIF, or the decoder would turn it again
        bare.info = {key: value for key, value in x.info.items() if key == "transparency"}
        content = io.BytesIO()
        # Photos take 50 times as long to write as PNG than as plain TIFF, which has no transparent palette.
        kind = "png" if x.mode in ("1", "P") else "tiff"
        bare.save(content, kind)
        self._write(content.getvalue(), f".{kind}")

    def _write(self, content: bytes, extension: str) -> None:
        if self._folder is None:
            place = files.cache_folder() / "objects"
            cache.sweep(place)
            mark = f".part-{os.getpid()}-{socket.gethostname()}-{uuid.uuid4().hex[:8]}"  # as the pixel cache has them
            self._folder = files.make_folder(place / mark)
        name = f"{len(self._paths):07d}{extension}"
        try:
            (self._folder / name).write_bytes(content)
        except OSError as error:
            raise SourceError(
                f"'{self._folder.parent}' cannot be written: {error.strerror or error}.",
                "Free some space, or choose another folder with the environment variable SIGHTLINE_CACHE.",
            ) from None
        self._digest.update(len(content).to_bytes(8, "big") + content)
        self._paths.append(name)


def _pixels(picture: Any) -> NDArray[Any]:
    array = np.array(picture)
    return array[..., None] if array.ndim == 2 else array


def _extension(content: bytes) -> str:
    """Find the extension of an encoded image from its content; ``.img`` if nobody knows it."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            return f".{(picture.format or 'img').lower()}"
    except Exception:  # a broken file can make Pillow raise anything; the decoder will say what
        return ".img"
