"""Settings -> flags of a command, and ``key=value`` texts -> values: the settings are declared once, in settings.py."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from sightline.errors import SettingsError

PANELS = {
    "Data": (
        "image_size", "resize", "normalise", "corrections", "valid_fraction", "test_fraction", "split_seed",
        "strict", "data_dir", "download",
    ),
    "Skewed classes": ("balance", "balance_valid"),
    "Network": ("model",),
    "Fine-tuning": ("weights", "freeze", "thaw_epoch", "old_lr"),
    "Training": (
        "epochs", "minutes", "train_steps", "batch_size", "optimizer", "lr", "momentum", "schedule", "cycles", "warmup",
        "bias_lr", "lookahead", "lookahead_rises", "progressive",
        "clip_norm", "accumulate", "monitor", "seed",
    ),
    "Regularisation": (
        "augment", "weight_decay", "decoupled", "penalty", "penalty_on", "max_norm", "dropout", "label_smoothing",
        "trim", "trim_from", "ema", "swa", "early_stop", "patience", "delta",
    ),
    "Diagnosis": ("instruments", "probes"),
    "Machine": ("device", "precision", "compile", "keep_memory"),
    "Run": ("runs", "name", "trackers", "checkpoint_minutes"),
}  # fmt: skip
"""The order and grouping in which ``sightline train --help`` shows the settings."""


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for every setting; it receives those that were typed, as a dict ``flags``.

    Values stay text until ``Settings`` checks them, so that a flag, a TOML key and a Python keyword with the same
    fault get the same message.
    """
    from sightline.settings import Settings

    own = [p for name, p in inspect.signature(command, eval_str=True).parameters.items() if name != "flags"]
    flags = []
    for panel, names in PANELS.items():
        for name in names:
            field = Settings.model_fields[name]
            switch = field.annotation is bool
            flag = "--" + name.replace("_", "-")
            option = typer.Option(
                f"{flag}/--no-{flag[2:]}" if switch else flag,
                help=f"{field.description}{_default(field.default)}",
                metavar=None if switch else _metavar(field.annotation),
                rich_help_panel=panel,
                show_default=False,
            )
            kind = Annotated[bool | None, option] if switch else Annotated[str | None, option]
            flags.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))

    def wrapped(**values: Any) -> None:
        typed = {p.name: values.pop(p.name) for p in flags}
        command(**values, flags={name: value for name, value in typed.items() if value is not None})

    wrapped.__name__ = command.__name__
    wrapped.__doc__ = command.__doc__
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + flags
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def _default(value: Any) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        value = "on" if value else "off"
    return f" [dim]\\[{value}][/dim]"


def _metavar(annotation: Any) -> str:
    """Say what a flag takes: its choices, or its kind."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        return _metavar(next(a for a in get_args(annotation) if a is not type(None)))
    return {int: "N", float: "X", str: "NAME", Path: "PATH"}.get(annotation, "VALUE")


def pairs(texts: list[str], flag: str) -> dict[str, Any]:
    """Read ``key=value`` texts; values are TOML where they can be (numbers, true, lists), else text."""
    import tomllib

    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise SettingsError(f"{flag} {text} is not key=value.", f"Write it like {flag} width=2.")
        try:
            found[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key.strip()] = value
    return found
