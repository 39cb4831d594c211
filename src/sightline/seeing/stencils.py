"""A name, a text, a file -> the numbers to convolve: kernels and images, picked or given."""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np

from sightline.errors import SettingsError, SourceError, did_you_mean
from sightline.seeing.windows import Floats

KERNELS: dict[str, str] = {
    "identity": "leaves the image as it is",
    "shift": "moves the image one pixel to the right",
    "blur": "averages, nearer pixels more: products of binomial numbers, as 1 2 1 by 1 2 1",
    "edge": "what differs from its surroundings; flat areas give 0",
    "vertical": "how much brighter it is on the right than on the left (Sobel)",
    "horizontal": "how much brighter it is below than above (Sobel)",
    "sharpen": "the image, and what differs from its surroundings once more",
    "mix": "1x1: the mean of the channels, pixel by pixel",
    "swap": "1x1: the channels in the opposite order; as many maps as channels",
}
"""Kernels that can be picked -> what each does. A convolution here is a correlation: the kernel is not turned."""

SAMPLES: dict[str, str] = {
    "digit": "a handwritten 3 of 8x8 pixels, 0 to 16 (from scikit-learn's digits)",
    "step": "dark on the left, bright on the right",
    "corner": "a bright square in a dark corner",
    "cross": "two crossing lines",
    "ramp": "every number once, row by row",
    "dot": "one bright pixel: a convolution draws the kernel, turned around",
    "noise": "random whole numbers from 0 to 9",
    "colour": "three channels: a red cross on a blue ground",
}
"""Images that can be picked -> what each shows."""

DIGIT = """
0 0 7 15 13 1 0 0
0 8 13 6 15 4 0 0
0 2 1 13 13 0 0 0
0 0 2 15 11 1 0 0
0 0 0 1 12 12 1 0
0 0 0 0 1 10 8 0
0 0 8 4 5 14 9 0
0 0 7 13 13 9 0 0
"""
"""Image 3 of scikit-learn's digits, written down because loading them takes longer than all the rest."""

SIDE = 64
"""Longest side that an image file is reduced to, in pixels: more numbers than that nobody reads."""


def kernel(name: str, size: int = 3, channels: int = 1) -> Floats:
    """Make a kernel by name.

    Args:
        name: one of ``KERNELS``.
        size: rows and columns; those that mix channels are 1x1.
        channels: of the image; all but ``mix`` and ``swap`` do the same to every channel and add the results up.

    Returns:
        float64 (M, channels, size, size).

    Raises:
        SettingsError: no kernel has that name, or it needs a larger or an odd size.
    """
    if name not in KERNELS:
        raise SettingsError(
            f"there is no kernel '{name}'.{did_you_mean(name, KERNELS)}",
            f"There are {', '.join(KERNELS)}; or write numbers, such as '0 1 0; 1 -4 1; 0 1 0'.",
        )
    if name == "mix":
        return np.full((1, channels, 1, 1), 1.0 / channels)
    if name == "swap":
        return np.eye(channels)[::-1].reshape(channels, channels, 1, 1).copy()
    least = 1 if name in ("identity", "blur") else 3
    if size < least or (size % 2 == 0 and name != "blur"):
        raise SettingsError(
            f"the kernel '{name}' of {size}x{size} is none: it has a middle{' and neighbours' if least > 1 else ''}.",
            f"Take an odd size from {least} on.",
        )
    middle = size // 2
    taps = np.zeros((size, size))
    if name in ("identity", "shift"):
        taps[middle, middle - (name == "shift")] = 1
    elif name == "blur":
        taps = np.outer(_binomial(size), _binomial(size)) / 4.0 ** (size - 1)
    elif name == "edge":
        taps -= 1
        taps[middle, middle] = size * size - 1
    elif name == "sharpen":
        taps[middle, :] = taps[:, middle] = -1
        taps[middle, middle] = 2 * size - 1
    else:
        slope = np.convolve(_binomial(size - 2), [-1, 0, 1])
        taps = np.outer(_binomial(size), slope)
        taps = taps if name == "vertical" else taps.T
    return np.repeat(taps[None, None], channels, axis=1)


def sample(name: str, side: int = 8) -> Floats:
    """Make an image by name.

    Args:
        name: one of ``SAMPLES``.
        side: rows and columns; the digit has 8.

    Returns:
        float64 (C, side, side).

    Raises:
        SettingsError: no image has that name, or the side is less than 1.
    """
    if name not in SAMPLES:
        raise SettingsError(
            f"there is no image '{name}'.{did_you_mean(name, SAMPLES)}", f"There are {', '.join(SAMPLES)}."
        )
    if side < 1:
        raise SettingsError(f"an image of {side} pixels is none.", "Take a side of 1 or more.")
    if name == "digit":
        return np.array([[row.split() for row in DIGIT.strip().splitlines()]], np.float64)
    if name == "noise":
        return np.random.default_rng(0).integers(0, 10, (1, side, side)).astype(np.float64)
    if name == "ramp":
        return np.arange(side * side, dtype=np.float64).reshape(1, side, side)
    rows, columns = np.mgrid[:side, :side]
    middle = (side - 1) // 2
    lines = (rows == middle) | (columns == middle)
    if name == "colour":
        return np.stack([lines * 9.0, lines * 2.0, ~lines * 6.0])
    shape = {
        "step": columns > middle,
        "corner": (rows > middle) & (columns > middle),
        "cross": lines,
        "dot": (rows == middle) & (columns == middle),
    }[name]
    return np.asarray(shape[None] * 9.0, np.float64)


def image(given: str, side: int = 8, *, colour: bool = False) -> Floats:
    """Read an image: the name of a sample, a file, or numbers.

    Args:
        given: one of ``SAMPLES``; the path of an image or of a text of numbers (see ``numbers``); or such a text.
        side: of a sample.
        colour: keep red, green and blue of an image file apart; else it is made grey.

    Returns:
        float64 (C, H, W). Image files give 0..255, whole, reduced to at most 64 pixels a side.

    Raises:
        SettingsError: it is none of these.
        SourceError: the file cannot be read.
    """
    if given in SAMPLES:
        return sample(given, side)
    if Path(given).is_file() and Path(given).suffix.lower() not in (".txt", ".csv", ".tsv"):
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            with Image.open(given) as file:
                picture = ImageOps.exif_transpose(file).convert("RGB" if colour else "L")
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise SourceError(
                f"'{given}' cannot be read as an image: {error}.", "Give a PNG or JPEG, or a text of numbers."
            ) from None
        picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        pixels = np.asarray(picture, np.float64)
        return np.moveaxis(pixels, -1, 0).copy() if colour else pixels[None]
    found = numbers(given, f"There are the images {', '.join(SAMPLES)}.")
    if len(found) > 1:
        raise SettingsError("an image has no output maps.", "Part channels by one '|' or one empty line.")
    return np.asarray(found[0], np.float64)


def weights(given: str, size: int = 3, channels: int = 1, groups: int = 1) -> Floats:
    """Read a kernel: one of ``KERNELS``, or numbers as in ``numbers``.

    Args:
        given: name or numbers.
        size: of a named kernel.
        channels: of each group.
        groups: a named kernel, or one of a single map, is repeated for each.

    Returns:
        float64 (M, C, k, l); kernels of one channel are repeated for all ``channels``.

    Raises:
        SettingsError: it is neither.
    """
    if given in KERNELS:
        return np.tile(kernel(given, size, channels), (groups, 1, 1, 1))
    found = numbers(given, f"There are the kernels {', '.join(KERNELS)}.")
    found = np.repeat(found, channels, axis=1) if found.shape[1] == 1 else found
    return np.repeat(found, groups, axis=0) if len(found) == 1 else found


def numbers(given: str, else_: str = "") -> Floats:
    """Read numbers from a text or a text file.

    Numbers are parted by spaces, tabs or commas; rows by ``;`` or line ends; channels by ``|`` or an empty line;
    kernels of several output maps by ``||`` or a line ``---``.

    Args:
        given: the text, or the path of a ``.txt``, ``.csv`` or ``.tsv`` file.
        else_: what else could have been given, for the message.

    Returns:
        float64 (M, C, rows, columns).

    Raises:
        SettingsError: it is no table of numbers, or parts differ in size.
        SourceError: the file cannot be read.
    """
    text = given
    if Path(given).suffix.lower() in (".txt", ".csv", ".tsv"):
        try:
            text = Path(given).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"'{given}' cannot be read: {error}.", "Give a file of numbers, row by row.") from None
        text = "\n".join(line.strip() for line in text.strip().splitlines())
        text = text.replace("\n---\n", "||").replace("\n\n", "|").replace("\n", ";")
    try:
        maps = [
            [
                [[float(n) for n in row.replace(",", " ").split()] for row in channel.strip("; ").split(";")]
                for channel in part.split("|")
            ]
            for part in text.split("||")
        ]
    except ValueError:
        raise SettingsError(
            f"'{given}' is neither a known name nor a file nor a table of numbers.{did_you_mean(given, _names())}",
            f"Write rows like '0 1 0; 1 -4 1; 0 1 0'. {else_}".strip(),
        ) from None
    sizes = {len(row) for part in maps for channel in part for row in channel}
    shapes = {len(channel) for part in maps for channel in part}, {len(part) for part in maps}
    if len(sizes) > 1 or any(len(each) > 1 for each in shapes) or 0 in sizes:
        raise SettingsError(
            f"the numbers in '{given}' do not make a table.", "Give rows of one length, and channels of one size."
        )
    return np.array(maps, np.float64)


def _binomial(size: int) -> Floats:
    return np.array([comb(size - 1, i) for i in range(size)], np.float64)


def _names() -> list[str]:
    return [*KERNELS, *SAMPLES]
