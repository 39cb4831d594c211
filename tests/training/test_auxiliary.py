"""Auxiliary heads in training: their losses count with 0.3 while the network learns, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tasks import weights
from torch.nn import functional as F

import sightline
from sightline import losses
from sightline.models.network import Network
from sightline.progress import Progress
from sightline.training import lr_range, speed
from sightline.training.precision import Precision, full
from sightline.training.trainer import Trainer

Make = Callable[..., Trainer]
HEADS = {"width": 0.1, "depth": 0.8, "auxiliary": True}


def googlenet(**options: Any) -> Network:
    torch.manual_seed(5)
    model = sightline.build("googlenet", in_channels=1, num_classes=10, image_size=8, **{**HEADS, **options})
    assert isinstance(model, Network)
    return model


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(12, 1, 8, 8), torch.arange(12) % 10


@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_is_the_sum_of_section_5(soft: bool) -> None:
    """Smoothing, class weights and mixed targets hold for the heads as well."""
    model, (x, y) = googlenet(dropout=0.0), batch()
    plain = losses.loss("cross-entropy", label_smoothing=0.1, class_weights=torch.arange(1.0, 11.0))
    target = 0.7 * F.one_hot(y, 10) + 0.3 * F.one_hot(y.roll(1), 10) if soft else y
    yhat = model(x)
    sides = [head.logits for head in model.auxiliary_heads()]
    assert len(sides) == 2
    wanted = plain(yhat, target) + sum(0.3 * plain(side, target) for side in sides)
    torch.testing.assert_close(losses.with_auxiliary(plain, model)(yhat, target), wanted)


def test_validation_is_plain() -> None:
    model, (x, y) = googlenet(), batch()
    mine = losses.with_auxiliary(losses.loss("cross-entropy", label_smoothing=0.1), model)
    yhat = model.eval()(x)
    torch.testing.assert_close(mine.per_example(yhat, y), F.cross_entropy(yhat, y, reduction="none"))
    torch.testing.assert_close(mine(yhat, y), F.cross_entropy(yhat, y, label_smoothing=0.1))
    assert mine.state_dict() == {}
    assert not list(mine.parameters()), "the network is no part of its loss"


def test_without_heads_the_loss_stays_as_it_is() -> None:
    plain = losses.loss("cross-entropy")
    assert losses.with_auxiliary(plain, googlenet(auxiliary=False)) is plain
    assert losses.with_auxiliary(plain, torch.nn.Linear(2, 2)) is plain


def test_sixteen_bits_are_widened_before_the_loss() -> None:
    model, (x, y) = googlenet(), batch()
    precision = Precision("bf16")
    with precision.forward():
        yhat = model(x)
    heads = model.auxiliary_heads()
    assert {head.logits.dtype for head in heads if head.logits is not None} == {torch.bfloat16}
    loss = losses.with_auxiliary(losses.loss("cross-entropy"), model)(full(yhat), y)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("weight", [0.3, 0.0])
def test_the_trainer_trains_them(weight: float, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """With their weight the heads learn; without it not one of their numbers moves."""
    monkeypatch.setattr(losses, "AUXILIARY_WEIGHT", weight)
    model = googlenet()
    before = weights(model)
    loss_fn = losses.with_auxiliary(losses.loss("cross-entropy"), model)
    trainer = make(model=model, loss_fn=loss_fn, epochs=1, accumulate=2)
    trainer.loop()
    moved = {name for name, value in weights(model).items() if name.startswith("aux") and not value.equal(before[name])}
    assert bool(moved) == bool(weight)
    assert all(head.logits is None for head in model.auxiliary_heads())


def test_compiled_or_not_the_heads_get_the_same_gradients() -> None:
    x, y = batch()
    gradients = []
    for compiled in (False, True):
        model = googlenet()
        mine = losses.with_auxiliary(losses.loss("cross-entropy"), model)
        forward: Callable[..., torch.Tensor] = torch.compile(model, backend="eager") if compiled else model
        torch.manual_seed(1)
        mine(forward(x), y).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_trials_before_a_training_leave_nothing_behind() -> None:
    """A timed step trains a copy together with its loss; a range test takes what the heads made."""
    model, (x, y) = googlenet(), batch()
    mine = losses.with_auxiliary(losses.loss("cross-entropy"), model)
    before = weights(model)
    assert speed.step_seconds(model, [(x, y)] * 3, mine, Precision(channels_last=False), warm=1) > 0
    found = lr_range.find(model, [(x, y)], mine, torch.optim.SGD(model.parameters(), 0.1), steps=10)
    assert found.losses[0] > 1.3 * 2.303, "the loss of three guesses, two of them at 0.3, is ln 10 x 1.6"
    assert all(head.logits is None for head in model.auxiliary_heads())
    assert all(value.equal(before[name]) for name, value in weights(model).items())


def test_by_the_recipe(tmp_path: Path, draw_folder: Callable[..., Path]) -> None:
    """The training loss is that of three heads, the probe's that of one."""
    photos = draw_folder(tmp_path / "photos", per_class=10, size=8)
    run = sightline.train(
        photos,
        "googlenet",
        options=HEADS,
        epochs=1,
        lr=1e-6,
        augment="none,mixup=0.2",
        label_smoothing=0.1,
        runs=tmp_path,
        progress=Progress(quiet=True),
    )
    row = run.history.rows[0]
    assert row["train_loss"] > 1.3 * row["probe_loss"]
    assert any(name.startswith("aux1") for name in run.model.state_dict())
