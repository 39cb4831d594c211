"""Early stopping by the rise of the validation loss: when it stops, when it waits, and that it goes on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import histories
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import sightline
from sightline.diagnosis import trend
from sightline.diagnosis.rising import LEAST, RiseStopping
from sightline.errors import SettingsError
from sightline.progress import Progress
from sightline.settings import Settings
from sightline.training.trainer import Trainer

QUIET = Progress(quiet=True)
MODEL = torch.nn.Linear(1, 1)
OVERFITS: dict[str, Any] = {
    "model": "mlp",
    "epochs": 60,
    "lr": 0.03,
    "schedule": "constant",
    "augment": "none",
    "weight_decay": 0.0,
    "train_steps": 12,
    "valid_fraction": 0.3,
    "early_stop": "rise",
    "instruments": "none",
    "probes": False,
    "compile": "off",
    "device": "cpu",
    "precision": "fp32",
    "progress": QUIET,
}


def few() -> tuple[np.ndarray, np.ndarray]:
    """Give 260 digits, a third of them with wrong labels: learnt by heart, they spoil the validation loss."""
    x, y = load_digits(return_X_y=True)
    x, y = (x[:260].reshape(-1, 8, 8) * 15).astype(np.uint8), y[:260].copy()
    y[::3] = np.random.default_rng(0).integers(0, 10, len(y[::3]))
    return x, y


def watch(evidence: Any, stopper: RiseStopping | None = None) -> int:
    """Feed a history epoch by epoch; give the epoch after which it stops, 0 for never."""
    stopper = stopper or RiseStopping()
    for epoch, (mean, losses) in enumerate(zip(evidence.valid, evidence.examples, strict=True), 1):
        stopper.after(float(mean), MODEL, losses.astype(np.float32))
        if stopper.early_stop:
            assert "has risen by" in stopper.why("valid_loss", epoch)
            return epoch
    return 0


@settings(max_examples=12)
@given(seed=st.integers(0, 1000))
def test_it_stops_what_overfits_after_its_minimum_and_nothing_else(seed: int) -> None:
    assert 14 < watch(histories.overfitted(seed=seed, rise=1.0)) <= 40
    assert watch(histories.healthy(seed=seed)) == 0
    assert watch(histories.undertrained(seed=seed)) == 0


def test_few_images_make_it_wait() -> None:
    many, few = (watch(histories.overfitted(images=images, rise=1.0)) for images in (2000, 30))
    assert few == 0 or few > many


def test_it_decides_as_the_verdict_measures() -> None:
    evidence = histories.overfitted()
    stopper = RiseStopping()
    for mean, losses in zip(evidence.valid, evidence.examples, strict=True):
        stopper.after(float(mean), MODEL, losses)
    stored = evidence.examples.astype(np.float16).astype(np.float32)
    assert stopper.rise == trend.rise(evidence.valid, stored)


def test_a_single_high_epoch_does_not_stop_it() -> None:
    stopper = RiseStopping()
    assert not stopper.early_stop
    for loss in (1.0, 0.9, 0.8, 0.7, 0.72, 0.69, 0.75, 0.68):
        stopper.after(loss, MODEL, None)
        assert not stopper.early_stop


def test_nothing_is_decided_in_the_first_epochs() -> None:
    stopper = RiseStopping()
    for loss in np.linspace(1, 3, LEAST - 1):
        stopper.after(float(loss), MODEL, None)
        assert stopper.rise is None


def test_a_training_that_overfits_is_ended_and_keeps_its_best_epoch(tmp_path: Path) -> None:
    run = sightline.train(few(), runs=tmp_path, name="rise", **OVERFITS)
    state = run.folder.read_state()
    assert state["epochs"] < 60
    assert "has risen by" in state["stopped"]
    assert state["best_epoch"] == 1 + int(np.argmin(run.history.column("valid_loss")))


class Killed(BaseException):
    """Nobody has cleaned up."""


def test_killed_and_resumed_it_stops_at_the_same_epoch_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = few()
    whole = sightline.train(source, runs=tmp_path, name="whole", **OVERFITS)
    assert "has risen by" in whole.folder.read_state()["stopped"]
    report, last = Trainer.report, whole.folder.read_state()["epochs"]
    at = [3, last - 1]

    def kill(trainer: Trainer, epoch: int, *rest: Any) -> None:
        report(trainer, epoch, *rest)
        if at and epoch == at[0]:
            at.pop(0)
            raise Killed

    monkeypatch.setattr(Trainer, "report", kill)
    with pytest.raises(Killed):
        sightline.train(source, runs=tmp_path, name="cut", **OVERFITS)
    with pytest.raises(Killed):
        sightline.resume(tmp_path / "cut", source=source, progress=QUIET)
    cut = sightline.resume(tmp_path / "cut", source=source, progress=QUIET)
    for name in ("history.jsonl", "last.safetensors", "best.safetensors", "valid_losses.npy"):
        assert (cut.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert cut.folder.read_state()["stopped"] == whole.folder.read_state()["stopped"]


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two ways to stop early"):
        Settings(early_stop="rise", patience=5)
    with pytest.raises(SettingsError, match="looks at valid_loss"):
        Settings(early_stop="rise", monitor="valid_accuracy")
    with pytest.raises(SettingsError, match="chosen by valid_balanced_loss"):
        sightline.train(
            "digits", "mlp", early_stop="rise", balance="weights", epochs=1, runs=tmp_path, device="cpu", progress=QUIET
        )
    assert not list(tmp_path.iterdir()), "nothing was made"
