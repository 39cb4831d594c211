"""A comparison as plain values (``comparison.json``) -> its sentences, and its tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sightline.diagnosis.experiment import MEASURES, Measure
from sightline.reports.words import decimal, duration, percent

if TYPE_CHECKING:
    from rich.console import RenderableType

MINUS = "\N{MINUS SIGN}"
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


def interval(found: Mapping[str, Any], measure: Measure) -> str:
    """Write a difference's interval: ``+0.4 to +2.2 points``."""
    if found["low"] is None:
        return "no interval from one seed"
    return f"{change(found['low'], measure, unit=False)} to {change(found['high'], measure)}"


def headline(told: Mapping[str, Any]) -> str:
    """Say which differences are real, in one sentence."""
    measure, found = MEASURES[told["decides"]], told["differences"].get(told["decides"], [])
    real = [one for one in found if one["word"] == "real"]
    if not found:
        return "Nothing can be compared yet."
    if real:
        return f"{_joined(_claim(one, measure) for one in real)}."
    if all(one["seeds"] == 1 for one in found):
        return f"One seed each: no difference in {measure.title} can be told from luck."
    small = sum(one["word"] == "too small to matter" for one in found)
    if small == len(found):
        return f"No difference in {measure.title} matters."
    return f"No difference in {measure.title} is real: all may be luck{' or are too small to matter' if small else ''}."


def _claim(one: Mapping[str, Any], measure: Measure) -> str:
    size = change(one["value"], measure).lstrip("+" + MINUS)
    if measure.kind == "time":
        return f"{one['arm']} takes {size} the time of {one['against']}"
    more = "more" if one["value"] > 0 else "less"
    better = "better" if one["better"] else "worse"
    return f"{one['arm']} is {better} than {one['against']} ({size} {more})"


def _joined(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def caveats(told: Mapping[str, Any]) -> list[str]:
    """Say what limits the conclusions: seeds, what was left out, what is not finished."""
    found = told["differences"].get(told["decides"], [])
    said = []
    if len(found) > 1:
        said.append(f"The {len(found)} intervals hold together with 95 % (Bonferroni).")
    if found and min(one["seeds"] for one in found) == 1:
        said.append("With one seed each, the intervals are about these trainings and say nothing about other seeds.")
    unfinished = [(arm, run) for arm in told["arms"] for run in arm["runs"] if run["status"] != "finished"]
    for arm, run in unfinished:
        said.append(f"{arm['label']}, seed {run['seed']}, takes no part: {run['status']} ({run['reason']}).")
    if told["stopped"]:
        said.append(f"Not all is trained ({told['stopped']}); the same command goes on.")
    return said


def table(told: Mapping[str, Any]) -> RenderableType:
    """Show the arms with their figures, then the differences in the deciding figure, then the sentences."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = [name for name in MEASURES if any(name in arm["figures"] for arm in told["arms"])]
    arms = Table(title=f"means over {len(told['seeds'])} seeds", title_justify="left", box=None, pad_edge=False)
    arms.add_column("arm", no_wrap=True)
    for name in shown:
        arms.add_column(MEASURES[name].title, justify="right")
    for arm in told["arms"]:
        cells = [arm["figures"].get(name) for name in shown]
        arms.add_row(
            arm["label"],
            *("-" if c is None else figure(c["value"], MEASURES[n]) for n, c in zip(shown, cells, strict=True)),
        )
    measure = MEASURES[told["decides"]]
    pairs = Table(title=f"difference in {measure.title}", title_justify="left", box=None, pad_edge=False)
    for title in ("arm", "against", "difference", "interval", "seeds", "which is"):
        pairs.add_column(title, justify="right" if title in ("difference", "seeds") else "left", no_wrap=True)
    for one in told["differences"].get(told["decides"], []):
        word = Text(one["word"] + (f" (about {one['wanted']} seeds would tell)" if one["wanted"] else ""))
        word.stylize(STYLES[one["word"]])
        pairs.add_row(
            one["arm"], one["against"], change(one["value"], measure), interval(one, measure), str(one["seeds"]), word
        )
    return Group(arms, "", pairs, "", Text(headline(told), "bold"), *(Text(line) for line in caveats(told)))
