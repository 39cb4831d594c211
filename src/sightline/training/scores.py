"""A model and batches -> its loss, its metrics, and the loss of each example."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.errors import TrainingError
from sightline.metrics import Metric
from sightline.metrics import name as named
from sightline.progress import Progress
from sightline.training.batches import Batch, Feed, size
from sightline.training.precision import Precision, full


@dataclass(frozen=True)
class Scores:
    """What a pass over held-out batches found.

    Attributes:
        loss: mean over the examples.
        metrics: by name, in the order given.
        examples: how many.
        losses: float32 (examples,), in the order of the batches; None if the loss cannot tell examples apart.
    """

    loss: float
    metrics: dict[str, float]
    examples: int
    losses: NDArray[np.float32] | None


@torch.no_grad()
def score(
    forward: Callable[[Any], Any],
    batches: Iterable[Batch],
    loss_fn: Callable[[Any, Tensor], Tensor],
    metrics: Sequence[Callable[..., Any]],
    precision: Precision,
    advance: Callable[[], None] = lambda: None,
) -> Scores:
    """Go through batches once and divide the sums once, at the end.

    Args:
        forward: the network, already in evaluation mode.
        batches: (x, y) on its device.
        loss_fn: with ``per_example(yhat, y) -> (B,)`` (ours), or any ``loss_fn(yhat, y)`` that gives a batch's mean.
        metrics: ``Metric`` objects, or functions ``metric(y, yhat)``, which are averaged by batch size.
        precision: how to run the network.
        advance: called after each batch.

    Raises:
        TrainingError: there is no batch.
    """
    per_example = getattr(loss_fn, "per_example", None)
    losses: list[Tensor] = []
    counts: list[int] = []
    sums: list[tuple[Tensor, Tensor] | None] = [None] * len(metrics)
    for x, y in batches:
        with precision.forward():
            yhat = forward(x)
        yhat, count = full(yhat), size((x, y))
        losses.append(per_example(yhat, y) if per_example else loss_fn(yhat, y))
        counts.append(count)
        for row, metric in enumerate(metrics):
            top, bottom = _sums(metric, y, yhat, count)
            before = sums[row]
            sums[row] = (top, bottom) if before is None else (before[0] + top, before[1] + bottom)
        advance()
    if not counts:
        raise TrainingError("there is no batch to evaluate.", "Give validation data, or check their loader.")
    found = {named(metric): _value(metric, *pair) for metric, pair in zip(metrics, sums, strict=True) if pair}
    if per_example:
        each = torch.cat([loss.float() for loss in losses]).cpu().numpy()
        return Scores(float(each.astype(np.float64).mean()), found, sum(counts), each)
    means = torch.stack([loss.float() for loss in losses]).tolist()
    total = math.fsum(mean * count for mean, count in zip(means, counts, strict=True)) if _finite(means) else math.nan
    return Scores(total / sum(counts), found, sum(counts), None)


def score_all(
    forward: Callable[[Any], Any],
    feeds: Mapping[str, Feed],
    loss_fn: Callable[[Any, Tensor], Tensor],
    metrics: Sequence[Callable[..., Any]],
    precision: Precision,
    progress: Progress,
    clock: Callable[[str], AbstractContextManager[None]],
) -> dict[str, Scores]:
    """Score each part that is held out, by its name, such as ``valid`` and ``probe``.

    Args:
        forward: the model, or what stands for it, in evaluation mode.
        feeds: the same batches every time.
        loss_fn: see ``score``.
        metrics: see ``score``.
        precision: how to run the network.
        progress: shows each pass.
        clock: counts the seconds of a block under a name: ``"valid_s"``.

    Raises:
        TrainingError: a part has no batch.
    """
    found = {}
    for name, feed in feeds.items():
        with clock(f"{name}_s"), progress.task("Evaluation", total=feed.total) as task:
            found[name] = score(forward, feed.whole(), loss_fn, metrics, precision, task.advance)
    return found


def _sums(metric: Callable[..., Any], y: Tensor, yhat: Any, count: int) -> tuple[Any, Any]:
    if isinstance(metric, Metric):
        return metric.sums(y, yhat)
    return float(metric(y, yhat)) * count, count


def _value(metric: Callable[..., Any], top: Any, bottom: Any) -> float:
    if isinstance(metric, Metric):
        return float(metric.value(top.cpu().double(), bottom.cpu().double()))
    return float(top / bottom)


def _finite(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))
