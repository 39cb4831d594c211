"""The command that makes a training better by experiments."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.commands.arguments import AsJson, Quiet, RunPath, print_json, progress_for


def improve(
    run: RunPath,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Time for all rounds together.")] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="Rounds at most. [dim]\\[5, or any number with --minutes][/dim]")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", help="Pairs of trainings in a round; else 5, 3 or 1 by their length.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Runs at a time; else one for every four cores.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Try what diagnose advises, one change at a time, in paired trainings; keep what proves to help.

    Example: sightline improve runs/20261122-141530 --minutes 15
    """
    from sightline.comparison.workers import default_jobs
    from sightline.improving.improve import improve as carry_out
    from sightline.making.trained import Run
    from sightline.reports.improved import text
    from sightline.training import device as devices

    opened = Run.load(run)
    found = carry_out(
        opened,
        minutes=minutes,
        rounds=rounds,
        seeds=seeds,
        jobs=default_jobs(devices.choose(opened.settings.device)[0].type) if jobs is None else jobs,
        progress=progress_for(quiet),
    )
    if as_json:
        print_json(found.as_dict())
        return
    print(text(found.as_dict(), str(opened.folder.report)))
