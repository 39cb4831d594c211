"""How a training ends: Ctrl-C once and twice, the clock, a loss that is not finite, no memory."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tasks import network, same, weights
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sightline.errors import TrainingError
from sightline.run import RunFolder
from sightline.training import watch
from sightline.training.ending import Ending
from sightline.training.precision import Precision
from sightline.training.tally import Tally
from sightline.training.trainer import Trainer

Make = Callable[..., Trainer]


class Pressing:
    """A loader during which Ctrl-C is pressed: at which batches, counted over all passes."""

    def __init__(self, loader: Any, *at: int) -> None:
        self.loader = loader
        self.at = at
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            self.count += 1
            for _ in range(self.at.count(self.count)):
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    def __len__(self) -> int:
        return len(self.loader)


def test_ctrl_c_ends_the_epoch_after_the_step(make: Make, digits: Any) -> None:
    before = signal.getsignal(signal.SIGINT)
    trainer = make(traindataloader=Pressing(DataLoader(digits[0], 64), 7), epochs=9)
    trainer.loop()
    assert signal.getsignal(signal.SIGINT) == before
    assert trainer.interrupted
    assert trainer.stopped == "interrupted by Ctrl-C in epoch 2, after step 7"
    assert [row["step"] for row in trainer.history] == [5, 7]
    trainer.traindataloader.at = ()
    trainer.loop()  # the rest of the pass, and eight passes more
    assert not trainer.interrupted
    assert [row["step"] for row in trainer.history] == [5, 7, 10, *range(15, 55, 5)]


def test_ctrl_c_in_validation_ends_after_the_epoch(make: Make, digits: Any) -> None:
    trainer = make(validdataloader=Pressing(DataLoader(digits[1], 64), 1), epochs=9)
    trainer.loop()
    assert trainer.last_epoch == 1
    assert trainer.interrupted


def test_a_second_ctrl_c_stops_at_once(make: Make, digits: Any, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    (tmp_path / "run").mkdir()
    trainer = make(traindataloader=Pressing(DataLoader(digits[0], 64), 7, 7), folder=RunFolder(tmp_path / "run"))
    with pytest.raises(KeyboardInterrupt):
        trainer.loop()
    assert signal.getsignal(signal.SIGINT) == before
    assert len(trainer.history) == 1
    assert trainer.best_epoch == 1
    assert not trainer.model.training


@pytest.mark.parametrize("at", [(4,), (5,), (6,), (7, 7)])
def test_twins_of_a_training_that_was_interrupted(make: Make, digits: Any, tmp_path: Path, at: tuple[int, ...]) -> None:
    """Resumed after Ctrl-C, the epoch that was cut short is made whole: as if nobody had pressed."""
    files = []
    for name, presses in (("peace", ()), ("pressed", at)):
        (tmp_path / name).mkdir()
        folder = RunFolder(tmp_path / name)
        for attempt in range(2):
            torch.manual_seed(1)
            loader = Pressing(DataLoader(digits[0], 64, shuffle=True), *(presses if attempt == 0 else ()))
            trainer = make(traindataloader=loader, folder=folder, epochs=3, checkpoint_minutes=1e-9)
            trainer.resume()
            try:
                trainer.loop()
            except KeyboardInterrupt:
                assert at == (7, 7)
        files.append([path.read_bytes() for path in (folder.best, folder.last, folder.history)])
    assert files[0] == files[1]


def test_in_another_thread_nothing_is_listened_to(make: Make) -> None:
    before = signal.getsignal(signal.SIGINT)
    trainer = make()
    thread = threading.Thread(target=trainer.loop)
    thread.start()
    thread.join()
    assert trainer.last_epoch == 2
    assert signal.getsignal(signal.SIGINT) == before


def test_who_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Ending() as ending:
            os.kill(os.getpid(), signal.SIGINT)
            assert not ending.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_clock_ends_a_training(make: Make) -> None:
    trainer = make(time_limit_s=1e-6, epochs=9)
    trainer.loop()
    assert trainer.step == 1
    assert trainer.last_epoch == 1
    assert "the time limit of 0.0 s was reached in epoch 1, after step 1" in trainer.stopped
    assert not trainer.interrupted
    trainer.loop()
    assert trainer.step == 1  # the time was up before


class Log(nn.Module):
    """Gives NaN for what is below 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x)


def test_a_nan_names_epoch_step_and_layer(make: Make, digits: Any) -> None:
    x, y = digits[0].tensors
    batches = [(x[:50], y[:50])] * 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Sigmoid(), Log(), nn.Linear(10, 10))
    trainer = make(model=model, traindataloader=batches, optimizer_kwargs={"lr": 0.0})
    trainer.loop()
    with torch.no_grad():
        model[1].weight.fill_(-1e30)
    with pytest.raises(TrainingError, match=r"in epoch 3, step 1: .* in the output of layer '3' \(Log\)"):
        trainer.loop()
    assert not any(part._forward_hooks for part in model.modules())


def test_on_the_processor_no_nan_reaches_the_weights(make: Make, digits: Any) -> None:
    x, y = digits[0].tensors
    bad = x[:50].clone()
    bad[3, 0, 2, 2] = torch.nan
    trainer = make(traindataloader=[(x[:50], y[:50]), (bad, y[:50])])
    with pytest.raises(TrainingError, match="epoch 1, step 2: first seen in the batch itself"):
        trainer.loop()
    assert watch.broken_weight(trainer.model) is None or "running" in str(watch.broken_weight(trainer.model))
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_where_reading_costs_it_is_noticed_later_but_named_rightly(
    make: Make, digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tally, "for_device", classmethod(lambda cls, device: cls(50)))
    x, y = digits[0].tensors
    batches = [(x[:50], y[:50])] * 6
    batches[2] = (x[:50] * torch.nan, y[:50])
    with pytest.raises(TrainingError, match=r"epoch 1, step 3: first seen in the weight '0.weight'"):
        make(traindataloader=batches).loop()
    plain = make(traindataloader=batches[:2])
    plain.loop()
    monkeypatch.undo()
    torch.manual_seed(11)
    often = make(traindataloader=batches[:2])
    often.loop()
    torch.manual_seed(11)
    assert plain.history[0].keys() == often.history[0].keys()


def test_weights_that_break_in_the_last_step_are_noticed(make: Make, digits: Any) -> None:
    x, y = digits[0].tensors

    class Breaking(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            self.param_groups[0]["params"][0].data.fill_(torch.inf)

    model = network()
    trainer = make(model=model, optimizer=Breaking(model.parameters(), lr=0.1), traindataloader=[(x[:50], y[:50])])
    with pytest.raises(TrainingError, match=r"validation loss .* in the weight '0.weight', after the last step"):
        trainer.loop()


def test_the_best_weights_come_back_after_an_error(make: Make, digits: Any) -> None:
    class Failing(DataLoader):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[Any]:
            self.passes = getattr(self, "passes", 0) + 1
            for number, batch in enumerate(super().__iter__()):
                if self.passes == 2 and number == 2:
                    raise ValueError("the disk is gone")
                yield batch

    trainer = make(traindataloader=Failing(digits[0], 64))
    with pytest.raises(ValueError, match="the disk is gone"):
        trainer.loop()
    assert trainer.step == 7
    assert trainer.best_epoch == 1
    first = make(epochs=1, traindataloader=DataLoader(digits[0], 64))
    torch.manual_seed(11)
    again = make(epochs=1, traindataloader=DataLoader(digits[0], 64))
    assert same(weights(first.model), weights(again.model))


def test_no_memory_is_told_in_words(make: Make) -> None:
    def hungry(yhat: Tensor, y: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("tried to allocate 9 TB")

    with pytest.raises(TrainingError, match="memory of cpu is full in epoch 1"):
        make(loss_fn=hungry).loop()


def test_fp16_skips_steps_that_overflow(make: Make) -> None:
    """The scaler begins at 65536, so the first steps overflow, are skipped, and are no reason to stop."""
    trainer = make(precision=Precision("fp16"), clip_norm=1.0, epochs=3, optimizer_kwargs={"lr": 0.5})
    trainer.loop()
    assert trainer.history[-1]["train_loss"] < trainer.history[0]["train_loss"]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (torch.tensor([1.0, torch.inf]), False),
        (torch.tensor([1]), True),
        ((torch.ones(1), {"a": torch.tensor(torch.nan)}), False),
        ([torch.ones(1), "text"], True),
    ],
)
def test_finite(value: Any, wanted: bool) -> None:
    assert watch.finite(value) is wanted


def test_the_origin_may_lie_behind_the_layers() -> None:
    class Tail(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x) / 0

    assert "behind its last layer" in watch.origin(Tail(), torch.ones(1, 2))
    assert "in the loss" in watch.origin(nn.Linear(2, 2), torch.ones(1, 2))
