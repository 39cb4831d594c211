"""Probabilities from networks that never saw the images, and labels -> the share of wrong labels, and which they are.

A network errs, too: where it disagrees with a label, one of the two is wrong, and counting disagreements would blame
the labels for all that is hard to see. So a model of both is fitted by maximum likelihood. The true class i of an image
is drawn from the network's probabilities, sharpened or softened by one exponent a (its over- or under-confidence, as in
Guo et al. 2017), and the label is then drawn from row i of a matrix T (the noise model of Patrini et al., CVPR 2017).
Three forms of T are compared by Akaike's criterion (1974): no wrong labels; an equal share of them,
spread evenly over the other classes; any share between any two classes. What tells them apart is how often labels
disagree where the network is surest.

What this cannot see: mistakes that look like the class they are called (nobody can, without another opinion), and
labels that are wrong so systematically that the network learnt them as right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis.intervals import Figure

Kind = Literal["none", "even", "pairs"]

EXPONENTS = np.geomspace(0.15, 15, 31)
"""Exponents of the probabilities that are tried before the best is looked for more closely."""

ROWS = 10_000
"""Images, at most, that the model is fitted to, drawn at random; all of them are scored by it."""

PAIRED, EM_STEPS = 30, 100
"""Up to how many classes pairs of them are fitted (there are K (K - 1)), and how many steps that takes at most."""

MOST = 0.6
"""Share of wrong labels, of all or of one class, above which none is looked for: most labels are taken to be right."""

DROP = 1.92
"""Fall of the log-likelihood at the ends of a 95 % interval: half the 95 % point of chi-square with one degree."""

SIGN = 1.35
"""Gain in log-likelihood from which on there are signs of wrong labels: half the 90 % point of chi-square with one
degree, which chance exceeds in 5 of 100 sets without any, as a share cannot be below zero (Self & Liang 1987)."""

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """A fitted model of wrong labels.

    Attributes:
        share: of all labels that are wrong, with the 95 % interval of its profile likelihood.
        kind: the form that was chosen.
        gain: how much better it explains the labels than no wrong ones would, in log-likelihood.
        exponent: of the probabilities; above 1 the networks were too timid, below it too sure.
        matrix: float (K, K), rows sum to 1: the chance that an image of class i (row) is labelled j.
    """

    share: Figure
    kind: Kind
    gain: float
    exponent: float
    matrix: NDArray[np.float64]

    @property
    def signs(self) -> bool:
        """Whether there are signs of wrong labels that chance would not leave."""
        return self.gain >= SIGN

    def judge(
        self, probabilities: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Give the chance that each label is wrong, float (N,), and the likeliest other class, int64 (N,).

        Where the data show no sign of wrong labels, the matrix holds the share they might still have (the upper end of
        its interval), so that there is an order to look at them in.
        """
        rows = np.arange(len(labels))
        true = _sharpened(probabilities, self.exponent) * self.matrix[:, labels].T
        true /= np.maximum(true.sum(axis=1, keepdims=True), _TINY)
        right = true[rows, labels]
        others = true + _TINY * probabilities
        others[rows, labels] = -1.0
        return 1.0 - right, others.argmax(axis=1).astype(np.int64)


def estimate(probabilities: NDArray[np.float64], labels: NDArray[np.int64], seed: int = 0) -> LabelNoise:
    """Fit the model.

    Args:
        probabilities: float (N, K), rows sum to 1, each from networks that were not trained on that image.
        labels: int64 (N,), 0..K-1, as given.
        seed: of the images the model is fitted to, where there are very many.
    """
    if len(labels) > ROWS:
        kept = np.random.default_rng(seed).permutation(len(labels))[:ROWS]
        probabilities, labels = probabilities[kept], labels[kept]
    k = probabilities.shape[1]
    evenly = np.full((k, k), 1 / (k - 1)) - (1 + 1 / (k - 1)) * np.eye(k)
    none = _profile(probabilities, labels, evenly, np.zeros(1))
    found = _profile(probabilities, labels, evenly, np.linspace(0, MOST, 46))
    kind: Kind = "even" if found.best - none.best >= SIGN else "none"
    direction = evenly
    if k <= PAIRED:
        matrix, best = _pairs(probabilities, labels, found.exponent)
        if best - (k * (k - 1) - 1) > max(found.best, none.best + 1):
            kind, direction = "pairs", matrix - np.eye(k)
            found = _profile(probabilities, labels, direction, np.linspace(0, _reach(direction), 46))
    reach = min(1.2 * found.high + 0.02, _reach(direction))
    found = _profile(probabilities, labels, direction, np.linspace(0, reach, 121), found.exponent)
    classes = _sharpened(probabilities, found.exponent).mean(axis=0)
    wrong = float(-(classes * np.diag(direction)).sum())  # the share of wrong labels that one step makes
    low, value, high = (float(step * wrong) for step in (found.low, found.step, found.high))
    if kind == "none":
        low, value, found = 0.0, 0.0, replace(found, step=found.high)
    matrix = np.eye(k) + found.step * direction
    return LabelNoise(Figure(value, low, high), kind, max(0.0, found.best - none.best), found.exponent, matrix)


def _reach(direction: NDArray[np.float64]) -> float:
    """Give the step at which ``MOST`` of some class are wrong; twice the fitted step at most."""
    return min(2.0, MOST / max(float(-np.diag(direction).min()), 1e-6))


@dataclass(frozen=True)
class _Profile:
    """The likelihood along one direction from "no label is wrong".

    Attributes:
        best: the largest log-likelihood.
        exponent: where it is.
        step: where it is, in steps of the direction.
        low: the first step of the 95 % interval.
        high: the last.
    """

    best: float
    exponent: float
    step: float
    low: float
    high: float


def _profile(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    direction: NDArray[np.float64],
    steps: NDArray[np.float64],
    around: float | None = None,
) -> _Profile:
    """Look along ``I + step * direction`` for the largest likelihood, and for the steps that come near it.

    Each step has the exponent that suits it best: without that, the interval would be too narrow.

    Args:
        probabilities: as for ``estimate``.
        labels: likewise.
        direction: float (K, K), rows sum to 0.
        steps: from 0 on.
        around: about the best exponent; None: all are tried.
    """
    if around is None:
        surface = _surface(probabilities, labels, direction, steps, EXPONENTS)
        around = float(EXPONENTS[surface.max(axis=1).argmax()])
    near = EXPONENTS[np.abs(np.log(EXPONENTS / around)) < 1]
    exponents = np.concatenate([near, around * np.geomspace(0.88, 1.14, 9)])
    surface = _surface(probabilities, labels, direction, steps, exponents)
    i, j = divmod(int(surface.argmax()), len(steps))
    along = surface.max(axis=0)
    inside = steps[along >= along.max() - DROP]
    return _Profile(float(along.max()), float(exponents[i]), float(steps[j]), float(inside[0]), float(inside[-1]))


def _surface(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    direction: NDArray[np.float64],
    steps: NDArray[np.float64],
    exponents: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the log-likelihood of each exponent with each step, float (exponents, steps)."""
    surface = np.empty((len(exponents), len(steps)))
    rows = np.arange(len(labels))
    for i, exponent in enumerate(exponents):
        q = _sharpened(probabilities, float(exponent))
        start, slope = q[rows, labels], (q * direction[:, labels].T).sum(axis=1)
        for first in range(0, len(steps), 64):
            part = steps[first : first + 64, None]
            surface[i, first : first + 64] = np.log(np.maximum(start + part * slope, _TINY)).sum(axis=1)
    return surface


def _pairs(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], exponent: float
) -> tuple[NDArray[np.float64], float]:
    """Fit a free matrix by expectation-maximisation, for some exponents around the given one.

    Returns:
        The matrix, float (K, K), and its log-likelihood.
    """
    k = probabilities.shape[1]
    given = np.eye(k)[labels]
    found, best = np.eye(k), -np.inf
    matrix = 0.95 * np.eye(k) + 0.05 / k
    for each in exponent * np.geomspace(0.7, 3, 7):
        q = _sharpened(probabilities, float(each))
        for _ in range(EM_STEPS):
            weights = q * matrix[:, labels].T
            total = np.maximum(weights.sum(axis=1, keepdims=True), _TINY)
            sums = (weights / total).T @ given + 1e-9
            before, matrix = matrix, sums / sums.sum(axis=1, keepdims=True)
            if np.abs(matrix - before).max() < 1e-4:
                break
        likelihood = float(np.log(np.maximum((q * matrix[:, labels].T).sum(axis=1), _TINY)).sum())
        if likelihood > best:
            found, best = matrix, likelihood
    return found, best


def _sharpened(probabilities: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Raise probabilities (N, K) to a power and bring their rows back to a sum of 1."""
    logs = exponent * np.log(np.maximum(probabilities, _TINY))
    raised = np.exp(logs - logs.max(axis=1, keepdims=True))
    scaled: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return scaled
