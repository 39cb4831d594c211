"""Images made for units by Sightline and by lucent, on the same networks: how strong, how soon, how fast.

    pip install --target DIR --no-deps torch-lucent kornia==0.6.12 decorator tqdm
    python benches/lucent.py paired runs/A runs/B --path DIR --units 22 --steps 256 --beyond 512
    python benches/lucent.py time runs/A --path DIR          # seconds for an image and a step, lucent as it comes

Paired: the same units, as many forward and backward passes, the network's own size. Lucent is no dependency. Every line
printed is JSON.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from seeing import chosen, rectified, say
from sightline import see
from sightline.seeing.dream import dream
from sightline.seeing.hearing import evaluate
from sightline.seeing.objectives import Objective
from sightline.seeing.subject import Subject
from sightline.seeing.taps import Taps


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


def paired(arguments: argparse.Namespace) -> None:
    """Pair ours and lucent's: the same units, as many forward and backward passes, the network's own size.

    Ours begin at noise, too: no example helps them. What they know of the data is its range, as lucent's do, and its
    spectrum and colours.
    """
    other, logs, beyond = load_lucent(arguments.path), list[float](), list[float]()
    for run in arguments.runs:
        subject = see.subject(run)
        wrapped = Denormalised(subject).eval()
        for place in rectified(subject, arguments.layers):
            asked, most, _ = chosen(subject, place, arguments.units)
            began = time.process_time()
            ours = dream(
                subject.model, asked, subject.shape, nature=subject.nature, known=subject.layers, steps=arguments.steps
            )
            seconds = time.process_time() - began
            began = time.process_time()
            theirs = [rendered(other, subject, wrapped, one, arguments) for one in asked]
            pairs = [(one.value, *their, float(m)) for one, their, m in zip(ours, theirs, most, strict=True)]
            logs += [ratio(a, b, m) for a, b, _, m in pairs]
            beyond += [ratio(a, c, m) for a, _, c, m in pairs]
            say(
                run=str(run), layer=place.name, n=len(pairs), ours=statistics.median(a / m for a, _, _, m in pairs),
                theirs=statistics.median(b / m for _, b, _, m in pairs),
                theirs_beyond=statistics.median(c / m for _, _, c, m in pairs),
                better=sum(a >= b for a, b, _, _ in pairs), again=sum(one.woken != "noise" for one in ours),
                cpu_s=seconds, cpu_s_theirs=time.process_time() - began,
            )  # fmt: skip
    for what, found in ((f"ours / lucent, {arguments.steps} steps", logs), (f"/ lucent, {arguments.beyond}", beyond)):
        mean, error = statistics.mean(found), statistics.stdev(found) / math.sqrt(len(found))
        say(
            what=what, n=len(found), ratio=math.exp(mean), low=math.exp(mean - 1.96 * error),
            high=math.exp(mean + 1.96 * error), reached=sum(value >= 0 for value in found) / len(found),
        )  # fmt: skip


def ratio(ours: float, theirs: float, natural: float) -> float:
    """Give the logarithm of a quotient; silent images count as 1 % of the natural maximum."""
    return math.log(max(ours, 0.01 * natural) / max(theirs, 0.01 * natural))


def rendered(
    other: Any, subject: Subject, wrapped: Denormalised, objective: Objective, arguments: argparse.Namespace
) -> tuple[float, float]:
    """Let lucent make an image of the network's own size; give the objective after the one and the other step."""
    term, side = objective.terms[0][1], subject.shape[1]
    torch.manual_seed(term.units[0])
    np.random.seed(term.units[0])  # noqa: NPY002 (lucent draws from it)
    images = other.render.render_vis(
        wrapped, other.objectives.channel("net_" + term.layer.replace(".", "_"), term.units[0]),
        param_f=lambda: other.param.image(side, channels=subject.shape[0]),
        thresholds=(arguments.steps, arguments.beyond),
        preprocess=False, fixed_image_size=side, progress=False, show_image=False,
    )  # fmt: skip
    x = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2)
    silence(wrapped)
    with Taps(subject.model, [term.layer], stop=True) as taps, torch.no_grad():
        one, two = evaluate(taps, [objective], wrapped.low + wrapped.span * x, subject.layers)[0].tolist()
    return one, two


def silence(model: nn.Module) -> None:
    """Take away the hooks that lucent leaves behind."""
    for part in model.modules():
        part._forward_hooks.clear()


def timed(arguments: argparse.Namespace) -> None:
    """Compare seconds for an image and a step: ours in a batch at the network's size, lucent as it comes, in turns.

    Lucent paints 128 pixels and enlarges what its transformations leave to 224, one image at a time.
    """
    other, subject = load_lucent(arguments.path), see.subject(arguments.runs[0])
    wrapped, place = Denormalised(subject).eval(), rectified(subject, 3)[1]
    asked, _, _ = chosen(subject, place, arguments.units)
    ours, theirs = list[float](), list[float]()
    for _ in range(arguments.turns):
        began = time.perf_counter()
        found = dream(
            subject.model, asked, subject.shape, nature=subject.nature, known=subject.layers, steps=arguments.steps
        )
        ours.append((time.perf_counter() - began) / sum(one.steps for one in found))
        began = time.perf_counter()
        other.render.render_vis(
            wrapped, other.objectives.channel("net_" + place.name.replace(".", "_"), asked[0].terms[0][1].units[0]),
            param_f=lambda: other.param.image(128, channels=subject.shape[0]), thresholds=(arguments.few,),
            preprocess=False, progress=False, show_image=False,
        )  # fmt: skip
        silence(wrapped)
        theirs.append((time.perf_counter() - began) / arguments.few)
    say(
        what="time", run=str(arguments.runs[0]), shape=subject.shape, layer=place.name, images=len(asked),
        threads=torch.get_num_threads(), ours_ms=1e3 * min(ours), lucent_ms=1e3 * min(theirs),
        times=min(theirs) / min(ours), least=min(t / o for t, o in zip(theirs, ours, strict=True)),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["paired", "time"])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--path", type=Path, required=True, help="Where lucent was installed.")
    parser.add_argument("--units", type=int, default=16, help="Of each layer.")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--beyond", type=int, default=512, help="Steps of lucent that ours should reach with fewer.")
    parser.add_argument("--few", type=int, default=16, help="Steps of lucent that are timed.")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    {"paired": paired, "time": timed}[arguments.what](arguments)


if __name__ == "__main__":
    main()
