"""``sightline see``: which words mean what, and what a mistyped one is answered."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    code, out, err = see("runs/mine", "--steps", "0", "--units", "1", "-q")
    assert (code, err) == (0, "")
    assert out == "runs/mine/gallery.html\n"
    assert (place / "runs/mine/gallery.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert 'href="gallery.html"' in (place / "runs/mine/report.html").read_text(encoding="utf-8")


def test_kernels_by_layer(see: See, place: Path) -> None:
    code, out, _ = see("kernels", "runs/mine", "--layer", "c1", "--json")
    assert code == 0
    told = json.loads(out)
    assert [each["layer"] for each in told["layers"]] == ["c1"]
    assert (place / told["page"]).is_file()


def test_maps_and_saliency_of_images_given_and_held_out(see: See, place: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(place / "new.png")
    (place / "bad.png").write_bytes(b"no image")
    code, out, err = see("maps", "runs/mine", "new.png", "bad.png", "--json", "-q")
    assert code == 0
    assert err.startswith("refused: bad.png")
    told = json.loads(out)
    assert [layer["stage"] for layer in told["layers"]][:2] == ["C1", "S2"]
    assert told["layers"][0]["units"] == 6
    assert "new.png: taken for" in (place / told["page"]).read_text(encoding="utf-8")
    code, out, _ = see("saliency", "runs/mine", "--method", "gradient", "--class", "3", "--json", "-q")
    assert code == 0
    told = json.loads(out)
    assert [way["method"] for way in told["ways"]] == ["gradient"]
    assert told["ways"][0]["cells"] == [8, 8]
    assert told["ways"][0]["sentence"]
    code, out, err = see("maps", "runs/mine", "bad.png", "-q")
    assert (code, out) == (1, "")
    assert "none of the 1 images can be read" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["kernls"], "Did you mean 'kernels'?"),
        (["runs/mnie"], "Did you mean 'runs/mine'?"),
        (["kernels", "runs/mine", "--layer", "c11"], "Did you mean 'c1'?"),
        (["runs"], "is not a run folder"),
        (["saliency", "runs/mine", "--class", "33", "-q"], "there is no class '33'"),
        (["saliency", "runs/mine", "--method", "gradcan", "-q"], "Did you mean 'gradcam'?"),
        (["maps", "runs/mine", "--layer", "c11", "-q"], "Did you mean 'c1'?"),
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


def test_seeing_takes_torch_numpy_and_pillow_alone() -> None:
    code = (
        "import importlib, pkgutil, sys, numpy, PIL.Image, torch\n"
        "before = {name.split('.')[0] for name in sys.modules} | set(sys.stdlib_module_names)\n"
        "import sightline.seeing as room\n"
        "for part in pkgutil.iter_modules(room.__path__): importlib.import_module(f'sightline.seeing.{part.name}')\n"
        "from sightline.seeing import atlas, dream, objectives\n"
        "net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 2))\n"
        "dream.dream(net, [objectives.channel('0', 1), objectives.logit(1)], (1, 8, 8), steps=2)\n"
        "atlas.atlas(net, torch.rand(9, 1, 8, 8), numpy.arange(9) % 2, method='pca').agreement()\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["sightline"], done.stderr
