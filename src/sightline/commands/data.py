"""Commands about data: look for faults in them, see and clear what is cached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.commands.arguments import AsJson, DataDir, Download, Quiet, Source, print_json, progress_for, show


def check(
    source: Source, data_dir: DataDir = None, download: Download = False, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Look for faults in the images before training: broken files, duplicates, leaks, imbalance."""
    from sightline.data.sources import load
    from sightline.data.summary import describe
    from sightline.making.prepared import survey
    from sightline.reports.tables import findings as table
    from sightline.settings import Settings

    progress = progress_for(quiet)
    images = load(source, data_dir=data_dir, download=download, training=False, progress=progress)
    if not as_json:
        show(describe(images))
    findings = survey(images, Settings(), progress)
    if as_json:
        print_json({"source": source, "images": len(images), "findings": [finding.as_dict() for finding in findings]})
        return
    show(table(findings))


def scaling(
    source: Source,
    classes: Annotated[
        str | None, typer.Option("--classes", metavar="A,B", help="Two classes; else those that one number tells best.")
    ] = None,
    plot: Annotated[Path, typer.Option("--plot", help="Where to draw it (SVG).")] = Path("scaling.svg"),
    data_dir: DataDir = None,
    download: Download = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw gradient descent with and without feature scaling, on the loss of a two-parameter model of these images."""
    from sightline.data.pixels import pack
    from sightline.data.sources import load
    from sightline.diagnosis import scaling as lesson
    from sightline.errors import SettingsError
    from sightline.files import write_text
    from sightline.reports.surfaces import descent

    two = tuple(name.strip() for name in classes.split(",")) if classes else None
    if two is not None and len(two) != 2:
        raise SettingsError(f"--classes {classes} does not name two classes.", "Write two, such as --classes cat,dog.")
    progress = progress_for(quiet)
    images = load(source, data_dir=data_dir, download=download, progress=progress)
    pixels = pack(images, progress=progress)
    found = lesson.scaling(pixels.array, pixels.images, two)
    write_text(plot, str(descent(found)))
    if as_json:
        print_json({"source": source, "plot": str(plot), **found.as_dict()})
        return
    print(found.sentence)
    print(f"drawing {plot}")


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete the sets named, or all.")] = False,
    names: Annotated[list[str] | None, typer.Argument(help="Which entries; all if none is named.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what is kept for the next time (images decoded or made, downloads), or delete it; sources stay untouched."""
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
        print_json([{"name": e.name, "place": str(e.place), "bytes": e.bytes, "cleared": clear} for e in entries])
        return
    show(table(entries, cleared=clear))
