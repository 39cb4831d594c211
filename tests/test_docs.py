"""The law of docs: every code block in the README and in docs/ runs, in order, in an empty folder.

What a fence may say::

    ```python    runs; the blocks of a file share their names
    ```sh        runs with bash, which stops at the first failure
    ```toml      is read, and so is ```json
    ```text      is for the eye: output, trees

A block that cannot run here has a reason on the line above it: ``<!-- not run: it downloads 170 MB -->``. In the folder
stand ``photos/`` (class folders, drawn) and ``new.jpg``, which stand for the reader's own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sightline.flags import pairs
from sightline.models import zoo
from sightline.settings import Settings

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benches" / "README.md"]
FENCE = re.compile(r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<kind>\S*)\n(?P<code>.*?)^```$", re.M | re.S)
KINDS = {"python", "sh", "toml", "json", "text"}


@dataclass(frozen=True)
class Block:
    """One fenced block: what it is, its text, the line of its fence, why it is not run."""

    kind: str
    code: str
    line: int
    reason: str | None


def blocks(file: Path) -> list[Block]:
    text = file.read_text(encoding="utf-8")
    return [Block(m["kind"], m["code"], text[: m.start("code")].count("\n"), m["reason"]) for m in FENCE.finditer(text)]


def by_name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=by_name)
def test_every_fence_says_what_it_is(file: Path) -> None:
    found = blocks(file)
    assert 2 * len(found) == len(re.findall(r"^ *```", file.read_text(encoding="utf-8"), re.M)), "an unread fence"
    for block in found:
        assert block.kind in KINDS, f"{file}:{block.line}: '{block.kind}' is none of {sorted(KINDS)}"


@pytest.mark.parametrize("file", FILES, ids=by_name)
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", file.read_text(encoding="utf-8")):
        assert (file.parent / target).exists(), f"{file} points to '{target}', which does not exist"


@pytest.mark.parametrize("file", [f for f in FILES if any(b.kind != "text" for b in blocks(f))], ids=by_name)
def test_every_block_runs(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw_folder: Callable[..., Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("COLUMNS", "100")
    draw_folder(tmp_path / "photos")
    with Image.open(tmp_path / "photos" / "disc" / "0.png") as image:
        image.save(tmp_path / "new.jpg")
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(file):
        if block.reason is None:
            run(block, f"{file}:{block.line}", names)


def run(block: Block, place: str, names: dict[str, Any]) -> None:
    """Run one block as its reader would; the names of Python blocks live on in ``names``."""
    if block.kind == "python":
        code = compile("\n" * block.line + block.code, place, "exec")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(code, names)
    elif block.kind == "sh":
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block.code], capture_output=True, text=True)
        assert done.returncode == 0, f"{place} failed:\n{done.stdout}{done.stderr}"
    elif block.kind == "toml":
        tomllib.loads(block.code)
    elif block.kind == "json":
        json.loads(block.code)


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import commands; print(commands.page(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert done.stdout == page, "run: python docs/commands.py"


def test_the_cards_of_networks_are_what_the_plans_say() -> None:
    """Drawings and tables in docs/models are made; every network has a card, every drawing is shown."""
    done = subprocess.run(
        [sys.executable, "-c", "import draw, json; print(json.dumps([draw.stale(), draw.FAMILIES, [*draw.FIGURES]]))"],
        cwd=ROOT / "docs" / "models",
        capture_output=True,
        text=True,
        check=True,
    )
    stale, families, figures = json.loads(done.stdout)
    assert stale == [], "run: python docs/models/draw.py"
    assert {name for networks in families.values() for name, _ in networks} == set(zoo.ZOO)
    cards = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "models").glob("*.md")}
    assert set(families) <= set(cards)
    for name in figures:
        assert any(f"]({name}.svg)" in text for text in cards.values()), f"no card shows {name}.svg"


def test_the_write_up_of_an_experiment_claims_what_was_measured() -> None:
    """The part with figures is made from what the comparison left; it may still be under way."""
    done = subprocess.run(
        [sys.executable, "-c", "import plain_and_residual, json; print(json.dumps(plain_and_residual.stale()))"],
        cwd=ROOT / "docs" / "experiments",
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [], "run: python docs/experiments/plain_and_residual.py"


def test_the_commands_of_the_cards_can_be_typed() -> None:
    """They train too long to run here; settings and the options of the network are checked."""
    lines = [
        line
        for file in sorted((ROOT / "docs" / "models").glob("*.md"))
        for block in blocks(file)
        if block.kind == "sh" and block.reason
        for line in block.code.splitlines()
        if line.startswith("sightline train")
    ]
    assert len(lines) >= 10
    for line in lines:
        _, _, _, *rest = shlex.split(line, comments=True)
        typed = dict(zip(rest[::2], rest[1::2], strict=True))
        options = [value for flag, value in zip(rest[::2], rest[1::2], strict=True) if flag == "--option"]
        fields = {flag[2:].replace("-", "_"): value for flag, value in typed.items() if flag != "--option"}
        settings = Settings(options=pairs(options, "--option"), **fields)
        zoo.plan_for(settings.model, "3x32x32", **settings.options)
