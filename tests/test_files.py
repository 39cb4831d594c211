"""Files are written whole or not at all, whatever goes wrong on the way, and the fault is told."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sightline import files
from sightline.errors import RunError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_content_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    files.write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert names(tmp_path) == ["a.txt"]


def test_json_can_be_read_back_by_anyone(tmp_path: Path) -> None:
    content = {"classes": ["größe", "日本"], "accuracy": 0.5, "none": None}
    files.write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == content


def test_json_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert names(tmp_path) == []


def test_the_users_umask_decides_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a.txt", "x")
        assert os.umask(0o027) == 0o027  # left as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_fault_inside_the_block_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with files.whole(path) as temporary:
            temporary.write_text("half of")
            raise KeyError("a fault of the caller")

    with pytest.raises(KeyError):
        fail_half_way()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("at", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, at: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    where = {"write": (Path, "write_bytes"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[at]
    monkeypatch.setattr(*where, full)
    with pytest.raises(RunError, match=r"disk is full: '.*a\.txt'") as caught:
        files.write_text(path, "new")
    assert "sightline cache" in caught.value.hint
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write beyond ``size`` bytes in any file: a real fault, not a patched one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_the_system_refuses_half_way_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with largest_file(100_000), pytest.raises(RunError, match="could not be written: File too large"):
        files.write_bytes(path, bytes(1_000_000))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB of its own, where we may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a tiny file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(tiny_disk: Path) -> None:
    path = tiny_disk / "a.bin"
    files.write_bytes(path, bytes(30_000))
    with pytest.raises(RunError, match="disk is full"):
        files.write_bytes(path, bytes(60_000))
    assert path.stat().st_size == 30_000
    assert names(tiny_disk) == ["a.bin"]


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may write anywhere: let the system's call refuse

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr("tempfile.mkstemp", refuse)
        monkeypatch.setattr(Path, "mkdir", refuse)
    else:
        tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunError, match=r"no permission to write '.*a\.txt'"):
            files.write_text(tmp_path / "a.txt", "x")
        with pytest.raises(RunError, match=r"no permission to write '.*runs'"):
            files.make_folder(tmp_path / "runs")
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_is_missing_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file or directory"):
        files.write_text(tmp_path / "missing" / "a.txt", "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Not a directory"):
        files.make_folder(tmp_path / "file" / "runs")


def test_a_folder_may_be_made_twice_only_if_it_may_exist(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")
    with pytest.raises(FileExistsError):
        files.make_folder(tmp_path / "a" / "b", exist_ok=False)


WRITER = """
import sys
from pathlib import Path
from sightline import files
path = Path(sys.argv[1])
for number in range(1_000_000):
    files.write_text(path, str(number % 10) * 100_000)
"""


def test_a_killed_writer_leaves_old_or_new_content_never_half(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("0" * 100_000)
    for attempt in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        time.sleep(0.15 + 0.013 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        content = path.read_text()
        assert len(content) == 100_000
        assert len(set(content)) == 1
