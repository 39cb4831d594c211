"""Real trainings, each spoilt in one way -> the verdict names what was done to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import sightline
from sightline.progress import Progress

Train = Callable[..., sightline.Run]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    def trained(source: Any = "digits", **changes: Any) -> sightline.Run:
        settings = {"runs": tmp_path, "name": "run", "progress": Progress(quiet=True), "device": "cpu", **changes}
        return sightline.train(source, "mlp", **settings)

    return trained


def pixels(count: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    return (x[:count].reshape(-1, 8, 8, 1) * 15).astype(np.uint8), y[:count].copy()


def codes(run: sightline.Run) -> set[str]:
    return {finding.code for finding in run.verdict.findings}


def test_a_healthy_training_is_called_so(train: Train) -> None:
    run = train(epochs=25, lr=0.01, augment="none")
    assert run.verdict.kind == "well fitted"
    assert not [finding for finding in run.verdict.findings if finding.severity != "note"]
    page = run.folder.report.read_text(encoding="utf-8")
    assert 'id="verdict"' in page
    assert "Well fitted" in page


def test_four_epochs_are_too_few(train: Train) -> None:
    run = train(epochs=4)
    verdict = run.verdict
    assert (verdict.kind, verdict.cause) == ("underfitted", "trained too short")
    assert verdict.advice[0].setting == "epochs"
    assert verdict.advice[0].command == (
        f"sightline train digits --config {run.path}/settings.toml --epochs 8 --name run-epochs"
    )
    assert verdict.advice[0].command in run.folder.report.read_text(encoding="utf-8")
    assert sightline.diagnose(run.path).as_dict() == verdict.as_dict()


@pytest.mark.parametrize("schedule", ["onecycle", "constant"])
def test_three_epochs_are_too_few_though_the_curves_end_flat(train: Train, schedule: str) -> None:
    verdict = train(epochs=3, schedule=schedule).verdict
    assert (verdict.kind, verdict.cause) == ("underfitted", "trained too short")
    assert verdict.advice[0].setting == "epochs"


def test_a_hundredth_of_the_rate_is_too_low(train: Train) -> None:
    run = train(epochs=15, lr=1.4e-5)
    assert (run.verdict.kind, run.verdict.cause) == ("underfitted", "the learning rate is too low")
    assert run.verdict.advice[0].setting == "lr"
    assert run.verdict.advice[0].value >= 1.4e-4


def test_gradients_that_vanish_are_the_cause_of_a_loss_that_creeps(train: Train) -> None:
    run = train(epochs=6, options={"hidden": [32] * 12, "activation": "sigmoid"})
    assert run.verdict.cause == "gradients vanish"
    assert run.verdict.advice[0].setting == "options.norm"


def test_a_thousand_times_the_rate_breaks_it_and_is_told_before_the_first_epoch(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(epochs=6, lr=3.0, progress=Progress())
    assert run.verdict.kind == "broken"
    assert run.verdict.cause in ("the learning rate is too high", "the training diverged")
    assert {"training/rate-too-high", "setup/rate"} <= codes(run)
    assert run.verdict.advice[0].setting == "lr"
    assert run.verdict.advice[0].value <= 0.3
    told = capsys.readouterr().err
    assert 0 < told.index("the rate is too high") < told.index("epoch 1 of 6")


def test_wrong_labels_are_learnt_by_heart_and_found(train: Train) -> None:
    x, y = pixels(900)
    random = np.random.default_rng(0)
    wrong = random.random(900) < 0.3
    y[wrong] = (y[wrong] + random.integers(1, 10, wrong.sum())) % 10
    run = train((x, y), epochs=50, augment="none", schedule="constant", valid_fraction=0.5, test_fraction=0.0, lr=0.003)
    verdict = run.verdict
    assert verdict.kind == "overfitted"
    assert verdict.epoch is not None
    assert verdict.epoch < 20
    assert "data/label-noise" in codes(run)
    assert any("double descent" in caveat for caveat in verdict.caveats)
    assert verdict.confidence == "likely"
    after = json.loads(run.folder.probes.read_text())["after"]
    assert after["error"]["low"] > 0


def test_a_validation_part_of_another_kind_is_found(train: Train, tmp_path: Path) -> None:
    x, y = pixels(600)
    x[400:] = (x[400:] * 0.5 + 120).astype(np.uint8)
    np.savez(tmp_path / "shifted.npz", x_train=x[:400], y_train=y[:400], x_valid=x[400:], y_valid=y[400:])
    run = train(tmp_path / "shifted.npz", epochs=4)
    assert "data/validation-differs" in codes(run)
    assert any("another kind" in caveat for caveat in run.verdict.caveats)
