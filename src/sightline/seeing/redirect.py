"""Rectifiers that block gradients -> rectifiers that let pass what would wake a unit up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class Redirected(TorchFunctionMode):
    """Inside, gradients of rectifiers go on where an example would otherwise get none at all, or by a share anywhere.

    A unit that is silent everywhere on an image gives no hint how to wake it. For such examples, and only for them,
    the gradient passes wherever it asks for more (the idea of lucid's redirected ReLU, which is on for the first 16
    steps). With a ``share``, that much of the gradient passes wherever a unit is silent: an image that begins as noise
    is not held where a unit happened to be silent first. All ways to call a rectifier are heard: modules, functions,
    methods, in place or not. What is computed forward stays the same.

    Args:
        share: of the gradient that passes silent units, 0..1; 0: only where an example would get none.
    """

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        self.share = share

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace rectifiers; everything else is what it was."""
        if func in RECTIFIERS:
            return _Rectify.apply(args[0] if args else kwargs["input"], self.share)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


RECTIFIERS = frozenset({F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_})


class _Rectify(torch.autograd.Function):
    """max(x, 0), with a way out for examples whose gradient would vanish; a score is to rise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.share = share
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        if ctx.share:
            return torch.where(x > 0, gradient, ctx.share * gradient), None
        usual = gradient * (x > 0)
        blocked = usual.flatten(1).abs().amax(dim=1) == 0
        return torch.where(blocked.view(-1, *[1] * (x.ndim - 1)), gradient.clamp(min=0), usual), None
