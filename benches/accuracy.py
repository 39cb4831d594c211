"""Does the fast path lose accuracy? The same seeds trained by the ``Trainer`` and in a plain fp32 loop, paired.

    python benches/accuracy.py fashion.npz results.jsonl --width 0.25 --images 30000 --image-size 14 --epochs 5

Fast: bf16, channels_last, a fused optimizer, freed memory kept, as ``sightline train`` has them. Plain: fp32, the
layout that images come in, an optimizer without kernels of its own. Network, first weights, order and augmentation of
the images, rates and decay are the same; each is scored with the weights of its last epoch.

Each training appends a line to the file of results, and is not made again. Prints one line a seed, and the mean
difference in test accuracy with its 95 % interval (Student's t over seeds).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import sightline
from sightline.making import plan
from sightline.making.assembly import assemble, train_stream
from sightline.making.beginning import begin
from sightline.making.course import schedule_of
from sightline.making.prepared import Prepared, prepare
from sightline.progress import Progress
from sightline.settings import Settings
from sightline.training import optim
from sightline.training.memory import keep_memory
from sightline.training.precision import Precision
from told import over_seeds

CPU = torch.device("cpu")


def fast(data: Prepared, settings: Settings) -> tuple[nn.Module, Precision]:
    """Train as the command does."""
    trainer = assemble(None, data, settings, CPU, Progress(quiet=True))
    for _ in range(settings.epochs or 1):
        trainer.trainbatches()
    return trainer.model, trainer.precision


def plain(data: Prepared, settings: Settings) -> tuple[nn.Module, Precision]:
    """Train as a tutorial writes it, with the same settings."""
    network, stream = begin(data, settings).network, train_stream(data, settings, CPU)
    groups = optim.groups(network, settings.lr or 0.0, settings.weight_decay or 0.0)
    optimizer = torch.optim.AdamW(groups, lr=settings.lr or 0.0, foreach=False, fused=False)
    rate, step = schedule_of(settings, len(stream)), 0
    network.train()
    for _ in range(settings.epochs or 1):
        for x, y in stream:
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            loss = F.cross_entropy(network(x.contiguous()), y, label_smoothing=settings.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return network, Precision("fp32", CPU, channels_last=False)


WAYS = {"fast": fast, "plain": plain}


def accuracy(model: nn.Module, precision: Precision, data: Prepared) -> float:
    """Give the share of test images that are recognised."""
    model.eval()
    right = 0
    with torch.inference_mode(), precision.forward():
        for rows in np.array_split(data.split.test, -(-len(data.split.test) // 500)):
            x = data.inputs(rows).contiguous(
                memory_format=torch.channels_last if precision.channels_last else torch.contiguous_format
            )
            right += int((model(x).argmax(dim=1).numpy() == data.labels[rows]).sum())
    return right / len(data.split.test)


def prepared(source: str, images: int, settings: Settings) -> Prepared:
    """Read the data and keep some of the training images, drawn from a fixed seed."""
    quiet = Progress(quiet=True)
    data = prepare(sightline.load(source, progress=quiet), settings, quiet)
    train = data.split.train
    kept = np.sort(np.random.default_rng(0).permutation(train)[:images]) if images else train
    return replace(data, split=replace(data.split, train=kept))


def main() -> None:
    """Train what is missing, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("results", type=Path, help="lines of JSON; what is in it is not trained again")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=0, help="to train on; 0: all")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--augment", default="none,shift=0.0625")
    args = parser.parse_args()
    keep_memory()
    options = {} if args.width == 1 else {"width": args.width}
    asked = Settings(
        model=args.model,
        options=options,
        epochs=args.epochs,
        image_size=args.image_size,
        augment=args.augment,
        compile="off",
    )
    data = prepared(args.source, args.images, asked)
    size = data.preprocessing.size
    settings = plan.make(asked, counts=data.counts, kind=data.images.kind, size=size, size_reason="").settings
    case = [args.source, args.model, args.width, args.images, args.image_size, args.epochs, args.augment]
    gaps = []
    for seed in range(args.seeds):
        found = {}
        for way in sorted(WAYS, reverse=bool(seed % 2)):
            found[way] = made(args.results, {"case": case, "way": way, "seed": seed}, data, settings)
        gaps.append(found["fast"]["accuracy"] - found["plain"]["accuracy"])
        told = "  ".join(f"{way} {row['accuracy']:.2%} in {row['seconds']:.0f} s" for way, row in found.items())
        print(f"seed {seed}: {told}  difference {gaps[-1]:+.2%}", flush=True)
    if len(gaps) > 1:
        mean, low, high = over_seeds(gaps)
        print(f"fast - plain: {mean:+.2%} (95 % interval {low:+.2%} to {high:+.2%}), n = {len(gaps)} seeds")


def made(path: Path, key: dict[str, object], data: Prepared, settings: Settings) -> dict[str, float]:
    """Give accuracy and processor seconds of one training: from the file, or from making it."""
    lines = path.read_text().splitlines() if path.exists() else []
    for row in map(json.loads, lines):
        if {name: row[name] for name in key} == key:
            return dict(row)
    way, seed = str(key["way"]), int(str(key["seed"]))
    precision = "bf16" if way == "fast" else "fp32"
    began = time.process_time()
    model, how = WAYS[way](data, settings.model_copy(update={"seed": seed, "precision": precision}))
    found = {"seconds": time.process_time() - began, "accuracy": accuracy(model, how, data)}
    with path.open("a") as file:
        file.write(json.dumps({**key, **found}) + "\n")
    return found


if __name__ == "__main__":
    main()
