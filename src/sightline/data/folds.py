"""Labels, groups and digests -> K folds: each holds its share of every class, and no image is on two sides."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.randomness import shuffled
from sightline.data.split import Members, joined
from sightline.errors import SettingsError, SourceError


def folds(
    labels: NDArray[np.int64],
    count: int,
    *,
    groups: NDArray[Any] | None = None,
    digests: NDArray[Any] | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Deal rows into folds of equal size and equal shares of the classes.

    Rows with the same group or the same digest stay together. Without such rows the folds differ by one image of each
    class at most; with them, as well as their sizes allow: the largest sets are dealt first, each to the fold that has
    fewest of its classes. The same arguments give the same folds.

    Args:
        labels: int64 (N,), 0..K-1.
        count: how many folds, 2 or more.
        groups: a name for each row (patient, video), (N,); an empty name is a group of its own.
        digests: equal for equal images, (N,); an empty one stands alone.
        seed: another seed, other folds.

    Returns:
        int64 (N,), 0..count-1: the fold of each row.

    Raises:
        SettingsError: fewer than two folds, or more than rows.
        SourceError: fewer sets of rows that stay together than folds.
    """
    if not 2 <= count <= len(labels):
        raise SettingsError(
            f"{len(labels):,} images cannot be dealt into {count} folds.", f"Use 2 to {len(labels)} folds; 5 are usual."
        )
    sets = joined(groups, digests, count=len(labels))
    members = Members(sets)
    if len(members.sizes) < count:
        raise SourceError(
            f"all images are in {len(members.sizes)} group{'s' * (len(members.sizes) > 1)} (or duplicates of each "
            f"other), too few for {count} folds that share none.",
            f"Use at most {len(members.sizes)} folds, or add images of other groups.",
        )
    totals = np.bincount(labels)
    have = np.zeros((count, len(totals)))
    fold = np.full(len(labels), -1)
    luck = shuffled(seed, 0, np.arange(len(members.sizes)), purpose="split")
    largest_first = luck[np.argsort(-members.sizes[luck], kind="stable")]
    for number in largest_first[: np.count_nonzero(members.sizes > 1)].tolist():
        rows = members[number]
        has = np.bincount(labels[rows], minlength=len(totals))
        k = np.flatnonzero(has)
        over = ((have[:, k] + has[k]) ** 2 / totals[k]).sum(axis=1) - (have[:, k] ** 2 / totals[k]).sum(axis=1)
        choice = int(np.lexsort((have.sum(axis=1), over.round(12)))[0])
        fold[rows] = choice
        have[choice] += has
    for label in range(len(totals)):
        rows = np.flatnonzero((fold < 0) & (labels == label))
        rows = rows[shuffled(seed, 1 + label, rows, purpose="split")]
        share = _level(have[:, label], len(rows), have.sum(axis=1))
        fold[rows] = np.repeat(np.arange(count), share)
        have[:, label] += share
    return fold


def _level(have: NDArray[np.float64], spare: int, sums: NDArray[np.float64]) -> NDArray[np.int64]:
    """Share out ``spare`` rows so that what each fold has comes as near to equal as can be, int64 (folds,).

    What cannot be shared evenly goes to the folds that are smallest in all.
    """
    order = np.argsort(have, kind="stable")
    take = np.zeros(len(have), np.int64)
    for lowest in range(len(have), 0, -1):  # the level that the lowest folds can be raised to
        level = (have[order[:lowest]].sum() + spare) / lowest
        if level >= have[order[lowest - 1]]:
            break
    filled = order[:lowest]
    take[filled] = np.floor(level - have[filled] + 1e-9).astype(np.int64)
    rest = spare - int(take.sum())
    take[filled[np.argsort(sums[filled] + take[filled], kind="stable")][:rest]] += 1
    return take
