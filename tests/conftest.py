"""What all tests share: a cache and a home of their own, no network, the same random examples every time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

from reports.browser import Browser
from server import Server

# The same examples on every run, so that a red test is the change's fault; HYPOTHESIS_PROFILE=explore looks further.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test whose name differs from process to process: parallel workers could not agree on the tests."""
    for item in items:
        if " at 0x" in item.name:
            raise pytest.UsageError(f"{item.nodeid}: this name holds an address in memory; give the test an id.")


@pytest.fixture(scope="session", autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep caches out of the user's home; commands started by tests inherit this."""
    os.environ["SIGHTLINE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["MPLCONFIGDIR"] = str(tmp_path_factory.mktemp("matplotlib"))
    os.environ["MPLBACKEND"] = "Agg"
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """Hear Ctrl-C also where the tests were started in the background, with a shell that has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start one browser for all pages: it takes longer than most of them."""
    with Browser() as found:
        yield found


@pytest.fixture(scope="session")
def draw_folder() -> Callable[..., Path]:
    """Give a function that draws a folder of class folders: discs, bars and grids, which are easy to tell apart."""
    return draw


def draw(folder: Path, per_class: int = 20, size: int = 24, seed: int = 0, mode: str = "RGB") -> Path:
    """Draw ``per_class`` PNG images of each of three classes into ``folder/<class>/<number>.png``.

    Args:
        folder: made if it does not exist.
        per_class: images in each class.
        size: side in pixels.
        seed: of positions, colours and noise.
        mode: ``RGB`` or ``L`` (grey).
    """
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    for name in ("bar", "disc", "grid"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            at = random.integers(size // 4, 3 * size // 4, 2)
            shape = {
                "bar": abs(rows - at[0]) < size // 8,
                "disc": (rows - at[0]) ** 2 + (columns - at[1]) ** 2 < (size // 4) ** 2,
                "grid": ((rows + at[0]) // 3 + (columns + at[1]) // 3) % 2 == 0,
            }[name]
            colour = random.integers(120, 256, 3)
            pixels = random.normal(40, 12, (size, size, 3)) + shape[..., None] * colour
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a running web server of this machine; ``server.files`` holds what it serves."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()
