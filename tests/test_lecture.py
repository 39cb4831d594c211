"""Code written for ``mltrainer`` runs with its import changed: the ways its README and course go, one test each.

MLflow around a training and Ray Tune above it are tested beside their trackers.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

from sightline import CNNblocks, CNNConfig, EarlyStopping, ReportTypes, Trainer, TrainerSettings, metrics
from sightline.errors import SettingsError

Batch = tuple[Tensor, Tensor]


class Streamer:
    """What the course's data sets come in: shuffles for ever; its length is the batches in one pass."""

    def __init__(self, dataset: TensorDataset, batchsize: int) -> None:
        self.dataset = dataset
        self.batchsize = batchsize

    def __len__(self) -> int:
        return len(self.dataset) // self.batchsize

    def stream(self) -> Iterator[Batch]:
        while True:
            order = random.sample(range(len(self.dataset)), len(self.dataset))
            for start in range(0, len(self) * self.batchsize, self.batchsize):
                batch = [self.dataset[i] for i in order[start : start + self.batchsize]]
                x, y = zip(*batch, strict=True)
                yield torch.stack(x), torch.stack(y)


class NeuralNetwork(nn.Module):
    def __init__(self, features: int = 64, units: int = 32, num_classes: int = 10) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.layers = nn.Sequential(nn.Linear(features, units), nn.ReLU(), nn.Linear(units, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.flatten(x))


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(1)
    torch.manual_seed(1)


@pytest.fixture(scope="module")
def digits() -> tuple[TensorDataset, TensorDataset]:
    data = load_digits()
    x, y = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.tensor(data.target)
    return TensorDataset(x[:1000], y[:1000]), TensorDataset(x[1000:1400], y[1000:1400])


def settings(folder: Path, **changes: Any) -> TrainerSettings:
    values = {
        "epochs": 3, "metrics": [metrics.Accuracy()], "logdir": folder, "train_steps": 20, "valid_steps": None,
        "reporttypes": [], "optimizer_kwargs": {"lr": 1e-2}, "scheduler_kwargs": {"factor": 0.5, "patience": 5},
        "earlystop_kwargs": {"save": False, "verbose": True, "patience": 10},
    }  # fmt: skip
    return TrainerSettings(**{**values, **changes})


def trainer(mine: TrainerSettings, train: Any, valid: Any, **changes: Any) -> Trainer:
    values: dict[str, Any] = {
        "model": NeuralNetwork(), "loss_fn": nn.CrossEntropyLoss(), "optimizer": optim.Adam,
        "scheduler": optim.lr_scheduler.ReduceLROnPlateau, "device": "cpu",
    }  # fmt: skip
    return Trainer(settings=mine, traindataloader=train, validdataloader=valid, **{**values, **changes})


def loaders(digits: tuple[TensorDataset, TensorDataset]) -> tuple[DataLoader[Any], DataLoader[Any]]:
    return DataLoader(digits[0], batch_size=32, shuffle=True), DataLoader(digits[1], batch_size=32)


def score(model: nn.Module, valid: TensorDataset) -> float:
    model.eval()
    with torch.no_grad():
        return float((model(valid.tensors[0]).argmax(1) == valid.tensors[1]).float().mean())


def written(folder: Path, name: str) -> Path:
    (found,) = folder.rglob(name)
    return found


def test_streamers_tensorboard_and_toml(digits: tuple[TensorDataset, TensorDataset], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train, valid = (Streamer(part, batchsize=32) for part in digits)
    mine = settings(
        tmp_path / "modellogs", train_steps=len(train), valid_steps=len(valid),
        reporttypes=[ReportTypes.TENSORBOARD, ReportTypes.TOML],
    )  # fmt: skip
    assert "epochs: 3" in str(mine)
    it = trainer(mine, train.stream(), valid.stream())
    it.loop()
    assert score(it.model, digits[1]) > 0.8
    folder = written(tmp_path, "events.out.tfevents.*").parent
    assert folder.parent == tmp_path / "modellogs"
    events = EventAccumulator(str(folder)).Reload()
    assert set(events.Tags()["scalars"]) >= {"Loss/train", "Loss/test", "metric/Accuracy", "learning_rate"}
    assert [event.step for event in events.Scalars("metric/Accuracy")] == [0, 1, 2]
    assert tomllib.loads((folder / "settings.toml").read_text())["optimizer_kwargs"] == {"lr": 1e-2}
    assert tomllib.loads((folder / "model.toml").read_text())["class"] == "NeuralNetwork"


def test_data_loaders(digits: tuple[TensorDataset, TensorDataset], tmp_path: Path) -> None:
    train, valid = loaders(digits)
    it = trainer(settings(tmp_path, train_steps=len(train), valid_steps=len(valid)), train, valid)
    it.loop()
    assert score(it.model, digits[1]) > 0.8


def test_fewer_steps_than_batches_go_on_through_the_data(
    digits: tuple[TensorDataset, TensorDataset], tmp_path: Path
) -> None:
    """An unshuffled loader must not serve its first batches for ever: 3 epochs of 10 steps see 30 different batches."""
    seen: list[Tensor] = []

    class Watching(NeuralNetwork):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append(x[0])
            return super().forward(x)

    it = trainer(
        settings(tmp_path, train_steps=10), DataLoader(digits[0], 32), DataLoader(digits[1], 32), model=Watching()
    )
    it.loop()
    assert len(seen) == 30
    assert len(torch.unique(torch.stack(seen), dim=0)) == 30


def test_generators(digits: tuple[TensorDataset, TensorDataset], tmp_path: Path) -> None:
    def forever(part: TensorDataset) -> Iterator[Batch]:
        while True:
            yield part.tensors[0][:64], part.tensors[1][:64]

    it = trainer(settings(tmp_path, valid_steps=5), forever(digits[0]), forever(digits[1]))
    it.loop()
    assert score(it.model, digits[0]) > 0.5


def test_lists_of_batches(digits: tuple[TensorDataset, TensorDataset], tmp_path: Path) -> None:
    train, valid = ([(x, y) for x, y in DataLoader(part, batch_size=50)] for part in digits)
    it = trainer(settings(tmp_path, train_steps=len(train), valid_steps=len(valid)), train, valid)
    it.loop()
    assert score(it.model, digits[1]) > 0.8


@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu")])
def test_devices(device: Any, digits: tuple[TensorDataset, TensorDataset], tmp_path: Path) -> None:
    it = trainer(settings(tmp_path, epochs=1, train_steps=2), *loaders(digits), device=device)
    it.loop()
    assert next(it.model.parameters()).device.type == (
        "cpu" if device is not None else next(it.model.parameters()).device.type
    )


def test_the_lectures_network(digits: tuple[TensorDataset, TensorDataset], tmp_path: Path) -> None:
    config = CNNConfig(matrixshape=(8, 8), batchsize=32, input_channels=1, hidden=16, kernel_size=3, maxpool=2,
                       num_layers=2, num_classes=10)  # fmt: skip
    mine = settings(tmp_path, reporttypes=[ReportTypes.TOML], train_steps=None, optimizer_kwargs={"lr": 5e-3})
    it = trainer(mine, *loaders(digits), model=CNNblocks(config))
    it.loop()
    assert score(it.model, digits[1]) > 0.5
    read = tomllib.loads(written(tmp_path, "model.toml").read_text())
    assert read["class"] == "CNNblocks"
    assert read["config"]["hidden"] == 16
    assert read["config"]["matrixshape"] == [8, 8]


def test_regression(tmp_path: Path) -> None:
    x = torch.randn(512, 5)
    data = TensorDataset(x, x @ torch.randn(5, 1) + 0.01 * torch.randn(512, 1))
    train, valid = DataLoader(data, batch_size=32), DataLoader(data, batch_size=32)
    mine = settings(tmp_path, metrics=[metrics.MAE()], epochs=4, train_steps=16, optimizer_kwargs={"lr": 0.1})
    it = trainer(mine, train, valid, model=nn.Linear(5, 1), loss_fn=nn.MSELoss())
    it.loop()
    with torch.no_grad():
        assert metrics.MAE()(data.tensors[1], it.model(x)) < 0.1


def test_forecasting_with_mase(tmp_path: Path) -> None:
    series = torch.sin(torch.arange(600) / 7)
    windows = series.unfold(0, 24, 1)
    data = TensorDataset(windows[:, :20, None], windows[:, 20:])
    train = DataLoader(data, batch_size=64)
    mine = settings(
        tmp_path, metrics=[metrics.MASE(train, horizon=4), metrics.MAE()], train_steps=None, valid_steps=None
    )
    it = trainer(mine, train, train, model=nn.Sequential(nn.Flatten(), nn.Linear(20, 4)), loss_fn=nn.MSELoss())
    it.loop()
    with torch.no_grad():
        assert mine.metrics[0](data.tensors[1], it.model(data.tensors[0])) < 1


def test_several_inputs(tmp_path: Path) -> None:
    """A batch's input may be a tuple of tensors, as packed sequences are; the network gets the tuple."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
            return self.head(x[0] + x[1])

    batch = ((torch.randn(8, 4), torch.randn(8, 4)), torch.randint(2, (8,)))
    it = trainer(settings(tmp_path, train_steps=4, valid_steps=2), [batch] * 4, [batch] * 2, model=Sum())
    it.loop()


@pytest.mark.parametrize(
    ("scheduler", "scheduler_kwargs", "rates"),
    [
        (None, None, {1e-2}),
        (None, {"factor": 0.1, "patience": 10}, {1e-2}),
        (optim.lr_scheduler.StepLR, {"step_size": 1, "gamma": 0.1}, {1e-2, 1e-3, 1e-4, 1e-5}),
        (optim.lr_scheduler.CosineAnnealingLR, {"T_max": 3}, None),
        (optim.lr_scheduler.ExponentialLR, {"gamma": 0.5}, {1e-2, 5e-3, 2.5e-3, 1.25e-3}),
    ],
)
def test_schedulers(
    scheduler: Any, scheduler_kwargs: Any, rates: set[float] | None, digits: Any, tmp_path: Path
) -> None:
    mine = settings(tmp_path, scheduler_kwargs=scheduler_kwargs, train_steps=5)
    it = trainer(mine, *loaders(digits), scheduler=scheduler)
    it.loop()
    if rates is not None:
        seen = [row["lr"] for row in it.history]
        assert all(any(rate == pytest.approx(known) for known in rates) for rate in seen)
        assert len({round(rate, 9) for rate in seen}) == min(3, len(rates))


def test_a_scheduler_without_its_settings_is_refused(digits: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="step_size"):
        trainer(settings(tmp_path, scheduler_kwargs=None), *loaders(digits), scheduler=optim.lr_scheduler.StepLR)


def test_a_plateau_lowers_the_rate(digits: Any, tmp_path: Path) -> None:
    mine = settings(tmp_path, epochs=4, train_steps=1, scheduler_kwargs={"factor": 0.1, "patience": 0},
                    optimizer_kwargs={"lr": 1e-6})  # fmt: skip
    it = trainer(mine, *loaders(digits), optimizer=optim.SGD)
    it.loop()
    assert it.optimizer.param_groups[0]["lr"] < 1e-6


def test_the_loop_again_goes_on(digits: tuple[TensorDataset, TensorDataset], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    it = trainer(settings(tmp_path, reporttypes=[ReportTypes.TENSORBOARD, ReportTypes.TOML]), *loaders(digits))
    it.loop()
    first = it.test_loss
    it.loop()
    assert it.test_loss < first
    assert [row["epoch"] for row in it.history] == [1, 2, 3, 4, 5, 6]
    (folder,) = {path.parent for path in tmp_path.rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Scalars("Loss/test")] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("save", [True, False])
def test_patience_ends_the_loop_and_the_best_weights_stay(save: bool, digits: Any, tmp_path: Path) -> None:
    mine = settings(tmp_path, epochs=50, optimizer_kwargs={"lr": 1.0},
                    earlystop_kwargs={"save": save, "verbose": True, "patience": 2})  # fmt: skip
    it = trainer(mine, *loaders(digits), optimizer=optim.SGD)
    it.loop()
    losses = [row["valid_loss"] for row in it.history]
    assert 3 <= len(losses) < 50
    assert losses.index(min(losses)) == len(losses) - 3
    with torch.no_grad():
        x, y = digits[1].tensors
        kept = float(nn.functional.cross_entropy(it.model.eval()(x), y))
    assert kept == pytest.approx(min(losses), rel=1e-3)


def test_no_patience(digits: Any, tmp_path: Path) -> None:
    it = trainer(settings(tmp_path, earlystop_kwargs=None, train_steps=2, epochs=2), *loaders(digits))
    it.loop()
    assert len(it.history) == 2


def test_early_stopping_alone(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    stopping = EarlyStopping(log_dir=tmp_path, patience=2, verbose=True, delta=0.1, save=True)
    decisions = []
    for loss in (1.0, 0.95, 0.5, 0.6, 0.45):
        stopping(loss, model)
        with torch.no_grad():
            model.weight.add_(1)
        decisions.append((stopping.early_stop, stopping.counter))
    assert decisions == [(False, 0), (False, 1), (False, 0), (False, 1), (True, 2)]
    assert stopping.best_loss == 0.5
    last = model.weight.detach().clone()
    best = stopping.get_best()
    assert isinstance(best, nn.Linear)
    assert torch.allclose(best.weight, last - 3)  # as it was after two of five steps


def test_a_metric_of_ones_own(digits: Any, tmp_path: Path) -> None:
    class ErrorRate(metrics.Metric):
        def _compute(self, y: Tensor, yhat: Tensor) -> Tensor:
            return (yhat.argmax(dim=1) != y).float().mean()

        def __repr__(self) -> str:
            return "ErrorRate"

    it = trainer(settings(tmp_path, metrics=[ErrorRate(), metrics.Accuracy()]), *loaders(digits))
    it.loop()
    last = list(it.history)[-1]
    assert last["valid_error_rate"] + last["valid_accuracy"] == pytest.approx(1)


def test_a_function_as_a_metric_and_as_a_loss(digits: Any, tmp_path: Path) -> None:
    def right(y: Tensor, yhat: Tensor) -> float:
        return float((yhat.argmax(dim=1) == y).float().mean())

    def loss(yhat: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(yhat, y)

    it = trainer(settings(tmp_path, metrics=[right]), *loaders(digits), loss_fn=loss)
    it.loop()
    assert score(it.model, digits[1]) > 0.5


def test_the_steps_of_the_loop_by_hand(digits: Any, tmp_path: Path) -> None:
    it = trainer(settings(tmp_path), *loaders(digits))
    train_loss = it.trainbatches()
    found, test_loss = it.evalbatches()
    it.report(0, train_loss, test_loss, found)
    assert isinstance(train_loss, float)
    assert isinstance(test_loss, float)
    assert set(found) == {"Accuracy"}
    assert it.test_loss == test_loss


def test_settings_as_the_course_writes_them(tmp_path: Path) -> None:
    mine = TrainerSettings(epochs=10, metrics=[metrics.Accuracy()], logdir=str(tmp_path / "new"), train_steps=100,
                           valid_steps=20, reporttypes=[ReportTypes.TENSORBOARD, ReportTypes.TOML])  # fmt: skip
    assert mine.optimizer_kwargs == {"lr": 1e-3, "weight_decay": 1e-5}
    assert mine.scheduler_kwargs == {"factor": 0.1, "patience": 10}
    assert mine.earlystop_kwargs == {"save": False, "verbose": True, "patience": 10}
    assert mine.logdir == tmp_path / "new"
    assert not mine.logdir.exists()  # nothing is made before there is something to write
    assert "metrics: [Accuracy]" in str(mine)
