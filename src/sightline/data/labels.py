"""Labels of any type -> class names in natural order and numbers 0..K-1; part names -> train, valid, test."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.images import Split, natural_key
from sightline.errors import SourceError

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "holdout": "test",
}
"""What the parts of a data set are called, in lower case, and which part each name means."""


def join_splits(parts: Sequence[tuple[Split | None, int]]) -> NDArray[np.str_] | None:
    """Write out the split of each row; None where there are fewer than two, because one part is no split."""
    if len({split for split, count in parts if count}) < 2:
        return None
    return np.repeat(np.array([split for split, _ in parts], dtype="U5"), [count for _, count in parts])


def read_classes(values: Any, what: str) -> tuple[str, ...]:
    """Read a list of class names.

    Raises:
        SourceError: it is no list of different names.
    """
    names = np.asarray(values)
    if names.ndim != 1 or names.dtype.kind not in "USiu" or len(set(names.tolist())) != len(names):
        raise SourceError(f"{what} is no list of different names.", "Give K different strings, as many as classes.")
    return tuple(class_name(name) for name in names.tolist())


def name_labels(labels: Any, *, classes: Sequence[str] | None = None, what: str = "labels") -> NDArray[np.str_]:
    """Turn labels into class names.

    Args:
        labels: (N,) or (N, 1): strings, or finite whole numbers of any type.
        classes: what the numbers 0..K-1 mean; without it a number is its own name.
        what: what messages call the labels.

    Returns:
        str (N,).

    Raises:
        SourceError: a label is NaN, fractional, empty, out of range, or the shape is no list.
    """
    values = np.asarray(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        hint = "For one-hot labels give labels.argmax(axis=1)." if values.ndim == 2 else "Give one label for each row."
        raise SourceError(f"{what} have shape {values.shape}; a list of labels (N,) is needed.", hint)
    if values.dtype == object:
        values = _plain(values, what)
    if values.dtype.kind in "US":
        names = np.array([class_name(value) for value in values.tolist()], dtype=np.str_)
        _refuse(what, names == "", values, "an empty label", "Name the class of every row.")
        if classes is not None:
            known = set(classes)
            strange = np.array([name not in known for name in names.tolist()], dtype=bool)
            _refuse(what, strange, names, "a name that is not in 'classes'", f"The classes are: {listed(classes)}.")
        return names
    if values.dtype.kind not in "biuf":
        raise SourceError(f"{what} are of type {values.dtype}.", "Labels are whole numbers or strings.")
    if values.dtype.kind == "f":
        whole = np.isfinite(values)
        whole[whole] = values[whole] == np.trunc(values[whole])
        _refuse(what, ~whole, values, "no whole number", "Labels are finite whole numbers or strings.")
    numbers = values.astype(np.int64)
    if classes is None:
        found, inverse = np.unique(numbers, return_inverse=True)
        return found.astype(np.str_)[inverse]
    hint = f"With {len(classes)} class names the labels are 0 to {len(classes) - 1}."
    _refuse(what, (numbers < 0) | (numbers >= len(classes)), values, "out of range", hint)
    return np.array(classes, dtype=np.str_)[numbers]


def index_classes(names: NDArray[np.str_]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Number the class names found, in natural order: K names, and int64 (N,) with 0..K-1."""
    found, inverse = np.unique(names, return_inverse=True)
    order = sorted(range(len(found)), key=lambda k: natural_key(str(found[k])))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return tuple(str(found[k]) for k in order), rank[inverse]


def _plain(values: NDArray[Any], what: str) -> NDArray[Any]:
    """Turn an object array that holds only strings, or only numbers, into a plain one."""
    items = values.tolist()
    if all(isinstance(item, (str, bytes)) for item in items):
        return np.array([class_name(item) for item in items], dtype=np.str_)
    if all(isinstance(item, (int, float, np.number, np.bool_)) for item in items):
        return np.array(items)
    odd = next((row for row, item in enumerate(items) if not isinstance(item, (str, int, np.integer))), len(items) - 1)
    raise SourceError(
        f"{what} are neither all numbers nor all strings: row 0 is {items[0]!r}, row {odd} is {items[odd]!r}.",
        "Labels are whole numbers or strings, one type for all rows.",
    )


def _refuse(what: str, bad: NDArray[np.bool_], values: NDArray[Any], fault: str, hint: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise SourceError(f"{what}: row {row} has {values[row].item()!r}, {fault}{others(bad)}.", hint)


def others(bad: NDArray[np.bool_]) -> str:
    """Say how many more rows are bad than the one that was named: ``" (and 3 more rows)"``, or nothing."""
    more = int(bad.sum()) - 1
    return f" (and {more:,} more rows)" if more else ""


def class_name(value: object) -> str:
    """Write a class's name: composed Unicode (NFC), so that names from macOS and Linux agree, without outer spaces."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return unicodedata.normalize("NFC", text).strip()


def listed(names: Iterable[str], most: int = 12) -> str:
    """Write names in quotes for a message, at most ``most`` of them."""
    names = list(names)
    return ", ".join(f"'{name}'" for name in names[:most]) + (" ..." if len(names) > most else "") or "nothing"
