"""What each way to balance does for rare classes: the same seeds trained with each, paired, scored on even classes.

    python benches/imbalance.py cifar10/ --out out.jsonl      a folder or .npz with training and test parts
    python benches/imbalance.py cifar10/ --ways none,auto --seeds 5 --ratio 50

Training classes get a long tail: class k of K keeps largest x ratio^(-k / (K - 1)) of its images, drawn anew for each
seed (Cui et al. 2019, section 5.1); the test part is kept as it is. One line a training goes into --out, and trainings
that stand there are not repeated. Prints balanced accuracy, the recall of the rarest third of the classes, and the
paired difference to the first way with its 95 % interval (Student's t over seeds).
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
from numpy.typing import NDArray
from scipy.stats import t

import sightline
from sightline.data.balance import decide
from sightline.data.pixels import pack
from sightline.flags import pairs
from sightline.progress import Progress

QUIET = Progress(quiet=True)


def parts(source: str) -> dict[str, tuple[NDArray[Any], NDArray[np.int64]]]:
    """Decode a source once: pixels and labels of its training and its test part."""
    images = sightline.load(source)
    if images.splits is None or not {"train", "test"} <= set(images.splits):
        raise SystemExit(f"'{source}' has no training and test part.")
    pixels = pack(images, None, progress=QUIET)
    split, labels = pixels.images.splits, pixels.images.labels
    return {part: (np.asarray(pixels.array[split == part]), labels[split == part]) for part in ("train", "test")}


def tail(labels: NDArray[np.int64], ratio: float, seed: int) -> NDArray[np.int64]:
    """Choose rows so that classes get rarer and rarer, the first class the largest."""
    counts = np.bincount(labels)
    keep = counts.min() * ratio ** (-np.arange(len(counts)) / (len(counts) - 1))
    random = np.random.default_rng(seed)
    rows = [random.permutation(np.flatnonzero(labels == k))[: round(n)] for k, n in enumerate(keep)]
    return np.sort(np.concatenate(rows))


def score(data: dict[str, Any], way: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train once and give what the test part says."""
    x, y = data["train"]
    rows = tail(y, args.ratio, seed)
    began = os.times().user
    balance, _ = decide(way, np.bincount(y[rows]), "image")
    epochs = max(1, round(args.images / balance.epoch_length(np.bincount(y[rows]))))
    with tempfile.TemporaryDirectory() as folder:
        run = sightline.train(
            {"train": (x[rows], y[rows]), "test": data["test"]},
            args.model,
            options=pairs(args.option, "--option"),
            **pairs(args.set, "--set"),
            balance=way,
            epochs=epochs,
            seed=seed,
            runs=Path(folder),
            progress=QUIET,
        )
        found = json.loads(run.folder.evaluation.read_text())
        history = run.history.rows
        return {
            "way": way,
            "seed": seed,
            "balanced_accuracy": found["balanced_accuracy"]["value"],
            "macro_f1": found["macro_f1"]["value"],
            "recalls": [each["recall"]["value"] for each in found["per_class"]],
            "rows": history,
            "chosen": run.settings.balance,
            "best_epoch": run.folder.read_state()["best_epoch"],
            "epochs": len(history),
            "cpu_s": round(os.times().user - began, 1),
        }


def interval(values: list[float]) -> str:
    """Say a mean and its 95 % interval."""
    if len(values) < 2:
        return f"{values[0]:+.1%}"
    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.mean(values)
    return f"{mean:+.1%} ({mean - half:+.1%} to {mean + half:+.1%})"


def table(rows: list[dict[str, Any]], ways: list[str]) -> str:
    """Set the ways side by side, in Markdown."""
    by = {(row["way"], row["seed"]): row for row in rows}
    lines = ["| balance | balanced accuracy | against the first (95 %) | macro-F1 | rarest third | n | CPU s |"]
    lines.append("|---|---|---|---|---|---|---|")
    for way in ways:
        own = [row for row in rows if row["way"] == way]
        if not own:
            continue
        gains = [
            r["balanced_accuracy"] - by[ways[0], r["seed"]]["balanced_accuracy"]
            for r in own
            if (ways[0], r["seed"]) in by
        ]
        rare = [statistics.mean(r["recalls"][-(len(r["recalls"]) // 3) :]) for r in own]
        mean = {key: statistics.mean(r[key] for r in own) for key in ("balanced_accuracy", "macro_f1", "cpu_s")}
        cells = [
            way,
            f"{mean['balanced_accuracy']:.1%}",
            interval(gains) if gains and way != ways[0] else "",
            f"{mean['macro_f1']:.1%}",
        ]
        cells += [f"{statistics.mean(rare):.1%}", str(len(own)), f"{mean['cpu_s']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, default=Path("imbalance.jsonl"))
    parser.add_argument("--ways", default="none;weights;weights,beta=0.999;sampler;oversample;smote;logits;auto")
    parser.add_argument("--ratio", type=float, default=100)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--option", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--images", type=int, default=180_000, help="seen in a training, however long an epoch is")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    ways = args.ways.split(";")
    known = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.is_file() else []
    data = parts(args.source)
    for seed in range(args.seeds):
        for way in ways:
            if not any((row["way"], row["seed"]) == (way, seed) for row in known):
                known.append(score(data, way, seed, args))
                with args.out.open("a") as file:
                    print(json.dumps(known[-1]), file=file)
                print(json.dumps(known[-1]), flush=True)
    print(table(known, ways))


if __name__ == "__main__":
    main()
