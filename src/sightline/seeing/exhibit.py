"""A network and images it knows -> what a gallery shows of it: stages, units, classes, and where it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.errors import ModelError
from sightline.progress import Progress
from sightline.seeing.answers import Answers, answers
from sightline.seeing.kept import Kept
from sightline.seeing.layers import Place
from sightline.seeing.maps import Maps, brought, maps, stages
from sightline.seeing.objectives import channel, logit
from sightline.seeing.portraits import Portrait, portraits
from sightline.seeing.saliency import METHODS, Saliency, saliency
from sightline.seeing.subject import Subject
from sightline.seeing.taps import Taps
from sightline.seeing.trust import Judge, Trust

CLEAR = 20
"""Of so many strongest images, the commonest class is told."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Images that are sent through and asked about, with what the network says of them.

    Attributes:
        x: float32 (N, C, *positions), as the network gets them.
        labels: int64 (N,), the true classes; -1 where they are not known.
        predicted: int64 (N,).
        confidence: float64 (N,), the probability of the class predicted, 0..1.
        names: what each is called.
    """

    x: Tensor
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which were recognised."""
        return np.asarray(self.labels == self.predicted)

    def take(self, rows: Sequence[int]) -> Chosen:
        """Give some of them, in this order."""
        at = np.asarray(rows, np.int64)
        names = [self.names[i] for i in at]
        return Chosen(self.x[torch.from_numpy(at)], self.labels[at], self.predicted[at], self.confidence[at], names)

    def mixed(self, right: int, wrong: int) -> Chosen:
        """Take so many of each: the right ones of different classes first, the wrong ones surest.

        Where there are fewer wrong ones, right ones take their places.
        """
        seen, first, later = set[int](), list[int](), list[int]()
        for i in np.flatnonzero(self.right).tolist():
            (later if int(self.labels[i]) in seen else first).append(i)
            seen.add(int(self.labels[i]))
        missed = np.flatnonzero(~self.right)
        missed = missed[np.argsort(-self.confidence[missed], kind="stable")][:wrong]
        return self.take([*[*first, *later][: right + wrong - len(missed)], *missed.tolist()])


@dataclass(frozen=True, eq=False)
class Unit:
    """One unit: the images that excite it most, and the image made for it.

    Attributes:
        name: layer and number, or the name of the class.
        number: of the unit in its layer.
        answers: float32 (N,), what it says of each example.
        rows: int64, the examples it answers most strongly, the strongest first.
        clear: the commonest class among the ``CLEAR`` strongest examples, and how many of them have it.
        portrait: the image that was made for it, with what it is worth, or None.
    """

    name: str
    number: int
    answers: NDArray[np.float32]
    rows: NDArray[np.int64]
    clear: tuple[str, int]
    portrait: Portrait | None = None

    @property
    def most(self) -> float:
        """Its strongest answer."""
        return float(self.answers.max())


@dataclass(frozen=True, eq=False)
class Stage:
    """A stage of the network.

    Attributes:
        name: of the stage.
        answers: what its last layer says of the examples.
        maps: what it makes of the chosen images.
        units: some whose answers differ most from image to image, and from each other's.
    """

    name: str
    answers: Answers
    maps: Maps
    units: tuple[Unit, ...] = ()

    @property
    def place(self) -> Place:
        """The layer that ends it."""
        return self.answers.place

    def as_dict(self) -> dict[str, object]:
        """Give plain JSON values: the layer, its size, its dead units."""
        size = {"units": self.place.units, "positions": list(self.place.positions)}
        return {"stage": self.name, "layer": self.place.name, **size, "dead": self.answers.dead.tolist()}


@dataclass(frozen=True, eq=False)
class Asked:
    """Where the network looked, asked in one way.

    Attributes:
        found: the maps, one for each image.
        trust: how far they can be believed.
    """

    found: Saliency
    trust: Trust

    def as_dict(self) -> dict[str, object]:
        """Give plain JSON values: the judgement with its figures, how fine the maps are."""
        how = {"cells": list(self.found.cells), "layer": self.found.layer, "sentence": self.trust.sentence}
        return {**vars(self.trust), **how}


@dataclass(frozen=True, eq=False)
class Exhibit:
    """All that a gallery shows.

    Attributes:
        subject: the network and the examples.
        through: the images whose maps are shown.
        stages: from the input to the last features.
        classes: the logits, each seen as a unit.
        about: the images whose predictions are explained.
        asked: one for each way.
        left: sentences: what was left out, and why.
    """

    subject: Subject
    through: Chosen
    stages: tuple[Stage, ...]
    classes: tuple[Unit, ...]
    about: Chosen
    asked: tuple[Asked, ...]
    left: tuple[str, ...] = field(default=())


def look(
    subject: Subject,
    through: Chosen,
    layer: str | None = None,
    *,
    units: int = 6,
    shown: int = 4,
    progress: Progress,
) -> list[Stage]:
    """Go through the stages: their maps of some images, units that differ with the examples that excite them most.

    Args:
        subject: its examples are what units are ranked and illustrated by.
        through: images whose maps are wanted.
        layer: look at this layer alone, whether it ends a stage or not.
        units: of each stage, as far as possible such as do not answer alike.
        shown: examples of each unit.
        progress: shows long work.
    """
    found = stages(subject.model, subject.layers) if layer is None else {layer: subject.layers[layer]}
    names = [place.name for place in found.values()]
    said = answers(subject.model, subject.examples, names, known=subject.layers, progress=progress)
    made = maps(subject.model, through.x, names, known=subject.layers)
    parts = []
    for stage, answer, own in zip(found, said, made, strict=True):
        strongest = tuple(unit(subject, answer.place.name, answer.means, u, shown) for u in answer.different(units))
        parts.append(Stage(stage, answer, own, strongest))
    return parts


def unit(subject: Subject, layer: str, means: NDArray[np.float32], number: int, shown: int) -> Unit:
    """Tell one unit by the examples it answers most strongly; ``layer`` is empty for logits."""
    order = np.argsort(-means[:, number], kind="stable")
    labels = subject.labels[order[:CLEAR]]
    labels = labels[labels >= 0]
    counts = np.bincount(labels, minlength=1)
    named = len(subject.classes) > int(counts.argmax()) and len(labels) > 0
    clear = (subject.classes[counts.argmax()], int(counts.max())) if named else ("", 0)
    known = subject.classes[number] if number < len(subject.classes) else str(number)
    return Unit(f"{layer}:{number}" if layer else known, number, means[:, number], order[:shown], clear)


def classes(subject: Subject, *, most: int = 12, shown: int = 4) -> list[Unit]:
    """See the logits as units: the examples with the most evidence for each of the first ``most`` classes."""
    with torch.no_grad():
        logits = np.concatenate([_logits(subject, part) for part in torch.split(subject.examples, 256)])
    return [unit(subject, "", logits, k, shown) for k in range(min(most, logits.shape[1]))]


def _logits(subject: Subject, x: Tensor) -> NDArray[np.float32]:
    with Taps(subject.model) as taps, torch.no_grad():
        logits = taps.run(brought(subject.model, x))
        assert logits is not None
        return logits.float().cpu().numpy()


def imagine(
    subject: Subject,
    parts: Sequence[Stage],
    logits: Sequence[Unit],
    *,
    steps: int,
    tested: int = 1,
    kept: Kept | None = None,
    progress: Progress,
) -> tuple[list[Stage], list[Unit]]:
    """Make an image for every unit shown and every class, a stage at a time.

    Args:
        subject: its examples are those the units are told by.
        parts: stages with their units.
        logits: the classes.
        steps: at most.
        tested: of so many units of each stage, and of four times as many classes, an image is also made where nothing
            was learnt: that costs as much again.
        kept: where images are looked up, and kept one batch after the other.
        progress: shows long work.

    Raises:
        ModelError: the network cannot be asked.
    """
    groups = [*(list(part.units) for part in parts), list(logits)]
    asked = [[(u.name, channel(part.place.name, u.number)) for u in part.units] for part in parts]
    asked.append([(f"logit:{u.name}", logit(u.number, u.name)) for u in logits])
    controlled = {text for own in asked[:-1] for text, _ in own[:tested]} | {
        text for text, _ in asked[-1][: 4 * tested]
    }
    units = [each for group in groups for each in group]
    made = portraits(
        subject, [one for own in asked for one in own], steps=steps, controlled=controlled,
        scores=torch.from_numpy(np.stack([each.answers for each in units])) if units else None,
        kept=kept, progress=progress,
    )  # fmt: skip
    told = iter(replace(each, portrait=one) for each, one in zip(units, made, strict=True))
    shown = [tuple(next(told) for _ in group) for group in groups]
    return [replace(part, units=own) for part, own in zip(parts, shown, strict=False)], list(shown[-1])


def ask(
    subject: Subject,
    about: Chosen,
    methods: Sequence[str] = tuple(METHODS),
    *,
    targets: NDArray[np.int64] | None = None,
    exact: float = 0.01,
    thrifty: bool = False,
    progress: Progress,
) -> tuple[list[Asked], list[str]]:
    """Ask where the network looked, in several ways, and put each to the test.

    Args:
        subject: the network.
        about: images.
        methods: names of ways.
        targets: int64 (N,), the classes asked about; None takes those that were predicted.
        exact: see ``saliency``.
        thrifty: take fewer windows and steps, for networks that compute for long.
        progress: shows the ways.

    Returns:
        What was found, and a sentence for each way that this network cannot be asked in.
    """
    zero, side = torch.zeros(1, *subject.shape), max(1, round(min(subject.shape[1:]) / 7))
    found, left = [], []
    with progress.task("asking where it looks", len(methods) + 1) as task:
        targets = about.predicted if targets is None else targets
        steps, orders = (8, 2) if thrifty else (16, 4)
        judge = Judge.of(subject.model, about.x, targets, zero, steps=steps, orders=orders)
        task.advance()
        for method in methods:
            try:
                told = saliency(
                    subject.model, about.x, targets, method, baseline=zero, stride=side if thrifty else None,
                    steps={"smoothgrad": 8, "integrated": 32}.get(method) if thrifty else None,
                    exact=exact,
                )  # fmt: skip
                found.append(Asked(told, judge.trust(told)))
            except ModelError as error:
                left.append(error.fault)
            task.advance()
    return found, left
