"""Every network x every input x every norm: builds, trains a step, has finite gradients, and its table is the truth.

    python benches/every_network.py FILE.jsonl [--input 3x32x32 ...] [NAME ...]

On noise, at full depth; each network once as it is in its paper, and with every norm at a quarter of its width, which
takes a tenth of the time (all of it: about half an hour of one core). Each combination is one line of the file as soon
as it is done; started again, it goes on after the last. The first line says what the machine is; what fails is told
again at the end, and is the exit code.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import torch

from machine import describe
from sightline import losses
from sightline.models import arithmetic, zoo
from sightline.models.network import Network
from sightline.models.style import NormName

INPUTS = ("1x8x8", "1x28x28", "3x32x32", "3x64x64", "2x96x48", "1x140", "1x16x16x16", "3x224x224")
CLASSES = 7
WIDTH = 0.25


def combinations(names: list[str], inputs: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield network, input and options; GoogLeNet also with its auxiliary heads."""
    for text in inputs:
        for name in names:
            entry = zoo.entry(name)
            if text.count("x") not in entry.dims:
                continue
            norms = get_args(NormName) if "norm" in entry.options else ()
            narrow = {"width": WIDTH} if "width" in entry.options else {}
            for options in ({}, *({"norm": norm, **narrow} for norm in norms)):
                yield name, text, options
                if "auxiliary" in entry.options:
                    yield name, text, {**options, "auxiliary": True}


def attempt(name: str, text: str, options: dict[str, Any]) -> dict[str, Any]:
    """Build a network, hold it against its table, train one step, and tell what was found; faults are exceptions."""
    torch.manual_seed(0)
    begun = time.perf_counter()
    shape = tuple(map(int, text.split("x")))
    rows = zoo.table(name, text, num_classes=CLASSES, **options)
    model = zoo.build(name, in_channels=shape[0], num_classes=CLASSES, image_size=shape[1:], **options)
    assert isinstance(model, Network)
    learnt = sum(p.numel() for p in model.parameters())
    assert learnt == arithmetic.parameters(rows), f"{learnt} parameters, {arithmetic.parameters(rows)} in the table"
    batch = 2 if shape[-1] >= 128 else 4
    x, y = torch.randn(batch, *shape), torch.arange(batch) % CLASSES
    loss_fn = losses.with_auxiliary(losses.loss("cross-entropy"), model)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    logits = model.train()(x)
    assert logits.shape == (batch, CLASSES) == (batch, *rows[-1].shape_out), f"logits {tuple(logits.shape)}"
    loss = loss_fn(logits, y)
    loss.backward()
    bad = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not bad, f"gradients missing or not finite: {', '.join(bad[:3])}, {len(bad)} in all"
    silent = sum(1 for p in model.parameters() if p.grad is not None and not p.grad.any())
    optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters()), "weights not finite after the step"
    with torch.inference_mode():  # not in evaluation mode: batch norms have seen one batch of a few images
        assert model(x).isfinite().all(), "logits not finite after the step"
    json.dumps([vars(row) for row in rows])
    return {
        "loss": round(loss.item(), 3),
        "parameters": learnt,
        "layers": len(rows),
        "adapted": list(model.adaptations),
        "silent": silent,
        "seconds": round(time.perf_counter() - begun, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("names", nargs="*", default=list(zoo.ZOO))
    parser.add_argument("--input", action="append", dest="inputs", help=f"one of {', '.join(INPUTS)}; else all")
    args = parser.parse_args()
    found = [json.loads(line) for line in args.file.read_text().splitlines()] if args.file.is_file() else []
    if not found:
        args.file.write_text(json.dumps(describe()) + "\n")
    done = {(row["name"], row["input"], str(row["options"])) for row in found if "name" in row}
    for name, text, options in combinations(args.names, args.inputs or list(INPUTS)):
        if (name, text, str(options)) in done:
            continue
        row = {"name": name, "input": text, "options": options}
        try:
            row |= attempt(name, text, options)
        except Exception as error:
            row["fault"] = f"{type(error).__name__}: {error}"
        found.append(row)
        with args.file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(len(found), name, text, options, row.get("fault", f"{row.get('seconds')} s"), flush=True)
        gc.collect()
    tried = [row for row in found if "name" in row]
    faults = [row for row in tried if "fault" in row]
    for row in faults:
        print("FAULT", row["name"], row["input"], row["options"], row["fault"].split("\n")[0])
    print(f"{len(tried)} combinations, {len(faults)} faults; {sum(row.get('seconds', 0) for row in tried):.0f} s")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
