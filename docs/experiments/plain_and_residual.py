"""A comparison's comparison.json -> the figures of plain-and-residual.md, so that the page claims what was measured.

    python docs/experiments/plain_and_residual.py runs/compare/plain/comparison.json

keeps what the page needs in ``plain-and-residual.json``, draws ``plain-and-residual.svg``, and writes the part of the
page between the marks; without an argument, from what was kept. A test compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.diagnosis.experiment import MEASURES
from sightline.reports import arms, contrasts
from sightline.reports.compared import PANELS
from sightline.reports.words import SPACE

HERE = Path(__file__).parent
PAGE, KEPT, DRAWN = (HERE / f"plain-and-residual.{kind}" for kind in ("md", "json", "svg"))
BEGIN, END = "<!-- made by plain_and_residual.py -->\n", "<!-- end -->\n"
COLUMNS = ("train_error", "valid_accuracy", "test_accuracy")
TOLD = (
    "seeds",
    "decides",
    "kind",
    "factors",
    "reference",
    "length",
    "images",
    "split",
    "arms",
    "differences",
    "stopped",
)


def keep(told: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what belongs to one machine: places, commands, versions."""
    kept = {name: told[name] for name in TOLD}
    kept["arms"] = [
        {**arm, "runs": [{k: v for k, v in run.items() if k != "folder"} for run in arm["runs"]]}
        for arm in told["arms"]
    ]
    return kept


def made(told: Mapping[str, Any]) -> str:
    """Write the part of the page that holds figures."""
    names = [name for name in COLUMNS if any(name in arm["figures"] for arm in told["arms"])]
    finished = {arm["label"]: sum(run["status"] == "finished" for run in arm["runs"]) for arm in told["arms"]}
    seeds = min(finished.values())
    lines = [
        "![Training and validation error of the four networks, by epoch](plain-and-residual.svg)",
        "",
        f"Means over {seeds} seeds after {told['length']} epochs; in brackets the lowest and highest:"
        if seeds > 1
        else f"After {told['length']} epochs, one seed:",
        "",
        "| network | " + " | ".join(MEASURES[name].title for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for arm in told["arms"]:
        cells = []
        for name in names:
            values = [run["figures"][name] for run in arm["runs"] if name in run["figures"]]
            low, mean, high = (
                contrasts.figure(value, MEASURES[name])
                for value in (min(values), sum(values) / len(values), max(values))
            )
            spread = f" ({low.split(chr(160))[0] if '%' in low else low} to {high})" if seeds > 1 else ""
            cells.append(mean + spread)
        lines.append(f"| {arm['label']} | " + " | ".join(cells) + " |")
    measure = MEASURES[told["decides"]]
    lines += ["", f"Differences in {measure.title}, with intervals that hold together with 95 %:", ""]
    lines += ["| network | against | difference | interval | which is |", "|---|---|---|---|---|"]
    for one in told["differences"][told["decides"]]:
        size, spread = contrasts.change(one["value"], measure), contrasts.interval(one, measure)
        lines.append(f"| {one['arm']} | {one['against']} | {size} | {spread} | {one['word']} |")
    lines += ["", contrasts.headline(told), *(f"{line}" for line in contrasts.left_out(told)), ""]
    return "\n".join(lines).replace(SPACE, " ")


def page(told: Mapping[str, Any]) -> str:
    """Give the whole page, with the part between the marks made again."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return before + BEGIN + made(told) + END + after


def drawing(told: Mapping[str, Any]) -> str:
    """Draw both panels beside each other."""
    upper = arms.largest(told, list(PANELS))
    left, right = (arms.curves(told, column, title, upper=upper) for column, title in PANELS.items())
    assert left is not None
    assert right is not None
    return str(arms.beside(left, right))


def stale() -> list[str]:
    """List the files that are not what was kept says; all is well as long as nothing was kept."""
    if not KEPT.is_file():
        return []
    told = json.loads(KEPT.read_text(encoding="utf-8"))
    wanted = {PAGE: page(told), DRAWN: drawing(told)}
    return [path.name for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        KEPT.write_text(json.dumps(keep(found), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    PAGE.write_text(page(kept), encoding="utf-8")
    DRAWN.write_text(drawing(kept), encoding="utf-8")
