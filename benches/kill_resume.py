"""Kill a training at random moments, resume it each time, and compare what it leaves with one that was left in peace.

    python benches/kill_resume.py --kills 50 --seed 0

A small network learns the digits of scikit-learn. Each process is ended by SIGKILL after a random time and a new one
resumes the run folder, until it is done; then weights, history and the losses of all validation images must be the
same, byte for byte. Runs follow each other until there were as many kills as asked for. Exit code 1 if anything
differed.

``--how stream`` trains as the recipe does: Stream with augmentation, dropout, batch norm, channels_last, fused AdamW,
one-cycle, EMA, clipping, accumulation, early stopping; a checkpoint after about every tenth step. ``--how loader``
trains as the lecture does: a shuffling DataLoader, fewer steps than batches, ReduceLROnPlateau, momentum.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # optimizers import it when the first is made: once, here, instead of in each process
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sightline import losses, metrics
from sightline.data.augment import Augment
from sightline.data.preprocess import Preprocessing
from sightline.data.stream import Stream
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.settings import TrainerSettings
from sightline.training import checkpoint, optim, schedule
from sightline.training.precision import Precision
from sightline.training.trainer import Trainer

COMPARED = ("best", "last", "history", "valid_losses")


def main() -> int:
    """Read the command line, kill and resume, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="for each way to train")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--how", choices=("stream", "loader"), nargs="+", default=["stream", "loader"])
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    data = digits()
    return max(series(data, how, arguments.epochs, arguments.kills, arguments.seed) for how in arguments.how)


def series(data: Any, how: str, epochs: int, kills: int, seed: int) -> int:
    """Run in peace once, then kill and resume until there were enough kills; give 1 if anything differed, else 0."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:

        def train(name: str) -> Callable[[], None]:
            return lambda: work(Path(place) / name, data, how, epochs)

        began = time.perf_counter()
        run(train("peace"))
        seconds = time.perf_counter() - began
        print(f"{how}: {epochs} epochs left in peace take {seconds:.2f} s")
        print(f"{'run':>4} {'kills':>6}  {'resumed from (epochs done.step)':<56} same")
        killed, number, wrong = 0, 0, 0
        while killed < kills:
            number += 1
            places: list[str] = []
            began = time.perf_counter()
            while not run(train(f"killed{number}"), moments.uniform(0, seconds / 2)):
                killed += 1
                places.append(where(Path(place) / f"killed{number}"))
            if not places:  # the machine has become faster: kill earlier
                seconds = min(seconds, time.perf_counter() - began)
            different = compare(Path(place) / "peace", Path(place) / f"killed{number}")
            wrong += bool(different)
            print(
                f"{number:>4} {len(places):>6}  {' '.join(places)[:56]:<56} {', '.join(different) or 'yes'}", flush=True
            )
    print(f"{how}: {killed} kills in {number} runs, {wrong} runs differ")
    return int(wrong > 0)


def run(work: Callable[[], None], kill_after_s: float | None = None) -> bool:
    """Do the work in a process of its own; say whether it came to its end before it was killed."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    end = None if kill_after_s is None else time.perf_counter() + kill_after_s
    while end is None or time.perf_counter() < end:
        found, status = os.waitpid(process, 0 if end is None else os.WNOHANG)
        if found:
            if status:
                raise SystemExit(f"the training failed by itself, status {status}")
            return True
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def work(path: Path, data: Any, how: str, epochs: int) -> None:
    """Train in a run folder, or resume what is there."""
    torch.manual_seed(7)
    folder = RunFolder(path)
    path.mkdir(exist_ok=True)
    trainer = {"stream": by_stream, "loader": by_loader}[how](folder, data, epochs)
    trainer.resume()
    trainer.loop()


def by_stream(folder: RunFolder, data: Any, epochs: int) -> Trainer:
    """As the recipe trains."""
    x, y, preprocessing = data
    model = network(x.shape[-1])
    train = Stream(
        x,
        y,
        np.arange(1300),
        preprocessing,
        batch_size=52,
        augment=Augment(shift=0.1, rotate=10.0, mixup=0.2),
        num_classes=10,
    )
    valid = Stream(x, y, np.arange(1300, len(x)), preprocessing, batch_size=256, shuffle=False)
    return Trainer(
        model,
        settings(folder, epochs, {"patience": 4}),
        losses.loss("cross-entropy", label_smoothing=0.1),
        optim.build("adamw", model, lr=3e-3, weight_decay=0.05),
        train,
        valid,
        schedule.build("onecycle", lr=3e-3, steps=13 * epochs, warmup=0.3),
        precision=Precision("fp32"),
        clip_norm=1.0,
        accumulate=2,
        ema=0.9,
        probe=Stream(x, y, np.arange(0, 1300, 5), preprocessing, batch_size=256, shuffle=False),
        folder=folder,
        checkpoint_minutes=0.03 / 60,
        progress=Progress(quiet=True),
    )


def by_loader(folder: RunFolder, data: Any, epochs: int) -> Trainer:
    """As code written for the lecture trains."""
    x, y, preprocessing = data
    images, labels = preprocessing.normalise(torch.from_numpy(x)).contiguous(), torch.from_numpy(y)
    return Trainer(
        network(1),
        settings(folder, epochs, {"patience": 3, "verbose": False}, train_steps=15, valid_steps=3),
        nn.CrossEntropyLoss(),
        torch.optim.SGD,
        DataLoader(TensorDataset(images[:1300], labels[:1300]), batch_size=64, shuffle=True),
        DataLoader(TensorDataset(images[1300:], labels[1300:]), batch_size=64, shuffle=True),
        torch.optim.lr_scheduler.ReduceLROnPlateau,
        penalty=losses.l2,
        folder=folder,
        checkpoint_minutes=0.03 / 60,
        progress=Progress(quiet=True),
    )


def settings(folder: RunFolder, epochs: int, stopping: dict[str, Any], **steps: int) -> TrainerSettings:
    """What both have in common."""
    return TrainerSettings(
        epochs=epochs,
        metrics=[metrics.Accuracy()],
        logdir=folder.path,
        optimizer_kwargs={"lr": 0.05, "momentum": 0.9},
        scheduler_kwargs={"factor": 0.5, "patience": 0},
        earlystop_kwargs=stopping,
        **steps,
    )


def network(channels: int) -> nn.Module:
    """Convolutions, batch norm and dropout: weights, running means and random numbers to remember."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(256, 10),
    )


def digits() -> tuple[Any, Any, Preprocessing]:
    """Give uint8 (1797, 8, 8, 1), int64 (1797,) and their preprocessing."""
    found = load_digits()
    x = (found.images[..., None] * 15).astype(np.uint8)
    return x, found.target.astype(np.int64), Preprocessing("image", 1, (8, 8)).fit(x, np.arange(1300))


def where(path: Path) -> str:
    """Say where the next process will resume: epochs done, and the step."""
    file = RunFolder(path).checkpoint
    if not file.exists():
        return "start"
    plan = checkpoint.load(file)["plan"]
    return f"{plan['epoch']}.{plan['step']}"


def compare(peace: Path, other: Path) -> list[str]:
    """Name the files that differ."""
    pairs = [(getattr(RunFolder(peace), name), getattr(RunFolder(other), name)) for name in COMPARED]
    return [a.name for a, b in pairs if a.exists() != b.exists() or (a.exists() and a.read_bytes() != b.read_bytes())]


if __name__ == "__main__":
    sys.exit(main())
