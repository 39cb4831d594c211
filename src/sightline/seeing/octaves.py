"""A photo and an objective -> the photo with more of what excites it, from coarse to fine (DeepDream)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.errors import ModelError
from sightline.models.plan import by
from sightline.progress import Progress
from sightline.seeing.hearing import differentiable, hear, values
from sightline.seeing.objectives import LOGITS, Objective, check
from sightline.seeing.subject import Subject
from sightline.seeing.taps import Taps
from sightline.seeing.transforms import transform

GROWTH = 1.4
"""From one octave to the next (Mordvintsev et al. 2015)."""

PACE = 0.02
"""Change of a value in a step, in quadratic mean, as a share of the range of its channel."""


def deepdream(
    subject: Subject,
    photo: Tensor,
    objective: Objective,
    *,
    steps: int = 20,
    octaves: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Change a photo so that it excites an objective more, first its coarse structure, then finer and finer.

    Each octave starts at the photo of its size plus what the octave before added, enlarged; steps have a fixed size,
    so that faint and strong answers move at one pace (Mordvintsev et al. 2015): in quadratic mean, since few places
    that answer would else be burnt out. The stages before the layer alone are run, so that a network whose last layers
    need one size takes photos of any size for the others.

    Args:
        subject: network and the range of its data.
        photo: float (C, *positions).
        objective: usually ``objectives.layer``.
        steps: for each octave.
        octaves: how many sizes; those below 8 positions, or too small for the network, are left out.
        seed: of the movements.
        progress: shows the steps.

    Raises:
        ModelError: photos of this size do not reach the layer, or there is no such layer or unit.
    """
    outside = LOGITS in objective.layers
    check(objective, subject.layers, len(subject.classes) or 10**9)
    names = [name for name in objective.layers if name != LOGITS]
    stop = not outside and all(subject.layers[name].calls == 1 for name in names)
    device = next((p.device for p in subject.model.parameters()), torch.device("cpu"))
    each = (1, -1, *[1] * (photo.ndim - 1))
    low, high = (bound.to(device).view(each) for bound in (subject.nature.low, subject.nature.high))
    whole = photo.detach().float().to(device)[None]
    sizes = [tuple(round(n / GROWTH**k) for n in photo.shape[1:]) for k in reversed(range(octaves))]
    sizes = [size for size in sizes if min(size) >= 8] or [tuple(photo.shape[1:])]
    numbers, progress = torch.Generator().manual_seed(seed), progress or Progress(quiet=True)
    added = torch.zeros_like(_resized(whole, sizes[0]))
    with (
        Taps(subject.model, names, stop=stop) as taps,
        differentiable(subject.model),
        progress.task("DeepDream", total=steps * len(sizes)) as task,
    ):
        for size in sizes:
            base = _resized(whole, size)
            added = _resized(added, size)
            for _ in range(steps):
                x = (base + added).clamp(low, high).requires_grad_()
                try:
                    score = values([objective], hear(taps, transform(x, numbers), subject.layers))
                except (RuntimeError, ValueError) as error:
                    if size != sizes[-1]:
                        break  # a smaller octave than the network takes
                    raise ModelError(
                        f"a photo of {by(tuple(photo.shape[1:]))} does not reach '{objective.name}': {error}.",
                        f"Bring it to {by(subject.shape[1:])}, or name a layer before the first dense one.",
                    ) from error
                (gradient,) = torch.autograd.grad(score.sum(), x)
                added = (x + gradient * (PACE * (high - low) / (gradient.square().mean().sqrt() + 1e-12))).clamp(
                    low, high
                )
                added = added.detach() - base
                task.advance()
    return (whole + added).clamp(low, high)[0].cpu()


def _resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.ndim]
    return x if tuple(x.shape[2:]) == size else F.interpolate(x, size=size, mode=mode, align_corners=False)
