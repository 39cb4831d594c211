"""Settings the user left open -> values chosen from the data and the machine, each with its reason in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.data.balance import decide
from sightline.data.images import Kind
from sightline.errors import SettingsError
from sightline.models.fitting import Fitted
from sightline.settings import Settings

PEAK_LR = {"sgd": 0.1, "adam": 1e-3, "adamw": 2e-3, "muon": 2e-3, "muonsgd": 0.24}
"""Peak learning rate per optimizer for a batch of 128; others get Adam's."""

WEIGHT_DECAY = {"sgd": 5e-4, "adam": 0.0, "adamw": 0.05, "muon": 0.05, "muonsgd": 4e-3}
"""Decoupled for AdamW (Loshchilov & Hutter 2019), added to the gradient elsewhere."""

DECOUPLED_DECAY = {"sgd": 5e-3}
"""Where the decay is apart from the gradient; others get AdamW's. SGD's is that above without its momentum of 0.9."""

CYCLES = 5
"""Cycles of ``schedule=cyclic``, if there are as many epochs."""


@dataclass(frozen=True)
class Plan:
    """Resolved settings and, for each one that was left open, why it is what it is.

    Attributes:
        settings: with nothing left open.
        reasons: setting -> why.
        fitted: the weights a training begins with, where it does not draw them.
    """

    settings: Settings
    reasons: dict[str, str]
    fitted: Fitted | None = None


def make(
    settings: Settings,
    *,
    counts: NDArray[np.int64],
    kind: Kind,
    size: Sequence[int],
    size_reason: str,
    pace: tuple[float, str] | None = None,
) -> Plan:
    """Fill in what the user left open; what he set is never changed.

    Args:
        settings: as given.
        counts: training images of each class, int64 (K,).
        kind: what the data are.
        size: spatial size the pixels were packed at.
        size_reason: why that size.
        pace: factor on the learning rate of layers that come with weights, and why; None where there are none.

    Raises:
        SettingsError: the batch is larger than the training set, or there is no such way to balance classes.
    """
    train = int(counts.sum())
    values: dict[str, object] = {}
    reasons: dict[str, str] = {}

    def choose(name: str, value: object, reason: str) -> None:
        if getattr(settings, name) is None:
            values[name] = value
            reasons[name] = reason

    if settings.batch_size is not None and settings.batch_size > train:
        raise SettingsError(
            f"'batch_size' is {settings.batch_size}, but there are only {train} training images.",
            f"Use at most --batch-size {train}; {batch_size(train)} would be a usual choice.",
        )
    balance, why = decide(settings.balance, counts, kind)
    values["balance"] = str(balance)
    if why:
        reasons["balance"] = why
    if settings.monitor is None:
        values["monitor"] = "valid_loss" if balance.method == "none" else "valid_balanced_loss"
        if balance.method != "none":
            reasons["monitor"] = "the mean of the classes' losses: the best epoch is chosen for what is trained for"
    if len(size) == 2:
        choose("image_size", tuple(size) if size[0] != size[1] else size[0], size_reason)
    batch = settings.batch_size or batch_size(train)
    choose("batch_size", batch, f"{train} training images: about 10 steps an epoch or more, at most 128 a step")
    if settings.minutes is None:
        choose(
            "epochs", epochs(balance.epoch_length(counts)), "about 20,000 images seen in all, within 15 to 60 epochs"
        )
    optimizer = settings.optimizer.lower()
    peak = PEAK_LR.get(optimizer, PEAK_LR["adam"])
    lr = float(f"{peak * math.sqrt(batch / 128):.2g}")
    choose("lr", lr, f"{peak:g} for {settings.optimizer} at batch 128, times the root of {batch}/128")
    if pace is not None:
        choose("old_lr", *pace)
        if settings.thaw_epoch and settings.epochs and settings.thaw_epoch > settings.epochs:
            raise SettingsError(
                f"'thaw_epoch' is {settings.thaw_epoch}, but there are only {settings.epochs} epochs.",
                "Thaw earlier, or leave it out: frozen layers then stay as they are.",
            )
    if settings.decoupled:
        decay = DECOUPLED_DECAY.get(optimizer, WEIGHT_DECAY["adamw"])
        choose("weight_decay", decay, f"usual for {settings.optimizer} where it is apart from the gradient")
    else:
        choose("weight_decay", WEIGHT_DECAY.get(optimizer, 0.0), f"usual for {settings.optimizer}")
    return Plan(settings.model_copy(update=values), reasons)


def with_cycles(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """Choose the cycles of a cyclic schedule, once the epochs are known, and give the reason."""
    if settings.schedule != "cyclic" or settings.cycles is not None:
        return settings, {}
    assert settings.epochs is not None
    return settings.model_copy(update={"cycles": min(CYCLES, settings.epochs)}), {
        "cycles": f"usual for snapshots, if there are {CYCLES} epochs"
    }


def batch_size(train: int) -> int:
    """Choose a power of two that leaves about 10 steps an epoch, within 8 and 128 (or all, if fewer)."""
    return min(train, 128, max(8, 1 << int(math.log2(max(1, train / 10)))))


def epochs(train: int) -> int:
    """Choose the passes that show about 20,000 images, within 15 and 60."""
    return min(60, max(15, round(20_000 / train)))


def fit_minutes(minutes: float, *, step_s: float, steps: int, eval_s: float) -> tuple[int, int | None]:
    """Choose how much training fits into a time.

    Args:
        minutes: the time there is.
        step_s: seconds of one training step, measured.
        steps: steps of one epoch.
        eval_s: seconds of one evaluation (validation and probe), measured.

    Returns:
        Epochs, and steps per epoch where not even one whole epoch fits (else None). A tenth of the
        time is kept for the final evaluation and the report.
    """
    seconds = minutes * 60 * 0.9
    whole = int(seconds / (steps * step_s + eval_s))
    if whole >= 1:
        return min(whole, 300), None
    return 1, max(1, min(steps, int((seconds - eval_s) / step_s)))
