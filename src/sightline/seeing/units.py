"""A unit -> what it answers to the data: examples from most to least, its answers by class, the classes it feeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sightline.errors import SettingsError
from sightline.seeing.hearing import evaluate, logits
from sightline.seeing.layers import Place
from sightline.seeing.objectives import channel
from sightline.seeing.subject import Subject
from sightline.seeing.taps import Taps, as_it_was, first_tensor, layer_of

BINS = 24
"""Bars of a histogram."""

ASKED = 32
"""Examples on which it is tried what the unit does for the classes."""


@dataclass(frozen=True, eq=False)
class Unit:
    """What a unit answers to the examples of a subject.

    Attributes:
        name: stable: layer and number, ``stages.2.0.conv1:17``.
        place: the layer.
        number: of the unit in it, from 0.
        answers: float32 (N,), the mean of its map for each example.
        most: rows of the examples with the largest answers, largest first.
        middle: rows of the examples around the median.
        least: rows of the examples with the smallest answers, smallest first.
        edges: float32 (BINS + 1,), of the histogram.
        counts: int64 (K, BINS), examples of each class; K is 1 if classes are unknown.
        feeds: float32 (K,), how much each logit falls when the unit is held at its mean answer instead, averaged over
            the ``ASKED`` examples it answers most; empty where the network gives no logits.
        dead: whether it answers all examples the same.
    """

    name: str
    place: Place
    number: int
    answers: NDArray[np.float32]
    most: NDArray[np.int64]
    middle: NDArray[np.int64]
    least: NDArray[np.int64]
    edges: NDArray[np.float32]
    counts: NDArray[np.int64]
    feeds: NDArray[np.float32]
    dead: bool

    @property
    def active(self) -> float:
        """The share of examples with an answer above 0."""
        return float((self.answers > 0).mean())


def unit(subject: Subject, name: str, *, shown: int = 9) -> Unit:
    """Look at what a unit answers to the data.

    Args:
        subject: the network, with at least one example.
        name: layer and number, ``stages.2.0.conv1:17``.
        shown: examples for each part of the range; fewer where there are fewer.

    Raises:
        ModelError: there is no such layer or unit.
        SettingsError: there are no examples.
    """
    place, number = subject.layers.unit(name)
    if not len(subject.examples):
        raise SettingsError("a unit cannot be looked at without examples.", "Give inputs of the network as examples.")
    asked = channel(place.name, number)
    with Taps(subject.model, [place.name], stop=place.calls == 1) as taps:
        answers = evaluate(taps, [asked], subject.examples, subject.layers)[0].numpy()
    order = np.argsort(-answers, kind="stable").astype(np.int64)
    shown = min(shown, len(order))
    middle = order[(len(order) - shown) // 2 :][:shown]
    low, high = float(answers.min()), float(answers.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1).astype(np.float32)
    classes = max(len(subject.classes), 1)
    groups = [answers[subject.labels == k] for k in range(classes)] if subject.classes else [answers]
    counts = np.stack([np.histogram(group, edges)[0] for group in groups]).astype(np.int64)
    held = answers.mean()
    before, after = effect(subject, place, number, float(held), subject.examples[order[:ASKED]])
    feeds = (before - after).mean(0).numpy() if before.shape[1] else np.empty(0, np.float32)
    return Unit(
        asked.name, place, number, answers, order[:shown], middle, order[::-1][:shown].copy(), edges, counts, feeds,
        bool(high - low <= 1e-6 * max(abs(low), abs(high))),
    )  # fmt: skip


def effect(subject: Subject, place: Place, number: int, held: float, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Give the logits (n, K) of inputs, as they are and with one unit held at a value everywhere."""

    def hold(module: object, given: object, output: Any) -> Any:
        found = first_tensor(output)
        assert found is not None
        changed = found.clone()
        changed.select(place.axis, number).fill_(held)
        return changed if output is found else (changed, *output[1:])

    before = logits(subject.model, inputs)
    with as_it_was(subject.model):
        hook = layer_of(subject.model, place.name).register_forward_hook(hold)
        try:
            after = logits(subject.model, inputs)
        finally:
            hook.remove()
    return before, after
