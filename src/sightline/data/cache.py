"""Folders of packed pixels under the user's cache: found again by key, built whole or not at all, listed, cleared.

A folder ``<cache>/pixels/<name>-<key>`` holds ``pixels.npy`` (uint8 N,H,W,C), ``records.npz`` (a number per file) and
``manifest.json``. It is built under another name beside, flushed to disk and renamed last: what a killed process leaves
is never taken for a cache, and is removed by the next one. Two processes that build the same folder do not meet; the
later one throws its copy away. The files the pixels came from are never touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline import files
from sightline.data.records import Records
from sightline.errors import RunError

FORMAT = 3
"""Version of the layout and of the decoding; part of the key, so that another version never reads this one's."""

PIXELS, RECORDS, MANIFEST = "pixels.npy", "records.npz", "manifest.json"
_HINT = "Set the environment variable SIGHTLINE_CACHE to a folder of yours with enough space."
_DAY = 86400.0


@dataclass(frozen=True)
class Cached:
    """One packed set.

    Attributes:
        place: its folder.
        name: the name of the source.
        bytes: what it takes on disk.
        used: when it was last packed or read.
    """

    place: Path
    name: str
    bytes: int
    used: datetime


def folder(cache: Path | None = None) -> Path:
    """Give the folder of all packed sets: in ``cache``, else in $SIGHTLINE_CACHE, else in the user's cache folder."""
    return files.cache_folder(cache) / "pixels"


def place(cache: Path | None, name: str, key: str) -> Path:
    """Give the folder for a set, whether it exists or not."""
    return folder(cache) / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:40].strip('.') or 'images'}-{key}"


def read(place: Path) -> tuple[NDArray[np.uint8], Records] | None:
    """Open a packed set, and note that it was used.

    Returns:
        The pixels as a read-only memory map and the records, or None if there is none that can be believed.
    """
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return None
        records = Records.load(place / RECORDS, manifest["records"])
        array = np.asarray(np.load(place / PIXELS, mmap_mode="r", allow_pickle=False))  # still mapped, still read-only
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    if array.dtype != np.uint8 or list(array.shape) != manifest["shape"] or len(array) != records.readable.sum():
        return None
    with contextlib.suppress(OSError):
        os.utime(place / MANIFEST)
    return array, records


@contextmanager
def building(place: Path) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends well it becomes ``place``, else it is removed.

    Raises:
        RunError: the cache cannot be written, or the disk is full.
    """
    temporary = place.parent / f".part-{os.getpid()}-{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    try:
        files.make_folder(place.parent)
        sweep(place.parent)
        files.make_folder(temporary)
        yield temporary
        if read(place) is None:
            _install(temporary, place)
    except RunError as error:
        raise RunError(error.fault, _HINT) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _install(temporary: Path, place: Path) -> None:
    """Rename ``temporary`` to ``place``; something unusable that lies there is moved away first."""
    try:
        try:
            temporary.rename(place)
        except OSError:
            if read(place) is not None:  # another process was faster
                return
            if place.exists():
                place.rename(temporary.with_name(f"{temporary.name}-old"))
                shutil.rmtree(temporary.with_name(f"{temporary.name}-old"), ignore_errors=True)
            temporary.rename(place)
    except OSError as error:
        raise RunError(f"'{place}' could not be written: {error.strerror or error}.", _HINT) from error


def sweep(parent: Path) -> None:
    """Remove what killed processes of this machine have left, and what any process left two days ago."""
    for left in parent.glob(".part-*"):
        found = re.fullmatch(r"\.part-(\d+)-(.+)-[0-9a-f]{8}(-old)?", left.name)
        with contextlib.suppress(OSError):
            dead = found and found[2] == socket.gethostname() and not _alive(int(found[1]))
            if dead or time.time() - left.stat().st_mtime > 2 * _DAY:
                shutil.rmtree(left, ignore_errors=True)


def cached(cache: Path | None = None) -> list[Cached]:
    """List the packed sets, the one used last first."""
    found = []
    for manifest in folder(cache).glob(f"[!.]*/{MANIFEST}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            name = str(json.loads(manifest.read_text(encoding="utf-8"))["name"])
            size = sum(file.stat().st_size for file in manifest.parent.iterdir())
            used = datetime.fromtimestamp(manifest.stat().st_mtime).astimezone()
            found.append(Cached(manifest.parent, name, size, used))
    return sorted(found, key=lambda one: one.used, reverse=True)


def clear(place: Path | None = None, cache: Path | None = None) -> list[Cached]:
    """Delete one packed set, or all of them; source files are never touched.

    Args:
        place: the folder of one set, as ``cached`` lists it; None: all of them, and what killed processes left.
        cache: the cache folder, if it is not the default one.

    Returns:
        What was deleted.

    Raises:
        RunError: ``place`` is none of the packed sets, or cannot be deleted.
    """
    every = cached(cache)
    chosen = every if place is None else [one for one in every if one.place == Path(place).absolute()]
    if place is not None and not chosen:
        raise RunError(f"'{place}' is no packed set of images.", "`sightline cache` lists them with their folders.")
    if place is None and folder(cache).is_dir():
        sweep(folder(cache))
    for one in chosen:
        try:
            (one.place / MANIFEST).unlink()  # first, so that a half-deleted set is not believed
            shutil.rmtree(one.place)
        except OSError as error:
            raise RunError(
                f"'{one.place}' could not be deleted: {error.strerror or error}.", "Delete that folder by hand."
            ) from error
    return chosen


def _alive(process: int) -> bool:
    if os.name == "nt":  # there os.kill would end it; the age decides
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
