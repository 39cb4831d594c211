"""Frozen weights do not move, nor do their norms' statistics; each group of weights keeps its share of the rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tasks import network, same, weights
from torch import nn
from torch.optim import lr_scheduler

from sightline import losses
from sightline.errors import SettingsError
from sightline.models import zoo
from sightline.progress import Progress
from sightline.training import lr_range, optim, schedule
from sightline.training.freezing import Freezing, named
from sightline.training.rate import Rate
from sightline.training.trainer import Trainer

Make = Callable[..., Trainer]
OLD = ("0.weight", "0.bias", "1.weight", "1.bias")


def state(model: nn.Module, *places: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights(model).items() if name.startswith(places)}


@pytest.mark.parametrize(
    "extra",
    [{}, {"ema": 0.9}, {"swa": (2,)}, {"max_norm": 0.1}, {"penalty": losses.l2}],
    ids=lambda extra: "".join(extra) or "plain",
)
def test_what_is_frozen_stays_as_it_is_and_the_rest_learns(make: Make, extra: dict[str, Any]) -> None:
    model = network()
    before = weights(model)
    optimizer = optim.build("adamw", model, lr=0.01, weight_decay=0.5)
    make(model=model, optimizer=optimizer, freezing=Freezing(OLD), **extra).loop()
    assert same(state(model, "0", "1"), {name: before[name] for name in before if name[0] in "01"})
    assert not torch.equal(model.state_dict()["6.weight"], before["6.weight"])


def test_from_the_thaw_on_everything_learns(make: Make) -> None:
    seen = []

    class Watched(Trainer):
        def evalbatches(self) -> Any:
            seen.append(state(self.model, "0", "1"))
            return super().evalbatches()

    model = network()
    before = state(model, "0", "1")
    make(Watched, model=model, epochs=3, freezing=Freezing(OLD, thaw_epoch=3)).loop()
    assert same(seen[0], before)
    assert same(seen[1], before)
    assert all(not torch.equal(seen[2][name], before[name]) for name in before)


def test_what_was_measured_never_thaws() -> None:
    freezing = Freezing(OLD, thaw_epoch=2, measured=["measured.weight"])
    assert freezing.frozen(1) == {*OLD, "measured.weight"}
    assert freezing.frozen(2) == {"measured.weight"}


def test_the_epoch_of_the_thaw_is_that_of_a_training_that_never_froze(make: Make) -> None:
    """Frozen from the first epoch to before the first, nothing is different."""
    ends = []
    for freezing in (None, Freezing(OLD, thaw_epoch=1)):
        torch.manual_seed(4)
        model = network()
        make(model=model, freezing=freezing).loop()
        ends.append(weights(model))
    assert same(*ends)


def test_freezing_is_a_function_of_the_epoch() -> None:
    freezing = Freezing(OLD, thaw_epoch=3)
    assert [bool(freezing.frozen(epoch)) for epoch in (1, 2, 3, 4)] == [True, True, False, False]
    model = network()
    for epoch in (1, 3, 2, 1):
        model.train()
        freezing.apply(model, epoch)
        frozen = epoch < 3
        assert [p.requires_grad for p in model.parameters()] == [not frozen] * 4 + [True] * 2
        assert model[1].training is not frozen
        assert model[0].training


def test_what_others_froze_is_left_frozen() -> None:
    model = network()
    model[6].requires_grad_(False)
    Freezing(OLD, thaw_epoch=1).apply(model, 1)
    assert not model[6].weight.requires_grad
    model.train()
    Freezing().apply(model, 1)
    assert model[1].training


@pytest.mark.parametrize("name", ["0.weight", "1.weight"])
def test_a_norm_that_is_half_frozen_is_a_norm_that_learns(name: str) -> None:
    model = network().train()
    Freezing([name]).apply(model, 1)
    assert model[1].training


# stages


RESNET = zoo.build("resnet18", in_channels=3, num_classes=5, image_size=64, width=0.1)
SIZES = {
    "until:stem": {"conv1", "bn1"},
    "until:layer1": {"conv1", "bn1", "layer1"},
    "until:layer3": {"conv1", "bn1", "layer1", "layer2", "layer3"},
    "until:layer4": {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"},
    "features": {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"},
    "none": set(),
}


@pytest.mark.parametrize("freeze", SIZES)
def test_stages_are_frozen_with_all_before_them(freeze: str) -> None:
    names = named(RESNET, freeze, {"fc.weight", "fc.bias"})
    assert {name.split(".")[0] for name in names} == SIZES[freeze]
    assert names == {name for name, _ in RESNET.named_parameters() if name.split(".")[0] in SIZES[freeze]}


@pytest.mark.parametrize(
    ("name", "freeze", "last", "first"),
    [
        ("vgg11", "features", "classifier.3.bias", "classifier.6.weight"),
        ("vgg11", "until:block5", "features.18.bias", "classifier.0.weight"),
        ("alexnet", "until:conv1", "features.0.bias", "features.3.weight"),
        ("googlenet", "until:inception3a", "inception3a.branch4.1.conv.bias", "inception3b.branch1.conv.weight"),
        ("transformer", "until:stem", "positions.weight", "blocks.0.attention.norm.weight"),
        ("transformer", "until:block1", "blocks.1.dense.fc2.bias", "blocks.2.attention.norm.weight"),
        ("lenet5", "until:S2", "s2.scale.bias", "c3.weight"),
        ("bigru", "until:gru", "gru.gru.bias_hh_l1_reverse", "head.weight"),
        ("mlp", "until:hidden1", "dense1.bias", "dense2.weight"),
        ("se_resnet18", "until:layer1", "layer1.1.se.fc2.bias", "layer2.0.conv1.weight"),
        ("cnn", "until:block0", "convolutions.0.conv.2.bias", "convolutions.1.conv.0.weight"),
    ],
)
def test_a_stage_ends_where_the_paper_says(name: str, freeze: str, last: str, first: str) -> None:
    options = {"width": 0.1} if "width" in zoo.entry(name).options and name not in ("bigru", "transformer") else {}
    shape = (1, 28, 28) if name in ("lenet5", "bigru", "mlp", "cnn") else (3, 64, 64)
    network = zoo.build(name, in_channels=shape[0], num_classes=5, image_size=shape[1:], **options)
    frozen, order = named(network, freeze, ()), [name for name, _ in network.named_parameters()]
    assert {last, first} <= set(order)
    assert last in frozen
    assert first not in frozen
    assert frozen == set(order[: len(frozen)]) or name == "googlenet"


@pytest.mark.parametrize(
    ("freeze", "words"),
    [("until:layer9", "Did you mean 'layer"), ("until:head", "head has to learn"), ("until:fc", "has no stage 'fc'")],
)
def test_a_stage_that_is_none_is_told(freeze: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as error:
        named(RESNET, freeze, ())
    assert "stem, layer1, layer2, layer3, layer4" in error.value.hint


def test_new_layers_are_never_frozen() -> None:
    names = named(RESNET, "until:layer1", {"conv1.weight"})
    assert "conv1.weight" not in names
    with pytest.raises(SettingsError, match="nothing up to there came with the weights"):
        named(RESNET, "until:stem", {"conv1.weight", "bn1.weight", "bn1.bias"})


def test_a_network_that_is_all_head_cannot_be_frozen() -> None:
    network = zoo.build("logistic", in_channels=1, num_classes=5, image_size=8)
    with pytest.raises(SettingsError, match="has no stage"):
        named(network, "features", ())


# rates


def rated(name: str = "adamw", factor: float = 0.1, lr: float = 0.2, **options: Any) -> tuple[nn.Module, Any]:
    model = network()
    return model, optim.build(name, model, lr=lr, weight_decay=0.05, factors=dict.fromkeys(OLD, factor), **options)


def test_each_parameter_is_in_one_group_with_its_rate() -> None:
    model, optimizer = rated()
    found = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert len(found) == sum(len(group["params"]) for group in optimizer.param_groups) == 6
    expected = {
        name: (0.02 if name in OLD else 0.2, 0.05 if p.ndim > 1 else 0.0) for name, p in model.named_parameters()
    }
    assert {name: found[id(p)] for name, p in model.named_parameters()} == {
        name: pytest.approx(rate) for name, rate in expected.items()
    }
    assert optimizer.param_groups[0]["lr"] == 0.2, "the rate that is told is that of the new layers"


@pytest.mark.parametrize("factor", [1.0, 0.5])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_without_factors_the_groups_are_what_they_were(factor: float, decay: float) -> None:
    model = network()
    plain = optim.build("sgd", model, lr=0.1, weight_decay=decay)
    assert [len(group["params"]) for group in plain.param_groups] == [2, 4]
    assert [group["weight_decay"] for group in plain.param_groups] == [decay, 0.0]


@pytest.mark.parametrize("name", schedule.SCHEDULES)
def test_rates_keep_their_ratio_under_every_schedule(name: str) -> None:
    _, optimizer = rated()
    ends = (20, 40) if name == "cyclic" else ()
    rate = Rate(schedule.build(name, lr=0.2, steps=40, warmup=0.2, ends=ends), optimizer)
    for step in range(40):
        rate.before(step)
        if step % 10 == 9:
            rate.after(1.0)
        fast, slow = optimizer.param_groups[0]["lr"], optimizer.param_groups[-1]["lr"]
        assert slow == pytest.approx(0.1 * fast)
        assert rate.now == fast


@pytest.mark.parametrize(
    "make_scheduler",
    [
        lambda o: lr_scheduler.StepLR(o, 1, 0.5),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 5),
        lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
        lambda o: lr_scheduler.OneCycleLR(o, [group["lr"] for group in o.param_groups], total_steps=20),
    ],
)
def test_rates_keep_their_ratio_under_torchs_schedulers(make_scheduler: Callable[..., Any]) -> None:
    _, optimizer = rated("sgd")
    rate = Rate(make_scheduler(optimizer), optimizer)
    for _ in range(4):
        optimizer.step()
        rate.after(1.0)
        assert optimizer.param_groups[-1]["lr"] == pytest.approx(0.1 * optimizer.param_groups[0]["lr"])


def test_a_slower_layer_moves_less(make: Make) -> None:
    """Plain gradient descent for one step: the same gradient times the rate."""
    moved = []
    for factor in (1.0, 0.25):
        torch.manual_seed(1)
        model, optimizer = rated("sgd", factor, lr=0.1, momentum=0.0)
        for group in optimizer.param_groups:
            group["weight_decay"] = 0.0
        before = weights(model)
        x, y = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(2)), torch.arange(8)
        nn.functional.cross_entropy(model.eval()(x), y).backward()
        optimizer.step()
        moved.append({name: value - before[name] for name, value in weights(model).items()})
    torch.testing.assert_close(moved[1]["0.weight"], 0.25 * moved[0]["0.weight"])
    torch.testing.assert_close(moved[1]["6.weight"], moved[0]["6.weight"])


def test_decay_apart_from_the_gradient_leaves_frozen_weights_alone() -> None:
    model, optimizer = rated("sgd", decoupled=True)
    before = state(model, "0")
    Freezing(OLD).apply(model, 1)
    nn.functional.cross_entropy(model(torch.randn(4, 1, 8, 8)), torch.arange(4)).backward()
    optimizer.step()
    assert same(state(model, "0"), before)


def test_the_search_for_a_rate_keeps_ratios_and_what_is_frozen(digits: Any) -> None:
    model, optimizer = rated("sgd")
    tried = []

    class Spy(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            tried.append([group["lr"] for group in self.param_groups])
            assert not model[1].training
            assert model[0].weight.grad is None
            return super().step(closure)

    optimizer.__class__ = Spy
    x, y = digits[0].tensors
    lr_range.find(
        model, [(x[:64], y[:64])], losses.loss("cross-entropy"), optimizer, steps=10, progress=Progress(quiet=True),
        freezing=Freezing(OLD),
    )  # fmt: skip
    assert tried
    assert all(rates[-1] == pytest.approx(0.1 * rates[0]) for rates in tried)
