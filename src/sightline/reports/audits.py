"""What an audit of labels found -> its page: the sentence, the most doubtful images, where and how many."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

import sightline
from sightline.diagnosis.intervals import Figure
from sightline.reports import frame, plots
from sightline.reports.svg import Scale, Svg, around, axes, line, short, tag, text
from sightline.reports.words import SPACE, count, counted, percent

SHOWN, FIRST = 60, 18
"""Suspects that the page shows, and how many of them before the rest is folded away."""

PAIRS = 12


def headline(told: Mapping[str, Any]) -> str:
    """Say the result in one sentence."""
    share = Figure.from_dict(told["noise"])
    if told["verdict"] == "cannot tell":
        return "Cannot tell how many labels are wrong"
    if told["verdict"] == "no sign":
        return "No sign of wrong labels"
    return f"About {_range(share)} of the labels look wrong"


def _range(share: Figure) -> str:
    """Write an interval of a share as people say it: ``6 to 11 %``."""
    ends = [100 * (share.low or 0.0), 100 * (share.high or 0.0)]
    places = 0 if ends[1] >= 2.5 else 1 if ends[1] >= 0.25 else 2
    low, high = (f"{end:.{places}f}" for end in ends)
    return f"{low if low == high else f'{low} to {high}'}{SPACE}%"


def render(
    told: Mapping[str, Any],
    suspects: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    thumbnails: Mapping[str, bytes],
    path: Path,
) -> str:
    """Give the page as text.

    Args:
        told: the content of ``audit.json``.
        suspects: the most doubtful, ``SHOWN`` at most, with the columns of ``labels.csv``.
        scores: the chance to be wrong of all labels, the largest first.
        thumbnails: PNG, JPEG or SVG pictures of them by file.
        path: the folder of the audit.
    """
    pictures = {name: frame.data_uri(picture, name) for name, picture in thumbnails.items()}
    shown = [
        {**one, "picture": pictures.get(one["file"]), "said": _said(one, told["verdict"] == "wrong labels")}
        for one in suspects
        if one["score"] is not None
    ]
    expected = np.array(told["expected"])
    total = sum(told["counts"])
    share = Figure.from_dict(told["noise"])
    return frame.render(
        "audit.html.j2",
        told=told,
        title=headline(told),
        lede=_lede(told, share, total),
        first=shown[:FIRST],
        more=shown[FIRST:],
        matrix=drawing(_matrix(expected, told)),
        review=drawing(yield_of_review(scores)) if told["verdict"] == "wrong labels" else None,
        pairs=_pairs(expected, told),
        classes=_classes(expected, told),
        tiles=_tiles(told, share, total),
        test=_test(told),
        usage=_usage(told, share, path / "labels.csv"),
        environment={"sightline": sightline.__version__},
    )


def drawing(picture: Svg) -> Markup:
    """Give a drawing as markup that the template does not escape."""
    return Markup(picture.inline)


def _lede(told: Mapping[str, Any], share: Figure, total: int) -> str:
    things = told["things"]
    scored = f"Every one of {count(total)} {things} was scored by a network that had never seen it."
    if told["verdict"] == "cannot tell":
        return (
            f"{scored} They learnt too little to be witnesses: they agree with {percent(told['agreement']['value'])} "
            f"of the labels, and any share of wrong ones from {_range(share)} would look like this (95 % interval). "
            "Train longer, on larger images, or another network; the order of the list may still be of use."
        )
    if told["verdict"] == "no sign":
        return (
            f"{scored} What these networks and the labels disagree on is what networks get wrong by themselves; if up "
            f"to {percent(share.high or 0.0)} of the labels were wrong, it would look the same (95 % interval)."
        )
    low, high = (count(max(1.0, total * (end or 0.0))) for end in (share.low, share.high))
    return (
        f"{scored} They disagree with more labels than networks get wrong by themselves: {low} to {high} of the labels "
        "must be wrong to explain it (95 % interval). The list has the most doubtful first."
    )


def _said(one: Mapping[str, Any], signs: bool) -> str:
    """Say how doubtful a label is, without digits that would claim too much: ``over 99 % likely wrong``."""
    share = one["score"] if signs else one["self_confidence"]
    whole = f"{100 * min(max(share, 0.01), 0.99):.0f}{SPACE}%"
    whole = f"over {whole}" if share > 0.99 else f"under {whole}" if share < 0.01 else whole
    return f"{whole} likely wrong" if signs else f"its label got {whole}"


def _tiles(told: Mapping[str, Any], share: Figure, total: int) -> list[dict[str, str]]:
    learning = told["confident_learning"]
    return [
        {
            "name": "Wrong labels",
            "value": f"about {count(round(total * share.value))}" if share.value else "none seen",
            "interval": f"{_range(share)} of {count(total)}",
            "meaning": "best explanation of where networks and labels disagree",
        },
        {
            "name": "Agreement",
            "value": percent(told["agreement"]["value"]),
            "interval": "",
            "meaning": "labels that networks which never saw the image give, too",
        },
        {
            "name": "Confident learning",
            "value": percent(learning["noise"]),
            "interval": f"{count(learning['doubted'])} labels doubted",
            "meaning": "its estimate, which blames labels for what networks get wrong, too",
        },
        {
            "name": "Trainings",
            "value": count(told["folds"] * len(told["seeds"])),
            "interval": f"{told['folds']} folds, {counted(len(told['seeds']), 'seeds')}",
            "meaning": f"{told['network']['model']}, {told['network']['epochs']} epochs each",
        },
    ]


def _matrix(expected: np.ndarray[Any, Any], told: Mapping[str, Any]) -> Svg:
    """Draw labels against what the images look like: expected numbers, rounded."""
    numbers = np.rint(expected).astype(np.int64)
    np.fill_diagonal(numbers, np.array(told["counts"]) - numbers.sum(axis=1))
    return plots.confusion(
        numbers, told["classes"], rows="label as given", columns="looks like", key=("as given", "otherwise")
    )


def _pairs(expected: np.ndarray[Any, Any], told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the pairs of classes between which most labels look wrong."""
    order = np.argsort(-expected, axis=None)[:PAIRS]
    pairs = (divmod(int(cell), len(expected)) for cell in order)
    return [
        {
            "label": told["classes"][i],
            "looks": told["classes"][j],
            "expected": round(float(expected[i, j]), 1),
            "share": float(expected[i, j] / max(told["counts"][i], 1)),
        }
        for i, j in pairs
        if expected[i, j] >= 0.5
    ]


def _classes(expected: np.ndarray[Any, Any], told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tell how many labels of each class look wrong, the worst first."""
    sums = expected.sum(axis=1)
    rows = [
        {"name": name, "count": n, "wrong": round(float(wrong), 1), "share": float(wrong / max(n, 1))}
        for name, n, wrong in zip(told["classes"], told["counts"], sums, strict=True)
    ]
    return sorted(rows, key=lambda row: -row["share"])[:20]


def _test(told: Mapping[str, Any]) -> str:
    if not told["test"]:
        return ""
    found, share = told["test"], Figure.from_dict(told["test"]["noise"])
    said = {
        "wrong labels": f"about {_range(share)} of its labels look wrong",
        "no sign": "no sign of wrong labels",
        "cannot tell": f"anything from {_range(share)} of its labels may be wrong",
    }[found["verdict"]]
    return f"In the test part, {count(sum(found['counts']))} {told['things']}: {said}."


def _usage(told: Mapping[str, Any], share: Figure, labels: Path) -> str:
    """Give the lines to copy."""
    again = f"--drop {max(1, round(100 * share.value))}%"
    lines = ["# look at the list, change 'keep' to 'drop' or 'relabel' where you agree, then"]
    if told["source"]:
        lines.append(f"sightline train {shlex.quote(told['source'])} --corrections {shlex.quote(str(labels))}")
    else:
        lines.append(f"sightline.train((x, y), corrections={str(labels)!r})  # in Python, the same arrays")
    return "\n".join([*lines, f"# or mark the most doubtful without looking: the same audit again, with {again}"])


def yield_of_review(scores: Sequence[float]) -> Svg:
    """Draw how many wrong labels are to be found by looking at the first so many of the list.

    Args:
        scores: the chance of each label to be wrong, in the order of the list.
    """
    found = np.cumsum(scores)
    reach = int(min(len(scores), max(20, np.searchsorted(found, 0.95 * found[-1]) + 1))) if len(scores) else 1
    x, y = Scale(0, reach, 46, plots.WIDTH - 40), Scale(*around([0, float(found[reach - 1])], least=0), 214, 40)
    ticks = {tick: short(tick) for tick in x.ticks(5)}
    body = [
        axes(x, y, x_title="looked at, most doubtful first", y_title="Wrong labels among them, expected",
             x_ticks=ticks, y_ticks={tick: short(tick) for tick in y.ticks(4)}),
        tag("line", x1=x(0), y1=y(0), x2=x(min(reach, y.high)), y2=y(min(reach, y.high)), kind="mark"),
        line([(x(0), y(0)), *((x(i + 1), y(float(v))) for i, v in enumerate(found[:reach]))], "valid"),
    ]  # fmt: skip
    body.append(text(x.end + 4, y(float(found[reach - 1])) + 4, short(float(found[reach - 1])), kind="valid"))
    return Svg(
        plots.WIDTH, 256, f"Of the first {reach}, {found[reach - 1]:.0f} are expected to be wrong", "".join(body)
    )
