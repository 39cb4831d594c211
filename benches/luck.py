"""How often does a comparison call a difference real where there is none (A/A), and how often does it find one?

    python benches/luck.py train luck.npz                  real trainings: digits, a small mlp, 1,000 seeds of two arms
    python benches/luck.py train own.npz --split seed      each seed with a split of its own
    python benches/luck.py tell luck.npz own.npz           claims, with the 95 % interval of their share

``train`` trains arms of the same settings, ``a`` and ``again``, whose seeds differ and whose split does not, and with
``--arms a,again,longer,dropout`` two more that differ from the first in one thing each; it goes on where it was.
``tell`` cuts them into experiments of 2, 3, 5 and 10 seeds and compares each as ``sightline compare`` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.data.sources import load
from sightline.diagnosis.experiment import MEASURES, Score, contrast
from sightline.diagnosis.intervals import share
from sightline.making.assembly import assemble
from sightline.making.choices import resolve
from sightline.making.prepared import Prepared, prepare
from sightline.progress import Progress
from sightline.serving.predict import Predictor
from sightline.settings import Settings

QUIET = Progress(quiet=True)
SHARED = {"model": "mlp", "lr": 0.005, "test_fraction": 0.3, "compile": "off", "device": "cpu", "precision": "fp32"}
ARMS: dict[str, dict[str, Any]] = {
    "a": {"epochs": 3},
    "again": {"epochs": 3},
    "longer": {"epochs": 4},
    "dropout": {"epochs": 3, "dropout": 0.2},
}
"""``again`` gets other seeds than ``a``; the others get the same."""
FIGURES = ("test_accuracy", "valid_loss")


def one(data: Prepared, resolved: Settings) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Train once, without a folder: which test images are right, and the loss of each validation image."""
    cpu = torch.device("cpu")
    trainer = assemble(None, data, resolved, cpu, QUIET)
    trainer.loop()
    predictor = Predictor(trainer.model, data.images.classes, data.preprocessing, device=cpu)
    logits = torch.from_numpy(np.asarray(predictor.logits(data.pixels.array, data.split.valid), dtype=np.float32))
    losses = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(data.labels[data.split.valid]), reduction="none"
    )
    test = predictor.logits(data.pixels.array, data.split.test)
    return test.argmax(axis=1) == data.labels[data.split.test], losses.numpy()


def train(path: Path, source: str, runs: int, split: str, arms: list[str]) -> None:
    """Fill a file with the results of ``runs`` seeds of every arm; arms that it has already are gone on with."""
    images = load(source, progress=QUIET)
    kept = {name: list(values) for name, values in np.load(path).items()} if path.exists() else {}
    shared = prepare(images, Settings(**SHARED, split_seed=0), QUIET)
    decided = {
        name: resolve(Settings(**SHARED, **ARMS[name]), shared, torch.device("cpu"), QUIET).settings for name in arms
    }
    for seed in range(runs):
        todo = [name for name in arms if len(kept.get(f"{name}.right", ())) == seed]
        if not todo:
            continue
        data = shared if split == "same" else prepare(images, Settings(**SHARED, split_seed=seed), QUIET)
        for name in todo:
            number = seed + 100_000 * (name == "again")
            right, losses = one(data, decided[name].model_copy(update={"seed": number}))
            kept.setdefault(f"{name}.right", []).append(right)
            kept.setdefault(f"{name}.losses", []).append(losses)
        if (seed + 1) % 20 == 0 or seed + 1 == runs:
            whole = {name: np.stack(values) for name, values in kept.items() if not name.startswith("told")}
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

    total = min(len(column) for name, column in kept.items() if not name.startswith("told"))
    print(f"{path}: {total} seeds, split: {'each its own' if own else 'the same'}")
    for figure in FIGURES:
        for other in [name for name in list(ARMS)[1:] if f"{name}.right" in kept]:
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
    parser.add_argument("--arms", default="a,again", help=f"of {','.join(ARMS)}")
    parser.add_argument("--split", choices=("same", "seed"), default="same")
    args = parser.parse_args()
    for path in args.paths:
        if args.what == "train":
            train(path, args.source, args.runs, args.split, args.arms.split(","))
        else:
            tell(path)


if __name__ == "__main__":
    main()
