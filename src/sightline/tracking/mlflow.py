"""Rows of the history -> metrics of an MLflow run.

Where a run is active (``with mlflow.start_run():`` around the training), it gets the metrics and files, and nothing
else: its parameters are its owner's, who may log the same names. Else a run of our own is started, named after the
training's folder, with the settings as parameters; it ends with the training, and goes on when the training does.

MLflow sends usage statistics to its makers unless told not to. It is told not to where this file imports it first;
set ``MLFLOW_DISABLE_TELEMETRY`` to decide otherwise.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.tracking.tracker import Context, flat, plain, scalars, step

FOLDER_TAG = "sightline.folder"
"""Tag of our own runs: the training's folder, by which a continued training finds its run again."""


class MLflow:
    """Metrics in one call an epoch, to wherever ``mlflow.set_tracking_uri`` points."""

    def __init__(self) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self.mlflow: Any = importlib.import_module("mlflow")
        self._run: str | None = None
        self._ours = False

    def start(self, context: Context) -> None:
        """Join the active run, or begin one."""
        active = self.mlflow.active_run()
        self._ours = active is None
        if active is not None:
            self._run = active.info.run_id
            return
        tag = context.folder.resolve().as_posix()
        earlier = self.find(tag) if context.epochs_done else None
        begun = self.mlflow.start_run(run_id=earlier, run_name=None if earlier else context.folder.name)
        self._run = begun.info.run_id
        if earlier is None:
            self.mlflow.set_tag(FOLDER_TAG, tag)
            self.mlflow.log_params(flat(plain(context.knobs)))

    def row(self, row: Mapping[str, float]) -> None:
        """Log every number of the row at its step."""
        values = {allowed(tag): value for tag, value in scalars(row).items()}
        self.mlflow.log_metrics(values, step=step(row), run_id=self._run)

    def artifact(self, path: Path) -> None:
        """Copy a file or folder to the run's artifacts."""
        if path.is_dir():
            self.mlflow.log_artifacts(str(path), artifact_path=path.name, run_id=self._run)
        else:
            self.mlflow.log_artifact(str(path), run_id=self._run)

    def close(self) -> None:
        """End the run if it is ours: as failed while an error is on its way out, else as finished."""
        run, self._run = self._run, None
        if run is None or not self._ours:
            return
        status = "FINISHED" if sys.exc_info()[0] is None else "FAILED"
        active = self.mlflow.active_run()
        if active is not None and active.info.run_id == run:
            self.mlflow.end_run(status)
        else:
            self.mlflow.MlflowClient().set_terminated(run, status)

    def find(self, tag: str) -> str | None:
        """Give the run of a folder, by its tag, if there is one in the active experiment."""
        quote = "'" if '"' in tag else '"'  # the language of filters has no way to escape one
        runs = self.mlflow.search_runs(
            filter_string=f"tags.`{FOLDER_TAG}` = {quote}{tag}{quote}", output_format="list", max_results=1
        )
        return runs[0].info.run_id if runs else None


def allowed(tag: str) -> str:
    """Give a metric's name as MLflow allows it: ``metric/F1(micro)`` becomes ``metric/F1_micro``."""
    return re.sub(r"[^\w\-. :/]+", "_", tag).strip("_")
