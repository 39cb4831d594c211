"""Streams and a network about to be trained -> all probes of it, and those after the last epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.diagnosis import doubts, ends, kernel, pixels, setup, starts
from sightline.diagnosis.evidence import Evidence
from sightline.diagnosis.measures import Measures
from sightline.finding import Finding
from sightline.training.batches import Feed
from sightline.training.precision import Precision

TRAIN, VALID, AUGMENTED = 1500, 1000, 300
"""Images that probes look at, at most."""

RULES = (
    starts.one_batch,
    starts.ignores_input,
    starts.setup_rate,
    starts.first_loss,
    starts.first_weights,
    starts.augmentation,
    doubts.label_noise,
    doubts.validation_differs,
)
"""What can be told of a network about to be trained."""


def before(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[..., Tensor],
    precision: Precision,
    *,
    plain: Iterable[Any],
    valid: Iterable[Any],
    augmented: tuple[Tensor, Tensor],
    classes: tuple[str, ...],
) -> dict[str, Any]:
    """Try what can be tried in seconds; nothing is changed.

    Args:
        model: untrained, on its device.
        optimizer: of the training.
        loss_fn: of the training.
        precision: of the training.
        plain: batches of training images without augmentation, in an order that mixes the classes.
        valid: batches of validation images.
        augmented: a batch of training images as training gets them, labels (B,) or shares of classes (B, K).
        classes: K names.

    Returns:
        by name of the probe what it found, plain JSON values: the content of ``probes.json``.
    """
    device = precision.device
    x, y = _gathered(plain, TRAIN, device)
    held_x, held_y = _gathered(valid, VALID, device)
    few = slice(0, min(len(y), 128))
    one = torch.linspace(0, len(y) - 1, min(setup.BATCH, len(y))).long()
    batch = x[one].to(device), y[one].to(device)
    found: dict[str, Any] = {
        "first_loss": setup.first_loss(model, x[few].to(device), y[few].to(device), loss_fn, precision, len(classes)),
        "first_weights": setup.first_weights(model),
        "zero_input": setup.zero_input(model, batch[0], precision),
        "one_batch": {
            "reference": setup.one_batch(model, *batch, loss_fn, precision),
            "own": setup.one_batch(model, *batch, loss_fn, precision, optimizer),
        },
    }
    small, held, labels = pixels.shrunk(x), pixels.shrunk(held_x), y.cpu().numpy()
    found["reference"] = pixels.reference(small, labels, held, held_y.cpu().numpy())
    found["domain"] = pixels.domain(small, held)
    found["meaning"] = pixels.meaning(small, labels, held, held_y.cpu().numpy())
    found["class_shares"] = pixels.class_shares(labels, held_y.cpu().numpy(), classes)
    both = np.concatenate([small, held]), np.concatenate([labels, held_y.cpu().numpy()])
    found["labels"] = kernel.doubted(*both, len(classes))
    changed_x, changed_y = augmented
    if changed_y.ndim == 1:
        found["augmentation"] = pixels.damage(small, labels, pixels.shrunk(changed_x), changed_y.cpu().numpy())
    return {name: value for name, value in found.items() if value is not None}


def told(probes: dict[str, Any], settings: dict[str, Any], classes: int) -> list[Finding]:
    """Say what is wrong with a set-up, from what was tried of it before its training."""
    measures = Measures(Evidence(rows=(), probes=probes, settings=settings, classes=classes))
    return [finding for rule in RULES if (finding := rule(measures)) is not None]


def after(
    best: NDArray[Any],
    last: NDArray[Any] | None,
    labels: NDArray[np.int64],
    promised: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure on validation images what only logits can tell, see ``ends``, and keep what was promised.

    Args:
        best: float (N, K), logits with the best weights.
        last: likewise with the last; None where they are the same.
        labels: int64 (N,).
        promised: what more augmentation promises, see ``copies``.
    """
    found: dict[str, Any] = {
        "label_noise": ends.noise(best, labels),
        "calibration": ends.believed(best, labels),
        "promise": promised,
    }
    if last is not None and np.isfinite(last).all():
        found["after"] = ends.compare(best, last, labels)
    return {name: value for name, value in found.items() if value is not None}


def _gathered(batches: Iterable[Any], count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Take the first images, on the processor."""
    parts, have = [], 0
    for x, y in Feed(batches, None, device, False, "probes").whole():
        parts.append((x.cpu(), y.cpu()))
        have += len(y)
        if have >= count:
            break
    x, y = (torch.cat(column)[:count] for column in zip(*parts, strict=True))
    return x, y
