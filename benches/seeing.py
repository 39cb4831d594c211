"""What images made for units are worth: how strong, how robust, on which networks, beside lucent's, and how long.

    python benches/seeing.py natural runs/NAME --units 32          # activation over the natural maximum, robustness
    python benches/seeing.py lucent runs/NAME --units 8 --path DIR  # paired with lucent, at equal steps and native size
    python benches/seeing.py grid [NETWORK...] --steps 64          # five objectives, every network, every input
    python benches/seeing.py times runs/NAME                       # seconds for the five objectives, and for a batch
    python benches/seeing.py transfer runs/A runs/B runs/C         # images for A's classes, recognised by B and C

Lucent is not installed by Sightline: ``pip install --target DIR --no-deps torch-lucent kornia==0.6.12 decorator tqdm``.
Every line that is printed is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
import types
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
from sightline.seeing.canvas import Canvas
from sightline.seeing.dream import Dream, dream, evaluate, hear, logits, values
from sightline.seeing.layers import Layers, Place
from sightline.seeing.nature import usual
from sightline.seeing.objectives import Objective
from sightline.seeing.subject import Subject
from sightline.seeing.taps import Taps
from sightline.seeing.transforms import transform

QUIET = Progress(quiet=True)

INPUTS = ("1x8x8", "1x28x28", "3x32x32", "2x140", "1x8x8x8")
"""Images, signals and volumes that the grid is made for."""


def say(**values: Any) -> None:
    rounded = {k: round(v, 4) if isinstance(v, float) and math.isfinite(v) else v for k, v in values.items()}
    print(json.dumps(rounded), flush=True)


def rectified(subject: Subject, most: int) -> list[Place]:
    """Choose rectified layers with maps, spread from the first to the last."""
    found = [p for p in subject.layers if p.kind == "ReLU" and p.positions and p.calls == 1]
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


def load_lucent(path: Path) -> Any:
    """Import lucent; where torchvision cannot be imported, what lucent takes of it (Normalize) is left empty."""
    sys.path.insert(0, str(path))
    try:
        import torchvision  # noqa: F401
    except Exception:
        stub = types.ModuleType("torchvision.transforms")
        stub.Normalize = object  # type: ignore[attr-defined]
        sys.modules |= {"torchvision": types.ModuleType("torchvision"), "torchvision.transforms": stub}
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.display, ipython.get_ipython = display, lambda: None  # type: ignore[attr-defined]
    display.display = display.Image = display.HTML = None  # type: ignore[attr-defined]
    sys.modules.setdefault("IPython", ipython)
    sys.modules.setdefault("IPython.display", display)
    import kornia
    from kornia.geometry import transform as moved
    from lucent.optvis import objectives, param, render

    kornia.get_rotation_matrix2d, kornia.warp_affine = moved.get_rotation_matrix2d, moved.warp_affine  # as in its day

    return types.SimpleNamespace(objectives=objectives, param=param, render=render)


class Denormalised(nn.Module):
    """A network that takes images with values in 0..1, as lucent paints them, over the range of its data."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.net = subject.model
        each = (1, -1, 1, 1)
        self.low, self.span = subject.nature.low.view(each), (subject.nature.high - subject.nature.low).view(each)

    def forward(self, x: torch.Tensor) -> Any:
        """Run the network."""
        return self.net(self.low + self.span * x)


def lucent(arguments: argparse.Namespace) -> None:
    """Pair ours and lucent's: the same units, as many forward and backward passes, the network's own size."""
    other, subject = load_lucent(arguments.path), see.subject(arguments.runs[0])
    channels, side = subject.shape[0], subject.shape[1]
    wrapped, logs, sooner = Denormalised(subject).eval(), list[float](), list[bool]()
    for place in rectified(subject, arguments.layers):
        asked, most, _ = chosen(subject, place, arguments.units)
        ours = dream(
            subject.model, asked, subject.shape, nature=subject.nature, known=subject.layers,
            examples=subject.examples, steps=arguments.steps,
        )  # fmt: skip
        theirs: list[list[float]] = []
        began = time.process_time()
        for number, objective in enumerate(asked):
            torch.manual_seed(number)
            np.random.seed(number)  # noqa: NPY002 (lucent draws from it)
            unit = objective.terms[0][1].units[0]
            images = other.render.render_vis(
                wrapped, other.objectives.channel("net_" + place.name.replace(".", "_"), unit),
                param_f=lambda: other.param.image(side, channels=channels),
                thresholds=(arguments.steps, arguments.beyond),
                preprocess=False, fixed_image_size=side, progress=False, show_image=False,
            )  # fmt: skip
            x = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2)
            for part in wrapped.modules():
                part._forward_hooks.clear()  # lucent leaves its own behind
            with Taps(subject.model, [place.name], stop=True) as taps, torch.no_grad():
                inputs = wrapped.low + wrapped.span * x
                theirs.append(evaluate(taps, [objective], inputs, subject.layers)[0].tolist())
        pairs = [(one.value, their[0], their[-1], float(m)) for one, their, m in zip(ours, theirs, most, strict=True)]
        logs += [math.log(max(a, 0.01 * m) / max(b, 0.01 * m)) for a, b, _, m in pairs]  # silent ones count as 1 %
        sooner += [a >= c for a, _, c, _ in pairs]
        say(
            layer=place.name, n=len(pairs), ours=statistics.median(a / m for a, _, _, m in pairs),
            theirs=statistics.median(b / m for _, b, _, m in pairs),
            theirs_beyond=statistics.median(c / m for _, _, c, m in pairs), cpu_s_theirs=time.process_time() - began,
        )  # fmt: skip
    mean, error = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    say(
        what="lucent", run=str(arguments.runs[0]), steps=arguments.steps, n=len(logs), ratio=math.exp(mean),
        low=math.exp(mean - 1.96 * error), high=math.exp(mean + 1.96 * error),
        beyond=arguments.beyond, beats_beyond=sum(sooner) / len(sooner),
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
    spread = torch.logspace(-2, 0, 64).view(-1, *[1] * len(shape))  # from almost grey to strong
    x = canvas.paint(canvas.noise(64, seed=1, spread=1.0) * spread)
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
    """Five objectives on every network and every input it takes, with weights drawn at random."""
    good = total = 0
    wanted = [str(name) for name in arguments.runs] or list(zoo.ZOO)
    for name, entry in ((name, zoo.entry(name)) for name in wanted):
        for shape in (tuple(map(int, text.split("x"))) for text in arguments.inputs):
            if len(shape) - 1 not in entry.dims:
                continue
            model, x = untrained(name, shape, arguments.width)
            known, began = see.layers(model), time.process_time()
            place = middle(known)
            with Taps(model, [place.name], stop=place.calls == 1) as taps, torch.no_grad():
                taps.run(x)
                maps = place.maps(taps[place.name]).transpose(0, 1).flatten(1)
            lively = int(maps.std(dim=1).argmax())  # a unit that is dead has no best image
            found = dream(model, five(known, 10, lively), shape, known=known, examples=x, steps=arguments.steps)
            fine = [bool(one.image.isfinite().all()) and one.moved for one in found]
            good, total = good + sum(fine), total + len(fine)
            say(network=name, shape=shape, good=sum(fine), again=sum(one.woken != "noise" for one in found), failed=[
                one.name for one, right in zip(found, fine, strict=True) if not right
            ], cpu_s=time.process_time() - began)  # fmt: skip
    say(what="grid", cells=total, good=good)


def timed(what: str, work: Callable[[], Any]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    say(what=what, wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu, threads=torch.get_num_threads())


def times(arguments: argparse.Namespace) -> None:
    """Seconds, without the opening of the run: the five objectives, then a batch of channels."""
    subject = see.subject(arguments.runs[0])
    known, nature = subject.layers, subject.nature
    place = rectified(subject, 3)[1]
    batch = [wish.channel(place.name, unit) for unit in range(min(arguments.units, place.units))]

    def make(asked: list[Objective], steps: int) -> list[Dream]:
        return dream(subject.model, asked, subject.shape, nature=nature, known=known, steps=steps)

    timed("five objectives, 128 steps", lambda: make(five(known, len(subject.classes)), 128))
    timed(f"{len(batch)} channels of {place.name}, {arguments.steps} steps", lambda: make(batch, arguments.steps))


def transfer(arguments: argparse.Namespace) -> None:
    """Images made for the classes of the first run, recognised by the others?"""
    first = see.subject(arguments.runs[0])
    asked = [wish.logit(k) for k in range(len(first.classes))]
    found = dream(first.model, asked, first.shape, nature=first.nature, known=first.layers, steps=arguments.steps)
    x = torch.stack([one.image for one in found])
    hits = []
    for path in arguments.runs:
        right = logits(see.subject(path).model, x).argmax(1) == torch.arange(len(asked))
        say(run=str(path), recognised=int(right.sum()), of=len(asked))
        hits.append(float(right.float().mean()))
    say(what="transfer", others=statistics.mean(hits[1:]), own=hits[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["natural", "lucent", "grid", "times", "transfer"])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--beyond", type=int, default=512, help="Steps of lucent that ours should reach with fewer.")
    parser.add_argument("--width", type=float)
    parser.add_argument("--inputs", nargs="+", default=INPUTS, help="Shapes of the grid: 3x32x32.")
    parser.add_argument("--path", type=Path, help="Where lucent was installed.")
    arguments = parser.parse_args()
    globals()[arguments.what](arguments)


if __name__ == "__main__":
    main()
