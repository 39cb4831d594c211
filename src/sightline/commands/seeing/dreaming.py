"""Parts of ``sightline see`` about what layers and units look for: layers, unit, dream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.commands.arguments import AsJson, Quiet, RunPath, print_json, progress_for

if TYPE_CHECKING:
    from sightline.seeing.portraits import Portrait

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET...",
        help="conv1:3, conv1\\[4,5,3], conv1^2, logit:cat, probability:cat, conv1~1, sums of these.",
        show_default=False,
    ),
]
UnitName = Annotated[str, typer.Argument(metavar="UNIT", help="Layer and number, such as stages.2.0.conv1:17.")]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Steps at most; finished images stop earlier.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of noise and movements.")]
Negative = Annotated[bool, typer.Option("--negative", help="What excites each target least.")]
Between = Annotated[
    int, typer.Option("--between", min=0, metavar="N", help="N images on the way from the first target to the second.")
]
Photo = Annotated[
    Path | None,
    typer.Option("--photo", help="Dream into this image (DeepDream): 'conv1^2' sees what is there."),
]
Octaves = Annotated[int, typer.Option("--octaves", min=1, help="Sizes in which a photo is looked at.")]
Diversity = Annotated[
    float,
    typer.Option(
        "--diversity",
        min=0.0,
        max=1.0,
        metavar="SHARE",
        help="Pushes images for a target named several times apart; of its strength each may lose this share: 0.2.",
    ),
]


def layers(run: RunPath, as_json: AsJson = False) -> None:
    """List the layers of a run's network as torch names them, with kinds, shapes, units and weights.

    Example: sightline see layers runs/20261122-141530
    """
    from sightline import see

    found = see.layers(run)
    if as_json:
        print_json(
            [
                {"name": p.name, "kind": p.kind, "shape": p.shape, "units": p.units, "weights": p.parameters}
                for p in found
            ]
        )
        return
    print(found)


def dream(
    run: RunPath,
    targets: Targets,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Steps at most. [dim]\\[256; 20 for each octave of a photo][/dim]"),
    ] = None,
    seed: Seed = 0,
    negative: Negative = False,
    between: Between = 0,
    diversity: Diversity = 0.0,
    photo: Photo = None,
    octaves: Octaves = 3,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make the images that units, layers and classes like best, beside the data and a network that learnt nothing.

    Example: sightline see dream runs/20261122-141530 logit:cat layer3.0.conv1:17
    """
    from sightline import see
    from sightline.errors import SettingsError
    from sightline.making.trained import Run

    progress = progress_for(quiet)
    opened = Run.load(run)
    if photo is not None:
        if negative or between or diversity:
            raise SettingsError(
                "a photo is dreamt into for one target at a time.", "Leave out --negative, --between and --diversity."
            )
        path = opened.sights(progress).deepdream(photo, targets, steps or 20, octaves, seed, progress)
        if as_json:
            print_json({"run": str(run), "picture": str(path), "targets": targets})
            return
        print(f"picture {path}")
        return
    found = see.dream(
        opened, *targets, steps=steps or 256, seed=seed, diversity=diversity, negative=negative, between=between,
        progress=progress,
    )  # fmt: skip
    page = see.page(opened, found, progress=progress)
    _answer(run, page, found, as_json)


def unit(
    run: RunPath, name: UnitName, steps: Steps = 256, seed: Seed = 0, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Show a unit: examples from most to least, its answers by class, the image made for it, the classes it feeds.

    Example: sightline see unit runs/20261122-141530 layer3.0.conv1:17
    """
    from sightline import see
    from sightline.making.trained import Run

    progress = progress_for(quiet)
    opened = Run.load(run)
    looked = see.unit(opened, name)
    found = see.dream(opened, name, steps=steps, seed=seed, progress=progress)
    page = see.page(opened, found, looked, progress=progress)
    _answer(run, page, found, as_json)


def _answer(run: Path, page: Path, found: list[Portrait], as_json: bool) -> None:
    if as_json:
        print_json({"run": str(run), "page": str(page), "targets": [_as_dict(one) for one in found]})
        return
    for one in found:
        print(f"{one.dream.name}  {one.sentence}")
    print(f"page {page}")


def _as_dict(one: Portrait) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return None if value != value else value

    return {
        "target": one.dream.name,
        "start": one.dream.start,
        "value": one.dream.value,
        "natural": number(one.natural),
        "ratio": number(one.ratio),
        "dead": one.dead,
        "steps": one.dream.steps,
        "likeness": number(one.likeness),
        "path": number(one.path),
        "told": one.sentence,
    }
