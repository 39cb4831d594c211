"""Commands that train: a run, the rest of one, the search for a learning rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.commands.arguments import AsJson, Quiet, RunPath, Source, print_json, progress_for
from sightline.flags import pairs

if TYPE_CHECKING:
    from sightline.trained import Run


def train(
    source: Source,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of settings; flags win over it.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="An option of the network, key=value.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="Any setting, key=value.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only draw 16 inputs as the network gets them.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Only print the settings as TOML.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    *,
    flags: dict[str, Any],
) -> None:
    """Train a recogniser on labelled images, score it on images kept apart, and write a report.

    Example: sightline train photos/ --model resnet18 --minutes 10
    """
    from sightline.settings import Settings

    settings = Settings.from_toml(config) if config else Settings()
    values = {**settings.changed(), **pairs(changes or [], "--set"), **flags}
    if option:
        values["options"] = {**values.get("options", {}), **pairs(option, "--option")}
    settings = Settings(**values)
    if print_config:
        import tomli_w

        print(tomli_w.dumps(settings.as_toml()), end="")
        return
    from sightline import recipe

    progress = progress_for(quiet)
    if preview:
        print(recipe.preview(source, settings=settings, progress=progress))
        return
    _finish(recipe.train(source, settings=settings, progress=progress), as_json)


def resume(
    run: RunPath,
    source: Annotated[str | None, typer.Option("--source", help="The data, if they have moved.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Continue a training that was cut off, exactly where its last checkpoint was."""
    from sightline import recipe

    _finish(recipe.resume(run, source=source, progress=progress_for(quiet)), as_json)


def _finish(run: Run, as_json: bool) -> None:
    state = run.folder.read_state()
    if as_json:
        evaluation = json.loads(run.folder.evaluation.read_text(encoding="utf-8", errors="surrogateescape"))
        figures = {k: v for k, v in evaluation.items() if isinstance(v, dict) and {"value", "low", "high"} == v.keys()}
        print_json({"run": str(run.path), "report": str(run.folder.report), **state, **figures})
        return
    print(state["headline"])
    print(f"run    {run.path}")
    print(f"report {run.folder.report}")


def lr(
    source: Source,
    plot: Annotated[Path, typer.Option("--plot", help="Where to draw the curve (SVG).")] = Path("lr.svg"),
    as_json: AsJson = False,
    quiet: Quiet = False,
    *,
    flags: dict[str, Any],
) -> None:
    """Find a learning rate: raise it step by step and watch the loss (Smith 2017)."""
    from sightline import recipe
    from sightline.files import write_text
    from sightline.reports.plots import lr_range
    from sightline.settings import Settings

    found = recipe.learning_rate(source, settings=Settings(**flags), progress=progress_for(quiet))
    curve = lr_range(found.rates, found.losses, smoothed=found.smoothed, suggestion=found.suggestion)
    write_text(plot, str(curve))
    if as_json:
        print_json(found.as_dict())
        return
    print(found.sentence)
    print(f"curve {plot}")
