"""What several commands take and how they answer: arguments, flags, progress, tables and JSON."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sightline.progress import Progress

Source = Annotated[
    str, typer.Argument(help="Folder, CSV/TSV/Parquet manifest, .npz, IDX file, or a known name (digits).")
]
RunPath = Annotated[Path, typer.Argument(help="A run folder, such as runs/20261122-141530.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder with the files of a known data set.")]
Download = Annotated[bool, typer.Option("--download", help="Allow a known data set to be downloaded.")]


def progress_for(quiet: bool) -> Progress:
    """Give what shows progress on stderr, or nothing."""
    from sightline.progress import Progress

    return Progress(quiet=quiet)


@contextmanager
def importing() -> Iterator[None]:
    """Import what a command needs without Python looking, again and again, for garbage in what is only being made.

    Of the time that torch and the rooms that train take to be imported, that is a tenth or more. Afterwards it looks
    at what was imported no more, which would take a tenth of a second each time, for nothing: modules stay.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def print_json(content: Any) -> None:
    """Print one JSON value on stdout."""
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def show(renderable: Any) -> None:
    """Print a table or text on stdout."""
    from rich.console import Console

    Console().print(renderable)
