"""ResNet-18 with the CIFAR stem on 32x32 colour images, batch 128, crop and flip, SGD: images a second.

    python benches/resnet.py trainer --steps 24     Trainer and Stream, with the fast precision
    python benches/resnet.py hand --steps 24        the same levers in a loop of a few lines

The levers: images in memory as uint8, augmented by the batch, bf16 autocast where the processor has it, channels_last,
fused SGD, freed memory kept.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import sightline
from clock import Clock
from sightline import Stream, Trainer, TrainerSettings, build, metrics
from sightline.data.augment import Augment
from sightline.data.preprocess import Preprocessing
from sightline.training import optim
from sightline.training.memory import keep_memory
from sightline.training.precision import Precision

BATCH = 128
LR, MOMENTUM, DECAY = 0.05, 0.9, 5e-4


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("how", choices=("trainer", "hand"))
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--data", type=Path, help="an .npz with x_train, y_train; else random images")
    parser.add_argument("--processor", action="store_true", help="count processor time")
    arguments = parser.parse_args()
    x, y = images(arguments.data, BATCH * arguments.steps)
    torch.manual_seed(0)
    clock = Clock(BATCH, warm=4, processor=arguments.processor)
    model = build("resnet18", in_channels=3, num_classes=10, image_size=32)
    {"trainer": trainer, "hand": hand}[arguments.how](model, clock, x, y)
    name = f"sightline {sightline.__version__} {arguments.how}"
    clock.report(name, params=sum(p.numel() for p in model.parameters()))


def images(file: Path | None, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Give ``count`` images, uint8 (N, 32, 32, 3), and their labels, int64 (N,)."""
    if file is None:
        random = np.random.default_rng(0)
        return random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, count)
    with np.load(file) as content:
        chosen = np.random.default_rng(0).permutation(len(content["x_train"]))[:count]
        return content["x_train"][chosen], content["y_train"][chosen].astype(np.int64)


def trainer(model: nn.Module, clock: Clock, x: Any, y: Any) -> None:
    """Train as Sightline's own recipe does; validation is one batch, to time the training."""
    keep_memory()
    rows = np.arange(len(x))
    preprocessing = Preprocessing("image", channels=3, size=(32, 32)).fit(x, rows)
    stream = Stream(x, y, rows, preprocessing, batch_size=BATCH, augment=Augment(shift=0.125, flip=True))
    valid = Stream(x, y, rows[:BATCH], preprocessing, batch_size=BATCH, shuffle=False)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            model,
            TrainerSettings(epochs=1, metrics=[metrics.Accuracy()], logdir=folder, earlystop_kwargs=None),
            torch.nn.CrossEntropyLoss(),
            optim.build("sgd", model, lr=LR, momentum=MOMENTUM, weight_decay=DECAY),
            clock.watch(stream),
            valid,
            precision=Precision.of("auto"),
        ).loop()


def hand(model: nn.Module, clock: Clock, x: Any, y: Any) -> None:
    """Train in a plain loop that has every lever of ``trainer`` and nothing else: no history, metrics, checks."""
    keep_memory()
    bf16 = Precision.of("auto").mode == "bf16"
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM, weight_decay=DECAY, nesterov=True, fused=True)
    labels = torch.from_numpy(y)
    mean, std = torch.tensor([125.3, 123.0, 113.9]), torch.tensor([63.0, 62.1, 66.7])
    padded = torch.from_numpy(np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0))))
    side = torch.arange(32)
    order = torch.randperm(len(x))
    total = torch.zeros(())
    for start in range(0, len(x), BATCH):
        rows = order[start : start + BATCH]
        flip = torch.rand(BATCH, 1) < 0.5
        down = side + torch.randint(0, 9, (BATCH, 1))
        right = torch.where(flip, 31 - side, side) + torch.randint(0, 9, (BATCH, 1))
        batch = padded[rows[:, None, None], down[:, :, None], right[:, None, :]]
        batch = batch.float().sub_(mean).div_(std).permute(0, 3, 1, 2)
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
