"""A model and batches -> the loss while the learning rate rises, and the rate to train with (Smith 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.errors import SettingsError, TrainingError
from sightline.progress import Progress
from sightline.training.batches import Feed
from sightline.training.freezing import Freezing
from sightline.training.precision import Precision, full
from sightline.training.untouched import untouched

SMOOTHING = 0.9
"""Share of the past in the smoothed loss."""

DIVERGED = 4.0
"""The test ends when the smoothed loss is this many times the lowest."""


@dataclass(frozen=True)
class Range:
    """What a range test found.

    Attributes:
        rates: the learning rates tried, rising.
        losses: the loss of the batch at each.
        smoothed: the same without the noise of single batches.
        suggestion: a rate to train with, or None if the loss never fell.
        sentence: the finding in words.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain JSON values."""
        return {
            "suggestion": self.suggestion,
            "sentence": self.sentence,
            "rows": [
                {"lr": rate, "loss": loss, "smoothed": smooth}
                for rate, loss, smooth in zip(self.rates, self.losses, self.smoothed, strict=True)
            ],
        }


def find(
    model: nn.Module,
    batches: Iterable[Any],
    loss_fn: Callable[[Any, Tensor], Tensor],
    optimizer: Optimizer,
    *,
    precision: Precision | None = None,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    progress: Progress | None = None,
    freezing: Freezing | None = None,
) -> Range:
    """Train with a learning rate that rises by the same factor each step, until the loss diverges.

    Model, optimizer, a loader that knows its position, and torch's generators are exactly as before afterwards.

    Args:
        model: with the weights a training would begin with.
        batches: (x, y); read again from the beginning if there are fewer than ``steps``.
        loss_fn: called ``loss_fn(yhat, y)``, gives the mean of a batch.
        optimizer: over the model's parameters; its groups keep the ratios of their rates, the highest is tried.
        precision: as in training; fp32 otherwise.
        low: first rate.
        high: last rate.
        steps: rates tried at most.
        progress: shows how far it is.
        freezing: which parameters stay as they are, as in the first epoch.

    Returns:
        The curve, and a tenth of the rate at its lowest point as suggestion: there it falls fast, with room above.

    Raises:
        SettingsError: the range is none.
        TrainingError: the loss is not finite at the lowest rate already.
    """
    if not 0 < low < high or steps < 10:
        raise SettingsError(
            f"a range test from {low} to {high} in {steps} steps cannot be.", "Use 0 < low < high and 10 steps or more."
        )
    before = next(model.parameters()).device
    precision = precision or Precision("fp32", before, channels_last=False)
    model.to(precision.device)
    feed = Feed(batches, steps, precision.device, name="batches")
    rates: list[float] = []
    found: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    place = feed.state_dict()
    highest = max(group["lr"] for group in optimizer.param_groups)
    shares = [group["lr"] / highest if highest else 1.0 for group in optimizer.param_groups]
    try:
        with untouched(model, optimizer), (progress or Progress()).task("Learning rates", total=steps) as task:
            model.train()
            (freezing or Freezing()).apply(model, 1)
            for number, (x, y) in enumerate(feed.epoch()):
                rate = low * (high / low) ** (number / (steps - 1))
                for group, share in zip(optimizer.param_groups, shares, strict=True):
                    group["lr"] = rate * share
                with precision.forward():
                    yhat = model(x)
                loss = loss_fn(full(yhat), y)
                precision.backward(loss)
                precision.step(optimizer)
                value = float(loss.detach())
                average = SMOOTHING * average + (1 - SMOOTHING) * value
                smooth = average / (1 - SMOOTHING ** (number + 1))
                if not math.isfinite(value) or (smoothed and smooth > DIVERGED * min(smoothed)):
                    break
                rates.append(rate)
                found.append(value)
                smoothed.append(smooth)
                task.advance()
    finally:
        feed.load_state_dict(place)
        model.to(before)
    if not rates:
        raise TrainingError(
            f"the loss is {value} at a learning rate of {low:g} already.", "Look for NaN in the data or the weights."
        )
    suggestion, sentence = _advise(rates, smoothed, whole=len(rates) == steps)
    return Range(rates, found, smoothed, suggestion, sentence)


def _advise(rates: list[float], smoothed: list[float], *, whole: bool) -> tuple[float | None, str]:
    lowest = min(range(len(rates)), key=lambda number: smoothed[number])
    if lowest == 0:
        return None, "the loss fell at no rate: the network does not learn from these batches"
    suggestion = float(f"{rates[lowest] / 10:.1e}")
    if whole and lowest == len(rates) - 1:
        return suggestion, f"the loss still fell at {rates[-1]:.2g}, the highest rate tried; {suggestion:g} is safe"
    return (
        suggestion,
        f"the loss was lowest at {rates[lowest]:.2g}; a tenth of that, {suggestion:g}, is a good peak rate",
    )
