"""Rows of the history -> an event file in the training's folder, for ``tensorboard --logdir``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.tracking.tracker import Context, flat, plain, scalars, step


class TensorBoard:
    """Curves under ``Loss/``, ``metric/``, ``probe/`` and ``learning_rate``; settings in the HParams tab."""

    def __init__(self) -> None:
        # Torch brings the writer, and fails to import it where the package tensorboard is missing.
        self.torch: Any = importlib.import_module("torch.utils.tensorboard")
        self._writer: Any = None

    def start(self, context: Context) -> None:
        """Open an event file. One that goes on with a training hides what was written beyond where it goes on."""
        self._writer = self.torch.SummaryWriter(
            log_dir=str(context.folder), purge_step=context.epochs_done if context.epochs_done else None
        )
        if not context.epochs_done:
            for summary in self.torch.summary.hparams(
                flat(plain(context.knobs)), {"Loss/train": 0.0, "Loss/test": 0.0}
            ):
                self._writer.file_writer.add_summary(summary)

    def row(self, row: Mapping[str, float]) -> None:
        """Add one point to every curve, and flush, so that a page that is open shows it."""
        for tag, value in scalars(row).items():
            self._writer.add_scalar(tag, value, step(row))
        self._writer.flush()

    def artifact(self, path: Path) -> None:
        """Do nothing: the file lies beside the event file."""

    def close(self) -> None:
        """Close the event file and end its thread."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
