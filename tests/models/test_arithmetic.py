"""Whole-number arithmetic against torch, against gradients, and against published receptive fields."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sightline.errors import ModelError
from sightline.models import arithmetic, zoo
from sightline.models.plan import Conv, Dense, Flatten, MisfitError, Plan, Pool, chain, window_size


@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 8),
    stride=st.integers(1, 5),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
)
def test_sizes_of_convolutions_are_torchs(size: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    conv = nn.Conv1d(1, 1, kernel, stride, padding, dilation, device="meta")
    ours = window_size(size, kernel, stride, padding, dilation)
    if size + 2 * padding < dilation * (kernel - 1) + 1:
        assert ours == 0
    else:
        assert ours == conv(torch.empty(1, 1, size, device="meta")).shape[2]


@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 6),
    stride=st.integers(1, 6),
    pad=st.integers(0, 3),
    ceil=st.booleans(),
)
def test_sizes_of_pools_are_torchs(size: int, kernel: int, stride: int, pad: int, ceil: bool) -> None:
    padding = min(pad, kernel // 2)  # torch refuses more
    if size + 2 * padding < kernel:
        return
    pool = nn.MaxPool1d(kernel, stride, padding, ceil_mode=ceil)
    assert window_size(size, kernel, stride, padding, ceil=ceil) == pool(torch.zeros(1, 1, size)).shape[2]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=4))
def test_the_receptive_field_is_where_the_gradient_arrives(windows: list[tuple[int, int, int]]) -> None:
    layers = [Conv(k, s, 0, d, maps=1, bias=False) for k, s, d in windows]
    plan = Plan("net", chain(*((str(i), layer) for i, layer in enumerate(layers))), (1, 400), ())
    field = arithmetic.table(plan)[-1].field[0]
    x = torch.zeros(1, 1, 400, requires_grad=True)
    y = x
    for k, s, d in windows:
        y = nn.functional.conv1d(y, torch.ones(1, 1, k), None, s, 0, d)
    y[0, 0, y.shape[2] // 2].backward()
    assert x.grad is not None
    reached = x.grad.nonzero()[:, 2]
    assert field == int(reached.max() - reached.min()) + 1


@pytest.mark.parametrize(
    ("name", "stage", "field"),
    # Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks" (Distill 2019)
    [
        ("alexnet", "features.12", 195),
        ("vgg16", "features.30", 212),
        ("resnet50", "layer4.2.conv3", 483),
        ("resnet101", "layer4.2.conv3", 1027),
        ("resnet152", "layer4.2.conv3", 1507),
    ],
)
def test_published_receptive_fields(name: str, stage: str, field: int) -> None:
    rows = {row.name: row for row in zoo.table(name)}
    assert rows[stage].field == (field, field)


def test_attention_and_recurrence_see_everything() -> None:
    rows = {row.name: row for row in zoo.table("transformer", "3x32x48")}
    assert rows["patch"].field == (4, 4)
    assert rows["blocks.0.attention.heads"].field == (32, 48)
    assert {row.name: row for row in zoo.table("bigru", "1x20x28")}["steps"].field == (1, 28)


@pytest.mark.parametrize(
    ("side", "weights"), [(28, 614_656), (100, 10**8), (200, 1_600_000_000), (400, 25_600_000_000)]
)
def test_what_a_dense_layer_would_need(side: int, weights: int) -> None:
    plan = Plan("one", chain(("conv", Conv(3, maps=1, bias=False))), (1, side, side), ())
    row = arithmetic.table(plan)[0]
    assert (row.parameters, row.dense) == (9, weights)


def test_rows_say_what_a_layer_is() -> None:
    row = zoo.table("resnet18", "3x224x224")[0]
    assert (row.name, row.kind, row.kernel, row.stride, row.padding) == ("conv1", "conv", (7, 7), (2, 2), (3, 3))
    assert (row.shape_in, row.shape_out, row.field) == ((3, 224, 224), (64, 112, 112), (7, 7))
    assert (row.parameters, row.multiply_adds) == (9408, 9408 * 112 * 112)
    assert row.activation_bytes == 64 * 112 * 112 * 4


def test_a_misfit_names_the_layer_and_what_would_fit() -> None:
    body = chain(("a", Pool(2, 2, 0)), ("b", Conv(5, padding=0, maps=3)), ("flat", Flatten()), ("head", Dense(2)))
    with pytest.raises(ModelError) as caught:
        arithmetic.table(Plan("net", body, (1, 8, 8), ()))
    assert "too small for 'net': in 'b' (conv), a 5x5 window does not fit into a map of 4x4" in caught.value.fault
    assert "a: max pool 2x2, stride 2x2" in caught.value.fault
    assert "8x8 -> 4x4" in caught.value.fault
    assert "The smallest input these layers can take is 10x10" in caught.value.hint
    assert len(arithmetic.table(Plan("net", body, (1, 10, 10), ()))) == 4


def test_kernels_for_other_axes_are_refused() -> None:
    with pytest.raises(MisfitError, match="made for 2 axes"):
        Conv((3, 3), maps=1).out((1, 20))


def test_tables_need_no_torch() -> None:
    code = "import sys; from sightline.models import zoo; zoo.table('resnet50'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
