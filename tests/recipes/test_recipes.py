"""Recipes: what a file may say, members trained in turn on one split, flags that win, trainings that go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import sightline
from sightline.ensembles.ensemble import Ensemble
from sightline.errors import ModelError, RunError, SettingsError, SightlineError, TrainingError
from sightline.making import recipe as single
from sightline.making.prepared import read_split
from sightline.progress import Progress
from sightline.recipes import training
from sightline.recipes.reading import bundled, read

QUIET = Progress(quiet=True)

THREE = """
description = "three small networks"
vote = "hard"

[settings]
epochs = 2
batch_size = 16
augment = "none"
precision = "fp32"
device = "cpu"
test_fraction = 0.3

[[members]]
model = "mlp"
balance = "oversample"

[[members]]
model = "mlp"
balance = "oversample"
balance_valid = true

[[members]]
name = "small"
model = "logistic"
image_size = 12
seed = 9
options = {}
"""


def written(folder: Path, text: str = THREE, name: str = "three") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, draw_folder: Callable[..., Path]) -> Path:
    return draw_folder(tmp_path_factory.mktemp("recipes") / "shapes", per_class=30)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Ensemble:
    place = tmp_path_factory.mktemp("trained")
    return training.train_ensemble(shapes, written(place), runs=place / "runs", progress=QUIET)


def test_a_recipe_becomes_an_ensemble_in_one_folder(trained: Ensemble) -> None:
    assert trained.path.name == "three-shapes", "the same command finds it again"
    assert trained.vote == "hard"
    assert [member.name for member in trained.members] == ["mlp-oversample", "mlp-oversample-2", "small"]
    assert trained.folder.report.is_file()
    for member in trained.members:
        assert member.run.path.parent == trained.folder.members
        assert member.run.folder.best.is_file()
        assert member.run.folder.report.is_file(), "members are runs like any other"
    assert Ensemble.load(trained.path).headline == trained.headline
    assert trained.members[2].run.preprocessing.size == (12, 12)


def test_members_share_one_split_and_differ_in_seed(trained: Ensemble) -> None:
    splits = [[(row["file"], row["split"]) for row in read_split(member.run.folder)] for member in trained.members]
    assert splits[0] == splits[1] == splits[2]
    assert [member.run.settings.seed for member in trained.members] == [0, 1, 9]
    assert trained.judge(progress=QUIET).standing.count == 27


def test_the_same_command_keeps_what_is_finished(trained: Ensemble, shapes: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.path.rglob("*")}
    again = training.train_ensemble(shapes, written(tmp_path), runs=trained.path.parent, progress=QUIET)
    assert again.headline == trained.headline
    assert {path: path.stat().st_mtime_ns for path in trained.path.rglob("*")} == before
    with pytest.raises(RunError, match="other settings"):
        training.train_ensemble(shapes, written(tmp_path), runs=trained.path.parent, epochs=3, progress=QUIET)
    with pytest.raises(RunError, match="trained on"):
        training.train_ensemble(
            "digits", written(tmp_path), runs=trained.path.parent, name="three-shapes", progress=QUIET
        )


@pytest.mark.parametrize("again", ["resume", "the same command"])
def test_an_interrupted_recipe_ends_as_if_it_had_not_been(
    again: str, trained: Ensemble, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, carry_out, calls = written(tmp_path), single.carry_out, []

    def interrupted(trainer: object, *rest: object) -> object:
        calls.append(trainer)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return carry_out(trainer, *rest)

    monkeypatch.setattr(single, "carry_out", interrupted)
    with pytest.raises(RunError, match="1 of 3 members are ready"):
        training.train_ensemble(shapes, file, runs=tmp_path, progress=QUIET)
    monkeypatch.undo()
    folder = tmp_path / "three-shapes"
    assert not (folder / "ensemble.json").exists()
    first = (folder / "members" / "mlp-oversample" / "best.safetensors").stat().st_mtime_ns
    if again == "resume":
        ended = training.resume(folder, progress=QUIET)
    else:
        ended = training.train_ensemble(shapes, file, runs=tmp_path, progress=QUIET)
    assert (folder / "members" / "mlp-oversample" / "best.safetensors").stat().st_mtime_ns == first
    for mine, other in zip(ended.members, trained.members, strict=True):
        assert mine.run.folder.best.read_bytes() == other.run.folder.best.read_bytes()
    assert ended.folder.evaluation.read_bytes() == trained.folder.evaluation.read_bytes()


def test_flags_win_for_every_member() -> None:
    recipe = read(bundled()["hackathon"]).with_flags({"epochs": 3, "seed": 5, "minutes": 8.0})
    runs = recipe.runs(Path("runs"))
    assert {settings.epochs for settings in runs.values()} == {3}
    assert [settings.seed for settings in runs.values()] == [5, 6, 7, 8]
    assert {settings.split_seed for settings in runs.values()} == {5}
    assert {settings.minutes for settings in runs.values()} == {2.0}
    assert recipe.vote == "hard"


def test_another_network_takes_none_of_the_options_of_the_recipes() -> None:
    fast = read("fast")
    assert fast.with_flags({"options": {"width": 0.5}}).shared["options"] == {"norm_momentum": 0.4, "width": 0.5}
    assert fast.with_flags({"model": "fastnet"}).shared["options"] == {"norm_momentum": 0.4}
    assert "options" not in fast.with_flags({"model": "mlp"}).shared
    assert fast.with_flags({"model": "mlp", "options": {"width": 2}}).shared["options"] == {"width": 2}


def test_the_lectures_winner_comes_with_it() -> None:
    recipe = read("hackathon")
    assert [member.values["model"] for member in recipe.members] == ["transformer", "transformer", "bigru", "bigru"]
    assert [member.values.get("balance_valid", False) for member in recipe.members] == [False, False, False, True]
    assert recipe.description


def test_what_is_written_is_read_as_the_same(tmp_path: Path) -> None:
    import tomli_w

    recipe = read(written(tmp_path))
    again = read(written(tmp_path / ".", tomli_w.dumps(recipe.as_toml()), "three"))
    assert again == recipe


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("epochs = 3", SettingsError, "unknown key 'epochs'"),
        ("[setings]\nepochs = 3", SettingsError, "Did you mean 'settings'"),
        ("[settings]\nepoch = 3", SettingsError, "recipe 'bad': unknown setting 'epoch'. Did you mean 'epochs'"),
        (
            THREE + "[[members]]\nmodel = 'mpl'",
            ModelError,
            r"member 'mpl': there is no network 'mpl'.* Did you mean 'mlp'",
        ),
        (THREE + "[[members]]\nepochs = 0", SettingsError, "member 'member4': 'epochs' should be"),
        (THREE + "[[members]]\nbalance = 'smot'", SettingsError, "member 'smot': balance is 'smot'"),
        (THREE + "[[members]]\nname = 'small'", SettingsError, "two members 'small'"),
        (THREE + "[[members]]\nname = '../x'", SettingsError, "'name' should be letters"),
        (THREE + "[[members]]\ntest_fraction = 0.5", SettingsError, "has a 'test_fraction' of its own"),
        ("[[members]]\nmodel = 'mlp'", SettingsError, "one member"),
        ("vote = 'sotf'\n[[members]]\n[[members]]", SettingsError, "Did you mean 'soft'"),
        ("views = ['flip']\n[[members]]\n[[members]]", SettingsError, "Did you mean 'flips'"),
        ("weights = [1, 2]\n[[members]]\n[[members]]", SettingsError, "has weights, but its vote is soft"),
        ("vote = 'weighted'\nweights = [1]\n[[members]]\n[[members]]", SettingsError, "1 weights for 2"),
        ("settings = 3", SettingsError, "no table"),
        ("members = 3", SettingsError, "no table"),
        ("[settings", SettingsError, "no valid TOML"),
    ],
)
def test_faults_of_a_recipe_are_told_before_anything_trains(
    text: str, error: type[SightlineError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        training.train_ensemble("digits", written(tmp_path, text, "bad"), runs=tmp_path / "runs", progress=QUIET)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[[members]]\nbatch_size = 5000", "member 'member4': 'batch_size' is 5000"),
        ("[[members]]\nmodel = 'mlp'\noptions = {hiden = [3]}", "member 'mlp': 'mlp' has no option 'hiden'"),
        ("[[members]]\nmodel = 'alexnet'\noptions = {adapt = false}", "member 'alexnet': "),
    ],
)
def test_members_that_cannot_be_trained_are_told_before_anything_trains(
    more: str, said: str, shapes: Path, tmp_path: Path
) -> None:
    with pytest.raises(SightlineError, match=said):
        training.train_ensemble(shapes, written(tmp_path, THREE + more), runs=tmp_path / "runs", progress=QUIET)
    assert not (tmp_path / "runs").exists()


def test_a_recipe_that_is_not_there_is_told() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'hackathon'"):
        read("hackaton")


def test_a_member_that_fails_is_named(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TrainingError("the loss is NaN.", "Lower --lr.")

    monkeypatch.setattr(single, "carry_out", fail)
    with pytest.raises(TrainingError, match="member 'mlp-oversample': the loss is NaN"):
        training.train_ensemble(shapes, written(tmp_path), runs=tmp_path, progress=QUIET)
    folder = tmp_path / "three-shapes"
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"
    monkeypatch.undo()
    (member,) = (folder / "members").iterdir()
    (member / "run.json").write_text(json.dumps({"format": 1, "status": "failed", "stopped": "the loss is NaN."}))
    with pytest.raises(TrainingError, match="member 'mlp-oversample': the loss is NaN"):
        training.resume(folder, progress=QUIET)


def test_a_recipe_may_be_settings_for_a_single_run(tmp_path: Path) -> None:
    file = written(tmp_path, "[settings]\nmodel = 'logistic'\nepochs = 1\n", "one")
    assert read(file).settings().model == "logistic"
    with pytest.raises(SettingsError, match="single run"):
        training.train_ensemble("digits", file, runs=tmp_path, progress=QUIET)


def test_the_command_trains_resumes_and_prints(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from sightline import cli

    def typed(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["sightline", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    file = written(tmp_path)
    shown = typed("train", shapes, "--recipe", file, "--epochs", "1", "--print-config")
    assert "epochs = 1" in shown
    words = ("train", shapes, "--recipe", file, "--epochs", "1", "--runs", tmp_path, "--json", "-q")
    told = json.loads(typed(*words))
    assert [seat["name"] for seat in told["members"]] == ["mlp-oversample", "mlp-oversample-2", "small"]
    assert json.loads(typed("resume", told["run"], "--json", "-q")) == told
    assert "accuracy" in json.loads(typed("evaluate", told["run"], "--json", "-q"))
    one = written(tmp_path, "[settings]\nmodel = 'logistic'\nepochs = 7\n", "one")
    typed("train", shapes, "--recipe", one, "--epochs", "1", "--runs", tmp_path, "--name", "one", "-q")
    assert sightline.Run.load(tmp_path / "one").settings.epochs == 1
    assert sightline.Run.load(tmp_path / "one").settings.model == "logistic"
