"""A network about to be trained -> what some seconds of trying show: first loss, one batch, a black image.

Model, optimizer and torch's generators are exactly as before afterwards, so a training with these probes ends with the
same bits as one without.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.training import optim
from sightline.training.precision import Precision, full
from sightline.training.untouched import untouched

BATCH = 16
"""Images that have to be learnt by heart."""
TRIES = 40
"""Steps that are tried at most."""
SECONDS = 4.0
"""Seconds of the processor that are tried at most, without the first step; what is open then is not told, so that the
clock decides nothing else."""
RATE = 1e-3
"""Adam's usual learning rate, for the try that does not depend on the settings."""

WEIGHED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Layers whose first weights are measured."""

FITTED, UNMOVED, DIVERGED = 0.2, 0.97, 1.2
"""Last loss / first loss: below it is fitted, above it did not move, or rose."""


def first_loss(
    model: nn.Module, x: Tensor, y: Tensor, loss_fn: Callable[..., Tensor], precision: Precision, classes: int
) -> dict[str, float]:
    """Measure the loss before the first step, in training mode, beside that of guessing, ln K.

    Args:
        model: untrained.
        x: (B, C, *size), on its device.
        y: (B,), labels.
        loss_fn: as in training.
        precision: as in training.
        classes: K.

    Returns:
        ``loss`` and ``chance``, nats, and ``images``.
    """
    with untouched(model), torch.no_grad():
        model.train()
        loss = _plain(model, x, y, loss_fn, precision)
    return {"loss": _number(loss), "chance": math.log(classes), "images": float(len(y))}


def first_weights(model: nn.Module) -> dict[str, Any] | None:
    """Measure the weights before the first step, as multiples of what keeps a signal's size through a layer.

    A layer that adds up F inputs keeps their size if its weights have the standard deviation 1 / sqrt(F) (Y. LeCun et
    al., Efficient BackProp, 1998, section 4.6); Glorot's and He's schemes, and torch's own, stay within 0.3 and 3 of
    that. Before a norm such weights change no answer, so no loss shows them; but a step moves them the less the larger
    they are.

    Args:
        model: untrained.

    Returns:
        ``scale``: the median over layers; ``layers``: the multiple of each; ``normed``: whether the network has norms.
        None where there is no such layer.
    """
    layers = {
        name: _number(part.weight.detach().float().pow(2).mean().sqrt()) * math.sqrt(part.weight[0].numel())
        for name, part in model.named_modules()
        if isinstance(part, WEIGHED) and not isinstance(part.weight, nn.parameter.UninitializedParameter)
    }
    if not layers:
        return None
    normed = any("Norm" in type(part).__name__ for part in model.modules())
    return {"scale": statistics.median(layers.values()), "layers": layers, "normed": normed}


def zero_input(model: nn.Module, x: Tensor, precision: Precision) -> dict[str, float]:
    """Compare the untrained network's logits for images with those for a black one.

    Returns:
        ``spread``: their mean absolute difference; ``size``: the mean absolute logit.
    """
    with untouched(model), torch.no_grad(), precision.forward():
        model.train()
        black = torch.zeros_like(x[:1]).expand_as(x).contiguous()
        seen, blind = full(model(torch.cat([x, black]))).chunk(2)
        return {"spread": _number((seen - blind).abs().mean()), "size": _number(seen.abs().mean())}


def one_batch(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss_fn: Callable[..., Tensor],
    precision: Precision,
    optimizer: Optimizer | None = None,
) -> dict[str, Any]:
    """Try to learn one batch by heart.

    Args:
        model: untrained; trained in here, and put back.
        x: (B, C, *size), ``BATCH`` images without augmentation.
        y: (B,).
        loss_fn: as in training.
        precision: as in training.
        optimizer: that of the training, with its highest learning rate; None takes Adam with the usual one.

    Returns:
        ``verdict`` (``fitted``, ``falling``, ``unmoved``, ``diverged`` or ``undecided``), ``first`` and ``last`` loss,
        ``steps`` and ``images``.
    """
    began, losses = 0.0, list[float]()
    with untouched(model, optimizer):
        model.train()
        trial = optimizer or optim.make(torch.optim.Adam, optim.trained(model), {"lr": RATE, "fused": False})
        for group in trial.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"])
        for _ in range(TRIES):
            trial.zero_grad(set_to_none=True)
            loss = _plain(model, x, y, loss_fn, precision)
            losses.append(_number(loss))
            if not math.isfinite(losses[-1]) or losses[-1] < FITTED * losses[0] or losses[-1] > 10 * losses[0] + 10:
                break
            if len(losses) == 2:  # the first step may load what all others use
                began = time.process_time()
            if len(losses) > 2 and time.process_time() - began > SECONDS:
                return {"verdict": "undecided", "first": losses[0], "last": losses[0], "steps": 0, "images": len(y)}
            loss.backward()  # type: ignore[no-untyped-call]
            trial.step()
    first, last = losses[0], losses[-1]
    verdict = (
        "diverged"
        if not math.isfinite(last) or last > DIVERGED * first
        else "fitted"
        if last < FITTED * first
        else "unmoved"
        if min(losses) > UNMOVED * first
        else "falling"
    )
    told = last if math.isfinite(last) else -1.0
    return {"verdict": verdict, "first": first, "last": told, "steps": len(losses) - 1, "images": len(y)}


def _plain(model: nn.Module, x: Tensor, y: Tensor, loss_fn: Any, precision: Precision) -> Tensor:
    """Give the loss without smoothing, weights and auxiliary heads, whose logits are thrown away."""
    with precision.forward():
        yhat = full(model(x))
    side: Any = getattr(model, "auxiliary_logits", None)
    if side is not None:
        side()
    each = getattr(loss_fn, "per_example", None)
    return torch.as_tensor(each(yhat, y).mean() if each else loss_fn(yhat, y))


def _number(value: Tensor) -> float:
    return float(value.detach())
