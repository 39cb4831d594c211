"""What the loop itself costs: steps of the ``Trainer`` and of a loop by hand, in turn, with the same levers.

    python benches/step.py                     CNNblocks, 28x28, batch 64: what a user has
    python benches/step.py --network mlp       a network so small that the loop is what is measured
    python benches/step.py --network resnet18  32x32 in colour
    python benches/step.py --processor         by processor time, where others use the machine, too
    python benches/step.py --json

Both run with bf16 autocast where the processor has it, channels_last, fused Adam and freed memory kept. The trainer
takes its batches from a ``Stream``, counts losses, looks for NaN and Ctrl-C, and shows progress; the hand loop does
none of it. Rounds of steps alternate (which goes first alternates, too), so that a slow spell of the machine hits
both; a ratio is taken within a round. The first round is warm-up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from machine import describe, probe
from sightline import CNNblocks, CNNConfig, Stream, Trainer, TrainerSettings, build
from sightline.data.preprocess import Preprocessing
from sightline.progress import Progress
from sightline.training import device as devices
from sightline.training.memory import keep_memory
from sightline.training.precision import Precision
from told import tell_ratio

BATCH = 64
IMAGES = 4096


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--network", choices=("cnn", "mlp", "resnet18"), default="cnn")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20, help="in a round")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--processor", action="store_true", help="count processor time")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    keep_memory()
    random = np.random.default_rng(0)
    shape = (32, 32, 3) if arguments.network == "resnet18" else (28, 28, 1)
    x = random.integers(0, 256, (IMAGES, *shape), dtype=np.uint8)
    y = random.integers(0, 10, IMAGES)
    precision = Precision.of(arguments.precision, devices.choose("auto")[0])
    ways = {
        "trainer": by_trainer(network(arguments.network), x, y, precision, arguments.steps),
        "hand": by_hand(network(arguments.network), x, y, precision, arguments.steps),
    }
    clock = time.process_time if arguments.processor else time.perf_counter
    before = probe()
    taken: dict[str, list[float]] = {"trainer": [], "hand": []}
    for number in range(arguments.rounds + 1):
        for name in sorted(ways, reverse=bool(number % 2)):
            began = clock()
            ways[name]()
            if number:
                taken[name].append((clock() - began) / arguments.steps)
    ratios = [hand / trainer for hand, trainer in zip(taken["hand"], taken["trainer"], strict=True)]
    found = {
        "network": arguments.network,
        "precision": precision.mode,
        "rounds": arguments.rounds,
        "steps": arguments.steps,
        **{f"{name}_ms": spread([1000 * value for value in values]) for name, values in taken.items()},
        "images_per_s": {name: round(BATCH / statistics.median(values), 1) for name, values in taken.items()},
        "ratio": spread(ratios),
        "machine": describe(),
        "gflops": {"before": before, "after": probe()},
    }
    if arguments.json:
        print(json.dumps(found))
        return
    rounds = f"n={arguments.rounds} rounds of {arguments.steps}"
    for name in ("hand_ms", "trainer_ms", "ratio"):
        low, middle, high = found[name].values()
        print(f"{name:<12} median {middle:.4g}  [{low:.4g} to {high:.4g}]  {rounds}")
    tell_ratio(f"{arguments.network}, {precision.mode}", "trainer", "hand", ratios)
    machine = f"{found['machine']['processor']}, {found['machine']['torch_threads']} threads"
    print(f"images/s     {found['images_per_s']}  {precision.mode}")
    print(f"machine      {machine}, GFLOP/s {found['gflops']}")


def network(name: str) -> nn.Module:
    """Build one of the networks, always with the same weights."""
    torch.manual_seed(0)
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
    if name == "resnet18":
        return build("resnet18", in_channels=3, num_classes=10, image_size=32)
    return CNNblocks(
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


def by_trainer(model: nn.Module, x: Any, y: Any, precision: Precision, steps: int) -> Callable[[], Any]:
    """Give a function that makes ``steps`` steps as the recipe makes them."""
    rows = np.arange(IMAGES)
    spec = Preprocessing("image", x.shape[3], x.shape[1:3]).fit(x, rows)
    stream = Stream(x, y, rows, spec, batch_size=BATCH, device=precision.device)
    settings = TrainerSettings(
        epochs=1, metrics=[], logdir=Path(tempfile.gettempdir()), train_steps=steps, optimizer_kwargs={"lr": 1e-3}
    )
    return Trainer(
        model,
        settings,
        nn.CrossEntropyLoss(),
        torch.optim.Adam,
        stream,
        stream,
        device=precision.device,
        precision=precision,
        progress=Progress(),
    ).trainbatches


def by_hand(model: nn.Module, x: Any, y: Any, precision: Precision, steps: int) -> Callable[[], None]:
    """Give a function that makes ``steps`` steps in a plain loop."""
    device = precision.device
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    pixels, labels = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    mean, std = pixels.float().mean((0, 1, 2)), pixels.float().std((0, 1, 2))
    place = 0

    def epoch() -> None:
        nonlocal place
        order = torch.randperm(IMAGES).to(device)
        total = torch.zeros((), device=device)
        for _ in range(steps):
            place = (place + BATCH) % (IMAGES - BATCH)
            rows = order[place : place + BATCH]
            batch = pixels[rows].float().sub_(mean).div_(std).permute(0, 3, 1, 2)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision.mode == "bf16"):
                logits = model(batch)
            loss = F.cross_entropy(logits.float(), labels[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.detach()
        total.item()

    return epoch


def spread(values: list[float]) -> dict[str, float]:
    """Give the lowest, the median and the highest."""
    return {"low": min(values), "median": statistics.median(values), "high": max(values)}


if __name__ == "__main__":
    main()
