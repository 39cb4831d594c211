"""Parts of ``sightline see`` that show a network and what it makes of images: gallery, kernels, maps, saliency."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.commands.arguments import AsJson, Quiet, RunPath, print_json, progress_for, show

if TYPE_CHECKING:
    from sightline.making.sights import Sights
    from sightline.seeing.exhibit import Chosen

Images = Annotated[
    list[str] | None, typer.Argument(help="Image files or folders; else some that were held out.", show_default=False)
]
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


def maps(
    run: RunPath, images: Images = None, layer: Layer = None, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Show the feature maps that images become, stage by stage, and count the units that never answer."""
    from sightline.making.trained import Run
    from sightline.reports.tables import stages as table

    progress = progress_for(quiet)
    sights = Run.load(run).sights(progress)
    page, found = sights.maps(_images(sights, images, 3, 1), layer, progress)
    if as_json:
        print_json({"run": str(run), "page": str(page), "layers": [stage.as_dict() for stage in found]})
        return
    show(table(found))
    print(f"page {page}")


def saliency(
    run: RunPath,
    images: Images = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="gradient, smoothgrad, integrated, gradcam, occlusion; else all of them."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--class", help="The class to ask about; else the one predicted for each image.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show which places of an image speak for a class, and whether each such map is to be believed."""
    from sightline.making.trained import Run
    from sightline.seeing.saliency import METHODS

    progress = progress_for(quiet)
    sights = Run.load(run).sights(progress)
    about = _images(sights, images, 3, 3)
    page, found = sights.saliency(about, method or list(METHODS), target, progress)
    if as_json:
        print_json(
            {"run": str(run), "page": str(page), "images": list(about.names), "ways": [a.as_dict() for a in found]}
        )
        return
    for way in found:
        print(f"{way.found.method}: {way.trust.sentence}")
    print(f"page {page}")


def _images(sights: Sights, images: list[str] | None, right: int, wrong: int) -> Chosen:
    """Read the images named, or take some that were held out."""
    if not images:
        return sights.held_out().mixed(right, wrong)
    found, refused = sights.given(images)
    for name, reason in refused:
        print(f"refused: {name}: {reason}", file=sys.stderr)
    return found
