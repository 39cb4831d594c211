"""The command line as a user types it: results on stdout, progress on stderr, faults told once, exit codes 0, 1, 2."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline import cli
from sightline.files import cache_folder
from sightline.making.trained import Run
from sightline.run import RunFolder
from sightline.seeing.kept import Kept

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Give a function that types a command and returns exit code, stdout, stderr."""

    def type_(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sightline", *map(str, words)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return type_


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, draw_folder: Callable[..., Path]) -> tuple[RunFolder, Path]:
    """A run on drawn colour images, and the images."""
    from sightline import train
    from sightline.progress import Progress

    root = tmp_path_factory.mktemp("cli")
    images = draw_folder(root / "shapes", per_class=30)
    run = train(images, "mlp", epochs=3, runs=root / "runs", name="one", progress=Progress(quiet=True), device="cpu")
    return run.folder, images


def test_train_prints_result_run_and_report(typed: Typed, tmp_path: Path, draw_folder: Callable[..., Path]) -> None:
    source = draw_folder(tmp_path / "shapes", per_class=20)
    code, out, err = typed("train", source, "--model", "mlp", "--epochs", 2, "--runs", tmp_path / "runs", "--name", "a")
    assert code == 0
    headline, verdict, *advice, run, report = out.splitlines()
    assert "images recognised (95 % interval" in headline
    assert verdict == Run.load(tmp_path / "runs" / "a").verdict.sentence
    assert len(advice) <= 1
    assert run.split(maxsplit=1)[1] == str(tmp_path / "runs" / "a")
    assert Path(report.split(maxsplit=1)[1]).is_file()
    assert "class folders" in err
    assert "batch_size =" in err, "each derived setting is printed with its reason"


def test_json_is_one_object_with_figures_and_intervals(trained: tuple[RunFolder, Path], typed: Typed) -> None:
    code, out, _ = typed("evaluate", trained[0].path, "--json", "-q")
    scores = json.loads(out)
    assert code == 0
    assert set(scores["accuracy"]) == {"value", "low", "high"}
    assert scores["accuracy"]["low"] <= scores["accuracy"]["value"] <= scores["accuracy"]["high"]


def test_predict_names_what_it_refuses(trained: tuple[RunFolder, Path], typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"<html>not found</html>")
    good = trained[1] / "disc" / "3.png"
    code, out, err = typed("predict", trained[0].path, good, tmp_path / "broken.png", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 1
    assert [row["file"] for row in rows] == [str(good)]
    assert sum(float(rows[0][name]) for name in ("bar", "disc", "grid")) == pytest.approx(1, abs=1e-5)
    assert "broken.png" in err
    assert "HTML" in err


def test_predict_gives_table_and_json_alike(trained: tuple[RunFolder, Path], typed: Typed) -> None:
    code, out, _ = typed("predict", trained[0].path, trained[1] / "bar", "--json")
    found = json.loads(out)["predictions"]
    assert code == 0
    assert len(found) == 30
    code, table, _ = typed("predict", trained[0].path, trained[1] / "bar" / "0.png")
    assert found[0]["label"] in table


def test_grey_images_are_served_by_a_colour_network(
    trained: tuple[RunFolder, Path], typed: Typed, tmp_path: Path
) -> None:
    Image.fromarray(np.full((24, 24), 90, np.uint8)).save(tmp_path / "grey.png")
    assert typed("predict", trained[0].path, tmp_path / "grey.png")[0] == 0


def test_colour_images_are_refused_by_a_grey_network(
    typed: Typed, tmp_path: Path, draw_folder: Callable[..., Path]
) -> None:
    source = draw_folder(tmp_path / "grey", mode="L")
    typed("train", source, "--model", "mlp", "--epochs", 1, "--runs", tmp_path, "--name", "grey-run", "-q")
    colour = draw_folder(tmp_path / "colour", per_class=2)
    code, _, err = typed("predict", tmp_path / "grey-run", colour / "disc" / "0.png")
    assert code == 1
    assert "in colour; this model was trained on greyscale" in err


def test_config_file_flags_and_set_agree(typed: Typed, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text('epochs = 7\nlr = 0.01\nresize = "crop"\n')
    code, out, _ = typed("train", "digits", "--config", config, "--lr", 0.02, "--set", "seed=5", "--print-config")
    assert code == 0
    assert {"epochs = 7", "lr = 0.02", 'resize = "crop"', "seed = 5"} <= set(out.splitlines())


def test_a_network_is_shown_layer_by_layer(typed: Typed) -> None:
    code, out, _ = typed("models", "lenet5", "--dense", "--json")
    rows = json.loads(out)
    assert code == 0
    assert all(row["dense"] >= row["parameters"] - row["shape_out"][0] for row in rows)
    resnet = json.loads(typed("models", "resnet18", "--input", "3x224x224", "--json")[1])
    assert sum(row["parameters"] for row in resnet) == 11_689_512
    assert "in all" in typed("models", "resnet18")[1]
    assert typed("models", "alexnet", "--input", "3x16x16", "--option", "adapt=false")[0] == 1
    assert "Did you mean 'resnet18'" in typed("models", "resnet81")[2]


def test_models_and_doctor_and_version_answer(typed: Typed) -> None:
    assert "resnet18" in {row["name"] for row in json.loads(typed("models", "--json")[1])}
    assert typed("doctor")[0] == 0
    assert typed("--version")[1].startswith("sightline ")


def test_cache_lists_and_clears_what_training_left(typed: Typed, trained: tuple[RunFolder, Path]) -> None:
    listed = json.loads(typed("cache", "--json")[1])
    assert any(entry["name"] == "shapes" for entry in listed)
    assert typed("cache", "shapes", "--clear")[0] == 0
    assert not any(entry["name"] == "shapes" for entry in json.loads(typed("cache", "--json")[1]))
    Kept(cache_folder() / "seeing").write("a", {"image": np.zeros(3)})
    [seen] = [entry for entry in json.loads(typed("cache", "--json")[1]) if entry["name"] == "images made for networks"]
    assert typed("cache", "seeing", "--clear")[0] == 0
    assert not Path(seen["place"]).exists()


def bad_sources(root: Path, draw: Callable[..., Path]) -> dict[str, tuple[Path | str, str]]:
    """Make sources that cannot be used: name -> (what is typed, a word of the message)."""
    (root / "empty").mkdir()
    (root / "loose").mkdir()
    one = draw(root / "one", per_class=3)
    for name in ("bar", "disc"):
        for file in (one / name).iterdir():
            file.unlink()
        (one / name).rmdir()
    Image.new("RGB", (8, 8)).save(root / "loose" / "a.png")
    single = draw(root / "single", per_class=5)
    for number in range(1, 5):
        (single / "disc" / f"{number}.png").unlink()
    x = np.zeros((20, 8, 8), np.float32)
    np.savez(root / "nan.npz", x=np.where(np.arange(20)[:, None, None] == 7, np.nan, x), y=np.arange(20) % 2)
    np.savez(root / "lengths.npz", x=x, y=np.arange(19) % 2)
    (root / "text.txt").write_text("hello")
    return {
        "missing": (root / "photoss", "neither a folder or file"),
        "empty folder": (root / "empty", "empty"),
        "no class folders": (root / "loose", "class"),
        "one class": (root / "one", "one class"),
        "one image in a class": (root / "single", "disc"),
        "NaN": (root / "nan.npz", "row 7"),
        "lengths differ": (root / "lengths.npz", "19"),
        "not a source": (root / "text.txt", "text.txt"),
        "unknown name": ("digitz", "digits"),
    }


def test_bad_sources_get_one_message_and_exit_code_1(
    typed: Typed, tmp_path: Path, draw_folder: Callable[..., Path]
) -> None:
    for name, (source, word) in bad_sources(tmp_path, draw_folder).items():
        code, out, err = typed("train", source, "--model", "mlp", "--runs", tmp_path / "runs", "-q")
        assert code == 1, name
        assert out == "", name
        assert word in err, (name, err)
        assert "Traceback" not in err, name
        assert err.startswith("error: "), (name, err)
        assert len(err.strip().splitlines()) >= 2, f"{name}: the message ends with what to do"
    assert not (tmp_path / "runs").exists(), "nothing is made for a training that cannot begin"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "digits", "--epochs", "0"], 1, "'epochs' should be greater than or equal to 1 (got '0')"),
        (["train", "digits", "--set", "epoch=3"], 1, "Did you mean 'epochs'?"),
        (["train", "digits", "--set", "epochs"], 1, "key=value"),
        (["train", "digits", "--epoch", "3"], 2, "--epochs"),
        (["train", "digits", "--batch-size", "100000"], 1, "100000"),
        (["train", "digits", "--model", "vgg99"], 1, "vgg99"),
        (["train", "digits", "--config", "nowhere.toml"], 1, "nowhere.toml"),
        (["evaluate", "runs/none"], 1, "does not exist"),
        (["predict", "runs/none", "x.png"], 1, "does not exist"),
        (["trian"], 2, "train"),
    ],
)
def test_wrong_words_are_answered(
    words: list[str], code: int, said: str, typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = typed(*words)
    assert found == code
    assert said in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_faults_of_run_folders_are_told(trained: tuple[RunFolder, Path], typed: Typed, tmp_path: Path) -> None:
    import shutil

    def copy(name: str) -> RunFolder:
        shutil.copytree(trained[0].path, tmp_path / name)
        return RunFolder(tmp_path / name)

    newer = copy("newer")
    newer.state.write_text(json.dumps({"format": 99}))
    incomplete = copy("incomplete")
    incomplete.best.unlink()
    misfit = copy("misfit")
    text = misfit.settings.read_text().replace("[settings.options]", "[settings.options]\nhidden = [9]")
    misfit.settings.write_text(text)
    damaged = copy("damaged")
    damaged.best.write_bytes(damaged.best.read_bytes()[:100])
    for folder, words in (
        (newer, "format 99"),
        (incomplete, "incomplete"),
        (misfit, "do not fit"),
        (damaged, "safetensors"),
        (RunFolder(tmp_path), "not a run folder"),
    ):
        code, _, err = typed("evaluate", folder.path, "-q")
        assert code == 1, folder
        assert words in err, (folder, err)
        assert "Traceback" not in err
