"""A saliency map -> whether it shows what the network learnt: shuffled weights, deletion, against edges and chance."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.seeing.maps import brought
from sightline.seeing.saliency import Saliency, saliency
from sightline.seeing.taps import Taps, as_it_was

ALIKE = 0.5
"""Rank correlation with the map of a network of shuffled weights from which on a map shows little that was learnt."""

LOWER = 0.01
"""By how much an area must be below that of edges, or of chance: less is nothing, on a few images."""


@dataclass(frozen=True)
class Trust:
    """How far a method's maps of some images can be believed; means over the images.

    Attributes:
        method: which method.
        images: how many.
        alike: Spearman's correlation, -1..1, of the maps with those of the same network with its weights shuffled
            (Adebayo et al. 2018).
        area: the probability of the class while positions are replaced by the baseline, the most salient first:
            averaged from the whole image to none of it, 0..1 (Petsiuk et al. 2018). Low is good.
        edges: the same with the strongest edges of the image first.
        chance: the same in random order.
    """

    method: str
    images: int
    alike: float
    area: float
    edges: float
    chance: float

    @property
    def learnt(self) -> bool:
        """Whether the map changes with the weights."""
        return self.alike < ALIKE

    @property
    def explains(self) -> bool:
        """Whether it finds what the decision rests on better than edges and chance do."""
        return self.area < min(self.edges, self.chance) - LOWER

    @property
    def sentence(self) -> str:
        """The judgement in words, with its figures."""
        figures = f"area {self.area:.2f}; edges {self.edges:.2f}, chance {self.chance:.2f}"
        shuffled = f"rank correlation with shuffled weights {self.alike:.2f}"
        if not self.learnt:
            return f"This map hardly depends on what was learnt ({shuffled}; {figures})."
        if self.area >= self.edges - LOWER:
            return f"This map explains no more than edges do ({figures}; {shuffled})."
        if self.area >= self.chance - LOWER:
            return f"This map explains no more than chance does ({figures}; {shuffled})."
        return f"Deleting what it marks lowers the probability faster than deleting edges ({figures}; {shuffled})."


def shuffled(model: nn.Module, seed: int = 0) -> nn.Module:
    """Copy a network and deal the numbers of each of its weights anew: nothing learnt is left, their spread stays.

    Works for any module, whether or not it knows how to draw its weights. The model itself stays as it was.
    """
    with as_it_was(model):
        other = copy.deepcopy(model)
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in other.parameters():
            order = torch.randperm(weight.numel(), generator=numbers).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return other.eval()


def edges(x: Tensor) -> NDArray[np.float32]:
    """Measure how fast images (N, C, *positions) change: the length of their gradient, float32 (N, *positions)."""
    axes = [axis for axis in range(2, x.ndim) if x.shape[axis] > 1]
    slopes = torch.gradient(x.float(), dim=axes) if axes else (torch.zeros_like(x),)
    found: NDArray[np.float32] = torch.stack(tuple(slopes)).square().sum(dim=(0, 2)).sqrt().cpu().numpy()
    return found


def deletion(
    model: nn.Module,
    x: Tensor,
    targets: NDArray[np.int64],
    order: NDArray[np.float32],
    baseline: Tensor,
    steps: int = 16,
) -> NDArray[np.float64]:
    """Replace positions by the baseline, those with the largest values first, and follow the class's probability.

    Args:
        model: returns logits (N, K).
        x: float (N, C, *positions).
        targets: int64 (N,).
        order: float (N, *positions).
        baseline: can be expanded to ``x``.
        steps: in which it is done.

    Returns:
        float64 (N,): the mean of the probability over the way, by trapezoids, 0..1.
    """
    places = np.argsort(np.argsort(-order.reshape(len(order), -1), axis=1, kind="stable"), axis=1)
    ranks = torch.from_numpy(places).view(len(x), 1, *x.shape[2:]).to(x.device)
    x, ranks = brought(model, x), ranks.to(next((p.device for p in model.parameters()), x.device))
    total = ranks[0].numel()
    wanted = torch.as_tensor(targets, device=x.device)[:, None]
    nothing, curve = baseline.to(x).expand_as(x), []
    with Taps(model) as taps, torch.no_grad():
        for step in range(steps + 1):
            logits = taps.run(torch.where(ranks < round(total * step / steps), nothing, x))
            assert logits is not None
            curve.append(logits.double().softmax(1).gather(1, wanted)[:, 0].cpu().numpy())
    return np.asarray(np.trapezoid(np.stack(curve), axis=0) / steps)


@dataclass(frozen=True, eq=False)
class Judge:
    """Puts the maps of one network on some images to the test; what all methods share is worked out once.

    Attributes:
        model: the network.
        x: float (N, C, *positions).
        targets: int64 (N,), the classes asked about.
        baseline: can be expanded to ``x``: what deleted positions become.
        steps: in which images are deleted.
        other: the same network with shuffled weights.
        edges: float64 (N,), areas of deletion by edges.
        chance: float64 (N,), areas of deletion in random order.
    """

    model: nn.Module
    x: Tensor
    targets: NDArray[np.int64]
    baseline: Tensor
    steps: int
    other: nn.Module
    edges: NDArray[np.float64]
    chance: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        x: Tensor,
        targets: NDArray[np.int64],
        baseline: Tensor,
        *,
        steps: int = 16,
        orders: int = 4,
        seed: int = 0,
    ) -> Judge:
        """Work out what the maps are held against.

        Args:
            model: see above, as the next three.
            x: images.
            targets: classes.
            baseline: what nothing looks like.
            steps: in which images are deleted.
            orders: random orders that chance is averaged over.
            seed: of these orders and of the shuffling.
        """
        numbers, shape = np.random.default_rng(seed), (len(x), *x.shape[2:])

        def area(order: NDArray[np.float32]) -> NDArray[np.float64]:
            return deletion(model, x, targets, order, baseline, steps)

        chance = np.mean([area(numbers.random(shape, np.float32)) for _ in range(orders)], axis=0)
        return cls(model, x, targets, baseline, steps, shuffled(model, seed), area(edges(x)), chance)

    def trust(self, found: Saliency) -> Trust:
        """Judge the maps that a method made of these images and classes, with this baseline."""
        again = saliency(
            self.other, self.x, self.targets, found.method, baseline=self.baseline, layer=found.layer or None,
            steps=16 if found.method in ("integrated", "smoothgrad") else None, exact=np.inf,
        )  # fmt: skip
        pairs = zip(found.values, again.values, strict=True)
        alike = [correlation(np.abs(mine), np.abs(theirs)) for mine, theirs in pairs]
        area = deletion(self.model, self.x, self.targets, found.values, self.baseline, self.steps)
        return Trust(
            found.method, len(self.x), float(np.mean(alike)), float(area.mean()),
            float(self.edges.mean()), float(self.chance.mean()),
        )  # fmt: skip


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Give Spearman's rank correlation of two maps, equal values sharing their mean rank; 0 where one is constant."""
    ranks = []
    for each in (one, other):  # by hand: scipy.stats takes a second to load
        _, at, counts = np.unique(each.ravel(), return_inverse=True, return_counts=True)
        ranks.append(np.cumsum(counts)[at] - (counts[at] - 1) / 2)
    a, b = (each - each.mean() for each in ranks)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else 0.0
