"""Is the vote of the hackathon recipe at least as good as its best member? Several seeds, each with a split of its own.

    python benches/hackathon.py signals.npz                    5 seeds, half of the examples held out
    python benches/hackathon.py signals.npz --runs kept        keeps the runs, and goes on where it was stopped

Prints a line a seed: macro-F1 of members and vote on the held-out half, which the member is that the validation part
chose, seconds on the clock and of the processor. Then means over seeds, and the vote's gain over the member with the
best mean, over the member chosen on validation, and over the mean of the members, with 95 % intervals (Student's t).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import sightline
from sightline.progress import Progress
from told import over_seeds


def one(source: Path, recipe: str, seed: int, runs: Path, test: float) -> dict[str, object]:
    """Train the recipe once; give what its members and its vote reach."""
    begun, used = time.perf_counter(), time.process_time()
    ensemble = sightline.train_ensemble(
        source,
        recipe,
        seed=seed,
        test_fraction=test,
        runs=runs,
        name=f"seed{seed}",
        device="cpu",
        progress=Progress(quiet=True),
    )
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    standing = ensemble.judge(progress=Progress(quiet=True)).standing
    held = ensemble.members[0].run.data(progress=Progress(quiet=True))
    return {
        "members": {seat.name: seat.macro_f1.value for seat in standing.members},
        "vote": standing.whole.macro_f1.value,
        "accuracy": standing.whole.accuracy.value,
        "chosen": standing.members[standing.reference].name,
        "count": standing.count,
        "train": np.bincount(held.labels[held.split.train]).tolist(),
        "test": np.bincount(held.labels[held.split.test]).tolist(),
        "seconds": seconds,
        "cpu": cpu,
    }


def spread(values: list[float]) -> str:
    """Write a mean in points with its interval over seeds."""
    if len(values) < 2:
        return f"{100 * values[0]:+.2f} points"
    mean, low, high = over_seeds(values)
    return f"{100 * mean:+.2f} points (95 % interval {100 * low:+.2f} to {100 * high:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--recipe", default="hackathon")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--from-seed", type=int, default=0)
    parser.add_argument("--test", type=float, default=0.5)
    parser.add_argument("--runs", type=Path)
    args = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.from_seed, args.from_seed + args.seeds):
            done = one(args.source, args.recipe, seed, args.runs or Path(folder), args.test)
            found.append(done)
            members = ", ".join(f"{name} {value:.3f}" for name, value in done["members"].items())
            print(
                f"seed {seed}: vote {done['vote']:.3f} (accuracy {done['accuracy']:.3f}); {members}; "
                f"validation chose {done['chosen']}; {done['seconds']:.0f} s, {done['cpu']:.0f} s of the processor; "
                f"trained on {done['train']}, tested on {done['test']}",
                flush=True,
            )
    names = list(found[0]["members"])
    means = {name: statistics.mean(one["members"][name] for one in found) for name in names}
    best = max(means, key=means.__getitem__)
    print(f"mean macro-F1 of the vote: {statistics.mean(one['vote'] for one in found):.3f}, n = {len(found)} seeds")
    for name, mean in means.items():
        print(f"mean macro-F1 of {name}: {mean:.3f}")
    against = {
        f"the member with the best mean ({best})": [one["vote"] - one["members"][best] for one in found],
        "the member chosen on validation": [one["vote"] - one["members"][one["chosen"]] for one in found],
        "the mean of the members": [one["vote"] - statistics.mean(one["members"].values()) for one in found],
        "whichever member is best on the test part": [one["vote"] - max(one["members"].values()) for one in found],
    }
    for name, gains in against.items():
        print(f"the vote's gain over {name}: {spread(gains)}; at least as good in {sum(g >= 0 for g in gains)}")


if __name__ == "__main__":
    main()
