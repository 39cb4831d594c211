"""Stopping early by patience or by the rise of the validation loss: what each saves, and what it misses.

    python benches/stopping.py digits --valid 0.4 --test 0.4              few digits, two networks, two schedules
    python benches/stopping.py photos.csv --schedules constant --seeds 5  any source

Every training is made once, to its end, with the loss of each validation image after each epoch; then every rule is
played on the same curves, as if it had decided. For each rule: epochs trained; trainings whose best epoch (of all) it
reached; the lowest validation loss before the stop, less that of the whole training, as a share of it.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.data.sources import load
from sightline.diagnosis.measures import LEAST
from sightline.diagnosis.rising import RiseStopping
from sightline.making.assembly import assemble
from sightline.making.choices import resolve
from sightline.making.prepared import prepare
from sightline.progress import Progress
from sightline.settings import Settings
from sightline.training.stopping import Patience

QUIET = Progress(quiet=True)
CPU = torch.device("cpu")
PLAIN = {"augment": "none", "compile": "off", "device": "cpu", "precision": "fp32", "instruments": "none"}
MODEL = torch.nn.Linear(1, 1)


class Recorder(RiseStopping):
    """Never stops; keeps what a stopper would see."""

    def __init__(self) -> None:
        super().__init__()
        self.means: list[float] = []
        self.losses: list[NDArray[np.float32]] = []

    @property
    def early_stop(self) -> bool:
        """Never."""
        return False

    def after(self, value: float, model: torch.nn.Module, losses: NDArray[np.float32] | None) -> None:
        """Keep the losses of an epoch."""
        assert losses is not None
        self.means.append(value)
        self.losses.append(losses.copy())


def by_patience(seen: Recorder, patience: int) -> int:
    """Give the epoch after which patience stops; the last if it never does."""
    machine = Patience(patience)
    for epoch, loss in enumerate(seen.means, 1):
        machine.see(loss)
        if machine.exhausted:
            return epoch
    return len(seen.means)


def by_rise(seen: Recorder, classes: int) -> int:
    """Give the epoch after which the rise stops; the last if it never does."""
    stopper = RiseStopping(least=LEAST * math.log(classes))
    for epoch, (mean, losses) in enumerate(zip(seen.means, seen.losses, strict=True), 1):
        stopper.after(mean, MODEL, losses)
        if stopper.early_stop:
            return epoch
    return len(seen.means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--models", default="mlp,lenet5")
    parser.add_argument("--schedules", default="constant,onecycle")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--valid", type=float, default=0.1)
    parser.add_argument("--test", type=float, default=0.1)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--out", type=Path, help="one JSON line for each training and rule")
    args = parser.parse_args()
    rules = {f"patience {p}": p for p in (3, 5, 10, 20)}
    print(f"{'schedule':10} {'rule':12} {'trainings':>9} {'epochs':>7} {'best reached':>12} {'loss lost':>20}")
    for schedule in args.schedules.split(","):
        found: dict[str, list[tuple[int, bool, float]]] = {}
        for model in args.models.split(","):
            for seed in range(args.seeds):
                shares = {"valid_fraction": args.valid, "test_fraction": args.test, "image_size": args.image_size}
                given = Settings(model=model, schedule=schedule, epochs=args.epochs, seed=seed, **PLAIN, **shares)
                data = prepare(load(args.source, progress=QUIET), given, QUIET)
                settings = resolve(given, data, CPU, QUIET).settings
                trainer, seen = assemble(None, data, settings, CPU, QUIET), Recorder()
                trainer.early_stopping = seen
                trainer.loop()
                lowest = min(seen.means)
                stops = {rule: by_patience(seen, patience) for rule, patience in rules.items()}
                stops["rise"] = by_rise(seen, len(data.images.classes))
                for rule, stop in stops.items():
                    lost = min(seen.means[:stop]) / lowest - 1
                    found.setdefault(rule, []).append((stop, lost == 0, lost))
                    if args.out:
                        told = {"schedule": schedule, "model": model, "seed": seed, "rule": rule, "stop": stop}
                        with args.out.open("a") as file:
                            file.write(
                                json.dumps({**told, "lost": lost, "best": int(np.argmin(seen.means)) + 1}) + "\n"
                            )
        for rule, rows in found.items():
            epochs, reached, lost = (list(column) for column in zip(*rows, strict=True))
            spread = f"{statistics.mean(lost):.1%} (most {max(lost):.1%})"
            print(
                f"{schedule:10} {rule:12} {len(rows):9} {statistics.median(epochs):7.0f} {sum(reached):9} of "
                f"{len(rows)} {spread:>19}",
                flush=True,
            )


if __name__ == "__main__":
    main()
