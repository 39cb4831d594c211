"""What each way to balance does for rare classes: the same seeds trained with each way, paired.

    python benches/imbalance.py cifar10/ --out tail.jsonl                     training classes get a long tail
    python benches/imbalance.py ecg.npz --as-is --set test_fraction=0.5       a set that is skewed itself
    python benches/imbalance.py cifar10/ --ways "none;logits,tau=1.5" --seeds 5 --ratio 50

A long tail: class k of K keeps smallest x ratio^((K - 1 - k) / (K - 1)) training images, drawn anew for each seed
(Cui et al. 2019, section 5.1); the test part is kept as it is. Each way sees as many images, however long its epochs
are. One line a training goes into --out, and trainings that stand there are not repeated. Prints, in the order given,
balanced accuracy, the recall of the rarest third of the classes, and the paired difference of balanced accuracies to
the first way with its 95 % interval (Student's t over seeds).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import sightline
from sightline.data.balance import decide
from sightline.data.images import Images
from sightline.data.pixels import pack
from sightline.flags import pairs
from sightline.progress import Progress
from told import over_seeds

QUIET = Progress(quiet=True)
WAYS = "none;weights;weights,beta=0.999;sampler;oversample;smote,space=values;smote,space=features;logits;auto"


def tail(images: Images, ratio: float, seed: int) -> Images:
    """Keep so many training images that classes get rarer and rarer, the first class the largest."""
    train = np.flatnonzero(images.splits == "train") if images.splits is not None else np.arange(len(images))
    labels = images.labels[train]
    counts = np.bincount(labels)
    keep = np.round(counts.min() * ratio ** (-np.arange(len(counts)) / (len(counts) - 1))).astype(int)
    random = np.random.default_rng(seed)
    rows = [train[random.permutation(np.flatnonzero(labels == k))[:n]] for k, n in enumerate(keep)]
    return images.select(np.sort(np.concatenate([*rows, np.setdiff1d(np.arange(len(images)), train)])))


def decoded(source: str) -> Images:
    """Decode a source once, to arrays in memory."""
    pixels = pack(sightline.load(source), None, progress=QUIET)
    rest = {"paths": None, "root": None, "array": np.asarray(pixels.array)}
    return Images(**{**vars(pixels.images), **rest})


def measure(images: Images, way: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train once and give what the test part says."""
    some = images if args.as_is else tail(images, args.ratio, seed)
    counts = some.counts("train") if some.splits is not None else some.counts()
    length = decide(way, counts, some.kind)[0].epoch_length(counts)
    began = os.times().user
    with tempfile.TemporaryDirectory() as folder:
        run = sightline.train(
            some,
            args.model,
            options=pairs(args.option, "--option"),
            epochs=max(1, round(args.images / length)),
            balance=way,
            seed=seed,
            runs=Path(folder),
            progress=QUIET,
            **pairs(args.set, "--set"),
        )
        found = json.loads(run.folder.evaluation.read_text())
        return {
            "way": way,
            "seed": seed,
            "chosen": run.settings.balance,
            "balanced_accuracy": found["balanced_accuracy"]["value"],
            "macro_f1": found["macro_f1"]["value"],
            "accuracy": found["accuracy"]["value"],
            "ece": found["ece"]["value"],
            "recalls": [each["recall"] and each["recall"]["value"] for each in found["per_class"]],
            "trained": json.loads(run.folder.data.read_text())["counts"]["train"],
            "best_epoch": run.folder.read_state()["best_epoch"],
            "epochs": len(run.history),
            "cpu_s": round(os.times().user - began, 1),
        }


def interval(values: list[float]) -> str:
    """Say a mean and its 95 % interval, in points."""
    if len(values) < 2:
        return f"{100 * values[0]:+.1f}"
    mean, low, high = over_seeds(values)
    return f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def rarest(row: dict[str, Any]) -> float:
    """Average the recalls of the rarest third of the classes."""
    order = np.argsort(row["trained"])[: max(1, len(row["trained"]) // 3)]
    known = [row["recalls"][k] for k in order if row["recalls"][k] is not None]
    return statistics.mean(known) if known else math.nan


def table(rows: list[dict[str, Any]], ways: list[str]) -> str:
    """Set the ways side by side, in Markdown."""
    first = {row["seed"]: row["balanced_accuracy"] for row in rows if row["way"] == ways[0]}
    titles = ["balance", "balanced accuracy", "points above the first (95 %)", "macro-F1", "accuracy", "rarest third"]
    lines = [f"| {' | '.join([*titles, 'n', 'CPU s'])} |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for way in ways:
        own = [row for row in rows if row["way"] == way]
        if own:
            gains = [row["balanced_accuracy"] - first[row["seed"]] for row in own if row["seed"] in first]
            mean = {
                key: statistics.mean(row[key] for row in own)
                for key in ("balanced_accuracy", "macro_f1", "accuracy", "cpu_s")
            }
            shares = (mean["macro_f1"], mean["accuracy"], statistics.mean(map(rarest, own)))
            cells = [
                f"`{way}`",
                f"{mean['balanced_accuracy']:.1%}",
                interval(gains) if gains and way != ways[0] else "",
            ]
            cells += [*(f"{share:.1%}" for share in shares), str(len(own)), f"{mean['cpu_s']:.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, default=Path("imbalance.jsonl"))
    parser.add_argument("--ways", default=WAYS, help="separated by semicolons")
    parser.add_argument("--ratio", type=float, default=100, help="largest training class over smallest")
    parser.add_argument("--as-is", action="store_true", help="take the classes as they are")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--option", action="append", default=[], help="of the network, key=value")
    parser.add_argument("--set", action="append", default=[], help="any setting, key=value")
    parser.add_argument("--images", type=int, default=180_000, help="seen in each training")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    ways = args.ways.split(";")
    known = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.is_file() else []
    images = decoded(args.source)
    for seed in range(args.seeds):
        for way in ways:
            if not any((row["way"], row["seed"]) == (way, seed) for row in known):
                known.append(measure(images, way, seed, args))
                with args.out.open("a") as file:
                    print(json.dumps(known[-1]), file=file)
    print(table(known, ways))


if __name__ == "__main__":
    main()
