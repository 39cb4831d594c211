"""Which batch-norm statistics belong to averaged weights? Their loss on held-out images with each kind, seed by seed.

    python benches/norms.py cifar10

A small residual net is trained on 5,000 images of 16 x 16 for 8 epochs at a constant rate; its weights are averaged
both ways, moving (0.99) and equal (the last quarter). Then each average is evaluated with the statistics of the last
weights (stale), with statistics averaged as the weights are, and with statistics estimated on training batches.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
from collections.abc import Iterable

import numpy as np
import torch
from torch.nn import functional as F

import sightline
from sightline.data.presets import preset
from sightline.data.stream import Stream
from sightline.making.prepared import prepare
from sightline.progress import Progress
from sightline.settings import Settings
from sightline.training import norms, optim
from sightline.training.averaging import Average
from sightline.training.norms import Statistics
from told import over_seeds

CPU = torch.device("cpu")


def losses(source: str, seed: int, images: int, epochs: int) -> dict[str, float]:
    """Train once, evaluate both averages in every way: loss by ``average, statistics``."""
    quiet = Progress(quiet=True)
    data = prepare(sightline.load(source), Settings(seed=seed, image_size=16), quiet)
    numbers = np.random.default_rng(seed)
    train, test = numbers.permutation(data.split.train)[:images], numbers.permutation(data.split.test)[:2000]
    light, _ = preset("light", data.preprocessing, data.images.classes, data.pixels.array, data.labels, rows=train)

    def stream(rows: np.ndarray, augmented: bool, batch: int = 128) -> Stream:
        how = {"augment": light if augmented else None, "shuffle": batch == 128, "seed": seed}
        return Stream(data.pixels.array, data.labels, rows, data.preprocessing, batch_size=batch, **how)  # type: ignore[arg-type]

    torch.manual_seed(seed)
    model = sightline.build("resnet20", in_channels=3, num_classes=len(data.images.classes), image_size=16, width=0.375)
    optimizer, batches = optim.build("adamw", model, lr=2e-3, weight_decay=0.05), stream(train, True)
    last = range(epochs - epochs // 4 + 1, epochs + 1)
    averages = {"moving": Average(model, 0.99, (), Statistics(batches, CPU)),
                "equal": Average(model, 0.0, last, Statistics(batches, CPU))}  # fmt: skip
    moved = {name: value.clone() for name, value in norms.buffers(model).items()}
    for epoch in range(1, epochs + 1):
        model.train()
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            averages["moving"].step()
            decay = min(0.99, (1 + averages["moving"].updates) / (10 + averages["moving"].updates))
            for name, value in norms.buffers(model).items():
                if value.is_floating_point():
                    moved[name].lerp_(value, 1 - decay)
        averages["equal"].epoch(epoch)

    @torch.no_grad()
    def loss() -> float:
        model.eval()
        return sum(float(F.cross_entropy(model(x), y, reduction="sum")) for x, y in stream(test, False, 500)) / 2000

    def some(rows: np.ndarray, augmented: bool, count: int) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        return itertools.islice(stream(rows, augmented), math.ceil(count / 128))

    own = {name: value.clone() for name, value in norms.buffers(model).items()}
    found = {"last weights, own": loss()}
    for name, average in averages.items():
        with average.applied():  # which estimates them once more, and is overruled here
            for kind in ("stale", "averaged", "512 images", "2,048 images", "2,048 images as they are", "all images"):
                for key, value in norms.buffers(model).items():
                    value.copy_((moved if kind == "averaged" else own)[key])
                if "images" in kind:
                    count = images if kind == "all images" else int(kind.split()[0].replace(",", ""))
                    norms.estimate(model, some(train, "as they are" not in kind, count))
                if not (name == "equal" and kind == "averaged"):
                    found[f"{name}, {kind}"] = loss()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    found = [losses(args.source, seed, args.images, args.epochs) for seed in range(args.seeds)]
    for name in found[0]:
        values = [one[name] for one in found]
        gaps = [one[name] - one[f"{name.split(',')[0]}, 2,048 images"] for one in found] if "own" not in name else []
        told = f"{name}: {statistics.mean(values):.4f}"
        if gaps and any(gaps) and len(gaps) > 1:
            mean, low, high = over_seeds(gaps)
            told += f", {mean:+.4f} (95 % interval {low:+.4f} to {high:+.4f}) to that of 2,048 images"
        print(told)


if __name__ == "__main__":
    main()
