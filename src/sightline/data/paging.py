"""A pixel store in a file -> its pages given back from time to time, so that memory does not grow with what was read.

A mapped file counts as memory of the process for as long as its pages are mapped. The system would take them back when
it needs them, but until then a store of 10 GB looks like 10 GB in use, and a container with a limit may be ended for
it. Given back, a page that is still in the system's cache comes back without the disk.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 512 << 20
"""Bytes brought in from a store between two times that its pages are given back."""


AROUND = 64 << 10
"""Bytes that Linux maps around a page that is wanted: a small image read alone brings in as many."""


class Pages:
    """Counts what is read from an array, and gives its pages back now and then, if it is a file that is mapped.

    Args:
        array: what is read from; nothing happens if it is in memory, or where the system knows no such advice.
    """

    def __init__(self, array: Any) -> None:
        self._map = mapping(array) if isinstance(array, np.ndarray) and array.nbytes > MOST else None
        self._advice = getattr(mmap, "MADV_DONTNEED", None)
        self._read = 0

    def read(self, count: int, places: int = 1) -> None:
        """Count bytes that were read, from so many places; nothing may be using the pages any more."""
        if self._map is None or self._advice is None:
            return
        self._read += max(count, places * AROUND)
        if self._read >= MOST:
            self._map.madvise(self._advice)
            self._read = 0


def mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """Find the mapped file that an array, or the array it is a view of, stands in; None for one in memory.

    Only read-only maps: pages of others may hold what is not in the file yet.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return None
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
