"""A small run to look into, trained once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import sightline
from sightline.progress import Progress


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run ``runs/mine``: LeNet-5 after a few steps on digits."""
    place = tmp_path_factory.mktemp("seeing")
    quiet = Progress(quiet=True)
    sightline.train(
        "digits", "lenet5", epochs=1, train_steps=4, probes=False, name="mine", runs=place / "runs", progress=quiet
    )
    return place
