"""The command line: one function per command; each imports its own room when it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import sightline
from sightline.errors import SightlineError
from sightline.flags import pairs, with_flags

if TYPE_CHECKING:
    from sightline.progress import Progress
    from sightline.trained import Run


CONTEXT = {"help_option_names": ["-h", "--help"]}


class Commands(typer.core.TyperGroup):
    """The commands; those with settings get their flags when they are called, so that ``--help`` loads no pydantic."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was typed, with all its flags."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in SETTLED:
            full = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
            full.command(name, context_settings=CONTEXT)(with_flags(SETTLED[name]))
            command = typer.main.get_command(full)
        return name, command, rest


app = typer.Typer(
    name="sightline",
    cls=Commands,
    help="Labelled images in; a recogniser you can trust and see through out.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)

SETTLED: dict[str, Callable[..., None]] = {}
"""Commands that take every setting as a flag; ``settled`` fills it."""

Source = Annotated[
    str, typer.Argument(help="Folder, CSV/TSV/Parquet manifest, .npz, IDX file, or a known name (digits).")
]
RunPath = Annotated[Path, typer.Argument(help="A run folder, such as runs/20261122-141530.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder with the files of a known data set.")]
Download = Annotated[bool, typer.Option("--download", help="Allow a known data set to be downloaded.")]


def settled(command: Callable[..., None]) -> Callable[..., None]:
    """Register a command that takes every setting as a flag; until it is called it only shows its help line."""
    SETTLED[command.__name__] = command

    def stub() -> None:
        """Stand for the command in the list."""

    stub.__doc__ = command.__doc__
    app.command(command.__name__)(stub)
    return command


def _progress(quiet: bool) -> Progress:
    from sightline.progress import Progress

    return Progress(quiet=quiet)


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


@app.command()
def check(
    source: Source, data_dir: DataDir = None, download: Download = False, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Look for faults in the images before training: broken files, duplicates, leaks, imbalance."""
    from sightline.data.sources import load
    from sightline.data.summary import describe
    from sightline.prepared import survey
    from sightline.reports.tables import findings as table
    from sightline.settings import Settings

    progress = _progress(quiet)
    images = load(source, data_dir=data_dir, download=download, training=False, progress=progress)
    if not as_json:
        show(describe(images))
    findings = survey(images, Settings(), progress)
    if as_json:
        _print_json({"source": source, "images": len(images), "findings": [finding.as_dict() for finding in findings]})
        return
    show(table(findings))


@settled
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

    progress = _progress(quiet)
    if preview:
        print(recipe.preview(source, settings=settings, progress=progress))
        return
    _finish(recipe.train(source, settings=settings, progress=progress), as_json)


@app.command()
def resume(
    run: RunPath,
    source: Annotated[str | None, typer.Option("--source", help="The data, if they have moved.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Continue a training that was cut off, exactly where its last checkpoint was."""
    from sightline import recipe

    _finish(recipe.resume(run, source=source, progress=_progress(quiet)), as_json)


def _finish(run: Run, as_json: bool) -> None:
    state = run.folder.read_state()
    if as_json:
        evaluation = json.loads(run.folder.evaluation.read_text(encoding="utf-8", errors="surrogateescape"))
        figures = {k: v for k, v in evaluation.items() if isinstance(v, dict) and {"value", "low", "high"} == v.keys()}
        _print_json({"run": str(run.path), "report": str(run.folder.report), **state, **figures})
        return
    print(state["headline"])
    print(f"run    {run.path}")
    print(f"report {run.folder.report}")


@app.command()
def evaluate(
    run: RunPath,
    source: Annotated[
        str | None, typer.Argument(help="Other images of the same classes; else its own test part.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a run: accuracy, errors, per-class figures, calibration, each with a 95 % interval."""
    from sightline.reports.tables import scores
    from sightline.trained import Run

    evaluation = Run.load(run).evaluate(source, progress=_progress(quiet))
    if as_json:
        _print_json({"run": str(run), "source": source, **evaluation.as_dict()})
        return
    show(scores(evaluation))


@app.command()
def predict(
    run: RunPath,
    files: Annotated[list[str], typer.Argument(help="Image files, folders, or .npz/.npy files.")],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with the probability of every class.")] = False,
    top: Annotated[
        int, typer.Option("--top", min=1, help="Classes to show per image in the table. [dim]\\[3][/dim]")
    ] = 3,
) -> None:
    """Recognise new images with a run; exit code 1 if any could not be served."""
    from sightline.reports.tables import predictions as table
    from sightline.trained import Run

    found = Run.load(run).predict(files)
    if as_json:
        _print_json({"run": str(run), "predictions": found.rows(), "refused": [list(pair) for pair in found.refused]})
    elif as_csv:
        print(found.as_csv(), end="")
    elif found.names:
        show(table(found, top))
    for name, reason in found.refused:
        print(f"refused: {name}: {reason}", file=sys.stderr)
    if found.refused:
        raise typer.Exit(1)


@app.command()
def report(run: RunPath) -> None:
    """Write a run's report page again and print its path."""
    from sightline.trained import Run

    print(Run.load(run).report())


@settled
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

    found = recipe.learning_rate(source, settings=Settings(**flags), progress=_progress(quiet))
    curve = lr_range(found.rates, found.losses, smoothed=found.smoothed, suggestion=found.suggestion)
    write_text(plot, str(curve))
    if as_json:
        _print_json(found.as_dict())
        return
    print(found.sentence)
    print(f"curve {plot}")


@app.command()
def models(
    name: Annotated[
        str | None, typer.Argument(help="A network, to see it layer by layer; else all are listed.")
    ] = None,
    shape: Annotated[str | None, typer.Option("--input", help="Input, such as 3x64x64; else the paper's.")] = None,
    classes: Annotated[int | None, typer.Option("--classes", help="Number of classes; else the paper's.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="An option of the network, key=value.")] = None,
    dense: Annotated[bool, typer.Option("--dense", help="Also the weights dense layers would need.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the networks, or one of them layer by layer: sizes, receptive fields, parameters, multiply-adds."""
    from sightline.reports.tables import layers, networks

    if name is None:
        listing, rows = networks()
    else:
        from sightline.models.zoo import table

        listing, rows = layers(table(name, shape, num_classes=classes, **pairs(option or [], "--option")), dense=dense)
    if as_json:
        _print_json(rows)
        return
    show(listing)


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete the sets named, or all.")] = False,
    names: Annotated[list[str] | None, typer.Argument(help="Which entries; all if none is named.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what is kept for the next training (decoded images, downloads), or delete it; sources stay untouched."""
    from sightline.data.cache import cached
    from sightline.data.cache import clear as delete
    from sightline.data.known import drop, kept
    from sightline.errors import SourceError
    from sightline.reports.tables import cache as table

    packed, downloads = cached(), kept()
    entries = [e for e in (*packed, *downloads) if not names or e.name in names or e.place.name in names]
    if names and not entries:
        raise SourceError(f"nothing in the cache is called {', '.join(names)}.", "See: sightline cache")
    if clear:
        for entry in entries:
            (delete if entry in packed else drop)(entry.place)
    if as_json:
        _print_json([{"name": e.name, "place": str(e.place), "bytes": e.bytes, "cleared": clear} for e in entries])
        return
    show(table(entries, cleared=clear))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has and what is fast on it: versions, devices, precisions, extras."""
    from sightline.doctor import examine
    from sightline.reports.tables import two_columns

    facts = examine()
    if as_json:
        _print_json(facts)
        return
    show(two_columns(facts))


def show(renderable: Any) -> None:
    """Print a table or text on stdout."""
    from rich.console import Console

    Console().print(renderable)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    """Labelled images in; a recogniser you can trust and see through out."""
    if version:
        print(f"sightline {sightline.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a fault of the user's is one message and exit code 1."""
    try:
        app()
    except SightlineError as error:
        print(f"error: {error.fault}\n{error.hint}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(0) from None
