"""The step of our own optimizers; Muon: the momentum of a weight matrix made orthogonal, what is no matrix by Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

STEPS = 5
"""Newton-Schulz steps; after them the singular values lie within about 0.7 and 1.2."""

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the step X <- a X + b (X X') X + c (X X')^2 X, chosen for a steep start (Jordan et al. 2024)."""

MATCH = 0.2
"""A step's root mean square, as a share of the rate: that of AdamW's usual step, so that a rate means the same."""


class OneByOne(Optimizer):
    """An optimizer that moves one parameter after the other."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step along the gradients that are there."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.move(p, p.grad, group)
        return loss

    def move(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Change one parameter in place.

        Args:
            p: the parameter.
            gradient: its gradient, of its shape.
            group: the options it goes by.
        """
        raise NotImplementedError


class Muon(OneByOne):
    """Steps along orthogonal matrices: every direction a weight matrix can move in counts alike.

    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); the scale of the step, by which
    the learning rate and the decay are those of AdamW, is that of J. Liu et al., "Muon is scalable for LLM training"
    (2025, arXiv 2502.16982, section 2.2). ``torch.optim.Muon`` does the same for matrices and refuses anything else;
    here the kernel of a convolution is a matrix too, one row for each map, and parameters in groups with ``adam`` true
    (norms, biases, the last layer, as the authors advise) take AdamW's step (Loshchilov & Hutter 2019) instead.

    Args:
        params: parameters, or groups; a group may hold ``adam``, ``lr`` and ``weight_decay`` of its own.
        lr: learning rate of both.
        weight_decay: apart from the gradient: weights are multiplied by 1 - lr * weight_decay.
        momentum: of the matrices.
        nesterov: look ahead along the momentum.
        betas: decays of Adam's two moments.
        eps: added to Adam's denominator.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        if lr < 0 or weight_decay < 0 or not 0 <= momentum < 1 or not all(0 <= beta < 1 for beta in betas) or eps < 0:
            raise ValueError(f"lr {lr}, weight_decay {weight_decay}, momentum {momentum}, betas {betas}, eps {eps}")
        super().__init__(
            params,
            {
                "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov, "betas": betas,
                "eps": eps, "adam": False,
            },
        )  # fmt: skip

    def move(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Let one parameter decay, and move it by its group's rule."""
        p.mul_(1 - group["lr"] * group["weight_decay"])
        (self._adam if group["adam"] or p.ndim < 2 else self._orthogonal)(p, gradient, group)

    def _orthogonal(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        running = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        along = torch.lerp(gradient, running, group["momentum"]) if group["nesterov"] else running
        matrix = along.reshape(len(p), -1)
        size = MATCH * max(matrix.shape) ** 0.5
        p.add_(orthogonal(matrix).view(p.shape), alpha=-group["lr"] * size)

    def _adam(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if "step" not in state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
        first, second = group["betas"]
        state["step"] += 1
        step = int(state["step"])
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        spread = (state["square"] / (1 - second**step)).sqrt_().add_(group["eps"])
        p.addcdiv_(state["mean"], spread, value=-group["lr"] / (1 - first**step))


def orthogonal(matrix: Tensor, steps: int = STEPS, dtype: torch.dtype | None = None) -> Tensor:
    """Replace a matrix U S V' by nearly U V', without a decomposition: by Newton-Schulz steps.

    Args:
        matrix: float (A, B), of any scale.
        steps: of Newton and Schulz; with fewer, small singular values stay smaller.
        dtype: to compute in; None: bf16 on GPUs, which is precise enough, and float32 on the processor.

    Returns:
        float32 (A, B), singular values within about 0.7 and 1.2 (those that were 0 stay 0).
    """
    a, b, c = QUINTIC
    x: Tensor = matrix.to(dtype or (torch.bfloat16 if matrix.is_cuda else torch.float32))
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).float()
