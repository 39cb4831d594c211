"""A network and its batches -> seconds per training step, measured on a copy."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from itertools import islice

import torch
from torch import nn

from sightline.training.precision import Precision


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-6)


def step_seconds(
    model: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    loss_fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    precision: Precision,
    *,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = _adamw,
    warm: int = 3,
    steps: int = 5,
    at_most_s: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Time full training steps: batch, forward, backward, update.

    Args:
        model: is copied, and so left as it is; the copy goes to the device of the batches.
        batches: an iterable of device-ready (x, y).
        loss_fn: called ``loss_fn(logits, y)``.
        precision: as the training will use it.
        optimizer: makes the one that the training uses, over the copy.
        warm: first steps that are not timed: libraries choose their kernels in them.
        steps: timed steps; fewer if the batches end.
        at_most_s: no step begins after so many seconds, except the first and one that is timed.
        clock: gives seconds; ``time.process_time`` where others use the machine, too.

    Returns:
        The median of the timed steps, in seconds.
    """
    network, loss_fn = copy.deepcopy((model, loss_fn))  # together: a loss may ask its network for auxiliary logits
    network.train()
    updates: torch.optim.Optimizer | None = None
    taken: list[float] = []
    started = begun = clock()
    for x, y in islice(batches, warm + steps):
        if updates is None:
            network.to(x.device)
            updates = optimizer(network)
        with precision.forward():
            loss = loss_fn(network(x), y)
        precision.backward(loss)
        precision.step(updates)
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)
        now = clock()
        taken.append(now - begun)
        begun = now
        if len(taken) > 1 and now - started > at_most_s:
            break
    timed = sorted(taken[warm:] or taken[-1:])
    return timed[len(timed) // 2]
