"""CNNblocks on 28x28 grey images, batch 64, Adam: images a second of the ``Trainer``, and of a loop written by hand.

    python benches/cnn.py trainer --steps 60     Trainer and Stream, with the fast precision
    python benches/cnn.py lecture --steps 60     Trainer as code written for mltrainer uses it: DataLoader, fp32
    python benches/cnn.py hand --steps 60        the same levers as ``trainer`` in a loop of a few lines

The levers: bf16 autocast where the processor has it, channels_last, fused Adam, freed memory kept.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

import sightline
from clock import Clock
from sightline import CNNblocks, CNNConfig, ReportTypes, Stream, Trainer, TrainerSettings, metrics
from sightline.data.preprocess import Preprocessing
from sightline.training.memory import keep_memory
from sightline.training.precision import Precision

BATCH = 64


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("how", choices=("trainer", "lecture", "hand"))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--data", type=Path, help="an .npz with x_train, y_train, x_test, y_test; else random images")
    parser.add_argument("--processor", action="store_true", help="count processor time")
    arguments = parser.parse_args()
    x, y, x_valid, y_valid = images(arguments.data, BATCH * arguments.steps)
    torch.manual_seed(0)
    clock = Clock(BATCH, warm=10, processor=arguments.processor)
    model = CNNblocks(
        CNNConfig(
            matrixshape=(28, 28),
            batchsize=BATCH,
            input_channels=1,
            hidden=64,
            kernel_size=3,
            maxpool=2,
            num_layers=4,
            num_classes=10,
        )
    )
    how = {"trainer": trainer, "lecture": lecture, "hand": hand}[arguments.how]
    how(model, clock, x, y, x_valid, y_valid)
    name = f"sightline {sightline.__version__} {arguments.how}"
    clock.report(name, params=sum(p.numel() for p in model.parameters()))


def images(file: Path | None, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], Any, Any]:
    """Give uint8 (N, 28, 28, 1) and int64 (N,): ``count`` to train on, 640 to validate on."""
    if file is None:
        random = np.random.default_rng(0)
        x = random.integers(0, 256, (count + 640, 28, 28, 1), dtype=np.uint8)
        y = random.integers(0, 10, count + 640)
        return x[:count], y[:count], x[count:], y[count:]
    with np.load(file) as content:
        chosen = np.random.default_rng(0).permutation(len(content["x_train"]))[:count]
        x, y = content["x_train"][chosen], content["y_train"][chosen].astype(np.int64)
        x_valid, y_valid = content["x_test"][:640], content["y_test"][:640].astype(np.int64)
    return x.reshape(-1, 28, 28, 1), y, x_valid.reshape(-1, 28, 28, 1), y_valid


def settings(folder: str) -> TrainerSettings:
    """The settings of both trainers: one epoch, five batches of validation, as the lecture writes them."""
    return TrainerSettings(
        epochs=1,
        metrics=[metrics.Accuracy()],
        logdir=folder,
        valid_steps=5,
        reporttypes=[ReportTypes.TENSORBOARD],
        optimizer_kwargs={"lr": 1e-3},
    )


def trainer(model: CNNblocks, clock: Clock, x: Any, y: Any, x_valid: Any, y_valid: Any) -> None:
    """Train as Sightline's own recipe does."""
    keep_memory()
    rows = np.arange(len(x))
    preprocessing = Preprocessing("image", channels=1, size=(28, 28)).fit(x, rows)
    stream = Stream(x, y, rows, preprocessing, batch_size=BATCH)
    valid = Stream(x_valid, y_valid, np.arange(len(x_valid)), preprocessing, batch_size=BATCH, shuffle=False)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            model,
            settings(folder),
            torch.nn.CrossEntropyLoss(),
            torch.optim.Adam,
            clock.watch(stream),
            valid,
            torch.optim.lr_scheduler.ReduceLROnPlateau,
            precision=Precision.of("auto"),
        ).loop()


def lecture(model: CNNblocks, clock: Clock, x: Any, y: Any, x_valid: Any, y_valid: Any) -> None:
    """Train as a notebook written for mltrainer does, with its import line changed and nothing else."""

    def loader(x: Any, y: Any) -> DataLoader[Any]:
        pixels = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
        return DataLoader(TensorDataset(pixels, torch.from_numpy(y)), batch_size=BATCH, shuffle=True)

    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            model=model,
            settings=settings(folder),
            loss_fn=torch.nn.CrossEntropyLoss(),
            optimizer=torch.optim.Adam,
            traindataloader=clock.watch(loader(x, y)),
            validdataloader=loader(x_valid, y_valid),
            scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau,
        ).loop()


def hand(model: CNNblocks, clock: Clock, x: Any, y: Any, _x_valid: Any, _y_valid: Any) -> None:
    """Train in a plain loop that has every lever of ``trainer`` and nothing else: no history, metrics, checks."""
    keep_memory()
    bf16 = Precision.of("auto").mode == "bf16"
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    pixels, labels = torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(y)
    mean, std = pixels.float().mean(), pixels.float().std()
    order = torch.randperm(len(x))
    total = torch.zeros(())
    for start in range(0, len(x), BATCH):
        rows = order[start : start + BATCH]
        batch = pixels[rows].float().sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(batch)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total += loss.detach()
        clock.tick()


if __name__ == "__main__":
    main()
