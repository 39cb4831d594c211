"""A small task, and a trainer for it with everything as plain as possible unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from tasks import network
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sightline.metrics import Accuracy
from sightline.progress import Progress
from sightline.settings import TrainerSettings
from sightline.training.trainer import Trainer

SETTINGS = ("epochs", "metrics", "train_steps", "valid_steps", "reporttypes", "optimizer_kwargs", "scheduler_kwargs",
            "earlystop_kwargs")  # fmt: skip


@pytest.fixture(scope="session")
def digits() -> tuple[TensorDataset, TensorDataset]:
    """270 images to train on, 100 to validate on: float32 (N, 1, 8, 8) in 0..1 and labels."""
    data = load_digits()
    x, y = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.tensor(data.target)
    return TensorDataset(x[:270], y[:270]), TensorDataset(x[300:400], y[300:400])


@pytest.fixture
def make(digits: tuple[TensorDataset, TensorDataset], tmp_path: Path) -> Callable[..., Trainer]:
    """Give a function that makes a trainer; fields of ``TrainerSettings`` and arguments of ``Trainer`` are keywords."""

    def made(kind: type[Trainer] = Trainer, **changes: Any) -> Trainer:
        values: dict[str, Any] = {
            "epochs": 2, "metrics": [Accuracy()], "optimizer_kwargs": {"lr": 0.05}, "scheduler_kwargs": None,
            "earlystop_kwargs": None,
        }  # fmt: skip
        values |= {name: changes.pop(name) for name in SETTINGS if name in changes}
        given: dict[str, Any] = {
            "loss_fn": nn.CrossEntropyLoss(), "optimizer": torch.optim.SGD, "progress": Progress(quiet=True),
            "traindataloader": DataLoader(digits[0], batch_size=64, shuffle=True),
            "validdataloader": DataLoader(digits[1], batch_size=64),
        }  # fmt: skip
        given |= changes
        if "model" not in given:
            given["model"] = network()
        return kind(settings=TrainerSettings(logdir=tmp_path / "logs", **values), **given)

    return made


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(11)
