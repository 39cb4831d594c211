"""A network and its batches -> seconds per training step, measured on a copy."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from itertools import islice

import torch
from torch import nn

from sightline.training.precision import Precision


def step_seconds(
    model: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    loss_fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    precision: Precision,
    *,
    warm: int = 3,
    steps: int = 5,
) -> float:
    """Time full training steps: batch, forward, backward, update.

    Args:
        model: is copied, and so left as it is; the copy goes to the device of the batches.
        batches: an iterable of device-ready (x, y).
        loss_fn: called ``loss_fn(logits, y)``.
        precision: as the training will use it.
        warm: first steps that are not timed: libraries choose their kernels in them.
        steps: timed steps; fewer if the batches end.

    Returns:
        The median of the timed steps, in seconds.
    """
    network, loss_fn = copy.deepcopy((model, loss_fn))  # together: a loss may ask its network for auxiliary logits
    network.train()
    optimizer: torch.optim.Optimizer | None = None
    taken: list[float] = []
    begun = time.perf_counter()
    for x, y in islice(batches, warm + steps):
        if optimizer is None:
            network.to(x.device)
            optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6)
        with precision.forward():
            loss = loss_fn(network(x), y)
        precision.backward(loss)
        precision.step(optimizer)
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)
        now = time.perf_counter()
        taken.append(now - begun)
        begun = now
    timed = sorted(taken[warm:] or taken[-1:])
    return timed[len(timed) // 2]
