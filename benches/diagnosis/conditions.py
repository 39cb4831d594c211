"""What is wrong with a labelled run: each condition by name, what it does to images, settings or weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

EPOCHS = 30
"""Epochs after which a healthy run of the bench has converged."""


@dataclass
class Setup:
    """A run about to be trained, which a condition may change.

    Attributes:
        x: all images, uint8 or float32, first axis images.
        y: int64, their labels.
        train: rows to train on.
        valid: rows that the diagnosis sees.
        oracle: rows that only the oracle sees.
        random: what a condition draws from.
        narrow: options that leave the network too little capacity.
        settings: fields of ``Settings``; ``lr_factor`` multiplies the rate that the recipe chooses.
        weights: changes the untrained network.
    """

    x: NDArray[Any]
    y: NDArray[np.int64]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    oracle: NDArray[np.int64]
    random: np.random.Generator
    narrow: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    weights: Callable[[nn.Module], None] | None = None


def _nothing(setup: Setup) -> None: ...


def _settings(**values: Any) -> Callable[[Setup], None]:
    return lambda setup: setup.settings.update(values)


def _rate(factor: float) -> Callable[[Setup], None]:
    def change(setup: Setup) -> None:
        setup.settings["lr_factor"] *= factor

    return change


def _small(setup: Setup) -> None:
    setup.settings["options"] = setup.narrow


def _overfit(setup: Setup) -> None:
    setup.train = setup.train[: len(setup.train) // 2]
    setup.settings |= {"augment": "none", "epochs": 2 * EPOCHS, "schedule": "constant"}


def _noise(share: float) -> Callable[[Setup], None]:
    def change(setup: Setup) -> None:
        rows = np.concatenate([setup.train, setup.valid])
        wrong = rows[setup.random.random(len(rows)) < share]
        shifts = setup.random.integers(1, setup.y.max() + 1, len(wrong))
        setup.y[wrong] = (setup.y[wrong] + shifts) % (setup.y.max() + 1)

    return change


def _duplicates(share: float) -> Callable[[Setup], None]:
    def change(setup: Setup) -> None:
        count = max(1, round(share * len(setup.valid)))
        copied = setup.random.choice(setup.train, count, replace=len(setup.train) < count)
        setup.x[setup.valid[:count]], setup.y[setup.valid[:count]] = setup.x[copied], setup.y[copied]

    return change


def _bright(setup: Setup) -> None:
    for rows in (setup.valid, setup.oracle):
        x = setup.x[rows].astype(np.float32)
        x = x * 0.6 + 0.4 * (255 if setup.x.dtype == np.uint8 else np.abs(x).max())
        setup.x[rows] = x.astype(setup.x.dtype)


def _turned(setup: Setup) -> None:
    for rows in (setup.valid, setup.oracle):
        x = setup.x[rows]
        setup.x[rows] = np.rot90(x, 1, (1, 2)) if x.ndim == 4 else x[..., ::-1]


def _priors(setup: Setup) -> None:
    late = setup.y[setup.train] >= (setup.y.max() + 1) / 2
    setup.train = setup.train[~late | (setup.random.random(len(late)) < 0.1)]


def _dead(setup: Setup) -> None:
    def push(model: nn.Module) -> None:
        *hidden, _ = [part for part in model.modules() if getattr(part, "bias", None) is not None]
        for part in hidden:
            part.bias.data.sub_(30.0)

    setup.weights = push


def _explode(setup: Setup) -> None:
    def grow(model: nn.Module) -> None:
        for part in model.modules():
            if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear):
                part.weight.data.mul_(8.0)

    setup.weights = grow


@dataclass(frozen=True)
class Condition:
    """Something done to a run.

    Attributes:
        change: does it.
        cause: kind of underfit that it makes, or "".
        findings: codes of which one has to be found, where the oracle confirms that it harms; empty: none has to.
        hard: whether it is a hard failure: numbers or wiring.
        without: networks and data sets that cannot have it.
        since: halves that are older than it.
    """

    change: Callable[[Setup], None]
    cause: str = ""
    findings: tuple[str, ...] = ()
    hard: bool = False
    without: tuple[str, ...] = ()
    since: tuple[str, ...] = ()


LOUD = ("training/rate-too-high", "training/diverged", "training/not-finite", "training/learnt-nothing", "setup/rate")
LARGE = ("setup/first-loss", "setup/first-weights", "training/exploding-gradients")
SMOOTH = ("bigru", "tanh-net", "transformer", "logistic", "elu-net", "leaky", "wide", "gelu-net", "gelu-cnn")
DIFFERS = ("data/validation-differs",)

CONDITIONS: dict[str, Condition] = {
    "healthy": Condition(_nothing),
    "undertrained": Condition(_settings(epochs=EPOCHS // 8), "trained too short"),
    "rate-low": Condition(_rate(0.01), "learning rate is too low", ("training/rate-too-low",)),
    "small": Condition(_small, "too little capacity", without=("logistic",)),
    "regularised": Condition(_settings(dropout=0.95), "over-regularised"),
    "overfit": Condition(_overfit),
    "noise-10": Condition(_noise(0.10), findings=("data/label-noise",)),
    "noise-20": Condition(_noise(0.20), findings=("data/label-noise",)),
    "noise-40": Condition(_noise(0.40), findings=("data/label-noise",)),
    "duplicates-5": Condition(_duplicates(0.05), findings=("data/leak",)),
    "duplicates-20": Condition(_duplicates(0.20), findings=("data/leak",)),
    "bright": Condition(_bright, findings=DIFFERS),
    "turned": Condition(_turned, findings=DIFFERS, without=("control",)),
    "priors": Condition(_priors, findings=DIFFERS, without=("control",)),
    "rate-high": Condition(_rate(30), findings=LOUD, hard=True),
    "rate-wild": Condition(_rate(1e5), findings=LOUD, hard=True, since=("open", "second")),
    "dead": Condition(_dead, findings=("training/dead-units",), hard=True, without=SMOOTH),
    "explode": Condition(_explode, findings=LARGE, hard=True),
}
"""Every condition; ``healthy`` is none."""
