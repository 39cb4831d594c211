"""Commands that look things up: the networks, this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.commands.arguments import AsJson, Quiet, print_json, progress_for, show
from sightline.errors import SettingsError
from sightline.flags import pairs


def models(
    name: Annotated[
        str | None, typer.Argument(help="A network, to see it layer by layer; else all are listed.")
    ] = None,
    shape: Annotated[str | None, typer.Option("--input", help="Input, such as 3x64x64; else the paper's.")] = None,
    classes: Annotated[int | None, typer.Option("--classes", help="Number of classes; else the paper's.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="An option of the network, key=value.")] = None,
    dense: Annotated[bool, typer.Option("--dense", help="Also the weights dense layers would need.")] = False,
    draw: Annotated[Path | None, typer.Option("--draw", help="Draw it into this file (SVG), maps to scale.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the networks, or one of them layer by layer: sizes, receptive fields, parameters, multiply-adds."""
    from sightline.reports.tables import layers, networks

    if name is None:
        if draw is not None:
            raise SettingsError("--draw draws one network.", f"Name it: sightline models resnet18 --draw {draw}.")
        listing, rows = networks()
    else:
        from sightline.models.arithmetic import table
        from sightline.models.zoo import plan_for

        plan = plan_for(name, shape, num_classes=classes, **pairs(option or [], "--option"))
        listing, rows = layers(table(plan), dense=dense)
        if draw is not None:
            from sightline.files import write_text
            from sightline.reports.network import draw as drawing

            write_text(draw, str(drawing(plan)))
    if as_json:
        print_json(rows)
        return
    show(listing)


def doctor(
    bench: Annotated[
        bool, typer.Option("--bench", help="Also measure, for about a minute, what each lever gives here.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what this machine has and what is fast on it: versions, devices, precisions, extras."""
    from sightline.doctor import bench as measure
    from sightline.doctor import examine
    from sightline.reports.tables import two_columns

    facts = examine()
    if bench:
        paces = measure(progress_for(quiet))
        told = {topic: [pace.as_dict() if as_json else pace.sentence for pace in found] for topic, found in paces}
        facts = {**facts, **told}
    if as_json:
        print_json(facts)
        return
    show(two_columns(facts))
