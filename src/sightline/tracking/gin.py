"""Settings -> ``settings.gin``, which ``gin.parse_config_file`` reads back without any preparation.

The file names its own imports (gin-config calls this dynamic registration), so that in a new program::

    gin.parse_config_file("settings.gin")
    settings = gin.get_configurable(TrainerSettings)()
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sightline import files, metrics
from sightline.tracking.tracker import Context, plain


class Gin:
    """Writes ``settings.gin`` when a training starts, and ``saved_config.gin`` if the program itself uses gin."""

    def __init__(self) -> None:
        self._gin: Any = importlib.import_module("gin")

    def start(self, context: Context) -> None:
        """Write the settings, and the program's own gin bindings as ``mltrainer`` did."""
        files.write_text(context.folder / "settings.gin", bindings(context.knobs))
        own = self._gin.config_str()
        if own.strip():
            files.write_text(context.folder / "saved_config.gin", own)

    def row(self, row: Mapping[str, float]) -> None:
        """Do nothing: gin files hold settings only."""

    def artifact(self, path: Path) -> None:
        """Do nothing: gin files hold settings only."""

    def close(self) -> None:
        """Do nothing: nothing is open."""


def bindings(settings: BaseModel) -> str:
    """Write settings in gin's syntax.

    Args:
        settings: ``TrainerSettings`` or ``Settings``. Metrics of this project are written as references
            (``@metrics.Accuracy()``) if their class alone makes them; others become a comment, as gin has no word
            for an object made by hand.

    Returns:
        The text: imports, then one line for each setting.
    """
    name = f"settings.{type(settings).__name__}"
    imports, lines = ["from __gin__ import dynamic_registration", "from sightline import settings"], []
    for field, value in settings:
        line = f"{name}.{field} = {plain(value)!r}"
        if field == "metrics" and value:
            references = [_reference(metric) for metric in value]
            if None in references:
                line = f"# {line}"
            else:
                imports.append("from sightline import metrics")
                line = f"{name}.{field} = [{', '.join(map(str, references))}]"
        lines.append(line)
    return "\n".join([*imports, "", *lines]) + "\n"


def _reference(metric: Any) -> str | None:
    """Name a metric as gin does, if ``metrics.<Class>()`` makes an equal one."""
    kind = type(metric)
    if getattr(metrics, kind.__name__, None) is not kind:
        return None
    try:
        same = str(kind()) == str(metric)
    except TypeError:
        return None
    return f"@metrics.{kind.__name__}()" if same else None
