"""A model's weights, step after step -> their exponential moving average, which is what gets evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sightline.errors import SettingsError


class Ema:
    """A moving average of all weights and buffers: average = d average + (1 - d) weight (Polyak & Juditsky 1992).

    The decay d is warmed up as min(decay, (1 + n) / (10 + n)) over the n updates, so that the first weights are soon
    forgotten. Running means and variances of batch norms are averaged with the same decay as the weights they belong
    to; counters (integers) are copied.

    Args:
        model: whose state is averaged; never changed except inside ``applied``.
        decay: d, 0 <= d < 1, such as 0.999; with 0 the average is the model itself, and nothing is stored.

    Raises:
        SettingsError: the decay is none.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise SettingsError(f"'ema' is {decay}.", "It is a decay: 0 for none, or below 1, such as 0.999.")
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {}
        if decay:
            self.average = {name: value.detach().clone() for name, value in _tensors(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        if not self.decay:
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        now = _tensors(model)
        moving = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.average[n] for n in moving], [now[n] for n in moving], 1 - decay)
        for name in now.keys() - set(moving):
            self.average[name].copy_(now[name])

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights inside the block, and its own back after it, bit for bit."""
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        for name, value in _tensors(model).items() if self.decay else ():
            own = value.clone()
            value.copy_(self.average[name])
            self.average[name].copy_(own)

    def state_dict(self) -> dict[str, object]:
        """Give what it remembers."""
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take what ``state_dict`` gave."""
        self.updates = int(str(state["updates"]))
        average = state["average"]
        assert isinstance(average, dict)
        for name, value in self.average.items():
            value.copy_(average[name])


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Give parameters and buffers, each once, tied ones under their first name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
