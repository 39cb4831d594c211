"""Commands about data: look for faults in them, see and clear what is cached."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.commands.arguments import AsJson, DataDir, Download, Quiet, Source, print_json, progress_for, show


def check(
    source: Source, data_dir: DataDir = None, download: Download = False, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Look for faults in the images before training: broken files, duplicates, leaks, imbalance."""
    from sightline.data.sources import load
    from sightline.data.summary import describe
    from sightline.prepared import survey
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
        print_json([{"name": e.name, "place": str(e.place), "bytes": e.bytes, "cleared": clear} for e in entries])
        return
    show(table(entries, cleared=clear))
