"""The main job: a source becomes a run; a run cut off becomes the same run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sightline
from sightline.errors import ModelError, RunError, SettingsError, SourceError
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.settings import Settings

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> sightline.Run:
    """A small network on digits, trained once for all tests here."""
    return sightline.train(
        "digits",
        "mlp",
        epochs=8,
        lr=0.005,
        runs=tmp_path_factory.mktemp("runs"),
        name="digits",
        progress=QUIET,
        device="cpu",
    )


def test_run_holds_what_was_promised(digits_run: sightline.Run) -> None:
    folder = digits_run.folder
    expected = {
        "run.json", "settings.toml", "data.json", "split.csv", "environment.json", "history.jsonl", "timing.jsonl",
        "valid_losses.npy", "instruments.jsonl", "probes.json", "best.safetensors", "last.safetensors",
        "checkpoint.safetensors", "findings.json", "evaluation.json", "predictions.csv", "figures", "report.html",
    }  # fmt: skip
    assert {path.name for path in folder.path.iterdir()} == expected
    state = folder.read_state()
    assert state["status"] == "finished"
    assert state["headline"] == digits_run.headline
    assert "images recognised" in digits_run.headline
    losses = np.load(folder.valid_losses)
    assert losses.shape == (8, len(digits_run.data(progress=QUIET).split.valid))
    assert losses.dtype == np.float16


def test_digits_are_learnt_and_history_tells_it(digits_run: sightline.Run) -> None:
    rows = digits_run.history.rows
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["valid_loss"] < rows[0]["valid_loss"]
    assert digits_run.evaluate(progress=QUIET).accuracy.value > 0.9


def test_evaluating_again_gives_the_stored_scores(digits_run: sightline.Run) -> None:
    stored = json.loads(digits_run.folder.evaluation.read_text())
    again = sightline.Run.load(digits_run.path).evaluate(progress=QUIET).as_dict()
    assert again == {key: value for key, value in stored.items() if key != "part"}


def test_stored_weights_are_those_of_the_best_epoch(digits_run: sightline.Run) -> None:
    rows = digits_run.history.rows
    best = min(rows, key=lambda row: row["valid_loss"])
    assert digits_run.folder.read_state()["best_epoch"] == best["epoch"]
    data = digits_run.data(progress=QUIET)
    logits = digits_run.predictor.logits(data.pixels.array, data.split.valid)
    accuracy = (logits.argmax(axis=1) == data.labels[data.split.valid]).mean()
    assert accuracy == pytest.approx(best["valid_accuracy"], abs=1e-6)


def test_settings_in_the_run_train_the_same_run_again(digits_run: sightline.Run, tmp_path: Path) -> None:
    settings = Settings.from_toml(digits_run.folder.settings).model_copy(update={"runs": tmp_path, "name": "again"})
    again = sightline.train("digits", settings=settings, progress=QUIET)
    assert again.folder.history.read_bytes() == digits_run.folder.history.read_bytes()
    assert again.folder.best.read_bytes() == digits_run.folder.best.read_bytes()


def test_a_finished_run_has_nothing_to_resume(digits_run: sightline.Run) -> None:
    before = digits_run.folder.history.read_bytes()
    assert sightline.resume(digits_run.path, progress=QUIET).headline == digits_run.headline
    assert digits_run.folder.history.read_bytes() == before


def test_a_taken_name_is_refused_and_the_run_left_alone(digits_run: sightline.Run) -> None:
    before = digits_run.folder.state.read_bytes()
    with pytest.raises(RunError, match="exists already"):
        sightline.train("digits", "mlp", epochs=1, runs=digits_run.path.parent, name="digits", progress=QUIET)
    assert digits_run.folder.state.read_bytes() == before


def test_arrays_train_and_resume_asks_for_them_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = (rng.random((120, 10, 10)) * 60 + 60 * y[:, None, None]).astype(np.uint8)
    run = sightline.train((x, y), "mlp", epochs=2, runs=tmp_path, progress=QUIET)
    assert run.classes == ("0", "1", "2")
    run.folder.write_state(status="stopped")
    with pytest.raises(RunError, match="arrays in memory"):
        sightline.resume(run.path, progress=QUIET)
    assert sightline.resume(run.path, source=(x, y), progress=QUIET).folder.read_state()["status"] == "finished"


def test_changed_data_are_not_resumed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    run = sightline.train((x, y), "mlp", epochs=1, runs=tmp_path, progress=QUIET)
    run.folder.write_state(status="stopped")
    with pytest.raises(RunError, match="changed"):
        sightline.resume(run.path, source=(255 - x, y), progress=QUIET)
    told = json.loads(run.folder.data.read_text())
    run.folder.data.write_text(json.dumps({**told, "packing": told["packing"] - 1}))  # as an older version made it
    with pytest.raises(RunError, match="changed"):
        sightline.resume(run.path, source=(x, 1 - y), progress=QUIET)
    sightline.resume(run.path, source=(x ^ 1, y), progress=QUIET)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"epochs": 0}, SettingsError, "epochs"),
        ({"epoch": 3}, SettingsError, "Did you mean 'epochs'"),
        ({"model": "resnet81"}, ModelError, "Did you mean 'resnet18'"),
        ({"batch_size": 5000}, SettingsError, "batch_size"),
        ({"device": "cuda:7"}, SettingsError, "cuda"),
        ({"optimizer": "adamm"}, SettingsError, "adam"),
        ({"augment": "lots"}, SettingsError, "augment"),
        ({"options": {"widht": 3}, "model": "mlp"}, ModelError, "widht"),
        ({"trackers": ("tensorbord",)}, SettingsError, "tensorboard"),
    ],
)
def test_impossible_settings_are_refused_before_a_run_folder_exists(
    wrong: dict[str, object], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        sightline.train("digits", **{"model": "mlp", "runs": tmp_path / "runs", "progress": QUIET, **wrong})  # type: ignore[arg-type]
    assert not (tmp_path / "runs").exists()


def test_minutes_fit_the_training_into_the_time(tmp_path: Path) -> None:
    run = sightline.train("digits", "mlp", minutes=0.05, runs=tmp_path, progress=QUIET)
    assert run.settings.epochs is not None
    assert len(run.history.rows) <= run.settings.epochs
    assert run.folder.read_state()["status"] == "finished"


def test_other_sources_are_scored_by_class_name(digits_run: sightline.Run) -> None:
    images = sightline.load("digits")
    sevens = images.labels >= 7
    subset = (images.array[sevens], np.array([str(k) for k in images.labels[sevens]]))
    alone = digits_run.evaluate(subset, progress=QUIET)
    logits = digits_run.predictor.logits(images.array[sevens])
    assert alone.classes == digits_run.classes
    assert alone.accuracy.value == pytest.approx((logits.argmax(axis=1) == images.labels[sevens]).mean())
    strange = (images.array[:40], np.array(["cat", "dog"] * 20))
    with pytest.raises(SourceError, match="not trained on: cat, dog"):
        digits_run.evaluate(strange, progress=QUIET)


COMMAND = [sys.executable, "-m", "sightline"]
TRAIN = [
    "train",
    "digits",
    "--model",
    "mlp",
    "--dropout",
    "0.2",
    "--epochs",
    "40",
    "--checkpoint-minutes",
    "0.002",
    "--device",
    "cpu",
]


def test_killed_at_any_moment_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """Law of twins, through the command line: SIGKILL lands wherever it lands."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    straight = subprocess.run(
        [*COMMAND, *TRAIN, "--runs", str(tmp_path), "--name", "straight", "-q"], env=environment, capture_output=True
    )
    assert straight.returncode == 0, straight.stderr.decode()
    killed = RunFolder(tmp_path / "killed")
    command = [*COMMAND, *TRAIN, "--runs", str(tmp_path), "--name", "killed", "-q"]
    for wait in (0.05, 0.6, None):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        if wait is not None:
            while not killed.checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.01)
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
        command = [*COMMAND, "resume", str(killed.path), "-q"]
    assert process.returncode == 0, errors.decode()
    for name in (
        "history.jsonl",
        "valid_losses.npy",
        "instruments.jsonl",
        "probes.json",
        "best.safetensors",
        "last.safetensors",
        "evaluation.json",
    ):
        assert (killed.path / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name


def test_ctrl_c_ends_the_epoch_and_the_rest_can_follow(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = RunFolder(tmp_path / "one")
    words = [
        *COMMAND,
        "train",
        "digits",
        "--model",
        "mlp",
        "--epochs",
        "3000",
        "--runs",
        str(tmp_path),
        "--name",
        "one",
    ]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not run.history.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "images recognised" in out
    assert f"sightline resume {run.path}" in errors
    state = run.read_state()
    assert state["status"] == "stopped"
    assert "Ctrl-C" in state["stopped"]
    assert 0 < state["epochs"] < 3000
    assert run.report.is_file()
    assert run.best.is_file()
