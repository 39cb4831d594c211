"""A 3x3 convolution of small maps with many channels -> the same, whose weight gradient is nine matrix products.

On processors, oneDNN's kernel for the gradient of the weights spends most of its time on the edges of each image where
maps are small: at 4x4 positions it runs at a tenth of the forward pass. Here all images of a batch lie behind each
other as one tall matrix (positions, channels), with a row and a column of zeros between them, so that the neighbours
of all positions are the same matrix, shifted; nothing is copied for a tap. In docs/log.md is what that gives.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

SHARE = 8
"""Positions are few where they are no more than the channels (the root of those in times those out) over this. Measured
from 64 to 512 channels and 2x2 to 8x8 positions."""


def learns_by_products(layer: nn.Conv2d, x: Tensor) -> bool:
    """Whether products give the layer's gradients, and sooner: 3x3, padded, small maps, on the processor in bf16."""
    plain = layer.kernel_size == (3, 3) and layer.padding == (1, 1) and layer.stride == layer.dilation == (1, 1)
    if not plain or layer.groups != 1 or layer.bias is not None or layer.padding_mode != "zeros" or x.ndim != 4:
        return False
    if x.device.type != "cpu" or not torch.is_grad_enabled() or not layer.weight.requires_grad:
        return False
    if not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return False
    positions = x.shape[2] * x.shape[3]
    few = positions > 1 and SHARE * positions <= math.sqrt(layer.in_channels * layer.out_channels)
    return few and not torch.compiler.is_compiling()


def by_products(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve x (B, C, H, W) with weight (D, C, 3, 3), padded by 1: (B, D, H, W), all bfloat16."""
    convolved: Tensor = _Convolution.apply(x, weight)  # type: ignore[no-untyped-call]
    return convolved


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = ctx.saved_tensors
        to_x = (
            torch.ops.aten.convolution_backward(
                gradient, x, weight, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1, (True, False, False)
            )[0]
            if ctx.needs_input_grad[0]
            else None
        )
        return to_x, weight_gradient(x, gradient)


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Give the gradient of a 3x3 kernel's weights, (D, C, 3, 3), from x (B, C, H, W) and that of y (B, D, H, W)."""
    seen, asked, width = _tall(x), _tall(gradient), x.shape[3] + 1
    count = len(seen)
    taps = [
        asked[max(0, -shift) : count - max(0, shift)].t() @ seen[max(0, shift) : count - max(0, -shift)]
        for shift in (row * width + column for row, column in product((-1, 0, 1), repeat=2))
    ]
    return torch.stack(taps, dim=1).view(gradient.shape[1], 3, 3, x.shape[1]).permute(0, 3, 1, 2)


def _tall(x: Tensor) -> Tensor:
    """Lay (B, C, H, W) out as (B (H + 1) (W + 1), C), with zeros below and to the right of each image."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, 1, 0, 1)).reshape(-1, x.shape[1])
