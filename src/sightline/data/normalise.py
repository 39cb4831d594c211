"""Training pixels -> what every value is shifted and scaled by, position by position or whitened; and back again.

The usual way, one mean and deviation per channel, needs none of this: see ``preprocess.py``. The two ways here hold
numbers for every position of the input, too many for JSON, so they travel as arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sightline.errors import RunError, SettingsError
from sightline.progress import Progress

if TYPE_CHECKING:
    import torch

Normalise = Literal["none", "pixel", "channel", "zca"]
"""``none``: the fixed range only; ``channel``: mean and deviation of each channel; ``pixel``: of each position;
``zca``: whitened, so that neighbouring pixels no longer say the same."""

WHITENED = 3072
"""Values an input may have at most to be whitened: 3 x 32 x 32. The matrix has the square of that."""

RARE = 0.05
"""Share of the usual deviation below which a position's own is not believed: a border pixel that is lit in one image
of a thousand would else be a hundred deviations there."""

DAMPING = 0.01
"""What is added to the variance of every direction before whitening, as a share of the mean variance: directions in
which photos hardly vary are mostly noise, and would else be blown up to the size of the others."""


@dataclass(frozen=True, eq=False)
class Positions:
    """What is measured at every position of the rows of a pixel store, in the store's own layout and D = its size.

    Attributes:
        mean: float32 (D,), of the training rows; 0..1 of the full range if the store holds uint8.
        scale: float32 (D,): what each centred value is multiplied by; or (D, D), symmetric: the whitening matrix.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    _places: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Positions):
            return NotImplemented
        return np.array_equal(self.mean, other.mean) and np.array_equal(self.scale, other.scale)

    def __hash__(self) -> int:
        return hash((self.mean.tobytes(), self.scale.shape))

    def apply(self, rows: torch.Tensor) -> torch.Tensor:
        """Centre and scale rows, float32 (B, D) in 0..1 or the store's own units; ``rows`` may be changed in place."""
        mean, scale = self._on(rows.device)
        centred = rows.sub_(mean)
        return centred @ scale if scale.ndim == 2 else centred.mul_(scale)

    def undo(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give what ``apply`` was given, float32 (B, D), up to rounding: for drawing."""
        if self.scale.ndim == 1:
            return rows / self.scale + self.mean
        centred = np.linalg.solve(self.scale.astype(np.float64), rows.T.astype(np.float64)).T
        return (centred + self.mean).astype(np.float32)

    def as_bytes(self) -> bytes:
        """Give the content of a safetensors file."""
        from safetensors.numpy import save

        return save({"mean": self.mean, "scale": self.scale})

    @classmethod
    def read(cls, path: Path) -> Positions:
        """Read a file whose content ``as_bytes`` gave.

        Raises:
            RunError: it is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            found = load(path.read_bytes())
            return cls(found["mean"], found["scale"])
        except (SafetensorError, OSError, KeyError) as error:
            raise RunError(
                f"'{path}' is no whole safetensors file: {error}.", "Copy it again, or train again."
            ) from None

    def _on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Give mean and scale on a device; they are brought there once."""
        import torch

        if str(device) not in self._places:
            self._places[str(device)] = tuple(torch.from_numpy(each).to(device) for each in (self.mean, self.scale))
        mean, scale = self._places[str(device)]
        return mean, scale

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what was brought to devices."""
        return {"mean": self.mean, "scale": self.scale, "_places": {}}


def by_position(array: NDArray[Any], rows: NDArray[np.int64], unit: float) -> Positions:
    """Measure mean and standard deviation of each position over the training rows.

    A position that hardly varies is divided by ``RARE`` of the usual deviation (root of the mean variance) instead of
    its own; where all rows agree it comes out as 0.

    Args:
        array: the pixel store, (N, ...).
        rows: int64, the training rows, read twice, in chunks.
        unit: what the store's values are divided by first: 255 for uint8, else 1.
    """
    mean = _mean(array, rows, unit)
    square = np.zeros(len(mean))
    for part in _parts(array, rows, unit):
        centred = part - mean
        square += np.einsum("nd,nd->d", centred, centred)
    variance = square / len(rows)
    std = np.maximum(np.sqrt(variance), RARE * math.sqrt(variance.mean()) or 1.0)
    return Positions(mean.astype(np.float32), (1 / std).astype(np.float32))


def whitening(array: NDArray[Any], rows: NDArray[np.int64], unit: float, progress: Progress | None = None) -> Positions:
    """Measure the ZCA transform (A. Krizhevsky, Learning multiple layers of features from tiny images, 2009, appendix).

    With the covariance C = U diag(l) U', the matrix is U diag(1 / sqrt(l + d)) U': of all matrices that whiten, the one
    that changes the images least, so that they can still be recognised. d is ``DAMPING`` times the mean of l.

    Args:
        array: the pixel store, (N, ...).
        rows: int64, the training rows, read twice, in chunks.
        unit: what the store's values are divided by first: 255 for uint8, else 1.
        progress: shows the rows as they are read.

    Raises:
        SettingsError: an input has more than ``WHITENED`` values.
    """
    shape = array.shape[1:]
    size = math.prod(shape)
    if size > WHITENED:
        raise SettingsError(
            f"'normalise' is zca, but an input has {' x '.join(map(str, shape))} = {size:,} values: its whitening "
            f"matrix would have {size * size / 1e6:,.0f} million.",
            f"Use smaller inputs, of at most {WHITENED:,} values such as 32 x 32 in colour, or normalise=pixel.",
        )
    mean = _mean(array, rows, unit)
    square = np.zeros((size, size))
    with (progress or Progress(quiet=True)).task("Whitening", total=len(rows)) as task:
        for part in _parts(array, rows, unit):
            centred = (part - mean).astype(np.float32)
            square += centred.T @ centred
            task.advance(len(part))
        variances, directions = np.linalg.eigh(square / len(rows))
    variances = np.maximum(variances, 0.0)
    damped = variances + (DAMPING * variances.mean() or 1.0)
    return Positions(mean.astype(np.float32), ((directions / np.sqrt(damped)) @ directions.T).astype(np.float32))


def _mean(array: NDArray[Any], rows: NDArray[np.int64], unit: float) -> NDArray[np.float64]:
    """Average each position over the rows, float64 (D,)."""
    total = np.zeros(math.prod(array.shape[1:]))
    for part in _parts(array, rows, unit):
        total += part.sum(axis=0)
    return total / len(rows)


def _parts(array: NDArray[Any], rows: NDArray[np.int64], unit: float) -> Iterator[NDArray[np.float64]]:
    """Read rows in chunks of about 32 MB, float64 (n, D), in the unit that networks see."""
    chunk = max(1, 4_000_000 // math.prod(array.shape[1:]))
    for start in range(0, len(rows), chunk):
        part = np.asarray(array[np.sort(rows[start : start + chunk])])
        yield part.reshape(len(part), -1) / np.float64(unit)
