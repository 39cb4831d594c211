"""How often does a comparison call a difference real where there is none (A/A), and how often does it find one?

    python benches/luck.py train luck.npz                      real trainings: digits, a small mlp, 200 pairs of arms
    python benches/luck.py train own.npz --split seed          each seed with a split of its own
    python benches/luck.py tell luck.npz own.npz               claims, with the 95 % interval of their share

``train`` trains two arms of the same settings, whose seeds differ and whose split does not, and two more that differ
from the first in one thing each (what a comparison is made for); it goes on where it was. ``tell`` cuts them into
experiments of 2, 3, 5 and 10 seeds and compares each as ``sightline compare`` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.assembly import assemble, resolve
from sightline.data.sources import load
from sightline.diagnosis.experiment import MEASURES, Score, contrast
from sightline.diagnosis.intervals import share
from sightline.prepared import Prepared, prepare
from sightline.progress import Progress
from sightline.serving.predict import Predictor
from sightline.settings import Settings

QUIET = Progress(quiet=True)
SHARED = {"model": "mlp", "lr": 0.005, "test_fraction": 0.3, "compile": "off", "device": "cpu", "precision": "fp32"}
ARMS: dict[str, dict[str, Any]] = {
    "a": {"epochs": 5},
    "again": {"epochs": 5},
    "longer": {"epochs": 6},
    "dropout": {"epochs": 5, "dropout": 0.2},
}
"""``again`` gets other seeds than ``a``; the others get the same."""
FIGURES = ("test_accuracy", "valid_loss")


def one(data: Prepared, settings: Settings) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Train once, without a folder: which test images are right, and the loss of each validation image."""
    cpu = torch.device("cpu")
    trainer = assemble(None, data, resolve(settings, data, cpu, QUIET).settings, cpu, QUIET)
    trainer.loop()
    predictor = Predictor(trainer.model, data.images.classes, data.preprocessing, device=cpu)
    logits = torch.from_numpy(np.asarray(predictor.logits(data.pixels.array, data.split.valid), dtype=np.float32))
    losses = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(data.labels[data.split.valid]), reduction="none"
    )
    test = predictor.logits(data.pixels.array, data.split.test)
    return test.argmax(axis=1) == data.labels[data.split.test], losses.numpy()


def train(path: Path, source: str, runs: int, split: str) -> None:
    """Fill a file with the results of ``runs`` seeds of every arm."""
    images = load(source, progress=QUIET)
    kept = dict(np.load(path)) if path.exists() else {}
    done = len(kept.get("a.right", ()))
    columns = {name: list(values) for name, values in kept.items()}
    shared = prepare(images, Settings(**SHARED, split_seed=0), QUIET)
    for seed in range(done, runs):
        data = shared if split == "same" else prepare(images, Settings(**SHARED, split_seed=seed), QUIET)
        for name, changes in ARMS.items():
            number = seed + 100_000 * (name == "again")
            right, losses = one(data, Settings(**SHARED, **changes, seed=number))
            columns.setdefault(f"{name}.right", []).append(right)
            columns.setdefault(f"{name}.losses", []).append(losses)
        if (seed + 1) % 20 == 0 or seed + 1 == runs:
            whole = {name: np.stack(values) for name, values in columns.items() if not name.startswith("told")}
            np.savez(path, **whole, told_split=np.array([split]), told_trained=np.array([len(data.split.train)]))
            print(f"{seed + 1} of {runs} seeds", flush=True)


def tell(path: Path) -> None:
    """Cut a file's results into experiments and count what is claimed."""
    kept = np.load(path)
    own, trained = str(kept["told_split"][0]) == "seed", int(kept["told_trained"][0])

    def scores(arm: str, figure: str, seeds: range) -> list[Score]:
        column = kept[f"{arm}.right" if figure == "test_accuracy" else f"{arm}.losses"]
        return [
            Score(float(column[s].mean()), column[s].astype(np.float64), f"rows of {s * own}", trained) for s in seeds
        ]

    total = len(kept["a.right"])
    print(f"{path}: {total} seeds, split: {'each its own' if own else 'the same'}")
    for figure in FIGURES:
        for other in list(ARMS)[1:]:
            column = "right" if figure == "test_accuracy" else "losses"
            truth = float(kept[f"{other}.{column}"].mean() - kept[f"a.{column}"].mean()) * (other != "again")
            for seeds in (2, 3, 5, 10):
                words = []
                inside = 0
                for first in range(0, total - seeds + 1, seeds):
                    drawn = range(first, first + seeds)
                    ours, theirs = scores(other, figure, drawn), scores("a", figure, drawn)
                    found = contrast(ours, theirs, MEASURES[figure], matters=0.0)
                    words.append(found.word)
                    inside += (found.low or 0) <= truth <= (found.high or 0)
                real, count = words.count("real"), len(words)
                spread = share(real / count, count)
                print(
                    f"  {figure:14} {other:8} truth {truth:+.4f}  {seeds:2} seeds: called real in {real:3} of {count:3}"
                    f" = {real / count:.1%} ({spread.low:.1%} to {spread.high:.1%}), truth inside {inside / count:.1%}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "tell"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--source", default="digits")
    parser.add_argument("--runs", type=int, default=1000, help="seeds of each arm")
    parser.add_argument("--split", choices=("same", "seed"), default="same")
    args = parser.parse_args()
    for path in args.paths:
        if args.what == "train":
            train(path, args.source, args.runs, args.split)
        else:
            tell(path)


if __name__ == "__main__":
    main()
