"""A network and objectives -> the image that each of them likes best, found by gradient ascent, many at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sightline.models.plan import Shape
from sightline.progress import Progress
from sightline.seeing.canvas import Canvas
from sightline.seeing.finishing import finished, first
from sightline.seeing.layers import Layers, layers
from sightline.seeing.measuring import alike, differentiable, evaluate, hear, logits, values
from sightline.seeing.nature import Nature, usual
from sightline.seeing.objectives import LOGITS, Objective, check
from sightline.seeing.redirect import Redirected
from sightline.seeing.taps import Taps
from sightline.seeing.transforms import transform

RATE = 0.05
"""Step of Adam, on coefficients (Olah et al. 2017)."""

CAREFUL = 0.2
"""Share of ``RATE`` for images that are held still: what is found nowhere else lies where functions are rough."""

OPEN = 0.3
"""Share of the gradient that passes silent rectifiers at first; falls to 0 in ``OPENING`` steps, or half of all.

Without it, a corner of the noise that happened to silence a unit stays as it was, black in a white image.
"""

OPENING = 64
"""Steps after which rectifiers let nothing pass."""

LOOK = 16
"""Steps from one look at the clean image to the next."""

PATIENCE = 4
"""Looks without a gain of 1 % after which an image is finished."""

SILENCE = 2
"""Looks at the very same value after which it is."""


@dataclass(frozen=True, eq=False)
class Dream:
    """An image made for an objective.

    Attributes:
        name: the objective as text.
        image: float32 (C, *positions), an input of the network, within the range of the data.
        start: the objective on the image it began with; where it had to begin again, on the first of these.
        value: the objective on ``image``, seen straight.
        curve: the objective every ``LOOK`` steps, from the start on.
        steps: taken until it was finished.
        woken: how it was begun: ``noise``, ``strong noise``, ``an example``, ``noise held still``, ``a photo``.
        pixelwise: whether it was finished pixel by pixel, as suits what a first layer looks for.
        logits: float32 (K,), what the network says of ``image``; empty where it cannot take images of this size.
    """

    name: str
    image: Tensor
    start: float
    value: float
    curve: tuple[float, ...]
    steps: int
    woken: str
    pixelwise: bool
    logits: Tensor

    @property
    def moved(self) -> bool:
        """Whether anything was found that excites it more than what it began with."""
        return self.value > self.start

    @property
    def probabilities(self) -> Tensor:
        """What the network makes of its logits, float32 (K,)."""
        return self.logits.softmax(0)


def dream(
    model: nn.Module,
    objectives: Sequence[Objective],
    shape: Shape,
    *,
    nature: Nature | None = None,
    known: Layers | None = None,
    examples: Tensor | None = None,
    scores: Tensor | None = None,
    begin: Tensor | None = None,
    steps: int = 256,
    diversity: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Dream]:
    """Make an image for each objective; all of them in one batch.

    The recipe is that of Olah et al. 2017 (Feature Visualization), at the network's own size and in the range, the
    colours and the spectrum of its data. Each image depends on its objective and the seed, not on the others in the
    batch (unless they are to be diverse, or some are classes), up to the rounding of sums.

    Args:
        model: any module; it is left exactly as it was.
        objectives: what to excite, see ``sightline.seeing.objectives``; the same one twice starts at different noise.
        shape: (C, *positions) of an image.
        nature: what the data are like; None: usual values.
        known: the model's layers, if they are known already.
        examples: float (N, C, *positions): where an objective stays silent, or is excited less than by one of these,
            it starts again at the one that excites it most.
        scores: float (objectives, N), every objective on every example, if they are known.
        begin: float (C, *positions), a photo to start at instead of noise.
        steps: at most; an image without gain for long is finished earlier.
        diversity: above 0, images for the same objective are pushed apart: by the cosine of the Gram matrices of the
            layer they are made for, weighed by this share of the objective.
        seed: of noise and movements.
        progress: shows the steps.

    Raises:
        ModelError: the model cannot be looked into, or has no such layer, unit or class.
    """
    known = known or layers(model, shape)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    canvas = Canvas(shape, nature or usual(shape[0]), device)
    wanted = tuple(dict.fromkeys(name for objective in objectives for name in objective.layers if name != LOGITS))
    outside = any(LOGITS in objective.layers for objective in objectives)
    classes = logits(model, canvas.paint(canvas.noise(1, seed=seed))).shape[1] if outside else 0
    for objective in objectives:
        check(objective, known, classes)
    repeats = [_before(objectives, i) for i in range(len(objectives))]
    stop = not outside and all(known[name].calls == 1 for name in wanted)
    with Taps(model, wanted, stop=stop) as taps, differentiable(model):
        ascent = _Ascent(taps, canvas, known, steps, diversity, seed, progress or Progress(quiet=True))
        if begin is not None:
            found = ascent.run(
                objectives, canvas.read(begin[None]).repeat(len(objectives), *[1] * len(shape)), "a photo", steps
            )
        else:
            noise = canvas.noise(max(repeats) + 1, seed=seed)[repeats]
            # not for classes: there, what passes silent rectifiers made images that other networks knew less often
            found = ascent.run(objectives, noise, "noise", steps, opening=not outside)
            found = _again(ascent, objectives, found, examples, scores)
            if not diversity:
                found = _finished(ascent, objectives, found)
    said = logits(model, torch.stack([one.image for one in found]))
    return [replace(one, logits=said[i]) for i, one in enumerate(found)]


def _again(
    ascent: _Ascent, objectives: Sequence[Objective], found: list[Dream], examples: Tensor | None, scores: Tensor | None
) -> list[Dream]:
    """Begin again where nothing moved: at strong noise, at the example that excites it most, then held still.

    What moved, but not as far as the data get, begins again at an example, too (unless images are to be diverse).
    Movements make images robust. Where what excites a unit is destroyed by any of them, as in deep networks that have
    learnt nothing, only an image that is not moved finds it, in smaller steps.
    """
    for again in ("strong noise", "an example", "noise held still"):
        rows = [i for i, one in enumerate(found) if not one.moved]
        if again == "an example":
            if examples is None or not len(examples):
                continue
            if scores is None:
                scores = evaluate(ascent.taps, objectives, examples, ascent.known)
            if not ascent.diversity:
                rows = [i for i, one in enumerate(found) if not one.moved or _short(one, float(scores[i].max()))]
        if not rows:
            continue
        asked, still = [objectives[i] for i in rows], again == "noise held still"
        if again == "an example" and examples is not None and scores is not None:
            order = scores[rows].argsort(dim=1, descending=True)
            # each repeat has an example of its own
            places = [min(_before(objectives, i), len(examples) - 1) for i in rows]
            coefficients = ascent.canvas.read(examples[order[range(len(rows)), places]])
        elif still:
            coefficients = ascent.canvas.noise(len(rows), seed=ascent.seed)
        else:
            coefficients = ascent.canvas.noise(len(rows), seed=ascent.seed + 1, spread=1.0)
        # an example has what excites the unit already: half the steps add what there is to add
        steps = max(ascent.steps // 2, 1) if again == "an example" else ascent.steps
        for i, one in zip(rows, ascent.run(asked, coefficients, again, steps, still=still), strict=True):
            found[i] = replace(one, start=found[i].start) if one.value > found[i].value else found[i]
    return found


def _finished(ascent: _Ascent, objectives: Sequence[Objective], found: list[Dream]) -> list[Dream]:
    """Finish pixel by pixel what was made for a first layer; an objective that nothing moves stays as it is."""
    rows = [i for i, one in enumerate(found) if one.moved and first(objectives[i], ascent.known)]
    if not rows:
        return found
    images = torch.stack([found[i].image for i in rows]).to(ascent.canvas.device)
    before = torch.tensor([found[i].value for i in rows], device=images.device)
    asked, numbers = [objectives[i] for i in rows], torch.Generator().manual_seed(ascent.seed)
    images, after = finished(
        lambda x: values(asked, hear(ascent.taps, x, ascent.known)), images, before, ascent.canvas.low,
        ascent.canvas.high, numbers,
    )  # fmt: skip
    found = list(found)
    for k, i in enumerate(rows):
        if after[k] > before[k]:
            found[i] = replace(found[i], image=images[k].cpu(), value=float(after[k]), pixelwise=True)
    return found


def _short(one: Dream, natural: float) -> bool:
    """Whether an image gets less far than the best example, by more than a thousandth of the way."""
    return one.value < natural - 1e-3 * abs(natural - one.start)


def _before(objectives: Sequence[Objective], i: int) -> int:
    """Count how many before the i-th are the same."""
    return sum(other is objectives[i] for other in objectives[:i])


class _Ascent:
    """What stays the same for all ascents of a batch."""

    def __init__(
        self,
        taps: Taps,
        canvas: Canvas,
        known: Layers,
        steps: int,
        diversity: float,
        seed: int,
        progress: Progress,
    ) -> None:
        self.taps, self.canvas, self.known = taps, canvas, known
        self.steps, self.diversity, self.seed, self.progress = steps, diversity, seed, progress

    def run(
        self, objectives: Sequence[Objective], begin: Tensor, woken: str, steps: int,
        *, still: bool = False, opening: bool = False,
    ) -> list[Dream]:  # fmt: skip
        """Climb from coefficients (B, C, *positions), one for each objective.

        ``still``: without movements, with care; ``opening``: silent rectifiers let a share pass at first. What is
        finished is no longer computed, unless images are to be diverse.
        """
        numbers = torch.Generator().manual_seed(self.seed)
        coefficients = begin.clone()
        climber = _Adam(coefficients, RATE * (CAREFUL if still else 1))
        rows, book = list(range(len(objectives))), _Book(len(objectives))
        book.note(0, rows, *self._look(objectives, coefficients))
        with self.progress.task(f"from {woken}", steps) as task:
            for step in range(1, steps + 1):
                asked = [objectives[i] for i in rows]
                share = max(0.0, OPEN * (1 - step / min(OPENING, max(steps // 2, 1)))) if opening else 0.0
                climber.step(rows, self._uphill(asked, coefficients[rows], numbers, still, share))
                task.advance()
                if step % LOOK == 0 or step == steps:
                    book.note(step, rows, *self._look(asked, coefficients[rows]))
                    rows = book.open if not self.diversity or not book.open else rows
                    if not rows:
                        break
        return [
            Dream(o.name, book.images[i].cpu(), c[0], max(c), tuple(c), book.ended[i], woken, False, torch.empty(0))
            for i, (o, c) in enumerate(zip(objectives, book.curves, strict=True))
        ]

    def _uphill(
        self, objectives: Sequence[Objective], coefficients: Tensor, numbers: torch.Generator, still: bool, share: float
    ) -> Tensor:
        """Give the gradients, (B, C, *positions); where rectifiers block all of one, the way around them.

        ``share`` of it passes silent rectifiers anyway.
        """
        moves = numbers.get_state()
        with Redirected(share) if share else nullcontext():
            gradient = self._slope(objectives, coefficients, numbers, still)
        silent = (gradient.flatten(1).abs().amax(dim=1) == 0).nonzero()[:, 0].tolist()
        if silent:
            beside = range(len(objectives)) if self.diversity else silent
            numbers.set_state(moves)
            with Redirected():
                again = self._slope([objectives[i] for i in beside], coefficients[list(beside)], numbers, still)
            gradient[silent] = again[silent] if self.diversity else again
        return gradient

    def _slope(
        self, objectives: Sequence[Objective], coefficients: Tensor, numbers: torch.Generator, still: bool
    ) -> Tensor:
        """Give the gradient of all scores with respect to the coefficients, the images seen a little moved or not."""
        coefficients = coefficients.detach().requires_grad_()
        images = self.canvas.paint(coefficients)
        heard = hear(self.taps, images if still else transform(images, numbers), self.known)
        score = values(objectives, heard)
        if self.diversity:
            score = score - self.diversity * score.detach().abs() * alike(objectives, heard)
        return torch.autograd.grad(score.sum(), coefficients)[0]

    def _look(self, objectives: Sequence[Objective], coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Give the images as they are, and their scores."""
        with torch.no_grad():
            images = self.canvas.paint(coefficients)
            return images, values(objectives, hear(self.taps, images, self.known))


class _Adam:
    """Adam uphill (Kingma and Ba 2015, algorithm 1) for some rows of a tensor; torch's own loads its compiler first."""

    def __init__(self, place: Tensor, rate: float) -> None:
        self.place, self.rate, self.steps = place, rate, 0
        self.mean, self.square = torch.zeros_like(place), torch.zeros_like(place)

    def step(self, rows: list[int], slope: Tensor) -> None:
        """Go up; scores differ by many powers of ten, so that nothing is added below the root to speak of."""
        self.steps += 1
        self.mean[rows] = 0.9 * self.mean[rows] + 0.1 * slope
        self.square[rows] = 0.999 * self.square[rows] + 0.001 * slope.square()
        root = (self.square[rows] / (1 - 0.999**self.steps)).sqrt() + 1e-30
        self.place[rows] += self.rate * self.mean[rows] / (1 - 0.9**self.steps) / root


class _Book:
    """The best image of each objective so far, and which of them are not finished."""

    def __init__(self, count: int) -> None:
        self.images = torch.empty(0)
        self.curves: list[list[float]] = [[] for _ in range(count)]
        self.ended = [0] * count
        self.open = list(range(count))

    def note(self, step: int, rows: Sequence[int], images: Tensor, scores: Tensor) -> None:
        """Write down what was seen of some images after a step."""
        if not step:
            self.images = images.clone()
        for i, image, score in zip(rows, images, scores.tolist(), strict=True):
            if i not in self.open:
                continue
            if math.isfinite(score) and score > max(self.curves[i], default=-math.inf):
                self.images[i] = image
            self.curves[i].append(score if math.isfinite(score) else -math.inf)
            self.ended[i] = step
        self.open = [i for i in self.open if not _flat(self.curves[i])]


def _flat(curve: Sequence[float]) -> bool:
    """Whether the last looks brought less than 1 % of all that was gained, or there was never any change."""
    if len(curve) > SILENCE and max(curve) == min(curve):
        return True
    if len(curve) <= PATIENCE:
        return False
    before, now = max(curve[:-PATIENCE]), max(curve)
    return now - before <= 0.01 * (now - curve[0])
