"""A trained network and its training images -> its last layer, learnt anew on features of classes made even by SMOTE.

What skewed classes spoil is mostly the last layer: features learnt from them as they are serve rare classes well once
the layer that reads them is learnt on even classes (Kang et al. 2020, "Decoupling representation and classifier for
long-tailed recognition", ICLR, section 4.1). Half-way between two images is no image, but half-way between what the
network makes of them may well be a member of the class, so that is where SMOTE invents (Dablain et al. 2023, "Efficient
augmentation for imbalanced deep learning", ICDE). The layers before stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.data.smote import Invented, invent, mix
from sightline.errors import ModelError
from sightline.progress import Progress
from sightline.training.batches import Batch
from sightline.training.precision import Precision

STRENGTH = 1e-3
"""Of the penalty on the weights, |w|^2 / 2, for features of variance 1. Of 1e-4 to 1e-1 the best for one network
trained on CIFAR-10 with a long tail, with little between 1e-3 and 1e-2; with less, rare classes are learnt by heart.
"""

ROWS = 8192
"""Examples whose loss is computed at a time: what is invented never stands in memory as a whole."""


def last_layer(network: nn.Module) -> nn.Linear:
    """Give the dense layer that makes the logits.

    Raises:
        ModelError: the network does not name its last layer, or that is not dense.
    """
    stages = getattr(network, "stages", None)
    head = stages().get("head") if callable(stages) else None
    if not isinstance(head, nn.Linear) or head.bias is None:
        raise ModelError(
            "smote among features learns the last layer anew, and this network names no dense last layer with biases.",
            "Use a network of the zoo, or balance=smote,space=values.",
        )
    return head


@torch.no_grad()
def features(network: nn.Module, batches: Iterable[Batch], precision: Precision) -> Tensor:
    """Collect what the last layer is given, in evaluation mode.

    Args:
        network: see ``last_layer``; its mode is left as it was.
        batches: (x, y) on its device, in the order wanted.
        precision: how to run it.

    Returns:
        float32 (n, F), on the processor.
    """
    found: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        found.append(inputs[0].float().cpu())

    was_training = network.training
    network.eval()
    hook = last_layer(network).register_forward_pre_hook(keep)
    try:
        for x, _ in batches:
            with precision.forward():
                network(x)
    finally:
        hook.remove()
        network.train(was_training)
    return torch.cat(found)


def relearn(
    head: nn.Linear,
    values: Tensor,
    labels: NDArray[np.int64],
    *,
    neighbours: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
) -> Invented:
    """Fit the layer to the features as they are and to those invented until all classes are as large as the largest.

    Multinomial logistic regression with a penalty, from the weights the layer has, by L-BFGS: no learning rate, no
    chance but SMOTE's.

    Args:
        head: the layer with its biases, (F) -> (K); changed.
        values: its inputs, float32 (n, F); brought to mean 0 and deviation 1 in place.
        labels: int64 (n,), 0..K-1.
        neighbours: see ``smote.invent``.
        seed: of SMOTE.
        progress: shows it.

    Returns:
        what was invented: rows of ``values``.
    """
    middle, spread = values.mean(dim=0), values.std(dim=0).clamp_min_(1e-6)
    values.sub_(middle).div_(spread)
    invented = invent(
        values.numpy(), labels, np.arange(len(labels)), neighbours=neighbours, seed=seed, progress=progress
    )
    parents = [torch.from_numpy(part) for part in (invented.first, invented.second, invented.place)]
    y = torch.from_numpy(np.concatenate([labels, labels[invented.first]]))
    weight = (head.weight.detach().float().cpu() * spread).requires_grad_()
    bias = (head.bias.detach().float().cpu() + head.weight.detach().float().cpu() @ middle).requires_grad_()

    def block(start: int) -> Tensor:
        real = values[start : start + ROWS]
        first, second, place = (
            part[max(0, start - len(values)) : max(0, start + ROWS - len(values))] for part in parents
        )
        return torch.cat([real, mix(values[first], values[second], place)])

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = STRENGTH / 2 * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        for start in range(0, len(y), ROWS):
            logits = nn.functional.linear(block(start), weight, bias)
            loss = nn.functional.cross_entropy(logits, y[start : start + ROWS], reduction="sum") / len(y)
            loss.backward()  # type: ignore[no-untyped-call]
            total = total.detach() + loss.detach()
        task.advance()
        return total.detach()

    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, tolerance_grad=1e-5, line_search_fn="strong_wolfe")
    with (progress or Progress(quiet=True)).task("Last layer") as task:
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.weight.copy_(weight / spread)
        head.bias.copy_(bias - (weight / spread) @ middle)
    return invented


def nearest_others(values: Tensor, invented: Invented) -> NDArray[np.int64]:
    """Find, for each invented point, the example that lies nearest to it, parents apart.

    Args:
        values: float32 (n, F).
        invented: M points between rows of ``values``; a few, as for a picture.

    Returns:
        rows of ``values``, int64 (M,).
    """
    first, second, place = (torch.from_numpy(part) for part in (invented.first, invented.second, invented.place))
    apart = torch.cdist(mix(values[first], values[second], place), values)
    apart.scatter_(1, torch.stack([first, second], dim=1), torch.inf)
    return apart.argmin(dim=1).numpy()
