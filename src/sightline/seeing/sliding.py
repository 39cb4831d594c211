"""An image and a window that slides over it -> every output number, written out as its sum: convolution and pooling.

The numbers are those of ``torch.nn.functional.conv2d``, ``max_pool2d`` and ``avg_pool2d``, sizes that do not divide
included: they are rounded down, and the pixels behind the last window are never read. Torch is not imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import SettingsError
from sightline.models.arithmetic import Row, table
from sightline.models.plan import Conv, Plan, by, chain
from sightline.seeing.windows import Floats, Pair, checked, fits, grouped, numbers, pair, patches

DIGITS = 4
"""Digits that count when a number is written."""


@dataclass(frozen=True)
class Term:
    """One pixel under the window.

    Attributes:
        channel: of the image.
        row: in the image, from 0; outside of it where it is padding.
        column: likewise.
        value: the pixel; what is padded is 0, and for a max pool minus infinity.
        weight: what it is multiplied by; 1 under a max pool, 1 / pixels under an average pool.
        padding: whether the window hangs over the border here.
    """

    channel: int
    row: int
    column: int
    value: float
    weight: float
    padding: bool


@dataclass(frozen=True)
class Step:
    """One output number.

    Attributes:
        kind: ``convolution``, ``max pool`` or ``average pool``.
        map: which output map, from 0.
        row: in the output.
        column: in the output.
        terms: the pixels under the window, channel by channel, row by row.
        bias: what is added.
        value: the number.
    """

    kind: str
    map: int
    row: int
    column: int
    terms: tuple[Term, ...]
    bias: float
    value: float

    @property
    def written(self) -> str:
        """The number as its sum: ``1·0 + 2·(-1) + 3·1 = 1``; ``≈`` where digits were left out."""
        shown = [term.value for term in self.terms if isfinite(term.value)]
        if self.kind == "max pool":
            told = f"max({', '.join(map(say, shown))})"
        elif self.kind == "average pool":
            told = f"({' + '.join(map(_inside, shown))}) / {len(shown)}"
        else:
            told = " + ".join(f"{_inside(term.value)}·{_inside(term.weight)}" for term in self.terms)
            shown += [term.weight for term in self.terms] + [self.bias]
            if self.bias:
                told += f" + {_inside(self.bias)}"
        return f"{told} {'=' if all(map(_exact, [*shown, self.value])) else '≈'} {say(self.value)}"


@dataclass(frozen=True, eq=False)
class Slide:
    """A window that has slid over an image.

    Attributes:
        kind: ``convolution``, ``max pool`` or ``average pool``.
        image: float64 (C, H, W).
        kernel: float64 (M, C / groups, k, l): one kernel for each of the M output maps; None for pools.
        bias: float64 (M,), one number for each map; zeros for pools.
        size: rows and columns under the window.
        stride: rows and columns from one window to the next.
        padding: rows and columns added at each border.
        dilation: rows and columns from one tap of the kernel to the next.
        output: float64 (M, H', W').
        groups: parts that channels and maps are split into: a map reads the channels of its own part alone.
    """

    kind: str
    image: Floats
    kernel: Floats | None
    bias: Floats
    size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    output: Floats
    groups: int = 1

    def heard(self, m: int) -> range:
        """Give the channels of the image that map ``m`` reads: those of its group; of a pool, its own."""
        if self.kernel is None:
            return range(m, m + 1)
        count = self.kernel.shape[1]
        first = m * self.groups // len(self.kernel) * count
        return range(first, first + count)

    @property
    def read(self) -> NDArray[np.bool_]:
        """Which pixels a window ever covers with a tap, bool (H, W): the others could be anything."""
        rows, columns = (self._taps(axis) for axis in (0, 1))
        return np.isin(np.arange(self.image.shape[1]), rows)[:, None] & np.isin(np.arange(self.image.shape[2]), columns)

    @property
    def weights(self) -> int:
        """Numbers in the kernel, without biases; 0 for pools."""
        return 0 if self.kernel is None else self.kernel.size

    @property
    def multiply_adds(self) -> int:
        """Multiplications for the whole output, each with its addition; padding is multiplied, too."""
        return self.weights * int(self.output[0].size)

    @property
    def dense(self) -> int:
        """Weights, and multiplications, of a dense layer from all pixels to all output numbers."""
        return int(self.image.size) * int(self.output.size)

    def sizes(self) -> tuple[str, str]:
        """Write the number of output rows and columns as what it follows from, and what is never read of either."""
        return self._size(0, "rows"), self._size(1, "columns")

    def step(self, m: int, row: int, column: int) -> Step:
        """Give one output number with all that it is made of: map ``m``, row and column, each from 0.

        Raises:
            SettingsError: there is no such number in the output.
        """
        places = (m, row, column)
        if not all(0 <= at < size for at, size in zip(places, self.output.shape, strict=True)):
            raise SettingsError(
                f"there is no output number ({row}, {column}) in map {m}.",
                f"The output has {self.output.shape[0]} maps of {by(self.output.shape[1:])} numbers, counted from 0.",
            )
        share = 1.0 if self.kind == "max pool" else 1.0 / (self.size[0] * self.size[1])
        nothing = -np.inf if self.kind == "max pool" else 0.0
        terms = []
        for c, channel in enumerate(self.heard(m)):
            for i in range(self.size[0]):
                for j in range(self.size[1]):
                    at = row * self.stride[0] - self.padding[0] + i * self.dilation[0]
                    to = column * self.stride[1] - self.padding[1] + j * self.dilation[1]
                    inside = 0 <= at < self.image.shape[1] and 0 <= to < self.image.shape[2]
                    value = float(self.image[channel, at, to]) if inside else nothing
                    weight = share if self.kernel is None else float(self.kernel[m, c, i, j])
                    terms.append(Term(channel, at, to, value, weight, not inside))
        return Step(self.kind, *places, tuple(terms), float(self.bias[m]), float(self.output[places]))

    def steps(self) -> Iterator[Step]:
        """Yield every output number, map by map, row by row, as the window comes along."""
        for places in np.ndindex(self.output.shape):
            yield self.step(*places)

    def _taps(self, axis: int) -> NDArray[np.int64]:
        """Give the places along an axis that a tap ever meets, padding included."""
        starts = np.arange(self.output.shape[1 + axis]) * self.stride[axis] - self.padding[axis]
        return (starts[:, None] + np.arange(self.size[axis]) * self.dilation[axis]).ravel()

    def _size(self, axis: int, name: str) -> str:
        n, k = self.image.shape[1 + axis], self.size[axis]
        s, p, d = self.stride[axis], self.padding[axis], self.dilation[axis]
        free = n + 2 * p - d * (k - 1) - 1
        told = f"{name}: floor(({n} + 2·{p} - {d}·({k} - 1) - 1) / {s}) + 1"
        told += f" = {f'floor({free}/{s})' if free % s else free // s} + 1 = {self.output.shape[1 + axis]}"
        missed = np.setdiff1d(np.arange(n), self._taps(axis))
        if not len(missed):
            return told
        one = len(missed) == 1
        return f"{told}; {name[:-1] if one else name} {_list(missed.tolist())} {'is' if one else 'are'} never read"


def convolve(
    image: ArrayLike,
    kernel: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Slide:
    """Slide a kernel over an image, as ``torch.nn.functional.conv2d`` does: multiply what lies on each other, add up.

    Args:
        image: (H, W), or (C, H, W).
        kernel: (k, l), the same for every channel; (C, k, l); or (M, C, k, l) for M output maps. With groups, a map's
            kernel has C / groups channels, and one kernel alone serves every group.
        bias: (M,), added to each map; None adds nothing.
        stride: from one window to the next: one number, or (rows, columns); at least 1.
        padding: zeros around the image, likewise; at least 0.
        dilation: from one tap of the kernel to the next, likewise; at least 1.
        groups: parts that channels and maps are split into, each convolved by itself; as many as channels: depthwise.

    Raises:
        SettingsError: something is out of range, shapes do not fit, or the kernel does not fit into the image.
    """
    pixels, taps = checked(image), numbers("kernel", kernel)
    channels = grouped(pixels.shape[0], groups)
    if taps.ndim == 2:
        taps = np.repeat(taps[None], channels, axis=0)
    if taps.ndim == 3:
        taps = np.repeat(taps[None], groups, axis=0)
    if taps.ndim != 4 or not taps.size:
        raise SettingsError(
            f"a kernel of shape {np.shape(kernel)} is none.", "Give (k, l), (C, k, l) or (M, C, k, l) numbers."
        )
    if taps.shape[1] != channels:
        raise SettingsError(
            f"the kernel is made for {taps.shape[1]} channels, and {'a group' if groups > 1 else 'the image'} has "
            f"{channels}.",
            "Give one kernel of rows and columns for every channel, or one for all of them.",
        )
    if len(taps) % groups:
        raise SettingsError(
            f"{len(taps)} output maps cannot be split into {groups} groups.", f"Take a multiple of {groups} kernels."
        )
    added = np.zeros(len(taps)) if bias is None else np.atleast_1d(numbers("bias", bias))
    if added.shape != (len(taps),):
        raise SettingsError(f"{added.size} biases do not fit {len(taps)} output maps.", "Give one for each map.")
    size: Pair = (taps.shape[2], taps.shape[3])
    ways = (pair("stride", stride, 1), pair("padding", padding, 0), pair("dilation", dilation, 1))
    output = np.broadcast_to(added[:, None, None], (len(taps), *fits(pixels, size, *ways))).copy()
    for i, j, patch in patches(pixels, size, *ways, 0.0):
        weights = taps[:, :, i, j].reshape(groups, -1, channels)
        output += (weights @ patch.reshape(groups, channels, -1)).reshape(output.shape)
    return Slide("convolution", pixels, taps, added, size, *ways, output, groups)


def pool(
    image: ArrayLike,
    size: int | Pair,
    *,
    kind: str = "max",
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> Slide:
    """Slide a window over each channel and keep the largest or the mean, as torch's pools do.

    Args:
        image: (H, W), or (C, H, W).
        size: rows and columns under the window, one number or both.
        kind: ``max``, where padding never wins; or ``average``, where it counts as zeros.
        stride: None moves by the window's size.
        padding: at most half the window, as in torch.
        dilation: of a max pool; torch has none for averages.

    Raises:
        SettingsError: something is out of range, or the window does not fit into the image.
    """
    if kind not in ("max", "average"):
        raise SettingsError(f"pool '{kind}' is not known.", "There are max and average.")
    pixels, window = checked(image), pair("size", size, 1)
    ways = (
        window if stride is None else pair("stride", stride, 1),
        pair("padding", padding, 0),
        pair("dilation", dilation, 1),
    )
    if any(2 * p > k for p, k in zip(ways[1], window, strict=True)):
        raise SettingsError(
            f"padding {by(ways[1])} is more than half of a {by(window)} pool.",
            "A window would lie in padding altogether; torch refuses it, too.",
        )
    if kind == "average" and ways[2] != (1, 1):
        raise SettingsError("an average pool has no dilation.", "Leave dilation at 1, or take a max pool.")
    shape = (len(pixels), *fits(pixels, window, *ways))
    output = np.full(shape, -np.inf) if kind == "max" else np.zeros(shape)
    for _, _, patch in patches(pixels, window, *ways, -np.inf if kind == "max" else 0.0):
        output = np.maximum(output, patch) if kind == "max" else output + patch / (window[0] * window[1])
    return Slide(f"{kind} pool", pixels, None, np.zeros(len(pixels)), window, *ways, output)


def cost(
    shape: tuple[int, int, int],
    maps: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Row:
    """Count what a convolution needs: the row of ``sightline models``; its ``dense`` is what a dense layer needs.

    Args:
        shape: the input, (channels, rows, columns).
        maps: output maps.
        kernel: rows and columns of the kernel.
        stride: from one window to the next.
        padding: zeros around the image.
        dilation: from one tap to the next.
        groups: parts that channels and maps are split into.

    Raises:
        ModelError: the kernel does not fit.
    """
    layer = Conv(kernel, stride=stride, padding=padding, dilation=dilation, maps=maps, groups=groups, bias=False)
    return table(Plan("convolution", chain(("conv", layer)), shape, ()))[0]


def say(value: float, digits: int = DIGITS) -> str:
    """Write a number with up to that many digits that count: ``7``, ``0.0625``, ``-1.333``."""
    if not isfinite(value):
        return str(value)
    told = f"{value:.{digits}g}"
    if "e" in told:
        told = f"{value:.0f}" if 1 <= abs(value) < 1e9 else told
    return "0" if told == "-0" else told


def _inside(value: float) -> str:
    return f"({say(value)})" if value < 0 else say(value)


def _exact(value: float) -> bool:
    return not isfinite(value) or abs(float(say(value)) - value) <= 1e-12 * max(1.0, abs(value))


def _list(places: Sequence[int]) -> str:
    """Write places: ``3``, ``3 and 7``, ``1, 3, 5 and 7``; of many, the first and how many there are."""
    if len(places) > 6:
        return f"{', '.join(map(str, places[:4]))}, ... ({len(places)} of them)"
    return " and ".join(filter(None, [", ".join(map(str, places[:-1])), str(places[-1])]))
