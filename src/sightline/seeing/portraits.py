"""Targets -> the images made for them, each beside what keeps it honest: data, a network that learnt nothing, paths."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.progress import Progress
from sightline.seeing.ascent import Dream
from sightline.seeing.hearing import evaluate, logits
from sightline.seeing.kept import Kept
from sightline.seeing.layers import Place
from sightline.seeing.made import Recipe, made
from sightline.seeing.objectives import LOGITS, Objective, check
from sightline.seeing.subject import Subject
from sightline.seeing.taps import Taps
from sightline.seeing.targets import target

STRONGEST = 8
"""Examples that stand for those an objective likes."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """An image made for a target, and what it is worth.

    Attributes:
        dream: the image, and how it was found.
        natural: the objective's largest value among the examples; NaN without any.
        dead: whether the objective is the same for all examples: nothing in the data moves it.
        strongest: int64, rows of the examples it likes best, best first.
        control: float32 (C, *positions), what the same recipe makes of the same network with its weights shuffled;
            None where none was asked for.
        likeness: correlation of the two images, -1..1: near 1, the image shows the architecture, not what was learnt;
            NaN without a control.
        path: how much the network treats the image as it treats the strongest examples, mean over the layers on the
            way: 1 as these treat each other, 0 as images taken at random (after Geirhos et al. 2024); NaN where that
            cannot be told.
    """

    dream: Dream
    natural: float
    dead: bool
    strongest: tuple[int, ...]
    control: Tensor | None
    likeness: float
    path: float

    @property
    def ratio(self) -> float:
        """The objective on the image over its largest natural value; NaN where that is not above 0."""
        return self.dream.value / self.natural if self.natural > 0 else float("nan")

    @property
    def sentence(self) -> str:
        """What to make of it."""
        if self.dead and not self.dream.moved:
            return "Dead: the same for all examples, and no image was found that wakes it."
        if self.dead:
            return "Dead on the data: the same for all examples; only an image made for it moves it."
        if not self.dream.moved:
            return "No image was found that it likes better than noise."
        parts = [f"{self.ratio:.2f} times the largest natural value" if self.ratio == self.ratio else "above noise"]
        if self.dream.woken.startswith("an example") and self.dream.value <= self.natural + 1e-3 * abs(self.natural):
            return "No image was found that it likes better than its strongest example, which is shown."
        if self.dream.woken.startswith("an example"):
            parts.append("begun at its strongest example")
        if self.dream.pixelwise:
            flat = self.dream.image.flatten(1)
            even = bool((flat.amax(1) == flat.amin(1)).all())
            parts.append("an even area, all it asks for" if even else "finished pixel by pixel")
        if self.likeness > 0.7:
            parts.append("but much the same without anything learnt")
        if self.path == self.path:
            told = "as" if self.path > 0.7 else "not quite as" if self.path > 0.3 else "unlike"
            parts.append(f"processed {told} natural images ({self.path:.2f})")
        return ", ".join(parts).capitalize() + "."


def portraits(
    subject: Subject,
    targets: Sequence[str | tuple[str, Objective]],
    *,
    steps: int = 256,
    seed: int = 0,
    diversity: float = 0.0,
    controlled: Collection[str] | None = None,
    scores: Tensor | None = None,
    kept: Kept | None = None,
    progress: Progress | None = None,
) -> list[Portrait]:
    """Make an image for each target, with its controls.

    Args:
        subject: the network and examples.
        targets: texts, see ``sightline.seeing.targets``, or objectives with the texts that name them; a text that
            comes twice gives two images.
        steps: at most, for the image and for its control.
        seed: of noise and movements.
        diversity: see ``dream``.
        controlled: texts of the targets for which an image is also made where nothing was learnt; None: all.
        scores: float (targets, N), each objective on every example, if they are known.
        kept: where answers are looked up and kept.
        progress: shows the work.

    Raises:
        ModelError: a target cannot be read or asked for; nothing has been done then.
    """
    wanted = [(one, target(one, subject.layers, subject.classes)) if isinstance(one, str) else one for one in targets]
    known = dict(reversed(wanted))  # one text, one objective
    wanted = [(text, known[text]) for text, _ in wanted]
    asked = [objective for _, objective in wanted]
    tested = [i for i, (text, _) in enumerate(wanted) if controlled is None or text in controlled]
    recipe = Recipe(steps, seed, diversity)
    if len(subject.examples) and scores is None:
        outside = any(LOGITS in objective.layers for objective in asked)
        classes = logits(subject.model, subject.examples[:1]).shape[1] if outside else 0
        for objective in asked:
            check(objective, subject.layers, classes)
        with Taps(subject.model, [name for name in _layers(asked) if name != LOGITS]) as taps:
            scores = evaluate(taps, asked, subject.examples, subject.layers)
    found = made(subject, wanted, recipe, scores=scores, kept=kept, progress=progress)
    empty = made(subject, [wanted[i] for i in tested], recipe, learnt=False, kept=kept, progress=progress)
    controls = dict(zip(tested, (one.image for one in empty), strict=True))
    if scores is None:
        nothing = float("nan")
        return [_portrait(one, controls.get(i), torch.tensor([nothing]), (), nothing) for i, one in enumerate(found)]
    strongest = scores.argsort(dim=1, descending=True)[:, :STRONGEST]
    ways = paths(subject, asked, torch.stack([one.image for one in found]), strongest)
    return [
        _portrait(one, controls.get(i), scores[i], tuple(strongest[i].tolist()), ways[i]) for i, one in enumerate(found)
    ]


def _portrait(one: Dream, control: Tensor | None, scores: Tensor, strongest: tuple[int, ...], path: float) -> Portrait:
    spread, size = float(scores.amax() - scores.amin()), float(scores.abs().amax())
    likeness = float("nan") if control is None else correlation(one.image, control)
    return Portrait(one, float(scores.amax()), spread <= 1e-6 * size, strongest, control, likeness, path)


def paths(subject: Subject, objectives: Sequence[Objective], images: Tensor, strongest: Tensor) -> list[float]:
    """Say whether images take the way through a network that natural images take which their objectives like.

    In every layer up to the objective's, units are averaged over their maps and compared by the cosine of their
    deviations from the mean example. How alike the image and the strongest examples are is placed between how alike
    random examples are to these (0) and how alike these are to each other (1); within -1..2, averaged over layers.

    Args:
        subject: network and examples.
        objectives: each of one layer.
        images: (B, C, *positions), made for them.
        strongest: int64 (B, n), rows of the examples that each likes best.

    Returns:
        The means; NaN where examples are too few or too equal to tell.
    """
    count = strongest.shape[1]
    if count < 4 or len(subject.examples) < 4 * count:
        return [float("nan")] * len(objectives)
    order = {place.name: number for number, place in enumerate(subject.layers)}
    ends = [
        len(order) if LOGITS in objective.layers else max(order[name] for name in objective.layers)
        for objective in objectives
    ]
    leaves = [place for place in subject.layers if place.leaf and place.parameters and place.units > 1]
    leaves = [place for place in leaves if order[place.name] <= max(ends)]
    spread = torch.linspace(0, len(subject.examples) - 1, min(64, len(subject.examples))).long()
    together = torch.cat([strongest.flatten(), spread])
    rows, at = torch.unique(together, return_inverse=True)  # each example is sent once
    best, others = at[: strongest.numel()].view_as(strongest), at[strongest.numel() :]
    features = _features(subject, leaves, torch.cat([subject.examples[rows], images]))
    ways: list[list[float]] = [[] for _ in objectives]
    for place, values in zip(leaves, features, strict=True):
        values = F.normalize(values - values[others].mean(0), dim=1)
        for i, end in enumerate(ends):
            if order[place.name] > end:
                continue
            liked = values[best[i]]
            each = float(((liked @ liked.T).sum() - count) / (count * (count - 1)))
            base = float((values[others] @ liked.T).mean())
            if each - base > 0.05:
                own = float((liked @ values[len(rows) + i]).mean())
                ways[i].append(float(np.clip((own - base) / (each - base), -1, 2)))
    return [float(np.mean(way)) if way else float("nan") for way in ways]


def _features(subject: Subject, places: Sequence[Place], x: Tensor, *, batch: int = 64) -> list[Tensor]:
    """Give what layers make of inputs, averaged over positions: float32 (N, units) of each."""
    device = next((p.device for p in subject.model.parameters()), x.device)
    found: list[list[Tensor]] = [[] for _ in places]
    stop = all(place.calls == 1 for place in places)
    with Taps(subject.model, [place.name for place in places], stop=stop) as taps, torch.no_grad():
        for part in torch.split(x, batch):
            taps.run(part.to(device))
            for values, place in zip(found, places, strict=True):
                maps = place.maps(taps[place.name]).float().cpu()
                values.append(maps.flatten(2).mean(2) if maps.ndim > 2 else maps)
    return [torch.cat(values) for values in found]


def correlation(one: Tensor, other: Tensor) -> float:
    """Compare two images: the correlation of their values, 0 where one of them is even."""
    a, b = one.flatten() - one.mean(), other.flatten() - other.mean()
    return float(F.cosine_similarity(a, b, dim=0))


def _layers(objectives: Sequence[Objective]) -> list[str]:
    return list(dict.fromkeys(name for objective in objectives for name in objective.layers))
