"""Logits and labels -> how good the network is, with intervals, and which images it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.balance import skewed
from sightline.diagnosis import calibration, intervals
from sightline.diagnosis.calibration import Calibration, fit_temperature
from sightline.diagnosis.intervals import Figure
from sightline.errors import SourceError

__all__ = [
    "Calibration",
    "ClassScore",
    "ConfusedPair",
    "Evaluation",
    "Figure",
    "Mistake",
    "evaluate",
    "fit_temperature",
]


@dataclass(frozen=True)
class ClassScore:
    """How well one class is recognised.

    Attributes:
        name: the class.
        support: images of it.
        precision: share of right ones among the images called so, or None if none was.
        recall: share of its images that was found, or None if it has none.
        f1: harmonic mean of the two, or None if the class occurs neither among labels nor among predictions.
    """

    name: str
    support: int
    precision: Figure | None
    recall: Figure | None
    f1: Figure | None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ClassScore:
        """Read what ``Evaluation.as_dict`` wrote for one class."""
        scores = {k: None if values[k] is None else Figure.from_dict(values[k]) for k in ("precision", "recall", "f1")}
        return cls(values["name"], values["support"], **scores)


@dataclass(frozen=True)
class Mistake:
    """One image that was called by a wrong name.

    Attributes:
        row: its position among the evaluated images.
        name: what the image is called: a path, or ``"row 12"``.
        true: class it is labelled as.
        predicted: class it was taken for.
        confidence: probability given to ``predicted``, 0..1.
        loss: negative log of the probability given to ``true``, nats.
    """

    row: int
    name: str
    true: str
    predicted: str
    confidence: float
    loss: float


@dataclass(frozen=True)
class ConfusedPair:
    """A pair of classes where one is taken for the other.

    Attributes:
        true: class of the images.
        predicted: class they were taken for.
        count: how many.
        share: count divided by all images of ``true``, 0..1.
    """

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of a network on N labelled images; each ``Figure`` with its 95 % interval.

    Attributes:
        classes: K class names.
        count: N.
        accuracy: share of images whose most probable class is the true one, 0..1.
        top1_error: 1 - accuracy.
        top5_error: share of images whose true class is not among the five most probable; None if K <= 5.
        balanced_accuracy: mean of the recalls of the classes that have images.
        macro_f1: mean of the F1 scores of the classes that occur among labels or predictions.
        loss: mean negative log-likelihood, nats per image.
        brier: mean squared distance between probabilities and truth, 0..2 (Brier 1950).
        ece: expected calibration error over 15 equal-width bins of confidence, 0..1.
        per_class: K of them, in class order.
        confusion: int64 (K, K): images of class i (row) that were taken for class j (column).
        temperature: that the caller fitted on validation images; None if none was given.
        calibration: the reliability diagram, and what dividing the logits by the temperature changes.
        worst: the most costly mistakes, worst first.
        confused: the most frequent confusions, most frequent first.
    """

    classes: tuple[str, ...]
    count: int
    accuracy: Figure
    top1_error: Figure
    top5_error: Figure | None
    balanced_accuracy: Figure
    macro_f1: Figure
    loss: Figure
    brier: Figure
    ece: Figure
    per_class: tuple[ClassScore, ...]
    confusion: NDArray[np.int64]
    temperature: float | None
    calibration: Calibration
    worst: tuple[Mistake, ...]
    confused: tuple[ConfusedPair, ...]

    @property
    def skewed(self) -> bool:
        """Whether the scored classes differ so much in size that accuracy is mostly that of the largest.

        Balanced accuracy, macro-F1 and the recalls then lead. As ``balance.skewed`` has it: the largest class has at
        least five times the images of the smallest that has any.
        """
        return skewed(np.array([score.support for score in self.per_class]))

    @property
    def weakest(self) -> ClassScore:
        """The class with the lowest recall, of those that have images; of several, the first."""
        return min((score for score in self.per_class if score.recall), key=lambda score: _value(score.recall))

    def headline(self) -> dict[str, Figure]:
        """Give the figures that describe the whole, by the name to show them under, the most telling first."""
        figures = {name: getattr(self, field) for field, name in HEADLINE.items()}
        if self.skewed:
            lead = {HEADLINE[field]: getattr(self, field) for field in ("balanced_accuracy", "macro_f1")}
            figures = {**lead, f"lowest recall ({self.weakest.name})": self.weakest.recall, **figures}
        return {name: figure for name, figure in figures.items() if figure is not None}

    def sentence(self, part: str = "") -> str:
        """Say the result in one sentence.

        Args:
            part: which images were scored: ``"test"``.
        """
        lead = self.balanced_accuracy if self.skewed else self.accuracy
        what = f"{self.count} {part} images".replace("  ", " ")
        spread = f"(95 % interval {lead.low:.1%} to {lead.high:.1%})"
        if not self.skewed:
            return f"{lead.value:.1%} of {what} recognised {spread}"
        weakest = self.weakest
        return (
            f"balanced accuracy {lead.value:.1%} {spread}, macro-F1 {self.macro_f1.value:.1%} on {what}; lowest recall "
            f"{_value(weakest.recall):.1%} ({weakest.name}); {self.accuracy.value:.1%} of all recognised"
        )

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values: the layout of ``evaluation.json`` and of ``evaluate --json``."""
        values = {name: _plain(value) for name, value in vars(self).items()}
        return {**values, "classes": list(self.classes), "confusion": self.confusion.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evaluation:
        """Read what ``as_dict`` gave; other keys are left aside."""
        read: dict[str, Any] = {name: values[name] for name in cls.__dataclass_fields__}
        for name in HEADLINE:
            read[name] = None if values[name] is None else Figure.from_dict(values[name])
        read["classes"] = tuple(values["classes"])
        read["per_class"] = tuple(ClassScore.from_dict(each) for each in values["per_class"])
        read["confusion"] = np.array(values["confusion"], dtype=np.int64)
        read["calibration"] = Calibration.from_dict(values["calibration"])
        read["worst"] = tuple(Mistake(**each) for each in values["worst"])
        read["confused"] = tuple(ConfusedPair(**each) for each in values["confused"])
        return cls(**read)


HEADLINE = {
    "accuracy": "accuracy",
    "top1_error": "top-1 error",
    "top5_error": "top-5 error",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "loss": "loss (nats)",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
}
"""Fields of ``Evaluation`` that are figures about the whole, and what they are called."""


def evaluate(
    logits: NDArray[Any],
    labels: NDArray[Any],
    classes: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    temperature: float | None = None,
    worst: int = 24,
    seed: int = 0,
) -> Evaluation:
    """Score a network's outputs for N labelled images.

    Args:
        logits: float (N, K), raw outputs; any float type. Read in slices, so a memory map is fine.
        labels: int (N,), 0..K-1. Classes without images are allowed.
        classes: K names.
        names: N names of images for the list of mistakes; None calls them ``"row 12"``.
        temperature: from ``fit_temperature`` on validation images; the calibration after it is reported too.
        worst: how many mistakes, and how many confused pairs, to list at most.
        seed: of the resampling behind the intervals of balanced accuracy, macro-F1 and ECE.

    Raises:
        SourceError: no images, or labels, names or classes that do not fit the logits.
        ModelError: logits of a wrong shape, NaN or infinite.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    calibration.check(logits, labels)
    n, k = logits.shape
    if len(classes) != k:
        raise SourceError(
            f"there are {len(classes)} class names but the network has {k} outputs.",
            "Evaluate on the classes the network was trained on.",
        )
    if names is not None and len(names) != n:
        raise SourceError(f"there are {len(names)} image names for {n} images.", "Give one name per image.")

    predicted, confidence = calibration.confidences(logits)
    brier, rank = _brier_and_rank(logits, labels)
    losses = calibration.losses(logits, labels)
    right = predicted == labels
    confusion = np.bincount(labels.astype(np.int64) * k + predicted, minlength=k * k).reshape(k, k)
    labelled, called, found = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion)
    draws = [(balanced(*drawn), macro_f1(*drawn)) for drawn in intervals.resample(confusion, seed)]
    ece, expected, bins = calibration.reliability(confidence, right, seed)
    after: dict[str, Figure] = {}
    if temperature is not None:
        after = {
            "ece": calibration.reliability(calibration.confidences(logits, temperature)[1], right, seed)[0],
            "loss": intervals.mean(calibration.losses(logits, labels, temperature)),
        }
    accuracy = intervals.share(float(right.mean()), n)
    return Evaluation(
        classes=tuple(classes),
        count=n,
        accuracy=accuracy,
        top1_error=intervals.share(1 - float(right.mean()), n),
        top5_error=intervals.share(float((rank >= 5).mean()), n) if k > 5 else None,
        balanced_accuracy=intervals.averaged_share(
            float(balanced(found, labelled, called)), np.concatenate([d[0] for d in draws]), labelled
        ),
        macro_f1=intervals.averaged_share(
            float(macro_f1(found, labelled, called)), np.concatenate([d[1] for d in draws]), labelled
        ),
        loss=intervals.mean(losses),
        brier=intervals.mean(brier, most=2.0),
        ece=ece,
        per_class=tuple(_class_score(str(classes[c]), found[c], labelled[c], called[c]) for c in range(k)),
        confusion=confusion,
        temperature=temperature,
        calibration=Calibration(bins, expected, **after),
        worst=_worst(labels, predicted, confidence, losses, classes, names, worst),
        confused=_confused(confusion, classes, worst),
    )


def _brier_and_rank(logits: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give, per image: the Brier score, and how many classes beat the true one.

    Equal logits are ranked by class number, as ``argmax`` does, so that rank 0 is exactly "predicted right".
    """
    brier, rank = np.empty(len(logits)), np.empty(len(logits), dtype=np.int64)
    for part in calibration.chunks(logits):
        scores, true = logits[part], labels[part, None]
        own = np.take_along_axis(scores, true, axis=1)
        earlier = np.arange(logits.shape[1])[None, :] < true
        rank[part] = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
        chances = np.exp(calibration.log_softmax(scores))
        brier[part] = np.square(chances).sum(axis=1) - 2 * np.take_along_axis(chances, true, axis=1)[:, 0] + 1
    return np.maximum(brier, 0.0), rank


def balanced(right: NDArray[Any], labelled: NDArray[Any], called: NDArray[Any]) -> NDArray[np.float64]:
    """Average right / labelled over the last axis, over the classes that have images."""
    present = labelled > 0
    recall = np.where(present, right / np.maximum(labelled, 1), 0.0)
    return np.asarray(recall.sum(axis=-1) / present.sum(axis=-1))


def macro_f1(right: NDArray[Any], labelled: NDArray[Any], called: NDArray[Any]) -> NDArray[np.float64]:
    """Average 2 right / (labelled + called) over the last axis, over the classes that occur."""
    either = labelled + called
    score = np.where(either > 0, 2 * right / np.maximum(either, 1), 0.0)
    return np.asarray(score.sum(axis=-1) / (either > 0).sum(axis=-1))


def _class_score(name: str, right: int, labelled: int, called: int) -> ClassScore:
    return ClassScore(
        name,
        int(labelled),
        precision=intervals.share(right / called, called) if called else None,
        recall=intervals.share(right / labelled, labelled) if labelled else None,
        f1=intervals.f1(right, labelled, called) if labelled + called else None,
    )


def _worst(
    labels: NDArray[Any],
    predicted: NDArray[np.int64],
    confidence: NDArray[np.float64],
    losses: NDArray[np.float64],
    classes: Sequence[str],
    names: Sequence[str] | None,
    limit: int,
) -> tuple[Mistake, ...]:
    wrong = np.flatnonzero(predicted != labels)
    rows = wrong[np.argsort(-losses[wrong], kind="stable")][:limit]
    return tuple(
        Mistake(
            row=int(row),
            name=f"row {row}" if names is None else str(names[row]),
            true=str(classes[labels[row]]),
            predicted=str(classes[predicted[row]]),
            confidence=float(confidence[row]),
            loss=float(losses[row]),
        )
        for row in rows
    )


def _confused(confusion: NDArray[np.int64], classes: Sequence[str], limit: int) -> tuple[ConfusedPair, ...]:
    wrong = confusion - np.diag(np.diagonal(confusion))
    shares = wrong / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    cells = np.flatnonzero(wrong)
    cells = cells[np.lexsort((-shares.ravel()[cells], -wrong.ravel()[cells]))][:limit]
    pairs = (divmod(int(cell), len(classes)) for cell in cells)
    return tuple(
        ConfusedPair(str(classes[i]), str(classes[j]), int(wrong[i, j]), float(shares[i, j])) for i, j in pairs
    )


def _value(figure: Figure | None) -> float:
    return 0.0 if figure is None else figure.value


def _plain(value: Any) -> Any:
    """Turn dataclasses and tuples of them into JSON values."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
