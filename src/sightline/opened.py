"""A folder -> what it holds, a run or an ensemble; and the verbs that do the same for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightline.diagnosis.mistakes import Evaluation
from sightline.ensemble import Ensemble
from sightline.run import RunFolder
from sightline.serving.predict import Predictions
from sightline.trained import Run


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
