"""(seed, epoch, row) -> random numbers, computed from those three alone: no state to save, no order to keep.

A counter goes through SplitMix64's finaliser, a bijection of 64 bits that passes the usual statistical tests
(G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, section 4).
Row i of epoch e therefore gets the same numbers in any batch, in any order, on any number of machines.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Purpose = Literal[
    "order", "split", "sample", "shift", "crop", "flip", "rotate", "scale", "shear", "brightness", "contrast",
    "saturation", "erase", "noise", "mix", "cutmix", "draw", "repeat",
]  # fmt: skip
"""What the numbers are for: purposes are independent of each other. Append only: the position enters the hash."""

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, odd: the counter's step
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def bits(seed: int, epoch: int, rows: NDArray[np.int64], draws: int, *, purpose: Purpose) -> NDArray[np.uint64]:
    """Give 64 random bits for each row and draw.

    Args:
        seed: any integer; its low 64 bits count.
        epoch: likewise.
        rows: int64 (B,), any values: which samples.
        draws: how many numbers per row, D.
        purpose: what for.

    Returns:
        uint64 (B, D).
    """
    start = _start(seed, epoch, rows, purpose)
    steps = np.arange(1, draws + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    return _mix(start[:, None] + steps)


def uniforms(seed: int, epoch: int, rows: NDArray[np.int64], draws: int, *, purpose: Purpose) -> NDArray[np.float64]:
    """Give random numbers in [0, 1), multiples of 2^-53, float64 (B, D); arguments as for ``bits``."""
    high = bits(seed, epoch, rows, draws, purpose=purpose) >> np.uint64(11)
    return high.astype(np.float64) * 2.0**-53


def normals(
    seed: int, epoch: int, rows: NDArray[np.int64], draws: int, *, purpose: Purpose, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Give many standard normal numbers per row, made on the device where they are used.

    Each hash gives two numbers (G. E. P. Box and M. E. Muller, 1958), so the largest possible one is 5.8.

    Args:
        seed: as for ``bits``; so are epoch, rows and purpose.
        epoch: see above.
        rows: see above.
        draws: numbers per row, D: pixels, say.
        purpose: see above.
        device: where to compute.

    Returns:
        float32 (B, D), mean 0, variance 1.
    """
    import torch

    start = torch.from_numpy(_start(seed, epoch, rows, purpose).view(np.int64)).to(device)
    steps = torch.arange(1, (draws + 1) // 2 + 1, device=device).mul_(_signed(_GOLDEN))
    z = start[:, None] + steps
    # int64 arithmetic wraps like uint64's; only its right shift has to lose the sign
    z = (z ^ ((z >> 30) & (1 << 34) - 1)).mul_(_signed(_FIRST))
    z = (z ^ ((z >> 27) & (1 << 37) - 1)).mul_(_signed(_SECOND))
    z ^= (z >> 31) & (1 << 33) - 1
    radius = (z & 0xFFFFFF).to(torch.float32).add_(1).mul_(2.0**-24).log_().mul_(-2).sqrt_()
    angle = ((z >> 24) & 0xFFFFFF).to(torch.float32).mul_(2 * math.pi * 2.0**-24)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :draws]


def shuffled(seed: int, epoch: int, rows: NDArray[np.int64], *, purpose: Purpose = "order") -> NDArray[np.int64]:
    """Give the positions 0..N-1 of ``rows`` in random order, int64 (N,).

    Two rows keep their order relative to each other whatever other rows there are.
    """
    return np.argsort(bits(seed, epoch, rows, 1, purpose=purpose)[:, 0], kind="stable").astype(np.int64)


def _start(seed: int, epoch: int, rows: NDArray[np.int64], purpose: Purpose) -> NDArray[np.uint64]:
    """Mix everything but the draw into one 64-bit counter per row, uint64 (B,)."""
    counters = rows.astype(np.int64).view(np.uint64) + np.uint64(1)
    return _mix(_key(seed, epoch, purpose) + counters * np.uint64(_GOLDEN))


@lru_cache(maxsize=256)
def _key(seed: int, epoch: int, purpose: Purpose) -> np.uint64:
    key = 0
    for part in (int(seed), int(epoch), get_args(Purpose).index(purpose)):
        key = int(_mix(np.array([(key + (part + 1) * _GOLDEN) & _MASK], dtype=np.uint64))[0])
    return np.uint64(key)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: uint64 -> uint64, each input bit flips each output bit half the time."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
    return z ^ (z >> np.uint64(31))


def _signed(value: int) -> int:
    """Read 64 bits as a signed integer."""
    return value - (1 << 64) if value >> 63 else value
