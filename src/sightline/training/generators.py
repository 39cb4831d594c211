"""Torch's generators of random numbers <-> their state, so that dropout goes on where it was."""

from __future__ import annotations

import torch
from torch import Tensor


def state(device: torch.device) -> dict[str, Tensor]:
    """Give the state of the processor's generator and of the device's own, uint8 tensors."""
    if device.type == "cuda":
        return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state(device)}
    if device.type == "mps":
        return {"cpu": torch.get_rng_state(), "mps": torch.mps.get_rng_state()}
    return {"cpu": torch.get_rng_state()}


def restore(states: dict[str, Tensor], device: torch.device) -> None:
    """Set the generators; those of a device that is not used here are left alone."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])
