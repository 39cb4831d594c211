"""Rows of the history -> TensorBoard, MLflow, Ray Tune, TOML and gin files, all through four calls.

A tracker is started before the first batch, gets each row of the history, may get files, and is closed in the loop's
own ``finally``. What it needs is imported when it is made, so that a missing package is told before anything starts;
when its back end fails later, it warns once and falls silent: no tracker ends a training.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import BaseModel

from sightline.errors import MissingExtraError, SettingsError, SightlineError, did_you_mean
from sightline.run import RunFolder
from sightline.settings import ReportTypes, Settings, read_toml

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Context:
    """What a tracker may want to know before the first epoch.

    Attributes:
        folder: the folder of this training, which exists.
        settings: the trainer's settings.
        model: the network, before its first step.
        epochs_done: epochs that are behind it when it goes on with an earlier training; 0 for a new one.
    """

    folder: Path
    settings: BaseModel
    model: nn.Module
    epochs_done: int = 0

    @property
    def knobs(self) -> BaseModel:
        """The settings worth noting: a run's own where the folder is one of ``sightline train``, else the trainer's."""
        run = RunFolder(self.folder)
        if run.state.is_file() and run.settings.is_file():
            return Settings(**read_toml(run.settings)["settings"])
        return self.settings


class Tracker(Protocol):
    """One place where numbers go. After ``close``, ``start`` begins again where it was: ``loop()`` may be called twice.

    Methods may raise anything; ``Guarded`` catches it. A ``SightlineError`` in ``start`` is the user's to mend and
    is told before the first batch.
    """

    def start(self, context: Context) -> None:
        """Open the back end; write what is known beforehand."""

    def row(self, row: Mapping[str, float]) -> None:
        """Take one row of the history: ``epoch`` (from 1), ``train_loss``, ``valid_loss``, ``lr``, ``valid_<name>``."""

    def artifact(self, path: Path) -> None:
        """Take a file or folder that came of the training; back ends without a place for files do nothing."""

    def close(self) -> None:
        """Write everything out and let go. Harmless if not started, or closed already."""


class Entry(NamedTuple):
    """A back end: where its class is, the extra that brings its package, and what it does."""

    module: str
    name: str
    extra: str | None
    description: str


TRACKERS: dict[ReportTypes, Entry] = {
    ReportTypes.TOML: Entry(
        "sightline.tracking.toml", "Toml", None, "settings.toml and model.toml in the training's folder"
    ),
    ReportTypes.GIN: Entry("sightline.tracking.gin", "Gin", "gin", "settings.gin, which gin-config reads back"),
    ReportTypes.TENSORBOARD: Entry(
        "sightline.tracking.tensorboard", "TensorBoard", "tensorboard", "curves and settings for TensorBoard"
    ),
    ReportTypes.MLFLOW: Entry(
        "sightline.tracking.mlflow", "MLflow", "mlflow", "metrics, settings and files in the active MLflow run, or one"
    ),
    ReportTypes.RAY: Entry("sightline.tracking.ray", "Ray", "ray", "reports to Ray Tune from inside a trial"),
}
"""Every back end. A new one is a file, a line here, and a member of ``ReportTypes``."""


def report_types(names: Iterable[str]) -> list[ReportTypes]:
    """Turn names such as ``"tensorboard"`` into report types, in any case of letters.

    Raises:
        SettingsError: a name is unknown.
    """
    known = {kind.value.lower(): kind for kind in TRACKERS}
    found = []
    for name in names:
        if name.lower() not in known:
            raise SettingsError(
                f"unknown tracker '{name}'.{did_you_mean(name.lower(), known)}",
                f"The trackers are: {', '.join(known)}.",
            )
        found.append(known[name.lower()])
    return found


def make(reporttypes: Iterable[ReportTypes]) -> list[Tracker]:
    """Make one guarded tracker for each report type, in their order; a type named twice counts once.

    Raises:
        MissingExtraError: a back end's package is not installed.
    """
    trackers: list[Tracker] = []
    for kind in dict.fromkeys(reporttypes):
        entry = TRACKERS[kind]
        try:
            tracker = getattr(importlib.import_module(entry.module), entry.name)()
        except ModuleNotFoundError as error:
            if entry.extra is None or error.name is None or error.name.startswith("sightline"):
                raise
            raise MissingExtraError(error.name, entry.extra) from error
        trackers.append(Guarded(tracker, kind.value))
    return trackers


class Guarded:
    """A tracker whose back end may fail: the first failure is a ``RuntimeWarning``, then it is left alone.

    Args:
        tracker: the tracker to guard.
        name: how to call it in the warning.
    """

    def __init__(self, tracker: Tracker, name: str) -> None:
        self.tracker = tracker
        self.name = name
        self.failed = False

    def start(self, context: Context) -> None:
        """Start it; a ``SightlineError`` is the user's to mend and goes through."""
        self.failed = False
        try:
            self.tracker.start(context)
        except SightlineError:
            raise
        except Exception as error:
            self._warn(error)

    def row(self, row: Mapping[str, float]) -> None:
        """Pass a row on, unless it has failed before."""
        self._try(lambda: self.tracker.row(row))

    def artifact(self, path: Path) -> None:
        """Pass a file on, unless it has failed before."""
        self._try(lambda: self.tracker.artifact(path))

    def close(self) -> None:
        """Close it, also when it has failed before; then silently."""
        try:
            self.tracker.close()
        except Exception as error:
            if not self.failed:
                self._warn(error)

    def _try(self, call: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            call()
        except Exception as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        self.failed = True
        warnings.warn(
            f"{self.name} failed and gets nothing more from this training, which goes on: "
            f"{type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=4,
        )


class Trackers:
    """Several trackers seen as one, told everything in their order.

    Args:
        trackers: none is fine, too.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = tuple(trackers)

    def start(self, context: Context) -> None:
        """Start all."""
        for tracker in self.trackers:
            tracker.start(context)

    def row(self, row: Mapping[str, float]) -> None:
        """Give all a row of the history."""
        for tracker in self.trackers:
            tracker.row(row)

    def artifact(self, path: Path) -> None:
        """Give all a file or folder that came of the training."""
        for tracker in self.trackers:
            tracker.artifact(path)

    def close(self) -> None:
        """Close all."""
        for tracker in self.trackers:
            tracker.close()


TAGS = {"train_loss": "Loss/train", "valid_loss": "Loss/test", "probe_loss": "Loss/probe", "lr": "learning_rate"}
"""Keys of a row with a name of their own; ``valid_X`` becomes ``metric/X``, ``probe_X`` ``probe/X``, the rest stays."""


def scalars(row: Mapping[str, float]) -> dict[str, float]:
    """Give a row's numbers under the tags that ``mltrainer`` uses, so that old and new curves lie in one chart."""
    return {_tag(key): float(value) for key, value in row.items() if key not in ("epoch", "step")}


def metrics_of(row: Mapping[str, float]) -> dict[str, float]:
    """Give a row's validation metrics by their own names: ``{"Accuracy": 0.93}``."""
    return {_tag(key)[7:]: float(value) for key, value in row.items() if _tag(key).startswith("metric/")}


def step(row: Mapping[str, float]) -> int:
    """Give the step on a chart's axis: the epochs before this one, so the first is 0, as ``mltrainer`` counts."""
    return int(row["epoch"]) - 1


def plain(value: Any) -> Any:
    """Turn a setting into plain values: str, bool, int, float, None, and lists, tuples and dicts of them.

    Classes and functions become their names, enums their values, anything else its ``str``.
    """
    if isinstance(value, BaseModel):
        return {name: plain(item) for name, item in value}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        items = [plain(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    if isinstance(value, type) or hasattr(value, "__code__"):
        return value.__name__
    return str(value)


def flat(value: Any, prefix: str = "") -> dict[str, str | bool | int | float]:
    """Turn nested settings into one level: ``{"optimizer_kwargs.lr": 0.001}``; lists become text, None is left out."""
    if value is None:
        return {}
    if isinstance(value, dict):
        inner = [flat(item, f"{prefix}.{name}" if prefix else name) for name, item in value.items()]
        return {name: item for part in inner for name, item in part.items()}
    return {prefix: ", ".join(map(str, value)) if isinstance(value, list | tuple) else value}


def _tag(key: str) -> str:
    if key in TAGS:
        return TAGS[key]
    kind, _, name = key.partition("_")
    return {"valid": f"metric/{name}", "probe": f"probe/{name}"}.get(kind, key)
