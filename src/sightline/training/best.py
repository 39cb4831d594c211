"""The best weights so far: kept while training goes on, in the model when it ends, out again when it continues."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sightline.training.checkpoint import save_weights
from sightline.training.stopping import better

Weights = dict[str, Tensor]


class Best:
    """A copy of the weights with the best value of one number.

    Args:
        lower_is_better: direction.

    Attributes:
        value: of the best epoch; None before the first that is not NaN.
        epoch: the best epoch, from 1; 0 before there is one.
    """

    def __init__(self, lower_is_better: bool = True) -> None:
        self.lower_is_better = lower_is_better
        self.value: float | None = None
        self.epoch = 0
        self._weights: Weights = {}
        self._last: Weights = {}

    def see(self, value: float, epoch: int, model: nn.Module) -> bool:
        """Copy the weights if this value is better than all before; of equals the first stays. Say whether it is."""
        if not self.beaten_by(value):
            return False
        self.value, self.epoch, self._weights = value, epoch, snapshot(model)
        return True

    def beaten_by(self, value: float) -> bool:
        """Say whether a value would be the best."""
        return better(value, self.value, 0.0, self.lower_is_better)

    def enter(self, model: nn.Module) -> None:
        """Put the best weights into the model (same module, same parameters) and remember those that were in it."""
        if self._weights and not _same(model, self._weights):
            self._last = snapshot(model)
            restore(model, self._weights)

    def leave(self, model: nn.Module) -> None:
        """Put back the weights that training ended with, which are those the optimizer's memory belongs to.

        Weights that somebody else has put into the model since are left there.
        """
        if self._last and _same(model, self._weights):
            restore(model, self._last)
        self._last = {}

    def write(self, path: Path) -> None:
        """Write the best weights, if there are any.

        Raises:
            RunError: the disk is full, or there is no permission.
        """
        if self._weights:
            save_weights(path, self._weights, epoch=self.epoch)

    def state_dict(self, model: nn.Module) -> dict[str, Any]:
        """Give what it remembers; the weights only if they are not the model's own at this moment."""
        own = bool(self._weights) and _same(model, self._weights)
        return {"value": self.value, "epoch": self.epoch, "own": own, "weights": {} if own else self._weights}

    def load_state_dict(self, state: dict[str, Any], model: nn.Module) -> None:
        """Take what ``state_dict`` gave, with the model as it was then."""
        self.value, self.epoch = state["value"], int(state["epoch"])
        self._weights = snapshot(model)
        if not state["own"]:
            self._weights = {name: self._weights[name].copy_(value) for name, value in state["weights"].items()}
        self._last = {}


def snapshot(model: nn.Module) -> Weights:
    """Copy a model's parameters and buffers, by name."""
    return {n: v.detach().clone() for n, v in model.state_dict().items() if isinstance(v, Tensor)}


@torch.no_grad()
def restore(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a model's own tensors."""
    own = model.state_dict()
    for name, value in weights.items():
        own[name].copy_(value)


def _same(model: nn.Module, weights: Weights) -> bool:
    own = model.state_dict()
    return all(torch.equal(own[name], value) for name, value in weights.items())
