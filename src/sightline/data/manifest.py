"""A table of file names and labels (CSV, TSV, Parquet) -> Images."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline.data.images import Images
from sightline.data.labels import SPLIT_NAMES, index_classes, listed, name_labels
from sightline.errors import MissingExtraError, SourceError, did_you_mean

PATHS = ("file_name", "path")
COLUMNS = (*PATHS, "label", "split", "group")

_HINT = "A manifest has the columns file_name (or path) and label, and may have split and group."


def read_manifest(path: Path) -> Images:
    """Read a manifest with the columns ``file_name`` or ``path``, ``label``, and optionally ``split`` and ``group``.

    Column names may be in upper or lower case; other columns are left aside and told. Files are relative to the
    manifest's folder, or absolute. CSV is UTF-8 and separated by commas, semicolons or tabs, TSV by tabs. A file that
    does not exist stays a row, which the decoder reports. A split is called as a folder may be (train, val, test, ...).

    Returns:
        Images with absolute ``paths`` in the order of the table; ``splits`` is None if fewer than two are named.

    Raises:
        SourceError: it cannot be read, a column is missing, a cell is empty or unknown, or no file exists at all.
        MissingExtraError: Parquet without pyarrow.
    """
    table, first = _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else read_csv(path)
    columns = _columns(table, path)
    count = len(columns["label"])
    if not count:
        raise SourceError(f"manifest '{path}' has no rows.", _HINT)
    texts = {}
    for name in columns.keys() - {"label"}:
        texts[name] = ["" if value is None else str(value).strip() for value in columns[name]]
    for name, values in (*texts.items(), ("label", columns["label"])):
        for row, value in enumerate(values):
            if value is None or (isinstance(value, str) and not value.strip()):
                raise SourceError(f"manifest '{path}', {first(row)}: '{name}' is empty.", "Fill it, or remove the row.")
    for row, value in enumerate(texts.get("split", ())):
        if value.lower() not in SPLIT_NAMES:
            raise SourceError(
                f"manifest '{path}', {first(row)}: split '{value}' is unknown.{did_you_mean(value, SPLIT_NAMES)}",
                f"A split is one of: {', '.join(SPLIT_NAMES)}.",
            )
    folder = os.path.abspath(path.parent)
    paths = [os.path.join(folder, name) for name in texts["path"]]
    if not any(map(os.path.lexists, paths)):
        backslashes = os.sep != "\\" and any("\\" in name for name in texts["path"])
        raise SourceError(
            f"none of the {count:,} files in manifest '{path}' exists; the first would be '{paths[0]}'.",
            "Its paths are separated by backslashes; write them with '/'."
            if backslashes
            else "Paths are relative to the manifest's folder, or absolute.",
        )
    classes, labels = index_classes(name_labels(columns["label"], what=f"the labels in '{path.name}'"))
    splits = np.array([SPLIT_NAMES[value.lower()] for value in texts.get("split", ())], dtype="U5")
    spare = [name for name in table if name.strip().lower() not in COLUMNS]
    return Images(
        name=path.stem,
        layout=f"{path.suffix[1:].lower()} manifest{' with splits' if len(set(splits)) > 1 else ''}",
        kind="image",
        classes=classes,
        labels=labels,
        paths=np.array(paths, dtype=np.str_),
        splits=splits if len(set(splits)) > 1 else None,
        groups=np.array(texts["group"], dtype=np.str_) if "group" in texts else None,
        ignored=(f"columns without a meaning here: {listed(spare)}",) if spare else (),
        root=Path(folder),
    )


def _columns(table: dict[str, Sequence[Any]], path: Path) -> dict[str, Sequence[Any]]:
    """Pick the columns by name: path, label and, where they are, split and group."""
    found: dict[str, str] = {}
    for name in table:
        plain = name.strip().lower()
        role = "path" if plain in PATHS else plain
        if role in COLUMNS and role in found:
            raise SourceError(f"manifest '{path}' has both '{found[role]}' and '{name}'.", "Keep one of them.")
        if role in COLUMNS:
            found[role] = name
    for role, told in (("path", "file_name or path"), ("label", "label")):
        if role not in found:
            close = [did_you_mean(wanted, table) for wanted in told.split(" or ")]
            raise SourceError(
                f"manifest '{path}' has no column {told}: it has {listed(table)}.{next(filter(None, close), '')}", _HINT
            )
    return {role: table[name] for role, name in found.items()}


def read_csv(
    path: Path, what: str = "manifest", *, errors: str = "strict"
) -> tuple[dict[str, Sequence[Any]], Callable[[int], str]]:
    """Read the columns of a CSV or TSV, and a function that says where row i stands.

    Args:
        path: UTF-8, with a line of column names; separated by commas, semicolons or tabs (TSV: tabs).
        what: what messages call the file.
        errors: ``surrogateescape`` lets names of files through that are no UTF-8.

    Raises:
        SourceError: it cannot be read, or is no table.
    """
    lines: list[int] = []
    rows: list[list[str]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig", errors=errors) as file:
            head = file.readline()
            delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else max(",;\t", key=head.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = next(reader, [])
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
    except UnicodeDecodeError:
        raise SourceError(f"{what} '{path}' is not written in UTF-8.", "Save it as 'CSV UTF-8'.") from None
    except (OSError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SourceError(f"{what} '{path}' cannot be read: {said}.", "Check the file.") from None
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise SourceError(
                f"{what} '{path}', line {line}: {len(row)} cells, but {len(header)} columns ({listed(header)}).",
                "Put a cell that holds the separator into double quotes.",
            )
    if len(set(header)) < len(header):
        raise SourceError(f"{what} '{path}' has two columns of one name: {listed(header)}.", "Rename one.")
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    return dict(zip(header, columns, strict=True)), lambda row: f"line {lines[row]}"


def _read_parquet(path: Path) -> tuple[dict[str, Sequence[Any]], Callable[[int], str]]:
    try:
        import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet") from None
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            wanted = [name for name in names if name.strip().lower() in COLUMNS]
            content = file.read(columns=wanted).to_pydict() if wanted else {}
    except (OSError, ValueError) as error:
        raise SourceError(f"manifest '{path}' cannot be read: {error}.", "Write it again as Parquet.") from None
    return {name: content.get(name, ()) for name in names}, lambda row: f"row {row}"
