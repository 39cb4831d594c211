"""The law of offline: nothing opens a socket unless the user asked for a download or a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Python tells its own audit hooks of every socket, whoever opens it, in C or in Python, before it is opened.
GUARD = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(refuse)
"""

SCRIPTS = {
    "load and train": """
import sightline
images = sightline.load("digits")
run = sightline.train(images, model="mlp", epochs=1)
run.evaluate()
run.predict("new.png")
run.report()
""",
    "the commands": """
from sightline.cli import app
for line in (
    "check digits", "train digits --model mlp --epochs 1 --name first", "evaluate runs/first",
    "predict runs/first new.png", "report runs/first", "models", "doctor", "cache",
    "push runs/first jane/first --only-to look",
):
    app(line.split(), standalone_mode=False)
""",
    "a data set that is not here": """
import sightline
try:
    sightline.load("mnist")
except sightline.SightlineError as error:
    assert "download" in str(error), error
else:
    raise AssertionError("mnist came from nowhere")
""",
}


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GUARD + script], cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_opens_a_socket(name: str, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (8, 8), 128).save(tmp_path / "new.png")
    done = run(SCRIPTS[name], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "script", ["import socket; socket.socket()", "import urllib.request as u; u.urlopen('http://x')"]
)
def test_the_guard_notices_a_socket(script: str, tmp_path: Path) -> None:
    done = run(script, tmp_path)
    assert done.returncode != 0
    assert "AssertionError: socket." in done.stderr
