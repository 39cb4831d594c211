"""The loss of each validation image after each epoch <-> one array file, which the verdict about a fit reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline import files
from sightline.errors import RunError

LARGEST = 65504.0
"""Largest number of float16; a loss above it is stored as this."""


class ExampleLosses:
    """A table (epochs, examples) of losses, float16, kept in a NPY file.

    Args:
        path: the file, replaced whole at each epoch; None keeps nothing.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.rows: list[NDArray[np.float16]] = []

    def append(self, losses: NDArray[np.float32]) -> None:
        """Add an epoch's losses, (examples,), in the order of the validation set.

        Raises:
            RunError: the disk is full, or there is no permission.
        """
        if self.path is None:
            return
        self.rows.append(np.minimum(losses, LARGEST).astype(np.float16))
        with files.whole(self.path) as temporary, temporary.open("wb") as file:
            np.save(file, np.stack(self.rows), allow_pickle=False)

    def read(self, length: int) -> None:
        """Take the first ``length`` epochs from the file.

        Raises:
            RunError: the file is missing, damaged, or has fewer epochs.
        """
        self.rows = []
        if self.path is None or length == 0:
            return
        try:
            table: NDArray[Any] = np.load(self.path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"'{self.path}' cannot be read: {error}.", "Restore it from a copy.") from None
        if len(table) < length:
            raise RunError(
                f"'{self.path}' has {len(table)} epochs, but the checkpoint knows of {length}.",
                "Restore it from a copy, or train again.",
            )
        self.rows = list(table[:length])
