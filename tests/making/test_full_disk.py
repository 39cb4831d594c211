"""A disk that becomes full in the middle of a training: one message, nothing half, and resume ends as if it had not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TRAIN = ["train", "digits", "--model", "mlp", "--epochs", "3", "--name", "first"]
RESULTS = ["best.safetensors", "last.safetensors", "history.jsonl", "valid_losses.npy", "split.csv", "predictions.csv"]


def sightline(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sightline", *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a training leaves behind on a disk with room."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = sightline(*TRAIN, folder=folder)
    assert done.returncode == 0, done.stderr
    return {name: (folder / "runs" / "first" / name).read_bytes() for name in RESULTS}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, which can grow; where we may not mount one, the test is skipped."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.name != "posix"
        or subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True).returncode
    ):
        pytest.skip("only root may mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


# At 100 kB the first checkpoint does not fit; at 350 kB it does, but no later one beside it.
@pytest.mark.parametrize("size", ["100k", "350k"])
def test_a_training_on_a_full_disk_can_be_resumed(disk: Path, size: str, undisturbed: dict[str, bytes]) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
    full = sightline(*TRAIN, folder=disk)
    assert full.returncode == 1
    assert "error: the disk is full: '" in full.stderr
    assert "Traceback" not in full.stderr
    run = disk / "runs" / "first"
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []

    subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
    resumed = sightline("resume", "runs/first", folder=disk)
    assert resumed.returncode == 0, resumed.stderr
    for name in RESULTS:
        assert (run / name).read_bytes() == undisturbed[name], name


def test_no_room_at_all(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=4k", str(disk)], check=True)
    done = sightline(*TRAIN, folder=disk)
    assert done.returncode == 1
    assert "error: the disk is full: '" in done.stderr
    assert "Traceback" not in done.stderr
