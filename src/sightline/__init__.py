"""Labelled images in; a recogniser you can trust and see through out.

The public names are resolved on first use, so that ``import sightline`` imports no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

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
    "train": "sightline.recipe",
    "resume": "sightline.recipe",
    "evaluate": "sightline.trained",
    "predict": "sightline.trained",
    "Run": "sightline.trained",
    "ImageClassifier": "sightline.estimator",
    "SightlineError": "sightline.errors",
}
"""Public name -> the module that defines it."""

MODULES = ("metrics", "losses", "errors")
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
