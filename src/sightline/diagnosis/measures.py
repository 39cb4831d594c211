"""Evidence -> the quantities that the rules compare: rise, gap, level, slope, unrest, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis import intervals, trend
from sightline.diagnosis.evidence import Evidence
from sightline.diagnosis.intervals import Figure, Z
from sightline.diagnosis.limits import Limits
from sightline.diagnosis.trend import Rise

LEAST = 0.02
"""Share of the loss of guessing below which losses count as nothing: a rise from 0.001 to 0.002 nats harms nobody."""

FASTEST = 0.6
"""Share by which a validation loss may be expected to fall in twice the epochs: in 240 pairs of trainings of the open
parts of benches/diagnosis, one twice as long as the other, 0.56 was the most."""
MISSED = 0.14
"""What such a forecast misses by there: twice its standard deviation."""
SHORT = 3e-3
"""Largest step / weight below which nothing may be fitted in some tens of steps because they were too short."""


@dataclass(frozen=True, eq=False)
class Measures:
    """What the rules look at; a property that cannot be measured is None."""

    of: Evidence

    @property
    def epochs(self) -> int:
        """Epochs that are known."""
        return len(self.of.rows)

    @cached_property
    def scale(self) -> float:
        """The loss of guessing, nats; where K is unknown, the largest loss seen in the first epochs."""
        if self.of.chance is not None:
            return self.of.chance
        first = np.concatenate([self.of.valid[:2], self.of.fitted[:2]])
        return float(np.nanmax(first)) if np.isfinite(first).any() else 1.0

    @cached_property
    def finite(self) -> bool:
        """Whether losses are there for every epoch and none is NaN or infinite."""
        return self.of.has("valid_loss") and bool(np.isfinite(self.of.fitted).all())

    @cached_property
    def rise(self) -> Rise | None:
        """How much the validation loss rose from its minimum to the end."""
        if not self.finite or self.epochs < 2:
            return None
        return trend.rise(self.of.valid, self.of.examples, least=LEAST * self.scale)

    @cached_property
    def best(self) -> int:
        """The position (from 0) of the lowest smoothed validation loss."""
        return self.rise.epoch if self.rise else max(0, self.epochs - 1)

    @cached_property
    def fitted_change(self) -> float | None:
        """The change of the training loss from that epoch to the end, as a share of the loss there."""
        if self.rise is None:
            return None
        curve = trend.smooth(self.of.fitted, trend.window(self.epochs))
        return float((curve[-1] - curve[self.best]) / max(curve[self.best], LEAST * self.scale))

    @cached_property
    def error_change(self) -> Figure | None:
        """The change of the share of validation images mistaken, from that epoch to the end, with its interval."""
        after = self.of.probes.get("after")
        if after:
            return Figure.from_dict(after["error"])
        if not self.of.has("valid_accuracy") or self.rise is None:
            return None
        accuracy, at = self.of.column("valid_accuracy"), self.best
        if self.of.examples is not None and len(self.of.examples) == len(accuracy):
            each = self.of.examples
            wrong = [~trend.right(each[place], accuracy[place]) for place in (-1, at)]
            return trend.difference(*wrong)
        wide = trend.window(self.epochs)
        smooth = trend.smooth(accuracy, wide)
        value = float(smooth[at] - smooth[-1])
        n = self.of.number
        images = math.sqrt(max(smooth[at] * (1 - smooth[at]), 1e-4) / n) if n else 0.0
        half = Z * math.hypot(images, trend.shake(accuracy) * math.sqrt(2 / wide))
        return Figure(value, value - half, value + half)

    @cached_property
    def tempered(self) -> Figure | None:
        """The rise of the validation loss from the best epoch to the last, each divided by its own temperature."""
        after = self.of.probes.get("after")
        return Figure.from_dict(after["tempered"]) if after else None

    @cached_property
    def level(self) -> float | None:
        """What training images cost at the best epoch, as a share of guessing: 0 fitted, 1 nothing.

        Where nobody knows K the share of them that is mistaken stands for it; and without that, the loss beside that of
        the first epochs, in which much was learnt already: they count as half of guessing.
        """
        if not self.finite or not self.epochs:
            return None
        curve = trend.smooth(self.of.fitted, trend.window(self.epochs))
        if self.of.chance is not None:
            return float(curve[self.best] / self.scale) if self.scale > 0 else None
        known = [self.of.column(f"{part}_accuracy") for part in ("probe", "train", "valid")]
        right = next((values[self.best] for values in known if np.isfinite(values[self.best])), math.nan)
        if math.isfinite(right):
            return float(1 - right)
        return float(curve[self.best] / self.scale / 2) if self.scale > 0 else None

    @cached_property
    def end_level(self) -> float | None:
        """What training images cost in the end: below ``level`` where they were learnt further after the best epoch."""
        if self.level is None or self.fitted_change is None:
            return self.level
        return self.level * (1 + self.fitted_change)

    @cached_property
    def doubtful(self) -> float:
        """What wrong labels cost even a network that knows all the right ones, as a share of guessing."""
        noise, k = self.after("label_noise"), self.of.classes
        if not noise or not k or not noise.get("signs", True) or not 0 < noise["value"] < 1:
            return 0.0
        q = float(noise["value"])
        return min(1.0, (-(1 - q) * math.log(1 - q) - q * math.log(q / (k - 1))) / self.scale)

    @cached_property
    def gap(self) -> Figure | None:
        """Validation loss minus training loss at the best epoch, nats, with an interval over validation images."""
        if not self.finite or not self.epochs:
            return None
        at = self.best
        value = float(self.of.valid[at] - self.of.fitted[at])
        if self.of.examples is None:
            half = Z * trend.shake(self.of.valid - self.of.fitted)
            return Figure(value, value - half, value + half)
        each = np.asarray(self.of.examples[at], dtype=np.float64)
        shape = intervals.mean(each)
        if shape.low is None or shape.high is None:
            return Figure(value, None, None)
        return Figure(value, value - (shape.value - shape.low), value + (shape.high - shape.value))

    @cached_property
    def gap_share(self) -> float | None:
        """The gap as a share of the validation loss: 0 all is common to both parts, 1 all is gap."""
        if self.gap is None:
            return None
        above = float(self.of.valid[self.best])
        return self.gap.value / max(above, LEAST * self.scale)

    @cached_property
    def pace(self) -> Figure | None:
        """By what share the validation loss would fall in as many epochs again if it kept its pace; ``trend.gain``."""
        return self._gain(self.of.valid) if self.finite else None

    @cached_property
    def gain(self) -> Figure | None:
        """By what share the validation loss is expected to fall if the training went on as long again.

        The pace promises more than comes of it: a gap between validation and training loss does not close, so only what
        is lost on training images, too, can be gained; and nothing falls faster than anything was seen to. What this
        misses by was measured where trainings were made twice as long, and is in the interval.
        """
        if self.pace is None or self.pace.low is None or self.pace.high is None or self.gap_share is None:
            return self.pace
        common = 1 - min(1.0, max(0.0, self.gap_share))
        low, value, high = (
            common * min(FASTEST, max(-1.0, each)) for each in (self.pace.low, self.pace.value, self.pace.high)
        )
        return Figure(value, value - math.hypot(value - low, MISSED), value + math.hypot(high - value, MISSED))

    @cached_property
    def halves(self) -> tuple[float, float] | None:
        """The fall of the validation loss in the first and second half of the training; see ``trend.halves``.

        Counted from guessing; None where K is unknown or there is no loss.
        """
        if not self.finite or not self.epochs or self.of.chance is None:
            return None
        return trend.halves(self.of.valid, self.of.column("lr") if self.of.has("lr") else None, self.of.chance)

    def unslowed(self, limits: Limits) -> bool:
        """Whether the validation loss fell in the second half about as much as in the first: it has not arrived."""
        if self.halves is None:
            return False
        before, after = self.halves
        return after > 0 and before + after > 0 and after >= limits.unslowed * max(before, 0.0)

    @cached_property
    def fitted_gain(self) -> Figure | None:
        """Likewise the training loss."""
        return self._gain(self.of.fitted) if self.finite else None

    def _gain(self, losses: NDArray[np.float64]) -> Figure | None:
        rates = self.of.column("lr") if self.of.has("lr") else None
        return trend.gain(losses, rates, least=LEAST * self.scale)

    @cached_property
    def accuracy(self) -> Figure | None:
        """The share of validation images recognised at the best epoch, with its interval where n is known."""
        values = self.of.column("valid_accuracy")
        if not self.epochs or not np.isfinite(values).any():
            return None
        value = float(values[self.best] if np.isfinite(values[self.best]) else np.nanmax(values))
        n = self.of.number
        return intervals.share(value, n) if n else Figure(value, None, None)

    @cached_property
    def unrest(self) -> float:
        """The jumps of the training loss between epochs over the second half, as a share of its level."""
        losses = self.of.column("train_loss") if self.of.has("train_loss") else self.of.fitted
        half = losses[len(losses) // 2 :]
        if len(half) < 4 or not np.isfinite(half).all():
            return 0.0
        return trend.shake(half) / max(float(np.median(half)), LEAST * self.scale)

    @cached_property
    def update(self) -> float | None:
        """A step at the highest learning rate / weights, in norm: of the median layer, at the look where it is largest.

        Looks are taken where the rate is low, too; a step is proportional to it.
        """
        layers = [values for values in self.of.layers("update").values() if np.isfinite(values).any()]
        if not layers:
            return None
        rates = np.array([row.get("lr", math.nan) for row in self.of.instruments], dtype=np.float64)
        peak = self.of.column("lr") if self.of.has("lr") else rates
        with np.errstate(divide="ignore", invalid="ignore"):
            raised = np.nanmedian(np.stack(layers), axis=0) * np.nanmax(peak) / rates
        return float(raised[np.isfinite(raised)].max()) if np.isfinite(raised).any() else None

    @cached_property
    def squeezed(self) -> float | None:
        """Loss on one batch after the steps that were tried on it / before, with the better of two rates.

        None where it says nothing about the network: it was not tried, steps were too short, units are dead, or so much
        is dropped out that no batch can be fitted.
        """
        tries = [each for each in (self.after("one_batch") or {}).values() if each["verdict"] != "undecided"]
        left = [float(each["last"] / each["first"]) for each in tries if each["first"] > 0 and each["last"] >= 0]
        dead = [values[np.isfinite(values)] for values in self.of.layers("dead").values()]
        off = max((float(values[-1]) for values in dead if len(values)), default=0.0)
        if len(left) < 2 or self.update is None or off > 0.5:
            return None
        if self.update < SHORT or float(self.of.settings.get("dropout") or 0.0) >= 0.6:
            return None
        return min(left)

    @cached_property
    def beats(self) -> Figure | None:
        """Validation accuracy minus that of the better simple reference on pixels, with an interval."""
        reference = self.of.probes.get("reference")
        if not reference or self.accuracy is None or self.accuracy.low is None:
            return None
        n, m = self.of.number or 1, reference["images"]
        other = intervals.share(reference["accuracy"], m)
        value = self.accuracy.value - other.value
        assert self.accuracy.high is not None
        assert other.low is not None
        assert other.high is not None
        down = math.hypot(self.accuracy.value - self.accuracy.low, other.high - other.value)
        up = math.hypot(self.accuracy.high - self.accuracy.value, other.value - other.low)
        # Judged on the same images, the two agree on most of them, and their difference is known better than that.
        same = 0.7 if n == m else 1.0
        return Figure(value, value - same * down, value + same * up)

    def behind(self, by: float = 0.0) -> bool:
        """Say whether a simple classifier on pixels is right more often by more than that share, beyond chance."""
        return self.beats is not None and self.beats.high is not None and self.beats.high < -by

    @cached_property
    def promise(self) -> Figure | None:
        """The fall of a simple classifier's error that more augmentation would bring, as a share; see ``copies``.

        None where that was not asked, or of another augmentation than the training's.
        """
        found = self.after("promise")
        return Figure.from_dict(dict(found)) if found and found["now"] == self.of.settings.get("augment") else None

    def after(self, name: str) -> Mapping[str, Any] | None:
        """Give what a probe before or after the training found, or None."""
        found = self.of.probes.get(name)
        return found if isinstance(found, Mapping) else None
