"""A network and inputs it knows -> what is looked at: one object that every way of looking takes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.data.preprocess import Preprocessing
from sightline.models.plan import Shape
from sightline.seeing.layers import Layers, layers
from sightline.seeing.nature import Nature, measure, usual


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, and images it was trained on.

    Attributes:
        model: any module; nothing here changes it.
        shape: (C, *positions) of one input.
        examples: float32 (N, C, *positions), inputs as the network gets them; N may be 0.
        labels: int64 (N,), their classes; -1 where unknown.
        names: what each example is called.
        classes: names of the classes, in the order of the logits; empty if unknown.
        preprocessing: how inputs were made of images, so that they can be drawn; None: drawn over their range.
    """

    model: nn.Module
    shape: Shape
    examples: Tensor
    labels: NDArray[np.int64]
    names: Sequence[str] = ()
    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None

    @cached_property
    def layers(self) -> Layers:
        """The layers that run, with shapes and units."""
        return layers(self.model, self.shape)

    @cached_property
    def nature(self) -> Nature:
        """What the examples have in common."""
        return measure(self.examples) if len(self.examples) else usual(self.shape[0])

    @cached_property
    def digest(self) -> str:
        """A name for these weights and these examples: what was found for them holds for them alone."""
        digest = hashlib.sha256(repr((type(self.model).__qualname__, self.shape, self.classes)).encode())
        for name, value in (*self.model.state_dict().items(), ("examples", self.examples)):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:32]

    def drawable(self, inputs: Tensor) -> NDArray[np.float32]:
        """Turn inputs (n, C, *positions) back into images with values in 0..1, float32 of the same shape."""
        x = inputs.detach().float().cpu().numpy()
        if self.preprocessing is not None and self.preprocessing.stored == "uint8":
            return np.asarray(np.clip(self.preprocessing.denormalise(x) / np.float32(255), 0, 1), np.float32)
        each = (1, -1, *[1] * (x.ndim - 2))
        low, high = (bound.numpy().reshape(each) for bound in (self.nature.low, self.nature.high))
        return np.asarray(np.clip((x - low) / (high - low), 0, 1), np.float32)
