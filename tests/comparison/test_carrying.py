"""How the runs of a comparison are made: interrupted and continued, several at a time, in a given time."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import sightline
from sightline import files
from sightline.comparison import budget, workers
from sightline.comparison.running import Job, lock
from sightline.errors import RunError, SettingsError
from sightline.progress import Progress
from sightline.settings import Settings
from sightline.training.trainer import Trainer

QUIET = Progress(quiet=True)
SMALL: dict[str, Any] = {
    "epochs": 3,
    "instruments": "none",
    "lr": 0.005,
    "compile": "off",
    "device": "cpu",
    "progress": QUIET,
}


def weights(path: Path) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in path.rglob("last.safetensors")}


def test_experiments_side_by_side_do_not_wait_for_each_other(tmp_path: Path) -> None:
    arm: Any = None
    one, other = (Job(arm, Settings(runs=tmp_path / name, name="base-seed1")) for name in ("over", "slow"))
    with (
        files.held(lock(one), "one is made"),
        files.held(lock(other), "the other is made"),
        pytest.raises(RunError, match="one is made"),
        files.held(lock(one), "one is made"),
    ):
        pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two networks and two seeds, never interrupted."""
    return sightline.compare("digits", "mlp", "lenet5", seeds=2, runs=tmp_path_factory.mktemp("runs"), **SMALL)


def test_interrupted_and_called_again_it_ends_as_if_it_had_not_been(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, epochs = Trainer.report, []

    def press(trainer: Trainer, epoch: int, *rest: Any) -> None:
        report(trainer, epoch, *rest)
        epochs.append(epoch)
        if len(epochs) == 5:  # in the second run, after its second epoch
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "report", press)
    found = sightline.compare("digits", "mlp", "lenet5", seeds=2, runs=tmp_path, **SMALL)
    assert found.stopped == "interrupted"
    statuses = [one.status for label in ("mlp", "lenet5") for one in found.outcomes[label]]
    assert statuses == ["finished", "missing", "stopped", "missing"]
    assert found.contrasts == {}
    again = sightline.compare("digits", "mlp", "lenet5", seeds=2, runs=tmp_path, **SMALL)
    assert again.path == found.path
    assert weights(again.path) == weights(whole.path)
    assert again.contrasts["test_accuracy"] == whole.contrasts["test_accuracy"]


def test_several_at_a_time_end_as_one_after_the_other(whole: Any, tmp_path: Path) -> None:
    found = sightline.compare("digits", "mlp", "lenet5", seeds=1, jobs=2, runs=tmp_path, **SMALL)
    assert found.stopped == ""
    assert weights(found.path).items() <= weights(whole.path).items()
    assert len(weights(found.path)) == 2


def test_a_run_cut_off_while_it_was_set_up_is_made_again(whole: Any, tmp_path: Path) -> None:
    folder = tmp_path / "compare" / "cut" / "runs" / "mlp-seed0"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"format": 1, "status": "running"}')
    found = sightline.compare("digits", "mlp", "lenet5", seeds=1, runs=tmp_path, name="cut", **SMALL)
    assert weights(found.path).items() <= weights(whole.path).items()


def test_what_is_no_run_is_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "compare" / "mine" / "runs" / "mlp-seed0"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is no whole run"):
        sightline.compare("digits", "mlp", "lenet5", seeds=1, runs=tmp_path, name="mine", **SMALL)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_run_that_another_process_makes_is_left_to_it(tmp_path: Path) -> None:
    locks = files.make_folder(tmp_path / "compare" / "both" / ".locks")
    with (
        files.held(locks / "runs-mlp-seed0", "taken"),
        pytest.raises(RunError, match="is being trained already"),
    ):
        sightline.compare("digits", "mlp", "lenet5", seeds=1, runs=tmp_path, name="both", **SMALL)


def test_a_run_that_fails_takes_no_part_and_is_told(tmp_path: Path) -> None:
    how = {**SMALL, "optimizer": "sgd", "lr": 0.05, "epochs": 2}
    found = sightline.compare("digits", "mlp", seeds=1, vary={"lr": [0.1, 90.0]}, runs=tmp_path, **how)
    assert [one.status for one in found.outcomes["lr=90"]] == ["failed"]
    assert set(found.contrasts["test_accuracy"]) == {("lr=0.1", "base")}
    told = json.loads(found.json.read_text())
    assert "loss" in next(arm for arm in told["arms"] if arm["label"] == "lr=90")["runs"][0]["reason"]


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes 1/12 s for each of the 12 steps of an epoch, and nothing to evaluate."""
    monkeypatch.setattr(budget, "pace", lambda network, stream, *rest: (1 / len(stream), 0.0))


@pytest.mark.usefixtures("pace")
def test_minutes_are_divided_among_the_runs_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.time, "monotonic", lambda: 0.0)  # however slow the machine is
    how = {**SMALL, "epochs": None, "name": "timed", "seeds": 1, "runs": tmp_path}
    found = sightline.compare("digits", "mlp", "lenet5", minutes=5 / 60, **how)
    assert found.told["epochs"] == 2  # of 5 s, 4.5 are for two runs
    assert [len(one.curves["valid_loss"]) for label in found.outcomes for one in found.finished(label)] == [2, 2]
    again = sightline.compare("digits", "mlp", "lenet5", **how)  # without a time, the same epochs
    assert again.told["epochs"] == 2
    assert again.stopped == ""


@pytest.mark.usefixtures("pace")
@pytest.mark.parametrize("epochs", [None, 100_000])
def test_a_time_too_short_for_one_run_is_refused(epochs: int | None, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="minutes are too short") as caught:
        sightline.compare("digits", "mlp", "lenet5", minutes=0.01, runs=tmp_path, **{**SMALL, "epochs": epochs})
    assert "--minutes" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_time_that_runs_out_leaves_the_rest_for_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "pace", lambda network, stream, *rest: (10 / len(stream), 0.0))
    made, clock = list[Job](), [0.0]

    def slow(job: Job, *rest: Any) -> str:
        made.append(job)
        clock[0] += 60
        return "as if made"

    monkeypatch.setattr(workers, "make", slow)
    monkeypatch.setattr(workers.time, "monotonic", lambda: clock[0])
    found = sightline.compare("digits", "mlp", "lenet5", seeds=2, minutes=2.6, runs=tmp_path, **SMALL)
    assert len(made) == 3  # each run of 3 epochs is taken to need 30 s, and takes a minute
    assert found.stopped == "the next run would not fit into the 2.6 minutes"


def test_a_hopeless_arm_gets_no_more_seeds(tmp_path: Path) -> None:
    vary = {"lr": [0.02, 1e-5]}  # with the second nothing is learnt in an epoch
    how = {**SMALL, "epochs": 1, "lr": 0.02, "seeds": 5, "drop_hopeless": True, "runs": tmp_path}
    found = sightline.compare("digits", "mlp", vary=vary, **how)
    statuses = [one.status for one in found.outcomes["lr=1e-05"]]
    assert statuses == ["finished"] * 3 + ["dropped"] * 2
    assert found.outcomes["lr=1e-05"][3].reason == "worse than base in 3 seeds"
    assert [one.status for one in found.outcomes["base"]] == ["finished"] * 5
    difference = found.contrasts["test_accuracy"]["lr=1e-05", "base"]
    assert (difference.seeds, difference.word, difference.better) == (3, "real", False)
    again = sightline.compare("digits", "mlp", vary=vary, **how)
    assert [one.status for one in again.outcomes["lr=1e-05"]] == statuses
