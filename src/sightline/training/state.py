"""The parts of a training that remember something <-> one tree of plain values and tensors, for its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from sightline.models.weights import fit
from sightline.training import generators, optim
from sightline.training.best import Best


class Remembers(Protocol):
    """What a part must be able to do to be brought back."""

    def state_dict(self) -> dict[str, Any]:
        """Give what it remembers."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Take what ``state_dict`` gave."""


class State:
    """Everything that a training which goes on must find as it was, bit for bit.

    Args:
        model: its parameters and buffers.
        optimizer: its moments.
        best: the best weights so far.
        device: whose generator of random numbers is kept, besides the processor's.
        parts: all others, by their names in the checkpoint; each must stay the same object.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, best: Best, device: torch.device, parts: Mapping[str, Remembers]
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.best = best
        self.device = device
        self.parts = parts

    def gather(self) -> dict[str, Any]:
        """Give the tree. Its tensors are those of the training itself: write them before it goes on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best.state_dict(self.model),
            "generators": generators.state(self.device),
            **{name: part.state_dict() for name, part in self.parts.items()},
        }

    def restore(self, tree: Mapping[str, Any], whose: str) -> None:
        """Bring everything to where it was; a part that the tree does not know is left as it is.

        Args:
            tree: as ``gather`` gave it.
            whose: how messages call the checkpoint.

        Raises:
            ModelError: the weights do not fit the model.
            RunError: the optimizer is another.
        """
        fit(self.model, tree["model"], whose)
        optim.load(self.optimizer, tree["optimizer"])
        self.best.load_state_dict(tree["best"], self.model)
        for name, part in self.parts.items():
            if name in tree:
                part.load_state_dict(tree[name])
        generators.restore(tree["generators"], self.device)  # last: bringing loaders to their place draws numbers
