"""The command that compares networks or settings by a controlled experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.commands.arguments import AsJson, Quiet, Source, print_json, progress_for, show
from sightline.flags import pairs as key_values


def compare(
    source: Source,
    models: Annotated[list[str] | None, typer.Argument(help="Networks to compare; none where --vary is.")] = None,
    base: Annotated[Path | None, typer.Option("--base", help="TOML file of settings, such as a run's.")] = None,
    vary: Annotated[list[str] | None, typer.Option("--vary", help="A setting and its values, name=a,b.")] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Every combination, not one change at a time.")] = False,
    seeds: Annotated[int, typer.Option("--seeds", help="Trainings of each arm. [dim]\\[5][/dim]")] = 5,
    split: Annotated[
        str, typer.Option("--split", metavar="same|seed", help="One split for all, or one a seed. [dim]\\[same][/dim]")
    ] = "same",
    pairs: Annotated[
        str | None, typer.Option("--pairs", metavar="all|first|A:B,C:D", help="Which arms to compare.")
    ] = None,
    decides: Annotated[
        str | None,
        typer.Option(
            "--decides", help="The figure that decides. [dim]\\[test_accuracy, balanced where classes are skewed][/]"
        ),
    ] = None,
    matters: Annotated[float | None, typer.Option("--matters", help="The difference in it that matters.")] = None,
    drop_hopeless: Annotated[
        bool, typer.Option("--drop-hopeless", help="No more seeds for an arm that is worse beyond doubt.")
    ] = False,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Runs at a time; else one for every four cores.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="An option of the network, key=value.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    *,
    flags: dict[str, Any],
) -> None:
    """Compare networks or settings: train each with the same seeds, say which differences are real.

    Example: sightline compare photos/ resnet18 plain18 --epochs 20 --seeds 5
    """
    from sightline.comparison.arms import parse, parse_pairs
    from sightline.comparison.compare import compare as carry_out
    from sightline.comparison.workers import default_jobs
    from sightline.reports.contrasts import table
    from sightline.training import device as devices

    if option:
        flags["options"] = key_values(option, "--option")
    found = carry_out(
        source,
        *(models or []),
        base=base,
        vary=parse(vary or []),
        grid=grid,
        seeds=seeds,
        split=split,  # type: ignore[arg-type]
        pairs=None if pairs is None else parse_pairs(pairs),
        decides=decides,
        matters=matters,
        drop_hopeless=drop_hopeless,
        jobs=default_jobs(devices.choose(flags.get("device", "auto"))[0].type) if jobs is None else jobs,
        progress=progress_for(quiet),
        **flags,
    )
    if as_json:
        print_json(found.as_dict())
        return
    show(table(found.as_dict()))
    print(f"comparison {found.path}")
    print(f"report     {found.report}")
