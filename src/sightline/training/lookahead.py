"""An optimizer -> the same optimizer, looking ahead: after every k steps its weights go back half the way."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

BACK = 0.5
"""Share of the way from the slow weights that is kept (alpha; Zhang et al. 2019, section 5)."""

SLOW, COUNT = "slow", "steps_ahead"
"""Names under which an optimizer's state holds the slow weights, and the steps since they were met."""


def look_ahead(optimizer: Optimizer, steps: int) -> None:
    """Let an optimizer go ahead k steps, and then half the way back to where it began.

    M. Zhang, J. Lucas, G. Hinton and J. Ba, "Lookahead optimizer: k steps forward, 1 step back" (2019). The slow
    weights live in the optimizer's state, so that checkpoints hold them.

    Args:
        optimizer: gets a hook behind its step.
        steps: k, at least 1.
    """

    def meet(optimizer: Optimizer, *given: Any) -> None:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    _meet(p, optimizer.state[p], steps)

    optimizer.register_step_post_hook(meet)


@torch.no_grad()
def _meet(p: torch.Tensor, state: dict[str, Any], steps: int) -> None:
    if SLOW not in state:  # the weights after the first step are where it begins
        state[SLOW], state[COUNT] = p.clone(), torch.zeros(())
        return
    state[COUNT] += 1
    if int(state[COUNT]) >= steps:
        state[SLOW].lerp_(p, BACK)
        p.copy_(state[SLOW])
        state[COUNT].zero_()
