"""The largest memory of a training process: the ``Trainer``'s and a loop by hand; and of reading a store from a file.

    python benches/memory.py train [--rounds 3]
    python benches/memory.py store [--gigabytes 10] [--side 224]

``train`` runs ``benches/cnn.py`` (CNNblocks, batch 64) both ways, each in a process of its own. ``store`` reads a
sparse file of so many gigabytes once, in random order, as training does, and tells the largest memory it took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from scaling import peak, sparse
from sightline.data.stream import Stream
from told import tell_ratio

HERE = Path(__file__).parent


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("train", "store"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--side", type=int, default=224)
    arguments = parser.parse_args()
    if arguments.what == "train":
        pairs = [(cnn("hand"), cnn("trainer")) for _ in range(arguments.rounds)]
        print(f"MB, by hand and by the trainer: {pairs}")
        tell_ratio("CNNblocks", "memory, hand", "trainer", [hand / trainer for hand, trainer in pairs])
    else:
        store(arguments.gigabytes, arguments.side)


def cnn(how: str) -> float:
    """Give the peak memory of a short training, in MB."""
    told = subprocess.run(
        [sys.executable, str(HERE / "cnn.py"), how, "--steps", "12"], capture_output=True, text=True, check=True
    )
    line = next(line for line in told.stdout.splitlines() if line.startswith("RESULT "))
    return float(json.loads(line.removeprefix("RESULT "))["peak_mb"])


def store(gigabytes: float, side: int) -> None:
    """Read a store once, in random order, and tell the largest memory."""
    count = int(gigabytes * 2**30 / (side * side * 3))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        array, spec = sparse(Path(folder) / "pixels.npy", count, side)
        rows = np.arange(count)
        before = peak()
        for _ in Stream(array, rows % 10, rows, spec, batch_size=64, num_classes=10):
            pass
        after = peak()
    print(f"a store of {gigabytes:g} GB, {count:,} images of {side}: {before:.0f} MB before, {after:.0f} MB at most")
    tell_ratio(
        f"store of {gigabytes:g} GB", "size of the store", "memory it took", [gigabytes * 1024 / (after - before)]
    )


if __name__ == "__main__":
    main()
