"""Does a vote of the snapshots of one run beat a run without cycles, of the same epochs? Seed by seed, paired by image.

    python benches/snapshots.py cifar10 --runs runs/snapshots

Each seed trains the network twice on the same split: with one-cycle, and with a cyclic schedule. The single run answers
with the weights of its best epoch, as it would be used, and with those of its last; the snapshots (the weights at the
end of each cycle) by the mean of their probabilities (Huang et al. 2017). Differences are to the first; over seeds, to
both. What is trained already is not trained again: interrupted, it goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import sightline
from asked import QUIET, probabilities, truth
from sightline.data.images import Images
from sightline.diagnosis.paired import differences
from sightline.run import RunFolder
from told import over_seeds


def fewer(images: Images, count: int) -> Images:
    """Take so many training images, drawn at random but always the same, and all others."""
    assert images.splits is not None, "the source has no test images of its own"
    train = np.flatnonzero(images.splits == "train")
    drawn = np.random.default_rng(0).permutation(train)[:count]
    return images.select(np.sort(np.concatenate([drawn, np.flatnonzero(images.splits != "train")])))


def trained(images: Images, folder: Path, **settings: Any) -> sightline.Run:
    """Train, or go on with a training, or open a finished one."""
    if not (folder / "run.json").is_file():
        return sightline.train(images, runs=folder.parent, name=folder.name, progress=QUIET, **settings)
    if RunFolder.open(folder).read_state()["status"] == "finished":
        return sightline.Run.load(folder)
    return sightline.resume(folder, source=images, progress=QUIET)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--runs", type=Path, default=Path("runs/snapshots"))
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--width", type=float, default=1.0, help="factor on the network's feature maps")
    parser.add_argument("--images", type=int, default=3_000, help="for training and validation")
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--cycles", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    images = fewer(sightline.load(args.source), args.images)
    shared = {"model": args.model, "image_size": args.size, "epochs": args.epochs, "augment": "light,flip=on"}
    shared |= {"options": {"width": args.width}, "batch_size": args.batch, "split_seed": 0, "compile": "off"}
    gains: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        single = trained(images, args.runs / f"onecycle-{seed}", seed=seed, **shared)
        cyclic = trained(
            images, args.runs / f"cyclic-{seed}", seed=seed, schedule="cyclic", cycles=args.cycles, **shared
        )
        labels = truth(single, images)
        alone = probabilities(single, single.model, images)
        each = [probabilities(cyclic, cyclic.network(path), images) for _, path in cyclic.snapshots()]
        end = probabilities(single, single.network(single.folder.last), images)
        asked = {
            "one-cycle": alone,
            "one-cycle, last epoch": end,
            **{f"snapshot {i}": p for i, p in enumerate(each, 1)},
        }
        asked |= {f"vote of the last {n}": sum(each[-n:]) / n for n in range(2, len(each) + 1)}  # type: ignore[misc]
        for name, p in asked.items():
            gain = differences(p.argmax(1), alone.argmax(1), labels, p.shape[1])["accuracy"]
            loss = -np.log(p[np.arange(len(labels)), labels].clip(1e-12)).mean()
            gains.setdefault(name, []).append(gain.value)
            told = "" if name == "one-cycle" else f", {gain.value:+.2%} ({gain.low:+.2%} to {gain.high:+.2%})"
            print(f"seed {seed}: {name} {(p.argmax(1) == labels).mean():.2%}, loss {loss:.3f}{told}", flush=True)
    if args.seeds < 2:
        return
    for other in ("one-cycle", "one-cycle, last epoch"):
        for name, values in gains.items():
            if not name.startswith("one-cycle"):
                mean, low, high = over_seeds([a - b for a, b in zip(values, gains[other], strict=True)])
                print(f"{name} - {other}: {mean:+.2%} (95 % interval {low:+.2%} to {high:+.2%} over seeds)")


if __name__ == "__main__":
    main()
