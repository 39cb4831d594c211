"""``comparison.json`` -> one self-contained HTML page: which differences are real, and all that this rests on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline import files
from sightline.diagnosis.experiment import MEASURES
from sightline.reports import arms, contrasts, frame
from sightline.reports.svg import Svg, short
from sightline.reports.words import SPACE, count, counted, drawing, value

PANELS = {"probe_error": "Training error, %", "valid_error": "Validation error, %"}
"""The two panels of the learning curves, on one scale."""

UNITS = {"share": "points", "loss": "nats", "time": "times"}
"""Of differences."""


def write(folder: Path, told: Mapping[str, Any]) -> Path:
    """Write ``comparison.html``, whole or not at all, and its drawings into ``figures``.

    Args:
        folder: of the comparison.
        told: what ``comparison.json`` holds.

    Raises:
        RunError: it cannot be written.
    """
    pictures = drawings(told)
    if pictures:
        files.make_folder(folder / "figures")
    for name, picture in pictures.items():
        files.write_text(folder / "figures" / f"{name}.svg", str(picture))
    if {"training-error", "validation-error"} <= pictures.keys():
        both = arms.beside(pictures["training-error"], pictures["validation-error"])
        files.write_text(folder / "figures" / "curves.svg", str(both))
    path = folder / "comparison.html"
    files.write_text(path, render(told, pictures))
    return path


def drawings(told: Mapping[str, Any]) -> dict[str, Svg]:
    """Draw what the page shows, by name: as much as is known yet."""
    found: dict[str, Svg | None] = {}
    if told["differences"].get(told["decides"]):
        found["differences"] = arms.differences(told, told["decides"])
    upper = arms.largest(told, list(PANELS))
    for column, title in PANELS.items():
        name = title.partition(",")[0].lower().replace(" ", "-")
        found[name] = arms.curves(told, column, title, upper=upper)
    found["validation-loss"] = arms.curves(
        told, "valid_loss", "Validation loss, nats", percent=False, upper=arms.largest(told, ["valid_loss"])
    )
    for name in told["factors"]:
        found[f"factor-{re.sub(r'[^a-z0-9]+', '-', name.lower())}"] = arms.factor(told, name)
    found["grid"] = arms.heat(told)
    return {name: picture for name, picture in found.items() if picture is not None}


def render(told: Mapping[str, Any], pictures: Mapping[str, Svg]) -> str:
    """Give the page as text; see ``write``."""
    shown = {name: drawing(picture) for name, picture in pictures.items()}
    return frame.render(
        "compared.html.j2",
        told=told,
        headline=contrasts.headline(told),
        lede=lede(told),
        caveats=contrasts.caveats(told),
        shown=shown,
        factors=[picture for name, picture in shown.items() if name.startswith("factor-")],
        measures=measures(told),
        titles={name: measure.title for name, measure in MEASURES.items()},
        units={name: UNITS[measure.kind] for name, measure in MEASURES.items()},
        rows=[_row(one, told["decides"]) for one in told["differences"].get(told["decides"], [])],
        others=_others(told),
        arms=[_arm(arm, told) for arm in told["arms"]],
        margin=_margin(told),
        unfinished=[(a["label"], run) for a in told["arms"] for run in a["runs"] if run["status"] != "finished"],
        settings={name: value(content) for name, content in told["settings"].items()},
        command=_command(told),
        environment={k: value(v) for k, v in told["environment"].items() if k != "command"},
    )


def measures(told: Mapping[str, Any]) -> list[str]:
    """List the measures to show: those that are known, and balanced accuracy only where it says something else."""
    shown = [name for name in MEASURES if any(name in arm["figures"] for arm in told["arms"])]
    plain, balanced = "test_accuracy", "test_balanced_accuracy"
    runs = [run["figures"] for arm in told["arms"] for run in arm["runs"] if balanced in run["figures"]]
    same = all(abs(figures[plain] - figures[balanced]) < 1e-3 for figures in runs)
    return [name for name in shown if name != balanced or not same or told["decides"] == balanced]


def lede(told: Mapping[str, Any]) -> str:
    """Say what was compared."""
    seeds, runs = len(told["seeds"]), sum(len(arm["runs"]) for arm in told["arms"])
    what = {
        "networks": counted(len(told["arms"]), "networks"),
        "one at a time": f"{counted(len(told['arms']), 'arms')}, each with one change of the base",
        "grid": f"{counted(len(told['arms']), 'arms')}, one for each combination",
    }[told["kind"]]
    length = f" for {counted(told['length'], 'epochs')}" if told["length"] else ""
    same = "one split" if told["split"] == "same" else "a split for each seed, shared by all arms"
    scored = f", scored on {count(told['images']['test'])} test images" if told["images"]["test"] else ""
    return (
        f"{what}, each trained with {counted(seeds, 'seeds')}{length} on {count(told['images']['train'])} images of "
        f"{told['data']}{scored}: {counted(runs, 'runs')} on {same}. Compared is the difference within each seed."
    )


def _row(one: Mapping[str, Any], name: str, *, unit: bool = True) -> dict[str, Any]:
    measure = MEASURES[name]
    word = one["word"]
    if word == "real":
        word = f"real: {'better' if one['better'] else 'worse'}"
    return {
        **one,
        "size": contrasts.change(one["value"], measure, unit=unit),
        "interval": contrasts.interval(one, measure, unit=unit),
        "told": word,
        "tone": "" if one["word"] != "real" else "valid" if one["better"] else "wrong",
    }


def _others(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List, for each pair, its differences in the measures that do not decide."""
    names = [name for name in measures(told) if name != told["decides"] and told["differences"].get(name)]
    pairs = [(one["arm"], one["against"]) for one in told["differences"].get(told["decides"], [])]
    rows = []
    for pair in pairs:
        cells = []
        for name in names:
            one = next((o for o in told["differences"][name] if (o["arm"], o["against"]) == pair), None)
            cells.append(None if one is None else _row(one, name, unit=False))
        rows.append({"pair": pair, "cells": cells})
    return [{"names": names, "rows": rows}] if names and rows else []


def _arm(arm: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    figures = {}
    for name, one in arm["figures"].items():
        measure = MEASURES[name]
        spread = ""
        if one["low"] is not None:
            runs = [run["figures"][name] for run in arm["runs"] if name in run["figures"]]
            low, high = (contrasts.figure(end(runs), measure) for end in (min, max))
            spread = f"{low.removesuffix(SPACE + '%')} to {high}"
        figures[name] = {"value": contrasts.figure(one["value"], measure), "spread": spread}
    return {**arm, "figures": figures, "reference": arm["label"] == told["reference"]}


def _margin(told: Mapping[str, Any]) -> str:
    measure = MEASURES[told["decides"]]
    amount = measure.matters if told["matters"] is None else told["matters"]
    if measure.kind == "share":
        return f"{short(100 * amount)} percentage points of {measure.title}"
    return f"{short(100 * amount)}{SPACE}% of the {measure.title}"


def _command(told: Mapping[str, Any]) -> str:
    command = told["environment"].get("command")
    if isinstance(command, list) and len(command) > 1 and command[1] == "compare":
        return shlex.join(["sightline", *map(str, command[1:])])
    return ""
