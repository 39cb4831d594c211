"""Logits -> can the probabilities be believed: reliability bins, expected calibration error, temperature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis.intervals import Figure
from sightline.errors import ModelError, SourceError

BINS = 15
"""Equal-width bins of confidence over (0, 1], as in Guo et al. (2017, section 2)."""

TEMPERATURES = (0.05, 20.0)
"""The range in which a temperature is looked for."""

_CELLS = 4_000_000
"""Logits worked on at a time (32 MB)."""
_DRAWS = 1000


@dataclass(frozen=True)
class Bin:
    """The images whose confidence lies in (low, high].

    Attributes:
        low: lower edge, 0..1.
        high: upper edge.
        count: images in it.
        confidence: their mean confidence, None if there are none.
        accuracy: share of them that is right, None if there are none.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """How far stated confidence is from how often the network is right.

    Attributes:
        bins: the reliability diagram, ``BINS`` of them.
        expected: the ECE that a perfectly calibrated network would show on as many images, by chance alone.
        ece: expected calibration error after dividing the logits by the temperature, None if none was fitted.
        loss: negative log-likelihood after that, nats per image, or None.
    """

    bins: tuple[Bin, ...]
    expected: float
    ece: Figure | None = None
    loss: Figure | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Read what ``Evaluation.as_dict`` wrote."""
        after = {k: None if values[k] is None else Figure.from_dict(values[k]) for k in ("ece", "loss")}
        bins = tuple(Bin(**b) for b in values["bins"])
        return cls(bins, values["expected"], **after)


def check(logits: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse logits and labels that cannot be scored.

    Raises:
        SourceError: no rows, different lengths, or a label outside 0..K-1.
        ModelError: logits are not (N, K >= 2), or some are NaN or infinite.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ModelError(
            f"logits have shape {logits.shape}; one row per image and one column per class is needed, two at least.",
            "Give the network's raw outputs, shape (N, K).",
        )
    if labels.shape != (len(logits),):
        raise SourceError(
            f"there are {len(logits)} rows of logits but labels of shape {labels.shape}.",
            "Give one integer label per image, in the same order.",
        )
    if not len(labels):
        raise SourceError("there are no images to evaluate.", "Give a source with at least one labelled image.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise SourceError(
            f"labels are of type {labels.dtype}.", "Give integer class numbers, 0 for the first class and so on."
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        wrong = labels[(labels < 0) | (labels >= logits.shape[1])]
        raise SourceError(
            f"label {int(wrong[0])} is out of range: the network knows {logits.shape[1]} classes, "
            f"0 to {logits.shape[1] - 1}.",
            "Evaluate on the classes the network was trained on.",
        )
    bad = sum(int((~np.isfinite(logits[part]).all(axis=1)).sum()) for part in chunks(logits))
    if bad:
        raise ModelError(
            f"the network's output is NaN or infinite for {bad} of {len(logits)} images.",
            "Train again with a lower --lr or --precision fp32; `sightline check` finds broken images.",
        )


def chunks(logits: NDArray[Any]) -> Iterator[slice]:
    """Cut the rows of (N, K) into slices small enough to work on in double precision."""
    rows = max(1, _CELLS // logits.shape[1])
    for start in range(0, len(logits), rows):
        yield slice(start, min(start + rows, len(logits)))


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Turn logits (N, K) into natural logarithms of probabilities, float64 (N, K), each at most 0."""
    scores: NDArray[np.float64] = np.asarray(logits, dtype=np.float64)
    scores = scores - scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def losses(logits: NDArray[Any], labels: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """Give each image's negative log-likelihood in nats, float64 (N,): 0 where the network is sure and right."""
    found = np.empty(len(labels))
    for part in chunks(logits):
        scores = log_softmax(np.asarray(logits[part], dtype=np.float64) / temperature)
        found[part] = -np.take_along_axis(scores, np.asarray(labels[part])[:, None], axis=1)[:, 0]
    return np.maximum(found, 0.0)


def confidences(logits: NDArray[Any], temperature: float = 1.0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give each image's most probable class, int64 (N,), and its probability, float64 (N,)."""
    predicted, confidence = np.empty(len(logits), dtype=np.int64), np.empty(len(logits))
    for part in chunks(logits):
        predicted[part] = np.argmax(logits[part], axis=1)  # of the logits, so that dividing never changes it
        chances = np.exp(log_softmax(np.asarray(logits[part], dtype=np.float64) / temperature))
        confidence[part] = chances.max(axis=1)
    return predicted, confidence


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Find the number by which logits should be divided so that confidences mean what they say.

    One number, fitted by maximum likelihood on *validation* images (Guo et al. 2017, section 4.2); above 1 the
    network was too sure of itself, below 1 too timid. Predictions stay the same. Fitting it on the images it is
    then judged on would flatter it.

    Args:
        logits: float (N, K), raw outputs for validation images.
        labels: int (N,), 0..K-1.

    Returns:
        The temperature, 0.05 to 20. When every image is right there is no best one (any sharpening would help),
        and 1.0 is returned.

    Raises:
        SourceError, ModelError: see ``check``.
    """
    check(logits, labels)
    if (confidences(logits)[0] == labels).all():
        return 1.0
    low, high = np.log(TEMPERATURES)
    for _ in range(18):  # the likelihood has one peak along the temperature, so halving the range finds it
        middle = (low + high) / 2
        if _too_sure(logits, labels, float(np.exp(middle))):
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _too_sure(logits: NDArray[Any], labels: NDArray[Any], temperature: float) -> bool:
    """Tell whether a higher temperature would make the labels likelier: the slope of the likelihood."""
    slope = 0.0
    for part in chunks(logits):
        scores = np.asarray(logits[part], dtype=np.float64)
        expected = (np.exp(log_softmax(scores / temperature)) * scores).sum(axis=1)
        slope += float((expected - np.take_along_axis(scores, labels[part, None], axis=1)[:, 0]).sum())
    return slope > 0


def reliability(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], seed: int = 0
) -> tuple[Figure, float, tuple[Bin, ...]]:
    """Measure the expected calibration error (Naeini et al. 2015): |accuracy - confidence| per bin, averaged by count.

    Chance alone pushes this error up: even a perfectly calibrated network shows some. So its interval is the
    resampled upper end and its mirror image below the value, and starts at 0 where perfect calibration would show
    as much. Both are drawn from the normal limit of the bins' sums, so the cost does not grow with N.

    Args:
        confidence: float (N,), probability of the predicted class, 0..1.
        right: bool (N,), whether that class is the true one.
        seed: of the resampling.

    Returns:
        The error (0..1) with its interval; the error that perfect calibration would show on average; the bins.
    """
    n = len(confidence)
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gap = right - confidence

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(place, weights=values, minlength=BINS), dtype=np.float64)

    counts, sums = total(np.ones(n)), total(gap)
    value = float(np.abs(sums).sum() / n)
    noise = np.random.default_rng(seed).standard_normal((_DRAWS, BINS))
    spread = np.sqrt(np.maximum(total(gap**2) - sums**2 / n, 0.0))
    high = max(value, float(np.quantile(np.abs(sums + spread * noise).sum(axis=1) / n, 0.975)))
    chance = np.abs(np.sqrt(total(confidence * (1 - confidence))) * noise).sum(axis=1) / n
    low = 0.0 if value <= np.quantile(chance, 0.975) else max(0.0, 2 * value - high)
    filled = np.maximum(counts, 1)
    bins = tuple(
        Bin(
            low=b / BINS,
            high=(b + 1) / BINS,
            count=int(counts[b]),
            confidence=float(total(confidence)[b] / filled[b]) if counts[b] else None,
            accuracy=float(total(right)[b] / filled[b]) if counts[b] else None,
        )
        for b in range(BINS)
    )
    return Figure(value, low, min(1.0, high)), float(chance.mean()), bins
