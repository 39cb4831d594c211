"""A folder -> what it holds, a run or an ensemble; and the verbs that do the same for both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sightline.diagnosis import foreign
from sightline.diagnosis.evidence import of_rows
from sightline.diagnosis.mistakes import Evaluation
from sightline.diagnosis.verdict import Verdict, judge
from sightline.ensembles.ensemble import Ensemble
from sightline.making.trained import Run
from sightline.run import RunFolder
from sightline.serving.predict import Predictions


def open_run(path: Run | Ensemble | Path | str) -> Run | Ensemble:
    """Open the folder of a run or of an ensemble; what is open already is given back.

    Raises:
        RunError: it is missing, incomplete, or from a newer version.
    """
    if isinstance(path, (Run, Ensemble)):
        return path
    return Ensemble.load(path) if RunFolder.open(path).ensemble.is_file() else Run.load(path)


def evaluate(run: Run | Ensemble | Path | str, source: Any = None) -> Evaluation:
    """Score a run or an ensemble on its own test part or on another source. See ``Run.evaluate``."""
    return open_run(run).evaluate(source)


def predict(run: Run | Ensemble | Path | str, images: Any) -> Predictions:
    """Recognise new images with a run or an ensemble. See ``Run.predict``."""
    return open_run(run).predict(images)


def diagnose(
    run_or_history: Run | Path | str | Iterable[Mapping[str, float]],
    *,
    classes: int | None = None,
    images: int | None = None,
) -> Verdict:
    """Say what is wrong with a training, if anything, on what grounds, and what to change.

    Args:
        run_or_history: a run; its folder; the file or folder that another tool left (CSV or JSON of Keras, Lightning,
            fastai, TensorBoard event files, an MLflow store); or rows of numbers as ``Trainer.history`` or
            ``ImageClassifier.history_`` hold them, one mapping per epoch: ``train_loss``, ``valid_loss``,
            ``probe_loss``, ``valid_accuracy``, ``lr``, ...
        classes: K, where it is not a run: then losses can be compared with guessing.
        images: validation images, where it is not a run: then shares get intervals.

    Raises:
        RunError: it is missing or damaged, or holds no history.
    """
    if isinstance(run_or_history, Run):
        return run_or_history.verdict
    if isinstance(run_or_history, (Path, str)):
        path = Path(run_or_history)
        if RunFolder(path).state.is_file():
            return Run.load(path).verdict
        return judge(foreign.of_path(path, classes=classes, images=images))
    return judge(of_rows(run_or_history, classes=classes, images={"valid": images} if images else {}))
