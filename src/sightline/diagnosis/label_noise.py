"""Probabilities from networks that never saw the images, and labels -> the share of wrong labels, and which they are.

A network errs, too: where it disagrees with a label, one of the two is wrong, and counting disagreements would blame
the labels for all that is hard to see. So a model of both is fitted by maximum likelihood. The true class i of an image
is drawn from the network's probabilities, calibrated: sharpened or softened by one exponent, and with a favour to each
class (Alexandari, Kundaje & Shrikumar, ICML 2020). The label is then drawn from row i of a matrix T (the noise model of
Patrini et al., CVPR 2017). Three forms of T are compared by Akaike's criterion (1974): no wrong labels; an equal share
of them, spread evenly over the other classes; any share between any two classes. What tells them apart is how often
labels disagree where the network is surest.

Networks that learnt too little are miscalibrated in more ways than this can mend, and what is left over looks like
wrong labels. How much is left is judged by how much the favours mend: where each gains more likelihood than chance
would let it, all other gains count for less in the same ratio, and intervals are wider (the dispersion of
quasi-likelihood, McCullagh & Nelder 1989, section 9.2).

What this cannot see: mistakes that look like the class they are called (nobody can, without another opinion), and
labels that are wrong so systematically that the network learnt them as right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis.descent import descend
from sightline.diagnosis.intervals import Figure

Kind = Literal["none", "even", "pairs"]
Verdict = Literal["wrong labels", "no sign", "cannot tell"]

EXPONENTS = np.geomspace(0.15, 15, 31)
"""Exponents of the probabilities that are tried before the best is looked for more closely."""

ROWS = 10_000
"""Images, at most, that the model is fitted to, drawn at random; all of them are scored by it."""

PAIRED, EM_STEPS = 30, 100
"""Up to how many classes pairs of them are fitted (there are K (K - 1)), and how many steps that takes at most."""

MOST = 0.6
"""Share of wrong labels, of all or of one class, above which none is looked for: most labels are taken to be right."""

WIDE = 0.2
"""Width of the interval of the share above which it says too little to act on."""

DROP = 1.92
"""Fall of the log-likelihood at the ends of a 95 % interval: half the 95 % point of chi-square with one degree."""

SIGN = 1.35
"""Gain in log-likelihood from which on there are signs of wrong labels: half the 90 % point of chi-square with one
degree, which chance exceeds in 5 of 100 sets without any, as a share cannot be below zero (Self & Liang 1987)."""

RIDGE = 1e-3
"""What keeps the favour of a class that nobody has from running away."""

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """A fitted model of wrong labels.

    Attributes:
        share: of all labels that are wrong, with the 95 % interval of its profile likelihood.
        kind: the form that was chosen.
        gain: how much better it explains the labels than no wrong ones would, in log-likelihood over the dispersion.
        dispersion: 1 for well calibrated networks; above, by how much less a gain in likelihood says.
        exponent: of the probabilities; above 1 the networks were too timid, below it too sure.
        favour: float (K,): added to the logarithms of the probabilities before that.
        matrix: float (K, K), rows sum to 1: the chance that an image of class i (row) is labelled j.
    """

    share: Figure
    kind: Kind
    gain: float
    dispersion: float
    exponent: float
    favour: NDArray[np.float64]
    matrix: NDArray[np.float64]

    @property
    def verdict(self) -> Verdict:
        """What can be said: there are wrong labels, there is no sign of any, or the interval is too wide to say."""
        if (self.share.high or 0.0) - (self.share.low or 0.0) > WIDE:
            return "cannot tell"
        return "no sign" if self.kind == "none" else "wrong labels"

    @property
    def signs(self) -> bool:
        """Whether there are wrong labels, and they can be counted."""
        return self.verdict == "wrong labels"

    def judge(
        self, probabilities: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Give the chance that each label is wrong, float (N,), and the likeliest other class, int64 (N,).

        Where the data show no sign of wrong labels, the matrix holds the share they might still have (the upper end of
        its interval), so that there is an order to look at them in.
        """
        rows = np.arange(len(labels))
        favoured = _sharpened(probabilities, 1.0, self.favour)
        true = _sharpened(favoured, self.exponent) * self.matrix[:, labels].T
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
    plain = _profile(probabilities, labels, evenly, np.zeros(1)).best
    none = _favour(probabilities, labels, noise=False)[1]
    dispersion = max(1.0, 2 * (none - plain) / (k - 1))
    favour, best = _favour(probabilities, labels, noise=True)
    probabilities = _sharpened(probabilities, 1.0, favour)
    found = _profile(probabilities, labels, evenly, np.linspace(0, MOST, 46), dispersion)
    gain = max(best, found.best) - none
    kind: Kind = "even" if gain >= SIGN * dispersion else "none"
    direction = evenly
    if k <= PAIRED:
        matrix, best = _pairs(probabilities, labels, found.exponent)
        if best - none - gain > dispersion * (k * (k - 1) - 1) and best - none > dispersion * k * (k - 1):
            kind, direction, gain = "pairs", matrix - np.eye(k), best - none
            found = _profile(probabilities, labels, direction, np.linspace(0, _reach(direction), 46), dispersion)
    steps = np.linspace(0, min(1.2 * found.high + 0.02, _reach(direction)), 121)
    found = _profile(probabilities, labels, direction, steps, dispersion, found.exponent)
    classes = _sharpened(probabilities, found.exponent).mean(axis=0)
    wrong = float(-(classes * np.diag(direction)).sum())  # the share of wrong labels that one step makes
    low, value, high = (float(step * wrong) for step in (found.low, found.step, found.high))
    if kind == "none":
        low, value, found = 0.0, 0.0, replace(found, step=found.high)
    matrix = np.eye(k) + found.step * direction
    gain = max(0.0, gain / dispersion)
    return LabelNoise(Figure(value, low, high), kind, gain, dispersion, found.exponent, favour, matrix)


def _favour(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], *, noise: bool
) -> tuple[NDArray[np.float64], float]:
    """Fit what each class's log-probability is raised by, together with the exponent and, if wanted, an even noise.

    Returns:
        The favours, float (K,), and the log-likelihood.
    """
    n, k = probabilities.shape
    logs = np.log(np.maximum(probabilities, _TINY))
    logs -= logs.max(axis=1, keepdims=True)
    rows, given = np.arange(n), np.eye(k)[labels]

    def cost(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        exponent, bias = np.exp(point[0]), point[1 : k + 1]
        share = MOST / (1 + np.exp(-point[-1])) if noise else 0.0
        scores = exponent * logs + bias
        q = np.exp(scores - scores.max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        own = q[rows, labels]
        chance = np.maximum((1 - share) * own + share * (1 - own) / (k - 1), _TINY)
        by_score = -((1 - share - share / (k - 1)) / chance * own)[:, None] * (given - q)
        slope = [(by_score * logs).sum() * exponent, *(by_score.sum(axis=0) + RIDGE * bias)]
        if noise:
            slope.append(-(((1 - own) / (k - 1) - own) / chance).sum() * share * (1 - share / MOST))
        return float(-np.log(chance).sum() + RIDGE / 2 * (bias**2).sum()), np.array(slope)

    high = np.array([np.log(EXPONENTS[-1]), *[9.0] * (k + noise)])
    low = np.array([np.log(EXPONENTS[0]), *[-9.0] * (k + noise)])
    starts = (np.array([exponent, *np.zeros(k), *([-2.0] if noise else [])]) for exponent in (0.0, 1.5))
    point, least = min((descend(cost, start, low, high) for start in starts), key=lambda found: found[1])
    return point[1 : k + 1] / np.exp(point[0]), -least


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
    dispersion: float = 1.0,
    around: float | None = None,
) -> _Profile:
    """Look along ``I + step * direction`` for the largest likelihood, and for the steps that come near it.

    Each step has the exponent that suits it best: without that, the interval would be too narrow.

    Args:
        probabilities: as for ``estimate``.
        labels: likewise.
        direction: float (K, K), rows sum to 0.
        steps: from 0 on.
        dispersion: what the interval's fall in log-likelihood is multiplied by.
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
    inside = steps[along >= along.max() - DROP * dispersion]
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


def _sharpened(
    probabilities: NDArray[np.float64], exponent: float, favour: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float64]:
    """Raise probabilities (N, K), each class favoured, to a power and bring their rows back to a sum of 1."""
    logs = exponent * (np.log(np.maximum(probabilities, _TINY)) + favour)
    raised = np.exp(logs - logs.max(axis=1, keepdims=True))
    scaled: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return scaled
