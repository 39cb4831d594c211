"""A network and training inputs -> its whitening layers filled: kernels that no training changes."""

from __future__ import annotations

import torch
from torch import Tensor

from sightline.errors import ModelError
from sightline.models.network import Network
from sightline.models.plan import Conv, leaves

DAMPING = 5e-4
"""Added to every variance (of inputs of variance 1) before its root is taken: directions in which patches hardly vary
would else become mostly noise. The value is that of the record's code (see ``fastnet``)."""


def layers(network: Network) -> list[str]:
    """Name the convolutions of a network that whiten: their weights are measured, not learnt."""
    return [name for name, layer in leaves(network.plan.body) if isinstance(layer, Conv) and layer.whiten]


@torch.no_grad()
def whiten(network: Network, x: Tensor) -> frozenset[str]:
    """Fill the whitening layers of a network, which must see its input itself.

    Args:
        network: changed in place.
        x: training inputs, float32 (B, C, *size), normalised as in training.

    Returns:
        The names of the parameters that were filled, and are not to be learnt.
    """
    filled = []
    for name in layers(network):
        layer = network.get_submodule(name)
        weight = layer.get_parameter("weight")
        weight.copy_(kernels(x, weight.shape[2:], len(weight)).to(weight.device))
        filled.append(f"{name}.weight")
    return frozenset(filled)


def kernels(x: Tensor, size: tuple[int, ...], maps: int) -> Tensor:
    """Find the kernels that whiten patches: their covariance's eigenvectors over the roots of its eigenvalues.

    The patches' products with them are uncorrelated and of variance near 1, those of the largest variance first; then
    come the same kernels with the opposite sign, since the activation behind them cuts off one side.

    Args:
        x: float32 (B, C, *positions).
        size: of the patches, one number for each axis of positions.
        maps: kernels wanted: two for each of the C * prod(size) directions at most.

    Returns:
        float32 (maps, C, *size).

    Raises:
        ModelError: there are more maps than kernels.
    """
    patches = x
    for axis, side in enumerate(size, 2):
        patches = patches.unfold(axis, side, 1)
    axes = len(size)
    patches = patches.movedim(1, 1 + axes).reshape(-1, x.shape[1], *size)  # (B, *places, C, *size) -> rows
    flat = patches.reshape(len(patches), -1).double()
    taps = flat.shape[1]
    if maps > 2 * taps:
        raise ModelError(f"{maps} whitening maps are wanted, but patches have {2 * taps}.", "Use that many or fewer.")
    centred = flat - flat.mean(dim=0)
    variance, directions = torch.linalg.eigh(centred.T @ centred / len(flat))  # ascending
    scaled = (directions / (variance + DAMPING).sqrt()).T.flip(0)[: -(-maps // 2)]
    both = torch.cat([scaled, -scaled])[:maps]
    return both.reshape(-1, x.shape[1], *size).float()
