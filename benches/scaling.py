"""Pixel stores of a thousand to a million images: whether a batch costs the same, and memory stays flat.

    python benches/scaling.py [--rounds 5] [--largest 1000000] [--side 32]

The stores are sparse files of zeros, mapped as the cache maps them, so that a store of any size fits on the disk. What
is measured is the processor time of a fixed number of batches (order of the epoch and augmentation included), and the
largest memory of the process, whose growth is told for each size: each store is read in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.data.augment import Augment
from sightline.data.preprocess import Preprocessing
from sightline.data.stream import Stream
from told import tell_ratio

BATCH = 128


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--one", type=int, help="measure one size, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one, arguments.side, arguments.batches)))
        return
    sizes = [size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= arguments.largest]
    seen: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for _ in range(arguments.rounds):
        for size in sizes:
            command = [sys.executable, __file__, "--one", str(size), "--side", str(arguments.side)]
            told = subprocess.run(
                [*command, "--batches", str(arguments.batches)], capture_output=True, text=True, check=True
            )
            seen[size].append(json.loads(told.stdout))
    print("| images | ms a batch | s to order an epoch | MB at the start | MB at the end |\n|---:|---:|---:|---:|---:|")
    for size, found in seen.items():
        middle = {name: float(np.median([each[name] for each in found])) for name in found[0]}
        print(
            f"| {size:,} | {1000 * middle['batch_s']:.2f} | {middle['order_s']:.3f} | {middle['before_mb']:.0f} "
            f"| {middle['after_mb']:.0f} |"
        )
    first, last = seen[sizes[0]], seen[sizes[-1]]
    name = f"{sizes[0]:,} to {sizes[-1]:,} images"
    pairs = list(zip(first, last, strict=True))
    tell_ratio(name, "batches a second, many", "few", [few["batch_s"] / many["batch_s"] for few, many in pairs])
    tell_ratio(name, "memory, few", "many", [few["after_mb"] / many["after_mb"] for few, many in pairs])


def sparse(path: Path, count: int, side: int) -> tuple[NDArray[np.uint8], Preprocessing]:
    """Make a pixel store of zeros that takes no room on the disk; give it mapped, uint8 (N, H, W, 3)."""
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * side * side * 3)
    spec = Preprocessing("image", 3, (side, side), mean=(0.5,) * 3, std=(0.25,) * 3)
    return np.asarray(np.load(path, mmap_mode="r")), spec


def one(count: int, side: int, batches: int) -> dict[str, float]:
    """Read batches from a store of ``count`` images: seconds and memory."""
    with tempfile.TemporaryDirectory() as folder:
        store, spec = sparse(Path(folder) / "pixels.npy", count, side)
        rows = np.arange(count)
        stream = Stream(
            store, rows % 10, rows, spec, batch_size=BATCH, augment=Augment(shift=0.125, flip=True), num_classes=10
        )
        began = time.process_time()
        stream._order(0)
        order_s = time.process_time() - began
        endless = (batch for _ in range(10**6) for batch in stream)
        for _ in islice(endless, 5):
            pass
        before = peak()
        began, orders = time.process_time(), 0.0
        for _ in islice(endless, batches):
            pass
        taken = time.process_time() - began
        orders = order_s * (batches / len(stream))  # an epoch's order is shared by its batches
        return {
            "batch_s": (taken - min(orders, taken / 2)) / batches,
            "order_s": order_s,
            "before_mb": before,
            "after_mb": peak(),
        }


def peak() -> float:
    """Give the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
