"""Convolutions of small maps: the function and gradients are torch's, and only such layers are treated so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.models.convolution import Conv2d
from sightline.models.small_maps import learns_by_products, weight_gradient


@pytest.mark.parametrize(
    ("images", "channels", "maps", "size"), [(1, 2, 3, (1, 1)), (3, 4, 2, (2, 5)), (5, 3, 3, (4, 4))]
)
def test_the_weights_gradient_is_that_of_a_convolution(
    images: int, channels: int, maps: int, size: tuple[int, int]
) -> None:
    x = torch.randn(images, channels, *size, dtype=torch.double)
    weight = torch.randn(maps, channels, 3, 3, dtype=torch.double, requires_grad=True)
    gradient = torch.randn(images, maps, *size, dtype=torch.double)
    F.conv2d(x, weight, padding=1).backward(gradient)
    assert torch.allclose(weight_gradient(x, gradient), weight.grad, atol=1e-10)


def learnt(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give outputs, and gradients of inputs and weights, under autocast."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    (y.float() * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
    assert x.grad is not None
    return y.detach().float(), x.grad, layer.weight.grad


def test_a_layer_that_learns_by_products_is_torchs_layer() -> None:
    torch.manual_seed(0)
    own, torchs = Conv2d(128, 128, 3, padding=1, bias=False), nn.Conv2d(128, 128, 3, padding=1, bias=False)
    torchs.load_state_dict(own.state_dict())
    x = torch.randn(4, 128, 4, 4).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        assert learns_by_products(own, x)
    for mine, theirs in zip(learnt(own, x), learnt(torchs, x), strict=True):
        assert mine.dtype == torch.float32
        assert (mine - theirs).norm() < 0.01 * theirs.norm()


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({"stride": 2}, 4), ({"groups": 2}, 4), ({"bias": True}, 4), ({"padding": 0}, 4), ({"dilation": 2}, 4),
        ({"padding_mode": "reflect"}, 4), ({}, 5), ({}, 1),
    ],
)  # fmt: skip
def test_other_layers_and_larger_maps_are_left_to_torch(options: dict[str, object], side: int) -> None:
    layer = Conv2d(128, 128, 3, **{"padding": 1, "bias": False, **options})  # type: ignore[arg-type]
    with torch.autocast("cpu", torch.bfloat16):
        assert not learns_by_products(layer, torch.zeros(1, 128, side, side))


def test_without_gradients_or_bf16_it_is_left_to_torch() -> None:
    layer, x = Conv2d(128, 128, 3, padding=1, bias=False), torch.zeros(1, 128, 4, 4)
    assert not learns_by_products(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            assert not learns_by_products(layer, x)
        layer.weight.requires_grad_(False)
        assert not learns_by_products(layer, x)
