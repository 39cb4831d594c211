"""Muon for few passes: kernels of fixed length along orthogonal matrices; offsets and the last layer by SGD."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sightline.training.device import NATIVE_BF16, processor_flags
from sightline.training.muon import OneByOne, orthogonal

STEPS = 3
"""Newton-Schulz steps: where each step moves a kernel by a quarter of its length, roughly orthogonal is enough."""

MOMENTUM = 0.85
"""Of what goes by SGD."""


class MuonSGD(OneByOne):
    """Turns kernels rather than lengthening them: each is brought to one length, then moved by lr in every direction.

    The optimizer of K. Jordan's later CIFAR-10 records (code of "94% on CIFAR-10 in 2.59 seconds", airbench, 2024): a
    matrix with R rows has the length root R before each step (a batch norm behind it makes its length meaningless),
    and the step's singular values are about lr, so that lr is the share of a matrix that a step renews.

    Args:
        params: parameters, or groups; those of a group with ``sgd`` true, and all without two axes, go by SGD.
        lr: learning rate of both.
        weight_decay: of what goes by SGD: the share that a step at the peak rate takes from it, whatever its own rate.
        momentum: of the matrices.
        sgd_momentum: of the rest, Nesterov's.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.24,
        weight_decay: float = 0.0,
        momentum: float = 0.6,
        sgd_momentum: float = MOMENTUM,
    ) -> None:
        if lr < 0 or weight_decay < 0 or not 0 <= momentum < 1 or not 0 <= sgd_momentum < 1:
            raise ValueError(f"lr {lr}, weight_decay {weight_decay}, momentum {momentum}, sgd_momentum {sgd_momentum}")
        own = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "sgd_momentum": sgd_momentum, "sgd": False}
        super().__init__(params, own)
        self._dtype = torch.bfloat16 if processor_flags() & NATIVE_BF16 else None

    def move(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Turn a matrix; let anything else descend."""
        (self._descend if group["sgd"] or p.ndim < 2 else self._turn)(p, gradient, group)

    def _turn(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        along = self._ahead(p, gradient, group["momentum"])
        p.mul_(len(p) ** 0.5 / (p.norm() + 1e-7))
        p.add_(orthogonal(along.reshape(len(p), -1), STEPS, self._dtype).view(p.shape), alpha=-group["lr"])

    def _descend(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        peak = group.get("initial_lr", group["lr"])
        decaying = gradient.add(p, alpha=group["weight_decay"] / peak) if group["weight_decay"] else gradient
        p.add_(self._ahead(p, decaying, group["sgd_momentum"]), alpha=-group["lr"])

    def _ahead(self, p: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """Give Nesterov's direction: the gradient, and its running sum as it will be."""
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        return gradient.add(state["momentum"].mul_(momentum).add_(gradient), alpha=momentum)
