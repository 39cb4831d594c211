"""Probes are asked before a long first epoch and after a short one; when does not change what they say, nor the run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch

import sightline
from sightline.errors import TrainingError
from sightline.making import probing
from sightline.making.prepared import prepare
from sightline.making.probing import Probing
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.settings import Settings
from sightline.training.precision import Precision

QUIET = Progress(quiet=True)
CPU = torch.device("cpu")


def options(place: Path, name: str, **more: Any) -> dict[str, Any]:
    return {"model": "mlp", "epochs": 2, "dropout": 0.2, "runs": place, "name": name, "device": "cpu", **more}


def stop_at(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Let a step end, once, as a second Ctrl-C ends it."""
    steps: list[int] = []

    def step(self: Precision, *given: Any, go: Any = Precision.step, **more: Any) -> Any:
        steps.append(1)
        if len(steps) == at:
            raise KeyboardInterrupt
        return go(self, *given, **more)

    monkeypatch.setattr(Precision, "step", step)


def same(one: RunFolder, other: RunFolder) -> bool:
    names = ("probes", "history", "last", "evaluation", "instruments", "valid_losses")
    return all(getattr(one, name).read_bytes() == getattr(other, name).read_bytes() for name in names)


def test_when_they_are_asked_changes_neither_their_answers_nor_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bool] = []

    def watched(trainer: Any, folder: RunFolder, *rest: Any, go: Any = probing.try_out) -> None:
        begun.append(folder.checkpoint.exists())
        go(trainer, folder, *rest)

    monkeypatch.setattr(probing, "try_out", watched)
    after = sightline.train("digits", progress=QUIET, **options(tmp_path, "after"))
    monkeypatch.setattr(probing, "SHORT_S", 0.0)
    before = sightline.train("digits", progress=QUIET, **options(tmp_path, "before"))
    assert begun == [True, False]
    assert same(after.folder, before.folder)


def test_cut_off_in_the_first_epoch_and_resumed_they_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 6)
    cut = options(tmp_path, "cut", checkpoint_minutes=1e-6)
    with pytest.raises(KeyboardInterrupt):
        sightline.train("digits", progress=QUIET, **cut)
    assert not RunFolder(tmp_path / "cut").probes.exists()
    resumed = sightline.resume(tmp_path / "cut", progress=QUIET)
    straight = sightline.train("digits", progress=QUIET, **{**cut, "name": "straight"})
    assert same(resumed.folder, straight.folder)


@pytest.mark.parametrize("there", [True, False])
def test_resumed_they_need_the_weights_it_began_with(
    tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sightline.train("digits", progress=QUIET, **options(tmp_path, "first", epochs=1, probes=False))
    fine = options(tmp_path, "fine", weights=str(first.path), checkpoint_minutes=1e-6)
    stop_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        sightline.train("digits", progress=QUIET, **fine)
    if not there:
        first.folder.best.unlink()
    words = io.StringIO()
    resumed = sightline.resume(tmp_path / "fine", progress=Progress(stream=words))
    assert resumed.folder.read_state()["status"] == "finished"
    assert ("set-up is not tried" in words.getvalue()) is not there
    assert ("one_batch" in resumed.folder.read_json(resumed.folder.probes)) is there


def test_a_training_that_breaks_in_its_first_epoch_is_told_why(tmp_path: Path) -> None:
    words = io.StringIO()
    wrong = options(tmp_path, "wrong", optimizer="sgd", lr=99.0, schedule="constant", momentum=0.0, precision="fp32")
    with pytest.raises(TrainingError, match="NaN or infinite"):
        sightline.train("digits", progress=Progress(stream=words), **{**wrong, "model": "cnn"})
    folder = RunFolder(tmp_path / "wrong")
    assert folder.read_json(folder.probes)["one_batch"]["own"]["verdict"] == "diverged"
    assert "the rate is too high" in words.getvalue()


def test_a_long_first_epoch_is_not_waited_for(tmp_path: Path) -> None:
    def wait(**changes: Any) -> bool:
        settings = Settings(**{**options(tmp_path, "a"), "batch_size": 128, "dropout": None, **changes})
        return Probing(RunFolder(tmp_path), data, settings, CPU, QUIET).can_wait()

    data = prepare(sightline.load("digits"), Settings(), QUIET)
    assert wait()
    assert wait(model="resnet18")
    assert not wait(model="resnet18", options={"width": 2})
    assert wait(model="resnet18", options={"width": 2}, train_steps=2)
    assert not wait(minutes=1), "minutes are planned for steps alone"
