"""A run folder, or rows of any history -> ``Evidence``: all that the rules look at, as plain arrays."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import RunError
from sightline.run import RunFolder

Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a training; whatever is missing is empty, and the rules that need it say nothing.

    Attributes:
        rows: one per epoch, as ``training.row`` makes them: ``train_loss`` (as trained: dropout, augmentation),
            ``valid_loss``, ``probe_loss`` (training images in evaluation mode), ``valid_accuracy``, ``lr``, ...
        examples: float (epochs, validation images): the loss of each image after each epoch.
        classes: K, or None.
        images: how many are in ``train``, ``valid`` and ``test``, as far as known.
        prior: share of the commonest class among the validation images, or None.
        settings: as resolved.
        reasons: why each setting that was left open is what it is.
        instruments: rows of ``training.instruments``.
        probes: what was measured before and after the training, see ``probes``.
        found: findings about the data.
        state: how the run ended, see ``RunFolder.state``.
        confusion: int (K, K) of the scored part, rows are true classes; None if nothing was scored.
        best_kept: whether the weights that remain are those of the best epoch.
        origin: who made it: ``"sightline"``, ``"keras"``, ``"lightning"``, ...
        where: what messages call it: the run's path, the file's name.
        source: what it was trained on, as a command would name it; empty if unknown.
        notes: sentences about what could not be read; they are said beside the verdict.
    """

    rows: Rows
    examples: NDArray[Any] | None = None
    classes: int | None = None
    images: Mapping[str, int] = field(default_factory=dict)
    prior: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    instruments: Rows = ()
    probes: Mapping[str, Any] = field(default_factory=dict)
    found: Sequence[Mapping[str, Any]] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    confusion: NDArray[np.int64] | None = None
    best_kept: bool = False
    origin: str = "sightline"
    where: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> NDArray[np.float64]:
        """Give one number of every epoch, float64 (E,); NaN where a row has none."""
        values = [row.get(name) for row in self.rows]
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)

    def has(self, name: str) -> bool:
        """Say whether every epoch has that number, finite."""
        return len(self.rows) > 0 and bool(np.isfinite(self.column(name)).all())

    @cached_property
    def epochs(self) -> NDArray[np.int64]:
        """The numbers of the epochs, int (E,), from 1 unless the history says otherwise."""
        return np.array([int(row.get("epoch", place)) for place, row in enumerate(self.rows, 1)], dtype=np.int64)

    @cached_property
    def clean(self) -> bool:
        """Whether the training loss is known as validation is measured: in evaluation mode, on a fixed part."""
        return self.has("probe_loss")

    @cached_property
    def fitted(self) -> NDArray[np.float64]:
        """The loss on training images, float64 (E,): of the probe where there is one, else as trained."""
        return self.column("probe_loss" if self.clean else "train_loss")

    @cached_property
    def valid(self) -> NDArray[np.float64]:
        """The validation loss, float64 (E,)."""
        return self.column("valid_loss")

    @cached_property
    def best(self) -> int:
        """The position (from 0) of the lowest validation loss."""
        return int(np.nanargmin(self.valid))

    @cached_property
    def floor(self) -> float:
        """The least the loss as trained can be: 0, or the entropy of smoothed targets; all other losses reach 0."""
        share, k = float(self.settings.get("label_smoothing") or 0.0), self.classes
        if not share or not k:
            return 0.0
        top, rest = 1 - share + share / k, share / k
        return -top * math.log(top) - (k - 1) * rest * math.log(rest)

    @cached_property
    def chance(self) -> float | None:
        """The loss of calling all classes equally likely, ln K nats; None if nobody knows K."""
        return math.log(self.classes) if self.classes and self.classes > 1 else None

    @property
    def number(self) -> int | None:
        """How many validation images there are, if known."""
        return self.examples.shape[1] if self.examples is not None else self.images.get("valid")

    def layers(self, kind: str) -> dict[str, NDArray[np.float64]]:
        """Give what an instrument measured, by layer, one value per row of ``instruments``.

        Args:
            kind: ``"dead"``, ``"saturated"``, ``"gradient"``, ``"update"``.
        """
        names = dict.fromkeys(name for row in self.instruments for name in row if name.startswith(f"{kind}/"))
        return {
            name.partition("/")[2]: np.array([row.get(name, math.nan) for row in self.instruments], dtype=np.float64)
            for name in names
        }


def of_run(folder: RunFolder) -> Evidence:
    """Read what a run folder holds, finished or not.

    Raises:
        RunError: a file is damaged, or there is no history yet and the training has not failed.
    """
    state = folder.read_state()
    failed = state.get("status") == "failed" and not folder.history.is_file()  # in its first epoch: that is a verdict
    rows = [] if failed else _rows(folder.need(folder.history, "diagnose it"))
    data = folder.read_json(folder.data) if folder.data.is_file() else {}
    scores = folder.read_json(folder.evaluation) if folder.evaluation.is_file() else {}
    counts = {part: sum(each) for part, each in data.get("counts", {}).items() if each is not None}
    held_out = np.array(data.get("counts", {}).get("valid") or [], dtype=np.float64)
    return Evidence(
        rows=rows,
        examples=_examples(folder, rows),
        classes=len(data["classes"]) if data.get("classes") else None,
        images=counts,
        prior=float(held_out.max() / held_out.sum()) if held_out.sum() else None,
        settings=_settings(folder),
        reasons=data.get("reasons", {}),
        instruments=_rows(folder.instruments) if folder.instruments.is_file() else (),
        probes=folder.read_json(folder.probes) if folder.probes.is_file() else {},
        found=folder.read_json(folder.findings) if folder.findings.is_file() else (),
        state=state,
        confusion=np.array(scores["confusion"], dtype=np.int64) if scores else None,
        best_kept=True,
        where=str(folder.path),
        source=str(data.get("source") or ""),
    )


def of_rows(rows: Iterable[Mapping[str, float]], **known: Any) -> Evidence:
    """Take rows as they are in memory, such as ``Trainer.history`` or ``ImageClassifier.history_``.

    Args:
        rows: one per epoch.
        **known: other fields of ``Evidence``.
    """
    return Evidence(rows=[dict(row) for row in rows], **{"where": "history", **known})


def _rows(path: Path) -> Rows:
    """Read JSON lines; a last line without its end is what a kill leaves, and is not yet a row."""
    try:
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line.strip()]
        return [{name: math.nan if value is None else float(value) for name, value in row.items()} for row in rows]
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError, ValueError) as error:
        raise RunError(f"'{path}' is damaged: {error}.", "Restore it from a copy, or train again.") from None


def _examples(folder: RunFolder, rows: Rows) -> NDArray[Any] | None:
    """Read the losses of the validation images, if they are there for every epoch."""
    if not folder.valid_losses.is_file():
        return None
    try:
        table: NDArray[Any] = np.load(folder.valid_losses, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RunError(f"'{folder.valid_losses}' cannot be read: {error}.", "Restore it from a copy.") from None
    return table[: len(rows)].astype(np.float32) if table.ndim == 2 and len(table) >= len(rows) > 0 else None


def _settings(folder: RunFolder) -> Mapping[str, Any]:
    if not folder.settings.is_file():
        return {}
    try:
        found = tomllib.loads(folder.settings.read_text(encoding="utf-8")).get("settings", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"'{folder.settings}' is damaged: {error}.", "Restore it from a copy, or train again.") from None
    return dict(found)
