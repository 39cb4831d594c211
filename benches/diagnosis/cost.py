"""What instruments and probes cost: processor time spent in them / that of the whole training, within one training.

``python benches/diagnosis/cost.py digits --model mlp --epochs 30``. Both are timed inside the same training, so other
programs on the machine hardly matter, and no pair of trainings has to be compared.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import sightline
from sightline.making.probing import Probing
from sightline.progress import Progress
from sightline.training.instruments import Instruments
from sightline.training.trainer import Trainer


def timed(owner: Any, name: str, spent: dict[str, float]) -> Callable[[], None]:
    """Add up the processor time of a function in ``spent``; give what puts the function back."""
    plain = getattr(owner, name)

    def clocked(*args: Any, **named: Any) -> Any:
        began = time.process_time()
        try:
            return plain(*args, **named)
        finally:
            spent[name] = spent.get(name, 0.0) + time.process_time() - began

    setattr(owner, name, clocked)
    return lambda: setattr(owner, name, plain)


def main() -> None:
    """Train with the default instruments, then with all, and print what share of the time they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--image-size", type=int)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for instruments in ("some", "all"):
        spent: dict[str, float] = {}
        parts = ((Instruments, "measure"), (Probing, "ask"), (Probing, "row"), (Trainer, "loop"))
        undo = [timed(owner, name, spent) for owner, name in parts]
        with tempfile.TemporaryDirectory() as folder:
            more = {"image_size": asked.image_size} if asked.image_size else {}
            run = sightline.train(
                asked.source,
                asked.model,
                epochs=asked.epochs,
                instruments=instruments,
                runs=Path(folder),
                device="cpu",
                compile="off",
                patience=0,
                progress=Progress(quiet=True),
                **more,
            )
            looks = len(run.folder.instruments.read_text(encoding="utf-8").splitlines())
        for each in undo:
            each()
        trained_s = spent["loop"] - spent["row"]  # after a short first epoch, probes are asked inside the loop
        told = {
            "instruments": instruments,
            "looks": looks,
            "epochs": asked.epochs,
            "training_seconds": round(trained_s, 2),
            "instruments_share": round(spent["measure"] / (trained_s - spent["measure"]), 4),
            "probes_seconds": round(spent["ask"], 2),
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
