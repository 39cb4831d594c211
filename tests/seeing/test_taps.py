"""Listening to layers: what is heard is what they gave, and the model is afterwards what it was, bit for bit."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.errors import ModelError
from sightline.models import zoo
from sightline.seeing.layers import layers
from sightline.seeing.taps import Taps, as_it_was


class InPlace(nn.Module):
    """Convolutions with a norm, rectified in place: by modules and by functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(4)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 5, 3, padding=1)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        return torch.as_tensor(self.head(F.relu_(self.conv2(x)).mean((2, 3))))


def state(model: nn.Module) -> dict[str, Any]:
    """Give all that looking must leave alone, and by which it would be noticed."""
    return {
        "values": {name: value.detach().clone() for name, value in model.state_dict().items()},
        "objects": [id(p) for p in (*model.parameters(), *model.buffers())],
        "versions": [p._version for p in (*model.parameters(), *model.buffers())],
        "modes": [part.training for part in model.modules()],
        "needs": [p.requires_grad for p in model.parameters()],
        "gradients": [(id(p.grad), None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        "hooks": [
            sum(len(getattr(part, table)) for table in vars(part) if table.endswith("_hooks"))
            for part in model.modules()
        ],
        "numbers": torch.get_rng_state(),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return bool(torch.equal(one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def wanting(model: nn.Module) -> nn.Module:
    """Put a model into a state that a careless look would change: mixed modes, gradients, frozen weights."""
    model.train()
    for number, (part, p) in enumerate(zip(model.modules(), model.parameters(), strict=False)):
        part.training = number % 2 == 0
        p.requires_grad_(number % 3 != 0)
        p.grad = torch.full_like(p, 0.5) if number % 2 else None
    return model


def disturb(model: nn.Module, names: list[str]) -> None:
    """Do to a model all that looking might, and fail in the middle of it."""
    with torch.no_grad(), Taps(model, names) as taps:
        x = torch.rand(2, 1, 16, 16, requires_grad=True)
        logits = taps.run(x)
        assert logits is not None
        assert set(taps) == set(names)
        (logits.sum() + sum(taps[name].float().mean() for name in names)).backward()
        assert x.grad is not None
        torch.rand(3)
        model.train()(x)  # moves the statistics of norms
        next(model.parameters()).data.add_(1.0)
        raise ZeroDivisionError


@pytest.mark.parametrize("name", zoo.ZOO)
def test_every_network_is_left_as_it_was(name: str) -> None:
    entry = zoo.entry(name)
    little = {"width": 0.125, "depth": 0.3, "hidden": 16}
    options = {k: v for k, v in little.items() if k in entry.shared or (k in entry.own and k != "depth")}
    model = wanting(zoo.build(name, in_channels=1, num_classes=3, image_size=16, **options))
    before = state(model)
    names = [place.name for place in layers(model)]
    with pytest.raises(ZeroDivisionError):
        disturb(model, names)
    after = state(model)
    assert same(before | {"versions": 0}, after | {"versions": 0})


def test_a_look_disturbs_no_graph_made_before_it() -> None:
    model = InPlace()
    loss = model(torch.rand(2, 1, 8, 8)).square().sum()
    before = state(model)
    with Taps(model, ["conv1"]) as taps:
        taps.run(torch.rand(2, 1, 8, 8))
    assert same(before, state(model))
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_work_in_place_does_not_reach_what_is_kept() -> None:
    torch.manual_seed(0)
    model = InPlace().eval()
    x = torch.randn(2, 1, 8, 8)
    first = model.conv1(x)
    second = model.conv2(torch.relu(model.norm1(first)))
    with Taps(model, ["conv1", "norm1", "act1", "conv2"]) as taps:
        logits = taps.run(x)
        assert torch.equal(taps["conv1"], first)
        assert torch.equal(taps["norm1"], model.norm1(first))
        assert taps["norm1"].min() < 0
        assert torch.equal(taps["act1"], torch.relu(model.norm1(first)))
        assert torch.equal(taps["conv2"], second)
        assert taps["conv2"].min() < 0
    assert logits is not None
    assert torch.equal(logits, model(x))


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradients_of_layers_need_neither_weights_that_learn_nor_gradients_around(around: Any) -> None:
    torch.manual_seed(0)
    model = InPlace().requires_grad_(False)
    with around(), Taps(model, ["conv2"]) as taps:
        logits = taps.run(torch.randn(2, 1, 8, 8).requires_grad_())
        assert logits is not None
        (gradient,) = torch.autograd.grad(logits[:, 1].sum(), taps["conv2"])
        wanted = model.head.weight[1].view(1, 5, 1, 1) / 64 * (taps["conv2"] > 0)
    assert torch.allclose(gradient, wanted)


def test_a_run_ends_early_where_that_is_asked_for() -> None:
    model = InPlace()
    with Taps(model, ["conv1"], stop=True) as taps:
        assert taps.run(torch.rand(1, 1, 8, 8)) is None
        assert taps["conv1"].shape == (1, 4, 8, 8)
    model.head = nn.Linear(7, 3)  # does not fit
    with Taps(model, ["conv2"], stop=True) as taps:
        assert taps.run(torch.rand(1, 1, 8, 8)) is None


def test_replaced_weights_come_back() -> None:
    model = InPlace()
    before = state(model)
    with as_it_was(model):
        model.conv1.weight = nn.Parameter(torch.zeros(1))
        del model.norm1.running_mean
    assert same(before, state(model))


def test_the_first_tensor_of_a_tuple_is_kept() -> None:
    model = nn.Sequential(nn.GRU(3, 4, batch_first=True))
    x = torch.rand(2, 5, 3)
    with Taps(model, ["0"]) as taps:
        assert torch.equal(torch.as_tensor(taps.run(x)), model[0](x)[0])
        assert taps["0"].shape == (2, 5, 4)


def test_what_cannot_be_looked_into_is_refused_by_name() -> None:
    model = InPlace()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(nn.Sequential(nn.Linear(1, 1)))
        compiled = torch.compile(model)
    with pytest.raises(ModelError, match="scripted or traced"):
        Taps(scripted)
    with pytest.raises(ModelError, match=r"its part '0' is scripted"):
        Taps(nn.Sequential(scripted))
    with pytest.raises(ModelError, match=r"compiled(.|\n)*_orig_mod"):
        Taps(compiled)
    with pytest.raises(ModelError, match="does not know its size yet"):
        Taps(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(ModelError, match=r"no layer 'conv11'. Did you mean 'conv1'\?"):
        Taps(model, ["conv11"])


def test_what_was_not_heard_is_said() -> None:
    model = InPlace()
    with Taps(model, ["conv1"]) as taps:
        with pytest.raises(ModelError, match="did not run"):
            taps["conv1"]
        with pytest.raises(ModelError, match="not listened to"):
            taps["conv2"]


class Shared(nn.Module):
    """A layer that gives its input, or a view of it, on; what it was given is then worked on in place."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3)
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        kept = self.part(maps)
        return F.relu_(maps).sum((1, 2)) + kept.flatten(1).sum(1)


@pytest.mark.parametrize("part", [nn.Identity(), nn.Dropout(), nn.Flatten(2), nn.Unflatten(2, (3, 2))], ids=str)
def test_what_was_heard_stays_when_the_layers_input_is_changed_in_place(part: nn.Module) -> None:
    model, x = Shared(part), torch.randn(4, 1, 8, requires_grad=True)
    exact = model.conv(x)
    with Taps(model, ["conv", "part"]) as taps:
        out = taps.run(x)
        assert out is not None
        assert torch.equal(taps["part"].flatten(), exact.flatten())
        assert torch.equal(taps["conv"], exact)
        (through,) = torch.autograd.grad(out.sum(), taps["conv"], retain_graph=True)
        assert torch.equal(through, 1 + (exact > 0).float())
        torch.autograd.grad(out.sum(), x)


def test_inputs_and_outputs_are_not_shared_with_the_network() -> None:
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.ReLU(inplace=True)
            self.register_buffer("last", torch.zeros(3, 2))

        def forward(self, x: Tensor) -> Tensor:
            self.last.copy_(self.first(x).sum(2))
            return self.last

    model, x = Remembering(), torch.randn(3, 2, 5)
    before = x.clone()
    with Taps(model) as taps, torch.no_grad():
        first = taps.run(x)
        second = taps.run(x + 1)
    assert torch.equal(x, before), "the caller's tensor is not changed"
    assert first is not None
    assert second is not None
    assert torch.equal(first, before.relu().sum(2)), "neither by a later run nor by the tidying up"
    assert torch.equal(second, (before + 1).relu().sum(2))
    assert not model.last.any()
    leaf = x.clone().requires_grad_()
    with Taps(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten())) as taps:
        out = taps.run(leaf)
        assert out is not None
        assert torch.equal(torch.autograd.grad(out.sum(), leaf)[0], (x > 0).float())
