"""Losses of validation images, epoch by epoch -> whether they have risen beyond doubt, and it is time to stop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.diagnosis import trend
from sightline.diagnosis.limits import LIMITS
from sightline.diagnosis.trend import Rise
from sightline.training.examples import LARGEST

LEAST = 5
"""Epochs before the first decision: the shaking of a curve cannot be told from fewer."""


class RiseStopping:
    """Early stopping by ``early_stop = rise``: when the verdict would be that the validation loss rises.

    After each epoch the rise of the smoothed loss since its minimum is measured image by image, as ``trend.rise`` does
    for the verdict: the minimum on one half of the images, the rise on the other. It is time to stop when the lower
    end of its 95 % interval is above ``limit``. No patience has to be chosen: where the curve shakes much or images are
    few, the interval is wide, and it waits.

    Args:
        limit: share of the lowest loss.
        least: nats; losses are not divided by less, so that a rise from nothing to almost nothing stays small.
    """

    def __init__(self, limit: float = LIMITS.rise, least: float = 0.0) -> None:
        self.limit = limit
        self.least = least
        self._means: list[float] = []
        self._losses: list[NDArray[np.float16]] = []

    def after(self, value: float, model: nn.Module, losses: NDArray[np.float32] | None) -> None:
        """Take the validation loss of an epoch, and that of each image, float32 (n,), if it is known."""
        self._means.append(value)
        if losses is not None:
            self._losses.append(np.minimum(losses, LARGEST).astype(np.float16))

    @property
    def rise(self) -> Rise | None:
        """The rise so far; None in the first epochs."""
        if len(self._means) < LEAST or not all(map(math.isfinite, self._means)):
            return None
        whole = len(self._losses) == len(self._means)
        examples = np.stack(self._losses).astype(np.float32) if whole else None
        return trend.rise(np.array(self._means), examples, least=self.least)

    @property
    def early_stop(self) -> bool:
        """Whether it is time to stop."""
        rise = self.rise
        return rise is not None and rise.low > self.limit

    def why(self, monitor: str, best_epoch: int) -> str:
        """Say why, as a phrase."""
        rise = self.rise
        assert rise is not None
        return (
            f"{monitor} has risen by {rise.value:.0%} since its minimum (95 % interval {rise.low:.0%} to "
            f"{rise.high:.0%}, smoothed); the best was epoch {best_epoch}"
        )

    def restart(self, log_dir: Path) -> None:
        """Begin anew: for a training that begins, or goes on after it was stopped."""
        self._means, self._losses = [], []

    def state_dict(self) -> dict[str, Any]:
        """Give the losses so far."""
        losses: Tensor | None = torch.from_numpy(np.stack(self._losses)) if self._losses else None
        return {"means": list(self._means), "losses": losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what ``state_dict`` gave."""
        self._means = [float(value) for value in state["means"]]
        self._losses = [] if state["losses"] is None else list(state["losses"].numpy())
