"""The trainings of an experiment -> hparams: what each was set to and what came of it, for trackers that show tables.

TensorBoard gets an event file for each training below ``hparams`` in the experiment's folder; MLflow gets the figures
into the run that the training made, or into a new one where it made none.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.settings import ReportTypes
from sightline.tracking.mlflow import FOLDER_TAG, MLflow, allowed
from sightline.tracking.tensorboard import TensorBoard
from sightline.tracking.tracker import flat, plain, report_types

EXPERIMENT_TAG = "sightline.comparison"
"""Tag of MLflow runs: the name of the comparison they belong to."""


@dataclass(frozen=True)
class Trial:
    """One training of an experiment.

    Attributes:
        folder: of its run.
        params: what it was set to, apart from what all share.
        figures: what came of it.
    """

    folder: Path
    params: Mapping[str, Any]
    figures: Mapping[str, float]


def log(names: Iterable[str], experiment: Path, trials: Sequence[Trial]) -> None:
    """Give the trainings to those trackers, of the ones named, that show hparams; one that fails warns and no more.

    Args:
        names: as in the setting ``trackers``.
        experiment: the folder of the experiment; its name is what MLflow groups by.
        trials: those that are finished.

    Raises:
        SettingsError: a tracker is unknown.
    """
    for kind in report_types(names):
        if kind in TO:
            try:
                TO[kind](experiment, trials)
            except Exception as error:
                warnings.warn(
                    f"{kind.value} got no hparams: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=2
                )


def to_tensorboard(experiment: Path, trials: Sequence[Trial]) -> None:
    """Write one event file a training, in place of what an earlier call wrote."""
    torch = TensorBoard().torch
    shutil.rmtree(experiment / "hparams", ignore_errors=True)
    for trial in trials:
        figures = {f"compare/{name}": value for name, value in trial.figures.items()}
        with torch.SummaryWriter(log_dir=str(experiment / "hparams" / trial.folder.name)) as writer:
            for summary in torch.summary.hparams(flat(plain(dict(trial.params))), figures):
                writer.file_writer.add_summary(summary)
            for name, value in figures.items():
                writer.add_scalar(name, value, 0)


def to_mlflow(experiment: Path, trials: Sequence[Trial]) -> None:
    """Log figures and parameters to the runs of the trainings."""
    tracker = MLflow()
    mlflow = tracker.mlflow
    nested = mlflow.active_run() is not None
    for trial in trials:
        tag = trial.folder.resolve().as_posix()
        earlier = tracker.find(tag)
        with mlflow.start_run(run_id=earlier, run_name=None if earlier else trial.folder.name, nested=nested) as run:
            mlflow.set_tags({FOLDER_TAG: tag, EXPERIMENT_TAG: experiment.name})
            known = run.data.params
            mlflow.log_params({k: v for k, v in flat(plain(dict(trial.params))).items() if k not in known})
            mlflow.log_metrics({allowed(f"compare/{name}"): value for name, value in trial.figures.items()}, step=0)


TO: dict[ReportTypes, Callable[[Path, Sequence[Trial]], None]] = {
    ReportTypes.TENSORBOARD: to_tensorboard,
    ReportTypes.MLFLOW: to_mlflow,
}
"""The back ends that show hparams."""
