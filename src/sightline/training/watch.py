"""A batch whose loss is not finite -> the place where that begins: the batch, a weight, a layer, or the loss itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from sightline.errors import TrainingError


def failure(what: str, where: str, epoch: int, step: int, lr: float) -> TrainingError:
    """Tell, as an error, what became NaN or infinite, where that was first seen, and what to try."""
    return TrainingError(
        f"{what} became NaN or infinite in epoch {epoch}, step {step}: first seen {where}.",
        f"Try a lower learning rate (it was {lr:.2g}), clip_norm=1 or precision=fp32.",
    )


def full(device: torch.device, epoch: int, error: BaseException) -> TrainingError:
    """Tell, as an error, that a device has no memory left, and what to try."""
    return TrainingError(
        f"the memory of {device} is full in epoch {epoch}: {error}.",
        "Use smaller batches (with accumulate to make up for it), smaller images, or precision=bf16.",
    )


def origin(model: nn.Module, x: Any, context: Callable[[], AbstractContextManager[Any]] = nullcontext) -> str:
    """Run a network once more and find where numbers stop being finite.

    Args:
        model: watched by hooks on its leaves, which are gone afterwards; its mode is left as it is.
        x: the input: a tensor or a tuple of tensors.
        context: what the training runs the model in, such as ``precision.forward``.

    Returns:
        A phrase: ``"in the output of layer 'head' (Linear)"``.
    """
    if not finite(x):
        return "in the batch itself: the input holds NaN or infinity"
    weight = broken_weight(model)
    if weight:
        return f"in the weight '{weight}', which the update before had made NaN or infinite"
    found: list[str] = []

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, given: Any, output: Any) -> None:
            if not found and not finite(output):
                found.append(f"in the output of layer '{name}' ({type(module).__name__})")

        return look

    leaves = [(name, part) for name, part in model.named_modules() if not any(True for _ in part.children())]
    handles = [part.register_forward_hook(hook(name or "the network")) for name, part in leaves]
    try:
        with torch.no_grad(), context():
            output = model(x)
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return found[0]
    if not finite(output):
        return "in the output of the network, behind its last layer"
    return "in the loss: every layer's output is finite"


def finite(value: Any) -> bool:
    """Whether all floating-point numbers in a tensor, or in a tuple, list or dict of tensors, are finite."""
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, dict):
        value = list(value.values())
    return all(finite(part) for part in value) if isinstance(value, list | tuple) else True


def broken_weight(model: nn.Module) -> str | None:
    """Give the first parameter or buffer that is not finite, by its dotted name; None if all are."""
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if not finite(value):
            return name
    return None
