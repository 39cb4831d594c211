"""What members answered, and the truth -> how often they agree, and how often they are wrong together."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pair:
    """Two members side by side on the same images.

    Attributes:
        first: number of the one.
        second: number of the other.
        differ: share of images that they call by different names, 0..1.
        overlap: of the images that either gets wrong, the share that both get wrong, 0..1; None if there are none.
        q: Yule's Q of being right, -1..1: 1 where they are right on the same images, 0 where chance would have it so
            (Kuncheva and Whitaker 2003, eq. 5); None where it is 0 / 0.
        kappa: agreement of the names they give beyond chance, 1 at most (Cohen 1960); None if chance explains all.
    """

    first: int
    second: int
    differ: float
    overlap: float | None
    q: float | None
    kappa: float | None


@dataclass(frozen=True)
class Diversity:
    """How far members differ.

    Attributes:
        pairs: every two of them.
        differ: mean share of images that two members call by different names.
        overlap: mean of the pairs' overlaps of errors, or None.
        q: mean of the pairs' Q, or None.
        unanimous: share of images that all call by the same name.
        none_right: share of images that no member gets right: no vote can.
        same_wrong: share of images that all call by the same wrong name.
    """

    pairs: tuple[Pair, ...]
    differ: float
    overlap: float | None
    q: float | None
    unanimous: float
    none_right: float
    same_wrong: float

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return {**asdict(self), "pairs": [asdict(pair) for pair in self.pairs]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Diversity:
        """Read what ``as_dict`` gave."""
        return cls(**{**values, "pairs": tuple(Pair(**pair) for pair in values["pairs"])})


def measure(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> Diversity:
    """Compare what members answered.

    Args:
        predicted: int (M, N): the class each of M members names for each of N images; M >= 2, N >= 1.
        labels: int (N,).
    """
    right = predicted == labels
    pairs = tuple(_pair(i, j, predicted, right) for i, j in itertools.combinations(range(len(predicted)), 2))
    same = (predicted == predicted[0]).all(axis=0)
    return Diversity(
        pairs,
        differ=float(np.mean([pair.differ for pair in pairs])),
        overlap=_known([pair.overlap for pair in pairs]),
        q=_known([pair.q for pair in pairs]),
        unanimous=float(same.mean()),
        none_right=float((~right).all(axis=0).mean()),
        same_wrong=float((same & ~right[0]).mean()),
    )


def _pair(i: int, j: int, predicted: NDArray[np.int64], right: NDArray[np.bool_]) -> Pair:
    a, b = predicted[i], predicted[j]
    both, neither = int((right[i] & right[j]).sum()), int((~right[i] & ~right[j]).sum())
    first, second = int((right[i] & ~right[j]).sum()), int((~right[i] & right[j]).sum())
    wrong = neither + first + second
    odds = both * neither + first * second
    agree = float((a == b).mean())
    classes = int(max(a.max(), b.max())) + 1
    chance = float((np.bincount(a, minlength=classes) * np.bincount(b, minlength=classes)).sum()) / len(a) ** 2
    return Pair(
        i,
        j,
        differ=1 - agree,
        overlap=neither / wrong if wrong else None,
        q=(both * neither - first * second) / odds if odds else None,
        kappa=(agree - chance) / (1 - chance) if chance < 1 else None,
    )


def _known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
