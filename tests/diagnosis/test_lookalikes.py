"""Healthy trainings that look ill to a tool which only looks at curves, or at fixed numbers: no false alarm.

Each is made as the real thing looks: means over epochs, the losses of single images, settings, what instruments see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import histories
import numpy as np
import pytest
from histories import falling, healthy, make

from sightline.diagnosis.evidence import Evidence
from sightline.diagnosis.verdict import judge

T = np.arange(1, 41)


def settings(evidence: Evidence, **values: Any) -> Evidence:
    return replace(evidence, settings={**evidence.settings, **values})


def steps(*levels: float, each: int = 10) -> np.ndarray:
    """A level for ``each`` epochs, reached from the one before within two."""
    parts, before = [], levels[0] * 1.6
    for level in levels:
        parts.append(level + (before - level) * np.exp(-1.5 * np.arange(1, each + 1)))
        before = level
    return np.concatenate(parts)


def double_descent() -> Evidence:
    """20 % wrong labels: the loss has a hump while they are learnt by heart, then falls below its first dip."""
    hump = 0.25 * np.exp(-(((T - 14) / 5.0) ** 2))
    valid = falling(40, 2.0, 0.85, 5) + hump - 0.06 * np.maximum(0, T - 20) / 20
    return make(valid, falling(40, 2.0, 0.25, 5), accuracy=0.75 - 0.2 * hump - 0.3 * np.exp(-T / 4))


def tails() -> Evidence:
    """Three of 400 images cost 9 nats from the first epoch to the last."""
    evidence = healthy()
    assert evidence.examples is not None
    each = evidence.examples.copy()
    each[:, :3] = 9.0
    rows = [{**row, "valid_loss": float(mean)} for row, mean in zip(evidence.rows, each.mean(axis=1), strict=True)]
    return replace(evidence, rows=rows, examples=each)


def restless(seed: int) -> np.ndarray:
    """Jumps that grow small with the square of the learning rate."""
    return 0.25 * np.abs(np.random.default_rng(seed).standard_normal(40)) * np.linspace(1, 0, 40) ** 2


def spiked() -> Evidence:
    valid = falling(40, 1.2, 0.25)
    valid[22] *= 3
    return make(valid, falling(40, 1.1, 0.10))


def instrumented(**layers: float) -> Evidence:
    rows = [{"epoch": epoch, "lr": 1e-3, **layers} for epoch in (1, 20, 40)]
    return replace(healthy(), instruments=rows)


FINE = falling(40, 1.2, 0.25)
LOW = falling(40, 1.1, 0.10)

LOOKALIKES: dict[str, Callable[[], Evidence]] = {
    "dropout-heavy: validation below training as trained": lambda: settings(
        make(FINE, LOW, train=LOW + 0.45), dropout=0.5
    ),
    "a step of the learning rate": lambda: make(
        steps(0.6, 0.4, 0.33, 0.32), steps(0.5, 0.25, 0.14, 0.12), lr=np.repeat([0.1, 0.01, 0.001, 0.0001], 10)
    ),
    "label smoothing in the training loss only": lambda: settings(
        make(FINE, LOW, train=LOW + 0.55), label_smoothing=0.1
    ),
    "99.3 % of handwritten digits": lambda: make(
        falling(20, 0.3, 0.025, 8), falling(20, 0.25, 0.004, 8), noise=0.002,
        accuracy=0.993 - 0.05 * np.exp(-np.arange(20)),
    ),
    "standardised inputs, far beyond -1 to 1": lambda: settings(healthy(), normalise="pixel"),
    "SGD with a learning rate of 0.1": lambda: settings(
        replace(healthy(), instruments=[{"epoch": e, "lr": 0.1, "update/c": 4e-3, "update/fc": 9e-3} for e in (1, 40)]),
        optimizer="sgd",
        lr=0.1,
    ),
    "batches of four with batch norm: everything shakes": lambda: make(
        FINE, LOW, train=LOW + 0.2 + 0.04 * np.random.default_rng(3).standard_normal(40), noise=0.02
    ),
    "epoch-wise double descent": double_descent,
    "mixup: the training loss cannot fall": lambda: settings(
        make(FINE, LOW, train=np.full(40, 1.1)), augment="strong,mixup=0.4"
    ),
    "strong augmentation": lambda: settings(make(FINE + 0.1, LOW + 0.12, train=LOW + 0.6), augment="strong"),
    "40 validation images": lambda: make(FINE, LOW, images=40, noise=0.01),
    "nothing that doubles": lambda: make(
        np.concatenate([falling(20, 0.5, 1e-4, 12), np.linspace(1e-4, 2e-4, 20)]), falling(40, 0.4, 1e-5, 12),
        accuracy=np.full(40, 1.0)),
    "the best epoch came early, and nothing happened since": lambda: make(
        falling(60, 1.2, 0.3, 25), falling(60, 1.1, 0.15, 20), noise=0.004
    ),
    "warm restarts": lambda: make(
        0.3 + 0.25 * (1 - (T % 10) / 10) * (T % 10 > 0) + 0.4 * np.exp(-T / 6),
        0.12 + 0.25 * (1 - (T % 10) / 10) * (T % 10 > 0) + 0.4 * np.exp(-T / 6),
        lr=1e-3 * (0.5 + 0.5 * np.cos(np.pi * (T % 10) / 10)),
    ),
    "one cycle: a hump where the rate is highest": lambda: make(
        0.25 + 0.5 * np.exp(-T / 5) + 0.15 * np.exp(-(((T - 14) / 6.0) ** 2)),
        0.10 + 0.5 * np.exp(-T / 5) + 0.15 * np.exp(-(((T - 14) / 6.0) ** 2)),
        lr=1e-3 * np.sin(np.pi * (T + 0.5) / 42) ** 2,
    ),
    "fine-tuning: it begins where others end": lambda: make(falling(20, 0.34, 0.27, 5), falling(20, 0.25, 0.14, 5)),
    "two classes": lambda: make(falling(40, 0.6, 0.14), falling(40, 0.55, 0.07), classes=2, prior=0.5),
    "nine in ten are of one class": lambda: make(
        falling(40, 0.4, 0.16), falling(40, 0.4, 0.08), classes=2, prior=0.9, accuracy=0.95 - 0.05 * np.exp(-T / 5)
    ),
    "a thousand classes": lambda: make(
        falling(40, 6.5, 1.1), falling(40, 6.4, 0.55), classes=1000, prior=0.001, images=1000
    ),
    "all is learnt by heart, and no harm done": lambda: make(falling(40, 1.2, 0.5, 14), falling(40, 1.1, 0.001, 9)),
    "validation is the easier part": lambda: make(FINE - 0.02, LOW + 0.18),
    "a last epoch three per cent worse": lambda: make(
        np.concatenate([falling(39, 1.2, 0.25), [0.258]]), LOW, noise=0.002
    ),
    "one bad epoch in the middle": spiked,
    "a first epoch above guessing": lambda: make(
        np.concatenate([[2.9], falling(39, 1.2, 0.25)]), np.concatenate([[2.8], falling(39, 1.1, 0.1)])
    ),
    "restless while the rate is high, calm at the end": lambda: make(
        falling(40, 1.2, 0.25, 20) + restless(5),
        falling(40, 1.1, 0.10, 20) + restless(6),
        lr=1e-3 * np.linspace(1, 0, 40),
    ),
    "ended by patience: ten epochs of hardly more": lambda: make(
        np.concatenate([falling(25, 1.2, 0.25, 9), np.linspace(0.25, 0.256, 10)]), falling(35, 1.1, 0.08), noise=0.003
    ),
    "five epochs": lambda: make(
        [0.5, 0.33, 0.31, 0.305, 0.304], [0.4, 0.25, 0.2, 0.17, 0.16], lr=[5e-4, 1e-3, 7e-4, 2e-4, 1e-6]
    ),
    "three images that nothing recognises": tails,
    "a third of a layer is off, and it learns": lambda: instrumented(**{"dead/act1": 0.33, "dead/act2": 0.1}),
    "tanh at work: a fifth of the units saturated": lambda: instrumented(**{"saturated/c1_act": 0.2}),
    "weight decay as a penalty inside the training loss": lambda: settings(
        make(FINE, LOW, train=LOW + 0.4), weight_decay=0.05
    ),
    "averaged weights: validation ahead of training": lambda: settings(
        make(FINE, LOW + 0.02, train=LOW + 0.3), ema=0.999
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOKALIKES)
def test_no_false_alarm(name: str) -> None:
    verdict = judge(LOOKALIKES[name]())
    assert not verdict.problem, verdict.sentence
    assert [finding.code for finding in verdict.findings if finding.severity != "note"] == []


@pytest.mark.parametrize("name", LOOKALIKES)
def test_no_false_alarm_from_the_curves_alone(name: str) -> None:
    """As another tool would have left it: no losses of single images, no probe, K unknown."""
    evidence = LOOKALIKES[name]()
    bare = [{k: v for k, v in row.items() if not k.startswith("probe")} for row in evidence.rows]
    verdict = judge(Evidence(rows=bare, origin="keras"))
    assert verdict.kind not in ("broken", "overfitted", "over-confident"), verdict.sentence


def test_a_loss_that_rises_while_errors_fall_is_not_called_overfitting() -> None:
    assert judge(histories.overconfident()).kind == "over-confident"
    assert len(LOOKALIKES) + 1 >= 30
