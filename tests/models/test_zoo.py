"""Every network by name: any size from 8x8, any channels, any option; and what is said when it cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sightline.errors import ModelError
from sightline.models import arithmetic, zoo
from sightline.models.network import Network
from sightline.models.plan import Shape, by

NORMS = ("batch", "lazy", "group", "layer", "instance", "sync", "none")
INPUTS = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 224, 224), (2, 96, 48), (1, 140), (1, 16, 16, 16))
# one of each family; the others differ in depth alone
FAMILIES = ("mlp", "lenet5", "alexnet", "vgg11", "googlenet", "resnet18", "resnet50", "plain20", "resnet20")
FAMILIES += ("se_resnet18", "se_resnet50", "senet154", "cnn", "fastnet", "bigru", "transformer")
# so that a step on one core takes milliseconds
LITTLE: dict[str, Any] = {"width": 0.25, "depth": 0.3, "hidden": 64}
LITTLE_HEADS: dict[str, Any] = {"width": 0.25, "depth": 0.8, "auxiliary": True}


def build(name: str, shape: Shape, classes: int = 5, **options: Any) -> Network:
    built = zoo.build(name, in_channels=shape[0], num_classes=classes, image_size=shape[1:], **options)
    assert isinstance(built, Network)
    return built


def little(name: str, **options: Any) -> dict[str, Any]:
    entry = zoo.entry(name)
    return {k: v for k, v in LITTLE.items() if k in entry.shared or (k in entry.own and k != "depth")} | options


def step(model: Network, shape: Shape) -> None:
    """Train one step on noise; every parameter must get a finite gradient."""
    x, y = torch.randn(4, *shape), torch.arange(4)
    logits = model(x)
    loss = nn.functional.cross_entropy(logits, y)
    for side in model.auxiliary_logits():
        loss = loss + 0.3 * nn.functional.cross_entropy(side, y)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    torch.optim.SGD(model.parameters(), 0.01).step()
    assert loss.isfinite()


@pytest.mark.parametrize("shape", INPUTS, ids=by)
@pytest.mark.parametrize("name", zoo.ZOO)
def test_any_size_passes_through(name: str, shape: Shape) -> None:
    rows = zoo.table(name, shape, num_classes=7)
    assert rows[-1].shape_out == (7,)
    assert min(min(row.shape_out) for row in rows) >= 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 96, 48), (1, 140), (1, 16, 16, 16)], ids=by)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_table_is_what_torch_counts(name: str, shape: Shape) -> None:
    options = {"depth": 0.3} if "depth" in zoo.entry(name).shared else {}
    rows = zoo.table(name, shape, num_classes=7, **options)
    with torch.device("meta"):
        model, x = build(name, shape, 7, **options).eval(), torch.empty(1, *shape)
    seen: dict[str, Shape] = {}
    for row in rows:
        module = model.get_submodule(row.name)
        module.register_forward_hook(lambda _, __, y, name=row.name: seen.update({name: tuple(y.shape[1:])}))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert counter.get_total_flops() == 2 * arithmetic.multiply_adds(rows)
    assert sum(p.numel() for p in model.parameters()) == arithmetic.parameters(rows)
    if name not in {"transformer", "bigru"}:  # whose tokens torch keeps in front of their features
        assert seen == {row.name: row.shape_out for row in rows}


@pytest.mark.parametrize("name", [name for name in zoo.ZOO if name not in FAMILIES])
def test_the_other_tables_are_what_torch_counts(name: str) -> None:
    options = {"depth": 0.2} if "depth" in zoo.entry(name).shared else {}
    rows = zoo.table(name, (3, 64, 64), num_classes=7, **options)
    with torch.device("meta"):
        model = build(name, (3, 64, 64), 7, **options).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty(1, 3, 64, 64))
    assert counter.get_total_flops() == 2 * arithmetic.multiply_adds(rows)
    assert sum(p.numel() for p in model.parameters()) == arithmetic.parameters(rows)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_norm_trains(name: str, norm: str) -> None:
    shape = {"batch": (2, 12, 9), "group": (1, 40), "layer": (1, 8, 8, 8)}.get(norm, (1, 8, 8))
    step(build(name, shape, **little(name, norm=norm)), shape)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_every_network_takes_a_step_on_digits(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, (1, 8, 8), **little(name))
    step(model, (1, 8, 8))
    assert model.eval()(torch.randn(1, 1, 8, 8)).shape == (1, 5)
    stages = model.stages()
    assert list(stages)[-1] == "head"
    assert stages["head"] in list(model.modules())


@pytest.mark.parametrize("name", [name for name in FAMILIES if "se" in zoo.entry(name).options])
def test_excitation_goes_into_any_convolutional_network(name: str) -> None:
    with_it, without = (build(name, (1, 16, 16), **little(name, se=se)) for se in (4, 0))
    gates = [part for part in with_it.modules() if type(part).__name__ == "GateModule"]
    assert gates
    assert not [part for part in without.modules() if type(part).__name__ == "GateModule"]
    step(with_it, (1, 16, 16))
    # what both have keeps its name, so that weights go from one to the other
    assert without.state_dict().keys() <= with_it.state_dict().keys()


@pytest.mark.parametrize("name", [name for name in FAMILIES if "stochastic_depth" in zoo.entry(name).options])
def test_stochastic_depth_leaves_blocks_out_while_training_only(name: str) -> None:
    model = build(name, (1, 8, 8), **little(name, stochastic_depth=0.9, dropout=0.0))
    x = torch.randn(4, 1, 8, 8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("name", [name for name in FAMILIES if "spatial_dropout" in zoo.entry(name).options])
def test_spatial_dropout_switches_whole_maps_off_while_training_only(name: str) -> None:
    options = {"dropout": 0.0, "norm": "none", "activation": "sigmoid"}
    model = build(name, (1, 16, 16), **little(name, spatial_dropout=0.5, **options))
    assert model.state_dict().keys() == build(name, (1, 16, 16), **little(name, **options)).state_dict().keys()
    seen: list[torch.Tensor] = []
    parts = [part for part in model.modules() if isinstance(part, nn.Dropout2d)]
    handles = [part.register_forward_hook(lambda _, given, out: seen.append(out.flatten(2))) for part in parts]
    x = torch.randn(64, 1, 16, 16)
    model(x)
    for handle in handles:
        handle.remove()
    assert seen
    off = torch.cat([(maps == 0).all(2).flatten() for maps in seen])
    assert torch.equal(off, torch.cat([(maps == 0).any(2).flatten() for maps in seen])), "a sigmoid is never 0"
    assert 0.3 < off.float().mean() < 0.7
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize(("shape", "kind"), [((1, 140), nn.Dropout1d), ((1, 16, 16, 16), nn.Dropout3d)])
def test_spatial_dropout_knows_signals_and_volumes(shape: Shape, kind: type[nn.Module]) -> None:
    model = build("resnet18", shape, width=0.1, spatial_dropout=0.2)
    assert any(isinstance(part, kind) for part in model.modules())
    model(torch.randn(2, *shape))


@pytest.mark.parametrize("name", [name for name in FAMILIES if "dropout" in zoo.entry(name).options])
def test_dropout_can_be_switched_on_and_off(name: str) -> None:
    shares = {
        share: {
            m.p for m in build(name, (1, 8, 8), **little(name, dropout=share)).modules() if isinstance(m, nn.Dropout)
        }
        for share in (0.0, 0.3)
    }
    assert shares == {0.0: set(), 0.3: {0.3}}


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "vgg11", "googlenet", "resnet18", "cnn"])
def test_pooling_and_activation_can_be_chosen(name: str) -> None:
    for pooling, other in (("max", nn.AvgPool2d), ("average", nn.MaxPool2d)):
        model = build(name, (1, 64, 64), **little(name, pooling=pooling, activation="gelu"))
        kinds = {type(part) for part in model.modules()}
        assert other not in kinds
        assert nn.GELU in kinds
        assert nn.ReLU not in kinds


@pytest.mark.parametrize("name", [name for name in FAMILIES if "width" in zoo.entry(name).options])
def test_width_and_depth_change_the_size(name: str) -> None:
    sizes = [arithmetic.parameters(zoo.table(name, (1, 32, 32), width=width)) for width in (0.5, 1.0, 1.5)]
    assert sizes == sorted(set(sizes))
    if "depth" in zoo.entry(name).shared:
        rows = [zoo.table(name, (1, 32, 32), depth=depth) for depth in (1.0, 2.0)]
        # a GRU grows inside its one layer, and a deeper cnn has more pools before its dense layer
        assert len(rows[0]) < len(rows[1]) or arithmetic.parameters(rows[0]) < arithmetic.parameters(rows[1])


def test_the_first_convolutions_stride_and_padding_can_be_chosen() -> None:
    assert zoo.table("resnet18", "3x32x32", stride=2, padding=0)[0].shape_out == (64, 15, 15)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("resnet18", (3, 32, 32), "the stem is 3x3 with stride 1 and no pool"),
        ("resnet18", (3, 48, 200), "the stem is 3x3"),
        ("resnet18", (3, 49, 200), ""),
        ("resnet20", (3, 8, 8), ""),
        ("senet154", (3, 32, 32), "the stem has stride 1"),
        ("googlenet", (3, 32, 32), "no pools"),
        ("alexnet", (3, 64, 64), "the first convolution is 3x3 with stride 1"),
        ("vgg16", (3, 224, 224), ""),
        ("vgg16", (3, 32, 32), "the dense layers take a map of 1x1, not 7x7"),
        ("vgg16", (3, 8, 8), "the pool '4' is left out; the pool '9' is left out"),
        ("lenet5", (1, 28, 28), "c1 pads by 2"),
        ("lenet5", (1, 64, 64), "averaged from 13x13 to 5x5"),
        ("transformer", (1, 28, 28), "7x7 patches of 4x4"),
        ("bigru", (1, 28, 20), "28 steps of 20 values"),
    ],
)
def test_it_says_what_was_adapted(name: str, shape: Shape, words: str) -> None:
    found = zoo.plan(name, in_channels=shape[0], num_classes=3, image_size=shape[1:])
    assert words in "; ".join(found.adaptations)
    assert bool(words) == bool(found.adaptations)


def test_without_adapting_the_papers_layers_are_built_or_refused() -> None:
    assert zoo.table("resnet18", "3x32x32", adapt=False)[0].kernel == (7, 7)
    with pytest.raises(ModelError) as caught:
        zoo.build("vgg16", in_channels=3, num_classes=10, image_size=8, adapt=False)
    assert "an input of 3x8x8 is too small for 'vgg16': in 'features.23' (max pool), a 2x2 window" in caught.value.fault
    assert "features.4: max pool 2x2, stride 2x2" in caught.value.fault
    assert "smallest input these layers can take is 32x32" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "size", "options", "words"),
    [
        (
            "alexnet",
            4,
            {},
            "in 'features.0' (conv), a 11x11 window does not fit into a map of 4x4 (8x8 with its padding)",
        ),
        ("lenet5", 8, {}, "in 'c3' (conv), a 5x5 window does not fit into a map of 2x2"),
        ("googlenet", 8, {"auxiliary": True}, "in 'maxpool2' (max pool), a 3x3 window"),
        ("resnet18", 2, {"padding": 0}, "in 'conv1' (conv), a 7x7 window"),
        ("resnet18", 32, {"norm": "instance"}, "instance norm needs two positions or more"),
        ("cnn", 2, {}, "in 'convolutions.8' (max pool)"),
    ],
)
def test_each_refuses_what_does_not_pass(name: str, size: int, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        zoo.build(name, in_channels=1, num_classes=10, image_size=size, adapt=False, **options)
    assert words in caught.value.fault
    assert "smallest input these layers can take" in caught.value.hint
    assert "adapt=True" in caught.value.hint


def test_one_position_is_too_little_for_instance_norm_whatever_is_adapted() -> None:
    with pytest.raises(ModelError, match="instance norm needs two positions"):
        zoo.build("resnet18", in_channels=1, num_classes=10, image_size=1, norm="instance")


@pytest.mark.parametrize("variant", ["paper", "public"])
def test_auxiliary_heads_give_logits_while_training(variant: str) -> None:
    model = build("googlenet", (1, 16, 16), width=0.25, auxiliary=True, variant=variant)
    assert model(torch.randn(4, 1, 16, 16)).shape == (4, 5)
    assert [tuple(side.shape) for side in model.auxiliary_logits()] == [(4, 5), (4, 5)]
    assert model.auxiliary_logits() == ()
    model.eval()(torch.randn(4, 1, 16, 16))
    assert model.auxiliary_logits() == ()
    rows = arithmetic.table(model.plan)
    assert {row.name.split(".")[0] for row in rows if row.training_only} == {"aux1", "aux2"}
    step(model.train(), (1, 16, 16))


def test_zero_init_makes_every_block_its_shortcut() -> None:
    model = build("resnet20", (1, 8, 8), zero_init=True).eval()
    plain = model.get_submodule("layer1.0")
    x = torch.rand(2, 16, 8, 8)
    assert torch.equal(plain(x), x)
    assert not torch.equal(build("resnet20", (1, 8, 8)).eval().get_submodule("layer1.0")(x), x)


def test_lazy_norms_know_their_size_before_the_first_batch() -> None:
    model = build("resnet20", (1, 8, 8), norm="lazy")
    assert sum(p.numel() for p in model.parameters()) == arithmetic.parameters(
        zoo.table("resnet20", (1, 8, 8), num_classes=5)
    )
    assert model.state_dict().keys() == build("resnet20", (1, 8, 8)).state_dict().keys()
    assert int(model.state_dict()["bn1.num_batches_tracked"]) == 0


def test_lazy_norms_of_auxiliary_heads_know_their_size_too() -> None:
    model = build("googlenet", (1, 16, 16), norm="lazy", **LITTLE_HEADS)
    assert sum(p.numel() for p in model.parameters()) == arithmetic.parameters(arithmetic.table(model.plan))
    assert model.auxiliary_logits() == (), "waking them is no training batch"
    assert int(model.state_dict()["aux1.conv.bn.num_batches_tracked"]) == 0
    step(model, (1, 16, 16))


@pytest.mark.parametrize("name", zoo.ZOO)
def test_the_first_loss_is_that_of_a_guess(name: str) -> None:
    torch.manual_seed(1)
    model = build(
        name, (1, 8, 8), 10, **little(name, **({"dropout": 0.0} if "dropout" in zoo.entry(name).options else {}))
    )
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(torch.randn(32, 1, 8, 8)), torch.arange(32) % 10)
    assert loss.item() == pytest.approx(2.303, abs=0.4)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet81", {}, "there is no network 'resnet81'. Did you mean 'resnet18'?"),
        ("resnet18", {"nrom": "group"}, "'resnet18' has no option 'nrom'. Did you mean 'norm'?"),
        ("mlp", {"se": 16}, "Its options are: hidden, depth, norm, activation, dropout, width."),
        ("resnet18", {"norm": "bach"}, "norm 'bach' is unknown. Did you mean 'batch'?"),
        ("resnet18", {"dropout": 1.0}, "dropout must be a number from 0 to below 1"),
        ("resnet18", {"dropout": "half"}, "dropout must be a number"),
        ("resnet18", {"width": 0}, "width must be"),
        ("resnet18", {"se": -1}, "se must be a whole number"),
        ("resnet18", {"adapt": "yes"}, "adapt must be true or false"),
        ("resnet50", {"variant": "torch"}, "variant is 'torch'.\nChoose one of: paper, public."),
        ("resnet18", {"stem": "tiny"}, "stem is 'tiny'"),
        ("resnet18", {"shortcut": "D"}, "shortcut is 'D'"),
        ("alexnet", {"columns": 3}, "columns is 3"),
        ("vgg16", {"hidden": 0}, "hidden is 0"),
        ("googlenet", {"auxiliary": 2}, "auxiliary is 2"),
        ("lenet5", {"connections": "all"}, "connections is 'all'"),
        ("mlp", {"depth": -1}, "depth is -1"),
        ("mlp", {"hidden": (4, 0)}, "hidden is 0"),
        ("transformer", {"heads": 3}, "cannot be shared among heads=3"),
        ("transformer", {"patch": 9}, "a patch of 9 does not fit"),
        ("bigru", {"read": "columns"}, "read is 'columns'"),
        ("cnn", {"kernel_size": 3, "maxpool": 0}, "maxpool"),
        ("cnn", {"hidden": 0}, "hidden"),
        ("cnn", {"num_layers": -1}, "num_layers"),
        ("cnn", {"kernel_size": 0}, "kernel_size"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        zoo.build(name, in_channels=1, num_classes=10, image_size=8, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("channels", "classes", "size"),
    [(0, 10, 8), (1, 0, 8), (1, 10, 0), (1, 10, (8, 8, 8, 8)), (1, 10, ()), (1, 10, 8.5), (1, True, 8), (1.0, 10, 8)],
)
def test_impossible_inputs_are_refused(channels: Any, classes: Any, size: Any) -> None:
    with pytest.raises(ModelError):
        zoo.build("resnet20", in_channels=channels, num_classes=classes, image_size=size)


def test_numpys_whole_numbers_are_whole_numbers() -> None:
    one, classes, side = np.array([1, 10, 8])
    planned = zoo.plan("resnet20", in_channels=one, num_classes=classes, image_size=(side, side))
    assert planned.shape == (1, 8, 8)
    assert all(type(n) is int for n in planned.shape)


@pytest.mark.parametrize("text", ["224", "3x", "x3x3", "3x224 x224", "3,224,224"])
def test_an_input_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        zoo.table("resnet18", text)


def test_every_entry_says_what_it_is() -> None:
    for name, entry in zoo.ZOO.items():
        assert entry.idea, name
        assert not entry.idea.endswith("."), name
        assert 1900 < entry.year < 2030, name
        assert set(entry.options), name
        assert not set(entry.own) & entry.shared, name
