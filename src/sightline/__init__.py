"""Labelled images in; a recogniser you can trust and see through out.

The public names are resolved on first use, so that ``import sightline`` imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time __getattr__ below does it
    from sightline import errors as errors
    from sightline import losses as losses
    from sightline import metrics as metrics
    from sightline import penalties as penalties
    from sightline import see as see
    from sightline.auditing.audit import Audit as Audit
    from sightline.auditing.audit import audit as audit
    from sightline.comparison.compare import compare as compare
    from sightline.data.images import Images as Images
    from sightline.data.sources import load as load
    from sightline.data.stream import Stream as Stream
    from sightline.ensembles.ensemble import Ensemble as Ensemble
    from sightline.errors import SightlineError as SightlineError
    from sightline.estimator import ImageClassifier as ImageClassifier
    from sightline.hub.remote import pull as pull
    from sightline.hub.remote import push as push
    from sightline.improving.improve import improve as improve
    from sightline.making.recipe import resume as resume
    from sightline.making.recipe import train as train
    from sightline.making.trained import Run as Run
    from sightline.models.cnn import CNNblocks as CNNblocks
    from sightline.models.cnn import CNNConfig as CNNConfig
    from sightline.models.cnn import ConvBlock as ConvBlock
    from sightline.models.zoo import build as build
    from sightline.opened import diagnose as diagnose
    from sightline.opened import evaluate as evaluate
    from sightline.opened import predict as predict
    from sightline.recipes.training import train_ensemble as train_ensemble
    from sightline.settings import ReportTypes as ReportTypes
    from sightline.settings import Settings as Settings
    from sightline.settings import TrainerSettings as TrainerSettings
    from sightline.training.stopping import EarlyStopping as EarlyStopping
    from sightline.training.trainer import Trainer as Trainer

__version__ = "0.1.0"

PUBLIC: dict[str, str] = {
    "load": "sightline.data.sources",
    "Images": "sightline.data.images",
    "Stream": "sightline.data.stream",
    "build": "sightline.models.zoo",
    "ConvBlock": "sightline.models.cnn",
    "CNNConfig": "sightline.models.cnn",
    "CNNblocks": "sightline.models.cnn",
    "Trainer": "sightline.training.trainer",
    "EarlyStopping": "sightline.training.stopping",
    "TrainerSettings": "sightline.settings",
    "ReportTypes": "sightline.settings",
    "Settings": "sightline.settings",
    "train": "sightline.making.recipe",
    "resume": "sightline.making.recipe",
    "compare": "sightline.comparison.compare",
    "evaluate": "sightline.opened",
    "diagnose": "sightline.opened",
    "improve": "sightline.improving.improve",
    "predict": "sightline.opened",
    "Run": "sightline.making.trained",
    "Ensemble": "sightline.ensembles.ensemble",
    "train_ensemble": "sightline.recipes.training",
    "push": "sightline.hub.remote",
    "pull": "sightline.hub.remote",
    "ImageClassifier": "sightline.estimator",
    "audit": "sightline.auditing.audit",
    "Audit": "sightline.auditing.audit",
    "SightlineError": "sightline.errors",
}
"""Public name -> the module that defines it."""

MODULES = ("metrics", "losses", "penalties", "errors", "see")
"""Modules that are public as a whole: ``sightline.metrics.Accuracy``."""

__all__ = ["MODULES", "PUBLIC", "__version__", *PUBLIC, *MODULES]  # noqa: PLE0604, RUF100


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        value = getattr(importlib.import_module(PUBLIC[name]), name)
    elif name in MODULES:
        value = importlib.import_module(f"sightline.{name}")
    else:
        raise AttributeError(f"module 'sightline' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
