"""The command that says what is wrong with a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.commands.arguments import AsJson, print_json

RunOrHistory = Annotated[
    Path, typer.Argument(help="A run folder; or the history that another tool left: CSV, JSON, event file, MLflow.")
]


def diagnose(
    run: RunOrHistory,
    classes: Annotated[int | None, typer.Option("--classes", min=2, help="Classes, if the history is no run.")] = None,
    images: Annotated[int | None, typer.Option("--images", min=1, help="Validation images, likewise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say in words whether a training is broken, under- or overfitted, on what grounds, and what to change.

    Example: sightline diagnose runs/20261122-141530
    """
    from sightline.opened import diagnose as judge
    from sightline.reports.verdicts import text

    verdict = judge(run, classes=classes, images=images)
    if as_json:
        print_json({"of": str(run), **verdict.as_dict()})
        return
    print(text(verdict))
