"""A block that trains a model for a trial -> the model, its optimizer and torch's generators exactly as before it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim import Optimizer

from sightline.training import generators, optim
from sightline.training.best import restore, snapshot


@contextmanager
def untouched(model: nn.Module, optimizer: Optimizer | None = None) -> Iterator[None]:
    """Undo, after the block, what it did to weights, buffers, gradients, mode, optimizer and generators.

    Args:
        model: stays on its device inside the block.
        optimizer: over the model's parameters.
    """
    device = next(model.parameters()).device
    weights, numbers = snapshot(model), generators.state(device)
    gradients = [p.grad for p in model.parameters()]
    modes = [(part, part.training) for part in model.modules()]
    state = copy.deepcopy(optimizer.state_dict()) if optimizer else {}
    for p in model.parameters():
        p.grad = None
    try:
        yield
    finally:
        restore(model, weights)
        for p, gradient in zip(model.parameters(), gradients, strict=True):
            p.grad = gradient
        for part, mode in modes:
            part.training = mode
        if optimizer:
            optim.load(optimizer, state)
        generators.restore(numbers, device)


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
