"""``sightline see``: which words mean what, and what a mistyped one is answered."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline import cli

See = Callable[..., tuple[int, str, str]]


@pytest.fixture
def see(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> See:
    """Give a function that types ``sightline see ...`` beside the runs, and gives exit code, stdout, stderr."""
    monkeypatch.chdir(place)

    def type_(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sightline", "see", *words])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return type_


def test_a_run_alone_means_its_gallery(see: See, place: Path) -> None:
    code, out, err = see("gallery", "runs/mine", "--steps", "0", "--units", "1", "-q")
    assert (code, err) == (0, "")
    before = (place / "runs/mine/gallery.html").stat().st_mtime_ns
    code, out, err = see("runs/mine", "--steps", "0", "--units", "1", "-q")
    assert (place / "runs/mine/gallery.html").stat().st_mtime_ns > before
    assert (code, err) == (0, "")
    assert out == "runs/mine/gallery.html\n"
    assert (place / "runs/mine/gallery.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_kernels_by_layer(see: See, place: Path) -> None:
    code, out, _ = see("kernels", "runs/mine", "--layer", "c1", "--json")
    assert code == 0
    told = json.loads(out)
    assert [each["layer"] for each in told["layers"]] == ["c1"]
    assert (place / told["page"]).is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["kernls"], "Did you mean 'kernels'?"),
        (["runs/mnie"], "Did you mean 'runs/mine'?"),
        (["kernels", "runs/mine", "--layer", "c11"], "Did you mean 'c1'?"),
        (["runs"], "is not a run folder"),
    ],
)
def test_a_mistyped_word_is_one_clear_error(see: See, words: list[str], says: str) -> None:
    code, out, err = see(*words)
    assert (code, out) == (1, "")
    assert says in err
    assert "Traceback" not in err


def test_help_lists_the_parts_and_loads_no_torch() -> None:
    code = (
        "import sys, sightline.cli as cli\n"
        "sys.argv = ['sightline', 'see', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "kernels" in done.stdout
    assert done.stdout.rstrip().endswith("False")
