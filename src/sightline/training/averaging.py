"""A model's weights, step after step -> their average, with statistics of its own, which is what gets evaluated."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sightline.errors import SettingsError
from sightline.training import norms
from sightline.training.norms import Statistics


class Average:
    """An average of a model's weights, moving or equal.

    *Moving* (EMA): average = d average + (1 - d) weight after each step (Polyak & Juditsky 1992). The decay d is warmed
    up as min(decay, (1 + n) / (10 + n)) over the n updates, so that the first weights are soon forgotten.

    *Equal* (SWA, stochastic weight averaging): the mean of the weights at the ends of some epochs, late in a training
    whose learning rate is kept up, or raised again in cycles (Izmailov et al. 2018). Before the first of these epochs
    there is no average, and the model itself is evaluated.

    Running means and variances of norm layers cannot be averaged: they belong to the weights they were measured with.
    So an average holds none. The one way to its weights is ``applied``, which estimates them on training batches.
    Counters (integers) are copied, and so are buffers that are no statistics.

    Args:
        model: whose weights are averaged; never changed except inside ``applied``.
        decay: d, 0 <= d < 1, such as 0.999; 0 is no moving average.
        epochs: after which the weights enter the equal average; empty is none.
        statistics: estimates means and variances; not needed by a model that has none to estimate.

    Raises:
        SettingsError: the decay is none; both averages are wanted; the model has norms whose statistics nobody can
            estimate.
    """

    def __init__(
        self,
        model: nn.Module,
        decay: float = 0.0,
        epochs: Collection[int] = (),
        statistics: Statistics | None = None,
    ) -> None:
        if not 0 <= decay < 1:
            raise SettingsError(f"'ema' is {decay}.", "It is a decay: 0 for none, or below 1, such as 0.999.")
        if decay and epochs:
            raise SettingsError("'ema' and 'swa' are two averages of the same weights.", "Use one of them.")
        self.model = model
        self.decay = decay
        self.epochs = frozenset(epochs)
        self.updates = 0
        self._left_out = frozenset(norms.buffers(model))
        if (decay or epochs) and self._left_out:
            if statistics is None:
                raise SettingsError(
                    f"an average of {type(model).__name__} needs means and variances of its own for the norms in it.",
                    "Give statistics= some training batches.",
                )
            statistics.check()
        self._statistics = statistics if self._left_out else None
        self._fresh: dict[str, Tensor] = {}
        self._average = self._copied() if decay else {}

    @property
    def weights(self) -> dict[str, Tensor]:
        """The averaged parameters and buffers, without any statistics, by name; empty while there is no average."""
        return self._average

    def step(self) -> None:
        """Take in the weights after a step, for the moving average."""
        if self.decay:
            self.updates += 1
            self._take(1 - min(self.decay, (1 + self.updates) / (10 + self.updates)))

    def epoch(self, number: int) -> None:
        """Take in the weights after an epoch, numbered from 1, for the equal average."""
        if number in self.epochs:
            self.updates += 1
            self._average = self._average or self._copied()
            self._take(1 / self.updates)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights inside the block, and its own back after it, bit for bit.

        Its means and variances inside the block are those that training batches have with the averaged weights; they
        are estimated whenever the average has changed. Where there is no average, the model stays as it is.
        """
        if not self._average:
            yield
            return
        own = {name: value.clone() for name, value in norms.buffers(self.model).items()}
        self._exchange()
        try:
            self._refresh()
            yield
        finally:
            self._exchange()
            _enter(self.model, own)

    def _refresh(self) -> None:
        if self._statistics and not self._fresh:
            self._statistics.estimate(self.model)
            measured = norms.buffers(self.model)  # means and variances; how many batches were seen is the model's own
            self._fresh = {name: value.clone() for name, value in measured.items() if value.is_floating_point()}
        _enter(self.model, self._fresh)

    @torch.no_grad()
    def _take(self, share: float) -> None:
        now = self._tensors()
        moving = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._average[n] for n in moving], [now[n] for n in moving], share)
        for name in now.keys() - set(moving):
            self._average[name].copy_(now[name])
        self._fresh = {}

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, value in self._tensors().items():
            own = value.clone()
            value.copy_(self._average[name])
            self._average[name].copy_(own)

    def _tensors(self) -> dict[str, Tensor]:
        """Give parameters and buffers but no statistics, each once, tied ones under their first name."""
        own = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        return {name: value for name, value in own.items() if name not in self._left_out}

    def _copied(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self._tensors().items()}

    def state_dict(self) -> dict[str, object]:
        """Give what it remembers; the statistics follow from it."""
        return {"updates": self.updates, "average": self._average}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take what ``state_dict`` gave."""
        self.updates = int(str(state["updates"]))
        average = state["average"]
        assert isinstance(average, dict)
        self._average = self._copied() if average else {}
        for name, value in self._average.items():  # an earlier version's has statistics besides, which are left out
            value.copy_(average[name])
        self._fresh = {}


@torch.no_grad()
def _enter(model: nn.Module, statistics: Mapping[str, Tensor]) -> None:
    own = norms.buffers(model) if statistics else {}
    for name, value in statistics.items():
        own[name].copy_(value)
