"""The probabilities of several members -> those of their vote: hard, soft, weighted; the weights, the best subset."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import SettingsError, did_you_mean

ALL_SUBSETS = 12
"""Up to how many members every subset is tried; above, the best is grown one member at a time."""

SMALLEST = 1e-12
"""A probability counts as this much at least, so that one certain error does not decide everything."""


@dataclass(frozen=True)
class Vote:
    """One way to make many opinions one.

    Attributes:
        description: one line for help texts.
        count: (probabilities (M, N, K), weights (M,) that add up to 1) -> probabilities (N, K).
    """

    description: str
    count: Callable[[NDArray[Any], NDArray[np.float64]], NDArray[np.float64]]


def _mean(probabilities: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.tensordot(weights, probabilities, axes=1)
    return found


def _most(probabilities: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count votes, and add the mean of the probabilities as if it were one more voter.

    A vote is worth 1 and the mean at most 1, so the class with most votes wins, and where two have as many, the one
    with more probability in sum does. The result is a probability that is nowhere 0, which shares of votes are not.
    """
    members, _, classes = probabilities.shape
    chosen = probabilities.argmax(axis=2)
    votes = (chosen[:, :, None] == np.arange(classes)).sum(axis=0)
    found: NDArray[np.float64] = (votes + _mean(probabilities, weights)) / (members + 1)
    return found


VOTES: dict[str, Vote] = {
    "hard": Vote("each member names one class; most votes win, ties go to the larger sum of probabilities", _most),
    "soft": Vote("the mean of the members' probabilities", _mean),
    "weighted": Vote("their mean with weights, which are fitted on validation images", _mean),
}
"""The ways to vote."""


def check(kind: str) -> str:
    """Refuse a way to vote that there is not."""
    if kind not in VOTES:
        raise SettingsError(
            f"there is no vote '{kind}'.{did_you_mean(kind, VOTES)}", f"Use one of: {', '.join(VOTES)}."
        )
    return kind


def count(
    probabilities: NDArray[Any], kind: str = "soft", weights: Sequence[float] | NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Let members vote.

    Args:
        probabilities: float (M, N, K), of M members for N images; rows sum to 1.
        kind: a name of ``VOTES``.
        weights: (M,), 0 or more, for the weighted vote; they are divided by their sum. None: equal.

    Returns:
        float64 (N, K); rows sum to 1, and their largest is the class voted for.

    Raises:
        SettingsError: no such vote, or weights that do not fit.
    """
    found: NDArray[np.float64] = np.asarray(
        VOTES[check(kind)].count(np.asarray(probabilities, np.float64), shares(weights, len(probabilities)))
    )
    return found


def shares(weights: Sequence[float] | NDArray[np.float64] | None, members: int) -> NDArray[np.float64]:
    """Give weights that add up to 1, float64 (M,): those given, or equal ones.

    Raises:
        SettingsError: they are not one for each member, or negative, or all 0.
    """
    if weights is None:
        return np.full(members, 1 / members)
    given = np.asarray(weights, np.float64)
    if given.shape != (members,):
        raise SettingsError(
            f"there are {given.size} weights for {members} members.", "Give one weight for each, or --weights auto."
        )
    if not np.isfinite(given).all() or (given < 0).any() or given.sum() <= 0:
        raise SettingsError(
            f"the weights {', '.join(f'{w:g}' for w in given)} cannot be shares of a vote.",
            "Give numbers of 0 or more, at least one above 0.",
        )
    return np.asarray(given / given.sum())


def logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give logarithms of probabilities (N, K), which are logits whose softmax gives the probabilities again."""
    return np.log(np.maximum(probabilities, SMALLEST))


def fit_weights(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Find the weights under which the mean of the members makes the labels likeliest.

    Mixture weights by expectation-maximisation (Dempster et al. 1977, section 4.3); the likelihood is concave in them,
    so it ends at the best ones. Each member is given one image in advance, for which it alone stands: few images
    then leave the weights near equal.

    Args:
        probabilities: float (M, N, K), on *validation* images: no member may have been trained on them.
        labels: int64 (N,).

    Returns:
        float64 (M,), 0..1, summing to 1.
    """
    members, images, _ = np.shape(probabilities)
    true = np.maximum(np.asarray(probabilities)[:, np.arange(images), labels].astype(np.float64), SMALLEST)
    weights = np.full(members, 1 / members)
    for _ in range(1000):
        blame = weights[:, None] * true
        blame /= blame.sum(axis=0)
        better = (blame.sum(axis=1) + 1) / (images + members)
        if np.abs(better - weights).max() < 1e-9:
            break
        weights = better
    return weights


def loss(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Average the negative log-likelihood of probabilities (N, K), in nats per image."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], SMALLEST)).mean())


def best_subset(
    probabilities: NDArray[Any],
    labels: NDArray[np.int64],
    kind: str = "soft",
    weights: NDArray[np.float64] | None = None,
) -> tuple[int, ...]:
    """Find the members whose vote has the lowest loss; of equals, the fewest.

    Up to ``ALL_SUBSETS`` members all subsets are tried; above, members are added one by one, each time the one that
    helps most, and the best of these is taken (Caruana et al. 2004, section 2.1, without replacement).

    Args:
        probabilities: float (M, N, K), on *validation* images.
        labels: int64 (N,).
        kind: of the vote.
        weights: of the members, as for ``count``.

    Returns:
        Numbers of members, ascending, one at least.
    """
    members = len(probabilities)
    share = shares(weights, members)

    def cost(chosen: tuple[int, ...]) -> tuple[float, int]:
        these = list(chosen)
        if share[these].sum() <= 0:
            return float("inf"), len(these)
        return round(loss(count(probabilities[these], kind, share[these]), labels), 9), len(these)

    if members <= ALL_SUBSETS:
        tried = itertools.chain.from_iterable(
            itertools.combinations(range(members), size) for size in range(1, members + 1)
        )
        return min(tried, key=cost)
    grown: list[tuple[int, ...]] = [()]
    while len(grown[-1]) < members:
        rest = (m for m in range(members) if m not in grown[-1])
        grown.append(min((tuple(sorted((*grown[-1], m))) for m in rest), key=cost))
    return min(grown[1:], key=cost)
