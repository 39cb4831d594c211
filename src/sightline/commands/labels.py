"""The command that puts labels to the test."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sightline.commands.arguments import AsJson, Quiet, Source, print_json, progress_for
from sightline.flags import pairs


def audit(
    source: Source,
    folds: Annotated[int, typer.Option("--folds", help="Parts that take turns in being scored. [dim]\\[5][/dim]")] = 5,
    repeats: Annotated[
        int, typer.Option("--repeats", help="Trainings of all folds, each dealt anew. [dim]\\[1][/dim]")
    ] = 1,
    drop: Annotated[
        str, typer.Option("--drop", metavar="SHARE", help="Mark so many of the most doubtful for dropping, such as 8%.")
    ] = "0",
    option: Annotated[list[str] | None, typer.Option("--option", help="An option of the network, key=value.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    *,
    flags: dict[str, Any],
) -> None:
    """Look for wrong labels: score each image by networks that never saw it, and list what they doubt.

    Example: sightline audit photos/ --epochs 20
    """
    from sightline.auditing.audit import audit as carry_out

    if option:
        flags["options"] = pairs(option, "--option")
    found = carry_out(source, folds=folds, repeats=repeats, drop=drop, progress=progress_for(quiet), **flags)
    if as_json:
        print_json({"audit": str(found.path), "labels": str(found.labels), "report": str(found.report), **found.told})
        return
    share = found.noise
    print(found.headline)
    print(f"share  {share.value:.1%} (95 % interval {share.low:.1%} to {share.high:.1%})")
    print(f"list   {found.labels}")
    print(f"report {found.report}")
