"""The law of untouched: no command changes anything in the folder the user named."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def picture(folder: Path) -> dict[str, tuple[str, int, int, int]]:
    """Give each entry's content, kind and permissions, size and time of change; reading must leave them all."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        content = os.readlink(path) if path.is_symlink() else content
        found[str(path.relative_to(folder))] = (content, state.st_mode, state.st_size, state.st_mtime_ns)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, draw_folder: Callable[..., Path]) -> Path:
    """Class folders with odd entries among the images, and a trained run beside them."""
    place = tmp_path_factory.mktemp("untouched")
    photos = draw_folder(place / "photos", per_class=12)
    (photos / "disc" / "broken.png").write_bytes((photos / "disc" / "0.png").read_bytes()[:200])
    (photos / "disc" / "empty.jpg").write_bytes(b"")
    (photos / "bar" / "dangling.png").symlink_to("nowhere.png")
    (photos / "bar" / "notes.txt").write_text("not an image")
    (photos / ".hidden").mkdir()
    done = command(place, "train", "photos", "--model", "mlp", "--epochs", "1", "--name", "first")
    assert done.returncode == 0, done.stderr
    return place


def command(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sightline", *arguments], cwd=place, capture_output=True, text=True, timeout=300
    )


COMMANDS = [
    ["check", "photos"],
    ["train", "photos", "--model", "mlp", "--epochs", "1"],
    ["train", "photos", "--preview"],
    ["lr", "photos", "--model", "mlp"],
    ["evaluate", "runs/first"],
    ["evaluate", "runs/first", "photos"],
    ["predict", "runs/first", "photos"],
    ["predict", "runs/first", "photos/disc/0.png", "--csv"],
    ["report", "runs/first"],
    ["vote", "runs/first", "--views", "shifts", "--name", "vote"],
    ["resume", "runs/first"],
    ["cache"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_command_touches_the_source(folder: Path, arguments: list[str]) -> None:
    before = picture(folder / "photos")
    done = command(folder, *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    assert picture(folder / "photos") == before


@pytest.mark.parametrize("arguments", [["evaluate", "runs/first"], ["predict", "runs/first", "photos/disc/0.png"]])
def test_looking_at_a_run_changes_none_of_its_results(folder: Path, arguments: list[str]) -> None:
    before = picture(folder / "runs" / "first")
    done = command(folder, *arguments)
    assert done.returncode == 0, done.stderr
    assert picture(folder / "runs" / "first") == before


def test_no_command_leaves_anything_beside_the_run(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} <= {"photos", "runs", "lr.svg"}
