"""ResNet-18 at 224 x 224: images a second by every engine, beside the network in fp32 as torch runs it by default.

    python benches/predict.py [--rounds 5] [--size 224] [--engines plain,folded,openvino]
    python benches/predict.py --run RUN --source SOURCE    whether labels agree on a whole test set, too

On a GPU, if there is one.
"""

from __future__ import annotations

import argparse
import importlib.util

import numpy as np
import torch

import sightline
from sightline.measuring.turns import Way, in_turns
from sightline.serving import engines
from sightline.training import device as devices
from sightline.training.memory import keep_memory
from sightline.training.precision import Precision
from told import tell, tell_ratio


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--engines", default="plain,folded,openvino")
    parser.add_argument("--run", help="a run whose labels are compared, image by image")
    parser.add_argument("--source", help="the images for that; else its own test part")
    arguments = parser.parse_args()
    keep_memory()
    names = [name for name in arguments.engines.split(",") if usable(name)]
    if arguments.run:
        agreement(arguments.run, arguments.source, names)
        return
    device, _ = devices.choose("auto")
    torch.manual_seed(0)
    network = sightline.build("resnet18", in_channels=3, num_classes=10, image_size=arguments.size).eval().to(device)
    precision = Precision.of("auto", device)
    for batch in (1, 32):
        x = torch.randn(batch, 3, arguments.size, arguments.size, device=device)
        last = x.contiguous(memory_format=torch.channels_last)
        ways = {"eager fp32": way(network.to(memory_format=torch.contiguous_format), x, repeats=4 // batch or 1)}
        copy = sightline.build("resnet18", in_channels=3, num_classes=10, image_size=arguments.size)
        copy.load_state_dict(network.state_dict())
        precision.arrange(copy.eval().to(device))
        for name in names:
            ways[name] = way(engines.ENGINES[name].make(copy, last, precision), last, repeats=4 // batch or 1)
        tell(f"batch {batch}, {precision.mode}", in_turns(ways, rounds=arguments.rounds))


def usable(name: str) -> bool:
    """Say whether an engine's package is there."""
    package = engines.ENGINES[name].package
    return not package or importlib.util.find_spec(package) is not None


def way(logits: engines.Logits, x: torch.Tensor, repeats: int) -> Way:
    """Give a function that recognises a batch some times."""

    @torch.inference_mode()
    def once() -> int:
        for _ in range(repeats):
            logits(x).sum().item()
        return repeats * len(x)

    return once


def agreement(run: str, source: str | None, names: list[str]) -> None:
    """Print, for every engine, the share of a test set's labels that are those of the network in fp32."""
    opened = sightline.Run.load(run)
    found = opened.labelled(source)
    predictor, rows = opened.predictor, found.scored
    exact = opened.serve(opened.model)
    exact.precision = Precision("fp32", exact.device)
    wanted = exact.logits(found.pixels.array, rows).argmax(1)
    for name in names:
        labels = [
            predictor.classes.index(label)
            for label in predictor.predict(np.asarray(found.pixels.array[rows]), engine=name).labels
        ]
        tell_ratio(f"labels of {len(rows)} images", name, "fp32", [float((np.array(labels) == wanted).mean())])


if __name__ == "__main__":
    main()
