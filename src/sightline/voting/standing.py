"""What members and their vote say of the same images -> who is how good, what the vote gains, how members differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis import mistakes
from sightline.diagnosis.intervals import Figure
from sightline.diagnosis.mistakes import Evaluation, Mistake
from sightline.diagnosis.paired import differences
from sightline.voting import diversity, votes
from sightline.voting.diversity import Diversity

SHOWN = 24
"""Images, at most, that all members get wrong in the same way, which are listed."""


@dataclass(frozen=True)
class Cost:
    """What asking for an answer costs.

    Attributes:
        parameters: numbers that were learnt.
        multiply_adds: multiplications for one image, each with its addition; None where they are not known.
        ms: milliseconds for one image, measured on this machine, several images at a time.
    """

    parameters: int
    multiply_adds: int | None
    ms: float


@dataclass(frozen=True)
class Seat:
    """One voice in the table: a member, or a subset of them.

    Attributes:
        name: of the member; of a subset, its members' names.
        accuracy, balanced_accuracy, macro_f1, loss: on the scored images, each with its interval.
        gain: by score (``accuracy``, ``balanced_accuracy``, ``macro_f1``) how much better the vote of all is than this,
            on the same images, with a paired interval.
        weight: its share of the vote, 0..1.
        valid_loss: nats per validation image, by which it is compared before the scored images are looked at; None if
            there are none.
        cost: of its answers, None if it was not measured.
    """

    name: str
    accuracy: Figure
    balanced_accuracy: Figure
    macro_f1: Figure
    loss: Figure
    gain: dict[str, Figure]
    weight: float
    valid_loss: float | None = None
    cost: Cost | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Seat:
        """Read what ``Standing.as_dict`` wrote for one."""
        read = dict(values)
        for name in SCORES:
            read[name] = Figure.from_dict(values[name])
        read["gain"] = {name: Figure.from_dict(figure) for name, figure in values["gain"].items()}
        read["cost"] = None if values["cost"] is None else Cost(**values["cost"])
        return cls(**read)


SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "loss")


@dataclass(frozen=True)
class Standing:
    """Members and their vote side by side on the same images.

    Attributes:
        part: ``test``, ``validation`` or ``images``: what was scored.
        count: how many images.
        vote: how they voted.
        lead: the score that counts: ``accuracy``, or ``balanced_accuracy`` where classes are skewed.
        whole: the vote of all; its gain is empty.
        members: one for each.
        best: number of the member with the lowest loss on the validation images; None if there are none.
        subset: the members whose vote has the lowest loss on the validation images, and how it does on these; None if
            there are no validation images, or all members are best.
        chosen: numbers of the subset's members.
        diversity: how far the members differ.
        together: images that all call by the same wrong name, the most certain first.
        notes: sentences: which images were scored, and which were not.
    """

    part: str
    count: int
    vote: str
    lead: str
    whole: Seat
    members: tuple[Seat, ...]
    best: int | None
    subset: Seat | None
    chosen: tuple[int, ...]
    diversity: Diversity
    together: tuple[Mistake, ...]
    notes: tuple[str, ...] = ()

    @property
    def reference(self) -> int:
        """The member to compare the vote with: the best on validation, or else on the scored images."""
        if self.best is not None:
            return self.best
        return int(np.argmax([self.led(seat).value for seat in self.members]))

    def led(self, seat: Seat) -> Figure:
        """Give a seat's leading score."""
        found: Figure = getattr(seat, self.lead)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values: the layout of ``vote.json``."""
        return {**asdict(self), "diversity": self.diversity.as_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Standing:
        """Read what ``as_dict`` gave; other keys are left aside."""
        read = {name: values[name] for name in cls.__dataclass_fields__}
        read["whole"] = Seat.from_dict(values["whole"])
        read["members"] = tuple(Seat.from_dict(seat) for seat in values["members"])
        read["subset"] = None if values["subset"] is None else Seat.from_dict(values["subset"])
        read["chosen"], read["notes"] = tuple(values["chosen"]), tuple(values["notes"])
        read["diversity"] = Diversity.from_dict(values["diversity"])
        read["together"] = tuple(Mistake(**each) for each in values["together"])
        return cls(**read)


def judge(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    members: Sequence[str],
    vote: str,
    weights: Sequence[float] | None = None,
    temperature: float | None = None,
    names: Sequence[str] | None = None,
    valid: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None,
    costs: Sequence[Cost] | None = None,
    parameters: int | None = None,
    part: str = "test",
    notes: Sequence[str] = (),
) -> tuple[Evaluation, Standing]:
    """Score members and their vote on images that none of them was trained on.

    Args:
        probabilities: float32 (M, N, K) of M members for N images.
        labels: int64 (N,).
        classes: K names.
        members: M names.
        vote: a name of ``votes.VOTES``.
        weights: of the weighted vote, (M,).
        temperature: of the vote, fitted on validation images.
        names: of the images.
        valid: probabilities (M, n, K) and labels (n,) of validation images, by which the best member and the best
            subset are chosen; None if there are none.
        costs: of each member.
        parameters: of all together, if some share their weights; None adds up those of the members.
        part: what the images are.
        notes: on how they were chosen.

    Returns:
        The evaluation of the vote, and the table.
    """
    counted = votes.count(probabilities, vote, weights)
    evaluation = mistakes.evaluate(votes.logits(counted), labels, classes, names=names, temperature=temperature)
    voted, predicted = counted.argmax(axis=1), probabilities.argmax(axis=2)
    share = votes.shares(weights, len(members))

    def seat(
        name: str, own: NDArray[np.float64], weight: float, valid_loss: float | None, cost: Cost | None = None
    ) -> Seat:
        found = mistakes.evaluate(votes.logits(own), labels, classes)
        gain = differences(voted, own.argmax(axis=1), labels, len(classes))
        return Seat(name, **_scores(found), gain=gain, weight=weight, valid_loss=valid_loss, cost=cost)

    losses: list[float | None] = [None] * len(members)
    best, chosen = None, tuple(range(len(members)))
    if valid is not None:
        measured = [votes.loss(own.astype(np.float64), valid[1]) for own in valid[0]]
        losses, best = list(measured), int(np.argmin(measured))
        chosen = votes.best_subset(*valid, vote, share)
    subset = None
    if len(chosen) < len(members) and valid is not None:
        these = list(chosen)
        own = votes.count(probabilities[these], vote, share[these])
        on_valid = votes.loss(votes.count(valid[0][these], vote, share[these]), valid[1])
        subset = seat(" + ".join(members[m] for m in these), own, float(share[these].sum()), on_valid)
    together = np.flatnonzero((predicted == predicted[0]).all(axis=0) & (predicted[0] != labels))
    sure = probabilities.mean(axis=0)[together, predicted[0, together]]
    loss = -np.log(np.maximum(counted[together, labels[together]], votes.SMALLEST))
    worst = np.argsort(-sure, kind="stable")[:SHOWN]
    return evaluation, Standing(
        part=part,
        count=len(labels),
        vote=vote,
        lead="balanced_accuracy" if evaluation.skewed else "accuracy",
        whole=Seat(
            f"{vote} vote",
            **_scores(evaluation),
            gain={},
            weight=1.0,
            valid_loss=None if valid is None else votes.loss(votes.count(valid[0], vote, share), valid[1]),
            cost=_total(costs, parameters) if costs else None,
        ),
        members=tuple(
            seat(name, probabilities[m].astype(np.float64), float(share[m]), losses[m], costs[m] if costs else None)
            for m, name in enumerate(members)
        ),
        best=best,
        subset=subset,
        chosen=chosen,
        diversity=diversity.measure(predicted, labels),
        together=tuple(
            Mistake(
                row=int(row),
                name=f"row {row}" if names is None else str(names[row]),
                true=str(classes[labels[row]]),
                predicted=str(classes[predicted[0, row]]),
                confidence=float(sure[i]),
                loss=float(loss[i]),
            )
            for i, row in ((i, together[i]) for i in worst)
        ),
        notes=tuple(notes),
    )


def _scores(found: Evaluation) -> dict[str, Figure]:
    return {score: getattr(found, score) for score in SCORES}


def _total(costs: Sequence[Cost], parameters: int | None) -> Cost:
    known = [cost.multiply_adds for cost in costs if cost.multiply_adds is not None]
    return Cost(
        sum(cost.parameters for cost in costs) if parameters is None else parameters,
        sum(known) if len(known) == len(costs) else None,
        sum(cost.ms for cost in costs),
    )
