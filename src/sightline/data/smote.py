"""Examples of rare classes -> invented ones: for each, two parents and a place on the line between them (SMOTE).

N. V. Chawla, K. W. Bowyer, L. O. Hall, W. P. Kegelmeyer, "SMOTE: synthetic minority over-sampling technique", JAIR 16,
2002: an example, one of its nearest neighbours of the same class, and a random place in between. The drawing is
imbalanced-learn's. It is handed the rows of a unit matrix instead of pixels, and a search for neighbours that knows
what stands behind them: what it returns for an invented example are then the shares of its parents. So no pixel is
copied, no float64 made, and an invented example's parents are known; its values are mixed when a batch needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import SettingsError
from sightline.progress import Progress

if TYPE_CHECKING:
    import torch

BLOCK = 16_000_000
"""Numbers in a block of examples, and in one of distances (64 MB of float32); a few of them are held at a time."""


@dataclass(frozen=True, eq=False)
class Invented:
    """M invented examples, by class; example i is ``first + place x (second - first)``.

    Attributes:
        first: a parent: a row of the array, int64 (M,).
        second: the other parent, of the same class, int64 (M,).
        place: how far from the first to the second, float32 (M,), 0..1.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    place: NDArray[np.float32]


def invent(
    array: NDArray[Any],
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    neighbours: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
) -> Invented:
    """Bring every class of the given rows to the size of the largest.

    Args:
        array: what distances are measured on, flattened, one example a row: (N, ...), uint8 or float32, memory-mapped
            or not. Read in blocks.
        labels: of the array's rows, int64 (N,).
        rows: which rows there are, int64 (n,). Parents are among them.
        neighbours: of how many nearest examples of its class one is drawn as the second parent; n - 1 in a class of n.
        seed: of the drawing.
        progress: shows the search.

    Returns:
        the invented examples; those of a class of one example are this example, see ``refuse_single``.
    """
    from imblearn.over_sampling import SMOTE
    from scipy.sparse import identity

    counts = np.bincount(labels[rows])
    alone = np.repeat(rows[counts[labels[rows]] == 1], counts.max() - 1)
    wanted = {int(k): int(counts.max()) for k in np.flatnonzero((counts > 1) & (counts < counts.max()))}
    if not wanted:
        return Invented(alone, alone, np.zeros(len(alone), np.float32))
    with (progress or Progress(quiet=True)).task("Neighbours", total=int(sum(counts[k] for k in wanted))) as task:
        search = _Search(array, rows, neighbours, task.advance)
        sampler = SMOTE(sampling_strategy=wanted, random_state=seed, k_neighbors=search)
        both, _ = sampler.fit_resample(identity(len(rows), np.float32, format="csr"), labels[rows])
    shares = both.tocsr()[len(rows) :]
    shares.sum_duplicates()
    first, second = shares.indices[shares.indptr[:-1]], shares.indices[shares.indptr[1:] - 1]
    place = np.where(first == second, 0, shares.data[shares.indptr[1:] - 1]).astype(np.float32)
    return Invented(
        np.concatenate([rows[first], alone]),
        np.concatenate([rows[second], alone]),
        np.concatenate([place, np.zeros(len(alone), np.float32)]),
    )


def some(invented: Invented, labels: NDArray[np.int64], count: int = 8) -> Invented:
    """Choose a few for a picture: in turn from each class, the rarest (with most inventions) first.

    Args:
        invented: of which; repeats of single examples are left out.
        labels: of the rows it names, int64 (N,).
        count: how many at most.
    """
    real = invented.first != invented.second
    often = np.bincount(labels[invented.first[real]])
    ranked = [k for k in np.argsort(-often, kind="stable") if often[k]]
    queues = [np.flatnonzero(real & (labels[invented.first] == k))[:count] for k in ranked]
    turns = [row for turn in zip_longest(*queues) for row in turn if row is not None]
    chosen = np.array(turns[:count], np.int64)
    return Invented(invented.first[chosen], invented.second[chosen], invented.place[chosen])


def refuse_single(counts: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Refuse classes of one training image: there is no line between one point and itself.

    Raises:
        SettingsError: it names them.
    """
    single = [f"'{classes[k]}'" for k in np.flatnonzero(counts == 1).tolist()]
    if single:
        shown = ", ".join(single[:5]) + (f" and {len(single) - 5} more" if len(single) > 5 else "")
        raise SettingsError(
            f"balance is smote, but {'class' if len(single) == 1 else 'classes'} {shown} "
            f"{'has' if len(single) == 1 else 'have'} one training image: SMOTE draws lines between two.",
            "Add images, or leave the class out; smote,single=repeat repeats what cannot be drawn, and "
            "balance=oversample repeats images of all rare classes.",
        )


def mix(first: torch.Tensor, second: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Compute invented examples: (M, ...) of the type of the parents; uint8 is rounded.

    Args:
        first: a parent each, (M, ...).
        second: the other, alike.
        place: float32 (M,).
    """
    import torch

    share = place.view(-1, *[1] * (first.ndim - 1))
    mixed = torch.lerp(first.float(), second.float(), share)
    return mixed.round_().to(first.dtype) if first.dtype == torch.uint8 else mixed


class _Search:
    """The nearest neighbours of a class, asked for by imbalanced-learn in the language of scikit-learn.

    Args:
        array: the examples.
        rows: which of them the unit vectors stand for.
        most: neighbours of each.
        advance: told how many examples are done.
    """

    def __init__(self, array: NDArray[Any], rows: NDArray[np.int64], most: int, advance: Callable[[int], None]) -> None:
        self.array, self.rows, self.most, self.advance = array, rows, most, advance

    def __sklearn_clone__(self) -> _Search:
        return self

    def fit(self, units: Any) -> _Search:
        """Take the unit vectors of a class, sparse (n, N)."""
        self.members = self.rows[units.indices]
        return self

    def kneighbors(self, units: Any, return_distance: bool = False) -> NDArray[np.int64]:
        """Give each example and its neighbours as positions within the class, int64 (n, 1 + k)."""
        found = nearest(self.array, self.members, min(self.most, len(self.members) - 1))
        self.advance(len(self.members))
        return np.column_stack([np.arange(len(self.members)), found])

    kneighbors_graph = kneighbors  # imbalanced-learn wants it to exist, and does not call it


def nearest(array: NDArray[Any], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Find the k nearest of the given examples for each of them, itself left out; nearest first.

    Args:
        array: examples (N, ...), compared by Euclidean distance of all their values.
        rows: which, int64 (n,), n > k.
        k: at least 1.

    Returns:
        positions in ``rows``, int64 (n, k).
    """
    import torch

    step = max(1, min(BLOCK // max(1, int(np.prod(array.shape[1:]))), int(BLOCK**0.5)))
    starts = range(0, len(rows), step)

    def block(start: int) -> torch.Tensor:
        part = np.asarray(array[rows[start : start + step]]).reshape(-1, int(np.prod(array.shape[1:])))
        return torch.from_numpy(part.astype(np.float32))

    middle = block(0).mean(dim=0)  # distances stay the same, and lose no digits to a common offset
    found = []
    for start in starts:
        query = block(start) - middle
        best = torch.full((len(query), 0), torch.inf)
        names = torch.zeros((len(query), 0), dtype=torch.int64)
        for other in starts:
            reference = query if other == start else block(other) - middle
            # |a - b|^2 without |a|^2, which is the same for all b
            apart = reference.square().sum(dim=1) - 2 * (query @ reference.T)
            if other == start:
                apart.fill_diagonal_(torch.inf)
            apart = torch.cat([best, apart], dim=1)
            here = torch.arange(other, other + len(reference)).expand(len(query), -1)
            best, at = apart.topk(min(k, apart.shape[1]), dim=1, largest=False)
            names = torch.cat([names, here], dim=1).gather(1, at)
        found.append(names)
    return torch.cat(found).numpy()
