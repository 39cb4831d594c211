"""What a training leaves behind, epoch by epoch: history, seconds, losses of the examples, weights, checkpoint.

Each epoch's numbers are written before the checkpoint that knows of them, so that what a crash leaves is never less
than the checkpoint knows; what is more is cut off when the training goes on, and made again, the same.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sightline import files
from sightline.errors import RunError, SettingsError
from sightline.run import RunFolder
from sightline.tracking.tracker import Tracker
from sightline.training import checkpoint
from sightline.training.best import Best
from sightline.training.examples import ExampleLosses
from sightline.training.history import History

SHARE = 0.05
"""Of the time of a training, the most that checkpoints at the ends of epochs may take."""


class Record:
    """The files of a training; without a folder its history is kept in memory, and nothing else.

    Args:
        folder: the run folder, or None.
        logdir: where a time-stamped folder for trackers is made if there is no run folder.
        checkpoint_minutes: longest time between two checkpoints, inside an epoch, too.
        snapshots: epochs whose weights are kept.

    Attributes:
        history: one row of plain numbers per epoch.
        timing: seconds per epoch, by phase; ``checkpoint_s`` since the end of the epoch before.
        seconds: of the epoch that goes on, by phase.
        examples: trained on in this epoch, for its images per second.
        path: the folder for trackers: the run folder, or one that ``open`` makes.

    Raises:
        SettingsError: ``checkpoint_minutes`` is not above 0.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        logdir: Path,
        checkpoint_minutes: float = 5.0,
        snapshots: Collection[int] = (),
    ) -> None:
        if not checkpoint_minutes > 0:
            raise SettingsError(f"'checkpoint_minutes' is {checkpoint_minutes}.", "Use a number above 0.")
        self.folder = folder
        self.snapshots = sorted(snapshots)
        self.seconds: dict[str, float] = {}
        self.examples = 0
        self.history = History(folder.history if folder else None)
        self.timing = History(folder.timing if folder else None)
        self.path = folder.path if folder else logdir / time.strftime("%Y%m%d-%H%M%S")
        self._losses = ExampleLosses(folder.valid_losses if folder else None)
        self._opened = False
        self._period_s = checkpoint_minutes * 60
        self._saved = time.monotonic()
        self._cost_s = 0.0
        self._best_epoch = 0

    def open(self) -> bool:
        """Make the folder for trackers. Say whether this was the first time.

        Raises:
            RunError: the run folder holds another training, or no folder can be made.
        """
        if self._opened:
            return False
        if self.folder and self.folder.checkpoint.exists():
            raise RunError(
                f"'{self.folder.path}' holds a training already.", "Call resume() before loop(), or use a new folder."
            )
        if not self.folder:
            stamp, number = self.path, 1
            while self.path.exists():
                number += 1
                self.path = stamp.with_name(f"{stamp.name}-{number}")
            files.make_folder(self.path)
        self._opened = True
        return True

    @contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        """Count the seconds that the block takes."""
        began = time.monotonic()
        yield
        self.spent(phase, began)

    def spent(self, phase: str, began: float) -> float:
        """Count the seconds from ``began`` (of ``time.monotonic``) until now, which is returned."""
        now = time.monotonic()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - began
        return now

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint, wherever the training is."""
        return self.folder is not None and time.monotonic() - self._saved > self._period_s

    @property
    def cheap(self) -> bool:
        """Whether a checkpoint takes less than its ``SHARE`` of the time: epochs shorter than that share one."""
        return self.folder is not None and time.monotonic() - self._saved > self._cost_s / SHARE

    def add(self, row: Mapping[str, float], losses: NDArray[Any] | None) -> None:
        """Write an epoch down, and its seconds.

        Args:
            row: numbers that are the same for the same seed.
            losses: float32 (examples,), of the whole validation set in its order; or None.

        Raises:
            RunError: the disk is full, or there is no permission.
        """
        self.history.append(row)
        speed = {"images_per_s": self.examples / self.seconds["train_s"]} if self.seconds.get("train_s") else {}
        self.timing.append({"epoch": row["epoch"], **self.seconds, **speed})
        self.seconds = {}
        if losses is not None:
            self._losses.append(losses)

    def save(self, state: Mapping[str, Any], best: Best) -> None:
        """Write the checkpoint, whole or not at all; then the best weights, if they are new.

        Raises:
            RunError: the disk is full, or there is no permission.
        """
        if self.folder:
            began = time.monotonic()
            known = {"epochs": len(self.history), "losses": len(self._losses.rows), "seconds": self.seconds}
            checkpoint.save(self.folder.checkpoint, {**state, "record": known})
            if best.epoch != self._best_epoch:
                best.write(self.folder.best)
                self._best_epoch = best.epoch
            self._saved = self.spent("checkpoint_s", began)
            self._cost_s = self._saved - began

    def snapshot(self, epoch: int, weights: Mapping[str, Any]) -> None:
        """Keep the weights after this epoch, if it is one of ``snapshots``.

        Raises:
            RunError: the disk is full, or there is no permission.
        """
        if self.folder and epoch in self.snapshots:
            files.make_folder(self.folder.snapshots)
            checkpoint.save_weights(self.folder.snapshot(self.snapshots.index(epoch) + 1), weights, epoch=epoch)

    def finish(self, best: Best, last: Mapping[str, Any], trackers: Tracker) -> None:
        """Write the best and the last weights, and give history and best weights to the trackers.

        Raises:
            RunError: the disk is full, or there is no permission.
        """
        if self.folder:
            checkpoint.save_weights(self.folder.last, last, epoch=len(self.history))
            best.write(self.folder.best)
            for path in (self.folder.history, self.folder.best):
                trackers.artifact(path)

    def load(self) -> dict[str, Any] | None:
        """Read the checkpoint and cut the other files to what it knows; None if the first was never written.

        Raises:
            RunError: there is no folder, or a file is missing or damaged.
        """
        if self.folder is None:
            raise RunError("this trainer has no run folder to resume from.", "Give it folder=RunFolder.open(path).")
        if not self.folder.checkpoint.is_file():
            return None
        for torn in [
            *self.folder.path.glob(".*.part"),
            *self.folder.snapshots.glob(".*.part"),
        ]:  # what was being written when the process was killed
            torn.unlink()
        state = checkpoint.load(self.folder.checkpoint)
        known = state["record"]
        self.history.rows = History.read(self.folder.history, known["epochs"]).rows
        self.timing.rows = History.read(self.folder.timing, known["epochs"]).rows
        self._losses.read(known["losses"])
        self.seconds = known["seconds"]
        self._opened = True
        return state
