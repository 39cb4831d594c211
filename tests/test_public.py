"""The law of the public: what users' code and files depend on, listed. Changing a list here is a decision.

A name, flag or file that goes away or changes its meaning breaks somebody: it needs a line in the changelog and, once
the version is 1.0 or more, a new major version.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

import sightline
from sightline.run import FORMAT, RunFolder
from sightline.settings import Settings

NAMES = {
    "Audit",
    "CNNConfig",
    "CNNblocks",
    "ConvBlock",
    "EarlyStopping",
    "Ensemble",
    "ImageClassifier",
    "Images",
    "ReportTypes",
    "Run",
    "Settings",
    "SightlineError",
    "Stream",
    "Trainer",
    "TrainerSettings",
    "audit",
    "build",
    "diagnose",
    "compare",
    "evaluate",
    "improve",
    "load",
    "predict",
    "pull",
    "push",
    "resume",
    "train",
    "train_ensemble",
}

# The metrics that code written for mltrainer names; the lecture's names are a contract, too.
METRICS = {"Metric", "Accuracy", "MAE", "MASE", "F1Score"}

SETTINGS = {
    "image_size resize normalise corrections valid_fraction test_fraction split_seed strict data_dir download",
    "balance balance_valid",
    "model options dropout",
    "weights freeze thaw_epoch old_lr",
    "epochs minutes train_steps batch_size optimizer lr momentum schedule cycles warmup clip_norm accumulate",
    "bias_lr lookahead lookahead_rises progressive monitor seed",
    "augment weight_decay decoupled penalty penalty_on max_norm label_smoothing trim trim_from ema swa",
    "early_stop patience delta",
    "instruments probes",
    "device precision compile keep_memory",
    "runs name trackers checkpoint_minutes",
}

# Every setting is a flag of `train` and `lr`, but for `options`, which is --option key=value.
FLAGS = {name.replace("_", "-") for line in SETTINGS for name in line.split()} - {"options"}

COMMANDS: dict[str, set[str]] = {
    "check": {"data-dir", "download", "json", "quiet"},
    "train": {*FLAGS, "config", "recipe", "option", "set", "preview", "print-config", "json", "quiet"},
    "resume": {"source", "json", "quiet"},
    "evaluate": {"json", "quiet"},
    "predict": {"json", "csv", "top", "engine", "quiet"},
    "report": set(),
    "diagnose": {"classes", "images", "json"},
    "improve": {"minutes", "rounds", "seeds", "jobs", "json", "quiet"},
    "vote": {"hard", "soft", "weights", "views", "members", "on", "runs", "name", "json", "quiet"},
    "audit": {*FLAGS, "folds", "repeats", "drop", "option", "json", "quiet"},
    "lr": {*FLAGS, "plot", "json", "quiet"},
    "compare": {
        *FLAGS,
        "base",
        "vary",
        "grid",
        "seeds",
        "split",
        "pairs",
        "decides",
        "matters",
        "jobs",
        "drop-hopeless",
        "option",
        "json",
        "quiet",
    },
    "push": {"public", "report", "license", "only-to", "json", "quiet"},
    "pull": {"to", "revision", "json", "quiet"},
    "scaling": {"classes", "plot", "data-dir", "download", "json", "quiet"},
    "models": {"input", "classes", "option", "dense", "draw", "json"},
    "cache": {"clear", "json"},
    "doctor": {"bench", "json", "quiet"},
    "see layers": {"json"},
    "see unit": {"steps", "seed", "json", "quiet"},
    "see dream": {"steps", "seed", "negative", "between", "diversity", "photo", "octaves", "json", "quiet"},
    "see gallery": {"units", "steps", "quiet"},
    "see kernels": {"layer", "json"},
    "see maps": {"layer", "json", "quiet"},
    "see saliency": {"method", "class", "json", "quiet"},
    "see landscape": {"points", "reach", "images", "part", "seed", "minutes", "plot", "json", "quiet"},
    "see atlas": {"layer", "method", "images", "cells", "steps", "seed", "json", "quiet"},
    "see arithmetic": {
        "groups",
        "kernel",
        "size",
        "stride",
        "padding",
        "dilation",
        "pool",
        "side",
        "colour",
        "learn",
        "at",
        "all",
        "cost",
        "film",
        "page",
        "dark",
        "json",
    },
}

FORMAT_NOW = 1
FILES = {
    "state": "run.json",
    "settings": "settings.toml",
    "data": "data.json",
    "positions": "positions.safetensors",
    "corrections": "corrections.csv",
    "split": "split.csv",
    "environment": "environment.json",
    "history": "history.jsonl",
    "timing": "timing.jsonl",
    "valid_losses": "valid_losses.npy",
    "instruments": "instruments.jsonl",
    "probes": "probes.json",
    "best": "best.safetensors",
    "last": "last.safetensors",
    "snapshots": "snapshots",
    "checkpoint": "checkpoint.safetensors",
    "findings": "findings.json",
    "evaluation": "evaluation.json",
    "predictions": "predictions.csv",
    "figures": "figures",
    "gallery": "gallery.html",
    "seeing": "seeing",
    "recipe": "recipe.toml",
    "ensemble": "ensemble.json",
    "members": "members",
    "vote": "vote.json",
    "journal": "journal.md",
    "rounds": "journal.json",
    "report": "report.html",
}


def test_the_public_names() -> None:
    assert set(sightline.PUBLIC) == NAMES
    assert set(sightline.MODULES) == {"metrics", "losses", "penalties", "errors", "see"}
    assert set(dir(sightline)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_public_name_is_where_it_is_said_to_be(name: str) -> None:
    value = getattr(sightline, name)
    assert value is getattr(importlib.import_module(sightline.PUBLIC[name]), name)
    assert value.__module__ == sightline.PUBLIC[name], "defined elsewhere and imported there"
    assert value.__doc__


def test_the_metrics_of_the_lecture() -> None:
    assert set(dir(sightline.metrics)) >= METRICS


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        sightline.trian  # noqa: B018


def test_the_settings() -> None:
    assert set(Settings.model_fields) == {name for line in SETTINGS for name in line.split()}


def test_the_files_of_a_run() -> None:
    found = {name for name, kind in vars(RunFolder).items() if isinstance(kind, property)}
    assert found == set(FILES)
    assert FORMAT == FORMAT_NOW


def test_every_file_of_a_run_may_be_shared_or_not() -> None:
    """What is pushed to a hub everybody may see, so every file of a run is decided on, with a reason."""
    from sightline.hub.parcel import STAYS, TRAVELS

    decided = [*TRAVELS.values(), *STAYS]
    assert sorted(decided) == sorted(FILES), "list it in hub/parcel.py: TRAVELS if it names no images, else STAYS"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_of_a_run_keeps_its_name(name: str) -> None:
    assert getattr(RunFolder(Path("run")), name) == Path("run") / FILES[name]


def test_the_commands() -> None:
    from typer.main import get_command

    from sightline.cli import app

    group: Any = get_command(app)
    parts = {f"see {part}" for part in group.commands["see"].commands}
    assert {*group.commands} - {"see"} | parts == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_flags_of_a_command(name: str) -> None:
    from typer.main import get_command

    from sightline.cli import app

    group: Any = get_command(app)
    first, _, part = name.partition(" ")
    context = group.make_context("sightline", [first], resilient_parsing=True)
    _, command, _ = group.resolve_command(context, [first])
    command = command.commands[part] if part else command
    spelt = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]
    flags = {option.removeprefix("--") for option in spelt if option.startswith("--")}
    assert {flag for flag in flags if not flag.startswith("no-")} == COMMANDS[name]
