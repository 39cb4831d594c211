"""A model and a batch -> the model compiled by torch, where that pays back within the training; and why or why not."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sightline.progress import span
from sightline.training.precision import Precision, full
from sightline.training.untouched import untouched, wait

WORTH_TRYING_S = 1800.0
"""Below this, compiling (10 to 30 s) costs so large a part of the training that it is not even tried."""


@dataclass(frozen=True)
class Choice:
    """What to call in place of the model (with the same weights), whether it is compiled, and why, in words."""

    forward: Callable[[Any], Any]
    compiled: bool
    reason: str


def choose(
    mode: Literal["auto", "on", "off"],
    model: nn.Module,
    x: Any,
    y: Tensor,
    loss_fn: Callable[[Any, Tensor], Tensor],
    precision: Precision,
    *,
    steps: int,
    backend: str | Callable[..., Any] = "inductor",
) -> Choice:
    """Decide whether to compile, by measuring; the model is left exactly as it was.

    The decision depends on a clock, so a training that must be repeated or resumed stores it and asks for ``on`` or
    ``off``.

    Args:
        mode: ``off``; ``on``: compile, unless that fails; ``auto``: compile if that saves more time than it costs.
        model: on its device, in the precision's memory format.
        x: the input of a typical batch, on the device.
        y: its targets.
        loss_fn: called ``loss_fn(yhat, y)``.
        precision: as in training.
        steps: training steps that are still to come.
        backend: of ``torch.compile``.

    Returns:
        The choice. What cannot be compiled here (there is no C++ compiler, say) is left as it is, with that reason.
    """
    if mode == "off":
        return Choice(model, False, "not compiled, as set")
    with untouched(model):
        at_most_s = _timed(model, model, x, y, loss_fn, precision) * steps  # first steps are the slowest
        if mode == "auto" and at_most_s < WORTH_TRYING_S:
            return Choice(model, False, f"not compiled: the steps take at most about {span(at_most_s)}")
        plain_s = _seconds(model, model, x, y, loss_fn, precision)
        if mode == "auto" and plain_s * steps < WORTH_TRYING_S:
            return Choice(model, False, f"not compiled: the steps take only about {span(plain_s * steps)}")
        began = time.monotonic()
        try:
            compiled = torch.compile(model, backend=backend)
            _step(model, compiled, x, y, loss_fn, precision)
            model.eval()
            with torch.no_grad(), precision.forward():
                compiled(x)  # validation runs another graph
        except RuntimeError as error:
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            return Choice(model, False, f"not compiled: torch.compile fails here ({first.strip()[:120]})")
        compiling_s = time.monotonic() - began
        fast_s = _seconds(model, compiled, x, y, loss_fn, precision)
    told = f"{fast_s * 1000:.3g} ms a step instead of {plain_s * 1000:.3g}, after {span(compiling_s)} of compiling"
    if mode == "auto" and (plain_s - fast_s) * steps < compiling_s:
        return Choice(model, False, f"not compiled: it does not pay back ({told})")
    return Choice(compiled, True, f"compiled: {told}")


def _seconds(
    model: nn.Module, forward: Any, x: Any, y: Tensor, loss_fn: Callable[..., Tensor], precision: Precision
) -> float:
    taken = [_timed(model, forward, x, y, loss_fn, precision) for _ in range(8)]
    return statistics.median(taken[3:])


def _timed(
    model: nn.Module, forward: Any, x: Any, y: Tensor, loss_fn: Callable[..., Tensor], precision: Precision
) -> float:
    began = time.monotonic()
    _step(model, forward, x, y, loss_fn, precision)
    return time.monotonic() - began


def _step(
    model: nn.Module, forward: Any, x: Any, y: Tensor, loss_fn: Callable[..., Tensor], precision: Precision
) -> None:
    model.train()
    with precision.forward():
        yhat = forward(x)
    precision.backward(loss_fn(full(yhat), y))
    model.zero_grad(set_to_none=True)
    wait(y.device)
