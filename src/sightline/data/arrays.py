"""Arrays, an ``.npz`` or pairs in memory -> Images: which shape means what, which label is which class.

How a shape is read (N samples; what was read stands in ``Images.layout``):

====  ==============================================================================================================
2-D   N,L: signals of one channel
3-D   N,C,L signals, if C is 1, or if the numbers are no bytes, C <= 16 and L > 2 C; else N,H,W: grey images.
      So floats (500, 12, 1000) are signals and (500, 28, 28) are images; bytes are images unless C is 1.
      The mirror of a signal, N,L,C, is refused rather than taken for a very narrow image.
4-D   N,H,W,C images; N,C,H,W, as torch has it, if only the second axis can be the channels (1 to 4, or the smallest)
5-D   N,C,D,H,W volumes
====  ==============================================================================================================

A channel axis settles every doubt: (N, H, W, 1) are images, (N, 1, D, H, W) are volumes.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.images import SPLITS, Images, Kind, Split
from sightline.data.labels import SPLIT_NAMES, index_classes, join_splits, listed, name_labels, others, read_classes
from sightline.errors import SourceError, did_you_mean

PIXEL_NAMES = ("x", "images")
LABEL_NAMES = ("y", "labels", "label", "target", "targets")

SIGNAL_CHANNELS = 16
"""A 3-D array of floats with more rows than this is taken for images: no common signal has as many channels."""


@dataclass(frozen=True)
class Part:
    """One part of a source, before it is joined with the others.

    Attributes:
        pixels: N,... of any number type; shapes are read as the module's docstring says.
        names: the class of each row, str (N,), from ``name_labels``.
        split: which split it is, or None.
        what: what messages call the pixels: ``"x_train"``.
    """

    pixels: NDArray[Any]
    names: NDArray[np.str_]
    split: Split | None = None
    what: str = "x"


def read_npz(path: Path) -> Images:
    """Read an ``.npz`` with ``x, y`` or ``x_train, y_train[, x_valid, y_valid][, x_test, y_test]``.

    Names may be in upper or lower case, ``images`` and ``labels`` may stand for x and y, splits may be called as
    folders may (``val``, ``dev``, ``holdout``, ...), before or behind. An optional ``classes`` holds the class names
    that integer labels 0..K-1 mean. Nothing pickled is read.

    Raises:
        SourceError: the file is damaged, holds objects, lacks a pair, or its arrays cannot be used.
    """
    try:
        with path.open("rb") as file:  # numpy leaves a damaged file open when it opens it itself
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                raise SourceError(f"'{path}' holds one array, not images with labels.", _NPZ_HINT)
            arrays = {key: _plain_array(content, key, path) for key in content.files}
    except SourceError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise SourceError(f"'{path}' cannot be read as .npz: {error}.", "Save it again with numpy.savez.") from None
    return assemble(*_pairs(arrays, path), name=path.stem, layout="npz", root=path)


_NPZ_HINT = "Save pairs: numpy.savez(file, x=..., y=...) or x_train, y_train, x_test, y_test."


def _plain_array(content: Mapping[str, NDArray[Any]], key: str, path: Path) -> NDArray[Any]:
    try:
        return content[key]
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise SourceError(
            f"array '{key}' in '{path}' is an object array: it holds pickled Python objects.",
            "Sightline never reads pickles. Save numbers or strings: numpy.stack(...) for pixels of one size, "
            "labels.astype(str) for names.",
        ) from None


def _pairs(arrays: Mapping[str, NDArray[Any]], path: Path) -> tuple[list[Part], list[str]]:
    """Find the pairs of pixels and labels among named arrays; the second value tells what was left aside."""
    found: dict[tuple[str, Split | None], str] = {}
    classes_key, spare = None, []
    for key in arrays:
        role = _role(key)
        if key.lower() == "classes":
            classes_key = key
        elif role is None:
            spare.append(key)
        elif role in found:
            raise SourceError(f"'{path}' has both '{found[role]}' and '{key}', which mean the same.", "Keep one.")
        else:
            found[role] = key
    splits = [split for split in (None, *SPLITS) if ("x", split) in found or ("y", split) in found]
    if not splits:
        guess = did_you_mean(spare[0].lower(), ("x_train", "y_train", "x_test", "y_test")) if spare else ""
        raise SourceError(f"'{path}' has no arrays x and y: it has {listed(arrays)}.{guess}", _NPZ_HINT)
    if None in splits and len(splits) > 1:
        raise SourceError(f"'{path}' has x or y both with and without a split: {listed(arrays)}.", _NPZ_HINT)
    classes = None if classes_key is None else read_classes(arrays[classes_key], f"'classes' in '{path}'")
    parts = []
    for split in splits:
        for one, other in (("x", "y"), ("y", "x")):
            if (one, split) not in found:
                raise SourceError(f"'{path}' has '{found[other, split]}' without its '{one}'.", _NPZ_HINT)
        x, y = found["x", split], found["y", split]
        names = name_labels(arrays[y], classes=classes, what=f"'{y}' in '{path}'")
        parts.append(Part(arrays[x], names, split, x))
    return parts, [f"arrays without a meaning here: {listed(spare)}"] if spare else []


def _role(key: str) -> tuple[str, Split | None] | None:
    words = key.lower().split("_")
    kinds = ["x" if word in PIXEL_NAMES else "y" for word in words if word in (*PIXEL_NAMES, *LABEL_NAMES)]
    splits = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
    if len(kinds) != 1 or len(splits) > 1 or len(words) != 1 + len(splits):
        return None
    return kinds[0], splits[0] if splits else None


def from_pair(x: Any, y: Any, *, split: Split | None = None, classes: Sequence[str] | None = None) -> Part:
    """Take ``(x, y)`` from memory: arrays, tensors, or lists of numbers; y may be strings.

    Raises:
        SourceError: the arrays cannot be used.
    """
    what = "x" if split is None else f"x ({split})"
    pixels = as_array(x)
    if pixels.dtype.kind in "OUS":
        raise SourceError(
            f"{what} holds {'objects' if pixels.dtype == object else 'text'}, not numbers of one shape.",
            "Stack pixels of one size: numpy.stack(...); for files of several sizes give a folder or a manifest.",
        )
    names = name_labels(as_array(y), classes=classes, what="y" if split is None else f"y ({split})")
    return Part(pixels, names, split, what)


def as_array(values: Any) -> NDArray[Any]:
    """Turn a tensor (of any device and type), an array or a list into an array; uneven lists become objects."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":
            values = values.float()
        values = values.numpy()
    try:
        return np.asarray(values)
    except ValueError:
        return np.array([None], dtype=object)


def assemble(
    parts: Sequence[Part], ignored: Iterable[str] = (), *, name: str, layout: str, root: Path | None = None
) -> Images:
    """Join the parts of a source.

    Args:
        parts: one or more; all must hold the same kind of data of one shape.
        ignored: sentences about what was left aside.
        name: of the set.
        layout: what the source is; how its shape was read is added.
        root: where it is.

    Returns:
        Images with ``array``: uint8 as given (bool as 0 and 255, integers 0..255 as they are), else float32; signals
        are always float32. ``splits`` is None unless there are two or more.

    Raises:
        SourceError: lengths, shapes or kinds differ, a pixel is NaN or infinite, or a shape means nothing.
    """
    arrays, kinds, readings = [], [], []
    for part in parts:
        if part.pixels.ndim > 0 and len(part.pixels) != len(part.names):
            raise SourceError(
                f"{part.what} has {len(part.pixels):,} rows and its labels have {len(part.names):,}.",
                "Give exactly one label for each row.",
            )
        kind, array, reading = read_shape(part.pixels, part.what)
        arrays.append(_read_numbers(array, kind, part.what))
        kinds.append(kind)
        readings.append(reading)
    for part, kind, array in zip(parts, kinds, arrays, strict=True):
        if kind != kinds[0] or array.shape[1:] != arrays[0].shape[1:]:
            raise SourceError(
                f"{part.what} has shape {part.pixels.shape}, {parts[0].what} has {parts[0].pixels.shape}.",
                "All parts must have samples of one shape.",
            )
    if len({array.dtype for array in arrays}) > 1:  # one part of bytes, one of floats: their units may differ
        told = ", ".join(f"{part.what} {array.dtype}" for part, array in zip(parts, arrays, strict=True))
        raise SourceError(f"the parts have different number types: {told}.", "Save them all in the same type and unit.")
    classes, labels = index_classes(np.concatenate([part.names for part in parts]))
    return Images(
        name=name,
        layout=f"{layout}, {readings[0]}",
        kind=kinds[0],
        classes=classes,
        labels=labels,
        array=np.ascontiguousarray(arrays[0] if len(arrays) == 1 else np.concatenate(arrays)),
        splits=join_splits([(part.split, len(part.names)) for part in parts]),
        ignored=tuple(ignored),
        root=root,
    )


def read_shape(array: NDArray[Any], what: str) -> tuple[Kind, NDArray[Any], str]:
    """Decide what a shape means; give the array as images N,H,W,C, signals N,C,L or volumes N,C,D,H,W."""
    shape = array.shape
    if 0 in shape or len(shape) < 2:
        raise SourceError(
            f"{what} has shape {shape}: {'nothing is in it' if 0 in shape else 'a sample must have pixels'}.",
            "Give images N,H,W or N,H,W,C, signals N,L or N,C,L, or volumes N,C,D,H,W.",
        )
    if len(shape) == 2:
        return "signal", array[:, None, :], f"N,L read as signals of length {shape[1]}"
    if len(shape) == 3:
        rows, columns = shape[1:]
        if rows == 1 or (_is_signal(array, rows) and columns > 2 * rows):
            return "signal", array, f"N,C,L read as signals of {rows} x {columns}"
        if columns == 1 or (_is_signal(array, columns) and rows > 2 * columns):
            raise SourceError(
                f"{what} has shape {shape}, which looks like signals N,L,C with the channels last.",
                "Give signals as N,C,L: x.transpose(0, 2, 1). For images add the channel axis: x[..., None].",
            )
        return "image", array[..., None], "N,H,W read as grey images"
    if len(shape) == 4:
        second, third, last = shape[1:]
        if last <= 4 or (second > 4 and last < min(second, third)):
            return "image", array, "N,H,W,C read as images"
        if second <= 4 or second < min(third, last):
            return "image", np.moveaxis(array, 1, -1), "N,C,H,W read as images, channels first"
        raise SourceError(
            f"{what} has shape {shape}, in which no axis looks like channels.",
            "Images are N,H,W,C. For volumes N,D,H,W add the channel axis: x[:, None].",
        )
    if len(shape) == 5:
        if shape[4] <= 4 < shape[1]:
            raise SourceError(
                f"{what} has shape {shape}, which looks like volumes with the channels last.",
                "Give volumes as N,C,D,H,W: numpy.moveaxis(x, -1, 1).",
            )
        return "volume", array, "N,C,D,H,W read as volumes"
    raise SourceError(f"{what} has {len(shape)} axes, {shape}.", "Volumes N,C,D,H,W are the most that is understood.")


def _is_signal(array: NDArray[Any], channels: int) -> bool:
    return channels <= SIGNAL_CHANNELS and array.dtype.kind != "b" and array.dtype != np.uint8


def _read_numbers(array: NDArray[Any], kind: Kind, what: str) -> NDArray[Any]:
    """Bring pixels to uint8 or float32; refuse what is no finite number."""
    if array.dtype.kind not in "biuf":
        raise SourceError(f"{what} is of type {array.dtype}.", "Pixels are whole numbers or floats.")
    if kind != "signal":
        if array.dtype == np.uint8:
            return array
        if array.dtype.kind == "b":
            return array.astype(np.uint8) * np.uint8(255)
        if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255:
            return array.astype(np.uint8)
    with np.errstate(over="ignore"):  # what does not fit in float32 becomes infinite, and is refused below
        array = array.astype(np.float32, copy=False)
    bad = np.zeros(len(array), dtype=bool)
    step = max(1, 2**24 // max(1, array[0].size))
    for start in range(0, len(array), step):
        part = array[start : start + step]
        bad[start : start + step] = ~np.isfinite(part).reshape(len(part), -1).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        fault = "NaN" if np.isnan(array[row]).any() else "infinite"
        raise SourceError(
            f"{what}: row {row} has {fault} pixels{others(bad)}.",
            "Remove or mend those rows: x[numpy.isfinite(x).reshape(len(x), -1).all(axis=1)] keeps the others.",
        )
    return array
