"""What penalties do to weights: their length, how many are near 0, how many units are off, and the accuracy.

    python benches/penalties.py                    digits, a dense network of 64 hidden units, 5 seeds

All trainings are plain SGD with momentum 0.9 and a rate of 0.1 after a warm-up, without weight decay and augmentation.
Prints a row for each penalty: mean over seeds, and standard deviation in brackets.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import sightline
from sightline.penalties import sparsity
from sightline.progress import Progress

QUIET = Progress(quiet=True)
PENALTIES = ("none", "l1=1e-4", "l1=1e-3", "l2=1e-3", "l2=3e-3", "elastic=1e-3", "group=1e-3", "orthogonal=1e-2")


def measured(penalty: str, seed: int, epochs: int) -> tuple[float, float, float, float]:
    """Train once: length of the last weights, share near 0, share of hidden units off; test accuracy of the best."""
    with tempfile.TemporaryDirectory() as folder:
        run = sightline.train(
            "digits", "mlp", options={"hidden": 64, "depth": 1}, penalty=penalty, epochs=epochs, seed=seed,
            optimizer="sgd", lr=0.1, weight_decay=0.0, batch_size=64, schedule="constant", augment="none",
            precision="fp32", test_fraction=0.2, runs=Path(folder), progress=QUIET,
        )  # fmt: skip
        last = run.network(run.folder.last)
        found = sparsity(last.parameters())
        lengths = next(p for p in last.parameters() if p.ndim > 1).detach().norm(dim=1)
        off = float((lengths < 0.01 * lengths.max()).float().mean())
        return found.norm, found.near, off, run.evaluate(progress=QUIET).accuracy.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=15)
    args = parser.parse_args()
    print("| penalty | length | near 0 | units off | accuracy |\n|---|---|---|---|---|")
    for penalty in PENALTIES:
        columns = list(zip(*(measured(penalty, seed, args.epochs) for seed in range(args.seeds)), strict=True))
        cells = [f"{statistics.mean(columns[0]):.1f} ({statistics.stdev(columns[0]):.1f})"]
        cells += [f"{statistics.mean(c):.1%} ({100 * statistics.stdev(c):.1f})" for c in columns[1:]]
        print(f"| `{penalty}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
