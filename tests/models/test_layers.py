"""Blocks against their definitions, written out."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sightline.models import layers, lenet, zoo
from sightline.models.adapt import strided, unstrided
from sightline.models.network import Network
from sightline.models.plan import (
    Act,
    Branches,
    Conv,
    Dense,
    Flatten,
    LocalResponse,
    MisfitError,
    Norm,
    Plan,
    Pool,
    Residual,
    Scale,
    Subsample,
    chain,
)
from sightline.models.sequence import Attention, Ends, Recurrent, Steps, Tokens
from sightline.models.style import excitation


def build(layer: object, shape: tuple[int, ...]) -> nn.Module:
    return layers.module(layer, shape)  # type: ignore[arg-type]


def test_excitation_is_mean_two_layers_and_a_factor() -> None:
    gate = build(excitation(32, 4), (32, 5, 6))
    x = torch.randn(2, 32, 5, 6)
    weights = {name: value.flatten(1) if value.dim() > 1 else value for name, value in gate.state_dict().items()}
    between = torch.relu(x.mean((2, 3)) @ weights["fc1.weight"].T + weights["fc1.bias"])
    factor = torch.sigmoid(between @ weights["fc2.weight"].T + weights["fc2.bias"])
    assert between.shape == (2, 8)
    torch.testing.assert_close(gate(x), x * factor[:, :, None, None])


def test_a_residual_block_adds_and_then_activates() -> None:
    body = (("conv", Conv(3, maps=4, bias=False)),)
    block = build(Residual(body, shortcut=Conv(1, maps=4, bias=False), after=Act("relu")), (3, 5, 5))
    x = torch.randn(2, 3, 5, 5)
    expected = torch.relu(block.get_submodule("conv")(x) + block.get_submodule("downsample")(x))
    assert torch.equal(block(x), expected)
    assert set(block.state_dict()) == {"conv.weight", "downsample.weight"}


def test_stochastic_depth_keeps_the_mean() -> None:
    torch.manual_seed(0)
    block = build(Residual((("same", Act("relu")),), drop=0.25), (1, 2))
    x = torch.ones(4000, 1, 2)
    y = block(x)
    # a block is left out (1) or counts for 1 / 0.75 more, for a whole example at once
    assert y.unique().tolist() == pytest.approx([1.0, 1 + 1 / 0.75])
    assert torch.equal(y[:, 0, 0], y[:, 0, 1])
    assert y.mean().item() == pytest.approx(2.0, abs=0.06)
    assert torch.equal(block.eval()(x), 2 * x)


def test_a_network_can_be_copied_between_two_steps() -> None:
    model = zoo.build("googlenet", in_channels=1, num_classes=2, image_size=8, width=0.1, auxiliary=True)
    model(torch.randn(2, 1, 8, 8))
    twin = copy.deepcopy(model)
    assert isinstance(twin, Network)
    assert twin.auxiliary_logits() == ()
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(twin.eval()(x), model.eval()(x))


def test_shapes_that_cannot_be_added_are_told() -> None:
    with pytest.raises(MisfitError, match="the block gives 4x3x3, its shortcut 3x5x5"):
        Residual((("conv", Conv(3, padding=0, maps=4)),)).out((3, 5, 5))
    with pytest.raises(MisfitError, match="the branches give maps of 5x5, 3x3"):
        Branches((("a", Conv(1, maps=1)), ("b", Conv(3, padding=0, maps=1)))).out((1, 5, 5))
    with pytest.raises(MisfitError, match="3 and 4 maps cannot be split into 2 groups"):
        Conv(1, maps=4, groups=2).out((3, 5, 5))


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
def test_subsampling_is_slicing_and_zeros(axes: int, side: int, stride: int, maps_in: int, maps: int) -> None:
    layer = Subsample(maps, stride)
    shape = (maps_in, *(side,) * axes)
    x = torch.randn(2, *shape)
    y = build(layer, shape)(x)
    assert y.shape == (2, *layer.out(shape))
    both = min(maps, maps_in)
    assert torch.equal(y[:, :both], x[(slice(None), slice(both), *(slice(None, None, stride),) * axes)])
    assert not y[:, both:].any()


def test_lenets_table_is_a_convolution_with_missing_kernels() -> None:
    layer = Conv(5, padding=0, maps=16, connections=lenet.CONNECTIONS)
    conv = build(layer, (6, 14, 14))
    full = nn.Conv2d(6, 16, 5)
    with torch.no_grad():
        full.weight.zero_()
        kernels = iter(conv.state_dict()["weight"])
        for maps_out, inputs in enumerate(lenet.CONNECTIONS):
            for maps_in in inputs:
                full.weight[maps_out, maps_in] = next(kernels)
        assert full.bias is not None
        full.bias.copy_(conv.state_dict()["bias"])
    x = torch.randn(2, 6, 14, 14)
    torch.testing.assert_close(conv(x), full(x))
    assert sum(p.numel() for p in conv.parameters()) == 1516


def test_local_response_is_the_papers_formula() -> None:
    x = torch.randn(1, 8, 2, 2)
    spread = torch.stack([(x[:, max(0, i - 2) : i + 3] ** 2).sum(1) for i in range(8)], 1)
    expected = x / (2 + 1e-4 * spread) ** 0.75
    torch.testing.assert_close(build(LocalResponse(), (8, 2, 2))(x), expected)


def test_lenets_squashing_and_scale() -> None:
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(build(Act("scaled_tanh"), (3, 4))(x), 1.7159 * torch.tanh(2 * x / 3))
    scale = build(Scale(), (3, 4))
    scale.load_state_dict({"weight": torch.tensor([1.0, 2.0, 3.0]), "bias": torch.tensor([0.0, 1.0, 0.0])})
    torch.testing.assert_close(
        scale(x), x * torch.tensor([[[1.0], [2.0], [3.0]]]) + torch.tensor([[[0.0], [1.0], [0.0]]])
    )


@pytest.mark.parametrize(
    ("kind", "dims"),
    [("batch", (0, 2, 3)), ("sync", (0, 2, 3)), ("layer", (1, 2, 3)), ("instance", (2, 3))],
)
def test_norms_normalise_over_what_they_say(kind: str, dims: tuple[int, ...]) -> None:
    x = 3 + 2 * torch.randn(16, 8, 9, 9)
    y = build(Norm(kind), (8, 9, 9))(x)
    expected = (x - x.mean(dims, keepdim=True)) / (x.var(dims, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("kind", ["layer", "instance"])
def test_on_a_vector_the_features_are_the_map(kind: str) -> None:
    x = 3 + 2 * torch.randn(4, 50)
    y = build(Norm(kind), (50,))(x)
    torch.testing.assert_close(y, nn.functional.layer_norm(x, (50,)))


@pytest.mark.parametrize(("maps", "groups"), [(512, 32), (64, 32), (16, 8), (6, 3), (84, 28), (5, 1), (1, 1), (7, 1)])
def test_groups_have_two_maps_or_more(maps: int, groups: int) -> None:
    assert layers.groups(maps) == groups
    assert maps % groups == 0


def test_attention_is_torchs() -> None:
    ours, theirs = build(Attention(4), (16, 10)), nn.MultiheadAttention(16, 4, batch_first=True)
    names = {"in_proj_weight": "qkv.weight", "in_proj_bias": "qkv.bias"}
    names |= {"out_proj.weight": "proj.weight", "out_proj.bias": "proj.bias"}
    ours.load_state_dict({names[name]: value for name, value in theirs.state_dict().items()})
    x = torch.randn(3, 10, 16)
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])


def test_the_ends_of_a_gru_have_read_everything() -> None:
    gru, ends = build(Recurrent(4), (3, 6)), build(Ends(), (8, 6))
    x = torch.randn(2, 6, 3)
    _, last = gru.get_submodule("gru")(x)  # (directions, B, units): the state after the last step of each
    torch.testing.assert_close(ends(gru(x)), torch.cat([last[0], last[1]], 1))


def test_tokens_and_steps_keep_every_value_in_its_place() -> None:
    x = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    assert torch.equal(build(Tokens(), (3, 4, 5))(x)[1, 7], x[1, :, 1, 2])
    assert torch.equal(build(Steps(), (3, 4, 5))(x)[1, 2], x[1, :, 2, :].flatten())


def test_the_transformer_reads_every_pixel() -> None:
    # 30 is no multiple of the patch of 4, so zeros go around the image
    model = zoo.build("transformer", in_channels=1, num_classes=2, image_size=(30, 29)).eval()
    x = torch.randn(1, 1, 30, 29, requires_grad=True)
    model(x).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()


def test_unstrided_takes_every_stride_away() -> None:
    block = Residual(
        (("a", Conv(3, maps=4, stride=2)), ("b", chain(("c", Conv(3, maps=4))))), shortcut=Subsample(4, 2), after=Act()
    )
    assert strided(block)
    same = unstrided(block)
    assert same is not None
    assert not strided(same)
    assert same.out((4, 9, 9)) == (4, 9, 9)
    assert unstrided(Pool(3, 2)) is None
    assert unstrided(Pool(3, 1)) == Pool(3, 1)


def test_a_network_of_ones_own_plan() -> None:
    body = chain(("conv", Conv(3, maps=4)), ("flat", Flatten()), ("head", Dense(2)))
    model = Network(Plan("own", body, (1, 6, 6), (("conv", "conv"), ("head", "head"))))
    assert model(torch.randn(2, 1, 6, 6)).shape == (2, 2)
    assert list(model.stages()) == ["conv", "head"]


@pytest.mark.parametrize(("init", "gain"), [("he", 2.0), ("lecun", 1.0)])
def test_weights_start_with_the_variance_they_should(init: str, gain: float) -> None:
    torch.manual_seed(0)
    body = chain(("conv", Conv(3, maps=200)), ("flat", Flatten()), ("mid", Dense(200)), ("head", Dense(50)))
    state = Network(Plan("own", body, (20, 3, 3), (("head", "head"),), init=init)).state_dict()
    assert state["conv.weight"].std().item() == pytest.approx(math.sqrt(gain / 180), rel=0.05)
    assert state["mid.weight"].std().item() == pytest.approx(math.sqrt(gain / 1800), rel=0.05)
    assert state["head.weight"].std().item() == pytest.approx(0.25 / math.sqrt(200), rel=0.05)
    assert not state["mid.bias"].any()


@settings(max_examples=150)
@given(
    axes=st.integers(1, 3),
    size=st.integers(1, 4),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
)
def test_a_trimmed_convolution_is_torchs(axes: int, size: int, kernel: int, stride: int, padding: int) -> None:
    if size + 2 * padding < kernel:
        return
    plain = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes](2, 3, kernel, stride, padding).double()
    trimmed = layers.CONV[axes](2, 3, kernel, stride, padding).double()
    trimmed.load_state_dict(plain.state_dict())
    x = torch.randn(4, 2, *[size + axis for axis in range(axes)], dtype=torch.float64)
    results = []
    for conv in (plain, trimmed):
        given_x = x.clone().requires_grad_()
        y = conv(given_x)
        y.square().sum().backward()
        results.append((y, given_x.grad, conv.weight.grad, conv.bias.grad))
    for ours, torchs in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, torchs)
