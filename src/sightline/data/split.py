"""Labels, groups and digests -> rows for training, validation and test: stratified, seeded, no image on two sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.images import SPLITS
from sightline.data.randomness import shuffled
from sightline.errors import SettingsError, SourceError

TRAIN, VALID, TEST = range(3)


@dataclass(frozen=True, eq=False)
class Split:
    """Which rows of the pixel store serve for what; each row serves for one thing.

    Attributes:
        train: int64, ascending: rows the weights are fitted to.
        valid: int64, ascending: rows that choose the epoch and the settings.
        test: int64, ascending, may be empty: rows that are looked at once, at the end.
        notes: sentences: how it was made, and what it could not do.
    """

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def split(
    labels: NDArray[np.int64],
    *,
    splits: NDArray[np.str_] | None = None,
    groups: NDArray[Any] | None = None,
    digests: NDArray[Any] | None = None,
    valid: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> Split:
    """Keep the splits that are given; carve the missing ones out of the training rows.

    A given part is never changed, not even where the same image is in two of them. What is carved is stratified:
    without groups and duplicates, each class has its share of every part to within one image, and so has the
    whole. Rows with the same group or the same digest stay together; then the shares are met as well as the sizes
    of the groups allow. Every class keeps a training image. The same arguments give the same split.

    Args:
        labels: int64 (N,), 0..K-1.
        splits: 'train' | 'valid' | 'test' for each row, str (N,); None: nothing is given.
        groups: a name for each row (patient, video), (N,); an empty name is a group of its own.
        digests: equal for equal images, (N,); an empty one stands alone.
        valid: share of the rows to carve for validation where none is given, of all rows or, with given parts,
            of the given training rows; above 0.
        test: the same for the test part; 0 leaves it empty.
        seed: another seed, another split.
        classes: K names, for the messages.

    Raises:
        SettingsError: the shares leave nothing to train on.
        SourceError: a class has one image, there are too few images or groups, or no row is given for training.
    """
    if valid <= 0 or test < 0 or valid + test >= 1:
        raise SettingsError(
            f"validation share {valid:g} and test share {test:g} leave no images to train on, or none to validate on.",
            "Use shares above 0 whose sum is below 1, such as 0.1 and 0.1; the test share may be 0.",
        )
    names = [str(name) for name in classes] if classes is not None else [str(k) for k in range(_count(labels))]
    part = _given(splits, len(labels))
    shares = np.array([0.0, 0.0 if (part == VALID).any() else valid, 0.0 if (part == TEST).any() else test])
    shares[TRAIN] = 1 - shares.sum()
    pool = np.flatnonzero(part == TRAIN)
    notes = [_how(part, shares, seed)]
    if shares[TRAIN] < 1:
        _refuse_single(np.bincount(labels, minlength=len(names)), names)
        sets = joined(*(None if keys is None else keys[pool] for keys in (groups, digests)), count=len(pool))
        together = len(pool) - int(sets.max() + 1)
        if together:
            notes.append(f"{together} images stay with another image of their group or with their duplicate.")
        part[pool] = _carve(labels[pool], sets, shares, seed)
    counts = np.array([np.bincount(labels[part == p], minlength=len(names)) for p in range(3)])
    notes += _missing(counts, names)
    train, validation, final = (np.flatnonzero(part == p).astype(np.int64) for p in range(3))
    return Split(train, validation, final, tuple(notes))


def _count(labels: NDArray[np.int64]) -> int:
    return int(labels.max()) + 1 if len(labels) else 0


def _given(splits: NDArray[np.str_] | None, count: int) -> NDArray[np.int64]:
    """Number the given parts, int64 (N,); everything is for training where nothing is given."""
    if count == 0:
        raise SourceError("there are no images to split.", "Give a source with at least two images of each class.")
    if splits is None:
        return np.zeros(count, np.int64)
    part = np.full(count, -1)
    for number, name in enumerate(SPLITS):
        part[splits == name] = number
    if (part < 0).any():
        odd = splits[part < 0][0]
        raise SourceError(f"'{odd}' is no split.", f"Name each split one of: {', '.join(SPLITS)}.")
    if not (part == TRAIN).any():
        has = " and ".join(name for number, name in enumerate(SPLITS) if (part == number).any())
        raise SourceError(
            f"the source gives images for {has}, but none for training.",
            "Name the training part 'train', or give the source without splits.",
        )
    return part


def _refuse_single(counts: NDArray[np.int64], names: Sequence[str]) -> None:
    single = [names[k] for k in np.flatnonzero(counts == 1).tolist()]
    if single:
        raise SourceError(
            f"{_listed('class', single)} {'has' if len(single) == 1 else 'have'} one image; "
            "one to learn from and one to check with are the least that can be split.",
            "Add images of it, leave the class out, or give the split yourself (folders 'train', 'valid', 'test').",
        )


def joined(*keys: NDArray[Any] | None, count: int) -> NDArray[np.int64]:
    """Number the sets of rows that share a key, directly or through others: int64 (N,), 0..sets-1 (union-find)."""
    parent = list(range(count))
    linked: set[int] = set()

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in keys:
        if column is None:
            continue
        _, first, inverse = np.unique(column, return_index=True, return_inverse=True)
        same = first[inverse]
        empty = column == column.dtype.type() if column.dtype.kind in "SU" else np.zeros(count, bool)
        for row, other in np.stack([np.arange(count), same], 1)[(same != np.arange(count)) & ~empty].tolist():
            parent[root(row)] = root(other)
            linked.update((row, other))
    roots = np.arange(count)
    for row in linked:
        roots[row] = root(row)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


class Members:
    """The rows of each set, without a million small arrays.

    Args:
        sets: int64 (N,), the set of each row.
    """

    def __init__(self, sets: NDArray[np.int64]) -> None:
        self.order = np.argsort(sets, kind="stable")
        self.sizes = np.bincount(sets)
        self.stop = np.cumsum(self.sizes)

    def __getitem__(self, number: int) -> NDArray[np.int64]:
        return self.order[self.stop[number] - self.sizes[number] : self.stop[number]]

    def by_size(self) -> Iterator[NDArray[np.int64]]:
        """Give the rows of each set, the smallest set first."""
        return (self[number] for number in np.argsort(self.sizes, kind="stable"))


def _carve(
    labels: NDArray[np.int64], sets: NDArray[np.int64], shares: NDArray[np.float64], seed: int
) -> NDArray[np.int64]:
    """Give each row its part, int64 (N,): sets of several rows first, the largest first; single rows even it out."""
    number = _count(labels)
    members = Members(sets)
    sizes = members.sizes
    if len(sizes) < np.count_nonzero(shares):
        raise SourceError(
            f"all images are in {len(sizes)} group{'s' * (len(sizes) > 1)} (or duplicates of each other), "
            f"too few for {np.count_nonzero(shares)} parts that share none.",
            "Add images of other groups, or give the split yourself; --test-fraction 0 does without a test part.",
        )
    totals = np.bincount(labels, minlength=number)
    wanted = shares[:, None] * totals
    counts = np.zeros((3, number))
    part = np.full(len(labels), TRAIN)
    luck = shuffled(seed, 0, np.arange(len(sizes)), purpose="split")
    largest_first = luck[np.argsort(-sizes[luck], kind="stable")]
    for s in largest_first[: np.count_nonzero(sizes > 1)]:
        has = np.bincount(labels[members[s]], minlength=number)
        part[members[s]] = choice = _neediest(has, counts, wanted, shares)
        counts[choice] += has
    single = np.flatnonzero(sizes[sets] == 1)
    part[single] = _even_out(labels[single], counts, wanted, shares, seed)
    return _mend(labels, part, members, shares)


def _neediest(
    has: NDArray[np.int64], counts: NDArray[np.float64], wanted: NDArray[np.float64], shares: NDArray[np.float64]
) -> int:
    """Choose the part to which a set's classes bring counts nearest to what is wanted, by chi-square."""
    k = np.flatnonzero(has)
    cost = np.full(3, np.inf)
    for p in np.flatnonzero(shares):
        cost[p] = ((2 * has[k] * (counts[p, k] - wanted[p, k]) + has[k] ** 2) / wanted[p, k]).sum()
    return int(cost.argmin())


def _even_out(
    labels: NDArray[np.int64],
    counts: NDArray[np.float64],
    wanted: NDArray[np.float64],
    shares: NDArray[np.float64],
    seed: int,
) -> NDArray[np.int64]:
    """Give single rows the part that still lacks their class, int64 (n,); sums are met within one row.

    Shares are rounded down, and what that leaves of the sum goes to the classes that lost most (largest remainder).
    """
    number = counts.shape[1]
    have = np.bincount(labels, minlength=number)
    free = np.maximum(have - (counts[TRAIN] == 0), 0)  # one stays to learn from
    luck = shuffled(seed, 1, np.arange(len(labels)), purpose="split")
    queue = luck[np.argsort(labels[luck], kind="stable")]  # by class, in random order within each
    start = np.cumsum(have) - have
    part = np.full(len(labels), TRAIN)
    for p in (VALID, TEST):
        lacking = np.where(shares[p], np.maximum(wanted[p] - counts[p], 0), 0)
        take = np.minimum(np.floor(lacking + 1e-9).astype(np.int64), free)
        rest = lacking - take
        draw = np.argsort(shuffled(seed, 1 + p, np.arange(number), purpose="split"))
        order = np.lexsort((draw, -rest.round(9)))
        order = order[(free[order] > take[order]) & (rest[order] > 1e-9)]
        take[order[: max(0, round(lacking.sum()) - int(take.sum()))]] += 1
        for k in np.flatnonzero(take):
            part[queue[start[k] : start[k] + take[k]]] = p
        start, free = start + take, free - take
    return part


def _mend(
    labels: NDArray[np.int64], part: NDArray[np.int64], members: Members, shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Move the smallest sets that give every class a training row, and every wanted part a row."""
    number = _count(labels)
    seen = np.bincount(labels, minlength=number) > 0
    for k in np.flatnonzero(seen & (np.bincount(labels[part == TRAIN], minlength=number) == 0)):
        part[next(rows for rows in members.by_size() if (labels[rows] == k).any())] = TRAIN
    for p in (VALID, TEST):
        if shares[p] and not (part == p).any():
            counts = np.bincount(labels[part == TRAIN], minlength=number)
            for rows in members.by_size():
                has = np.bincount(labels[rows], minlength=number)
                if part[rows[0]] == TRAIN and (counts[has > 0] > has[has > 0]).all():
                    part[rows] = p
                    break
            else:
                raise SourceError(
                    f"no image can be spared for the {'validation' if p == VALID else 'test'} part: every class needs "
                    "one to train on, and groups and duplicates stay together.",
                    "Add images, or give the split yourself; --test-fraction 0 does without a test part.",
                )
    return part


def _how(part: NDArray[np.int64], shares: NDArray[np.float64], seed: int) -> str:
    given = [name for number, name in enumerate(SPLITS) if number and (part == number).any()]
    carved = [f"{name} {shares[number]:.0%}" for number, name in enumerate(SPLITS) if number and shares[number]]
    if not carved:
        return "Splits are used as given."
    made = f"{' and '.join(carved)} of {'the training images' if given else 'all images'}, stratified, seed {seed}"
    return f"Split: {f'{given[0]} as given; ' if given else ''}{made}."


def _missing(counts: NDArray[np.int64], names: Sequence[str]) -> list[str]:
    """Say which classes a part lacks, and what that means."""
    found = []
    means = ("the network cannot learn", "no epoch is chosen by", "no score is given for")
    for number, name in enumerate(("training", "validation", "test")):
        lacks = np.flatnonzero((counts[number] == 0) & (counts.sum(axis=0) > 0)).tolist()
        if len(lacks) and counts[number].any():
            has, it = ("has", "it") if len(lacks) == 1 else ("have", "them")
            told = _listed("class", [names[k] for k in lacks])
            found.append(f"{told} {has} no {name} image: {means[number]} {it}.")
    return found


def _listed(noun: str, names: Sequence[str], most: int = 5) -> str:
    """Name a few: ``class 'a'``, ``classes 'a', 'b' and 3 more``."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{noun if len(names) == 1 else noun + 'es'} {shown}{more}"
