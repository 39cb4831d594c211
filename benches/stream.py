"""Batches per second of ``Stream`` by augmentation, beside a hand-written gather loop, interleaved in one run.

    python benches/stream.py [--source PATH] [--batch-size 128] [--rounds 30] [--batches 10] [--cpu] [--json FILE]

The hand-written loop is what a careful person writes for crop and flip: images padded once in memory as uint8, one
advanced-index gather per batch, then float and normalisation. Each round times every contender over the same number
of batches, after a warm-up; figures are medians over the rounds with the 10th and 90th percentile.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

import sightline
from machine import describe
from sightline.data.augment import Augment
from sightline.data.preprocess import Preprocessing
from sightline.data.presets import PRESETS
from sightline.data.stream import Stream
from sightline.training.memory import keep_memory
from told import tell_ratio

Array = NDArray[Any]


def pixels_of(source: Path | None, count: int) -> tuple[Array, Array]:
    """Uint8 images (N, H, W, C) and labels of a source, or random ones shaped like CIFAR-10."""
    if source is None:
        random = np.random.default_rng(0)
        return random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, count)
    from sightline.data.pixels import pack
    from sightline.data.sources import load

    pixels = pack(load(source))
    return pixels.array, pixels.images.labels


def by_hand(array: Array, labels: Array, mean: Array, std: Array, batch_size: int) -> Iterator[Any]:
    """Random crop of images padded by an eighth, and flip: the yardstick."""
    pad = array.shape[1] // 8
    height, width, channels = array.shape[1:]
    x = torch.from_numpy(np.ascontiguousarray(array)).permute(0, 3, 1, 2)
    padded = F.pad(x, (pad,) * 4).permute(0, 2, 3, 1).contiguous()
    y = torch.from_numpy(np.asarray(labels))
    level = torch.tensor(mean * 255, dtype=torch.float32).view(1, channels, 1, 1)
    spread = torch.tensor(std * 255, dtype=torch.float32).view(1, channels, 1, 1)
    across, down = torch.arange(width), torch.arange(height)
    while True:
        order = torch.randperm(len(y))
        for start in range(0, len(y) - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            top, left = torch.randint(0, 2 * pad + 1, (2, batch_size, 1))
            columns = torch.where(torch.rand(batch_size, 1) < 0.5, width - 1 - across, across) + left
            batch = padded[chosen[:, None, None], (down + top)[:, :, None], columns[:, None, :]]
            yield batch.permute(0, 3, 1, 2).to(torch.float32).sub_(level).div_(spread), y[chosen]


def endless(stream: Stream) -> Iterator[Any]:
    while True:
        yield from stream


def contenders(array: Array, labels: Array, batch_size: int) -> dict[str, Iterator[Any]]:
    rows = np.arange(len(labels))
    preprocessing = Preprocessing("image", array.shape[-1], array.shape[1:3]).fit(array, rows)
    specs = {
        "none": Augment(),
        "light (shift)": PRESETS["light"].amounts["image"],
        "light and flip": Augment(shift=0.125, flip=True),
        "constant border": Augment(shift=0.125, flip=True, border="constant"),
        "strong": PRESETS["strong"].amounts["image"],
        "random resized crop": Augment(crop=0.9, flip=True),
        "colour": Augment(brightness=0.2, contrast=0.2, saturation=0.2),
        "noise": Augment(noise=0.1),
        "cutmix": Augment(shift=0.125, flip=True, cutmix=1.0),
        "mixup": Augment(shift=0.125, flip=True, mixup=0.2),
    }
    if array.shape[-1] != 3:
        specs = {name: Augment.from_dict({**spec.as_dict(), "saturation": 0.0}) for name, spec in specs.items()}
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    made: dict[str, Iterator[Any]] = {"by hand (crop, flip)": by_hand(array, labels, mean, std, batch_size)}
    for name, spec in specs.items():
        made[name] = endless(
            Stream(array, labels, rows, preprocessing, batch_size=batch_size, augment=spec, drop_last=True)
        )
    return made


def measure(made: dict[str, Iterator[Any]], rounds: int, batches: int, clock: Callable[[], float]) -> dict[str, Array]:
    """Seconds per batch of each contender in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for turn in range(rounds + 2):
        for name, iterator in made.items():
            begun = clock()
            for _ in range(batches):
                next(iterator)
            if turn >= 2:  # the first rounds warm up
                seconds[name].append((clock() - begun) / batches)
    return {name: np.array(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="images to use instead of random ones")
    parser.add_argument("--count", type=int, default=50_000, help="random images")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batches", type=int, default=10, help="batches per contender and round")
    parser.add_argument("--cpu", action="store_true", help="processor time, where other work disturbs the wall clock")
    parser.add_argument("--json", type=Path, help="append one line with the figures")
    args = parser.parse_args()
    keep_memory()  # as a training does; the hand-written loop profits too
    array, labels = pixels_of(args.source, args.count)
    seconds = measure(
        contenders(array, labels, args.batch_size),
        args.rounds,
        args.batches,
        time.process_time if args.cpu else time.perf_counter,
    )
    yardstick = next(iter(seconds.values()))
    what = {
        "bench": "stream",
        "machine": describe(),
        "versions": {"sightline": sightline.__version__, "numpy": np.__version__},
        "clock": "processor" if args.cpu else "wall",
        "data": f"{args.source or 'random'}, {array.shape[0]} x {'x'.join(map(str, array.shape[1:]))} {array.dtype}",
        "batch_size": args.batch_size,
        "n": args.rounds,
        "batches_per_round": args.batches,
    }
    print(json.dumps(what))
    head = "".join(f"{name:>9}" for name in ("batch/s", "p10", "p90", "images/s", "ratio", "p10", "p90"))
    print(f"{'augmentation':22}{head}")
    figures = {}
    for name, taken in seconds.items():
        low, middle, high = np.percentile(1 / taken, [10, 50, 90])
        ratio_low, ratio, ratio_high = np.percentile(yardstick / taken, [10, 50, 90])  # of the same round
        figures[name] = {
            "batches_per_s": [round(float(v), 1) for v in (low, middle, high)],
            "ratio": [round(float(v), 3) for v in (ratio_low, ratio, ratio_high)],
        }
        print(
            f"{name:22}{middle:9.0f}{low:9.0f}{high:9.0f}{middle * args.batch_size:9.0f}"
            f"{ratio:9.2f}{ratio_low:9.2f}{ratio_high:9.2f}"
        )
    for name, taken in list(seconds.items())[1:]:
        tell_ratio("batches", name, next(iter(seconds)), list(np.percentile(yardstick / taken, [10, 50, 90])))
    if args.json:
        with args.json.open("a") as file:
            file.write(json.dumps({**what, "p10_p50_p90": figures}) + "\n")


if __name__ == "__main__":
    main()
