"""What every image goes through before the network sees it: one object for training, evaluation, prediction, export."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sightline.data.batchwise import in_parts
from sightline.data.images import Kind
from sightline.data.normalise import Normalise, Positions, by_position, whitening
from sightline.data.paging import Pages
from sightline.errors import SettingsError
from sightline.progress import Progress

if TYPE_CHECKING:
    import torch

Resize = Literal["pad", "crop", "squash"]
"""``pad`` keeps all and fills with the border's mean colour, ``crop`` cuts the longer side, ``squash`` stretches."""

AT_ONCE = 4_000_000
"""Values that are measured at once: as float64, 32 MB."""

CACHED = 1 << 18
"""Values that are normalised at once: as float32, 1 MB, which the cache still holds for the next operation."""


@dataclass(frozen=True)
class Preprocessing:
    """The way from a decoded image to the network's input; stored with every model.

    Attributes:
        kind: image, signal or volume.
        channels: C, the channels of the input.
        size: spatial size: images (H, W), signals (L,), volumes (D, H, W).
        resize: how an image of another shape is brought to ``size``; without meaning for signals and volumes.
        stored: ``uint8`` (0..255) or ``float32`` (the source's own units): what the pixel store holds.
        mean: per channel, C values, of the training pixels; 0..1 of the full range if stored as uint8. Empty if they
            are not normalised by channel.
        std: per channel, C values, in the same unit, above 0; or empty.
        normalisation: how values are centred and scaled; ``channel`` by mean and std, ``none`` not at all.
        positions: what ``pixel`` and ``zca`` measure at each position; None otherwise, and before ``fit``.
    """

    kind: Kind
    channels: int
    size: tuple[int, ...]
    resize: Resize = "pad"
    stored: Literal["uint8", "float32"] = "uint8"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    normalisation: Normalise = "channel"
    positions: Positions | None = None

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

    @property
    def fitted(self) -> bool:
        """Whether what the normalisation needs has been measured."""
        wanted = self.channels if self.normalisation == "channel" else 0
        measured = self.normalisation in ("channel", "none") or self.positions is not None
        return measured and len(self.mean) == len(self.std) == wanted

    @property
    def unit(self) -> float:
        """What stored values are divided by to come into the unit of ``mean`` and ``std``."""
        return 255.0 if self.stored == "uint8" else 1.0

    def fit(
        self,
        array: NDArray[Any],
        rows: NDArray[np.int64],
        *,
        normalise: Normalise | None = None,
        progress: Progress | None = None,
    ) -> Preprocessing:
        """Measure what the normalisation needs over the given (training) rows; by default each channel's mean and std.

        Args:
            array: the pixel store, images N,H,W,C, signals N,C,L, volumes N,C,D,H,W.
            rows: int64, the rows to measure, one pass in chunks (memory stays flat).
            normalise: another normalisation than the present one.
            progress: shows long work: whitening.

        Raises:
            SettingsError: the inputs are too large to be whitened.
        """
        spec = replace(self, mean=(), std=(), normalisation=normalise or self.normalisation, positions=None)
        if spec.normalisation == "pixel":
            return replace(spec, positions=by_position(array, rows, self.unit))
        if spec.normalisation == "zca":
            return replace(spec, positions=whitening(array, rows, self.unit, progress))
        return spec if spec.normalisation == "none" else spec._by_channel(array, rows)

    def _by_channel(self, array: NDArray[Any], rows: NDArray[np.int64]) -> Preprocessing:
        """Measure mean and deviation of each channel, from sums that are exact where whole numbers are stored."""
        chunk = max(1, AT_ONCE // max(1, math.prod(array.shape[1:])))
        total = np.zeros(self.channels)
        square = np.zeros(self.channels)
        pages = Pages(array)
        exact = array.dtype == np.uint8 and self.axis == -1
        for start in range(0, len(rows), chunk):
            part = np.sort(rows[start : start + chunk])
            added = _sums(array, part) if exact else _sums_of_any(np.moveaxis(array[part], self.axis, -1))
            total += added[0] / self.unit
            square += added[1] / self.unit**2
            pages.read(len(part) * math.prod(array.shape[1:]) * array.itemsize)
        count = len(rows) * math.prod(array.shape[1:]) // self.channels
        mean = total / count
        std = np.sqrt(np.maximum(square / count - mean**2, 0.0))
        std = np.where(std > 1e-6, std, 1.0)  # a constant channel stays where it is instead of exploding
        return replace(self, mean=tuple(map(float, mean)), std=tuple(map(float, std)))

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn rows of the pixel store into the network's input.

        Args:
            batch: images B,H,W,C, signals B,C,L, volumes B,C,D,H,W; dtype as stored.

        Returns:
            float32 (B, C, *size); by channel: mean 0 and std 1 over the training set. Images come in channels_last
            memory, because that is how they are stored.
        """
        import torch

        if self.normalisation != "channel":
            flat = batch.reshape(len(batch), -1).to(torch.float32, copy=True).div_(self.unit)
            x = (flat if self.positions is None else self.positions.apply(flat)).view(batch.shape)
            return x.permute(0, 3, 1, 2) if self.kind == "image" else x
        times = batch.shape[2] if self.kind == "image" else 1
        mean, inverse = _scales(self.mean, self.std, self.unit, times, batch.device)
        if self.kind == "image":  # by whole rows: an axis of 1 or 3 channels is too short to be fast
            rows = batch.reshape(*batch.shape[:2], -1)
        else:
            rows = batch
            mean, inverse = (value.view(-1, *[1] * (batch.ndim - 2)) for value in (mean, inverse))
        x = torch.empty(rows.shape, dtype=torch.float32, device=rows.device)
        step = max(1, CACHED // max(1, rows[:1].numel())) if rows.device.type == "cpu" else len(rows)

        def scale(samples: range) -> None:
            for start in range(samples.start, samples.stop, step):
                part = slice(start, min(start + step, samples.stop))
                x[part].copy_(rows[part]).sub_(mean).mul_(inverse)

        if step < len(rows):
            in_parts(scale, len(rows))
        else:
            scale(range(len(rows)))
        return x.view(batch.shape).permute(0, 3, 1, 2) if self.kind == "image" else x

    def denormalise(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo ``normalise``, for drawing.

        Args:
            x: float32 (B, C, *size), inputs of a network.

        Returns:
            float32 (B, C, *size) in stored units (0..255 if stored as uint8), up to rounding.
        """
        if self.positions is not None:
            stored = np.moveaxis(x, 1, self.axis)
            rows = self.positions.undo(stored.reshape(len(x), -1)).reshape(stored.shape)
            x = np.moveaxis(rows, self.axis, 1)
        elif self.normalisation == "channel":
            shape = (1, -1) + (1,) * (x.ndim - 2)
            mean, std = (np.array(part, np.float32).reshape(shape) for part in (self.mean, self.std))
            x = x * std + mean
        return x * np.float32(self.unit)

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values; ``positions``, which are large, stay behind."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in fields(self)
            if field.name != "positions"
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], positions: Positions | None = None) -> Preprocessing:
        """Read what ``as_dict`` gave, and what it left behind."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain, positions=positions)


@lru_cache(maxsize=8)
def _scales(
    mean: tuple[float, ...], std: tuple[float, ...], unit: float, times: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give what is taken away and what is multiplied by, in stored units, ``times`` over: the same for every batch."""
    import torch

    with torch.inference_mode(mode=False):  # they outlive the batch they are made for
        middle = torch.tensor(mean, device=device).mul_(unit)
        inverse = torch.tensor(std, device=device).mul_(unit).reciprocal_()
        return middle.repeat(times), inverse.repeat(times)


def _sums(array: NDArray[np.uint8], rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Add up the values of each channel, and their squares, (C,): of rows of N,H,W,C, exactly, shared among threads.

    Line under line: up to 256 values of 8 bits and their squares, which float32 holds exactly, are added before they
    become float64, which holds all sums exactly, in whatever order they come.
    """
    channels = array.shape[-1]
    sums = []

    def add(samples: range) -> None:
        part = array[rows[samples.start : samples.stop]]
        lines = part.reshape(-1, math.prod(part.shape[2:]))
        total, square = np.zeros((2, lines.shape[1]))
        for start in range(0, len(lines), 256):
            values = lines[start : start + 256].astype(np.float32)
            total += values.sum(axis=0)
            square += np.square(values, out=values).sum(axis=0)
        sums.append([total.reshape(-1, channels).sum(axis=0), square.reshape(-1, channels).sum(axis=0)])

    in_parts(add, len(rows))
    total, square = np.sum(sums, axis=0)
    return total, square


def _sums_of_any(part: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Add up the values of each channel, and their squares, (C,): of any type, channels last."""
    values = part.reshape(-1, part.shape[-1]).astype(np.float64)
    return values.sum(axis=0), np.einsum("nc,nc->c", values, values)
