"""Labelled images before anything is decoded: where they are, what they show, which split they belong to."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["image", "signal", "volume"]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


def natural_key(text: str) -> tuple[Any, ...]:
    """Sort key under which ``'img2' < 'img10'``: digit runs compare as numbers, letters without case."""
    parts = re.split(r"(\d+)", text)
    return (*((0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in parts if p), (2, 0, text))


@dataclass(frozen=True, eq=False)
class Images:
    """N labelled images, signals or volumes, still in their source.

    Exactly one of ``paths`` and ``array`` is set.

    Attributes:
        name: what to call the set, such as the folder's name.
        layout: how the source was understood, one phrase: ``"class folders, no split"``.
        kind: ``image`` (N,H,W[,C]), ``signal`` (N,C,L) or ``volume`` (N,C,D,H,W).
        classes: K class names in natural order; label k means ``classes[k]``.
        labels: int64 (N,), 0..K-1.
        paths: absolute file paths, str (N,), or None.
        array: the pixels as given: images uint8 or float N,H,W,C; signals N,C,L; volumes N,C,D,H,W; or None.
        splits: ``'train' | 'valid' | 'test'`` for each, str (N,), or None where the source gives no split.
        groups: a name for each (patient, video, session), str (N,), or None: a group never straddles splits.
        ignored: sentences that say what was left aside and why.
        root: the folder or file the source was read from, or None for arrays.
    """

    name: str
    layout: str
    kind: Kind
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    paths: NDArray[np.str_] | None = None
    array: NDArray[Any] | None = None
    splits: NDArray[np.str_] | None = None
    groups: NDArray[np.str_] | None = None
    ignored: tuple[str, ...] = ()
    root: Path | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def label_of(self, row: int) -> str:
        """Name what one entry is called in messages: its path below the root, or its row number."""
        if self.paths is None:
            return f"row {row}"
        path = Path(str(self.paths[row]))
        if self.root is not None and path.is_relative_to(self.root):
            return str(path.relative_to(self.root))
        return str(path)

    def counts(self, split: Split | None = None) -> NDArray[np.int64]:
        """Count entries per class, int64 (K,), in one split or in all."""
        labels = self.labels
        if split is not None:
            labels = labels[self.splits == split] if self.splits is not None else labels[:0]
        return np.bincount(labels, minlength=len(self.classes)).astype(np.int64)

    def select(self, rows: NDArray[Any]) -> Images:
        """Give the chosen rows (indices or mask), in that order, with the same classes."""

        def pick(column: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if column is None else column[rows]

        return replace(
            self,
            labels=self.labels[rows],
            paths=pick(self.paths),
            array=pick(self.array),
            splits=pick(self.splits),
            groups=pick(self.groups),
        )

    def relabel(self, labels: NDArray[np.int64], classes: tuple[str, ...]) -> Images:
        """Give the same images numbered by other classes, such as those of a trained model."""
        return replace(self, labels=labels.astype(np.int64), classes=classes)
