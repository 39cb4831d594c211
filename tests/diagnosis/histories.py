"""Made-up trainings whose truth is known: rows, and the loss of every validation image after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sightline.diagnosis.evidence import Evidence

K = 10
"""Classes of all made-up trainings."""


def falling(epochs: int, start: float, end: float, pace: float = 6.0) -> np.ndarray:
    """Fall from ``start`` towards ``end`` and arrive there: (1 - exp(-pace t))."""
    t = np.arange(1, epochs + 1) / epochs
    return end + (start - end) * np.exp(-pace * t)


def make(
    valid: Sequence[float],
    probe: Sequence[float],
    *,
    train: Sequence[float] | None = None,
    accuracy: Sequence[float] | None = None,
    lr: Sequence[float] | None = None,
    images: int | None = 400,
    noise: float = 0.0,
    seed: int = 0,
    **known: Any,
) -> Evidence:
    """Bring curves together, with losses of single images that have the curve as their mean.

    Args:
        valid: mean validation loss of each epoch.
        probe: training loss in evaluation mode.
        train: training loss as trained; a little above the probe's if it is left out.
        accuracy: share recognised; what fits the loss if it is left out.
        lr: learning rates.
        images: validation images; None gives no losses of single ones.
        noise: standard deviation of an epoch's luck, which all images share.
        seed: of the images and of the noise.
        **known: other fields of ``Evidence``.
    """
    random = np.random.default_rng(seed)
    valid = np.asarray(valid, dtype=float) + noise * random.standard_normal(len(valid))
    probe = np.asarray(probe, dtype=float)
    train = probe * 1.1 + 0.02 if train is None else np.asarray(train, dtype=float)
    accuracy = np.exp(-valid * 0.8) if accuracy is None else np.asarray(accuracy, dtype=float)
    examples = None
    if images:
        # Each image keeps its own difficulty over the epochs: skewed, with mean 1, as losses of images are.
        weight = random.gamma(0.4, 1 / 0.4, images)
        shaken = random.gamma(20, 1 / 20, (len(valid), images))
        examples = weight * shaken
        examples *= (valid / examples.mean(axis=1))[:, None]
    rows = [
        {
            "epoch": i + 1,
            "train_loss": float(train[i]),
            "valid_loss": float(valid[i]),
            "probe_loss": float(probe[i]),
            "valid_accuracy": float(accuracy[i]),
            **({"lr": float(lr[i])} if lr is not None else {}),
        }
        for i in range(len(valid))
    ]
    given: dict[str, Any] = {
        "classes": K,
        "images": {"train": 2000, "valid": images or 400},
        "prior": 1 / K,
        "settings": {"lr": 1e-3, "epochs": len(valid), "augment": "auto", "optimizer": "adamw"},
        "best_kept": True,
    }
    return Evidence(rows=rows, examples=examples, **{**given, **known})


def healthy(epochs: int = 40, **more: Any) -> Evidence:
    """A training that fits, generalises and stays there."""
    return make(falling(epochs, 1.2, 0.25), falling(epochs, 1.1, 0.10), **more)


def overfitted(epochs: int = 40, rise: float = 0.5, **more: Any) -> Evidence:
    """Validation turns around at a third of the epochs, in loss and in errors, while training goes to nothing."""
    t = np.arange(epochs) / epochs
    valid = 0.5 + 0.7 * np.exp(-12 * t) + 0.5 * rise * np.maximum(0, t - 0.33) / 0.67
    accuracy = 0.84 - 0.3 * np.exp(-12 * t) - 0.08 * np.maximum(0, t - 0.33) / 0.67
    return make(valid, falling(epochs, 1.0, 0.002, 9), **{"accuracy": accuracy, **more})


def overconfident(epochs: int = 40, **more: Any) -> Evidence:
    """The loss rises as in ``overfitted``, but ever more images are recognised."""
    t = np.arange(epochs) / epochs
    return overfitted(epochs, accuracy=0.86 - 0.3 * np.exp(-8 * t), **more)


def undertrained(epochs: int = 20, **more: Any) -> Evidence:
    """Both losses fall steadily to the end."""
    t = np.arange(1, epochs + 1)
    return make(2.2 * t**-0.45, 2.15 * t**-0.47, **more)


def flat(epochs: int = 40, level: float = 1.3, **more: Any) -> Evidence:
    """Both losses arrive early, far above what could be."""
    return make(falling(epochs, 2.2, level + 0.05, 14), falling(epochs, 2.2, level, 14), **more)


TRUTHS: dict[str, Callable[..., Evidence]] = {
    "well fitted": healthy,
    "overfitted": overfitted,
    "over-confident": overconfident,
    "underfitted": undertrained,
}
"""Verdict -> a training of that kind."""
