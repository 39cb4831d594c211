"""What the loop itself costs: steps of the ``Trainer`` and of a loop by hand, in turn, with the same levers.

    python benches/step.py                     CNNblocks, 28x28, batch 64: what a user has
    python benches/step.py --network mlp       a network so small that the loop is what is measured
    python benches/step.py --network resnet18  32x32 in colour, batch 128
    python benches/step.py --processor         by processor time, where others use the machine, too
    python benches/step.py --json

Both run with bf16 autocast where the processor has it, channels_last, fused Adam and freed memory kept. The trainer
takes its batches from a ``Stream``, counts losses, looks for NaN and Ctrl-C, and shows progress; the hand loop does
none of it. Rounds of steps alternate (which goes first alternates, too), so that a slow spell of the machine hits
both; a ratio is taken within a round. The first round is warm-up. The share of the peak is what the trainer computes in
a second (2 for each multiplication, forward and backward) beside a matrix product of 2048 in the same round.
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
from torch.utils.flop_counter import FlopCounterMode

from machine import describe, probe
from sightline import CNNblocks, CNNConfig, Stream, Trainer, TrainerSettings, build
from sightline.data.preprocess import Preprocessing
from sightline.progress import Progress
from sightline.training import device as devices
from sightline.training.memory import keep_memory
from sightline.training.precision import Precision
from told import tell_ratio

BATCH = {"cnn": 64, "mlp": 64, "resnet18": 128}
IMAGES = 4096
PRODUCT = 2048
"""Side of the matrices whose product is the peak."""


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
    batch = BATCH[arguments.network]
    shape = (32, 32, 3) if arguments.network == "resnet18" else (28, 28, 1)
    x = random.integers(0, 256, (IMAGES, *shape), dtype=np.uint8)
    y = random.integers(0, 10, IMAGES)
    precision = Precision.of(arguments.precision, devices.choose("auto")[0])
    ways = {
        "trainer": by_trainer(network(arguments.network), x, y, precision, batch, arguments.steps),
        "hand": by_hand(network(arguments.network), x, y, precision, batch, arguments.steps),
    }
    clock = time.process_time if arguments.processor else time.perf_counter
    before = probe()
    taken: dict[str, list[float]] = {"trainer": [], "hand": []}
    work = 1e-9 * operations(network(arguments.network), (batch, shape[2], *shape[:2]))
    shares = []
    for number in range(arguments.rounds + 1):
        for name in sorted(ways, reverse=bool(number % 2)):
            began = clock()
            ways[name]()
            if number:
                taken[name].append((clock() - began) / arguments.steps)
        if number:
            shares.append(work / taken["trainer"][-1] / peak(precision, clock))
    ratios = [hand / trainer for hand, trainer in zip(taken["hand"], taken["trainer"], strict=True)]
    found = {
        "network": arguments.network,
        "precision": precision.mode,
        "rounds": arguments.rounds,
        "steps": arguments.steps,
        **{f"{name}_ms": spread([1000 * value for value in values]) for name, values in taken.items()},
        "images_per_s": {name: round(batch / statistics.median(values), 1) for name, values in taken.items()},
        "ratio": spread(ratios),
        "share_of_peak": spread(shares),
        "machine": describe(),
        "gflops": {"before": before, "after": probe()},
    }
    if arguments.json:
        print(json.dumps(found))
        return
    rounds = f"n={arguments.rounds} rounds of {arguments.steps}"
    for name in ("hand_ms", "trainer_ms", "ratio", "share_of_peak"):
        low, middle, high = found[name].values()
        print(f"{name:<13} median {middle:.4g}  [{low:.4g} to {high:.4g}]  {rounds}")
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
            batchsize=BATCH["cnn"],
            input_channels=1,
            hidden=64,
            kernel_size=3,
            maxpool=2,
            num_layers=4,
            num_classes=10,
        )
    )


def operations(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Count what a training step computes, as torch counts it: 2 for each multiplication of layers with weights."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(shape)).sum().backward()
    return int(counter.get_total_flops())


def peak(precision: Precision, clock: Callable[[], float]) -> float:
    """Measure a matrix product in the training's precision, in 10^9 operations a second: the best of five."""
    a = torch.randn(PRODUCT, PRODUCT, device=precision.device)
    a = a if precision.mode == "fp32" else a.to(torch.bfloat16 if precision.mode == "bf16" else torch.float16)
    taken = []
    for _ in range(6):
        began = clock()
        (a @ a)[0, 0].item()
        taken.append(clock() - began)
    return float(2e-9 * PRODUCT**3 / min(taken))


def by_trainer(model: nn.Module, x: Any, y: Any, precision: Precision, batch: int, steps: int) -> Callable[[], Any]:
    """Give a function that makes ``steps`` steps as the recipe makes them."""
    rows = np.arange(IMAGES)
    spec = Preprocessing("image", x.shape[3], x.shape[1:3]).fit(x, rows)
    stream = Stream(x, y, rows, spec, batch_size=batch, device=precision.device)
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


def by_hand(model: nn.Module, x: Any, y: Any, precision: Precision, batch: int, steps: int) -> Callable[[], None]:
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
            place = (place + batch) % (IMAGES - batch)
            rows = order[place : place + batch]
            images = pixels[rows].float().sub_(mean).div_(std).permute(0, 3, 1, 2)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision.mode == "bf16"):
                logits = model(images)
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
