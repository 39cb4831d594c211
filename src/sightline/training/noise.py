"""Random batches -> how much their choice shakes the steps, in numbers: a regulariser that nobody switches on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from sightline.training.batches import Batch, size
from sightline.training.precision import Precision, full
from sightline.training.untouched import untouched

BATCHES = 8
"""From how many batches the noise of gradients is estimated."""

CHEAP = 50
"""A measurement is cheap from so many times as many training steps as it has batches."""


def scale(lr: float, examples: int, batch: int, momentum: float = 0.0) -> float:
    """Give the noise scale of SGD: g = lr (N / B - 1) / (1 - momentum) (Smith & Le 2018; with momentum, 2018b).

    Two trainings with the same g shake alike: half the batch does what twice the learning rate does. For optimizers
    that rescale gradients it compares trainings with the same optimizer only. With all examples in a batch it is 0.

    Args:
        lr: learning rate.
        examples: N, of the training set.
        batch: B, examples of one step.
        momentum: of SGD, 0 <= momentum < 1.
    """
    return lr * max(0.0, examples / batch - 1) / (1 - momentum)


@dataclass(frozen=True)
class Noise:
    """How much gradients differ from batch to batch.

    Attributes:
        batch: examples in each batch.
        batches: how many were compared.
        scale: tr(S) / |G|^2, in examples, with G the mean gradient and S the covariance of single examples' gradients:
            the batch size at which noise and signal are alike (McCandlish et al. 2018, appendix A.1). None where the
            gradient is lost in the noise, so that the scale is larger than all these batches together can tell.
    """

    batch: int
    batches: int
    scale: float | None

    def as_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """Say what the scale means for this batch size."""
        if self.scale is None:
            return (
                f"The gradient is lost in the noise of {self.batches} batches of {self.batch}: steps are shaken much, "
                "and larger batches would make each of them surer."
            )
        told = f"Noise and signal of the gradient are alike in a batch of about {float(f'{self.scale:.2g}'):,.0f}"
        if self.scale > 4 * self.batch:
            return f"{told}; batches of {self.batch} are shaken much, and larger ones would need fewer steps."
        if self.scale < self.batch / 4:
            return f"{told}; batches of {self.batch} are shaken little, and smaller ones would do for fewer images."
        return f"{told}, and steps take {self.batch}: neither is wasted."


def measure(
    model: nn.Module,
    loss_fn: Callable[[Any, Tensor], Tensor],
    batches: Iterable[Batch],
    precision: Precision,
) -> Noise | None:
    """Estimate the noise of gradients from a few batches; the model is left as it was.

    Both sums are unbiased: of n batches of B with gradients g_i and mean g, |G|^2 is estimated by (n |g|^2 - mean
    |g_i|^2) / (n - 1), and tr(S) by B (mean |g_i|^2 - |g|^2) n / (n - 1).

    Args:
        model: on its device; it runs as in training, with dropout.
        loss_fn: gives a batch's mean.
        batches: on the device; the first ``BATCHES`` of equal size are taken.
        precision: as in training.

    Returns:
        None where there are not two batches, or gradients are not finite.
    """
    params = [p for p in model.parameters() if p.requires_grad]
    total = [torch.zeros_like(p) for p in params]
    squares: list[Tensor] = []
    count = 0
    with untouched(model):
        model.train()
        for x, y in islice(batches, BATCHES):
            if count and size((x, y)) != count:
                break
            count = size((x, y))
            with precision.forward():
                yhat = model(x)
            precision.backward(loss_fn(full(yhat), y))
            found = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
            squares.append(_square(found))
            torch._foreach_add_(total, found)
            model.zero_grad(set_to_none=True)
    n = len(squares)
    if n < 2:
        return None
    each, mean = float(torch.stack(squares).mean()), float(_square(total)) / n**2
    signal, spread = (n * mean - each) / (n - 1), count * (each - mean) * n / (n - 1)
    if not each < float("inf"):  # NaN, too
        return None
    return Noise(count, n, spread / signal if signal > 0 else None)


def _square(tensors: list[Tensor]) -> Tensor:
    """Give the sum of squares of all numbers, without axes; in float64 where the device has it."""
    norms = torch.stack(torch._foreach_norm(tensors))
    return norms.to(torch.float32 if norms.device.type == "mps" else torch.float64).square().sum()
