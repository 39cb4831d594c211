"""More trainings like a run: on its images and its split, with other seeds; made once, and able to vote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import sightline
from sightline import cli
from sightline.comparison.siblings import siblings
from sightline.errors import RunError, SettingsError
from sightline.opened import open_run
from sightline.progress import Progress
from sightline.run import RunFolder

QUIET = Progress(quiet=True)
PLAIN = {"epochs": 2, "device": "cpu", "precision": "fp32", "batch_size": 16, "instruments": "none", "progress": QUIET}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, draw_folder: Callable[..., Path]) -> sightline.Run:
    """Drawn images in ``shapes``, and a short run on them."""
    root = tmp_path_factory.mktemp("siblings")
    draw_folder(root / "shapes", per_class=16)
    return sightline.train(root / "shapes", "mlp", image_size=12, seed=3, runs=root / "runs", name="first", **PLAIN)


@pytest.fixture(scope="module")
def three(run: sightline.Run) -> list[Path]:
    return siblings(run, 3, progress=QUIET)


def test_they_share_images_and_settings_and_differ_by_their_seed(run: sightline.Run, three: list[Path]) -> None:
    assert [path.name for path in three] == ["first", "first-seed4", "first-seed5"]
    assert all(path.parent == run.path.parent for path in three)
    assert len({RunFolder(path).split.read_bytes() for path in three}) == 1, "one split for all"
    settings = [sightline.Run.load(path).settings.model_dump() for path in three]
    apart = {name for each in settings for name in each if each[name] != settings[0][name]}
    assert apart == {"seed", "split_seed", "name", "probes"}
    losses = [sightline.Run.load(path).history.column("valid_loss") for path in three]
    assert not np.array_equal(losses[0], losses[1])
    assert not np.array_equal(losses[1], losses[2])


def test_what_is_trained_already_is_taken_over(run: sightline.Run, three: list[Path]) -> None:
    before = [RunFolder(path).best.stat().st_mtime_ns for path in three]
    assert siblings(run.path, 3, progress=QUIET) == three
    assert [RunFolder(path).best.stat().st_mtime_ns for path in three] == before


def test_the_command_lets_them_vote(run: sightline.Run, three: list[Path]) -> None:
    said = CliRunner().invoke(
        cli.app,
        ["vote", str(run.path), "--members", "3", "--runs", str(run.path.parent), "--name", "v", "--json", "-q"],
    )
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert Path(told["run"]).name == "v"
    assert open_run(told["run"]).members[2].name.endswith("first-seed5")


@pytest.mark.parametrize(
    ("asked", "fault"),
    [(["--members", "3"], "trains one run again, not 0"), (["--members", "1"], "'count' is 1"), ([], "")],
)
def test_what_makes_no_sense_is_refused(run: sightline.Run, asked: list[str], fault: str) -> None:
    names = [str(run.path)] if "1" in asked else [] if fault else [str(run.path), str(run.path), "--members", "2"]
    said = CliRunner().invoke(cli.app, ["vote", *names, *asked])
    assert said.exit_code != 0
    assert (fault or "trains one run again, not 2") in " ".join(str(said.exception).split() + said.output.split())


def test_it_cannot_go_on_without_its_images(run: sightline.Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "first")
    state = RunFolder(tmp_path / "first")
    told = state.read_json(state.data)
    state.data.write_text(json.dumps({**told, "source": None}))
    with pytest.raises(RunError, match="arrays in memory"):
        siblings(tmp_path / "first", 2, progress=QUIET)
    state.data.write_text(json.dumps({**told, "fingerprint": "0" * 64}))
    with pytest.raises(RunError, match="its images are others"):
        siblings(tmp_path / "first", 2, progress=QUIET)
    state.write_state(status="running")
    with pytest.raises(RunError, match="not finished"):
        siblings(tmp_path / "first", 2, progress=QUIET)
    with pytest.raises(SettingsError, match="'jobs' is 0"):
        siblings(run, 2, jobs=0, progress=QUIET)
