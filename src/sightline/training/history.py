"""Rows of plain numbers, one per epoch <-> a file of JSON lines; what trackers, diagnosis, plots and tuning read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from sightline import files
from sightline.errors import RunError


class History:
    """The epochs so far, each a dict of numbers; an integer stays one, and a NaN is ``null`` in the file.

    Args:
        path: where each new row is written too, JSON lines; None keeps the rows in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    @classmethod
    def read(cls, path: Path, length: int | None = None) -> History:
        """Read a file, and forget (there, too) all rows beyond ``length``.

        Raises:
            RunError: the file is missing or damaged, or has fewer rows than ``length``.
        """
        history = cls(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() or length != 0 else []
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"'{path}' cannot be read: {error}.", "Restore it from a copy, or train again.") from None
        if length is not None and len(lines) < length:
            raise RunError(
                f"'{path}' has {len(lines)} rows, but the checkpoint knows of {length}.",
                "Restore it from a copy, or train again.",
            )
        for number, line in enumerate(lines[:length], start=1):
            try:
                row = {name: math.nan if value is None else value for name, value in json.loads(line).items()}
            except (json.JSONDecodeError, AttributeError) as error:
                raise RunError(f"'{path}' is damaged in line {number}: {error}.", "Restore it from a copy.") from None
            history.rows.append(row)
        if length is not None and len(lines) > length:
            history.write()
        return history

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch.

        Raises:
            RunError: the disk is full, or there is no permission.
        """
        self.rows.append(dict(row))
        self.write()

    def write(self) -> None:
        """Bring the file up to the rows; it is replaced whole, so no reader sees half a line."""
        if self.path is not None:
            files.write_text(self.path, "".join(_line(row) for row in self.rows))

    def column(self, name: str) -> list[float]:
        """Give one number of every epoch; NaN where a row has none."""
        return [row.get(name, math.nan) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.rows)

    def __getitem__(self, number: int) -> dict[str, float]:
        return self.rows[number]


def _line(row: Mapping[str, float]) -> str:
    return json.dumps({k: v if math.isfinite(v) else None for k, v in row.items()}, allow_nan=False) + "\n"
