"""Balanced trainings: only training rows are drawn again, resumed is uninterrupted, even classes change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file

import sightline
from sightline.data import arrays
from sightline.data.balance import METHODS
from sightline.errors import SettingsError
from sightline.making import assembly, choices
from sightline.making.prepared import prepare
from sightline.models.weights import read
from sightline.progress import Progress
from sightline.settings import Settings
from sightline.training.trainer import Trainer

QUIET = Progress(quiet=True)
CPU = torch.device("cpu")
FAST: dict[str, Any] = {"model": "mlp", "device": "cpu", "precision": "fp32", "options": {"hidden": [8]}}


def skewed_set(counts: tuple[int, ...], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images whose brightness tells the class, and no two of which are equal."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    x = random.integers(0, 120, (len(y), 6, 6)) + (40 * y)[:, None, None]
    return x.astype(np.uint8), y


@settings(max_examples=40)
@given(
    balance=st.sampled_from([None, "auto", *METHODS, "weights,beta=0.99"]),
    balance_valid=st.booleans(),
    valid_fraction=st.sampled_from([0.1, 0.3]),
    test_fraction=st.sampled_from([0.0, 0.1, 0.3]),
    given_split=st.booleans(),
    counts=st.tuples(st.integers(20, 60), st.integers(6, 60), st.integers(4, 20)),
    seed=st.integers(0, 3),
    monitor=st.sampled_from([None, "valid_loss", "valid_balanced_accuracy"]),
)
def test_only_training_rows_are_ever_drawn_again(
    balance: str | None,
    balance_valid: bool,
    valid_fraction: float,
    test_fraction: float,
    given_split: bool,
    counts: tuple[int, ...],
    seed: int,
    monitor: Any,
) -> None:
    x, y = skewed_set(counts)
    source: Any = arrays.assemble([arrays.from_pair(x, y)], name="drawn", layout="arrays")
    if given_split:
        splits = np.array(["train", "valid", "test"])[np.arange(len(y)) % 3]
        source = type(source)(**{**vars(source), "splits": splits})
    given_ = Settings(
        balance=balance,
        balance_valid=balance_valid,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        monitor=monitor,
        epochs=1,
        **FAST,
    )
    data = prepare(source, given_, QUIET)
    resolved = choices.resolve(given_, data, CPU, QUIET).settings
    trainer = assembly.assemble(None, data, resolved, CPU, QUIET)
    train, valid, test = (set(part.tolist()) for part in (data.split.train, data.split.valid, data.split.test))
    assert not train & valid
    assert not (train | valid) & test
    stream: Any = trainer.traindataloader
    assert set(stream.rows.tolist()) == train
    held_out: Any = trainer.validdataloader
    seen = held_out.rows.tolist()
    assert seen[: len(valid)] == data.split.valid.tolist()
    assert set(seen) == valid
    if not balance_valid:
        assert len(seen) == len(valid)
    else:
        assert len(set(np.bincount(data.labels[held_out.rows])) - {0}) == 1
    assert ("data/validation-repeated" in {finding.code for finding in data.findings}) == balance_valid


def train(source: Any, folder: Path, **changes: Any) -> sightline.Run:
    return sightline.train(
        source, runs=folder, progress=QUIET, **{"epochs": 4, "batch_size": 16, "lr": 0.01, **FAST, **changes}
    )


WAYS = [*(name for name in METHODS if name != "none"), "smote,space=values"]


@pytest.mark.parametrize("balance", WAYS)
def test_cut_off_and_resumed_equals_uninterrupted(
    balance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = skewed_set((60, 20, 8))
    straight = train(source, tmp_path, balance=balance, name="straight")
    report = Trainer.report

    def cut(self: Trainer, epoch: int, *rest: Any) -> None:
        if epoch == 3:
            raise KeyboardInterrupt
        report(self, epoch, *rest)

    monkeypatch.setattr(Trainer, "report", cut)
    with pytest.raises(KeyboardInterrupt):
        train(source, tmp_path, balance=balance, name="cut")
    monkeypatch.undo()
    resumed = sightline.resume(tmp_path / "cut", source=source, progress=QUIET)
    for name in ("history.jsonl", "valid_losses.npy", "best.safetensors", "last.safetensors", "evaluation.json"):
        assert (resumed.path / name).read_bytes() == (straight.path / name).read_bytes(), name


def test_even_classes_train_as_they_always_did(tmp_path: Path) -> None:
    source = skewed_set((40, 40, 30))
    left_open, none = (train(source, tmp_path, name=str(b), balance=b) for b in (None, "none"))
    assert left_open.settings.balance == "none"
    assert left_open.settings.monitor == "valid_loss"
    assert left_open.folder.best.read_bytes() == none.folder.best.read_bytes()
    assert left_open.folder.history.read_bytes() == none.folder.history.read_bytes()
    assert "valid_balanced_loss" not in left_open.history.rows[0]


def test_skewed_classes_are_balanced_with_a_reason_and_judged_alike(tmp_path: Path) -> None:
    run = train(skewed_set((80, 30, 8)), tmp_path)
    assert run.settings.balance == "logits"
    assert run.settings.monitor == "valid_balanced_loss"
    reasons = json.loads(run.folder.data.read_text())["reasons"]
    assert "10.7 times" in reasons["balance"]
    rows = run.history.rows
    assert run.folder.read_state()["best_epoch"] == min(rows, key=lambda row: row["valid_balanced_loss"])["epoch"]
    assert all(0 <= row["valid_balanced_accuracy"] <= 1 for row in rows)


def test_a_run_from_before_is_taken_as_not_balanced(tmp_path: Path) -> None:
    run = train(skewed_set((80, 30, 8)), tmp_path, balance="none", name="old")
    lines = run.folder.settings.read_text().splitlines()
    run.folder.settings.write_text("\n".join(line for line in lines if not line.startswith("balance")))
    assert sightline.Run.load(run.path).settings.balance == "none"


def test_the_test_part_is_scored_as_it_is(tmp_path: Path) -> None:
    x, y = skewed_set((80, 30, 10))
    run = train((x, y), tmp_path, balance="oversample", balance_valid=True, test_fraction=0.3)
    data = run.data(source=(x, y))
    scores = run.evaluate()
    assert scores.count == len(data.split.test)
    assert [score.support for score in scores.per_class] == np.bincount(data.labels[data.split.test]).tolist()
    losses = np.load(run.folder.valid_losses)
    assert losses.shape[1] > len(data.split.valid)
    assert [finding["code"] for finding in json.loads(run.folder.findings.read_text())].count(
        "data/validation-repeated"
    ) == 1


def drifting(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Signals of skewed classes: waves of three lengths."""
    random = np.random.default_rng(seed)
    y = np.repeat([0, 1, 2], [60, 20, 8])
    time = np.linspace(0, 1, 40)
    x = np.sin(2 * np.pi * (2 + y[:, None]) * (time + random.random((len(y), 1)))) + random.normal(0, 0.3, (len(y), 40))
    return x.astype(np.float32), y


def test_smote_on_photos_learns_the_last_layer_anew_and_shows_it(tmp_path: Path) -> None:
    source = skewed_set((90, 30, 12))
    run, plain = (train(source, tmp_path, balance=b, name=b) for b in ("smote", "none"))
    assert run.settings.balance == "smote,space=features"
    ours, other = run.model.state_dict(), plain.model.state_dict()
    changed = [name for name in ours if not torch.equal(ours[name], other[name])]
    assert changed == list(ours)[-2:]  # weight and bias of the last layer
    assert "invented among them" in run.folder.read_state()["last_layer"]
    assert (run.folder.figures / "smote.png").read_bytes().startswith(b"\x89PNG")
    assert "Last layer" in run.folder.report.read_text()
    assert not (plain.folder.figures / "smote.png").exists()


def test_snapshots_of_a_run_with_smote_learn_their_last_layers_anew_too(tmp_path: Path) -> None:
    source, cyclic = skewed_set((90, 30, 12)), {"schedule": "cyclic", "cycles": 2, "epochs": 4}
    run, plain = (train(source, tmp_path, balance=b, name=b, **cyclic) for b in ("smote", "none"))
    for (_, ours), (_, other) in zip(run.snapshots(), plain.snapshots(), strict=True):
        (kept, about), (before, about_before) = read(ours), read(other)
        assert about == about_before
        assert [name for name in kept if not torch.equal(kept[name], before[name])] == list(kept)[-2:]
    state = load_file(run.folder.best)
    assert all(torch.equal(state[name], value) for name, value in run.model.state_dict().items())


def test_smote_on_signals_draws_lines_between_them_and_shows_it(tmp_path: Path) -> None:
    run = train(drifting(), tmp_path, balance="smote", epochs=2)
    assert run.settings.balance == "smote,space=values"
    assert run.settings.monitor == "valid_balanced_loss"
    assert (run.folder.figures / "smote.png").is_file()
    assert "last_layer" not in run.folder.read_state()
    assert "between its two parents" in run.folder.report.read_text()


@pytest.mark.parametrize("space", ["values", "features"])
def test_a_class_of_one_training_image_is_refused_before_anything_is_made(space: str, tmp_path: Path) -> None:
    source, half = skewed_set((40, 20, 2)), {"test_fraction": 0.5}  # one of the two is for the test part
    with pytest.raises(SettingsError, match="class '2' has one training image"):
        train(source, tmp_path / "runs", balance=f"smote,space={space}", **half)
    assert not (tmp_path / "runs").exists()
    run = train(source, tmp_path / "runs", balance=f"smote,space={space},single=repeat", epochs=1, **half)
    assert run.folder.read_state()["status"] == "finished"
