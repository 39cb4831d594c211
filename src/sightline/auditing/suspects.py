"""Images, labels and probabilities -> the list of labels to review, the most doubtful first, as a table and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.auditing.outoffold import Scored
from sightline.diagnosis.confident import confident
from sightline.diagnosis.label_noise import LabelNoise
from sightline.making.prepared import Prepared


@dataclass(frozen=True)
class Suspect:
    """One line of the list.

    Attributes:
        file: the image's name, as ``Images.label_of`` gives it.
        label: its class in the source.
        suggested: the likeliest other class; or the class it was given by earlier corrections.
        action: ``keep``, ``drop`` or ``relabel``; the user's to change.
        score: 0..1, the chance that the label is wrong; None for what earlier corrections dropped, as all figures.
        self_confidence: 0..1, the probability that networks which never saw the image give its label.
        margin: -1..1, that less the largest probability of another class.
        part: ``train``, ``valid`` or ``test`` where the source gives them, else empty.
        why: in words.
    """

    file: str
    label: str
    suggested: str
    action: str
    score: float | None
    self_confidence: float | None
    margin: float | None
    part: str
    why: str


COLUMNS = tuple(field.name for field in fields(Suspect))


def judge(data: Prepared, scored: Scored, noise: LabelNoise) -> list[Suspect]:
    """Judge the labels of the scored rows.

    Args:
        data: all images.
        scored: some of them, with their probabilities.
        noise: the model fitted to them.

    Returns:
        One for each row, the most doubtful first.
    """
    if not len(scored.rows):
        return []
    rows, p, classes = scored.rows, scored.probabilities, data.images.classes
    labels = data.labels[rows]
    score, suggested = noise.judge(p, labels)
    found = confident(p, labels)
    copies = _contradictions(data, rows)
    for pair in copies.values():
        chance = _contradicted(found.self_confidence[pair], labels[pair])
        score[pair] = np.maximum(score[pair], chance)
    source_labels = labels.copy()
    relabelled = np.zeros(len(rows), bool)
    if data.corrected is not None:
        relabelled = np.isin(rows, data.corrected.relabelled)
        source_labels = data.corrected.before[rows]
    listed = []
    for i in np.lexsort((found.self_confidence, -score)):
        row, label, other = int(rows[i]), classes[labels[i]], classes[suggested[i]]
        why = _why(label, other, found.self_confidence[i], p[i, suggested[i]], found.thresholds[labels[i]])
        if i in copies:
            twin = next(int(j) for j in copies[i] if labels[j] != labels[i])
            why = f"the same picture is labelled '{classes[labels[twin]]}' as {data.images.label_of(int(rows[twin]))}"
        listed.append(
            Suspect(
                file=data.images.label_of(row),
                label=classes[source_labels[i]],
                suggested=label if relabelled[i] else other,
                action="relabel" if relabelled[i] else "keep",
                score=float(score[i]),
                self_confidence=float(found.self_confidence[i]),
                margin=float(found.margin[i]),
                part="" if data.images.splits is None else str(data.images.splits[row]),
                why=f"corrected before; {why}" if relabelled[i] else why,
            )
        )
    return listed


def dropped(data: Prepared) -> list[Suspect]:
    """List what earlier corrections dropped, so that a new list does not bring it back."""
    if data.corrected is None:
        return []
    before, rows = data.corrected.before, data.corrected.dropped
    return [
        Suspect(name, data.images.classes[before[row]], "", "drop", None, None, None, "", "dropped before")
        for name, row in zip(data.names(rows), rows, strict=True)
    ]


def prefill(listed: Sequence[Suspect], share: float) -> list[Suspect]:
    """Set the action of the most doubtful share of the list to ``drop``; lines with another action than keep stay."""
    worst = round(share * len(listed))
    return [replace(one, action="drop") if i < worst and one.action == "keep" else one for i, one in enumerate(listed)]


def as_csv(listed: Sequence[Suspect]) -> str:
    """Write the list; ``data.corrections.read`` takes it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in listed:
        writer.writerow(_cell(getattr(one, name)) for name in COLUMNS)
    return text.getvalue()


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _why(label: str, other: str, own: float, others: float, usual: float) -> str:
    if others > own:
        return f"taken for '{other}' ({others:.2f}); '{label}' got {own:.2f}, its images usually {usual:.2f}"
    return f"taken for its label ({own:.2f}; '{other}' {others:.2f})"


def _contradictions(data: Prepared, rows: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Find exact copies with different labels: position in ``rows`` -> the positions of all copies."""
    digest, labels = data.pixels.digests[rows], data.labels[rows]
    order = np.argsort(digest, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(digest[order])) + 1)
    return {int(i): group for group in groups if len(set(labels[group].tolist())) > 1 for i in group}


def _contradicted(own: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the chance that each of some contradicting labels of one picture is wrong, if one of them is right."""
    odds = {int(label): float(own[labels == label].mean()) + 1e-6 for label in np.unique(labels)}
    return np.array([1 - odds[int(label)] / sum(odds.values()) for label in labels])
