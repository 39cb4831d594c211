"""Images a second of every network of the zoo, in training steps and in predictions, beside its integers.

    python benches/models.py [NAME ...] [--input 3x32x32] [--batch 32] [--rounds 5] [--fp32] [--cpu] [--json FILE]

A training step is forward, backward and SGD on random images in memory: the network's cost alone, no data. The
networks take turns, one step each per round, so that a slow spell of the machine hits all of them; figures are
medians over the rounds, with their range in the file. ``--cpu`` counts the seconds of the processor instead of those
of the clock, which other programs lengthen; for one thread alone. ``GFLOP/s`` is 6 operations per multiply-add and
image, the usual count for a training step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from machine import describe, probe
from sightline.models import arithmetic, zoo


class Contender:
    """A network with its optimizer, and the seconds that its steps took."""

    def __init__(self, name: str, shape: tuple[int, ...], batch: int, fast: bool, clock: Callable[[], float]) -> None:
        start = time.perf_counter()
        self.model = zoo.build(name, in_channels=shape[0], num_classes=10, image_size=shape[1:])
        self.build = time.perf_counter() - start
        self.name, self.fast, self.clock = name, fast, clock
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01)
        self.x, self.y = torch.randn(batch, *shape), torch.randint(0, 10, (batch,))
        if fast and len(shape) == 3:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.x = self.x.to(memory_format=torch.channels_last)
        self.train: list[float] = []
        self.predict: list[float] = []

    def turn(self, keep: bool) -> None:
        """Take one training step and make one prediction; ``keep`` their seconds."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            start = self.clock()
            loss = nn.functional.cross_entropy(self.model.train()(self.x).float(), self.y)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()  # the networks wait for their turns without gradients, in half the memory
            middle = self.clock()
            with torch.inference_mode():
                self.model.eval()(self.x)
            end = self.clock()
        if keep:
            self.train.append(middle - start)
            self.predict.append(end - middle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=list(zoo.ZOO))
    parser.add_argument("--input", default="3x32x32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--fp32", action="store_true", help="plain float32, instead of bf16 autocast and channels_last")
    parser.add_argument("--cpu", action="store_true", help="count the processor's seconds; for one thread")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    shape = tuple(map(int, args.input.split("x")))

    if args.cpu and torch.get_num_threads() > 1:
        parser.error("--cpu counts one thread: set OMP_NUM_THREADS=1")
    before = probe()
    clock = time.process_time if args.cpu else time.perf_counter
    contenders = [Contender(name, shape, args.batch, not args.fp32, clock) for name in args.names]
    for turn in range(args.warm_up + args.rounds):
        for contender in contenders:
            contender.turn(keep=turn >= args.warm_up)
    result: dict[str, Any] = {**describe(), "gflops_before": before, "gflops_after": probe(), "input": args.input}
    result |= {"batch": args.batch, "rounds": args.rounds, "fp32": args.fp32, "cpu": args.cpu, "networks": []}

    print(f"{result['processor']}, {result['cores']} cores, torch {result['torch']}, {args.input}, batch {args.batch}")
    print("| network | parameters | multiply-adds | build s | training images/s | prediction images/s | GFLOP/s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for contender in contenders:
        rows = zoo.table(contender.name, shape, num_classes=10)
        train, predict = (args.batch / statistics.median(times) for times in (contender.train, contender.predict))
        row = {
            "name": contender.name,
            "parameters": arithmetic.parameters(rows),
            "multiply_adds": arithmetic.multiply_adds(rows),
            "build_seconds": round(contender.build, 3),
            "train_images_per_second": round(train, 1),
            "predict_images_per_second": round(predict, 1),
            "train_range": [round(args.batch / each(contender.train), 1) for each in (max, min)],
            "predict_range": [round(args.batch / each(contender.predict), 1) for each in (max, min)],
            "train_gflops": round(6 * arithmetic.multiply_adds(rows) * train / 1e9, 1),
        }
        result["networks"].append(row)
        print(
            f"| {row['name']} | {row['parameters']:,} | {row['multiply_adds']:,} | {row['build_seconds']:.2f} "
            f"| {train:,.0f} | {predict:,.0f} | {row['train_gflops']:,.0f} |"
        )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
