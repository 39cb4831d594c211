"""Rows of the history -> ``ray.tune.report``, from inside a trial."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.errors import SettingsError
from sightline.tracking.tracker import Context, metrics_of, step


class Ray:
    """Reports ``iterations`` (epochs before this one), ``train_loss``, ``test_loss`` and each metric by its name."""

    def __init__(self) -> None:
        self._tune: Any = importlib.import_module("ray.tune")

    def start(self, context: Context) -> None:
        """Make sure that somebody listens.

        Raises:
            SettingsError: this is not a trial of Ray Tune.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Tune's own words for the same fault
            trial = self._tune.get_context().get_trial_id()
        if trial is None:
            raise SettingsError(
                "ReportTypes.RAY reports to a trial of Ray Tune, and this training is in none.",
                "Train in the function that ray.tune.Tuner gets, or leave ReportTypes.RAY out.",
            )

    def row(self, row: Mapping[str, float]) -> None:
        """Report; Tune may end the trial here, which ends the training as any exit does."""
        self._tune.report(
            {
                "iterations": step(row),
                "train_loss": float(row["train_loss"]),
                "test_loss": float(row["valid_loss"]),
                **metrics_of(row),
            }
        )

    def artifact(self, path: Path) -> None:
        """Do nothing: Tune keeps the trial's folder."""

    def close(self) -> None:
        """Do nothing: the trial is Tune's."""
