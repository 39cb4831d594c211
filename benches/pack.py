"""Image files decoded to one size: files a second by type and size, Pillow alone, simplejpeg, and by threads.

    python benches/pack.py [--rounds 5]
    python benches/pack.py --folder PHOTOS --side 224

The first way is what everybody does: open with Pillow, convert, resize. The files are drawn unless a folder is given.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from sightline.data import decode as decoding
from sightline.data.ahead import ahead
from sightline.data.decode import EXTENSIONS, decode
from sightline.measuring.machine import photos
from sightline.measuring.turns import Way, in_turns
from told import tell


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="photos to take instead of drawn ones")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--count", type=int, default=60, help="files of the folder, chosen at random")
    arguments = parser.parse_args()
    if arguments.folder:
        files = [path for path in sorted(arguments.folder.rglob("*")) if path.suffix.lower() in EXTENSIONS]
        files = random.Random(0).sample(files, min(arguments.count, len(files)))
        tell(
            f"{arguments.folder.name} to {arguments.side}",
            in_turns(ways(files, arguments.side), rounds=arguments.rounds),
        )
        return
    cases = {
        "JPEG 500 x 375 to 224": (24, (375, 500), 224, "JPEG"),
        "JPEG 4032 x 3024 to 224": (2, (3024, 4032), 224, "JPEG"),
        "JPEG 32 x 32 to 32": (200, (32, 32), 32, "JPEG"),
        "PNG 32 x 32 to 32": (200, (32, 32), 32, "PNG"),
    }
    for name, (count, size, side, kind) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            files = photos(Path(folder), count, size)
            if kind == "PNG":
                files = [as_png(file) for file in files]
            tell(name, in_turns(ways(files, side), rounds=arguments.rounds))


def as_png(file: Path) -> Path:
    """Write the same pixels as PNG."""
    Image.open(file).save(file.with_suffix(".png"))
    return file.with_suffix(".png")


def ways(files: list[Path], side: int) -> dict[str, Way]:
    """Give the ways to decode some files to a square."""

    def plainly(path: Path) -> int:
        with Image.open(path) as image:
            return len(np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)))

    def one(path: Path) -> int:
        return len(decode(path, (side, side), channels=3).pixels)

    def by_pillow() -> int:
        with without_simplejpeg():
            return sum(one(path) > 0 for path in files)

    return {
        "Pillow, opened and resized": lambda: sum(plainly(path) > 0 for path in files),
        "decode, Pillow": by_pillow,
        "decode": lambda: sum(one(path) > 0 for path in files),
        "decode, threads": lambda: sum(rows > 0 for rows in ahead(one, files, most=32, chunk=4)),
    }


@contextmanager
def without_simplejpeg() -> Iterator[None]:
    """Decode as if it were not installed."""
    kept: Callable[[], object] = decoding._simplejpeg
    decoding._simplejpeg = lambda: None  # type: ignore[assignment]
    try:
        yield
    finally:
        decoding._simplejpeg = kept  # type: ignore[assignment]


if __name__ == "__main__":
    main()
