"""The comparison.json of two comparisons -> the figures of plain-and-residual.md: it claims what was measured.

    python docs/experiments/plain_and_residual.py plain-and-residual runs/compare/plain/comparison.json

keeps what the page needs of it in ``plain-and-residual.json``, draws ``plain-and-residual.svg``, and writes the part of
the page between the marks with that name; without arguments, from what was kept. A test compares.
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
PAGE = HERE / "plain-and-residual.md"
NAMES = ("plain-and-residual", "residual-learnt")
"""The comparisons, in the page's order: each a mark in it, a file of what is kept, and a drawing."""
END = "<!-- end -->\n"
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


def begin(name: str) -> str:
    """Give the mark before the part of a comparison."""
    return f"<!-- {name}, made by plain_and_residual.py -->\n"


def made(name: str, told: Mapping[str, Any]) -> str:
    """Write the part of the page that holds figures."""
    names = [column for column in COLUMNS if any(column in arm["figures"] for arm in told["arms"])]
    networks = " and ".join(", ".join(arm["label"] for arm in told["arms"]).rsplit(", ", 1))
    finished = {arm["label"]: sum(run["status"] == "finished" for run in arm["runs"]) for arm in told["arms"]}
    seeds = min(finished.values())
    lines = [
        f"![Training and validation error of {networks}, by epoch]({name}.svg)",
        "",
        f"Means over {seeds} seeds after {told['length']} epochs; in brackets the lowest and highest:"
        if seeds > 1
        else f"After {told['length']} epochs, one seed:",
        "",
        "| network | " + " | ".join(MEASURES[column].title for column in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for arm in told["arms"]:
        cells = []
        for column in names:
            values = [run["figures"][column] for run in arm["runs"] if column in run["figures"]]
            low, mean, high = (
                contrasts.figure(value, MEASURES[column])
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


def page(comparisons: Mapping[str, Mapping[str, Any]]) -> str:
    """Give the whole page, with the parts between the marks made again."""
    text = PAGE.read_text(encoding="utf-8")
    for name, told in comparisons.items():
        before, rest = text.split(begin(name))
        text = before + begin(name) + made(name, told) + END + rest.split(END, 1)[1]
    return text


def drawing(told: Mapping[str, Any]) -> str:
    """Draw both panels beside each other."""
    upper = arms.largest(told, list(PANELS))
    left, right = (arms.curves(told, column, title, upper=upper) for column, title in PANELS.items())
    assert left is not None
    assert right is not None
    return str(arms.beside(left, right))


def kept() -> dict[str, Any]:
    """Read what was kept of each comparison."""
    return {name: json.loads((HERE / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES}


def files() -> dict[Path, str]:
    """Make the page and the drawings."""
    comparisons = kept()
    drawings = {HERE / f"{name}.svg": drawing(told) for name, told in comparisons.items()}
    return {PAGE: page(comparisons), **drawings}


def stale() -> list[str]:
    """List the files that are not what was kept says."""
    return [path.name for path, text in files().items() if path.read_text(encoding="utf-8") != text]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        found = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
        place = HERE / f"{sys.argv[1]}.json"
        place.write_text(json.dumps(keep(found), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
