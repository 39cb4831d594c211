"""A run folder -> one self-contained HTML page: what was trained on what, how good it is, where it errs, how to use it.

The page has no scripts, asks for nothing over the network (its own policy forbids it), follows the reader's light or
dark scheme, prints, and fits a phone. What a run lacks, the page leaves out; ``facts`` says which files it reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sightline import files
from sightline.reports import facts, frame, improved, judged, plots, result, sections
from sightline.reports.frame import data_uri
from sightline.reports.regularisation import regularisation
from sightline.run import RunFolder


def write(folder: RunFolder, *, thumbnails: Mapping[str, bytes] | None = None) -> Path:
    """Write ``report.html``, whole or not at all.

    Args:
        folder: the run, in any state: finished, under way, cut off.
        thumbnails: PNG, JPEG or SVG pictures of evaluated images, by the names that ``evaluate`` was given; used for
            the worst mistakes. About 112 to 224 pixels are enough.

    Returns:
        Where the page is.

    Raises:
        RunError: a file of the run is damaged, a thumbnail is no picture, or the page cannot be written.
    """
    files.write_text(folder.report, render(facts.read(folder), thumbnails=thumbnails))
    return folder.report


def draw(folder: RunFolder) -> list[Path]:
    """Write the page's charts as SVG files of their own, for a thesis or a talk, into the run's ``figures``.

    Returns:
        Where they are: ``loss.svg``, one per metric, ``learning-rate.svg``, ``confusion.svg``, ``reliability.svg``,
        as far as the run has what they show.
    """
    run = facts.read(folder)
    drawings = plots.learning_curves(run.history, run.state.get("best_epoch"))
    if run.evaluation is not None:
        drawings["confusion"] = plots.confusion(run.evaluation.confusion, run.evaluation.classes)
        drawings["reliability"] = plots.reliability(run.evaluation.calibration.bins)
    if drawings:
        files.make_folder(folder.figures)
    paths = []
    for name, drawing in drawings.items():
        paths.append(folder.figures / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.svg")
        files.write_text(paths[-1], str(drawing))
    return paths


def render(run: facts.Facts, *, thumbnails: Mapping[str, bytes] | None = None) -> str:
    """Give the page as text; see ``write``."""
    found = run.evaluation
    pictures = {name: data_uri(picture, name) for name, picture in (thumbnails or {}).items()}
    return frame.render(
        "page.html.j2",
        run=run,
        name=run.path.resolve().name,
        headline=result.headline(run),
        tiles=result.tiles(found) if found else [],
        verdict=judged.section(RunFolder(run.path)),
        improvement=improved.section(RunFolder(run.path)),
        training=sections.training(run),
        regularisation=regularisation(run),
        inputs=data_uri(run.inputs, "inputs.png") if run.inputs else "",
        invented=data_uri(run.invented, "smote.png") if run.invented else "",
        curves=sections.curves(run),
        classes=sections.classes(run, found) if found else None,
        calibration=sections.calibration(found) if found else None,
        mistakes=sections.mistakes(found, pictures) if found else None,
        findings=sections.findings(run),
        time=sections.time(run),
        settings=sections.settings(run),
        usage=sections.usage(run),
        environment=sections.environment(run),
        gallery=gallery.name if (gallery := RunFolder(run.path).gallery).is_file() else "",
    )
