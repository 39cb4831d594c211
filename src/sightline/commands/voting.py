"""Commands about several runs at once: let them vote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.commands.arguments import AsJson, Quiet, print_json, progress_for, show

Runs = Annotated[Path, typer.Option("--runs", help="Folder in which the ensemble's folder is made.")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the ensemble's folder; else vote- and the time.")]


def vote(
    members: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Run folders; RUN:snapshots for all snapshots of one.")
    ] = None,
    hard: Annotated[bool, typer.Option("--hard", help="Most votes win; ties go to the larger probability.")] = False,
    soft: Annotated[bool, typer.Option("--soft", help="The mean of the probabilities. [dim]\\[default][/dim]")] = False,
    weights: Annotated[
        str | None, typer.Option("--weights", help="auto (fitted on validation images), or a number for each: 2,1,1.")
    ] = None,
    views: Annotated[
        str, typer.Option("--views", help="flips,shifts: every run votes once more for each view of an image.")
    ] = "",
    count: Annotated[
        int | None,
        typer.Option("--members", help="Train one RUN again with other seeds until so many of it can vote."),
    ] = None,
    on: Annotated[
        str | None, typer.Option("--on", help="Other images to score on; else those that all members held out.")
    ] = None,
    runs: Runs = Path("runs"),
    name: Name = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Let trained runs vote: an ensemble with a folder, scores and a report of its own.

    Example: sightline vote runs/a runs/b runs/c --weights auto

    Example: sightline vote runs/a --members 5
    """
    from sightline.ensembles.ensemble import Ensemble
    from sightline.errors import SettingsError

    if hard + soft + (weights is not None) > 1:
        raise SettingsError("--hard, --soft and --weights are different votes.", "Give one of them.")
    kind = "hard" if hard else "soft" if soft else None
    progress = progress_for(quiet)
    named: list[str] | list[Path] = members or []
    if count is not None:
        if members is None or len(members) != 1:
            raise SettingsError(f"--members trains one run again, not {len(members or [])}.", "Name one run.")
        from sightline.comparison.siblings import siblings

        named = siblings(members[0], count, progress=progress)
    ensemble = Ensemble(named, vote=kind, weights=_weights(weights), views=views.split(",") if views else ())
    ensemble.save(runs, name, source=on, progress=progress)
    ensemble.report(progress)
    finish(ensemble, as_json)


def finish(ensemble: Any, as_json: bool) -> None:
    """Print what came of a vote: the table, the folder, the report."""
    folder = ensemble.folder
    told = folder.read_json(folder.vote)
    if as_json:
        state = folder.read_state()
        print_json({"run": str(folder.path), "report": str(folder.report), "headline": state["headline"], **told})
        return
    from sightline.reports.tables import standing as table
    from sightline.voting.standing import Standing

    show(table(Standing.from_dict(told)))
    print(ensemble.headline)
    print(f"run    {folder.path}")
    print(f"report {folder.report}")


def _weights(text: str | None) -> str | list[float] | None:
    if text is None or text == "auto":
        return text
    from sightline.errors import SettingsError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(f"--weights is '{text}'.", "Give auto, or one number for each member: 2,1,1.") from None
