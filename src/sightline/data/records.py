"""What is known of every entry of a source, readable or not: columns in memory, and their form on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline import files


@dataclass(frozen=True, eq=False)
class Records:
    """N entries, in the order of the source.

    Attributes:
        width: native width in pixels, upright, int32 (N,); 0 where unreadable.
        height: native height in pixels, upright, int32 (N,); 0 where unreadable.
        mode: Pillow's name for the pixels in the file (``L``, ``RGB``, ``P``, ``I;16``), str (N,).
        format: Pillow's name for the file's format, str (N,); ``array`` for rows of an array.
        oddities: for each the keys of ``decode.ODDITIES`` that hold.
        error: for each the reason why it cannot be read, ``reason`` or ``reason: detail``, or None.
        digest: uint64 (N,), equal for equal pixels and native size; 0 where unreadable.
        dhash: uint64 (N,), few bits apart for similar images; 0 where unreadable, and for signals and volumes.
    """

    width: NDArray[np.int32]
    height: NDArray[np.int32]
    mode: NDArray[np.str_]
    format: NDArray[np.str_]
    oddities: list[tuple[str, ...]]
    error: list[str | None]
    digest: NDArray[np.uint64]
    dhash: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.width)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """True where there is no error, bool (N,)."""
        return np.array([error is None for error in self.error], bool)

    def save(self, path: Path, length: NDArray[np.int64], changed: NDArray[np.int64]) -> dict[str, Any]:
        """Write the columns of numbers as one ``.npz``; the rest is for a JSON file.

        Args:
            path: the ``.npz`` file.
            length: sizes of the files in bytes, int64 (N,), kept beside.
            changed: their times of change in ns since 1970, int64 (N,), kept beside.

        Returns:
            JSON values: the names of modes and formats, and the few rows with an oddity or an error.
        """
        modes, mode = np.unique(self.mode, return_inverse=True)
        formats, format_ = np.unique(self.format, return_inverse=True)
        with files.whole(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                width=self.width,
                height=self.height,
                digest=self.digest,
                dhash=self.dhash,
                mode=mode.astype(np.uint8),
                format=format_.astype(np.uint8),
                length=length,
                changed=changed,
            )
        return {
            "modes": modes.tolist(),
            "formats": formats.tolist(),
            "oddities": {str(row): list(odd) for row, odd in enumerate(self.oddities) if odd},
            "errors": {str(row): error for row, error in enumerate(self.error) if error is not None},
        }

    @classmethod
    def load(cls, path: Path, rest: Mapping[str, Any]) -> Records:
        """Read what ``save`` wrote and returned.

        Raises:
            ValueError, OSError, KeyError: it is damaged.
        """
        with np.load(path, allow_pickle=False) as columns:
            numbers = {name: columns[name] for name in ("width", "height", "digest", "dhash", "mode", "format")}
        count = len(numbers["width"])
        oddities: list[tuple[str, ...]] = [()] * count
        for row, odd in rest["oddities"].items():
            oddities[int(row)] = tuple(odd)
        error: list[str | None] = [None] * count
        for row, words in rest["errors"].items():
            error[int(row)] = str(words)
        return cls(
            width=numbers["width"],
            height=numbers["height"],
            mode=np.array(rest["modes"], np.str_)[numbers["mode"]],
            format=np.array(rest["formats"], np.str_)[numbers["format"]],
            oddities=oddities,
            error=error,
            digest=numbers["digest"],
            dhash=numbers["dhash"],
        )


def join(parts: Iterable[Records]) -> Records:
    """Put the records of consecutive entries behind each other."""
    all_ = list(parts)
    return Records(
        width=np.concatenate([part.width for part in all_]),
        height=np.concatenate([part.height for part in all_]),
        mode=np.concatenate([part.mode for part in all_]),
        format=np.concatenate([part.format for part in all_]),
        oddities=[odd for part in all_ for odd in part.oddities],
        error=[error for part in all_ for error in part.error],
        digest=np.concatenate([part.digest for part in all_]),
        dhash=np.concatenate([part.dhash for part in all_]),
    )
