"""Penalties: values and gradients against their formulas, whom they concern, how they are spelt, what they do."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sightline import losses
from sightline.errors import SettingsError
from sightline.metrics import Accuracy
from sightline.penalties import PENALTIES, Penalty, elastic, l1, l2, penalty, sparsity
from sightline.progress import Progress
from sightline.settings import TrainerSettings
from sightline.training import optim
from sightline.training.trainer import Trainer

Matrix = NDArray[np.float64]


def rows(w: Matrix) -> Matrix:
    return w.reshape(len(w), -1)


def orthogonal_value(w: Matrix) -> float:
    flat = rows(w) if w.shape[0] <= w[0].size else rows(w).T
    return float(((flat @ flat.T - np.eye(len(flat))) ** 2).sum())


def orthogonal_gradient(w: Matrix) -> Matrix:
    flat = rows(w)
    wide = w.shape[0] <= w[0].size
    gradient = 4 * (flat @ flat.T @ flat - flat) if wide else 4 * (flat @ (flat.T @ flat) - flat)
    return gradient.reshape(w.shape)


def unit(w: Matrix) -> Matrix:
    length = np.linalg.norm(rows(w), axis=1)
    safe = np.where(length > 0, length, 1)
    return (rows(w) / safe[:, None]).reshape(w.shape)


VALUES: dict[str, Callable[[Matrix], float]] = {
    "l1": lambda w: float(np.abs(w).sum()),
    "l2": lambda w: float((w**2).sum()),
    "elastic": lambda w: float((np.abs(w) + w**2).sum() / 2),
    "group": lambda w: float(np.linalg.norm(rows(w), axis=1).sum() * np.sqrt(w[0].size)),
    "orthogonal": orthogonal_value,
}
GRADIENTS: dict[str, Callable[[Matrix], Matrix]] = {
    "l1": np.sign,
    "l2": lambda w: 2 * w,
    "elastic": lambda w: np.sign(w) / 2 + w,
    "group": lambda w: unit(w) * np.sqrt(w[0].size),
    "orthogonal": orthogonal_gradient,
}


class Holder(nn.Module):
    """Two weights, a bias and a norm's scale, without a forward pass."""

    def __init__(self, *weights: Matrix) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.tensor(w)) for w in weights)
        self.bias = nn.Parameter(torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("name", PENALTIES)
@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 10), st.sampled_from([0.0, 0.3, 1.0]))
def test_value_and_gradient_are_the_formulas(name: str, seed: int, eta: float, zeros: float) -> None:
    """In float64, for dense layers and kernels of one to three axes, with weights and whole units that are 0."""
    numbers = np.random.default_rng(seed)
    shapes = [(4, 3), (2, 5), (3, 2, 3), (2, 3, 2, 2), (2, 1, 2, 2, 2)]
    weights = [numbers.normal(size=shapes[i]) for i in numbers.integers(0, len(shapes), 2)]
    for weight in weights:
        weight[numbers.random(weight.shape) < zeros / 2] = 0
        weight[numbers.random(len(weight)) < zeros / 2] = 0
    model = Holder(*weights)
    found = Penalty({name: eta})(model)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(eta * sum(map(VALUES[name], weights)), rel=1e-12, abs=1e-12)
    found.backward()
    for parameter, weight in zip(model.weights, weights, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), eta * GRADIENTS[name](weight), rtol=1e-9, atol=1e-12)
    assert model.bias.grad is None


@pytest.mark.parametrize("name", sorted(set(PENALTIES) - {"l1", "group"}))
def test_torch_agrees_with_finite_differences(name: str) -> None:
    weights = tuple(torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda *w: PENALTIES[name].value(w), weights)


def test_penalties_add_up() -> None:
    model = Holder(np.random.default_rng(1).normal(size=(4, 3)))
    both = Penalty({"l1": 0.5, "l2": 0.25})(model).item()
    assert both == pytest.approx(Penalty({"l1": 0.5})(model).item() + Penalty({"l2": 0.25})(model).item())
    assert str(Penalty({"l1": 0.5, "l2": 0.25})) == "0.5 l1 + 0.25 l2"


def test_a_filter_of_many_weights_costs_as_much_for_each_weight() -> None:
    """The factor of Yuan & Lin: with weights of equal size, a group's penalty is proportional to its number of them."""
    small, large = (Penalty({"group": 1.0})(Holder(np.ones((2, n)))).item() for n in (3, 300))
    assert large == pytest.approx(100 * small)


def test_orthonormal_rows_and_columns_cost_nothing() -> None:
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    for weight in (basis, basis[:2], basis[:, :2], basis[:4].reshape(4, 2, 3)):
        assert Penalty({"orthogonal": 1.0})(Holder(weight)).item() == pytest.approx(0, abs=1e-20)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))


@pytest.mark.parametrize(
    ("on", "concerned"),
    [
        ("weights", {"0.weight", "2.weight"}),
        ("all", {"0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"}),
        ("2.*", {"2.weight", "2.bias"}),
        (lambda name, p: name.startswith("0") and p.ndim == 2, {"0.weight"}),
    ],
)
@pytest.mark.parametrize("name", PENALTIES)
def test_whom_it_concerns(name: str, on: Any, concerned: set[str]) -> None:
    model = network()
    Penalty({name: 1.0}, on)(model).backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None}
    assert touched == {one for one in concerned if name != "orthogonal" or one in ("0.weight", "2.weight")}


def test_frozen_weights_are_left_alone() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    Penalty({"l2": 1.0})(model).backward()
    assert model[0].weight.grad is None
    model[2].weight.requires_grad_(False)
    assert Penalty({"l2": 1.0})(model).item() == 0, "none is trained now, which may be only for a while"
    with pytest.raises(SettingsError, match=r"'penalty_on' is 'haed\.\*', which is no parameter of Sequential"):
        Penalty({"l2": 1.0}, "haed.*")(model)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("l2", {"l2": PENALTIES["l2"].eta}),
        ("l1=1e-5,orthogonal=1e-3", {"l1": 1e-5, "orthogonal": 1e-3}),
        (" l1 = 0.5 , l2 ", {"l1": 0.5, "l2": PENALTIES["l2"].eta}),
        ("l1=0,l2=1", {"l2": 1.0}),
        ("none", None),
        ("NONE", None),
        ("l1=0", None),
    ],
)
def test_spelling(text: str, wanted: dict[str, float] | None) -> None:
    found = penalty(text)
    assert (found.strengths if found else None) == wanted


@pytest.mark.parametrize(
    "text", ["", "l1,", "l1=", "l1=much", "l1=nan", "l1=-1", "l1=inf", "l3", "l1,l1=2", "=1", "1e-4"]
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read|unknown penalty|the strength"):
        penalty(text)


def test_a_misspelt_penalty_is_recognised() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'orthogonal'"):
        penalty("ortogonal=1e-3")


def test_the_functions_of_losses_are_the_same_ones() -> None:
    assert (losses.l1, losses.l2, losses.elastic) == (l1, l2, elastic)
    model = network()
    assert l1(model, 0.1).item() == pytest.approx(Penalty({"l1": 0.1})(model).item())
    assert l2(model, 0.1).item() == pytest.approx(Penalty({"l2": 0.1})(model).item())
    assert elastic(model, 0.1, 0.2).item() == pytest.approx(Penalty({"l1": 0.1, "l2": 0.2})(model).item())


@pytest.mark.parametrize("name", PENALTIES)
def test_every_penalty_is_described(name: str) -> None:
    entry = PENALTIES[name]
    assert all((entry.description, entry.formula, entry.gradient, entry.prior, entry.source))
    assert 0 < entry.eta < 1


def test_sparsity_counts() -> None:
    found = sparsity([torch.tensor([[3.0, 0.0], [0.02, 4.0]]), torch.ones(5), torch.zeros(1, 2)])
    assert (found.count, found.norm) == (6, pytest.approx(math.sqrt(25.0004)))
    assert (found.zero, found.near) == (3 / 6, 4 / 6)
    assert sparsity([]).count == 0


@pytest.fixture(scope="module")
def digits() -> tuple[TensorDataset, TensorDataset]:
    data = load_digits()
    x, y = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.tensor(data.target)
    return TensorDataset(x[:1400], y[:1400]), TensorDataset(x[1400:], y[1400:])


def trained(digits: Any, given: Any, epochs: int = 8, **options: Any) -> Trainer:
    """Train 64-64-10 units with SGD at a rate of 0.1 and momentum 0.9."""
    torch.manual_seed(0)
    trainer = Trainer(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)),
        TrainerSettings(
            epochs=epochs, metrics=[Accuracy()], logdir="unused", scheduler_kwargs=None, earlystop_kwargs=None,
            optimizer_kwargs={"lr": 0.1, "momentum": 0.9, **options},
        ),
        nn.CrossEntropyLoss(), torch.optim.SGD, DataLoader(digits[0], 64, shuffle=True), DataLoader(digits[1], 512),
        penalty=given, progress=Progress(quiet=True),
    )  # fmt: skip
    trainer.loop()
    return trainer


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_on_digits_l1_is_sparser_and_l2_is_smaller(digits: Any) -> None:
    """The lecture's claim by numbers: of L1's weights most are near 0, L2's are a fifth shorter, both still know."""
    none = trained(digits, None)
    sparse = trained(digits, penalty("l1=1e-3"))
    short = trained(digits, penalty("l2=3e-3"))
    grouped = trained(digits, penalty("group=1e-3"))
    found = [sparsity(trainer.model.parameters()) for trainer in (none, sparse, short)]
    assert found[0].near < 0.1
    assert found[1].near > 0.6
    assert found[1].near > 3 * found[2].near
    assert found[2].norm < 0.8 * found[0].norm
    assert min(trainer.history[-1]["valid_accuracy"] for trainer in (sparse, short)) > 0.85
    lengths = grouped.model[1].weight.detach().norm(dim=1)
    assert (lengths < 0.01 * lengths.max()).float().mean() > 0.3, "whole units are off"
    assert "penalty" not in none.history[-1]
    assert sparse.history[-1]["penalty"] > 0
    assert sparse.history[-1]["train_loss"] < sparse.history[0]["train_loss"]


@pytest.mark.parametrize("given", [penalty("l1=0"), Penalty({"l2": 0.0}), partial(l2, strength=0.0)])
def test_with_a_strength_of_0_training_is_what_it_is_without(digits: Any, given: Any) -> None:
    plain, other = trained(digits, None, epochs=2), trained(digits, given, epochs=2)
    for one, two in zip(plain.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, two)
    assert [row["train_loss"] for row in plain.history] == [row["train_loss"] for row in other.history]


def test_l2_is_weight_decay_under_sgd(digits: Any) -> None:
    """Half the decay as a strength; with momentum, too, since torch's SGD adds the decay to the gradient."""
    model = trained(digits, Penalty({"l2": 0.005}, "all"), epochs=2).model
    decayed = trained(digits, None, epochs=2, weight_decay=0.01).model
    for one, two in zip(model.parameters(), decayed.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_decay_apart_from_the_gradient(momentum: float) -> None:
    """SGDW by hand: weights shrink by lr * decay, biases do not, and momentum never sees the decay."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = optim.build("sgd", model, lr=0.1, weight_decay=0.2, momentum=momentum, decoupled=True)
    w, b = model.weight.detach().clone(), model.bias.detach().clone()
    speed = torch.zeros_like(w)
    for _ in range(4):
        model.weight.grad, model.bias.grad = torch.ones_like(w), torch.ones_like(b)
        optimizer.step()
        speed = momentum * speed + 1
        w = w * (1 - 0.1 * 0.2) - 0.1 * (1 + momentum * speed if momentum else speed)
    torch.testing.assert_close(model.weight.detach(), w)
    assert optimizer.param_groups[0]["weight_decay"] == 0


@pytest.mark.parametrize("name", ["adam", "nadam", "rmsprop", "rprop", "adamax"])
def test_decay_apart_from_the_gradient_is_had_by_every_optimizer(name: str) -> None:
    """With gradients of 0 the decay alone moves the weights, by the same factor whatever the optimizer."""
    model = nn.Linear(3, 2)
    before = model.weight.detach().clone(), model.bias.detach().clone()
    optimizer = optim.build(name, model, lr=0.01, weight_decay=0.5, momentum=0.0, decoupled=True)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before[0] * (1 - 0.005))
    assert torch.equal(model.bias.detach(), before[1])


def test_adam_with_decay_apart_is_adamw() -> None:
    ends = []
    for name, decoupled in (("adam", True), ("adamw", False), ("adamw", True)):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = optim.build(name, model, lr=0.05, weight_decay=0.3, decoupled=decoupled)
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
        ends.append(model.weight.detach().clone())
    torch.testing.assert_close(ends[0], ends[1])
    assert torch.equal(ends[1], ends[2])
