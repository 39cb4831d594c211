"""Weights after a step -> the same weights inside their bounds: what each unit takes in is no longer than so much."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from sightline.errors import SettingsError


class MaxNorm:
    """Keeps the incoming weights of each unit within a ball: ||w|| <= c (Srivastava et al. 2014, section 5.1).

    A unit's incoming weights are a row of a dense layer, all kernels of one feature map, a row of a recurrent layer's
    matrices; biases and norms are not among them, nor is LeNet's layer with a table of connections. Those that are
    longer are scaled back to c, and the others are left exactly as they are. It allows large learning rates, since no
    weight can grow beyond bounds; where a batch norm follows, the scale of weights has no effect on the output, and
    only the steps become relatively larger.

    Args:
        model: whose trained weights are bounded, each time this is called.
        limit: c, above 0; the paper's networks have 2 to 4. None does nothing.

    Raises:
        SettingsError: the limit is not above 0.
    """

    def __init__(self, model: nn.Module, limit: float | None = None) -> None:
        if limit is not None and not limit > 0:
            raise SettingsError(f"'max_norm' is {limit}.", "Use a length above 0, such as 3, or None.")
        self.limit = limit
        self._units = units(model) if limit is not None else []

    @torch.no_grad()
    def __call__(self) -> None:
        """Scale back what has become too long."""
        for weight, axis in self._units:
            if weight.requires_grad:
                others = [other for other in range(weight.ndim) if other != axis]
                length = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
                # A length of 0 gives infinity, of which 1 is taken; no value leaves the device.
                weight.mul_((self.limit / length).clamp(max=1.0))


def units(model: nn.Module) -> list[tuple[Tensor, int]]:
    """Give each weight whose entries are what units take in, once, and the axis along which the units lie."""
    found: dict[int, tuple[Tensor, int]] = {}
    for part in model.modules():
        if isinstance(part, nn.Linear | _ConvNd):
            found[id(part.weight)] = part.weight, int(isinstance(part, _ConvTransposeNd))
        elif isinstance(part, nn.RNNBase):
            for name, weight in part.named_parameters(recurse=False):
                if name.startswith("weight"):
                    found[id(weight)] = weight, 0
    return list(found.values())
