"""A precision's name -> how to run forward, backward and step in it; the loop has one body for all of them."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.errors import SettingsError
from sightline.settings import Precision as Name
from sightline.training.device import NATIVE_BF16, processor_flags
from sightline.training.optim import align


class Precision:
    """fp32, bf16 autocast or fp16 autocast with a gradient scaler (Micikevicius et al. 2018).

    Weights stay float32 in all of them. Under autocast torch runs convolutions and products in 16 bits and sums in 32.

    Args:
        mode: ``fp32``, ``bf16`` or ``fp16``.
        device: where the model computes.
        channels_last: lay out image networks channel by channel within each pixel, which is how the fast kernels of
            processors and GPUs want it. Off for networks that call ``.view`` on feature maps: they need ``.flatten``.
    """

    def __init__(self, mode: Name = "fp32", device: torch.device | str = "cpu", *, channels_last: bool = True) -> None:
        if mode not in get_args(Name) or mode == "auto":
            raise SettingsError(f"precision is '{mode}'.", "Use fp32, bf16 or fp16 (or Precision.choose('auto')).")
        self.mode = mode
        self.device = torch.device(device)
        self.channels_last = channels_last and self.device.type in ("cpu", "cuda")
        self._dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(mode)
        self._scaler = torch.amp.GradScaler(self.device.type) if mode == "fp16" else None

    def __repr__(self) -> str:
        return f"Precision('{self.mode}', '{self.device}', channels_last={self.channels_last})"

    @classmethod
    def choose(cls, mode: Name, device: torch.device | str = "cpu") -> tuple[Precision, str]:
        """Resolve ``auto`` to what is fast on the device, and say why.

        Args:
            mode: ``auto`` takes bf16 where the hardware multiplies it natively, fp16 on GPUs that have only that,
                fp32 elsewhere; the others are taken as they are.
            device: where the model computes.

        Returns:
            The precision and the reason, a phrase.
        """
        device = torch.device(device)
        if mode != "auto":
            return cls(mode, device), "as set"
        found, why = _cuda(device) if device.type == "cuda" else _cpu() if device.type == "cpu" else _other(device)
        return cls(found, device), why

    @classmethod
    def of(cls, mode: Name, device: torch.device | str = "cpu") -> Precision:
        """Give the precision of that name, ``auto`` included, without the reason."""
        return cls.choose(mode, device)[0]

    def arrange(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Bring a model with 4-axis weights (and its optimizer's state) into the memory format of this precision."""
        if self.channels_last and any(p.ndim == 4 for p in model.parameters()):
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if optimizer is not None:
                align(optimizer)

    def forward(self) -> AbstractContextManager[Any]:
        """Give the context that the network runs in; the loss is computed outside it, in fp32."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Compute gradients, scaled under fp16 so that small ones do not become 0."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]

    def step(self, optimizer: Optimizer, clip_norm: float | None = None) -> Tensor | None:
        """Clip the gradients, update the weights and forget the gradients.

        Args:
            optimizer: holds parameters with gradients.
            clip_norm: largest Euclidean norm of all gradients together; None does not clip.

        Returns:
            The norm before clipping, without axes, or None if there is no clipping.
        """
        norm = None
        if clip_norm is not None:
            if self._scaler is not None:
                self._scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], clip_norm)
        if self._scaler is not None:
            self._scaler.step(optimizer)
            self._scaler.update()
        else:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Give the scaler's state; empty but for fp16."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what ``state_dict`` gave."""
        if self._scaler is not None and state:
            self._scaler.load_state_dict(state)


def full(yhat: Any) -> Any:
    """Give what a network gave in float32: a tensor, or a tuple, list or dict of them; other things as they are."""
    if isinstance(yhat, Tensor):
        return yhat.float() if yhat.dtype in (torch.bfloat16, torch.float16) else yhat
    if isinstance(yhat, list | tuple) and not hasattr(yhat, "_fields"):
        return type(yhat)(full(part) for part in yhat)
    return {name: full(part) for name, part in yhat.items()} if isinstance(yhat, dict) else yhat


def _cpu() -> tuple[Name, str]:
    native = sorted(processor_flags() & NATIVE_BF16)
    if platform.system() == "Darwin":
        return "fp32", "torch computes fp32 fastest on Apple's processors"
    if native and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "bf16", f"this processor multiplies bf16 natively ({', '.join(native)})"
    return "fp32", "this processor has no native bf16"


def _cuda(device: torch.device) -> tuple[Name, str]:
    major, minor = torch.cuda.get_device_capability(device)
    name = torch.cuda.get_device_name(device)
    if major >= 8:
        return "bf16", f"{name} has capability {major}.{minor}: bf16 natively"
    if major >= 7:
        return "fp16", f"{name} has capability {major}.{minor}: fp16 natively, but no bf16"
    return "fp32", f"{name} has capability {major}.{minor}: no fast 16-bit arithmetic"


def _other(device: torch.device) -> tuple[Name, str]:
    return "fp32", f"no other precision is tested on {device.type}"
