"""Parts of ``sightline see`` that look at a network from afar: the loss around its weights, a map of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.commands.arguments import AsJson, Quiet, RunPath, print_json, progress_for


def landscape(
    runs: Annotated[list[Path], typer.Argument(help="A run folder, or up to four, side by side.")],
    points: Annotated[int, typer.Option("--points", help="Places along each direction, odd; 17, 25 or 33.")] = 25,
    reach: Annotated[float, typer.Option("--reach", help="How far to go, in norms of the filters.")] = 1.0,
    images: Annotated[int, typer.Option("--images", min=1, help="Training images to measure the loss on.")] = 256,
    part: Annotated[str, typer.Option("--part", metavar="train|valid", help="Images of which part.")] = "train",
    seed: Annotated[int, typer.Option("--seed", help="Of the two directions, and of the images.")] = 0,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="For each run; the same command later goes on.")
    ] = None,
    plot: Annotated[Path, typer.Option("--plot", help="Where to draw it (SVG).")] = Path("landscape.svg"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw the loss around the weights, in two random directions: contours and surface, for runs side by side."""
    from sightline.files import write_text
    from sightline.making.surveys import landscape_of
    from sightline.making.trained import Run
    from sightline.reports.landscapes import check_count, landscapes

    check_count(len(runs))
    progress = progress_for(quiet)
    found = [
        landscape_of(
            run,
            points=points,
            reach=reach,
            images=images,
            seed=seed,
            part=part,
            minutes=minutes,
            progress=progress,
        )
        for run in map(Run.load, runs)
    ]
    write_text(plot, str(landscapes(found)))
    if as_json:
        print_json({"plot": str(plot), "landscapes": [each.as_dict() for each in found]})
        return
    for each in found:
        print(each.sentence)
    print(f"drawing {plot}")


def atlas(
    run: RunPath,
    layer: Annotated[str | None, typer.Option("--layer", help="By its dotted name; else the last stage's end.")] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="pca|tsne", help="How the map is laid out. [dim]\\[tsne up to 5,000][/dim]"),
    ] = None,
    images: Annotated[int, typer.Option("--images", help="Validation images, at most.")] = 2000,
    cells: Annotated[
        int, typer.Option("--cells", min=0, metavar="SIDE", help="Also regions: cells along a side, such as 10.")
    ] = 0,
    steps: Annotated[
        int, typer.Option("--steps", min=0, help="Make an image for each region, in so many steps, such as 128.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn at random.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Map the validation images by what a layer makes of them, mistakes marked; with --cells, also its regions."""
    from sightline.making.surveys import atlas_of
    from sightline.making.trained import Run
    from sightline.reports.atlases import measure

    found, page = atlas_of(
        Run.load(run),
        layer=layer,
        method=method,
        images=images,
        side=cells,
        steps=steps,
        seed=seed,
        progress=progress_for(quiet),
    )
    if as_json:
        print_json({"run": str(run), "page": str(page), **measure(found)})
        return
    print(found.sentence)
    print(f"page {page}")
