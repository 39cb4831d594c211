"""An optimizer -> the same optimizer, looking ahead: after every k steps its weights go back a part of the way."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

BACK = 0.5
"""Share of the way from the slow weights that is kept (alpha; Zhang et al. 2019, section 5)."""

PULL = 0.95
"""To the power of k, the share of the slow weights that is kept at the end, where it rises (Jordan 2024, listing 4)."""

SLOW, COUNT = "slow", "steps_ahead"
"""Names under which an optimizer's state holds the slow weights, and the steps since then."""


def look_ahead(optimizer: Optimizer, steps: int, total: int = 0) -> None:
    """Let an optimizer go ahead k steps, and then half the way back to where it began.

    M. Zhang, J. Lucas, G. Hinton and J. Ba, "Lookahead optimizer: k steps forward, 1 step back" (2019). The slow
    weights live in the optimizer's state, so that checkpoints hold them.

    With a total of T steps the way back is short at first: after step t, 0.95^k (t/T)^3 of the slow weights is kept,
    and after the last step the slow weights are what is left. They are then an average over the last part of the
    training (K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, section 3.4).

    Args:
        optimizer: gets a hook behind its step.
        steps: k, at least 1.
        total: T; 0: half the way back, always.
    """

    def kept(step: int) -> float:
        if not total:
            return 1 - BACK
        return 1.0 if step == total else PULL**steps * min(1.0, step / total) ** 3

    def meet(optimizer: Optimizer, *given: Any) -> None:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = optimizer.state[p]
                    if SLOW not in state:  # the weights after the first step are where it begins
                        state[SLOW], state[COUNT] = p.detach().clone(), torch.zeros(())
                        continue
                    state[COUNT] += 1
                    count = int(state[COUNT])
                    if count % steps == 0 or count + 1 == total:
                        _meet(p, state[SLOW], kept(count + 1))

    optimizer.register_step_post_hook(meet)


@torch.no_grad()
def _meet(p: torch.Tensor, slow: torch.Tensor, kept: float) -> None:
    slow.lerp_(p, 1 - kept)
    p.copy_(slow)
