"""Does the fast path (bf16, channels_last) reach the accuracy of plain fp32? The same seeds trained both ways, paired.

    python benches/accuracy.py                               digits, the zoo's cnn, 10 seeds
    python benches/accuracy.py --source photos --model resnet18 --seeds 5

Prints one line a seed and the mean difference in test accuracy with its 95 % interval (Student's t over seeds).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import sightline
from sightline.progress import Progress
from told import over_seeds


def accuracy(source: str, model: str, epochs: int, seed: int, precision: str) -> float:
    """Train once and give the share of test images recognised."""
    with tempfile.TemporaryDirectory() as folder:
        run = sightline.train(
            source,
            model,
            epochs=epochs,
            seed=seed,
            precision=precision,
            test_fraction=0.3,
            runs=Path(folder),
            progress=Progress(quiet=True),
        )
        return run.evaluate(progress=Progress(quiet=True)).accuracy.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="digits")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    gaps = []
    for seed in range(args.seeds):
        plain = accuracy(args.source, args.model, args.epochs, seed, "fp32")
        fast = accuracy(args.source, args.model, args.epochs, seed, "bf16")
        gaps.append(fast - plain)
        print(f"seed {seed}: fp32 {plain:.2%}  bf16 {fast:.2%}  difference {fast - plain:+.2%}", flush=True)
    mean, low, high = over_seeds(gaps)
    print(f"bf16 - fp32: {mean:+.2%} (95 % interval {low:+.2%} to {high:+.2%}), n = {len(gaps)} seeds")


if __name__ == "__main__":
    main()
