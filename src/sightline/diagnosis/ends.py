"""Logits of validation images, with the best weights and with the last -> what only they can tell.

Whether decisions became worse or only louder, how many labels are in doubt, and whether confidence can be believed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis import calibration, label_noise, trend
from sightline.diagnosis.calibration import confidences, fit_temperature, losses
from sightline.diagnosis.intervals import Figure, Z

FEW = 40
"""Validation images below which labels cannot be judged."""


def compare(best: NDArray[Any], last: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, dict[str, float | None]]:
    """Measure what changed from the best weights to the last, image by image.

    Args:
        best: float (N, K), logits with the best weights.
        last: float (N, K), with the last.
        labels: int64 (N,).

    Returns:
        ``error``: change of the share mistaken; ``tempered``: rise of the loss where each is divided by a temperature
        of its own, fitted on one half of the images and used on the other (C. Guo et al. 2017).
    """
    wrong = [confidences(logits)[0] != labels for logits in (last, best)]
    before, after = np.empty(len(labels)), np.empty(len(labels))
    order = np.random.default_rng(0).permutation(len(labels))
    for fit, judged in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        for logits, found in ((best, before), (last, after)):
            found[judged] = losses(logits[judged], labels[judged], fit_temperature(logits[fit], labels[fit]))
    return {
        "error": trend.difference(*(each.astype(np.float64) for each in wrong)).as_dict(),
        "tempered": ratio(after, before, least=0.01 * math.log(best.shape[1])).as_dict(),
    }


def ratio(after: NDArray[np.float64], before: NDArray[np.float64], least: float) -> Figure:
    """Give the paired change of a mean as a share of what it was, with a 95 % interval by the delta method."""
    base = max(float(before.mean()), least)
    value = float((after - before).mean()) / base
    if len(after) < 2:
        return Figure(value, None, None)
    half = Z * float((after - before - value * (before - before.mean())).std(ddof=1)) / math.sqrt(len(after)) / base
    return Figure(value, value - half, value + half)


def noise(logits: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, Any] | None:
    """Estimate the share of wrong labels among images the network was not trained on; None with too few."""
    if len(labels) < FEW:
        return None
    probabilities = np.exp(calibration.log_softmax(logits))
    found = label_noise.estimate(probabilities, labels)
    return {**found.share.as_dict(), "kind": found.kind, "signs": bool(found.signs)}


def believed(logits: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Measure the calibration error (ECE), with its interval, and the temperature that would mend it."""
    named, confidence = confidences(logits)
    error, _, _ = calibration.reliability(confidence, named == labels)
    return {**error.as_dict(), "temperature": fit_temperature(logits, labels)}
