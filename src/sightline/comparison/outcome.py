"""A finished run folder -> its scores, example by example: what one training says about its arm."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis.experiment import Score
from sightline.errors import RunError
from sightline.run import RunFolder
from sightline.training.history import History

CURVES = ("probe_error", "valid_error", "probe_loss", "valid_loss", "train_loss")
"""Columns of an outcome's curves; errors are shares, losses nats."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one training.

    Attributes:
        seed: of the training.
        folder: where it is.
        status: ``finished``; ``failed`` (no weights to use), ``stopped`` or ``missing`` (not made, or not to its end),
            ``dropped`` (not worth making).
        reason: why it is not finished.
        scores: by the names of ``experiment.MEASURES``; empty unless finished.
        curves: by the names of ``CURVES``, one number per epoch.
    """

    seed: int
    folder: RunFolder
    status: str
    reason: str = ""
    scores: dict[str, Score] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)


def read(folder: RunFolder, seed: int, dropped: str = "", train_error: float | None = None) -> Outcome:
    """Read what a run folder holds; only a finished run has scores.

    Args:
        folder: the run's, made or not.
        seed: of the run.
        dropped: why it was not made, if it was left out on purpose.
        train_error: on all training images, in [0, 1], where that was measured; else the history's, on some of them.

    Raises:
        RunError: a file is missing or damaged.
    """
    if not folder.state.is_file():
        return Outcome(seed, folder, "dropped" if dropped else "missing", dropped or "not trained yet")
    state = folder.read_state()
    status = str(state.get("status"))
    if status != "finished":
        status = status if status in ("failed", "stopped") else "missing"
        return Outcome(seed, folder, status, str(state.get("stopped") or "cut off in the middle").split("\n")[0])
    history = History.read(folder.need(folder.history, "compare it"))
    trained = sum(folder.read_json(folder.data, "compare it")["counts"]["train"])
    best = int(state["best_epoch"]) - 1
    scores = _held_out(folder, trained)
    scores.setdefault("valid_accuracy", Score(history[best]["valid_accuracy"], trained=trained))
    losses = _valid_losses(folder, best)
    rows = f"{_rows_of(folder, 'valid')} {0 if losses is None else len(losses)}"
    scores["valid_loss"] = Score(history[best]["valid_loss"], losses, rows, trained)
    if train_error is None and "probe_accuracy" in history[-1]:
        train_error = 1 - history[-1]["probe_accuracy"]
    if train_error is not None:
        scores["train_error"] = Score(train_error)
    seconds = float(np.nansum(History.read(folder.need(folder.timing, "compare it")).column("train_s")))
    scores["train_seconds"] = Score(seconds)
    curves = {name: history.column(name) for name in ("probe_loss", "valid_loss", "train_loss")}
    for part in ("probe", "valid"):
        curves[f"{part}_error"] = [1 - accuracy for accuracy in history.column(f"{part}_accuracy")]
    return Outcome(seed, folder, status, "", {k: scores[k] for k in sorted(scores)}, curves)


def _held_out(folder: RunFolder, trained: int) -> dict[str, Score]:
    """Score the predictions on the held-out part, image by image."""
    told = folder.read_json(folder.evaluation, "compare it")
    path = folder.need(folder.predictions, "compare it image by image")
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        lines = csv.reader(file)
        next(lines, None)
        found = [line[:3] for line in lines]
    if len(found) != told["count"]:
        raise RunError(f"'{path}' is damaged: it has {len(found)} lines for {told['count']} images.", "Train again.")
    rows = _digest("\n".join(f"{name}\t{label}" for name, label, _ in found))
    labels = np.array([label for _, label, _ in found])
    right = np.array([label == called for _, label, called in found], dtype=np.float64)
    if told["part"] != "test":
        return {"valid_accuracy": Score(float(right.mean()), right, rows, trained)}
    _, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weighted = right * len(right) / (len(counts) * counts[number])
    return {
        "test_accuracy": Score(float(right.mean()), right, rows, trained),
        "test_balanced_accuracy": Score(float(weighted.mean()), weighted, rows, trained),
    }


def _valid_losses(folder: RunFolder, epoch: int) -> NDArray[np.float64] | None:
    """Give the loss of each validation image in an epoch, from 0; None where it was not kept."""
    if not folder.valid_losses.is_file():
        return None
    try:
        table: NDArray[Any] = np.load(folder.valid_losses, mmap_mode="r", allow_pickle=False)
        return np.asarray(table[epoch], dtype=np.float64)
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise RunError(f"'{folder.valid_losses}' is damaged: {error}.", "Restore it from a copy.") from None


def _rows_of(folder: RunFolder, part: str) -> str:
    """Name the images of a part: two runs with the same name for them have the same ones in the same order."""
    lines = folder.need(folder.split, "compare it").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return _digest("\n".join(line for line in lines if line.endswith(f",{part}")))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
