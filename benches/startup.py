"""Cold processes -> seconds until Sightline can be used: the import, the help, the first step of a training.

Run it: ``python benches/startup.py --repeats 15``. Each figure is a fresh process; commands run in turn.
"""

from __future__ import annotations

import argparse
import compileall
import resource
import statistics
import subprocess
import sys
import time

import sightline
from told import tell_ratio

FIRST_STEP = """
import os, sys, tempfile
from sightline.cli import main
from sightline.commands.arguments import importing
with importing():  # as the command does it
    from sightline.training.precision import Precision
    from sightline.training.trainer import Trainer

begun, step = [], Precision.step
def trainbatches(self, go=Trainer.trainbatches):
    begun.append(True)
    return go(self)
def ended(self, *given, **more):
    norm = step(self, *given, **more)
    if begun:
        os._exit(0)
    return norm
Trainer.trainbatches, Precision.step = trainbatches, ended
sys.argv = ["sightline", "train", "digits", "--runs", tempfile.mkdtemp(), "-q"]
main()
"""
"""A training as the command begins it, which ends behind its first step."""

COMMANDS = {
    "python, nothing imported": ["-c", "pass"],
    "import sightline": ["-c", "import sightline"],
    "sightline --help": ["-m", "sightline", "--help"],
    "import torch": ["-c", "import torch"],
    "sightline train digits, first step": ["-c", FIRST_STEP],
}


def main() -> None:
    """Print median and range of each command, in milliseconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--processor", action="store_true", help="count processor time, where others use the machine")
    arguments = parser.parse_args()
    repeats = arguments.repeats
    for place in sightline.__path__:  # as installing does; else each process would compile our modules anew
        compileall.compile_dir(place, quiet=1)
    clock = processor_time if arguments.processor else time.perf_counter
    seen: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(repeats + 1):
        for name, command in COMMANDS.items():
            started = clock()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            if number:  # the first round fills the disk cache
                seen[name].append(1000 * (clock() - started))
    print(f"| command | ms, median (range), n = {repeats} |\n|---|---|")
    for name, values in seen.items():
        print(f"| {name} | {statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f}) |")
    plain = seen["python, nothing imported"]
    for name in ("import sightline", "sightline --help"):
        tell_ratio("cold process", "python", name, [bare / own for bare, own in zip(plain, seen[name], strict=True)])
    print(f"\nOf `import sightline`, Python says it takes {imports():.1f} ms itself (-X importtime).")


def processor_time() -> float:
    """Give the seconds that the processes started here have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def imports() -> float:
    """Give the milliseconds that ``-X importtime`` counts for sightline and all it imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import sightline"], capture_output=True, text=True, check=True
    )
    line = next(line for line in done.stderr.splitlines() if line.split("|")[-1].strip() == "sightline")
    return int(line.split("|")[1]) / 1000


if __name__ == "__main__":
    main()
