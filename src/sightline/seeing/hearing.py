"""Images and objectives -> how much each image does for each; and what the whole network says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.seeing.layers import Layers
from sightline.seeing.objectives import LOGITS, Objective
from sightline.seeing.taps import Taps


def hear(taps: Taps, x: Tensor, known: Layers) -> dict[str, Tensor]:
    """Run inputs through a model and give what was asked for, units behind the batch; ``LOGITS`` if it came so far."""
    logits = taps.run(x)
    heard = {name: known[name].maps(taps[name]) for name in taps.names}
    return heard if logits is None else {**heard, LOGITS: logits}


def values(objectives: Sequence[Objective], heard: Mapping[str, Tensor]) -> Tensor:
    """Measure each objective on its own image, (B,)."""
    apart = {name: maps.unbind(0) for name, maps in heard.items()}  # one node of the graph, not one for each slice
    return torch.cat(
        [
            objective({name: apart[name][i].unsqueeze(0) for name in objective.layers})
            for i, objective in enumerate(objectives)
        ]
    )


def evaluate(taps: Taps, objectives: Sequence[Objective], inputs: Tensor, known: Layers, *, batch: int = 128) -> Tensor:
    """Measure every objective on every input: float32 (objectives, N), on the processor."""
    device = next((p.device for p in taps.model.parameters()), torch.device("cpu"))
    found = []
    with torch.no_grad():
        for first in range(0, len(inputs), batch):
            heard = hear(taps, inputs[first : first + batch].to(device), known)
            found.append(torch.stack([objective(heard) for objective in objectives]).float().cpu())
    return torch.cat(found, dim=1)


def alike(objectives: Sequence[Objective], heard: Mapping[str, Tensor]) -> Tensor:
    """Say how much each image is like the others made for the same objective: mean cosine of Gram matrices, (B,)."""
    likeness = []
    for i, objective in enumerate(objectives):
        name = objective.layers[0]
        others = [k for k, other in enumerate(objectives) if other is objective and k != i]
        flat = heard[name].flatten(2) if heard[name].ndim > 2 else heard[name].unsqueeze(2)
        gram = F.normalize((flat @ flat.transpose(1, 2)).flatten(1), dim=1)
        likeness.append((gram[i] * gram[others].detach()).sum(1).mean() if others else flat.new_zeros(()))
    return torch.stack(likeness)


def logits(model: nn.Module, images: Tensor, *, batch: int = 256) -> Tensor:
    """What the whole network says of images, float32 (B, K) on the processor; (B, 0) where they do not pass through."""
    device = next((p.device for p in model.parameters()), images.device)
    said = []
    with Taps(model) as taps, torch.no_grad():
        try:
            for first in range(0, len(images), batch):
                part = images[first : first + batch]
                out = taps.run(part.to(device))
                said.append(torch.empty(len(part), 0) if out is None or out.ndim != 2 else out.float().cpu())
        except (RuntimeError, ValueError):
            return torch.empty(len(images), 0)
    return torch.cat(said)


def differentiable(model: nn.Module) -> AbstractContextManager[None]:
    """Let recurrent layers be differentiated in evaluation mode, which CUDA's own kernels refuse."""
    if any(isinstance(part, nn.RNNBase) for part in model.modules()):
        return torch.backends.cudnn.flags(enabled=False)
    return nullcontext()
