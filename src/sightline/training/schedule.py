"""A step -> the learning rate of that step, as a pure function; and the one schedule that listens to the loss.

Steps count optimizer updates from 0. Beyond the last step the rate stays where the schedule ended.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from sightline.errors import SettingsError, did_you_mean

START = 1 / 25
"""Where one-cycle's rise begins, as a share of the peak (Smith & Topin 2019)."""

END = 1e-4 / 25
"""Where one-cycle ends, as a share of the peak."""


@dataclass(frozen=True)
class Shape:
    """A schedule as data: the rise to the peak and what comes after it, as shares of the peak.

    Attributes:
        rise: position 0..1 in the warm-up -> share 0..1.
        fall: position 0..1 in the steps behind the warm-up -> share 0..1.
        description: one line.
    """

    rise: Callable[[float], float]
    fall: Callable[[float], float]
    description: str


def _linear(position: float) -> float:
    return position


def _cosine(low: float, high: float, position: float) -> float:
    return low + (high - low) * (1 - math.cos(math.pi * position)) / 2


SCHEDULES: dict[str, Shape] = {
    "constant": Shape(_linear, lambda position: 1.0, "the same all the time"),
    "step": Shape(
        _linear,
        lambda position: 0.1 ** ((position >= 0.5) + (position >= 0.75)),
        "a tenth after half of the steps, a hundredth after three quarters (He et al. 2016)",
    ),
    "cosine": Shape(
        _linear, lambda position: _cosine(1.0, 0.0, position), "half a cosine down to 0 (Loshchilov & Hutter 2017)"
    ),
    "onecycle": Shape(
        lambda position: _cosine(START, 1.0, position),
        lambda position: _cosine(1.0, END, position),
        "half a cosine from 1/25 of the peak up, and another down to almost 0 (Smith & Topin 2019)",
    ),
    "triangular": Shape(_linear, lambda position: 1.0 - position, "straight up, straight down to 0 (Smith 2017)"),
    "cyclic": Shape(
        _linear,
        lambda position: _cosine(1.0, 0.0, position),
        "half a cosine down to 0, and again from the peak, several times (Loshchilov & Hutter 2017, Huang et al. 2017)",
    ),
    "plateau": Shape(_linear, lambda position: 1.0, "a tenth whenever the loss has not fallen for some epochs"),
}
"""Name -> shape. The warm-up is a straight line from 0 except for one-cycle, whose rise it is."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a pure function of the step.

    Attributes:
        name: a key of ``SCHEDULES``.
        lr: the peak.
        steps: optimizer updates in all.
        warmup_steps: updates in which the rate rises to the peak, 0..steps.
        ends: updates that are done when a cycle ends, rising, the last one ``steps``; empty: one cycle.
        hold: update from which on the rate stays where it is; None never.
    """

    name: str
    lr: float
    steps: int
    warmup_steps: int = 0
    ends: tuple[int, ...] = ()
    hold: int | None = None

    def factor(self, step: int) -> float:
        """Give the rate of an update as a share of the peak, 0..1.

        The first update of the warm-up already moves the weights, and the last update of all is not wasted at 0.
        """
        shape = SCHEDULES[self.name]
        step = step if self.hold is None else min(step, self.hold)
        if step < self.warmup_steps:
            return shape.rise((step + 1) / (self.warmup_steps + 1))
        ends = self.ends or (self.steps,)
        cycle = min(bisect_right(ends, step), len(ends) - 1)
        begin = ends[cycle - 1] if cycle else self.warmup_steps
        return shape.fall(min(1.0, (step - begin) / max(1, ends[cycle] - begin)))

    def __call__(self, step: int) -> float:
        """Give the learning rate of an update."""
        return self.lr * self.factor(step)


@dataclass
class Plateau:
    """A warm-up, then the peak until the loss stands still: each time the rate falls to a tenth.

    Attributes:
        lr: the peak.
        warmup_steps: updates in which the rate rises to the peak.
        patience: epochs without a lower loss that are borne before the rate falls.
        drop: what the rate is multiplied by, 0 < drop < 1.
        lowest: share of the peak below which it does not fall.
    """

    lr: float
    warmup_steps: int = 0
    patience: int = 5
    drop: float = 0.1
    lowest: float = 1e-3
    best: float = math.inf
    waited: int = 0
    share: float = 1.0

    def factor(self, step: int) -> float:
        """Give the rate of an update as a share of the peak, 0..1."""
        return self.share * ((step + 1) / (self.warmup_steps + 1) if step < self.warmup_steps else 1.0)

    def __call__(self, step: int) -> float:
        """Give the learning rate of an update."""
        return self.lr * self.factor(step)

    def see(self, loss: float) -> None:
        """Take the loss of an epoch; a NaN is no improvement."""
        if loss < self.best:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.share, self.waited = max(self.share * self.drop, self.lowest), 0

    def state_dict(self) -> dict[str, float]:
        """Give what it remembers."""
        return {"best": self.best, "waited": self.waited, "share": self.share}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take what ``state_dict`` gave."""
        self.best, self.waited, self.share = state["best"], int(state["waited"]), state["share"]


def cycle_ends(epochs: int, cycles: int) -> tuple[int, ...]:
    """Divide epochs among cycles as evenly as can be: the epochs after which one ends, numbered from 1.

    Raises:
        SettingsError: there are more cycles than epochs.
    """
    if cycles > epochs:
        raise SettingsError(
            f"{cycles} cycles do not fit into {epochs} epochs.", f"Use at most cycles={epochs}, or more epochs."
        )
    return tuple(round(epochs * cycle / cycles) for cycle in range(1, cycles + 1))


def averaged_epochs(epochs: int, share: float, ends: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Give the epochs after which weights enter an equal average (Izmailov et al. 2018), numbered from 1.

    Args:
        epochs: of the training.
        share: of the training, its last: above 0, below 1; at least one epoch.
        ends: the epochs after which cycles end: only these count; empty: all do.
    """
    before = epochs - max(1, round(share * epochs))
    return tuple(epoch for epoch in ends or range(1, epochs + 1) if epoch > before)


def build(
    name: str,
    *,
    lr: float,
    steps: int,
    warmup: float = 0.1,
    ends: tuple[int, ...] = (),
    hold: int | None = None,
) -> Schedule | Plateau:
    """Build a schedule by its name.

    Args:
        name: a key of ``SCHEDULES``.
        lr: the peak learning rate, above 0.
        steps: optimizer updates in all, at least 1.
        warmup: share of the steps (of the first cycle, where there are several) in which the rate rises, 0..1; the
            place of the peak for ``triangular`` and ``onecycle``.
        ends: see ``Schedule``.
        hold: see ``Schedule``; a plateau is never held.

    Raises:
        SettingsError: the name is unknown or a number is out of range.
    """
    if name not in SCHEDULES:
        raise SettingsError(
            f"unknown schedule '{name}'.{did_you_mean(name, SCHEDULES)}", f"The schedules are: {', '.join(SCHEDULES)}."
        )
    if steps < 1 or not 0 <= warmup < 1 or not lr > 0:
        raise SettingsError(
            f"a schedule with lr={lr}, {steps} steps and a warm-up of {warmup} cannot be.",
            "Give lr above 0, at least 1 step, and a warm-up of at least 0 and below 1.",
        )
    if ends and (ends[-1] != steps or ends[0] < 1 or any(one >= other for one, other in pairwise(ends))):
        raise SettingsError(f"cycles that end after {ends} of {steps} steps cannot be.", "Let them rise to the last.")
    warmup_steps = round(warmup * (ends[0] if ends else steps))
    if name == "plateau":
        return Plateau(lr, warmup_steps)
    return Schedule(name, lr, steps, warmup_steps, ends, hold)
