"""A network, images and classes -> which positions of an image speak for a class: five ways, one form of answer.

Every way works on any module and on images, signals and volumes of any number of channels. How far a map can be
believed tells ``sightline.seeing.trust``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.errors import ModelError, SettingsError, did_you_mean
from sightline.models.plan import by
from sightline.seeing.layers import layers
from sightline.seeing.taps import Taps

MOST_STEPS = 512
"""Steps along the path at most."""
CAM_SIDE = 4
"""Grad-CAM takes the last layer whose maps have so many positions along each axis, or else the finest of the last."""


@dataclass(frozen=True, eq=False)
class Saliency:
    """Which positions of N images speak for a class.

    Attributes:
        method: one of ``METHODS``.
        values: float32 (N, *positions), summed over channels; of ``gradient`` and ``smoothgrad`` their largest
            magnitude. Above 0 speaks for the class, below 0 against it.
        raw: float32, what the method gives before that: (N, C, *positions); of ``gradcam`` (N, *positions of the
            layer).
        targets: int64 (N,), the class asked about.
        cells: how many places the method can tell apart along each axis.
        layer: where ``gradcam`` looked; else empty.
        missed: float64 (N,), of ``integrated``: by which share of logit(x) - logit(baseline) the sum differs from it.
        steps: of ``integrated``, along the path; of ``smoothgrad``, noisy copies; of ``occlusion``, windows.
    """

    method: str
    values: NDArray[np.float32]
    raw: NDArray[np.float32]
    targets: NDArray[np.int64]
    cells: tuple[int, ...]
    layer: str = ""
    missed: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    steps: int = 1

    @property
    def signed(self) -> bool:
        """Whether the method can speak against a class, too."""
        return self.method in ("integrated", "occlusion")

    @property
    def resolution(self) -> str:
        """Say how fine the map is: ``7×7 cells on 28×28 positions``."""
        cells, size = (by(sizes).replace("x", "×") for sizes in (self.cells, self.values.shape[1:]))
        return f"every position ({size})" if cells == size else f"{cells} cells on {size} positions"


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of a network: images, and a class for each; answered inside an open tap.

    Attributes:
        taps: open, on all layers that the method reads.
        x: float (N, C, *positions).
        targets: int64 (N,).
        baseline: of the shape of ``x``: what nothing looks like.
        batch: images at a time.
        seed: of noise.
        layer: for ``gradcam``.
        steps: for ``integrated`` and ``smoothgrad``.
        window: for ``occlusion``, per axis.
        stride: likewise.
        exact: the share of the difference that ``integrated`` may miss.
    """

    taps: Taps
    x: Tensor
    targets: Tensor
    baseline: Tensor
    batch: int
    seed: int
    layer: str
    steps: int
    window: tuple[int, ...]
    stride: tuple[int, ...]
    exact: float

    def parts(self, x: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through images and classes, some at a time."""
        yield from zip(torch.split(x, self.batch), torch.split(targets, self.batch), strict=True)

    def logits(self, x: Tensor, targets: Tensor) -> Tensor:
        """Give the logit of its class for each image, (N,)."""
        with torch.no_grad():
            return torch.cat([self.picked(part, t) for part, t in self.parts(x, targets)])

    def gradients(self, x: Tensor, targets: Tensor) -> Tensor:
        """Give the gradient of each image's logit with respect to the image, of the shape of ``x``."""
        found = []
        for part, target in self.parts(x, targets):
            part = part.detach().requires_grad_()
            found.append(torch.autograd.grad(self.picked(part, target).sum(), part)[0])
        return torch.cat(found)

    def picked(self, x: Tensor, targets: Tensor) -> Tensor:
        """Run images and give the logit of its class for each, (N,), as part of the graph."""
        logits = self.taps.run(x)
        assert logits is not None
        return logits.gather(1, targets[:, None])[:, 0]


@dataclass(frozen=True)
class Method:
    """One way of asking.

    Attributes:
        ask: gives raw values, how many steps it took, and what integrated gradients missed.
        says: what the map shows, in a sentence.
        source: who described it.
    """

    ask: Callable[[Question], tuple[Tensor, int, Tensor]]
    says: str
    source: str


def _gradient(q: Question) -> tuple[Tensor, int, Tensor]:
    return q.gradients(q.x, q.targets), 1, torch.empty(0)


def _smoothgrad(q: Question) -> tuple[Tensor, int, Tensor]:
    numbers = torch.Generator().manual_seed(q.seed)
    flat = q.x.flatten(1)
    spread = 0.15 * (flat.amax(1) - flat.amin(1)).view(-1, *[1] * (q.x.ndim - 1))
    total = torch.zeros_like(q.x)
    for _ in range(q.steps):
        noise = torch.randn(q.x.shape, generator=numbers).to(q.x)
        total += q.gradients(q.x + spread * noise, q.targets)
    return total / q.steps, q.steps, torch.empty(0)


def _integrated(q: Question) -> tuple[Tensor, int, Tensor]:
    """Sum gradients along the straight path from the baseline, by Gauss and Legendre, with more steps where needed."""
    wanted = (q.logits(q.x, q.targets) - q.logits(q.baseline, q.targets)).double()
    found, missed = torch.zeros_like(q.x), torch.full(wanted.shape, torch.inf, dtype=torch.float64)
    rows, steps = torch.arange(len(q.x)), q.steps
    while True:
        part = _path(q, rows, steps)
        found[rows] = part
        missed[rows] = (
            (part.double().flatten(1).sum(1) - wanted[rows]).abs() / wanted[rows].abs().clamp_min(1e-6)
        ).cpu()
        rows = rows[missed[rows] > q.exact]
        if not len(rows) or steps * 2 > MOST_STEPS:
            return found, steps, missed
        steps *= 2


def _path(q: Question, rows: Tensor, steps: int) -> Tensor:
    places, weights = np.polynomial.legendre.leggauss(steps)
    x, baseline, targets = q.x[rows], q.baseline[rows], q.targets[rows]
    total = torch.zeros_like(x)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        total += float(weight) * q.gradients(baseline + float(place) * (x - baseline), targets)
    return total * (x - baseline)


def _gradcam(q: Question) -> tuple[Tensor, int, Tensor]:
    found = []
    for part, target in q.parts(q.x, q.targets):
        score = q.picked(part.detach().requires_grad_(), target).sum()
        values = q.taps[q.layer]
        slopes = torch.autograd.grad(score, values)[0]
        weights = slopes.flatten(2).mean(2).view(*slopes.shape[:2], *[1] * (slopes.ndim - 2))
        found.append(F.relu((weights * values).sum(1)).detach())
    return torch.cat(found), 1, torch.empty(0)


def _occlusion(q: Question) -> tuple[Tensor, int, Tensor]:
    """Cover a window at a time with the baseline: what the logit loses goes to the positions covered, on average."""
    whole = q.logits(q.x, q.targets)
    lost, covered = torch.zeros(len(q.x), *q.x.shape[2:]).to(q.x), torch.zeros(q.x.shape[2:]).to(q.x)
    starts = list(product(*_starts(q.x.shape[2:], q.window, q.stride)))
    for start in starts:
        where = tuple(slice(s, s + w) for s, w in zip(start, q.window, strict=True))
        x = q.x.clone()
        x[(slice(None), slice(None), *where)] = q.baseline[(slice(None), slice(None), *where)]
        lost[(slice(None), *where)] += (whole - q.logits(x, q.targets)).view(-1, *[1] * len(where))
        covered[where] += 1
    return (lost / covered)[:, None].expand_as(q.x).contiguous(), len(starts), torch.empty(0)


def _starts(size: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...]) -> list[range]:
    """Give where windows begin along each axis; a last one may hang over, so that every position is covered."""
    return [range(0, max(n - w, 0) + s, s) for n, w, s in zip(size, window, stride, strict=True)]


METHODS: dict[str, Method] = {
    "gradient": Method(_gradient, "where a small change would move the logit most", "Simonyan et al. 2013"),
    "smoothgrad": Method(_smoothgrad, "the same, averaged over noisy copies of the image", "Smilkov et al. 2017"),
    "integrated": Method(
        _integrated, "what each position adds to the logit on the way from nothing to the image; it sums to the logit",
        "Sundararajan et al. 2017",
    ),
    "gradcam": Method(_gradcam, "where the maps that speak for the class are active", "Selvaraju et al. 2017"),
    "occlusion": Method(_occlusion, "what the logit loses when a window is covered", "Zeiler and Fergus 2014"),
}  # fmt: skip
"""Name -> method, in the order in which they are shown."""


def saliency(
    model: nn.Module,
    x: Tensor,
    targets: Tensor | NDArray[np.int64] | None = None,
    method: str = "integrated",
    *,
    baseline: Tensor | str = "zero",
    layer: str | None = None,
    steps: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    exact: float = 0.01,
    batch: int = 64,
    seed: int = 0,
) -> Saliency:
    """Ask which positions of images speak for a class. The model stays exactly as it was.

    Args:
        model: any module that returns logits (N, K).
        x: float (N, C, *positions), inputs as the network gets them.
        targets: int64 (N,), the class to ask about; None takes each image's most probable one.
        method: one of ``METHODS``.
        baseline: what nothing looks like, for ``integrated`` and ``occlusion``: a tensor that can be expanded to
            ``x``; or ``zero`` (the mean colour of normalised images), ``mean`` (the mean of ``x``), ``blurred``.
        layer: for ``gradcam``; None takes the last layer with at least ``CAM_SIDE`` positions along each axis.
        steps: of ``integrated`` at the start (64), doubled up to ``MOST_STEPS`` while it misses more than ``exact``;
            noisy copies of ``smoothgrad`` (32).
        window: side of the window of ``occlusion``; None takes a seventh of the image's.
        stride: from one window to the next; None takes half a window.
        exact: the share of logit(x) - logit(baseline) by which the sum of ``integrated`` may differ from it.
        batch: images at a time.
        seed: of the noise of ``smoothgrad``.

    Raises:
        SettingsError: an unknown method or baseline.
        ModelError: the model cannot be looked into, has no layer that Grad-CAM could read, or no such class.
    """
    if method not in METHODS:
        raise SettingsError(
            f"'{method}' is no way to ask for saliency.{did_you_mean(method, METHODS)}", f"Use: {', '.join(METHODS)}."
        )
    where = cam_layer(model, x, layer) if method == "gradcam" else ""
    # The starting point of all gradients is the image: weights may be frozen, and gradients off around this.
    with Taps(model, [where] if where else []) as taps:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        x = x.detach().to(device).float()
        sides = tuple(window or max(1, round(n / 7)) for n in x.shape[2:])
        question = Question(
            taps, x, _classes(taps, x, targets, batch), _nothing(x, baseline), batch, seed, where,
            steps or (32 if method == "smoothgrad" else 64), sides,
            tuple(stride or max(1, n // 2) for n in sides), exact,
        )  # fmt: skip
        raw, taken, missed = METHODS[method].ask(question)
        cells: tuple[int, ...] = tuple(x.shape[2:])
        if method == "gradcam":
            cells = tuple(raw.shape[1:])
            mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(cells)]
            values = F.interpolate(raw[:, None], size=x.shape[2:], mode=mode)[:, 0]
        elif method == "occlusion":
            cells = tuple(map(len, _starts(tuple(x.shape[2:]), question.window, question.stride)))
            values = raw[:, 0]
        else:
            values = raw.sum(1) if method == "integrated" else raw.abs().amax(1)
        shown, given = (part.detach().float().cpu().numpy() for part in (values, raw))
        return Saliency(method, shown, given, question.targets.cpu().numpy(), cells, where, missed.numpy(), taken)


def cam_layer(model: nn.Module, x: Tensor, name: str | None = None) -> str:
    """Choose the layer whose maps Grad-CAM weighs, or check the one that was named.

    Raises:
        ModelError: no layer has maps with the axes of the input.
    """
    known, axes = layers(model, x), x.ndim - 2
    fitting = [p for p in known if p.axis == 1 and len(p.positions) == axes and prod(p.positions) > 1]
    if name is not None:
        if known[name] not in fitting:
            raise ModelError(
                f"the maps of layer '{name}' are {by(known[name].shape)}: Grad-CAM needs positions like the image's.",
                f"Such layers are: {', '.join(p.name for p in fitting[-8:]) or 'none'}.",
            )
        return name
    if not fitting:
        raise ModelError(
            f"no layer of this {type(model).__name__} has maps with the image's axes, so Grad-CAM has none to weigh.",
            f"Take another way: {', '.join(m for m in METHODS if m != 'gradcam')}.",
        )
    fine = min(CAM_SIDE, max(min(p.positions) for p in fitting))
    return [p.name for p in fitting if min(p.positions) >= fine][-1]


def _classes(taps: Taps, x: Tensor, targets: Tensor | NDArray[np.int64] | None, batch: int) -> Tensor:
    with torch.no_grad():
        logits = torch.cat([part for each in torch.split(x, batch) if (part := taps.run(each)) is not None])
    if targets is None:
        return logits.argmax(1)
    asked = torch.as_tensor(targets, dtype=torch.int64, device=x.device)
    if asked.shape != (len(x),) or not bool(((asked >= 0) & (asked < logits.shape[1])).all()):
        raise ModelError(
            f"classes of shape {tuple(asked.shape)} do not fit {len(x)} images and {logits.shape[1]} classes.",
            f"Give one class for each image, 0 to {logits.shape[1] - 1}.",
        )
    return asked


def _nothing(x: Tensor, baseline: Tensor | str) -> Tensor:
    if isinstance(baseline, Tensor):
        return baseline.to(x).expand_as(x)
    if baseline == "zero":
        return torch.zeros_like(x)
    if baseline == "mean":
        return x.mean(0, keepdim=True).expand_as(x)
    if baseline == "blurred":
        return blurred(x)
    raise SettingsError(f"'{baseline}' is no baseline.", "Use zero, mean, blurred, or a tensor.")


def blurred(x: Tensor) -> Tensor:
    """Blur images (N, C, *positions) so that no detail is left: means over a third of each side, twice."""
    pool = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}[x.ndim]
    sides = [max(1, n // 6) for n in x.shape[2:]]
    pads = [pad for side in reversed(sides) for pad in (side, side)]
    for _ in range(2):
        x = pool(F.pad(x, pads, mode="replicate"), [2 * side + 1 for side in sides], stride=1)
    return x
