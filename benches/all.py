"""Every speed bench in turn -> their tables, a line of results for each, and what has become slower.

    make bench                                     all of them: about half an hour on two idle cores
    make bench-check                               the short ones, and whether a ratio fell by more than its spread
    python benches/all.py run predict step         some of them
    python benches/all.py store predict            take today's ratios as those to hold against; others stay

A bench prints a table for people, and a line ``RATIO {json}`` for each ratio that is watched: how many times as fast
one way is as another, both measured in turns within the run, lowest, median and highest. Ratios travel from machine
to machine better than seconds do, but a GPU has its own: what is stored says of which device it is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import sightline
from machine import describe, probe

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
STORED = HERE / "stored.json"

BENCHES: dict[str, str] = {
    "startup": "startup.py --repeats 7",
    "step": "step.py --rounds 6 --steps 10",
    "stream": "stream.py --rounds 15 --cpu",
    "predict": "predict.py --rounds 9",
    "pack": "pack.py --rounds 5",
    "epoch": "epochs.py small --rounds 3",
    "photos": "epochs.py photos --rounds 3",
    "memory": "memory.py train --rounds 3",
    "store": "memory.py store --gigabytes 4",
    "scaling": "scaling.py --rounds 3",
}
"""Name -> file and arguments, the quickest first."""

LONG = ("scaling", "store")
"""Those that ``check`` leaves out unless they are named."""


def main() -> None:
    """Read the command line; exit code 1 if a bench failed or a ratio fell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("run", "check", "store"))
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"some of: {', '.join(BENCHES)}")
    arguments = parser.parse_args()
    unknown = set(arguments.benches) - set(BENCHES)
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}; there are: {', '.join(BENCHES)}")
    names = arguments.benches or [name for name in BENCHES if arguments.what != "check" or name not in LONG]
    stored = json.loads(STORED.read_text()) if STORED.is_file() else {}
    faults = []
    for name in names:
        found = measured(name)
        if found is None:
            faults.append(f"{name}: it failed")
            continue
        device = "gpu" if found["machine"]["gpu"] else "cpu"
        if arguments.what == "check":
            faults += fallen(name, found["ratios"], stored.get(device, {}).get(name, {}))
        if arguments.what == "store":
            own = {key(ratio): ratio["ratio"] for ratio in found["ratios"]}
            stored.setdefault(device, {}).setdefault(name, {}).update(own)
            STORED.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
    for fault in faults:
        print(f"FELL {fault}")
    if arguments.what == "check" and not faults:
        print("nothing fell by more than its spread")
    sys.exit(bool(faults))


def measured(name: str) -> dict[str, Any] | None:
    """Run a bench, show what it prints, append its ratios to the results, and give them; None if it failed."""
    file, *arguments = BENCHES[name].split()
    print(f"\n== {name}: python benches/{BENCHES[name]}", flush=True)
    before, began = probe(), time.time()
    done = subprocess.run(
        [sys.executable, str(HERE / file), *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    lines = done.stdout.splitlines()
    print("\n".join(line for line in lines if not line.startswith("RATIO ")), flush=True)
    if done.returncode:
        return None
    found = {
        "bench": name,
        "command": BENCHES[name],
        "day": time.strftime("%Y-%m-%d"),
        "seconds": round(time.time() - began, 1),
        "machine": describe(),
        "sightline": sightline.__version__,
        "gflops": {"before": before, "after": probe()},
        "ratios": [json.loads(line.removeprefix("RATIO ")) for line in lines if line.startswith("RATIO ")],
    }
    with RESULTS.open("a") as results:
        results.write(json.dumps(found) + "\n")
    return found


def key(ratio: dict[str, Any]) -> str:
    """Name a ratio."""
    return f"{ratio['case']}: {ratio['way']} / {ratio['against']}"


def fallen(bench: str, ratios: list[dict[str, Any]], stored: dict[str, list[float]]) -> list[str]:
    """Name the ratios that fell by more than their spread.

    The new median is below all that was seen when it was stored, and all that is seen now is below the stored median.
    Ratios of which nothing is stored are left out.
    """
    told = []
    for ratio in ratios:
        if key(ratio) in stored:
            (low, middle, _), (_, now, high) = stored[key(ratio)], ratio["ratio"]
            if now < low and high < middle:
                told.append(f"{bench}, {key(ratio)}: {now:.2f}, was {middle:.2f} (from {low:.2f})")
    return told


if __name__ == "__main__":
    main()
