"""Parts of ``sightline see`` that show a network as it is and what it makes of images: gallery, kernels."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.commands.arguments import AsJson, Quiet, RunPath, print_json, progress_for, show

Layer = Annotated[
    str | None, typer.Option("--layer", help="One layer by its dotted name, such as stages.0.conv; else all.")
]


def gallery(
    run: RunPath,
    units: Annotated[int, typer.Option("--units", min=1, help="Units shown of each stage. [dim]\\[6][/dim]")] = 6,
    steps: Annotated[
        int | None, typer.Option("--steps", min=0, help="Steps of making images; 0 makes none; else as time allows.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the gallery page of a run, and print its path; it is what `sightline see RUN` means."""
    from sightline.making.trained import Run

    print(Run.load(run).see(units=units, steps=steps, progress=progress_for(quiet)))


def kernels(run: RunPath, layer: Layer = None, as_json: AsJson = False) -> None:
    """Show the weights: the first layer's as pictures, deeper ones as tables with their norms, zero always white."""
    from sightline.making.trained import Run
    from sightline.reports.tables import kernels as table
    from sightline.seeing.kernels import kernels as read
    from sightline.seeing.kernels import named

    opened = Run.load(run)
    found = read(opened.model, opened.preprocessing.shape)
    found = found if layer is None else [named(found, layer)]
    page = opened.sights().kernels(found)
    if as_json:
        print_json({"run": str(run), "page": str(page), "layers": [each.as_dict() for each in found]})
        return
    show(table(found))
    print(f"page {page}")
