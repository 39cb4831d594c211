"""Images -> one screen that says what was understood: layout, splits, classes, counts, sizes, channels."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.data.images import SPLITS, Images

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

MOST_CLASSES = 20
"""Classes with a line of their own; the rest share one line."""

PEEKED = 64
"""Files whose headers are looked at for their size when nothing was decoded yet."""


class Sizes(Protocol):
    """What is needed of the decoder's records: one value for each image; width 0 where it cannot be read."""

    width: NDArray[np.int32]
    height: NDArray[np.int32]
    mode: NDArray[np.str_]


def describe(images: Images, records: Sizes | None = None) -> RenderableType:
    """Show what was understood of a source.

    Args:
        images: the source.
        records: width, height and mode of every file, once they were decoded. Without it the headers of a few files
            are looked at, and the screen says so.

    Returns:
        A rich renderable for 80 columns and more.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(images, records):
        facts.add_row(name, Text(value))
    things = {"image": "images", "signal": "signals", "volume": "volumes"}[images.kind]
    title = Text.assemble((images.name, "bold"), f": {len(images):,} {things} in {len(images.classes):,} classes")
    return Group(title, facts, "", _table(images))


def _facts(images: Images, records: Sizes | None) -> Iterable[tuple[str, str]]:
    yield "read as", images.layout
    if images.root is not None:
        yield "from", str(images.root)
    if images.splits is None:
        yield "splits", "none given"
    if images.groups is not None:
        yield "groups", f"{len(np.unique(images.groups)):,}, none of which will be on both sides of a split"
    yield from _array_facts(images) if images.array is not None else _file_facts(images, records)
    for number, sentence in enumerate(images.ignored):
        yield "left aside" if number == 0 else "", sentence


def _array_facts(images: Images) -> Iterable[tuple[str, str]]:
    array = images.array
    assert array is not None
    shape = array.shape[1:]
    channels, size = (shape[-1], shape[:-1]) if images.kind == "image" else (shape[0], shape[1:])
    if images.kind == "image":
        told = _size([(size[1], size[0])])
    elif images.kind == "signal":
        told = f"{size[0]:,} values"
    else:
        told = f"{size[0]:,} deep, {size[1]:,} high, {size[2]:,} wide"
    yield "size", f"{told}, {channels} channel{'s' if channels > 1 else ''}"
    if array.dtype == np.uint8:
        yield "numbers", "uint8, 0 to 255"
    else:
        yield "numbers", f"{array.dtype}, {array.min():.4g} to {array.max():.4g}"


def _file_facts(images: Images, records: Sizes | None) -> Iterable[tuple[str, str]]:
    assert images.paths is not None
    if records is None:
        rows = np.unique(np.linspace(0, len(images) - 1, min(PEEKED, len(images))).astype(int))
        found = _peek(images.paths[rows].tolist())
        if not found:
            return
        sizes = Counter((width, height) for width, height, _ in found)
        modes = Counter(mode for _, _, mode in found)
        told = "" if len(rows) == len(images) else f" (seen in {len(rows)} files)"
    else:
        good = np.asarray(records.width) > 0
        sizes = Counter(zip(records.width[good].tolist(), records.height[good].tolist(), strict=True))
        modes = Counter(np.asarray(records.mode)[good].tolist())
        told = ""
        if bad := int((~good).sum()):
            yield "unreadable", f"{bad:,} of {len(images):,} files"
        if not sizes:
            return
    yield "size", _sizes(sizes) + told
    kinds = [f"{mode} {_share(count, modes)}".strip() for mode, count in modes.most_common(4)]
    yield "colours", ", ".join(kinds) + (" ..." if len(modes) > 4 else "") + told


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    """Say how large images are: the one size, the commonest if most have it, or the middle one; and the range."""
    (common, count), *others = sizes.most_common()
    if not others:
        return _size([common])
    if count > sizes.total() / 2:
        return f"{_size([common])} in {count / sizes.total():.0%}, others {_size([size for size, _ in others])}"
    shorter = np.repeat([min(size) for size in sizes], list(sizes.values()))
    return f"{_size(list(sizes))}, the median of the shorter side is {np.median(shorter):,.0f}"


def _size(sizes: list[tuple[int, int]]) -> str:
    widths, heights = zip(*sizes, strict=True)
    if len(sizes) == 1 and widths == heights:
        return f"{widths[0]:,} x {widths[0]:,} pixels"
    return f"{_span(min(heights), max(heights))} pixels high, {_span(min(widths), max(widths))} wide"


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _share(count: int, of: Counter[str]) -> str:
    return "" if len(of) == 1 else f"{count / of.total():.0%}" if count / of.total() >= 0.005 else f"({count})"


def _peek(paths: Iterable[str]) -> list[tuple[int, int, str]]:
    """Read width, height and mode from the headers of files; those that cannot be read are passed over."""
    from PIL import Image

    found = []
    log = logging.getLogger("PIL")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for path in filter(os.path.isfile, paths):
                try:
                    with Image.open(path) as image:
                        found.append((*image.size, image.mode))
                except Exception:  # a broken file can make Pillow raise anything; the decoder will say what
                    continue
    finally:
        log.setLevel(level)
    return found


def _table(images: Images) -> Table:
    from rich.table import Table
    from rich.text import Text

    parts = [part for part in SPLITS if images.splits is not None and (images.splits == part).any()]
    columns = [images.counts(part) for part in parts] + [images.counts()]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("class", overflow="fold")
    for name in [*parts, "all" if parts else "images"]:
        table.add_column(name, justify="right", no_wrap=True)
    many = len(images.classes) > MOST_CLASSES
    shown = MOST_CLASSES - 1 if many else len(images.classes)
    for k, name in enumerate(images.classes[:shown]):
        cells = [Text(f"{column[k]:,}", "" if column[k] else "yellow") for column in columns]
        table.add_row(Text(name), *cells)
    if many:
        rest = [_range(column[shown:]) for column in columns]
        table.add_row(Text(f"and {len(images.classes) - shown:,} more, each", "dim"), *rest)
    table.add_row(Text("all classes", "bold"), *(Text(f"{column.sum():,}", "bold") for column in columns))
    return table


def _range(counts: NDArray[np.int64]) -> str:
    return _span(int(counts.min()), int(counts.max()))
