"""Paces measured in turns, differences over seeds -> figures for people, and lines of JSON that ``all.py`` collects."""

from __future__ import annotations

import json

from sightline.diagnosis import experiment
from sightline.diagnosis.experiment import Score
from sightline.measuring.turns import Pace


def over_seeds(values: list[float]) -> tuple[float, float, float]:
    """Give the mean of one value a seed, two or more, and the ends of its 95 % interval, Student's."""
    mean, low, high = experiment.spread([Score(value) for value in values])
    assert low is not None
    assert high is not None
    return mean, low, high


def tell(case: str, paces: list[Pace], *, guarded: bool = True) -> None:
    """Print a case's table, and a ``RATIO`` line for every way but the first, which the others are compared with.

    Args:
        case: what was done, such as ``batch 32``.
        paces: as ``in_turns`` gives them; higher is better.
        guarded: whether ``all.py check`` watches these ratios.
    """
    print(f"\n{case}: things a second (median), and times as fast as '{paces[0].name}' (range)")
    for pace in paces:
        low, middle, high = pace.ratio
        print(f"  {pace.name:36} {pace.median:12,.1f} {middle:8.2f} ({low:.2f} to {high:.2f}, n={len(pace.ratios)})")
    for pace in paces[1:] if guarded else ():
        print("RATIO " + json.dumps({"case": case, "against": paces[0].name, **pace.as_dict()}), flush=True)


def tell_ratio(case: str, way: str, against: str, ratios: list[float]) -> None:
    """Print a ``RATIO`` line for ratios that were measured otherwise, one number for each round."""
    ordered = sorted(ratios)
    low, middle, high = (round(value, 3) for value in (ordered[0], ordered[len(ordered) // 2], ordered[-1]))
    print(f"{case}: {way} / {against}: {middle:.3f} ({low:.3f} to {high:.3f}, n={len(ordered)})")
    line = {"case": case, "against": against, "way": way, "ratio": [low, middle, high], "n": len(ordered)}
    print("RATIO " + json.dumps(line), flush=True)
