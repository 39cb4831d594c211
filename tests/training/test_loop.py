"""The loop: which weights one ends with, what counts, what is refused before the first batch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tasks import network, same, weights
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sightline import losses
from sightline.errors import ModelError, SettingsError, SourceError, TrainingError
from sightline.metrics import MAE, Accuracy, F1Score
from sightline.training import optim, schedule
from sightline.training.precision import Precision
from sightline.training.trainer import Trainer

Make = Callable[..., Trainer]


class Scripted(Trainer):
    """Trains as always, but its validation losses are written beforehand; remembers the weights of each epoch."""

    script: tuple[float, ...] = ()

    def evalbatches(self) -> tuple[dict[str, float], float]:
        found, _ = super().evalbatches()
        self.seen = [*getattr(self, "seen", []), weights(self.model)]
        return found, self.script[len(self.seen) - 1]


def scripted(*script: float) -> type[Scripted]:
    return type("Scripted", (Scripted,), {"script": script})


@pytest.mark.parametrize(
    ("script", "settings", "best", "why"),
    [
        ((3, 1, 2, 2), {"epochs": 4}, 2, "all 4 epochs are done"),
        ((3, 1, 2, 2, 0), {"epochs": 5, "earlystop_kwargs": {"patience": 2}}, 2, "has not improved for 2 epochs"),
        ((3, 1, 1, 1), {"epochs": 4}, 2, "all 4"),  # of equals the first
        ((math.nan, 5, math.nan), {"epochs": 3}, 2, "all 3"),
        ((4, 3.95, 3.9), {"epochs": 3, "earlystop_kwargs": {"patience": 2, "delta": 0.2}}, 3, "not improved for 2"),
    ],
)
def test_the_best_weights_are_in_the_model(make: Make, script: Any, settings: Any, best: int, why: str) -> None:
    trainer = make(scripted(*script), **settings)
    module, parameters = trainer.model, [id(p) for p in trainer.model.parameters()]
    trainer.loop()
    assert trainer.best_epoch == best
    assert same(weights(trainer.model), trainer.seen[best - 1])
    assert trainer.model is module
    assert [id(p) for p in module.parameters()] == parameters
    assert why in trainer.stopped
    assert not trainer.model.training


def test_without_a_number_the_last_weights_stay(make: Make) -> None:
    trainer = make(scripted(math.nan, math.nan))
    trainer.loop()
    assert trainer.best_epoch == 0
    assert same(weights(trainer.model), trainer.seen[-1])


@pytest.mark.parametrize("monitor", ["valid_accuracy", "valid_mae"])
def test_another_number_may_decide(make: Make, monitor: str) -> None:
    class Falling(MAE):
        values = iter([1.0, 3.0, 2.0])

        def value(self, numerator: Tensor, denominator: Tensor) -> Tensor:
            return torch.tensor(next(self.values))

    class Rising(Falling):
        higher_is_better = True

        def __repr__(self) -> str:
            return "Accuracy"

    metric = (Rising if monitor == "valid_accuracy" else Falling)()
    metric.sums = lambda y, yhat: (torch.zeros(()), torch.ones(()))  # type: ignore[method-assign]
    trainer = make(epochs=3, metrics=[metric], monitor=monitor, earlystop_kwargs={"patience": 1})
    trainer.loop()
    assert trainer.best_epoch == (2 if monitor == "valid_accuracy" else 1)
    assert trainer.last_epoch == (3 if monitor == "valid_accuracy" else 2)


def test_the_loop_again_goes_on_from_the_last_weights(make: Make) -> None:
    """One loop of four epochs and two loops of two train the same, although best weights lay in the model between."""
    momentum = {"lr": 0.05, "momentum": 0.9}
    together = make(scripted(1, 3, 2, 2), epochs=4, optimizer_kwargs=momentum)
    together.loop()
    torch.manual_seed(11)
    apart = make(scripted(1, 3, 2, 2), epochs=2, optimizer_kwargs=momentum)
    apart.loop()
    assert same(weights(apart.model), apart.seen[0])
    apart.loop()
    assert [row["epoch"] for row in apart.history] == [1, 2, 3, 4]
    assert [row["train_loss"] for row in apart.history] == [row["train_loss"] for row in together.history]
    assert same(apart.seen[3], together.seen[3])


def test_weights_put_in_between_are_kept(make: Make) -> None:
    trainer = make(scripted(1, 2, 3), epochs=1, optimizer_kwargs={"lr": 0.0})
    trainer.loop()
    trainer.loop()  # the second epoch is worse, so the first's weights are in the model
    with torch.no_grad():
        trainer.model[6].weight.fill_(0.25)
    trainer.loop()
    assert float(trainer.seen[2]["6.weight"].mean()) == 0.25


def test_patience_begins_anew_with_each_loop(make: Make) -> None:
    trainer = make(scripted(1, 2, 3, 4, 5), epochs=9, earlystop_kwargs={"patience": 2})
    trainer.loop()
    assert trainer.last_epoch == 3
    trainer.loop()
    assert trainer.last_epoch == 5
    assert trainer.best_epoch == 1


@pytest.mark.parametrize("batch_size", [1, 7, 64, 270])
def test_every_example_counts_once(make: Make, digits: Any, batch_size: int) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    x, y = digits[1].tensors
    wanted = float(F.cross_entropy(model(x), y).detach())
    right = float((model(x).argmax(1) == y).float().mean())

    def accuracy(y: Tensor, yhat: Tensor) -> float:
        return Accuracy()(y, yhat)

    loader = DataLoader(digits[1], batch_size=batch_size)
    for loss_fn in (nn.CrossEntropyLoss(), losses.loss("cross-entropy", label_smoothing=0.0)):
        trainer = make(
            model=model, loss_fn=loss_fn, optimizer_kwargs={"lr": 0.0}, epochs=1, traindataloader=loader,
            validdataloader=loader, probe=loader, metrics=[Accuracy(), accuracy],
        )  # fmt: skip
        trainer.loop()
        (row,) = trainer.history
        assert row["train_loss"] == pytest.approx(wanted, rel=1e-6)
        assert row["valid_loss"] == pytest.approx(wanted, rel=1e-6)
        assert row["probe_loss"] == pytest.approx(wanted, rel=1e-6)
        assert row["valid_accuracy"] == row["probe_accuracy"] == pytest.approx(right)


@pytest.mark.parametrize("sizes", [(10, 10, 10), (10, 10, 3), (8, 9, 10, 4)])
def test_accumulated_batches_make_the_step_of_one_large_batch(make: Make, digits: Any, sizes: tuple[int, ...]) -> None:
    x, y = (part[: sum(sizes)] for part in digits[0].tensors)
    parts = list(zip(x.split(sizes), y.split(sizes), strict=True))
    stepped = []
    for batches, accumulate in ((parts, len(sizes)), (parts, 99), ([(x, y)], 1)):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        with torch.no_grad():
            model[1].weight.fill_(0.01)
            model[1].bias.zero_()
        trainer = make(model=model, traindataloader=batches, accumulate=accumulate, epochs=1, penalty=losses.l2)
        trainer.loop()
        assert trainer.step == 1
        stepped.append(model[1].weight.detach().clone())
    torch.testing.assert_close(stepped[0], stepped[2])
    torch.testing.assert_close(stepped[1], stepped[2])


def test_groups_do_not_reach_over_epochs(make: Make) -> None:
    trainer = make(epochs=2, accumulate=3)  # five batches: a group of three and one of two
    trainer.loop()
    assert trainer.step == 4
    assert [row["step"] for row in trainer.history] == [2, 4]


def test_the_loop_is_the_plain_loop(make: Make, digits: Any) -> None:
    """The twin of the loop: a few lines by hand give the same weights, bit for bit."""
    torch.manual_seed(5)
    trainer = make(optimizer=torch.optim.Adam, optimizer_kwargs={"lr": 1e-3}, epochs=3, scheduler=None)
    trainer.loop()
    torch.manual_seed(5)
    model, loader = network(), DataLoader(digits[0], batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for _ in range(3):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        for _ in DataLoader(digits[1], batch_size=64):
            pass  # it draws from the generator, too
    trainer.best.leave(trainer.model)
    assert same(weights(model), weights(trainer.model))


def test_the_fast_path_agrees_with_the_plain_one(make: Make, digits: Any) -> None:
    """Channels_last, bf16, fused AdamW: after 30 steps the losses differ by little more than bf16's rounding."""
    found = []
    for precision in (Precision("fp32", channels_last=False), Precision("fp32"), Precision("bf16")):
        model = network().eval()
        model[5].p = 0.0
        torch.manual_seed(1)
        trainer = make(
            model=model, optimizer=optim.build("adamw", model, lr=3e-3), precision=precision, epochs=6
        )  # fmt: skip
        trainer.loop()
        found.append([row["valid_loss"] for row in trainer.history])
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    assert found[2] == pytest.approx(found[0], rel=5e-2)
    assert found[0][-1] < 0.7 * found[0][0]


def test_the_step_is_four_calls_deep(make: Make) -> None:
    stacks: list[list[str]] = []

    class Looking(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            stacks.append([frame.function for frame in inspect.stack() if "sightline" in frame.filename])

    trainer = make(epochs=1)
    trainer = make(epochs=1, optimizer=Looking(trainer.model.parameters(), lr=0.1), model=trainer.model)
    trainer.loop()
    assert stacks[0] == ["step", "trainbatches", "loop"]


def test_clipping_bounds_the_step_and_is_reported(make: Make) -> None:
    trainer = make(clip_norm=0.01, optimizer_kwargs={"lr": 1.0}, epochs=1, train_steps=1)
    before = torch.nn.utils.parameters_to_vector(trainer.model.parameters()).detach().clone()
    trainer.loop()
    after = torch.nn.utils.parameters_to_vector(trainer.model.parameters()).detach()
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)
    assert trainer.history[0]["grad_norm"] > 0.01


def test_a_penalty_is_added_and_reported_apart(make: Make) -> None:
    def one(model: nn.Module) -> Tensor:
        return 0 * sum(p.sum() for p in model.parameters()) + 7.0

    plain, penalised = make(epochs=1), make(epochs=1, penalty=one)
    torch.manual_seed(2)
    plain.loop()
    torch.manual_seed(2)
    penalised.loop()
    assert penalised.history[0]["penalty"] == 7
    assert "penalty" not in plain.history[0]
    assert penalised.history[0]["train_loss"] == plain.history[0]["train_loss"]
    assert same(weights(plain.model), weights(penalised.model))


def test_a_schedule_by_steps(make: Make) -> None:
    plan = schedule.build("cosine", lr=0.05, steps=10, warmup=0.2)
    trainer = make(scheduler=plan, epochs=2)
    trainer.loop()
    assert [row["lr"] for row in trainer.history] == pytest.approx([plan(4), plan(9)])


def test_groups_keep_their_ratio_under_a_schedule(make: Make) -> None:
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[6].parameters(), "lr": 0.1}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    trainer = make(model=model, optimizer=optimizer, scheduler=schedule.build("triangular", lr=0.1, steps=10), epochs=1)
    trainer.loop()
    rates = [group["lr"] for group in trainer.optimizer.param_groups]
    assert rates[1] == pytest.approx(10 * rates[0])
    assert rates[0] < 0.01


def test_regression_with_its_variance_and_several_labels(make: Make) -> None:
    x = torch.randn(200, 3)
    y = x @ torch.randn(3, 2) + 0.1
    data = DataLoader(TensorDataset(x, y), batch_size=32)
    trainer = make(
        model=nn.Linear(3, 4), loss_fn=losses.loss("gaussian-nll"), traindataloader=data, validdataloader=data,
        metrics=[lambda y, yhat: float((y - yhat[:, :2]).abs().mean())], epochs=3,
    )  # fmt: skip
    trainer.loop()
    assert trainer.history[-1]["valid_loss"] < trainer.history[0]["valid_loss"]
    labels = DataLoader(TensorDataset(x, (y > 0).long()), batch_size=32)
    trainer = make(
        model=nn.Linear(3, 2), loss_fn=losses.loss("bce"), traindataloader=labels, validdataloader=labels,
        metrics=[F1Score("macro")], epochs=8, optimizer_kwargs={"lr": 1.0},
    )  # fmt: skip
    trainer.loop()
    assert trainer.history[-1]["valid_f1_macro"] > 0.8


def test_arrays_lists_and_tuples_are_batches(make: Make, digits: Any) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, x: Any) -> Tensor:
            return self.head((x[0] + x[1]).flatten(1))

    x, y = (part.numpy() for part in digits[1].tensors)
    plain = make(traindataloader=[(x.astype(np.float64), y.astype(np.int32))], validdataloader=[[x, list(y)]])
    plain.loop()
    double = [((x, torch.from_numpy(x)), y)]
    make(model=Two(), traindataloader=double, validdataloader=double).loop()


def test_steps_take_batches_from_one_iterator(make: Make, digits: Any) -> None:
    """Five batches, three a step: the iterator lives on over epochs and begins again when it is used up."""
    labels = digits[0].tensors[1][:2]
    batches = [(torch.full((2, 1, 8, 8), float(number)), labels) for number in range(5)]
    seen: list[float] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            seen.append(float(x[0, 0, 0, 0]) + (0 if self.training else 100))
            return self.head(x.flatten(1))

    make(
        model=Watching(), traindataloader=batches, validdataloader=batches, train_steps=3, valid_steps=2, epochs=3
    ).loop()
    assert [value for value in seen if value < 100] == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert [value - 100 for value in seen if value >= 100] == [0, 1, 2, 3, 4, 0]
    seen.clear()
    make(model=Watching(), traindataloader=batches, validdataloader=batches, epochs=2).loop()
    assert seen == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104] * 2


def endless(batch: Any) -> Iterator[Any]:
    while True:
        yield batch


def test_generators_need_a_number_of_steps(make: Make, digits: Any) -> None:
    batch = tuple(part[:32] for part in digits[0].tensors)
    make(traindataloader=endless(batch), validdataloader=endless(batch), train_steps=3, valid_steps=1).loop()
    with pytest.raises(SettingsError, match="traindataloader is a generator, which may never end"):
        make(traindataloader=endless(batch))
    with pytest.raises(SettingsError, match="validdataloader is a generator"):
        make(validdataloader=endless(batch))
    used_up = make(traindataloader=iter([batch] * 4), train_steps=3)
    with pytest.raises(TrainingError, match="gives no batch any more"):
        used_up.loop()
    with pytest.raises(TrainingError, match="traindataloader gives no batch"):
        make(traindataloader=[]).loop()
    with pytest.raises(TrainingError, match="validdataloader gives no batch"):
        make(validdataloader=[]).loop()


@pytest.mark.parametrize("batch", [torch.zeros(2, 1, 8, 8), (torch.zeros(2, 1, 8, 8),), {"x": 1, "y": 2}])
def test_a_batch_is_a_pair(make: Make, batch: Any) -> None:
    with pytest.raises(SourceError, match=r"where a batch is a pair \(x, y\)"):
        make(traindataloader=[batch]).loop()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"accumulate": 0}, "'accumulate' is 0"),
        ({"clip_norm": 0.0}, "'clip_norm' 0.0"),
        ({"ema": 1.0}, "'ema' is 1.0"),
        ({"checkpoint_minutes": 0.0}, "'checkpoint_minutes'"),
        ({"time_limit_s": 0.0}, "'time_limit_s'"),
        ({"monitor": "valid_acuracy"}, "Did you mean 'valid_accuracy'"),
        ({"monitor": "probe_loss"}, "'monitor' is 'probe_loss'"),
        ({"optimizer_kwargs": {"learning_rate": 1.0}}, "no option 'learning_rate'"),
        ({"optimizer_kwargs": {"lr": -1.0}}, "refuses"),
        ({"earlystop_kwargs": {"patient": 3}}, "Did you mean 'patience'"),
        ({"earlystop_kwargs": {"patience": 0}}, "patience=0"),
        ({"scheduler": torch.optim.lr_scheduler.StepLR}, "step_size"),
        ({"traindataloader": 3}, "cannot be iterated over"),
        ({"device": "gpu"}, "'gpu' is unknown"),
        ({"metrics": [Accuracy(), Accuracy()], "monitor": "valid_f1"}, "It has: valid_loss"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(make: Make, changes: Any, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        make(**changes)


def test_the_optimizer_must_hold_the_models_own_parameters(make: Make) -> None:
    with pytest.raises(SettingsError, match="not parameters of Sequential"):
        make(optimizer=torch.optim.SGD(network().parameters(), lr=0.1))
    model, other = network(), network()
    strange = torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD(other.parameters(), lr=0.1))
    with pytest.raises(SettingsError, match="drives another optimizer"):
        make(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), scheduler=strange)


def test_a_model_without_anything_to_train_is_refused(make: Make) -> None:
    with pytest.raises(ModelError, match="no parameter that takes gradients"):
        make(model=nn.Flatten())
    with pytest.raises(ModelError, match="have not seen an input"):
        make(model=nn.Sequential(nn.Flatten(), nn.LazyLinear(10)))


def test_a_label_out_of_range_ends_the_training_in_words(make: Make, digits: Any) -> None:
    x = digits[0].tensors[0]
    with pytest.raises(SourceError, match="label 10 is out of range"):
        make(traindataloader=[(x, torch.full((len(x),), 10))], loss_fn=losses.loss("cross-entropy")).loop()
