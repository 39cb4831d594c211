"""Settings and network -> ``settings.toml`` and ``model.toml``, for people and programs to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel

from sightline import files
from sightline.tracking.tracker import Context, plain

HEADER = "# Settings of a training. What is None is left out: TOML has no word for it.\n"


class Toml:
    """Writes two files when a training starts; rows go elsewhere."""

    def start(self, context: Context) -> None:
        """Write ``settings.toml`` and ``model.toml``; a ``settings.toml`` by another hand, such as a run's, stays."""
        path = context.folder / "settings.toml"
        if not path.exists() or path.read_text(encoding="utf-8").startswith(HEADER):
            files.write_text(path, HEADER + tomli_w.dumps(_without_none(plain(context.settings))))
        files.write_text(context.folder / "model.toml", model_text(context.model))

    def row(self, row: Mapping[str, float]) -> None:
        """Do nothing: the history has its own file."""

    def artifact(self, path: Path) -> None:
        """Do nothing: the file is where it is."""

    def close(self) -> None:
        """Do nothing: nothing is open."""


def model_text(model: Any) -> str:
    """Write a network down as TOML.

    Args:
        model: an ``nn.Module``. Its attribute ``config``, if it has one (a dict, dataclass or pydantic model), becomes
            the table ``[config]``.

    Returns:
        ``class``, ``module``, ``parameters`` (how many, and how many are trained), ``structure`` as it prints.
    """
    from torch.nn.parameter import UninitializedParameter

    sizes = [(p.numel(), p.requires_grad) for p in model.parameters() if not isinstance(p, UninitializedParameter)]
    content: dict[str, Any] = {
        "class": type(model).__qualname__,
        "module": type(model).__module__,
        "parameters": sum(size for size, _ in sizes),
        "trained_parameters": sum(size for size, trained in sizes if trained),
        "structure": f"{model}\n",
    }
    config = getattr(model, "config", None)
    if is_dataclass(config) and not isinstance(config, type):
        config = asdict(config)
    if isinstance(config, Mapping | BaseModel):
        content["config"] = _without_none(plain(config))
    return tomli_w.dumps(content, multiline_strings=True)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value if item is not None]
    return value
