"""Training steps -> their times, and one line of JSON that ``peers.py`` reads."""

from __future__ import annotations

import json
import os
import resource
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def age() -> float:
    """Give the seconds since this process started, imports included; on systems without /proc, its processor time."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return time.process_time()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


class Clock:
    """Takes the time at the end of each step.

    Args:
        batch_size: images in a step.
        warm: steps that do not count: libraries choose and build their kernels in them.
        processor: count the time that this process computes instead of the clock's, where others use the machine, too.
    """

    def __init__(self, batch_size: int, warm: int, *, processor: bool = False) -> None:
        self.now = time.process_time if processor else time.perf_counter
        self.batch_size = batch_size
        self.warm = warm
        self.times: list[float] = []
        self.first_s = 0.0

    def tick(self) -> None:
        """A step is done."""
        self.first_s = self.first_s or age()
        self.times.append(self.now())

    def watch(self, batches: Iterable[Any]) -> Watched:
        """Give the same batches; a step is done when the next batch is asked for, so nobody's loop is changed."""
        return Watched(batches, self)

    def report(self, name: str, **more: Any) -> None:
        """Print the ``RESULT`` line.

        Args:
            name: what was measured, with versions and levers.
            **more: anything else worth keeping, such as ``params``.
        """
        steps = [
            after - before for before, after in zip(self.times[self.warm :], self.times[self.warm + 1 :], strict=False)
        ]
        used = resource.getrusage(resource.RUSAGE_SELF)
        result = {
            "peer": name,
            "img_s": round(self.batch_size / statistics.mean(steps), 1),
            "med_img_s": round(self.batch_size / statistics.median(steps), 1),
            "steps": len(steps),
            "first_s": round(self.first_s, 2),
            "peak_mb": round(used.ru_maxrss / 1024),
            "user_s": round(used.ru_utime, 1),
            "sys_s": round(used.ru_stime, 1),
        }
        print("RESULT " + json.dumps(result | more), flush=True)


class Watched:
    """Batches that tell a clock when the step before them ended; otherwise as long as what they come from."""

    def __init__(self, batches: Iterable[Any], clock: Clock) -> None:
        self.batches = batches
        self.clock = clock

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self.batches):
            if number:
                self.clock.tick()
            yield batch
        self.clock.tick()
