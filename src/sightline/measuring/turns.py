"""Ways to do the same work -> how much faster each is than the first, measured in turns within one process.

A machine can fall to a third of its speed for minutes, and other programs come and go. So the ways take turns, and a
ratio is taken within a round, where both met the same machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Way = Callable[[], int]
"""Does some work, to its end (waits for a GPU), and says how many things it did: images, say."""


@dataclass(frozen=True)
class Pace:
    """How fast one way is.

    Attributes:
        name: of the way.
        per_s: things a second, one number for each round.
        ratios: how many times as fast as the first way, one number for each round.
    """

    name: str
    per_s: tuple[float, ...]
    ratios: tuple[float, ...]

    @property
    def median(self) -> float:
        """Things a second in the median round."""
        return statistics.median(self.per_s)

    @property
    def ratio(self) -> tuple[float, float, float]:
        """How many times as fast as the first way: lowest, median, highest."""
        return min(self.ratios), statistics.median(self.ratios), max(self.ratios)

    def as_dict(self) -> dict[str, Any]:
        """Give plain values."""
        low, middle, high = (round(value, 3) for value in self.ratio)
        return {"way": self.name, "per_s": round(self.median, 1), "ratio": [low, middle, high], "n": len(self.ratios)}

    @property
    def sentence(self) -> str:
        """Say it in a line: ``bf16: 97 a second, 2.10 times as fast (1.90 to 2.30, n=5)``."""
        low, middle, high = self.ratio
        times = f", {middle:.2f} times as fast ({low:.2f} to {high:.2f}, n={len(self.ratios)})"
        told = "" if low == high == 1 else times
        return f"{self.name}: {self.median:,.{0 if self.median >= 100 else 1}f} a second{told}"


def in_turns(
    ways: Mapping[str, Way],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    round_done: Callable[[], object] = lambda: None,
) -> list[Pace]:
    """Let ways take turns; who begins changes from round to round. A first round warms up and is not counted.

    Args:
        ways: the first is the one that the others are compared with.
        rounds: counted ones, at least 1.
        clock: gives seconds.
        round_done: called after each round, for a progress bar.
    """
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            began = clock()
            done = ways[name]()
            if number:
                speeds[name].append(done / max(clock() - began, 1e-9))
        round_done()
    first = next(iter(speeds.values()))
    return [
        Pace(name, tuple(own), tuple(mine / theirs for mine, theirs in zip(own, first, strict=True)))
        for name, own in speeds.items()
    ]
