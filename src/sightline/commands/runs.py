"""Commands that use a run: score it, predict with it, write its report."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sightline.commands.arguments import AsJson, Quiet, RunPath, print_json, progress_for, show


def evaluate(
    run: RunPath,
    source: Annotated[
        str | None, typer.Argument(help="Other images of the same classes; else its own test part.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a run or an ensemble: accuracy, errors, per-class figures, calibration, each with a 95 % interval."""
    from sightline.opened import open_run
    from sightline.reports.tables import scores

    evaluation = open_run(run).evaluate(source, progress=progress_for(quiet))
    if as_json:
        print_json({"run": str(run), "source": source, **evaluation.as_dict()})
        return
    show(scores(evaluation))


def predict(
    run: RunPath,
    files: Annotated[list[str], typer.Argument(help="Image files, folders, or .npz/.npy files.")],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with the probability of every class.")] = False,
    top: Annotated[
        int, typer.Option("--top", min=1, help="Classes to show per image in the table. [dim]\\[3][/dim]")
    ] = 3,
    engine: Annotated[
        str,
        typer.Option("--engine", help="auto, plain, folded, openvino or compiled: how to compute. [dim]\\[auto][/dim]"),
    ] = "auto",
    quiet: Quiet = False,
) -> None:
    """Recognise new images with a run or an ensemble; exit code 1 if any could not be served."""
    from sightline.errors import SettingsError
    from sightline.making.trained import Run
    from sightline.opened import open_run
    from sightline.reports.tables import predictions as table

    opened = open_run(run)
    if isinstance(opened, Run):
        found = opened.predict(files, engine=engine, progress=progress_for(quiet))
    elif engine in ("auto", "plain"):
        found = opened.predict(files)
    else:
        raise SettingsError(f"engine is '{engine}', but an ensemble is computed plainly.", "Leave --engine out.")
    if as_json:
        refused = [list(pair) for pair in found.refused]
        how = {"engine": found.engine.as_dict()} if found.engine else {}
        print_json({"run": str(run), "predictions": found.rows(), "refused": refused, **how})
    elif as_csv:
        print(found.as_csv(), end="")
    elif found.names:
        show(table(found, top))
    for name, reason in found.refused:
        print(f"refused: {name}: {reason}", file=sys.stderr)
    if found.refused:
        raise typer.Exit(1)


def report(run: RunPath) -> None:
    """Write the report page of a run or an ensemble again and print its path."""
    from sightline.opened import open_run

    print(open_run(run).report())
