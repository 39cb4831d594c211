"""What every image goes through before the network sees it: one object for training, evaluation, prediction, export."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sightline.data.images import Kind
from sightline.errors import SettingsError

if TYPE_CHECKING:
    import torch

Resize = Literal["pad", "crop", "squash"]
"""``pad`` keeps all and fills with the border's mean colour, ``crop`` cuts the longer side, ``squash`` stretches."""


@dataclass(frozen=True)
class Preprocessing:
    """The way from a decoded image to the network's input; stored with every model.

    Attributes:
        kind: image, signal or volume.
        channels: C, the channels of the input.
        size: spatial size: images (H, W), signals (L,), volumes (D, H, W).
        resize: how an image of another shape is brought to ``size``; without meaning for signals and volumes.
        stored: ``uint8`` (0..255) or ``float32`` (the source's own units): what the pixel store holds.
        mean: per channel, C values, of the training pixels; 0..1 of the full range if stored as uint8.
        std: per channel, C values, in the same unit, above 0.
    """

    kind: Kind
    channels: int
    size: tuple[int, ...]
    resize: Resize = "pad"
    stored: Literal["uint8", "float32"] = "uint8"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize):
            raise SettingsError(
                f"resize is '{self.resize}', which is no resize policy.", "Use one of: pad, crop, squash."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The network's input without the batch: (C, *size)."""
        return (self.channels, *self.size)

    @property
    def axis(self) -> int:
        """Where the channels are in the pixel store: last for images, else 1."""
        return -1 if self.kind == "image" else 1

    def fit(self, array: NDArray[Any], rows: NDArray[np.int64], chunk: int = 4096) -> Preprocessing:
        """Measure mean and standard deviation of each channel over the given (training) rows.

        Args:
            array: the pixel store, images N,H,W,C, signals N,C,L, volumes N,C,D,H,W.
            rows: int64, the rows to measure, one pass in chunks (memory stays flat).
            chunk: rows at a time.
        """
        scale = 255.0 if self.stored == "uint8" else 1.0
        total = np.zeros(self.channels)
        square = np.zeros(self.channels)
        count = 0
        for start in range(0, len(rows), chunk):
            part = np.moveaxis(np.asarray(array[np.sort(rows[start : start + chunk])]), self.axis, -1)
            part = part.reshape(-1, self.channels).astype(np.float64) / scale
            total += part.sum(axis=0)
            square += np.einsum("nc,nc->c", part, part)
            count += len(part)
        mean = total / count
        std = np.sqrt(np.maximum(square / count - mean**2, 0.0))
        std = np.where(std > 1e-6, std, 1.0)  # a constant channel stays where it is instead of exploding
        return replace(self, mean=tuple(map(float, mean)), std=tuple(map(float, std)))

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn rows of the pixel store into the network's input.

        Args:
            batch: images B,H,W,C, signals B,C,L, volumes B,C,D,H,W; dtype as stored.

        Returns:
            float32 (B, C, *size), mean 0 and std 1 per channel over the training set; images come in
            channels_last memory, because that is how they are stored.
        """
        import torch

        scale = 255.0 if self.stored == "uint8" else 1.0
        mean = torch.tensor(self.mean, device=batch.device).mul_(scale)
        inverse = torch.tensor(self.std, device=batch.device).mul_(scale).reciprocal_()
        if self.kind == "image":  # by whole rows: an axis of 1 or 3 channels is too short to be fast
            rows = batch.reshape(*batch.shape[:2], -1)
            mean, inverse = mean.repeat(batch.shape[2]), inverse.repeat(batch.shape[2])
        else:
            rows = batch
            mean, inverse = (value.view(-1, *[1] * (batch.ndim - 2)) for value in (mean, inverse))
        x = rows.to(torch.float32).sub_(mean) if rows.dtype != torch.float32 else rows - mean
        x = x.mul_(inverse)
        return x.view(batch.shape).permute(0, 3, 1, 2) if self.kind == "image" else x

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Read what ``as_dict`` gave."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)
