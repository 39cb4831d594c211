"""``sightline see arithmetic``: what it prints and writes, and what it refuses before it writes anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.errors import SettingsError


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["see", "arithmetic", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_it_prints_every_number_as_its_sum() -> None:
    told = run("1 2; 3 4", "--kernel", "1 1; 1 1")
    assert "(0, 0)  1·1 + 2·1 + 3·1 + 4·1 = 10" in told
    assert "... and 44 more" in run("ramp", "--side", "12", "--kernel", "identity", "--size", "1")
    assert "more" not in run("ramp", "--side", "12", "--kernel", "identity", "--size", "1", "--all")
    assert "max(0, 0, 0, 8) = 8" in run("--pool", "max", "--size", "2", "--at", "0,0")
    assert "In 20 steps" in run("--learn", "20")
    assert "2,517,630,976" in run("--padding", "1", "--cost")


def test_it_writes_films_and_pages(tmp_path: Path) -> None:
    film, page = tmp_path / "film.gif", tmp_path / "page.html"
    told = run("--stride", "3,2", "--film", str(film), "--page", str(page))
    assert told.splitlines()[-2:] == [f"film {film}", f"page {page}"]
    assert film.read_bytes().startswith(b"GIF89a")
    assert "script-src 'sha256-" in page.read_text(encoding="utf-8")


def test_as_json_it_gives_all_numbers() -> None:
    told = json.loads(run("1 2; 3 4", "--pool", "max", "--size", "2", "--stride", "1", "--padding", "1", "--json"))
    assert told["output"] == [[[1, 2, 2], [3, 4, 4], [3, 4, 4]]]
    assert len(told["sums"]) == 9
    assert json.loads(run("--learn", "3", "--json"))["learnt"]["losses"][0] > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--size", "three"], "--size three"),
        (["--size", "3,5"], "square"),
        (["--stride", "-1"], "--stride -1"),
        (["--at", "1"], "--at 1"),
        (["--at", "9,9"], "no output number"),
        (["--pool", "max", "--learn", "3"], "no weights"),
        (["--pool", "mean"], "mean"),
        (["--film", "film.mp4"], "film.mp4"),
        (["digits"], "Did you mean 'digit'"),
    ],
)
def test_bad_words_are_refused(words: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=told):
        run(*words, "--page", str(tmp_path / "page.html"))
    assert list(tmp_path.iterdir()) == []
