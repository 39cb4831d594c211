"""A reviewed list and images -> the images with labels changed, and the rows to leave out; no file is touched.

The list is a CSV with the columns ``file``, ``label``, ``suggested`` and ``action``, as ``sightline audit`` writes it
or a person does; other columns are for the reader. The action is ``keep`` (nothing happens), ``drop`` (the image takes
no part) or ``relabel`` (its label becomes the one in ``suggested``).
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.data.images import SPLITS, Images
from sightline.data.labels import listed
from sightline.data.manifest import read_csv
from sightline.data.split import Split
from sightline.errors import SourceError, did_you_mean
from sightline.finding import Finding

ACTIONS = ("keep", "drop", "relabel")
COLUMNS = ("file", "label", "suggested", "action")

PARTS = {"train": "training", "valid": "validation", "test": "test"}

_HINT = f"A list of corrections has the columns {', '.join(COLUMNS)}; the actions are {', '.join(ACTIONS)}."


@dataclass(frozen=True)
class Line:
    """What is to happen to one image.

    Attributes:
        file: its name, as ``Images.label_of`` gives it.
        label: its class in the source.
        suggested: its class from now on, if ``action`` is relabel.
        action: ``drop`` or ``relabel``.
    """

    file: str
    label: str
    suggested: str
    action: str


@dataclass(frozen=True, eq=False)
class Corrections:
    """A list that was read; lines to keep are left away.

    Attributes:
        path: the file.
        digest: SHA-256 of its content, 32 hexadecimal digits.
        lines: in the order of the file.
        places: where each line stands: ``"line 7"``.
    """

    path: Path
    digest: str
    lines: tuple[Line, ...]
    places: tuple[str, ...]

    def as_csv(self) -> str:
        """Write the lines, in a form that ``read`` takes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((line.file, line.label, line.suggested, line.action) for line in self.lines)
        return text.getvalue()


@dataclass(frozen=True, eq=False)
class Corrected:
    """Images after their corrections: the same rows, some with another label, some to be left out of every part.

    Attributes:
        images: the same entries with the labels as corrected.
        dropped: int64, ascending: rows that are to take no part.
        relabelled: int64, ascending: rows whose label is another.
        before: int64 (N,): the labels as the source gives them.
        corrections: what was applied.
    """

    images: Images
    dropped: NDArray[np.int64]
    relabelled: NDArray[np.int64]
    before: NDArray[np.int64]
    corrections: Corrections

    def finding(self, split: Split) -> Finding:
        """Say how many labels each part loses or changes; a warning if it is the test part, which makes the score.

        Args:
            split: the parts before anything is dropped.
        """
        counts = {
            part: {
                "drop": len(np.intersect1d(getattr(split, part), self.dropped)),
                "relabel": len(np.intersect1d(getattr(split, part), self.relabelled)),
            }
            for part in SPLITS
        }
        sizes = {part: len(getattr(split, part)) for part in SPLITS}
        told = ", ".join(
            f"{PARTS[part]} {count['drop']:,} dropped and {count['relabel']:,} relabelled of {sizes[part]:,}"
            for part, count in counts.items()
            if sizes[part]
        )
        return Finding(
            "data/corrections",
            "warning" if any(counts["test"].values()) else "note",
            f"labels are corrected by '{self.corrections.path}': {told}.",
            "The score is on corrected test labels, and networks had a say in that: quote it so, or leave the test "
            "part's lines at 'keep'."
            if any(counts["test"].values())
            else "The test part's labels are as the source gives them.",
            {"file": str(self.corrections.path), "digest": self.corrections.digest, "counts": counts},
        )

    def without_dropped(self, split: Split) -> Split:
        """Give the parts without the dropped rows; nobody changes sides.

        Raises:
            SourceError: a class is left without a training image, or no image is left to validate with.
        """
        left = {part: np.setdiff1d(getattr(split, part), self.dropped) for part in SPLITS}
        counts = np.bincount(self.images.labels[left["train"]], minlength=len(self.images.classes))
        before = np.bincount(self.images.labels[split.train], minlength=len(self.images.classes))
        empty = [name for name, now, then in zip(self.images.classes, counts, before, strict=True) if then and not now]
        if empty or not len(left["valid"]):
            lost = f"class {listed(empty, 4)} without a training image" if empty else "no image to validate with"
            raise SourceError(
                f"corrections '{self.corrections.path}' leave {lost}.",
                "Keep some, or remove the class from the source.",
            )
        return Split(left["train"], left["valid"], left["test"], split.notes)


def read(path: Path) -> Corrections:
    """Read a list of corrections.

    Raises:
        SourceError: it cannot be read, a column is missing, or an action is unknown.
    """
    table, place = read_csv(path, "corrections", errors="surrogateescape")
    columns = {name.strip().lower(): cells for name, cells in table.items()}
    for name in COLUMNS:
        if name not in columns:
            raise SourceError(
                f"corrections '{path}' have no column '{name}', only {listed(table)}.{did_you_mean(name, columns)}",
                _HINT,
            )
    lines: list[Line] = []
    places: list[str] = []
    said: dict[tuple[str, str], tuple[str, str]] = {}
    for row, (file, label, suggested, action) in enumerate(zip(*(columns[name] for name in COLUMNS), strict=True)):
        line = Line(file, label.strip(), suggested.strip(), action.strip().lower())
        if line.action not in ACTIONS:
            raise SourceError(
                f"corrections '{path}', {place(row)}: '{action}' is no action.{did_you_mean(line.action, ACTIONS)}",
                f"Use one of: {', '.join(ACTIONS)}.",
            )
        wish = f"relabel as '{line.suggested}'" if line.action == "relabel" else line.action
        first, at = said.setdefault((line.file, line.label), (wish, place(row)))
        if first != wish:
            raise SourceError(
                f"corrections '{path}', {place(row)}, contradict {at}: '{file}' is to {wish}, and to {first}.",
                "Keep one of the two lines.",
            )
        if line.action != "keep":
            lines.append(line)
            places.append(place(row))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    return Corrections(path, digest, tuple(lines), tuple(places))


def apply(images: Images, corrections: Corrections) -> Corrected:
    """Change labels as a list says and tell which rows to leave out; pixels, order and classes stay.

    A line means every row of that name and label: a manifest may name a file twice.

    Args:
        images: as the source gives them.
        corrections: as ``read`` gave them.

    Raises:
        SourceError: a line names an image or class that is not there, a label that is not the image's, or contradicts
            another.
    """
    wanted = {line.file for line in corrections.lines}
    rows_of: dict[str, list[int]] = {}
    for row in range(len(images)):
        name = images.label_of(row)
        if name in wanted:
            rows_of.setdefault(name, []).append(row)
    labels = images.labels.copy()
    numbers = {name: k for k, name in enumerate(images.classes)}
    dropped: list[int] = []
    relabelled: list[int] = []
    for line, place in zip(corrections.lines, corrections.places, strict=True):
        where = f"corrections '{corrections.path}', {place}"
        rows = rows_of.get(line.file, [])
        if not rows:
            near = did_you_mean(line.file, [images.label_of(row) for row in range(min(len(images), 5_000))])
            raise SourceError(
                f"{where}: '{line.file}' is not among the readable images of '{images.name}'.{near}",
                "Names are those of the audit: paths below the source's folder, or 'row 17' for arrays.",
            )
        found = [row for row in rows if images.classes[images.labels[row]] == line.label]
        if not found:
            raise SourceError(
                f"{where}: '{line.file}' is labelled '{images.classes[images.labels[rows[0]]]}' in '{images.name}', "
                f"not '{line.label}' as the list says.",
                "The label was changed since: remove the line, or audit again.",
            )
        if line.action == "relabel" and (line.suggested not in numbers or line.suggested == line.label):
            fault = f"'{line.suggested}' is no class" if line.suggested else "'suggested' is empty"
            raise SourceError(
                f"{where}: {f'it is labelled {line.label!r} already' if line.suggested == line.label else fault}."
                f"{did_you_mean(line.suggested, numbers) if line.suggested not in numbers else ''}",
                f"To relabel, write one of these under 'suggested': {listed(images.classes)}.",
            )
        if line.action == "drop":
            dropped += found
        else:
            labels[found] = numbers[line.suggested]
            relabelled += found
    return Corrected(
        images.relabel(labels, images.classes),
        np.unique(np.array(dropped, dtype=np.int64)),
        np.unique(np.array(relabelled, dtype=np.int64)),
        images.labels,
        corrections,
    )
