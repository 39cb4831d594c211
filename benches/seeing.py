"""What images made for units are worth: how strong, how robust, on which networks, and how long they take.

    python benches/seeing.py natural runs/NAME --units 32          # activation over the natural maximum, robustness
    python benches/seeing.py ceiling runs/NAME --units 32          # the most that first units can reach at all
    python benches/seeing.py grid [NETWORK...] --file grid.jsonl   # five objectives, every network, every input
    python benches/seeing.py times runs/NAME                       # seconds for the five objectives, and for a batch
    python benches/seeing.py transfer runs/A runs/B runs/C         # images for A's classes, recognised by B and C

Beside lucent: ``benches/lucent.py``; how natural and how recognisable: ``benches/likeness.py``. Every line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import sightline
from sightline import see
from sightline.models import zoo
from sightline.progress import Progress
from sightline.seeing import objectives as wish
from sightline.seeing.ascent import Dream
from sightline.seeing.canvas import Canvas
from sightline.seeing.dream import dream
from sightline.seeing.hearing import evaluate, hear, logits, values
from sightline.seeing.layers import Layers, Place
from sightline.seeing.nature import usual
from sightline.seeing.objectives import Objective
from sightline.seeing.subject import Subject
from sightline.seeing.taps import Taps
from sightline.seeing.transforms import transform

QUIET = Progress(quiet=True)

INPUTS = ("1x8x8", "1x28x28", "3x32x32", "2x140", "1x8x8x8", "3x224x224")
"""Images, signals and volumes that the grid is made for; photos of 224 pixels for networks that were made for these."""


def say(**values: Any) -> None:
    rounded = {k: round(v, 4) if isinstance(v, float) and math.isfinite(v) else v for k, v in values.items()}
    print(json.dumps(rounded), flush=True)


def rectified(subject: Subject, most: int) -> list[Place]:
    """Choose rectified layers with maps, spread from the first to the last; without any, layers with weights."""
    maps = [p for p in subject.layers if p.positions and p.calls == 1]
    found = [p for p in maps if p.kind == "ReLU"] or [p for p in maps if p.parameters]
    spread = np.unique(np.linspace(0, len(found) - 1, most).round().astype(int))
    return [found[i] for i in spread]


def chosen(subject: Subject, place: Place, count: int, seed: int = 0) -> tuple[list[Objective], torch.Tensor, int]:
    """Choose units that are live on the examples, at random: objectives, natural maxima, how many were dead."""
    order = np.random.default_rng(seed).permutation(place.units)[: 2 * count].tolist()
    asked = [wish.channel(place.name, unit) for unit in order]
    with Taps(subject.model, [place.name], stop=True) as taps:
        most = evaluate(taps, asked, subject.examples, subject.layers).amax(1)
    live = [i for i in range(len(order)) if most[i] > 1e-6][:count]
    return [asked[i] for i in live], most[live], int((most <= 1e-6).sum())


def robustness(subject: Subject, asked: list[Objective], found: list[Dream], name: str) -> list[float]:
    """Give the mean objective under unseen shifts, turns and noise, over the one seen straight."""
    numbers, x = torch.Generator().manual_seed(999), torch.stack([one.image for one in found])
    span = (subject.nature.high - subject.nature.low).view(1, -1, *[1] * (x.ndim - 2))
    total = torch.zeros(len(found))
    with Taps(subject.model, [name], stop=True) as taps, torch.no_grad():
        for _ in range(16):
            moved = transform(x, numbers) + 0.02 * span * torch.randn(x.shape, generator=numbers)
            total += values(asked, hear(taps, moved, subject.layers))
    return [float(t / 16) / one.value for t, one in zip(total, found, strict=True)]


def natural(arguments: argparse.Namespace) -> None:
    subject = see.subject(arguments.runs[0])
    everything: list[float] = []
    for place in rectified(subject, arguments.layers):
        asked, most, dead = chosen(subject, place, arguments.units)
        began = time.process_time()
        found = dream(
            subject.model, asked, subject.shape, nature=subject.nature, known=subject.layers,
            examples=subject.examples, steps=arguments.steps,
        )  # fmt: skip
        ratios = [one.value / float(m) for one, m in zip(found, most, strict=True)]
        everything += ratios
        say(
            layer=place.name, live=len(asked), dead=dead, median=statistics.median(ratios), least=min(ratios),
            above=sum(r >= 1 for r in ratios) / len(ratios),
            robust=statistics.median(robustness(subject, asked, found, place.name)),
            again=sum(one.woken != "noise" for one in found), cpu_s=time.process_time() - began,
        )  # fmt: skip
    say(
        what="natural", run=str(arguments.runs[0]), examples=len(subject.examples), n=len(everything),
        median=statistics.median(everything), above=sum(r >= 1 for r in everything) / len(everything),
    )  # fmt: skip


def ceiling(arguments: argparse.Namespace) -> None:
    """Say how much the units of the first rectified layer can answer at most, and what of that images reach.

    Such a unit is a convex function of the pixels: its best image is black or white everywhere, and to move every pixel
    to the end that the gradient asks for never lowers it (Frank and Wolfe 1956). From five beginnings that finds nearly
    the most there is, robust or not.
    """
    subject = see.subject(arguments.runs[0])
    place = rectified(subject, 1)[0]
    asked, most, _ = chosen(subject, place, arguments.units)
    found = dream(
        subject.model, asked, subject.shape, nature=subject.nature, known=subject.layers,
        examples=subject.examples, steps=arguments.steps,
    )  # fmt: skip
    made = torch.tensor([one.value for one in found])
    low, high = (bound.view(1, -1, 1, 1) for bound in (subject.nature.low, subject.nature.high))
    numbers = torch.Generator().manual_seed(0)
    with Taps(subject.model, [place.name], stop=True) as taps:
        best = evaluate(taps, asked, subject.examples, subject.layers).argmax(1)
        shape = (len(asked), *subject.shape)
        starts = [subject.examples[best], torch.stack([one.image for one in found]), high.expand(shape)]
        starts += [low + (high - low) * torch.rand(shape, generator=numbers) for _ in range(2)]
        reached = torch.full((len(asked),), -math.inf)
        for x in starts:
            for _ in range(60):
                x = x.detach().clone().requires_grad_()
                value = values(asked, hear(taps, x, subject.layers))
                reached = torch.maximum(reached, value.detach())
                (slope,) = torch.autograd.grad(value.sum(), x)
                x = torch.where(slope > 0, high, torch.where(slope < 0, low, x))
    say(
        what="ceiling", run=str(arguments.runs[0]), layer=place.name, n=len(asked),
        ceiling=float((reached / most).median()), below_15=float((reached / most < 1.5).float().mean()),
        ours=float((made / most).median()), share=float((made / reached).median()),
        least_share=float((made / reached).min()), natural_share=float((most / reached).median()),
    )  # fmt: skip


def five(known: Layers, classes: int, unit: int = 0) -> list[Objective]:
    """All five objectives of the lecture, on a layer in the middle."""
    place = middle(known)
    at = [n // 2 for n in place.positions][::-1]
    one = wish.neuron(place.name, unit, at) if at else wish.channel(place.name, unit)
    return [one, wish.channel(place.name, unit), wish.layer(place.name), wish.logit(1), wish.probability(classes - 1)]


def middle(known: Layers) -> Place:
    """Choose a layer in the middle of a network."""
    places = [p for p in known if p.units > 1 and p.kind not in ("Flatten", "Dropout")]
    return places[len(places) // 2]


def untrained(name: str, shape: tuple[int, ...], width: float | None) -> tuple[nn.Module, torch.Tensor]:
    """Draw a network at random, and images for it; norms have the statistics of these, as after training.

    Offsets are drawn, too: without them, grey can be the best image of a network that has learnt nothing.
    """
    torch.manual_seed(0)
    options = {"width": width} if width and "width" in zoo.entry(name).options else {}
    model = sightline.build(name, in_channels=shape[0], num_classes=10, image_size=shape[1:], **options)
    canvas = Canvas(shape, usual(shape[0]))
    count = 64 if max(shape) < 224 else 16
    spread = torch.logspace(-2, 0, count).view(-1, *[1] * len(shape))  # from almost grey to strong
    x = canvas.paint(canvas.noise(count, seed=1, spread=1.0) * spread)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = None
        for p in part.parameters(recurse=False):
            if p.ndim == 1:
                nn.init.normal_(p.data, float(p.detach().mean()), 0.1)
    with torch.no_grad():
        model.train()(x)
    return model.eval(), x


def grid(arguments: argparse.Namespace) -> None:
    """Five objectives on every network and every input it takes, with weights drawn at random; a file goes on."""
    done = {}
    if arguments.file is not None and arguments.file.is_file():
        rows = [json.loads(line) for line in arguments.file.read_text().splitlines()]
        done = {(row["network"], tuple(row["shape"])): row for row in rows}
    cells = []
    wanted = [str(name) for name in arguments.runs] or list(zoo.ZOO)
    for name, entry in ((name, zoo.entry(name)) for name in wanted):
        for shape in (tuple(map(int, text.split("x"))) for text in arguments.inputs):
            if len(shape) - 1 not in entry.dims or (max(shape) >= 224 and entry.native != shape):
                continue
            if (name, shape) not in done:
                done[name, shape] = explored(name, shape, arguments)
                say(**done[name, shape])
                if arguments.file is not None:
                    with arguments.file.open("a") as file:
                        file.write(json.dumps(done[name, shape]) + "\n")
            cells.append(done[name, shape])
    say(
        what="grid", networks=len({cell["network"] for cell in cells}), cells=5 * len(cells),
        good=sum(cell["good"] for cell in cells), again=sum(cell["again"] for cell in cells),
        cpu_s=sum(cell["cpu_s"] for cell in cells),
    )  # fmt: skip


def explored(name: str, shape: tuple[int, ...], arguments: argparse.Namespace) -> dict[str, Any]:
    """Make an image for each of the five objectives; name those that are not finite or not above their start."""
    began = time.process_time()
    model, x = untrained(name, shape, arguments.width)
    known = see.layers(model)
    place = middle(known)
    canvas = Canvas(shape, usual(shape[0]))
    grey = canvas.paint(canvas.noise(1, seed=0))
    with Taps(model, [place.name], stop=place.calls == 1) as taps, torch.no_grad():
        taps.run(torch.cat([grey, x]))
        maps = place.maps(taps[place.name])
    means = maps.flatten(2).mean(2) if maps.ndim > 2 else maps
    # grey is the best image of a unit that everything speaks against: take one that some image excites more
    lively = int(((means[1:].amax(0) - means[0]) / (means.std(0) + 1e-12)).argmax())
    for steps in (arguments.steps, 256):  # what a few steps do not move gets as many as anyone does
        found = dream(model, five(known, 10, lively), shape, known=known, examples=x, steps=steps)
        failed = [one.name for one in found if not (bool(one.image.isfinite().all()) and one.moved)]
        if not failed:
            break
    return {
        "network": name, "shape": shape, "good": len(found) - len(failed), "failed": failed, "steps": steps,
        "again": sum(one.woken != "noise" for one in found), "cpu_s": round(time.process_time() - began, 2),
    }  # fmt: skip


def timed(what: str, work: Callable[[], Any]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    say(what=what, wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu, threads=torch.get_num_threads())


def times(arguments: argparse.Namespace) -> None:
    """Seconds, without opening the run: the five objectives, a batch of channels, all channels of a small net."""
    subject = see.subject(arguments.runs[0])
    known, nature = subject.layers, subject.nature
    maps = [place for place in known if place.units > 1 and place.positions and place.calls == 1]
    rectifiers = [place for place in maps if place.kind == "ReLU"] or maps
    place = rectifiers[len(rectifiers) // 2]
    batch = [wish.channel(place.name, unit) for unit in range(min(arguments.units, place.units))]

    def make(asked: list[Objective], steps: int) -> list[Dream]:
        return dream(subject.model, asked, subject.shape, nature=nature, known=known, steps=steps)

    if arguments.units > 1:
        timed("five objectives, 128 steps", lambda: make(five(known, len(subject.classes)), 128))
    timed(f"{len(batch)} channels of {place.name}, {arguments.steps} steps", lambda: make(batch, arguments.steps))
    every = [[wish.channel(p.name, i) for i in range(p.units)] for p in maps if p.parameters]
    count = sum(map(len, every))
    if count <= 256:
        timed(f"all {count} channels of {len(every)} layers", lambda: [make(one, arguments.steps) for one in every])


def transfer(arguments: argparse.Namespace) -> None:
    """Images made for the classes of the first run, from noise, recognised by the others?"""
    first = see.subject(arguments.runs[0])
    asked = [wish.logit(k) for k in range(len(first.classes))]
    found = [
        one
        for seed in range(arguments.seeds)
        for one in dream(
            first.model, asked, first.shape, nature=first.nature, known=first.layers, steps=arguments.steps, seed=seed
        )
    ]
    x = torch.stack([one.image for one in found])
    hits = []
    for path in arguments.runs:
        right = logits(see.subject(path).model, x).argmax(1) == torch.arange(len(asked)).repeat(arguments.seeds)
        say(run=str(path), recognised=int(right.sum()), of=len(x))
        hits.append(float(right.float().mean()))
    say(what="transfer", others=statistics.mean(hits[1:]), own=hits[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["natural", "ceiling", "grid", "times", "transfer"])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--width", type=float)
    parser.add_argument("--seeds", type=int, default=4, help="Images for each class that others are asked about.")
    parser.add_argument("--inputs", nargs="+", default=INPUTS, help="Shapes of the grid: 3x32x32.")
    parser.add_argument("--file", type=Path, help="JSON lines of the grid: what stands there is not made again.")
    arguments = parser.parse_args()
    globals()[arguments.what](arguments)


if __name__ == "__main__":
    main()
