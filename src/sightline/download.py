"""A file's addresses and checksum -> the file, complete and checked, or nothing under its name."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from sightline import __version__, files
from sightline.errors import SourceError
from sightline.progress import Progress, Task

CHUNK = 1 << 18


@dataclass(frozen=True)
class File:
    """A file of public data.

    Attributes:
        name: what it is called on disk.
        urls: where it can be fetched, the best place first; each holds the same bytes.
        sha256: the checksum of the whole file: its 64 hexadecimal digits, or as many of the first as are published.
        size: bytes.
        rounded: bytes by which ``size`` may be off, where it was published rounded; then the checksum alone decides.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int
    rounded: int = 0

    @property
    def megabytes(self) -> str:
        """Its size for people: ``"46.8 MB"``."""
        return f"{self.size / 1e6:,.1f} MB"

    def fits(self, size: int) -> bool:
        """Tell whether a file of so many bytes may be this one."""
        return abs(size - self.size) <= self.rounded

    def matches(self, path: Path) -> bool:
        """Compare the content's checksum with the digits that are known; reads the whole file."""
        return sha256_of(path).startswith(self.sha256)


def fetch(file: File, folder: Path, *, progress: Progress | None = None, timeout: float = 30.0) -> Path:
    """Fetch a file, unless it is there already.

    What arrives goes to ``<name>.part``; that is kept when the connection breaks or the program is stopped, and the
    next call goes on from there, from whichever address answers. Only a file with the right checksum gets its name.

    Args:
        file: what to fetch; each address is tried in order.
        folder: where to put it; made if need be.
        progress: shows how much has come, in MB.
        timeout: seconds without a byte before an address is given up.

    Returns:
        The path of the complete file.

    Raises:
        SourceError: no address gave the right file (says what each one answered), or the disk is full.
        RunError: the folder cannot be made.
    """
    target = files.make_folder(folder) / file.name
    if target.is_file() and file.fits(target.stat().st_size):
        return target
    part = folder / f"{file.name}.part"
    faults = []
    with (progress or Progress(quiet=True)).task(f"Downloading {file.name}, MB", file.size / 1e6) as task:
        for url in file.urls:
            fault = _try(url, file, part, task, timeout)
            if fault is None:
                part.replace(target)
                return target
            faults.append(f"{url}: {fault}")
    kept = part.stat().st_size if part.is_file() else 0
    again = f"Run the same command again: it goes on after {kept / 1e6:,.1f} of {file.size / 1e6:,.1f} MB."
    raise SourceError(
        f"'{file.name}' could not be downloaded. " + "; ".join(faults) + ".",
        again if kept else f"Check the connection, or fetch it in another way and put it into '{folder}'.",
    )


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _try(url: str, file: File, part: Path, task: Task, timeout: float) -> str | None:
    """Fetch from one address, going on from what is there; say what went wrong, or None."""
    while True:
        begun = part.stat().st_size if part.is_file() else 0
        if begun > file.size + file.rounded:
            part.unlink()
            begun = 0
        try:
            if begun < file.size - file.rounded or (file.rounded and not file.matches(part)):
                _receive(url, file, part, begun, task, timeout)
            if file.matches(part):
                return None
            fault = "its content is not what it should be (wrong SHA-256), so nothing was kept"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 416 or not begun:  # 416: it has no such place to go on from
                return f"it answered {error.code} {error.reason}"
            fault = ""
        except urllib.error.URLError as error:
            return str(error.reason)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise SourceError(
                    f"'{part}' cannot be written: {error.strerror}.",
                    "Free some space or choose another folder with the variable SIGHTLINE_CACHE, then run it again.",
                ) from None
            return str(error) or type(error).__name__
        part.unlink(missing_ok=True)
        if not begun:  # what was there before may have been at fault: then this address gets a second chance
            return fault


def _receive(url: str, file: File, part: Path, begun: int, task: Task, timeout: float) -> None:
    headers = {"User-Agent": f"sightline/{__version__}", "Accept-Encoding": "identity"}
    if begun:
        headers["Range"] = f"bytes={begun}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
        goes_on = answer.status == 206 and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {begun}-")
        have = begun if goes_on else 0
        task.advance(have / 1e6 - task.done)
        most = file.size + file.rounded
        with part.open("ab" if goes_on else "wb") as target:
            while have < most and (content := answer.read(min(CHUNK, most - have))):
                target.write(content)
                have += len(content)
                task.advance(len(content) / 1e6)
            target.flush()
            os.fsync(target.fileno())
    if have < file.size - file.rounded:
        raise OSError(f"it stopped after {have / 1e6:,.1f} of {file.size / 1e6:,.1f} MB")
