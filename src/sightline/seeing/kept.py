"""What was found for a network, by its weights and the question <-> files: a second look takes no time."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline import files


class Kept:
    """A folder of answers; one that is damaged or from another version is worked out again.

    Args:
        folder: made when something is kept for the first time; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def read(self, key: str) -> dict[str, NDArray[Any]] | None:
        """Give the arrays that were kept under a key, or None."""
        if self.folder is None:
            return None
        try:
            with (self.folder / f"{key}.npz").open("rb") as file, np.load(file, allow_pickle=False) as found:
                return dict(found)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def write(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep arrays under a key.

        Raises:
            RunError: the folder cannot be written.
        """
        if self.folder is None:
            return
        files.make_folder(self.folder)
        with files.whole(self.folder / f"{key}.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)


def key(digest: str, **request: Any) -> str:
    """Name an answer by the digest of weights and data, and by all that was asked for, as plain JSON values."""
    text = json.dumps([digest, request], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
