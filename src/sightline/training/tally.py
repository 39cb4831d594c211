"""The losses of single steps, on their device -> sums on the host, with one wait for many steps."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class Tally:
    """Adds up an epoch's training losses, penalties and gradient norms.

    On a GPU, reading a number makes the host wait for the device; so tensors are kept and read ``every`` so many
    batches. On the processor reading is free, and a loss that is not finite is noticed before it reaches the weights.

    Args:
        every: batches between two readings.

    Attributes:
        batches: counted so far.
        examples: counted so far.
        bad: the number (from 1) of the first batch whose loss is not finite, among those read; else 0.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self.clear()

    @classmethod
    def for_device(cls, device: torch.device) -> Tally:
        """Make one that reads after each batch on the processor, and after 50 elsewhere."""
        return cls(1 if device.type == "cpu" else 50)

    def clear(self) -> None:
        """Forget everything, for the next epoch."""
        self.batches = self.examples = self.bad = 0
        self._sums = {"loss": 0.0, "penalty": 0.0, "grad_norm": 0.0}
        self._counts = {"loss": 0, "penalty": 0, "grad_norm": 0}
        self._waiting: list[tuple[str, int, Tensor]] = []

    def batch(self, loss: Tensor, penalty: Tensor | float, examples: int) -> None:
        """Count a batch: its mean loss, once for each of its examples, and the penalty if there is one."""
        self.batches += 1
        self.examples += examples
        self._waiting.append(("loss", examples, loss.detach()))
        if isinstance(penalty, Tensor):
            self._waiting.append(("penalty", 1, penalty.detach()))
        if self.batches % self.every == 0:
            self.settle()

    def norm(self, norm: Tensor | None) -> None:
        """Count a gradient norm if there is one; those that overflow under fp16, where the step is skipped, do not."""
        if norm is not None:
            self._waiting.append(("grad_norm", 1, norm.detach()))

    def settle(self) -> None:
        """Read what has come since the last reading."""
        if not self._waiting:
            return
        values = [self._waiting[0][2].item()] if len(self._waiting) == 1 else _values(self._waiting)
        first = self.batches - sum(name == "loss" for name, _, _ in self._waiting)
        for (name, weight, _), value in zip(self._waiting, values, strict=True):
            first += name == "loss"
            if name == "grad_norm" and not math.isfinite(value):
                continue
            if name != "grad_norm" and not math.isfinite(value) and not self.bad:
                self.bad = first
            self._sums[name] += value * weight
            self._counts[name] += weight
        self._waiting.clear()

    def mean(self, name: str = "loss") -> float:
        """Give the mean ``loss`` over examples, or ``penalty`` or ``grad_norm`` over steps; NaN if there were none."""
        self.settle()
        return self._sums[name] / self._counts[name] if self._counts[name] else math.nan

    def has(self, name: str) -> bool:
        """Whether any ``penalty`` or ``grad_norm`` was counted."""
        self.settle()
        return self._counts[name] > 0

    def text(self) -> str:
        """Say the mean loss of what has been read, without waiting for more: ``"loss 0.3141"``; nothing at first."""
        return f"loss {self._sums['loss'] / self._counts['loss']:.4f}" if self._counts["loss"] else ""

    def state_dict(self) -> dict[str, Any]:
        """Give the sums as plain numbers."""
        self.settle()
        return {
            "batches": self.batches,
            "examples": self.examples,
            "sums": dict(self._sums),
            "counts": dict(self._counts),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what ``state_dict`` gave."""
        self.batches, self.examples = state["batches"], state["examples"]
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])


def _values(waiting: list[tuple[str, int, Tensor]]) -> list[float]:
    values: list[float] = torch.stack([value.float() for _, _, value in waiting]).tolist()
    return values
