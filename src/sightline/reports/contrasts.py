"""A comparison as plain values (``comparison.json``) -> its sentences, and its tables for the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sightline.diagnosis.experiment import MEASURES, Measure
from sightline.reports.words import decimal, duration, percent

if TYPE_CHECKING:
    from rich.console import RenderableType

MINUS = "\N{MINUS SIGN}"
SHORT = {
    "test_accuracy": "test acc.",
    "valid_accuracy": "valid acc.",
    "valid_loss": "valid loss",
    "train_error": "train error",
    "train_seconds": "time",
}
"""Measures of the terminal's table, and what it calls them."""

STYLES = {"real": "bold green", "may be luck": "dim", "too small to matter": "dim"}


def figure(value: float, measure: Measure) -> str:
    """Write a figure: ``91.2 %``, ``0.312``, ``3 min 05 s``."""
    if measure.kind == "share":
        return percent(value)
    return decimal(value) if measure.kind == "loss" else duration(value)


def change(value: float, measure: Measure, *, unit: bool = True) -> str:
    """Write a difference: ``+1.3 points``, ``−0.021``, ``1.32 times``."""
    if measure.kind == "time":
        return f"{math.exp(value):.2f}{' times' if unit else ''}"
    points = 100 * value if measure.kind == "share" else value
    places = 3 if measure.kind == "loss" else 2 if abs(points) < 0.1 else 1
    sign = "+" if points > 0 else MINUS if points < 0 else "±"
    return f"{sign}{abs(points):.{places}f}{' points' if unit and measure.kind == 'share' else ''}"


def interval(found: Mapping[str, Any], measure: Measure, *, unit: bool = True) -> str:
    """Write a difference's interval: ``+0.4 to +2.2 points``."""
    if found["low"] is None:
        return "no interval"
    return f"{change(found['low'], measure, unit=False)} to {change(found['high'], measure, unit=unit)}"


def headline(told: Mapping[str, Any]) -> str:
    """Say which differences are real, in one sentence."""
    measure, found = MEASURES[told["decides"]], told["differences"].get(told["decides"], [])
    real = [one for one in found if one["word"] == "real"]
    if not found:
        return "Nothing can be compared yet."
    if real:
        return f"{'; '.join(_claims(real, measure))}."
    if all(one["seeds"] == 1 for one in found):
        return f"One seed each: no difference in {measure.title} can be told from luck."
    small = sum(one["word"] == "too small to matter" for one in found)
    if small == len(found):
        return f"No difference in {measure.title} matters."
    return f"No difference in {measure.title} is real: all may be luck{' or are too small to matter' if small else ''}."


def _claims(real: Sequence[Mapping[str, Any]], measure: Measure) -> list[str]:
    """Say who is better or worse than whom, in as few clauses as there are arms that stand out."""
    sizes = {}
    for one in real:
        better, worse = (one["arm"], one["against"]) if one["better"] else (one["against"], one["arm"])
        sizes[better, worse] = one["value"]
    clauses = []
    while sizes:
        heads = Counter([(better, True) for better, _ in sizes] + [(worse, False) for _, worse in sizes])
        (arm, wins), _ = max(heads.items(), key=lambda item: (item[1], item[0][0] in {one["arm"] for one in real}))
        mine = {pair: size for pair, size in sizes.items() if pair[0 if wins else 1] == arm}
        others = _joined(pair[1 if wins else 0] for pair in mine)
        spread = sorted({change(abs(size), measure, unit=False).lstrip("+") for size in mine.values()}, key=float)
        unit = {"share": " points", "loss": " nats", "time": " times"}[measure.kind]
        clauses.append(f"{arm} is {'better' if wins else 'worse'} than {others} ({_range(spread)}{unit})")
        sizes = {pair: size for pair, size in sizes.items() if pair not in mine}
    return clauses


def _range(spread: Sequence[str]) -> str:
    return spread[0] if len(spread) == 1 else f"{spread[0]} to {spread[-1]}"


def _joined(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def caveats(told: Mapping[str, Any]) -> list[str]:
    """Say what limits the conclusions: several comparisons, one seed."""
    found = told["differences"].get(told["decides"], [])
    said = []
    if len(found) > 1:
        said.append(f"The {len(found)} intervals hold together with 95 % (Bonferroni).")
    for one in found:
        if one["apart"]:
            said.append(f"{one['arm']} and {one['against']} were scored on different images: that widens it.")
    if found and min(one["seeds"] for one in found) == 1:
        said.append("With one seed each, the intervals are about these trainings and say nothing about other seeds.")
    return said


def left_out(told: Mapping[str, Any]) -> list[str]:
    """Say which runs take no part and why, and that the rest can follow."""
    said = [
        f"{arm['label']}, seed {run['seed']}, takes no part: {run['status']} ({run['reason']})."
        for arm in told["arms"]
        for run in arm["runs"]
        if run["status"] != "finished"
    ]
    return [*said, f"Not all is trained ({told['stopped']}); the same command goes on."] if told["stopped"] else said


def table(told: Mapping[str, Any]) -> RenderableType:
    """Show the arms with their figures, then the differences in the deciding figure, then the sentences."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = [n for n in SHORT if any(n in arm["figures"] for arm in told["arms"])]
    arms = Table(title=f"means over {len(told['seeds'])} seeds", title_justify="left", box=None, pad_edge=False)
    arms.add_column("arm", overflow="fold")
    for name in shown:
        arms.add_column(SHORT[name], justify="right")
    for arm in told["arms"] if shown else ():
        cells = [arm["figures"].get(name) for name in shown]
        said = ["-" if c is None else figure(c["value"], MEASURES[n]) for n, c in zip(shown, cells, strict=True)]
        arms.add_row(arm["label"], *said)
    measure, found = MEASURES[told["decides"]], told["differences"].get(told["decides"], [])
    to = {one["against"] for one in found}
    title = f"difference in {measure.title}" + (f", against {to.copy().pop()}" if len(to) == 1 else "")
    pairs = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("arm", *(["against"] if len(to) > 1 else []), "difference", "interval", "which is"):
        pairs.add_column(column, justify="right" if column in ("difference", "interval") else "left", overflow="fold")
    for one in found:
        word = Text(one["word"], STYLES[one["word"]])
        if one["wanted"]:
            word.append(f", {one['wanted']} seeds would tell", "dim")
        names = (one["arm"], *([one["against"]] if len(to) > 1 else []))
        pairs.add_row(*names, change(one["value"], measure), interval(one, measure, unit=False), word)
    parts: list[RenderableType] = []
    for each, known in ((arms, shown), (pairs, found)):
        if known:
            parts += [each, ""]
    parts += [Text(headline(told), "bold")]
    parts += [Text(line) for line in (*caveats(told), *left_out(told))]
    return Group(*parts)
