"""Scores of paired trainings -> how much one way of training is better than another, and whether that may be luck.

Two ways of training are trained with the same seeds and scored on the same examples. What is compared is the
difference within each seed, so that what both have in common (the split, the order of the images, an easy test part)
takes no part in it.

*Seeds.* The mean of the differences of S seeds has Student's interval with S - 1 degrees of freedom (1908), which keeps
its promise for S = 2 to 5, where a bootstrap is too narrow. *Examples.* Where all seeds are scored on the same N
examples, seeds and examples are two crossed sources of chance (Owen 2007, Annals of Applied Statistics 1:386): what
the examples add beyond their share in the spread of the seeds is added to the interval, in quadrature. *Splits.* Where
each seed has a split of its own, the training sets of the seeds overlap and so their scores vary less than those of
new data would: the interval is widened by the ratio of scored to training examples (Nadeau and Bengio 2003, Machine
Learning 52:239). *One seed* has an interval over its examples only, and nothing is claimed: another seed may differ.

*Several comparisons.* Their intervals hold together (Bonferroni): in at least 95 of 100 such experiments, all of them
contain the truth, and so in at most 5 of 100 experiments without any difference one is called real.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Word = Literal["real", "may be luck", "too small to matter"]

LEVEL = 0.95
"""How sure the intervals of one experiment are, all together."""


@dataclass(frozen=True)
class Measure:
    """A figure that trainings are compared by.

    Attributes:
        title: what people call it.
        kind: ``share`` (of examples, 0..1), ``loss`` (nats) or ``time`` (seconds).
        lower: whether less is better.
        matters: the difference from which on it matters: of shares, in shares; of losses and times, relative.
    """

    title: str
    kind: Literal["share", "loss", "time"]
    lower: bool
    matters: float


MEASURES = {
    "test_accuracy": Measure("test accuracy", "share", lower=False, matters=0.005),
    "test_balanced_accuracy": Measure("balanced test accuracy", "share", lower=False, matters=0.005),
    "valid_accuracy": Measure("validation accuracy", "share", lower=False, matters=0.005),
    "valid_loss": Measure("validation loss", "loss", lower=True, matters=0.01),
    "train_error": Measure("final training error", "share", lower=True, matters=0.005),
    "train_seconds": Measure("training time", "time", lower=True, matters=0.05),
}
"""What can be measured of a training, in the order in which it is told."""


@dataclass(frozen=True, eq=False)
class Score:
    """One figure of one training.

    Attributes:
        value: the figure.
        examples: float (N,), a number per example whose mean is ``value``; None where the figure has none.
        rows: names the N examples: scores with the same ``rows`` are about the same examples in the same order.
        trained: how many examples it was trained on; 0 if unknown.
    """

    value: float
    examples: NDArray[np.float64] | None = None
    rows: str = ""
    trained: int = 0


@dataclass(frozen=True)
class Contrast:
    """How much one way of training differs from another in one figure.

    Attributes:
        value: mean over seeds of ours - theirs; for times, of the logarithm of ours / theirs.
        low: lower end of the interval, or None where one seed without examples gives none.
        high: upper end, likewise.
        seeds: how many pairs of trainings.
        examples: how many examples each seed was scored on, if they were compared one by one; else 0.
        word: ``real``: the interval excludes 0. ``too small to matter``: it lies within what does not matter.
            ``may be luck``: neither, or there is one seed only.
        better: whether ours is the better one by ``value``; None where they are equal.
        margin: from this difference on it matters, in the unit of ``value``.
        apart: whether the two were scored on different examples, so that only seeds are paired.
        wanted: seeds by which a difference of this size would probably be told from luck; None where it is, or
            where one seed says nothing about others.
    """

    value: float
    low: float | None
    high: float | None
    seeds: int
    examples: int
    word: Word
    better: bool | None
    margin: float
    apart: bool = False
    wanted: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return dict(vars(self))


def contrast(
    ours: Sequence[Score],
    theirs: Sequence[Score],
    measure: Measure,
    *,
    comparisons: int = 1,
    matters: float | None = None,
    level: float = LEVEL,
) -> Contrast:
    """Compare two ways of training in one figure.

    Args:
        ours: one score per seed, at least one.
        theirs: the scores of the other with the same seeds, in the same order.
        measure: what the figure is.
        comparisons: how many such comparisons the experiment makes; their intervals hold together.
        matters: the difference from which on it matters, as in ``Measure``; None takes the measure's.
        level: how sure the intervals are together.
    """
    if measure.kind == "time":
        pairs = [
            (math.log(max(a.value, 1e-9)), math.log(max(b.value, 1e-9))) for a, b in zip(ours, theirs, strict=True)
        ]
    else:
        pairs = [(a.value, b.value) for a, b in zip(ours, theirs, strict=True)]
    differences = np.array([a - b for a, b in pairs])
    value, seeds = float(differences.mean()), len(differences)
    confidence = 1 - (1 - level) / comparisons
    table = _by_example(ours, theirs)
    half = _half(differences, table, ours, confidence, share=measure.kind == "share")
    margin = measure.matters if matters is None else matters
    if measure.kind == "loss":
        margin *= abs(float(np.mean([b for _, b in pairs])))
    elif measure.kind == "time":
        margin = math.log1p(margin)
    word: Word = "may be luck"
    if half is not None and seeds > 1:
        if value - half >= -margin and value + half <= margin:
            word = "too small to matter"
        elif abs(value) > half:
            word = "real"
    return Contrast(
        value=value,
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        seeds=seeds,
        examples=0 if table is None else table[0].shape[0],
        word=word,
        better=None if value == 0 else (value < 0) == measure.lower,
        margin=margin,
        apart=any(a.rows != b.rows for a, b in zip(ours, theirs, strict=True)),
        wanted=_wanted(differences, confidence) if word == "may be luck" else None,
    )


def spread(scores: Sequence[Score], level: float = LEVEL) -> tuple[float, float | None, float | None]:
    """Give the mean over seeds and Student's interval of what another seed's mean would be near; None for one seed."""
    values = np.array([score.value for score in scores])
    mean = float(values.mean())
    if len(values) < 2:
        return mean, None, None
    half = _student(level, len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _by_example(ours: Sequence[Score], theirs: Sequence[Score]) -> list[NDArray[np.float64]] | None:
    """Give the differences of each seed's examples, (N,) each, if every pair was scored on the same ones."""
    found = []
    for a, b in zip(ours, theirs, strict=True):
        if a.examples is None or b.examples is None or a.rows != b.rows or len(a.examples) != len(b.examples):
            return None
        found.append(np.asarray(a.examples, dtype=np.float64) - np.asarray(b.examples, dtype=np.float64))
    return found


def _half(
    differences: NDArray[np.float64],
    table: list[NDArray[np.float64]] | None,
    ours: Sequence[Score],
    confidence: float,
    *,
    share: bool,
) -> float | None:
    """Give half the width of the interval; None where there is nothing to take it from."""
    from scipy.special import ndtri

    seeds = len(differences)
    if seeds == 1:
        if table is None or len(table[0]) < 2:
            return None
        return _student(confidence, len(table[0]) - 1) * math.sqrt(_of_examples(table[0], 1, share))
    quantile = _student(confidence, seeds - 1)
    of_seeds = float(differences.var(ddof=1)) / seeds
    if table is None:
        return quantile * math.sqrt(of_seeds)
    if len({score.rows for score in ours}) > 1:  # each seed has a split of its own
        ratios = [len(found) / score.trained for found, score in zip(table, ours, strict=True) if score.trained]
        overlap = seeds * float(np.mean(ratios)) if len(ratios) == seeds else 0.0
        return quantile * math.sqrt(of_seeds * (1 + overlap))
    cells = np.stack(table)  # (S, N)
    by_example = cells.mean(axis=0)
    rest = cells - by_example - cells.mean(axis=1, keepdims=True) + cells.mean()
    count = cells.shape[1]
    both = float((rest**2).sum()) / max((seeds - 1) * (count - 1), 1) / cells.size
    beyond = max(0.0, _of_examples(by_example, seeds, share) - both)
    return math.sqrt(quantile**2 * of_seeds + float(ndtri((1 + confidence) / 2)) ** 2 * beyond)


def _of_examples(means: NDArray[np.float64], seeds: int, share: bool) -> float:
    """Give the variance of a mean over examples: float (N,), each the mean over seeds.

    Of shares, one example more on each side is counted in for each seed (Bonett and Price 2012, J. Educ. Behav. Stat.
    37:479): without them, two trainings that agree on all of 100 examples would be held to agree for ever.
    """
    count = len(means)
    squares = float(((means - means.mean()) ** 2).sum()) + (2.0 / seeds if share else 0.0)
    return squares / count / max(count - 1, 1)


def _student(confidence: float, degrees: int) -> float:
    """Give how many standard errors on each side hold ``confidence`` of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + confidence) / 2))


def _wanted(differences: NDArray[np.float64], confidence: float, most: int = 100) -> int | None:
    """Give the seeds by which Student's interval would exclude 0 in four of five experiments, were all as measured."""
    from scipy.special import stdtr

    seeds, deviation, value = len(differences), float(differences.std(ddof=1)) if len(differences) > 1 else 0.0, 0.0
    value = abs(float(differences.mean()))
    if deviation == 0 or value == 0:
        return None
    for count in range(seeds + 1, most + 1):
        far = value / (deviation / math.sqrt(count)) - _student(confidence, count - 1)
        if float(stdtr(count - 1, far)) >= 0.8:
            return count
    return None
