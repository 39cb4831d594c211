"""A file of commands -> who is faster, by how much, how sure: the commands run in turn, in many rounds.

Timings of two programs made an hour apart say little: a machine can fall to a third of its speed for minutes. So the
commands run interleaved (A B C, A B C, ...), the machine is probed before and after each, measurements in a slow spell
or beside other programs are left out, and a ratio is taken within a round, where both met the same machine.

    python benches/peers.py run commands.toml results.jsonl --rounds 7
    python benches/peers.py show results.jsonl

The commands file names each command; the first is the one the others are compared with::

    sightline = "python benches/cnn.py trainer --steps 60"
    hand = "python benches/cnn.py hand --steps 60"

A command prints a line ``RESULT {json}`` with ``med_img_s`` (images a second in the median step) and, if it can,
``first_s`` (seconds from start to the end of the first step) and ``peak_mb`` (largest memory).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from machine import busy, cores, describe, probe, wait_until_idle

SLOW = 0.6
"""A measurement counts if the probes around it reached this share of the machine's good speed. Probes of an idle
machine differ by a quarter; a slow spell takes two thirds."""

OTHERS = 0.05
"""A measurement counts if other programs used no more than this share of the processors meanwhile."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(required=True, dest="command")
    running = commands.add_parser("run", help="measure, and append to a file of results")
    running.add_argument("commands", type=Path, help="TOML: name = command line")
    running.add_argument("results", type=Path, help="JSON lines, appended to")
    running.add_argument("--rounds", type=int, default=5)
    running.add_argument("--limit", type=float, default=300.0, help="seconds after which a command is ended")
    showing = commands.add_parser("show", help="medians, spread and ratios of a file of results")
    showing.add_argument("results", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.commands, arguments.results, rounds=arguments.rounds, limit=arguments.limit)
    print(table(read(arguments.results)))


def run(commands: Path, results: Path, *, rounds: int, limit: float) -> None:
    """Run every command once a round and append one line per measurement to ``results``."""
    named: dict[str, str] = tomllib.loads(commands.read_text(encoding="utf-8"))
    session = time.strftime("%Y-%m-%dT%H:%M:%S")
    machine = describe()
    for number in range(rounds):
        for name, command in named.items():
            wait_until_idle()
            before = probe()
            started, used = time.perf_counter(), busy() - own()
            result, output = measure(command, limit)
            seconds = time.perf_counter() - started
            others = (busy() - own() - used) / (seconds * cores())
            after = probe()
            row = {"session": session, "round": number, "name": name, "command": command, "result": result}
            row |= {"wall_s": round(seconds, 1), "probes": [before, after], "others": others, "machine": machine}
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            told = result or f"failed: {output[-800:]}"
            print(f"round {number + 1} of {rounds}, {name}, others {others:.0%}: {told}", file=sys.stderr, flush=True)


def own() -> float:
    """Give the processor seconds of this process and of all commands it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(command: str, limit: float) -> tuple[dict[str, Any] | None, str]:
    """Run a command in a group of processes of its own; give its ``RESULT`` (None if it failed) and its output."""
    process = subprocess.Popen(
        command,
        shell=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\nended after {limit} s"
    lines = [line for line in output.splitlines() if "RESULT {" in line]
    if not lines:
        return None, output
    result: dict[str, Any] = json.loads(lines[-1][lines[-1].index("RESULT ") + len("RESULT ") :])
    return result, output


def read(results: Path) -> list[dict[str, Any]]:
    """Read the measurements and mark each with ``counts``: it succeeded, alone, on the machine at its good speed.

    The good speed is the 90th percentile of all probes of that session, so that a session with many slow spells is
    judged by its fast ones.
    """
    rows: list[dict[str, Any]] = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    for session in {row["session"] for row in rows}:
        mine = [row for row in rows if row["session"] == session]
        for kind in ("fp32", "bf16"):
            seen = sorted(probes[kind] for row in mine for probes in row["probes"])
            good = seen[int(0.9 * (len(seen) - 1))]
            for row in mine:
                fast = all(probes[kind] >= SLOW * good for probes in row["probes"])
                alone = not row["others"] > OTHERS  # NaN, where nobody knows, counts
                row["counts"] = row.get("counts", True) and fast and alone and row["result"] is not None
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Render a Markdown table: per command median and range, and its paired ratio to the first command."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    speed = {(row["session"], row["round"], row["name"]): row["result"]["med_img_s"] for row in rows if row["counts"]}
    titles = ["command", "images/s, median (range)", "n", f"{names[0]} is faster by, median (range)", "n"]
    titles += ["first step, s", "MB"]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for name in names:
        mine = [row for row in rows if row["name"] == name]
        good = [row["result"] for row in mine if row["counts"]]
        pairs = [
            speed[session, number, names[0]] / value
            for (session, number, other), value in speed.items()
            if other == name and (session, number, names[0]) in speed
        ]
        cells = [
            name,
            spread([result["med_img_s"] for result in good], 1),
            f"{len(good)} of {len(mine)}",
            spread(pairs, 2),
            str(len(pairs)),
            middle([result["first_s"] for result in good if "first_s" in result], 1),
            middle([result["peak_mb"] for result in good if "peak_mb" in result], 0),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def middle(values: list[float], digits: int) -> str:
    """Give the median, or a dash for nothing."""
    return f"{statistics.median(values):.{digits}f}" if values else "-"


def spread(values: list[float], digits: int) -> str:
    """Give median and range: ``"936.0 (901.2-950.3)"``."""
    return f"{middle(values, digits)} ({min(values):.{digits}f}-{max(values):.{digits}f})" if values else "-"


if __name__ == "__main__":
    main()
