"""Write a file or folder whole or not at all: a reader, or a crash, sees the old content or the new, never half."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sightline.errors import RunError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well, it is flushed to disk and renamed to ``path``.

    Raises:
        RunError: the disk is full or the folder cannot be written; ``path`` is then as it was.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise _told(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` to fill; when the block ends well, it becomes ``path``, else it is removed.

    Raises:
        RunError: ``path`` exists already, the disk is full, or the folder above cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise RunError(f"'{path}' exists already.", "Choose a folder that does not exist yet.")
    make_folder(path.parent)
    temporary: Path | None = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        temporary.rename(path)
    except OSError as error:
        raise _told(error, path) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the content of ``path``, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Replace the content of ``path`` by UTF-8 text (file names that are not, as their bytes), whole or not at all."""
    write_bytes(path, content.encode(errors="surrogateescape"))


def write_json(path: Path, content: Any) -> None:
    """Replace the content of ``path`` by indented JSON (no NaN: it is not JSON), whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def make_folder(path: Path, *, exist_ok: bool = True) -> Path:
    """Make a folder and its parents.

    Raises:
        RunError: it cannot be made there.
    """
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError:
        raise
    except OSError as error:
        raise _told(error, path) from error
    return path


def cache_folder(cache: Path | None = None) -> Path:
    """Give the folder for what can be made again: ``cache``, else $SIGHTLINE_CACHE, else the user's cache folder."""
    from platformdirs import user_cache_path

    base = cache or os.environ.get("SIGHTLINE_CACHE") or user_cache_path("sightline", appauthor=False)
    return Path(base).expanduser().absolute()


@contextmanager
def held(path: Path, fault: str) -> Iterator[None]:
    """Hold a lock while the block runs: the file ``path``, which stays; the system frees it however a process ends.

    Where the system has no such locks (Windows), nothing is held.

    Raises:
        RunError: another process holds it; ``fault`` says what that means.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        file = path.open("a")
    except OSError as error:
        raise _told(error, path) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(fault, "Wait until the other is done, or end it.") from None
        yield


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _told(error: OSError, path: Path) -> RunError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"the disk is full: '{path}' could not be written.",
            "Free some space (`sightline cache` shows what can go) and run the same command again.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RunError(f"no permission to write '{path}'.", "Choose a folder of yours, for runs with --runs FOLDER.")
    return RunError(f"'{path}' could not be written: {error.strerror or error}.", "Check the folder and try again.")
