"""Does fine-tuning beat training from scratch where labelled images are few? Paired over seeds, on other classes.

    python benches/finetune.py                           ResNet-18, digits 0-4 first, then 50 images of 5-9, 10 seeds
    python benches/finetune.py --shots 20 200 --arms old_lr=0.1 old_lr=1 freeze=features
    python benches/finetune.py --weights runs/cifar10 --source photos --image-size 48

Unless weights and source are given, one network first learns the digits 0 to 4 (all of them), and the source is the
digits 5 to 9. For each seed some images of the source are drawn; every arm trains on the same ones (a fifth of them
chooses the best epoch) and is scored on all the others. Prints one line a seed, and for each arm the mean accuracy,
what it gains on scratch, and what it gains on the first arm, each with its 95 % interval (Student's t over seeds).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import sightline
from sightline.data.pixels import pack
from sightline.progress import Progress
from told import over_seeds


def halves() -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Give the digits 0 to 4 and the digits 5 to 9: pixels uint8 (N, 8, 8), labels."""
    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return [(pixels[part], digits.target[part]) for part in (digits.target < 5, digits.target >= 5)]


def packed(source: str, size: int | None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Give all images of a source at one size: pixels uint8 (N, H, W, C), labels; its own split is not asked."""
    pixels = pack(sightline.load(source), size, progress=Progress(quiet=True))
    return np.asarray(pixels.array), pixels.images.labels


def settings_of(arm: str) -> dict[str, Any]:
    """Read ``old_lr=0.1,freeze=features``; ``scratch`` is nothing."""
    pairs = [] if arm == "scratch" else [pair.split("=") for pair in arm.split(",")]
    return {name: value if name in ("freeze", "optimizer", "schedule") else json.loads(value) for name, value in pairs}


def gain(values: list[float], others: list[float]) -> str:
    """Say by how much one list is above another, pair by pair."""
    gaps = [one - other for one, other in zip(values, others, strict=True)]
    mean, low, high = over_seeds(gaps)
    return f"{mean:+.1%} ({low:+.1%} to {high:+.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--first-epochs", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=None, help="of both; else what Sightline chooses")
    parser.add_argument("--shots", type=int, nargs="+", default=[50])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--from-seed", type=int, default=0)
    parser.add_argument("--arms", nargs="+", default=["old_lr=0.1"])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--weights", help="a run folder")
    parser.add_argument("--source", help="other images, with --weights")
    parser.add_argument("--image-size", type=int, default=None)
    args = parser.parse_args()
    (x_first, y_first), (x, y) = halves()
    if args.source:
        x, y = packed(args.source, args.image_size)
    common: dict[str, Any] = {"options": {"width": args.width}, "precision": args.precision}
    with tempfile.TemporaryDirectory() as folder:
        quiet = Progress(quiet=True)
        weights = Path(args.weights) if args.weights else None
        if weights is None:
            first, runs = (x_first, y_first), Path(folder)
            run = sightline.train(first, args.model, epochs=args.first_epochs, runs=runs, progress=quiet, **common)
            print(f"{args.model}, width {args.width:g}, on the digits 0-4: {run.headline}", flush=True)
            weights = run.path
        for shots in args.shots:
            arms = ["scratch", *args.arms]
            scores: dict[str, list[float]] = {arm: [] for arm in arms}
            seconds = dict.fromkeys(arms, 0.0)
            for seed in range(args.from_seed, args.from_seed + args.seeds):
                order = np.random.default_rng(seed).permutation(len(x))
                few, rest = order[:shots], order[shots:]
                for arm in arms:
                    began = time.process_time()
                    model = sightline.ImageClassifier(
                        args.model,
                        weights=None if arm == "scratch" else weights,
                        valid_fraction=0.2,
                        epochs=args.epochs,
                        random_state=seed,
                        **{**common, **settings_of(arm)},
                    )
                    scores[arm].append(float(model.fit(x[few], y[few]).score(x[rest], y[rest])))
                    seconds[arm] += time.process_time() - began
                print(f"  seed {seed}: " + "  ".join(f"{arm} {scores[arm][-1]:.1%}" for arm in arms), flush=True)
            what = args.source or "the digits 5-9"
            print(f"{shots} images of {what}, {len(x) - shots} to score on, n = {args.seeds} seeds:")
            for arm in arms:
                mean, spread = statistics.mean(scores[arm]), statistics.stdev(scores[arm])
                told = "" if arm == "scratch" else f"  on scratch {gain(scores[arm], scores['scratch'])}"
                told += "" if arm in arms[:2] else f"  on {arms[1]} {gain(scores[arm], scores[arms[1]])}"
                per = seconds[arm] / args.seeds
                print(f"  {arm:28} {mean:.1%} (spread {spread:.1%}){told}  {per:.1f} s of processor each", flush=True)


if __name__ == "__main__":
    main()
