"""Torch's generators of random numbers <-> their state, so that dropout goes on where it was."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def state(device: torch.device) -> dict[str, Tensor]:
    """Give the state of the processor's generator and of the device's own, uint8 tensors."""
    module = _module(device)
    return {"cpu": torch.get_rng_state(), **({device.type: module.get_rng_state()} if module else {})}


def restore(states: dict[str, Tensor], device: torch.device) -> None:
    """Set the generators; those of a device that is not used here are left alone."""
    torch.set_rng_state(states["cpu"])
    module = _module(device)
    if module and device.type in states:
        module.set_rng_state(states[device.type])


def _module(device: torch.device) -> Any:
    return {"cuda": torch.cuda, "mps": torch.mps}.get(device.type)
