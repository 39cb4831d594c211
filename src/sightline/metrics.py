"""Targets and predictions -> one number; as sums that are divided once, so that a short batch counts for what it is.

A metric is called ``metric(y, yhat)`` and named by ``str(metric)``, as in the lecture. Over many batches the trainer
adds up ``metric.sums(y, yhat)`` and asks for ``metric.value(numerator, denominator)`` at the end.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.errors import SettingsError, SourceError

Numbers = Tensor | NDArray[Any]


class Metric(ABC):
    """A mean over examples.

    A subclass writes ``sums``; one written for mltrainer, with ``_compute`` instead, works too, and is then averaged
    over batches by their size.
    """

    higher_is_better = True

    def sums(self, y: Tensor, yhat: Tensor) -> tuple[Tensor, Tensor]:
        """Give numerator and denominator of a batch, to be added over batches; tensors on the device of ``yhat``.

        Args:
            y: targets, (B, ...).
            yhat: what the network gives, (B, ...).
        """
        size = torch.tensor(float(len(y)), device=yhat.device)
        return self._compute(y, yhat) * size, size

    def value(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """Divide the sums; where they have an axis of classes, give the mean over the classes."""
        return (numerator / denominator).mean()

    def _compute(self, y: Tensor, yhat: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} needs a method sums(y, yhat) or _compute(y, yhat)")

    def __call__(self, y: Numbers, yhat: Numbers) -> float:
        """Give the metric of one batch or of everything at once; arrays are taken as tensors."""
        y, yhat = torch.as_tensor(y), torch.as_tensor(yhat)
        top, bottom = self.sums(y.to(yhat.device), yhat)
        return float(self.value(top.cpu().double(), bottom.cpu().double()))

    @abstractmethod
    def __repr__(self) -> str: ...


class Accuracy(Metric):
    """Share of examples whose highest logit is the target's, 0..1.

    ``y`` holds labels (B,), or probabilities (B, K) of which the highest counts; ``yhat`` logits (B, K).
    """

    def sums(self, y: Tensor, yhat: Tensor) -> tuple[Tensor, Tensor]:
        """Give the right answers and the answers."""
        right = yhat.argmax(dim=1) == _labels(y, yhat)
        return right.sum().float(), torch.tensor(float(right.numel()), device=yhat.device)

    def __repr__(self) -> str:
        return "Accuracy"


class TopK(Metric):
    """Share of examples whose target is among the k highest logits, 0..1; with K <= k classes it is 1.

    Args:
        k: at least 1.
    """

    def __init__(self, k: int = 5) -> None:
        if k < 1:
            raise SettingsError(f"'k' is {k}.", "TopK needs at least 1.")
        self.k = k

    def sums(self, y: Tensor, yhat: Tensor) -> tuple[Tensor, Tensor]:
        """Give the targets found among the k highest, and the examples."""
        best = yhat.topk(min(self.k, yhat.shape[1]), dim=1).indices
        found = (best == _labels(y, yhat)[:, None]).any(dim=1)
        return found.sum().float(), torch.tensor(float(len(found)), device=yhat.device)

    def __repr__(self) -> str:
        return f"Top{self.k}"


class BalancedAccuracy(Metric):
    """Mean over the classes of the share recognised (recall), 0..1; classes without examples are left out."""

    def sums(self, y: Tensor, yhat: Tensor) -> tuple[Tensor, Tensor]:
        """Give right answers and examples of each class, (K,)."""
        y = _labels(y, yhat)
        right = (yhat.argmax(dim=1) == y).float()
        empty = torch.zeros(yhat.shape[1], device=yhat.device)
        return empty.index_add(0, y, right), empty.index_add(0, y, torch.ones_like(right))

    def value(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """Give the mean recall of the classes seen."""
        seen = denominator > 0
        return (numerator[seen] / denominator[seen]).mean()

    def __repr__(self) -> str:
        return "BalancedAccuracy"


class BalancedLoss(Metric):
    """Mean over the classes of their mean cross-entropy, nats; classes without examples are left out.

    What balanced accuracy is to accuracy, this is to the loss; unlike it, it also tells near misses from far ones.
    """

    higher_is_better = False

    def sums(self, y: Tensor, yhat: Tensor) -> tuple[Tensor, Tensor]:
        """Give the sum of the losses and the examples of each class, (K,)."""
        y = _labels(y, yhat)
        loss = torch.nn.functional.cross_entropy(yhat.float(), y, reduction="none")
        empty = torch.zeros(yhat.shape[1], device=yhat.device)
        return empty.index_add(0, y, loss), empty.index_add(0, y, torch.ones_like(loss))

    def value(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """Give the mean loss of the classes seen."""
        seen = denominator > 0
        return (numerator[seen] / denominator[seen]).mean()

    def __repr__(self) -> str:
        return "BalancedLoss"


class F1Score(Metric):
    """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn), 0..1.

    ``y`` (B, K) of 0 and 1 with logits (B, K): multi-label, a label is predicted where sigmoid(logit) > threshold.
    ``y`` (B,) of class numbers: the highest logit is the prediction (micro is then the accuracy).

    Args:
        average: ``micro`` counts over all labels together, ``macro`` is the mean of the labels' own scores.
        threshold: probability above which a label is predicted.
        epsilon: added to the denominator; a label that is neither present nor predicted scores 0.
    """

    def __init__(
        self, average: Literal["micro", "macro"] = "micro", threshold: float = 0.5, epsilon: float = 1e-7
    ) -> None:
        if average not in ("micro", "macro"):
            raise SettingsError(f"'average' is '{average}'.", "Average must be 'micro' or 'macro'.")
        self.average = average
        self.threshold = threshold
        self.epsilon = epsilon

    def sums(self, y: Tensor, yhat: Tensor) -> tuple[Tensor, Tensor]:
        """Give 2 tp and 2 tp + fp + fn: (K,) for macro, without axes for micro."""
        if y.ndim < yhat.ndim:
            predicted = torch.nn.functional.one_hot(yhat.argmax(dim=1), yhat.shape[1]).float()
            y = torch.nn.functional.one_hot(y.long(), yhat.shape[1])
        else:
            predicted = (torch.sigmoid(yhat) > self.threshold).float()
        y = y.float()
        twice, both = 2 * (predicted * y).sum(dim=0), (predicted + y).sum(dim=0)
        return (twice, both) if self.average == "macro" else (twice.sum(), both.sum())

    def value(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """Divide, guarded by epsilon."""
        return (numerator / (denominator + self.epsilon)).mean()

    def __repr__(self) -> str:
        return f"F1({self.average})"


class MAE(Metric):
    """Mean absolute error, in the unit of y."""

    higher_is_better = False

    def sums(self, y: Tensor, yhat: Tensor) -> tuple[Tensor, Tensor]:
        """Give the sum of absolute errors and their number."""
        error = (_like(y, yhat) - yhat).abs()
        return error.sum(), torch.tensor(float(error.numel()), device=yhat.device)

    def __repr__(self) -> str:
        return "MAE"


class MASE(Metric):
    """Mean absolute scaled error (Hyndman & Koehler 2006): the MAE over that of a naive forecast; 1 is as bad as it.

    Args:
        train: batches (x, y) the naive forecast is measured on: a DataLoader, a generator, or a datastreamer with
            ``.stream()``. The forecast is the last ``horizon`` values of x (B, T, 1).
        horizon: steps predicted.
        n_batches: how many batches to read; needed where ``train`` has no length.
    """

    higher_is_better = False

    def __init__(self, train: Iterable[Any], horizon: int, n_batches: int | None = None) -> None:
        self.horizon = horizon
        if n_batches is None and not hasattr(train, "__len__"):
            raise SettingsError("MASE cannot tell how much of 'train' to read.", "Give n_batches.")
        batches = train.stream() if hasattr(train, "stream") else train
        count = n_batches if n_batches is not None else len(train)  # type: ignore[arg-type]
        with torch.no_grad():
            errors = [(y - x[..., -horizon:, :].squeeze(-1)).abs().mean() for x, y in islice(batches, count)]
        if not errors:
            raise SettingsError("MASE got no batches from 'train'.", "Give it at least one batch.")
        self.scale = torch.stack(errors).mean()

    def sums(self, y: Tensor, yhat: Tensor) -> tuple[Tensor, Tensor]:
        """Give the sum of absolute errors, and their number times the naive error."""
        error = (_like(y, yhat) - yhat).abs()
        return error.sum(), error.numel() * self.scale.to(yhat.device)

    def __repr__(self) -> str:
        return f"MASE(scale={self.scale:.3f})"


def name(metric: Callable[..., Any]) -> str:
    """Name a metric: ``str(metric)``, or a plain function's own name."""
    return metric.__name__ if inspect.isroutine(metric) else str(metric)


def key(name: str) -> str:
    """Turn a name into a key of history rows: ``TopFive`` -> ``top_five``, ``F1(macro)`` -> ``f1_macro``.

    Measured numbers in a name, as in ``MASE(scale=0.123)``, are left out.
    """
    plain = re.sub(r"\(\w+=.*\)", "", name)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|[^0-9A-Za-z]+", "_", plain).strip("_").lower()


def _labels(y: Tensor, yhat: Tensor) -> Tensor:
    if y.ndim == yhat.ndim and y.shape == yhat.shape:
        y = y.argmax(dim=1)
    if y.shape != (yhat.shape[0], *yhat.shape[2:]):
        raise SourceError(
            f"targets of shape {tuple(y.shape)} do not belong to logits of shape {tuple(yhat.shape)}.",
            "Give one class number per example, (B,).",
        )
    return y.long()


def _like(y: Tensor, yhat: Tensor) -> Tensor:
    if y.shape != yhat.shape:
        if y.shape not in ((*yhat.shape, 1), yhat.shape[:-1]) or y.numel() != yhat.numel():
            raise SourceError(
                f"targets of shape {tuple(y.shape)} do not belong to predictions of shape {tuple(yhat.shape)}.",
                "Give both the same shape.",
            )
        y = y.reshape(yhat.shape)
    return y


METRICS: dict[str, tuple[type[Metric], str]] = {
    "accuracy": (Accuracy, "share of right answers"),
    "top5": (TopK, "share of answers among the five most probable"),
    "balanced_accuracy": (BalancedAccuracy, "mean recall of the classes"),
    "balanced_loss": (BalancedLoss, "mean of the classes' mean cross-entropies"),
    "f1": (F1Score, "harmonic mean of precision and recall"),
    "mae": (MAE, "mean absolute error"),
    "mase": (MASE, "mean absolute error over that of a naive forecast"),
}
"""Name -> class and what it measures."""
