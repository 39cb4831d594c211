"""The history that another tool left -> evidence: fewer things are known, and what could not be read is said.

Read are CSV (Keras' and Lightning's ``CSVLogger``, fastai's, timm's, Ultralytics'), JSON (``history.history`` of Keras,
a list of rows, JSON lines, the state of a Hugging Face trainer), TensorBoard event files (mltrainer's tags, Keras'
folders) and MLflow's stores, as files or SQLite. Everything becomes curves first: name -> (epoch or step, value); the
points of the validation loss are the epochs, and what lies between two of them is averaged.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sightline.diagnosis import eventfile
from sightline.diagnosis.eventfile import Curve
from sightline.diagnosis.evidence import Evidence
from sightline.errors import RunError

COLUMNS: dict[str, tuple[str, ...]] = {
    "train_loss": (
        "train_loss", "loss", "training_loss", "loss_train", "train_loss_epoch", "loss_epoch", "train_epoch_loss",
        "loss_training", "train_loss_step", "loss_step", "train_cross_entropy",
    ),
    "valid_loss": (
        "valid_loss", "val_loss", "validation_loss", "loss_valid", "loss_val", "loss_validation", "loss_test",
        "test_loss", "eval_loss", "dev_loss", "val_loss_epoch", "valid_loss_epoch", "validation_epoch_loss",
        "val_epoch_loss",
    ),
    "probe_loss": ("probe_loss", "loss_probe"),
    "train_accuracy": (
        "train_accuracy", "train_acc", "training_accuracy", "accuracy_train", "acc_train", "train_epoch_accuracy",
        "train_acc_epoch", "train_accuracy_epoch", "train_top1", "probe_accuracy",
    ),
    "valid_accuracy": (
        "valid_accuracy", "val_accuracy", "val_acc", "valid_acc", "validation_accuracy", "accuracy_valid", "acc_valid",
        "accuracy_val", "acc_val", "metric_accuracy", "eval_accuracy", "eval_acc", "test_accuracy", "test_acc",
        "val_sparse_categorical_accuracy", "val_categorical_accuracy", "val_binary_accuracy", "val_multiclassaccuracy",
        "metrics_accuracy_top1", "eval_top1", "val_top1", "valid_top1", "validation_epoch_accuracy",
        "val_accuracy_epoch", "val_acc_epoch",
    ),
    "accuracy": (
        "accuracy", "acc", "categorical_accuracy", "sparse_categorical_accuracy", "binary_accuracy",
        "multiclassaccuracy",
    ),
    "valid_error": ("error_rate", "val_error", "valid_error", "val_error_rate", "valid_error_rate"),
    "lr": ("lr", "learning_rate", "epoch_learning_rate", "train_epoch_learning_rate"),
    "epoch": ("epoch", "epochs"),
    "step": ("step", "global_step", "iteration", "batch"),
    "": ("time", "timestamp", "wall_time", "walltime", "", "index", "unnamed_0", "total_flos", "grad_norm"),
}  # fmt: skip
"""What we call a number -> what others call it, in small letters with ``_`` for every other sign; "" is left aside."""

KNOWN = {name: ours for ours, names in COLUMNS.items() for name in names}

LEFT_ASIDE = ("runtime", "per_second", "hp_metric", "params", "system")
"""Parts of names that never are a number of the training."""

Curves = dict[str, Curve]


def of_path(path: Path, *, classes: int | None = None, images: int | None = None) -> Evidence:
    """Read a history.

    Args:
        path: a file, or a folder with event files or an MLflow store.
        classes: K, if known: then losses can be compared with guessing.
        images: validation images, if known: then shares get intervals.

    Raises:
        RunError: nothing is there, it cannot be read, or holds no loss.
    """
    if not path.exists():
        raise RunError(f"'{path}' does not exist.", "Give a run folder, or a history: CSV, JSON, event file, MLflow.")
    origin, curves = _folder(path) if path.is_dir() else _file(path)
    told = {name: curve for name, curve in curves.items() if _ours(name) is None}
    known: Curves = {}
    for name, curve in curves.items():
        ours = _ours(name)
        if ours and (ours not in known or len(curve) > len(known[ours])):
            known[ours] = curve
    if "accuracy" in known:  # Keras calls the training's so beside val_accuracy; fastai the validation's
        known.setdefault("train_accuracy" if "valid_accuracy" in known else "valid_accuracy", known["accuracy"])
    if "valid_error" in known:
        known.setdefault("valid_accuracy", [(at, 1 - value) for at, value in known["valid_error"]])
    if not known.keys() & {"train_loss", "valid_loss"}:
        raise RunError(
            f"'{path}' has no loss that is known by its name; it has: {', '.join(sorted(curves)) or 'nothing'}.",
            f"Call the columns {', '.join(('epoch', 'train_loss', 'valid_loss', 'valid_accuracy', 'lr'))}.",
        )
    notes = [f"Read as a history of {origin}; weights, settings and images are not known."]
    if told:
        notes.append(f"Not understood, and left aside: {', '.join(sorted(told))}.")
    if "valid_loss" not in known:
        notes.append("There is no validation loss in it.")
    return Evidence(
        rows=_rows(known),
        classes=classes,
        images={"valid": images} if images else {},
        origin=origin,
        where=str(path),
        notes=tuple(notes),
    )


def _ours(name: str) -> str | None:
    """Give our name for a column, "" for what is left aside, None for what is not understood."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")
    if plain in KNOWN:
        return KNOWN[plain]
    if plain.startswith("lr_"):
        return "lr"
    return "" if any(part in plain for part in LEFT_ASIDE) else None


def _rows(known: Curves) -> list[dict[str, float]]:
    """Bring curves to one row for each point of the validation loss (of the training loss, if there is none)."""
    points = sorted({at for at, _ in known.get("valid_loss") or known["train_loss"]})
    rows: list[dict[str, float]] = [{"epoch": float(place)} for place in range(1, len(points) + 1)]
    for name in ("train_loss", "valid_loss", "probe_loss", "train_accuracy", "valid_accuracy", "lr"):
        curve = known.get(name, [])
        for row, before, at in zip(rows, [-math.inf, *points], points, strict=False):
            here = [value for place, value in curve if place == at]
            between = [value for place, value in curve if before < place <= at]
            if name.startswith("valid"):
                between = here = here[-1:]  # written twice: a training that was continued
            values = here or between
            if values:
                row[name] = sum(values) / len(values)
    for name in ("train_accuracy", "valid_accuracy"):
        if any(row.get(name, 0.0) > 1.5 for row in rows):  # percent
            for row in rows:
                if name in row:
                    row[name] /= 100
    return rows


def _folder(path: Path) -> tuple[str, Curves]:
    """Read event files, or an MLflow store, in a folder or below it."""
    if (path / "metrics").is_dir():
        return "MLflow", _mlflow_run(path)
    events = sorted(path.rglob("*tfevents*"))
    if events:
        curves: Curves = {}
        for file in events:
            part = file.parent.name if file.parent != path else ""
            for tag, curve in eventfile.read(file).items():
                name = f"{part}_{tag}" if part in ("train", "validation") and tag.startswith("epoch_") else tag
                curves.setdefault(name, []).extend(curve)
        return "TensorBoard", curves
    runs = sorted((found.parent for found in path.glob("*/*/metrics")), key=lambda run: run.stat().st_mtime)
    if runs:
        return "MLflow", _mlflow_run(runs[-1])
    for name in ("mlflow.db", "metrics.csv", "history.csv", "results.csv", "summary.csv", "trainer_state.json"):
        if (path / name).is_file():
            return _file(path / name)
    raise RunError(
        f"'{path}' is no run folder, and holds neither event files nor an MLflow store.",
        "Give the folder that `sightline train` printed last, or the file with the history.",
    )


def _file(path: Path) -> tuple[str, Curves]:
    if "tfevents" in path.name:
        return "TensorBoard", eventfile.read(path)
    try:
        content = path.read_bytes()
        if content.startswith(b"SQLite format 3"):
            return "MLflow", _mlflow_database(path)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise RunError(f"'{path}' cannot be read: {error.strerror}.", "Check the path.") from None
    except UnicodeDecodeError:
        raise RunError(f"'{path}' is no text.", "Give a CSV or JSON file, or an event file.") from None
    if text.lstrip()[:1] in ("{", "["):
        return _json(path, text)
    return _csv(path, text)


def _csv(path: Path, text: str) -> tuple[str, Curves]:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        raise RunError(f"'{path}' has no rows.", "Give a CSV with a header and a line for each epoch.")
    separator = max(",;\t", key=lines[0].count)
    rows = list(csv.DictReader(lines, delimiter=separator, skipinitialspace=True))
    names = {str(name).strip() for name in rows[0] if name}
    origin = (
        "Lightning" if "step" in names and "epoch" in names
        else "Ultralytics" if any(name.startswith("metrics/") for name in names)
        else "fastai" if {"train_loss", "valid_loss", "time"} <= names
        else "Keras" if {"loss", "val_loss"} <= names
        else "a CSV file"
    )  # fmt: skip
    return origin, _curves(rows)


def _json(path: Path, text: str) -> tuple[str, Curves]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        try:
            content = [json.loads(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError:
            raise RunError(f"'{path}' is no JSON: {error}.", "Write it with json.dump.") from None
    if isinstance(content, dict) and isinstance(content.get("log_history"), list):
        return "Hugging Face", _curves(content["log_history"])
    if isinstance(content, dict) and isinstance(content.get("history"), dict):
        content = content["history"]
    if isinstance(content, dict) and all(isinstance(values, list) for values in content.values()):
        curves = {
            str(name): [
                (float(at), number) for at, value in enumerate(values) if (number := _number(value)) is not None
            ]
            for name, values in content.items()
        }
        return "Keras" if "loss" in curves else "a JSON file", curves
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return "a JSON file", _curves(content)
    raise RunError(
        f"'{path}' holds JSON that is no history.", "Write a mapping of lists, or a list with a mapping per epoch."
    )


def _curves(rows: Iterable[Mapping[Any, Any]]) -> Curves:
    """Turn rows into curves over their epoch, else their step, else their number."""
    curves: Curves = {}
    for number, row in enumerate(rows):
        values = {str(name).strip(): _number(value) for name, value in row.items() if name is not None}
        places = {_ours(name): value for name, value in values.items() if value is not None}
        at = places.get("epoch", places.get("step"))
        at = float(number) if at is None else math.ceil(at - 1e-6)  # Hugging Face counts parts of epochs
        for name, value in values.items():
            if value is not None and _ours(name) not in ("epoch", "step"):
                curves.setdefault(name, []).append((float(at), value))
    return curves


def _number(value: Any) -> float | None:
    try:
        return None if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return None


def _mlflow_run(path: Path) -> Curves:
    """Read the files of one run: each line of ``metrics/<name>`` is time stamp, value and step."""
    curves: Curves = {}
    folder = path / "metrics"
    for file in sorted(found for found in folder.rglob("*") if found.is_file()):
        try:
            lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            name = file.relative_to(folder).as_posix()
            curves[name] = [
                (float(line[2]) if len(line) > 2 else float(i), float(line[1])) for i, line in enumerate(lines)
            ]
        except (OSError, ValueError, IndexError, UnicodeDecodeError) as error:
            raise RunError(f"'{file}' is no metric of MLflow: {error}.", "Restore it from a copy.") from None
    return curves


def _mlflow_database(path: Path) -> Curves:
    """Read the metrics of the run that was begun last."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            run = base.execute("SELECT run_uuid FROM runs ORDER BY start_time DESC LIMIT 1").fetchone()
            query = "SELECT key, step, value FROM metrics WHERE run_uuid = ? ORDER BY timestamp"
            points = base.execute(query, run or ("",)).fetchall()
    except sqlite3.Error as error:
        raise RunError(f"'{path}' is no store of MLflow: {error}.", "Give mlflow.db, or the folder mlruns.") from None
    curves: Curves = {}
    for name, step, value in points:
        curves.setdefault(str(name), []).append((float(step), float(value)))
    return curves
