"""What of a run travels -> its model card in Markdown: what it knows, how well, how to use it, what it cannot do."""

from __future__ import annotations

import html
import json
from typing import Any

from sightline.diagnosis.mistakes import Evaluation
from sightline.reports import result, sections
from sightline.reports.facts import Facts
from sightline.reports.words import count, counted, interval, percent

SHOWN = 50
"""Rows of the table of classes, at most: the weakest."""


USAGE = """With Sightline and its extra `hub`:

```sh
sightline pull {repo}
sightline predict runs/{name} {new}
```

```python
import sightline

run = sightline.pull("{repo}")
print(run.predict(["{new}"]).labels)
```

The weights are safetensors, everything else is JSON and TOML: nothing in here is code."""


def write(found: Facts, repo: str, *, parameters: int, report: bool, licence: str | None) -> str:
    """Write the card.

    Args:
        found: what travels, scored.
        repo: ``OWNER/NAME``, for the lines to copy.
        parameters: of the network.
        report: whether the report page lies beside.
        licence: as hubs spell it, or None.
    """
    scores = found.evaluation
    assert scores is not None
    said = result.headline(found)
    name = repo.rpartition("/")[2]
    parts = [
        front(found, scores, name, licence),
        f"# {text(name)}",
        f"A `{found.settings['model']}` with {count(parameters)} parameters that tells {len(found.classes)} classes of "
        f"{found.things} apart, trained with Sightline on ‘{text(source(found))}’.",
        f"**{text(said['title'])}.** {text(said['lede'])} {text(said['note'])}".rstrip(),
        "## Use it",
        usage(found, repo),
        "## How well it does",
        figures(scores),
        text(sections.calibration(scores)["verdict"]),
        classes(found, scores),
        "## What it cannot do",
        "\n".join(f"- {line}" for line in limits(found, scores)),
        "## How it was made",
        training(found),
    ]
    if report:
        parts.append("The whole report of the training is [report.html](report.html): download it and open it.")
    return "\n\n".join(part for part in parts if part) + "\n"


def front(found: Facts, scores: Evaluation, name: str, licence: str | None) -> str:
    """Write the block of metadata that hubs read; JSON values are YAML, whatever is in them."""
    image = found.data.get("kind", "image") == "image"
    task = "image-classification" if image else "other"
    told: dict[str, Any] = {
        **({"license": licence} if licence else {}),
        "library_name": "sightline",
        **({"pipeline_tag": task} if image else {}),
        "tags": [*(["image-classification"] if image else []), "sightline", str(found.settings["model"])],
        "metrics": ["accuracy"],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {"name": source(found), "type": source(found), "split": found.part},
                        "metrics": [{"type": "accuracy", "value": round(scores.accuracy.value, 4)}],
                    }
                ],
            }
        ],
    }
    return "---\n" + "\n".join(f"{key}: {json.dumps(value)}" for key, value in told.items()) + "\n---"


def source(found: Facts) -> str:
    """Name the data."""
    return str(found.data.get("name") or "images")


def usage(found: Facts, repo: str) -> str:
    """Give the lines to copy."""
    new = "photo.jpg" if found.data.get("kind", "image") == "image" else "new.npz"
    return USAGE.format(repo=repo, name=repo.rpartition("/")[2], new=new)


def figures(scores: Evaluation) -> str:
    """Tabulate the figures about the whole with their intervals."""
    rows = [
        "| figure | value | 95 % interval |",
        "|---|---:|---:|",
        f"| accuracy | {percent(scores.accuracy.value)} | {interval(scores.accuracy)} |",
        *(f"| {row['name'].lower()} | {row['value']} | {row['interval']} |" for row in result.tiles(scores)),
    ]
    return "\n".join(rows)


def classes(found: Facts, scores: Evaluation) -> str:
    """Tabulate the classes, the weakest first where there are many."""
    ranked = sorted(scores.per_class, key=lambda score: score.recall.value if score.recall else 2.0)
    several = len(ranked) > SHOWN
    rows = [f"| class | {found.things} | found (recall) | 95 % interval | right when named (precision) |"]
    rows.append("|---|---:|---:|---:|---:|")
    for score in ranked[:SHOWN] if several else scores.per_class:
        recall = (percent(score.recall.value), interval(score.recall)) if score.recall else ("-", "-")
        precision = percent(score.precision.value) if score.precision else "-"
        rows.append(f"| {text(score.name)} | {count(score.support)} | {' | '.join(recall)} | {precision} |")
    if several:
        rows.append(f"\nThe {SHOWN} weakest of {len(ranked)} classes; `config.json` lists all names.")
    return "\n".join(rows)


def limits(found: Facts, scores: Evaluation) -> list[str]:
    """List what a user must know before trusting it, most of it from the numbers."""
    told = [
        f"It knows these {len(found.classes)} classes and no other: whatever else it is shown, it names one of them, "
        "and may be sure of it.",
        f"The figures hold for {found.things} made like those of ‘{text(source(found))}’. Others (another camera, "
        "other light, place or time) may be harder; measure on your own: `sightline evaluate RUN FOLDER`.",
    ]
    if scores.count < 200:
        told.append(
            f"The figures come from only {counted(scores.count, found.things)}: read the intervals, not the values."
        )
    rare = [score.name for score in scores.per_class if score.support < 10]
    if rare:
        names = ", ".join(text(name) for name in rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        told.append(f"Of some classes fewer than 10 {found.things} were scored: {names}.")
    if scores.confused:
        pair = scores.confused[0]
        told.append(
            f"Its most frequent mistake: {text(pair.true)} taken for {text(pair.predicted)}, "
            f"{percent(pair.share)} of them ({pair.count} of the {found.things} scored)."
        )
    return told


def training(found: Facts) -> str:
    """Tabulate what was trained on what."""
    told = {**sections.training(found), **versions(found)}
    told.pop("Found at", None)
    rows = [f"| {text(name)} | {text(value)} |" for name, value in told.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def versions(found: Facts) -> dict[str, str]:
    """Name the versions it was made with."""
    packages = found.environment.get("packages", {})
    named = [f"{name} {packages[name]}" for name in ("torch", "numpy", "pillow") if name in packages]
    own = found.environment.get("sightline")
    return {"Versions": ", ".join([*([f"sightline {own}"] if own else []), *named])} if own or named else {}


def text(content: Any) -> str:
    """Write a name or sentence so that it is only text in Markdown, in a table, too."""
    plain = html.escape(" ".join(str(content).split()), quote=False)
    for mark in "\\`*_[]|":
        plain = plain.replace(mark, f"\\{mark}")
    return plain
