"""Looking changes nothing; what is seen is what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tasks import network, same, weights
from torch import nn

from sightline import losses
from sightline.run import RunFolder
from sightline.training import instruments, optim
from sightline.training.history import History
from sightline.training.instruments import Instruments, plan, steps
from sightline.training.trainer import Trainer

Make = Callable[..., Trainer]
LOSS = losses.CrossEntropy()


def looked(model: nn.Module, x: torch.Tensor, y: torch.Tensor, optimizer: Any = None) -> dict[str, float]:
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    found = Instruments([(x, y)], LOSS, every=1)
    found.measure(model, optimizer, 1, last=True)
    return found.rows[0]


def test_a_look_leaves_everything_as_it_was() -> None:
    model = network()
    model.train()
    model[5].eval()  # somebody's choice
    x, y = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    LOSS(model(x), y).backward()
    before, modes = weights(model), [part.training for part in model.modules()]
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    numbers = torch.get_rng_state()
    looked(model, x, y)
    assert same(before, weights(model))
    assert modes == [part.training for part in model.modules()]
    assert torch.equal(numbers, torch.get_rng_state())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True) if p.grad is not None)
    assert not any(part._forward_hooks for part in model.modules())


@pytest.mark.parametrize("every", [1, 3])
def test_a_training_with_instruments_ends_with_the_same_bits(
    make: Make, digits: Any, tmp_path: Path, every: int
) -> None:
    x, y = digits[0].tensors
    folders = [RunFolder.create(tmp_path, name) for name in ("plain", "looked")]
    for folder in folders:
        seen = Instruments([(x[:16], y[:16])], LOSS, every=every, folder=folder) if folder is folders[1] else None
        torch.manual_seed(0)
        make(epochs=4, folder=folder, instruments=seen, loss_fn=LOSS).loop()
    for name in ("history", "valid_losses", "last", "best"):
        assert getattr(folders[0], name).read_bytes() == getattr(folders[1], name).read_bytes()
    assert not folders[0].instruments.exists()
    assert [row["epoch"] for row in History.read(folders[1].instruments).rows] == (
        [1, 2, 3, 4] if every == 1 else [1, 3, 4]
    )


def test_what_a_training_that_goes_on_has_seen_is_what_one_without_interruption_has(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    x, y = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in (1, 2, 3):
        Instruments([(x, y)], LOSS, every=1, folder=folder).measure(model, optimizer, epoch, last=False)
    whole = folder.instruments.read_bytes()
    for epoch in (2, 3):  # it was killed in epoch 2, after that look was written
        Instruments([(x, y)], LOSS, every=1, folder=folder).measure(model, optimizer, epoch, last=False)
    assert folder.instruments.read_bytes() == whole


def test_gradients_and_steps_of_a_line_are_those_by_hand() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    x, y = torch.randn(8, 3), torch.arange(8) % 2
    row = looked(model, x, y)
    LOSS(model(x), y).backward()
    weight = model[0].weight
    assert weight.grad is not None
    assert row["gradient/0"] == pytest.approx(float(weight.grad.norm()), rel=1e-5)
    assert row["update/0"] == pytest.approx(0.1 * float(weight.grad.norm() / weight.detach().norm()), rel=1e-5)
    assert row["train_mode_loss"] == pytest.approx(row["eval_mode_loss"])
    assert row["train_mode_loss"] == pytest.approx(float(LOSS(model(x), y).detach()))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_last_step_is_read_off_the_optimizer(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    optimizer = optim.build(name, model, lr=0.01, options={"nesterov": False} if name == "sgd" else None)
    for _ in range(4):
        before = model[0].weight.detach().clone()
        optimizer.zero_grad()
        LOSS(model(torch.randn(8, 3)), torch.arange(8) % 2).backward()
        optimizer.step()
    moved = float((model[0].weight.detach() - before).norm() / model[0].weight.detach().norm())
    found = steps(optimizer, dict(model.named_parameters()), {})["0.weight"]
    assert found == pytest.approx(moved, rel=1e-3)


def test_an_optimizer_nobody_knows_tells_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    optimizer = torch.optim.Rprop(model.parameters())
    assert steps(optimizer, dict(model.named_parameters()), {}) == {}


def test_dead_and_saturated_units_are_counted_by_layer() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([1.0, -1.0, -1.0, -1.0]))
        model[2].weight.zero_()
        model[2].bias.copy_(torch.tensor([0.0, 9.0, -9.0, 0.0]))
    row = looked(model, torch.randn(8, 3), torch.arange(8) % 2)
    assert row["dead/1"] == pytest.approx(0.75)
    assert row["saturated/3"] == pytest.approx(0.5)
    assert row["commonest"] == 1.0  # every image gets the same answer


def test_a_unit_of_a_convolution_is_a_map_and_one_module_may_stand_twice() -> None:
    act = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(1, 2, 1), act, nn.Conv2d(2, 2, 1), act, nn.Flatten(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([-99.0, 99.0]))
    row = looked(model, torch.rand(4, 1, 2, 2), torch.arange(4) % 2)
    assert row["dead/1"] == pytest.approx(0.5)
    assert "dead/1+" in row


def test_frozen_norms_are_seen_as_training_has_them() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    x, y = 5 + torch.randn(8, 3), torch.arange(8) % 2
    row = looked(model, x, y)
    assert row["train_mode_loss"] == pytest.approx(row["eval_mode_loss"])


def test_the_plan_keeps_to_its_share() -> None:
    assert plan(1000, 1000, 20, 30, 0.0) == (0, 0, False)
    for train, held_out, step_count in (
        (1000, 1100, 20),
        (50_000, 12_000, 390),
        (80, 20, 10),
        (1_300_000, 60_000, 5000),
    ):
        for share in (0.01, 0.05):
            images, every, _ = plan(train, held_out, step_count, 30, share)
            assert 1 <= images <= min(128, train)
            assert instruments.PASSES * images <= 1.0001 * share * every * (3 * train + held_out)
    assert plan(50_000, 12_000, 390, 30, 0.05) == (128, 1, True)
    assert plan(1000, 200, 90, 3, 0.01)[2] is False, "two looks would be more than a hundredth of 270 steps"


def test_the_recipe_writes_what_was_seen(tmp_path: Path) -> None:
    import sightline
    from sightline.progress import Progress

    run = sightline.train(
        "digits", "lenet5", epochs=2, instruments="all", probes=False, runs=tmp_path, name="a", device="cpu",
        progress=Progress(quiet=True),
    )  # fmt: skip
    rows = History.read(run.folder.instruments).rows
    assert [row["epoch"] for row in rows] == [2], "a second look would be more than a twentieth of 46 steps"
    assert any(name.startswith("saturated/") for name in rows[0])
