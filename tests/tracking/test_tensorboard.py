"""What TensorBoard shows is read back with TensorBoard's own reader."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sightline.settings import ReportTypes, TrainerSettings
from sightline.tracking.tracker import Context, make


def train(folder: Path, first: int, last: int, done: int = 0) -> None:
    (tracker,) = make([ReportTypes.TENSORBOARD])
    settings = TrainerSettings(epochs=3, metrics=[], logdir=folder)
    tracker.start(Context(folder, settings, torch.nn.Linear(4, 2), epochs_done=done))
    for epoch in range(first, last + 1):
        tracker.row(
            {
                "epoch": epoch,
                "train_loss": 1 / epoch,
                "valid_loss": 2 / epoch,
                "lr": 0.1,
                "valid_Accuracy": 1 - 1 / epoch,
            }
        )
    tracker.artifact(folder)
    tracker.close()


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), purge_orphaned_data=True).Reload()


def points(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]


def test_curves_are_those_of_mltrainer(tmp_path: Path) -> None:
    train(tmp_path, 1, 3)
    events = read(tmp_path)
    assert set(events.Tags()["scalars"]) == {"Loss/train", "Loss/test", "learning_rate", "metric/Accuracy"}
    assert points(events, "Loss/train") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert points(events, "Loss/test") == [(0, 2.0), (1, 1.0), (2, 2 / 3)]
    assert points(events, "metric/Accuracy") == [(0, 0.0), (1, 0.5), (2, 2 / 3)]
    assert points(events, "learning_rate") == [(0, 0.1), (1, 0.1), (2, 0.1)]


def test_settings_are_shown_as_hparams(tmp_path: Path) -> None:
    train(tmp_path, 1, 1)
    content = read(tmp_path).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"optimizer_kwargs.lr" in content


def test_a_second_loop_goes_on_in_the_same_curves(tmp_path: Path) -> None:
    train(tmp_path, 1, 2)
    train(tmp_path, 3, 4, done=2)
    assert [step for step, _ in points(read(tmp_path), "Loss/train")] == [0, 1, 2, 3]


def test_a_resumed_training_hides_what_was_written_beyond_its_checkpoint(tmp_path: Path) -> None:
    train(tmp_path, 1, 4)
    train(tmp_path, 3, 5, done=2)
    assert [step for step, _ in points(read(tmp_path), "Loss/train")] == [0, 1, 2, 3, 4]


def test_closing_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    train(tmp_path, 1, 2)
    assert threading.active_count() == before
