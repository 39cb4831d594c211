"""A folder of images read for training, without a network: the first pass, decoding included, and later ones.

    python benches/epochs.py small [--rounds 5]        PNG files of 32 x 32, shifted and mirrored: CIFAR-10 as a folder
    python benches/epochs.py photos [--rounds 5]       JPEG files of 500 x 375, randomly cropped to 224 and mirrored
    python benches/epochs.py photos --folder PHOTOS

Beside it a data set as everybody writes it, which opens and crops each file anew in every epoch, in a ``DataLoader``
with as many worker processes as there are processors: for photos torchvision's ``ImageFolder`` and transforms, where
there is a torchvision, else the same written out (the table says which). Both give normalised float batches of 64.
``--processor`` counts the time of the processors instead of the clock's, workers included, where others use the
machine, too. ``--pillow`` decodes as if simplejpeg were not installed.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pack import without_simplejpeg
from sightline.data.augment import Augment
from sightline.data.decode import EXTENSIONS
from sightline.data.pixels import pack
from sightline.data.sources import load
from sightline.data.stream import Stream
from sightline.measuring.machine import photos
from sightline.measuring.turns import in_turns
from sightline.progress import Progress
from sightline.training.memory import keep_memory
from told import tell

BATCH = 64


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=("small", "photos"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="class folders of images, instead of drawn ones")
    parser.add_argument("--count", type=int, help="images that are drawn")
    parser.add_argument("--processor", action="store_true", help="count processor time, of the workers, too")
    parser.add_argument("--pillow", action="store_true", help="decode by Pillow alone")
    arguments = parser.parse_args()
    keep_memory()
    with without_simplejpeg() if arguments.pillow else nullcontext(), tempfile.TemporaryDirectory() as place:
        folder = arguments.folder or drawn(Path(place), arguments.kind, arguments.count)
        side = 32 if arguments.kind == "small" else 224
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        usual, whose = files(folder, side, arguments.kind)
        loader = DataLoader(usual, BATCH, shuffle=True, num_workers=workers)
        augment = Augment(shift=0.125, flip=True) if arguments.kind == "small" else Augment(crop=0.92, flip=True)
        later = packed(folder, side, augment, Path(place) / "cache")
        turn = [0]

        def first() -> int:
            turn[0] += 1
            return passed(packed(folder, side, augment, Path(place) / f"cache{turn[0]}"))

        ways = {
            f"{whose}, {workers} workers": lambda: passed(loader),
            "first pass, decoding included": first,
            "later passes": lambda: passed(later),
        }
        clock = processor_time if arguments.processor else time.perf_counter
        name = arguments.folder.name if arguments.folder else arguments.kind
        tell(name, in_turns(ways, rounds=arguments.rounds, clock=clock))


def processor_time() -> float:
    """Give the seconds that this process, its threads and its ended workers have computed."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def files(folder: Path, side: int, kind: str) -> tuple[Dataset[Any], str]:
    """Give the data set that everybody writes, and whose it is."""
    by_hand = Files(folder, side, kind), "files anew"
    try:
        from torchvision import datasets, transforms
    except ImportError:
        return by_hand
    if kind == "small":
        return by_hand
    steps = [
        transforms.RandomResizedCrop(side),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.45,) * 3, (0.25,) * 3),
    ]
    made: Dataset[Any] = datasets.ImageFolder(str(folder), transforms.Compose(steps))
    return made, "torchvision"


def drawn(place: Path, kind: str, count: int | None) -> Path:
    """Draw two classes of images."""
    size, number = ((32, 32), count or 2000) if kind == "small" else ((375, 500), count or 128)
    for label in ("one", "two"):
        (place / "images" / label).mkdir(parents=True)
        for file in photos(place / "images" / label, number // 2, size):
            if kind == "small":
                Image.open(file).save(file.with_suffix(".png"))
                file.unlink()
    return place / "images"


def packed(folder: Path, side: int, augment: Augment, cache: Path) -> Stream:
    """Decode a folder into a cache of its own, and give its stream."""
    pixels = pack(load(folder, progress=Progress(quiet=True)), side, "crop", cache=cache)
    rows = np.arange(len(pixels))
    return Stream(
        pixels.array,
        pixels.images.labels,
        rows,
        pixels.preprocessing.fit(pixels.array, rows),
        batch_size=BATCH,
        augment=augment,
    )


def passed(batches: Any) -> int:
    """Go through all batches once."""
    return sum(len(x) for x, _ in batches)


class Files(Dataset[Any]):
    """Class folders, each file opened when it is asked for."""

    def __init__(self, folder: Path, side: int, kind: str) -> None:
        self.paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in EXTENSIONS]
        self.labels = {name: number for number, name in enumerate(sorted({path.parent.name for path in self.paths}))}
        self.side = side
        self.change: Callable[[Image.Image], Image.Image] = self.shifted if kind == "small" else self.cropped

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        path = self.paths[row]
        with Image.open(path) as file:
            image = self.change(file.convert("RGB"))
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)
        return x.sub_(0.45).div_(0.25), self.labels[path.parent.name]

    def shifted(self, image: Image.Image) -> Image.Image:
        """Cut out the size again, after padding by an eighth."""
        pad = self.side // 8
        wide = Image.new("RGB", (self.side + 2 * pad, self.side + 2 * pad))
        wide.paste(image, (pad, pad))
        left, top = random.randint(0, 2 * pad), random.randint(0, 2 * pad)
        return wide.crop((left, top, left + self.side, top + self.side))

    def cropped(self, image: Image.Image) -> Image.Image:
        """Cut out 8 % to 100 % of the area and bring it to size."""
        area = image.width * image.height * random.uniform(0.08, 1)
        ratio = 2 ** random.uniform(-0.415, 0.415)
        width = min(image.width, round((area * ratio) ** 0.5))
        height = min(image.height, round((area / ratio) ** 0.5))
        left, top = random.randint(0, image.width - width), random.randint(0, image.height - height)
        box = (left, top, left + width, top + height)
        return image.resize((self.side, self.side), Image.Resampling.BILINEAR, box=box)


if __name__ == "__main__":
    main()
