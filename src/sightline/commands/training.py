"""Commands that train: a run, the rest of one, the search for a learning rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.commands.arguments import AsJson, Quiet, RunPath, Source, importing, print_json, progress_for
from sightline.commands.voting import finish
from sightline.flags import pairs

if TYPE_CHECKING:
    from sightline.making.trained import Run


def train(
    source: Source,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of settings; flags win over it.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="TOML file or name (hackathon): settings, or an ensemble's members.")
    ] = None,
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
    plan = None
    if recipe is not None:
        from sightline.recipes.reading import read

        checked = Settings(**values)
        plan = read(recipe).with_flags({name: getattr(checked, name) for name in values})
        values = plan.shared
    settings = Settings(**values)
    if print_config:
        import tomli_w

        print(tomli_w.dumps(plan.as_toml() if plan and plan.members else settings.as_toml()), end="")
        return
    with importing():
        from sightline.making.recipe import preview as draw
        from sightline.making.recipe import train as carry_out

    progress = progress_for(quiet)
    if preview:
        print(draw(source, settings=settings, progress=progress))
    elif plan and plan.members:
        from sightline.recipes.training import train_ensemble

        finish(train_ensemble(source, plan, progress=progress), as_json)
    else:
        _finish(carry_out(source, settings=settings, progress=progress), as_json)


def resume(
    run: RunPath,
    source: Annotated[str | None, typer.Option("--source", help="The data, if they have moved.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Continue a training that was cut off, of a run or an ensemble, exactly where its last checkpoint was."""
    from sightline.run import RunFolder

    progress = progress_for(quiet)
    if RunFolder(run).recipe.is_file():
        from sightline.recipes.training import resume as go_on

        finish(go_on(run, source=source, progress=progress), as_json)
        return
    with importing():
        from sightline.making import recipe

    _finish(recipe.resume(run, source=source, progress=progress), as_json)


def _finish(run: Run, as_json: bool) -> None:
    from sightline.reports.verdicts import lines

    state = run.folder.read_state()
    if as_json:
        evaluation = json.loads(run.folder.evaluation.read_text(encoding="utf-8", errors="surrogateescape"))
        figures = {k: v for k, v in evaluation.items() if isinstance(v, dict) and {"value", "low", "high"} == v.keys()}
        recalls = {score["name"]: score["recall"] for score in evaluation["per_class"]}
        told = {"run": str(run.path), "report": str(run.folder.report), **state, **figures, "recalls": recalls}
        print_json({**told, "verdict": run.verdict.as_dict()})
        return
    print(state["headline"])
    print("\n".join(lines(run.verdict)))
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
    from sightline.files import write_text
    from sightline.making import recipe
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
