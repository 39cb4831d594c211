"""Networks that `model=auto` may take, trained for the same processor time -> whether its rule takes a good one."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from sightline.data.sources import load
from sightline.making import plan
from sightline.making.assembly import PROBE, assemble, train_stream, training_loss
from sightline.making.beginning import begin
from sightline.making.choices import resolve
from sightline.making.course import optimizer_of
from sightline.making.prepared import Prepared, prepare
from sightline.progress import Progress
from sightline.serving.predict import Predictor
from sightline.settings import Settings
from sightline.training import memory, speed
from sightline.training.precision import Precision

SCORED = 2000
"""Test images, at most, that score a training."""


def fitted(given: Settings, data: Prepared, seconds: float) -> tuple[Settings, float]:
    """Give the settings with as many epochs and steps as fit into processor seconds, and the seconds of a step."""
    device = torch.device("cpu")
    quiet = Progress(quiet=True)
    settings = resolve(given.model_copy(update={"epochs": 1}), data, device, quiet).settings
    start = begin(data, settings)
    stream = train_stream(data, settings, device)
    step_s = speed.step_seconds(
        start.network,
        stream,
        training_loss(data, settings, start.network),
        Precision.of(settings.precision, device),
        optimizer=lambda copy: optimizer_of(settings, copy, lr=1e-6),
        clock=time.process_time,
    )
    images = len(data.split.valid) + min(PROBE, len(data.split.train))
    epochs, steps = plan.fit_minutes(
        seconds / 60, step_s=step_s, steps=len(stream), eval_s=step_s / 3 * images / stream.batch_size
    )
    return settings.model_copy(update={"epochs": epochs, "train_steps": steps}), step_s


def train(given: Settings, data: Prepared, seconds: float) -> dict[str, Any]:
    """Train for some processor seconds, and score the best weights on the test part."""
    settings, step_s = fitted(given, data, seconds)
    begun = time.process_time()
    trainer = assemble(None, data, settings, torch.device("cpu"), Progress(quiet=True))
    trainer.loop()
    taken = time.process_time() - begun
    rows = data.split.test
    rows = rows[:: -(-len(rows) // SCORED)]
    logits = Predictor(trainer.model, data.images.classes, data.preprocessing).logits(data.pixels.array, rows)
    steps = settings.train_steps or len(trainer.traindataloader)
    return {
        "model": settings.model,
        "options": settings.options,
        "seconds": seconds,
        "taken": round(taken, 1),
        "step_ms": round(step_s * 1000, 1),
        "epochs": settings.epochs,
        "steps": (settings.epochs or 0) * steps,
        "seen": (settings.epochs or 0) * steps * (settings.batch_size or 0),
        "accuracy": round(float((logits.argmax(1) == data.labels[rows]).mean()), 4),
        "n": len(rows),
    }


def main() -> None:
    """Train each network for each number of seconds, and write a line of JSON for each training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--networks", default="resnet18,resnet18/0.5,fastnet,fastnet/0.5,resnet20,cnn,lenet5")
    parser.add_argument("--seconds", default="30,120")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("choosing.jsonl"))
    asked = parser.parse_args()
    memory.keep_memory()
    torch.manual_seed(0)
    quiet = Progress(quiet=True)
    data = prepare(load(asked.source, progress=quiet), Settings(split_seed=0), quiet)
    print(f"{asked.source}: {len(data.split.train)} training images of {data.preprocessing.shape}", flush=True)
    for seconds in map(float, asked.seconds.split(",")):
        for name in asked.networks.split(","):
            model, _, width = name.partition("/")
            options = {"width": float(width)} if width else {}
            for seed in range(asked.seeds):
                given = Settings(model=model, options=options, seed=seed, split_seed=0, compile="off", minutes=None)
                row = {"source": asked.source, "seed": seed, **train(given, data, seconds)}
                with asked.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(
                    name,
                    {key: row[key] for key in ("seconds", "taken", "step_ms", "epochs", "seen", "accuracy")},
                    flush=True,
                )


if __name__ == "__main__":
    main()
