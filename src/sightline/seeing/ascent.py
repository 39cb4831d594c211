"""Coefficients of images, climbed: together and moved a little, held still with care, or apart from each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.progress import Progress
from sightline.seeing.canvas import Canvas
from sightline.seeing.hearing import alike, hear, values
from sightline.seeing.layers import Layers
from sightline.seeing.objectives import Objective
from sightline.seeing.redirect import Redirected
from sightline.seeing.taps import Taps
from sightline.seeing.transforms import transform

RATE = 0.05
"""Step of Adam, on coefficients (Olah et al. 2017)."""

CAREFUL = 0.01
"""The first step of each coefficient of an image that is held still."""

LONGER, SHORTER = 1.5, 0.3
"""What becomes of it after a step that took nothing away, and after one that did and is taken back."""

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
        woken: how it was begun: ``noise``, ``strong noise``, ``an example``, ``an example, with care``, ``noise, held
            still``, ``noise, with care``, ``a photo``.
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


class Ascent:
    """What stays the same for all ascents of a batch.

    Args:
        taps: open, on the layers that objectives hear.
        canvas: paints coefficients.
        known: the layers of the network.
        seed: of movements.
        progress: shows the steps.
    """

    def __init__(self, taps: Taps, canvas: Canvas, known: Layers, seed: int, progress: Progress) -> None:
        self.taps, self.canvas, self.known, self.seed, self.progress = taps, canvas, known, seed, progress

    def run(
        self, objectives: Sequence[Objective], begin: Tensor, woken: str, steps: int,
        *, still: bool = False, opening: bool = False,
    ) -> list[Dream]:  # fmt: skip
        """Climb from coefficients (B, C, *positions), one for each objective; what is finished is no longer computed.

        ``still``: without movements, in small steps; ``opening``: silent rectifiers let a share pass at first.
        """
        numbers = torch.Generator().manual_seed(self.seed)
        coefficients = begin.clone()
        climber = Adam(coefficients, CAREFUL if still else RATE)
        rows, book = list(range(len(objectives))), Book(len(objectives))
        book.note(0, rows, *self.look(objectives, coefficients))
        with self.progress.task(f"from {woken}", steps) as task:
            for step in range(1, steps + 1):
                asked = [objectives[i] for i in rows]
                share = max(0.0, OPEN * (1 - step / min(OPENING, max(steps // 2, 1)))) if opening else 0.0
                climber.step(rows, self._uphill(asked, coefficients[rows], numbers, share, still))
                task.advance()
                if step % LOOK == 0 or step == steps:
                    book.note(step, rows, *self.look(asked, coefficients[rows]))
                    rows = book.open
                    if not rows:
                        break
        return book.dreams(objectives, woken)

    def careful(self, objectives: Sequence[Objective], begin: Tensor, woken: str, steps: int) -> list[Dream]:
        """Climb without movements, by steps that are taken back where they bring nothing, and are shorter then.

        However rough a function is, where it rises at all this goes up. A step that changes nothing stays.
        """
        best, numbers = begin.clone(), torch.Generator()
        images, most = self.look(objectives, best)
        book, length = Book(len(objectives)), torch.full_like(most, CAREFUL)
        book.note(0, book.open, images, most)
        rows = list(book.open)
        with self.progress.task(f"from {woken}", steps) as task:
            for step in range(1, steps + 1):
                asked = [objectives[i] for i in rows]
                slope = self._uphill(asked, best[rows], numbers, 0.0, still=True)
                there = best[rows] + length[rows].view(-1, *[1] * (slope.ndim - 1)) * slope.sign()
                images, now = self.look(asked, there)
                task.advance()
                for k, i in enumerate(rows):
                    kept = bool(now[k] >= most[i])
                    length[i] = min(float(length[i]) * (LONGER if kept else SHORTER), 20 * CAREFUL)
                    if kept:
                        best[i], most[i] = there[k], now[k]
                if step % LOOK == 0 or step == steps:
                    book.note(step, rows, *self.look(asked, best[rows]))
                    rows = book.open
                    if not rows:
                        break
        return book.dreams(objectives, woken)

    def apart(
        self, objectives: Sequence[Objective], begin: Tensor, floors: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Push images for the same objective apart, as far as none falls below its floor.

        An image below its floor climbs, one above becomes less like the others: by the mean cosine of the Gram matrices
        of the layer it is made for (Olah et al. 2017). Of all that was seen, those are given of which fewest lie below
        their floors, and which then are least alike.

        Args:
            objectives: the same one for each image of a group.
            begin: coefficients (B, C, *positions).
            floors: float (B,).
            steps: how many.

        Returns:
            The images (B, C, *positions), and the objective of each, (B,).
        """
        numbers = torch.Generator().manual_seed(self.seed)
        coefficients = begin.clone()
        climber, rows = Adam(coefficients, RATE), list(range(len(objectives)))
        groups = {id(one): [i for i, other in enumerate(objectives) if other is one] for one in objectives}
        best: dict[int, tuple[int, float]] = {}
        kept = self.canvas.paint(coefficients).clone()
        with self.progress.task("pushing them apart", steps) as task:
            for _ in range(steps):
                place = coefficients.detach().clone().requires_grad_()
                images = self.canvas.paint(place)
                with torch.no_grad():
                    heard = hear(self.taps, images, self.known)
                    clean, like = values(objectives, heard), alike(objectives, heard)
                for one, members in groups.items():
                    rank = (int((clean < floors)[members].sum()), float(like[members].mean()))
                    if one not in best or rank < best[one]:
                        best[one], kept[members] = rank, images.detach()[members]
                heard = hear(self.taps, transform(images, numbers), self.known)
                score = torch.where(clean < floors, values(objectives, heard), -alike(objectives, heard))
                climber.step(rows, torch.autograd.grad(score.sum(), place)[0])
                task.advance()
        with torch.no_grad():
            return kept, values(objectives, hear(self.taps, kept, self.known))

    def _uphill(
        self, objectives: Sequence[Objective], coefficients: Tensor, numbers: torch.Generator, share: float, still: bool
    ) -> Tensor:
        """Give the gradients, (B, C, *positions); where rectifiers block all of one, the way around them.

        ``share`` of it passes silent rectifiers anyway.
        """
        moves = numbers.get_state()
        with Redirected(share) if share else nullcontext():
            gradient = self._slope(objectives, coefficients, numbers, still)
        silent = (gradient.flatten(1).abs().amax(dim=1) == 0).nonzero()[:, 0].tolist()
        if silent:
            numbers.set_state(moves)
            with Redirected():
                gradient[silent] = self._slope([objectives[i] for i in silent], coefficients[silent], numbers, still)
        return gradient

    def _slope(
        self, objectives: Sequence[Objective], coefficients: Tensor, numbers: torch.Generator, still: bool
    ) -> Tensor:
        """Give the gradient of all scores with respect to the coefficients, the images seen a little moved or not."""
        coefficients = coefficients.detach().requires_grad_()
        images = self.canvas.paint(coefficients)
        heard = hear(self.taps, images if still else transform(images, numbers), self.known)
        return torch.autograd.grad(values(objectives, heard).sum(), coefficients)[0]

    def look(self, objectives: Sequence[Objective], coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Give the images as they are, and their scores."""
        with torch.no_grad():
            images = self.canvas.paint(coefficients)
            return images, values(objectives, hear(self.taps, images, self.known))


class Adam:
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


class Book:
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

    def dreams(self, objectives: Sequence[Objective], woken: str) -> list[Dream]:
        """Give what was found; what the network says of it is not known yet."""
        return [
            Dream(o.name, self.images[i].cpu(), c[0], max(c), tuple(c), self.ended[i], woken, False, torch.empty(0))
            for i, (o, c) in enumerate(zip(objectives, self.curves, strict=True))
        ]


def _flat(curve: Sequence[float]) -> bool:
    """Whether the last looks brought less than 1 % of all that was gained."""
    if len(curve) <= PATIENCE:
        return False
    before, now = max(curve[:-PATIENCE]), max(curve)
    return now - before <= 0.01 * (now - curve[0])
