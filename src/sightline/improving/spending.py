"""Folders of runs, finished or not -> the seconds of training that they took."""

from __future__ import annotations

from pathlib import Path

from sightline.run import RunFolder
from sightline.training.history import History

PHASES = ("train_s", "valid_s", "probe_s", "checkpoint_s")
"""What an epoch's time is made of."""


def spent(runs: Path) -> float:
    """Add up the seconds of training that a folder of runs took so far, finished or not."""
    return sum(took(RunFolder(path.parent)) for path in runs.glob("*/run.json"))


def took(folder: RunFolder) -> float:
    """Give the seconds that a run took: training and evaluation, or what is known so far."""
    seconds = folder.read_state().get("seconds") or {}
    return sum(float(value) for value in seconds.values()) or trained(folder)


def trained(folder: RunFolder) -> float:
    """Add up the seconds of the epochs of a run that has not ended."""
    if not folder.timing.is_file():
        return 0.0
    rows = History.read(folder.timing).rows
    return float(sum(value for row in rows for name, value in row.items() if name in PHASES))
