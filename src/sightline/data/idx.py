"""IDX files, plain or gzipped, as MNIST and its relatives come -> Images.

The format (LeCun, Cortes, Burges, "The MNIST database"): two zero bytes, a byte for the number type, a byte for the
number of axes, the length of each axis as a big-endian 32-bit integer, then the numbers, big-endian, last axis fastest.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.arrays import Part, assemble
from sightline.data.images import SPLITS, Images, Split
from sightline.data.labels import SPLIT_NAMES, name_labels
from sightline.errors import SourceError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_NAME = re.compile(r"(?P<set>.*?)(?P<what>images|labels)[-._]idx\d[-._]ubyte(\.gz)?", re.IGNORECASE)


def is_idx(name: str) -> bool:
    """Tell by its name whether a file is an IDX file: ``train-images-idx3-ubyte.gz``, ``t10k-labels.idx1-ubyte``."""
    return _NAME.fullmatch(name) is not None


def read_idx_files(path: Path, names: Iterable[str] | None = None) -> Images:
    """Read the pairs of IDX files in a folder, or one file of images whose labels lie beside it.

    Args:
        path: the folder, or the file of images.
        names: the names of the files in that folder.

    Raises:
        SourceError: a file has no partner, two files hold the same part, or one is damaged.
    """
    if names is None:
        match = _NAME.fullmatch(path.name)
        if match is None or match["what"].lower() != "images":
            raise SourceError(
                f"'{path}' is not called like a file of images.", "Give the file called ...images-idx3-ubyte."
            )
        pairs: dict[Split | None, tuple[Path, Path]] = {None: (path, _labels_of(path))}
    else:
        pairs = {}
        for name in sorted(names):
            match = _NAME.fullmatch(name)
            if match is None or match["what"].lower() != "images":
                continue
            split = _split_of(match["set"])
            if split in pairs:
                raise SourceError(
                    f"'{pairs[split][0].name}' and '{name}' in '{path}' are both {split or 'without a split'}.",
                    "Give one of the files instead of the folder, or a folder with one set of files.",
                )
            pairs[split] = (path / name, _labels_of(path / name))
        if not pairs:
            raise SourceError(f"folder '{path}' has IDX files of labels, but none of images.", "Add the images.")
    return join(pairs, name=path.name.split(".")[0], layout="IDX files" if len(pairs) > 1 else "IDX file", root=path)


def join(
    pairs: dict[Split | None, tuple[Path, Path]],
    *,
    name: str,
    layout: str,
    root: Path,
    classes: tuple[str, ...] | None = None,
) -> Images:
    """Read pairs of files (images, labels), and join them.

    Args:
        pairs: for each split its two files.
        name: of the set.
        layout: what the source is.
        root: where it is.
        classes: what the labels 0..K-1 mean; without it a label is its own name.
    """
    parts = []
    for split in (None, *SPLITS):
        if split in pairs:
            images, labels = pairs[split]
            names = name_labels(read_idx(labels), classes=classes, what=f"the labels in '{labels.name}'")
            parts.append(Part(read_idx(images), names, split, f"'{images.name}'"))
    return assemble(parts, name=name, layout=layout, root=root)


def read_idx(path: Path) -> NDArray[Any]:
    """Read one IDX file, plain or gzipped (by its content, not by its name).

    Returns:
        An array of the file's own shape and number type (uint8 for MNIST), in the machine's byte order.

    Raises:
        SourceError: it cannot be read, is no IDX file, or its length is not what its header says.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"'{path}' cannot be read: {error}.", "Fetch the file again.") from None
    axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * axes
    if content[:2] != b"\0\0" or len(content) < max(start, 8) or content[2] not in TYPES:
        raise SourceError(f"'{path}' is no IDX file: its first bytes are {content[:4].hex(' ')}.", "Fetch it again.")
    shape = struct.unpack(f">{axes}I", content[4:start])
    kind = np.dtype(TYPES[content[2]])
    expected = start + math.prod(shape) * kind.itemsize
    if len(content) != expected:
        raise SourceError(
            f"'{path}' is {'cut off' if len(content) < expected else 'too long'}: its header says "
            f"{' x '.join(map(str, shape))}, {expected:,} bytes, and it has {len(content):,}.",
            "Fetch the file again.",
        )
    array = np.frombuffer(content, kind, offset=start).reshape(shape)
    return array.astype(kind.newbyteorder("="), copy=False)


def _split_of(name: str) -> Split | None:
    words = re.split(r"[^a-z0-9]+", name.lower())
    found = [SPLIT_NAMES["test" if word == "t10k" else word] for word in words if word in (*SPLIT_NAMES, "t10k")]
    return found[-1] if found else None


def _labels_of(images: Path) -> Path:
    name = re.sub("(?i)images", "labels", re.sub("(?i)idx3", "idx1", images.name))
    stem = re.sub(r"(?i)\.gz$", "", name)
    for candidate in (name, stem, f"{stem}.gz"):
        path = images.with_name(candidate)
        if path.is_file():
            return path
    raise SourceError(
        f"'{images}' has no labels beside it: '{stem}' or '{stem}.gz' is missing.", "Put the file of labels there."
    )
