"""A stand-in hub in place of the real one, and a finished run to push."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stand_in import TOKEN, Hub

import sightline
from sightline.making.trained import Run
from sightline.progress import Progress


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Start the server and point the package at it, which reads its addresses when it is imported."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    os.environ.update(
        HF_ENDPOINT=server.url, HF_HOME=str(tmp_path_factory.mktemp("hf")), HF_HUB_DISABLE_XET="1",
        HF_HUB_DISABLE_TELEMETRY="1",
    )  # fmt: skip
    for name in [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]:
        del sys.modules[name]
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    for name in ("HF_ENDPOINT", "HF_HOME", "HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY"):
        del os.environ[name]


@pytest.fixture
def hub(_server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    """Give an empty hub, whose user is logged in, and make an empty folder the working one."""
    _server.clear()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    return _server


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, draw_folder: Callable[..., Path]) -> Run:
    """A run on drawings in a folder with a telling name; its network is large enough to be a large file."""
    place = tmp_path_factory.mktemp("jane") / "patients of dr no"
    photos = draw_folder(place / "photos", per_class=20, size=16)
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        path.rename(path.with_name(f"secret-{number}.png"))
    return sightline.train(
        photos,
        "mlp",
        epochs=1,
        runs=place / "runs",
        name="first",
        progress=Progress(quiet=True),
        options={"hidden": 32},
    )
