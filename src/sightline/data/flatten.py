"""An image of any mode (palette, alpha, CMYK, 16 bits, float) -> 8-bit grey or RGB, and what was done for that."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline.data.sniff import Coloured, Unreadable


def flatten(image: Image.Image, odd: list[str]) -> Image.Image:
    """Give an image as Pillow mode ``L`` or ``RGB``.

    Args:
        image: decoded, of any mode.
        odd: gets keys of ``decode.ODDITIES`` added: what had to be done.

    Raises:
        Unreadable: it holds NaN or infinite values.
    """
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _deep(image, odd)
    if mode == "1":
        odd.append("1-bit")
    if image.has_transparency_data:
        grey = mode in ("1", "L", "LA", "La")
        image = image.convert("LA" if grey else "RGBA")
        if cast(tuple[int, int], image.getchannel("A").getextrema())[0] < 255:
            odd.append("palette with transparency" if mode in ("P", "PA") else "transparent")
            white = Image.new(image.mode, image.size, "white")
            if grey:  # alpha_composite takes colour only
                white.paste(image.getchannel("L"), mask=image.getchannel("A"))
                image = white
            else:
                image = Image.alpha_composite(white, image)
        return image.convert("L" if grey else "RGB")
    if mode == "CMYK":
        odd.append("CMYK")
    if mode in ("P", "PA"):
        odd.append("palette")
    plain = "L" if mode in ("1", "L") else "RGB"
    return image if mode == plain else image.convert(plain)


def to_channels(array: NDArray[np.uint8], channels: int | None) -> NDArray[np.uint8]:
    """Give pixels the wanted number of channels.

    Args:
        array: H,W,1 or H,W,3.
        channels: 1, 3, or None: 1 if the three are equal at every pixel, else 3.

    Raises:
        Coloured: 1 is wanted and they are not equal.
    """
    if channels == 3:
        return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array
    if array.shape[2] == 1:
        return array
    if np.array_equal(array[..., 0], array[..., 1]) and np.array_equal(array[..., 0], array[..., 2]):
        return array[..., :1]
    if channels == 1:
        raise Coloured("colour image", "only grey ones can be used here")
    return array


def _deep(image: Image.Image, odd: list[str]) -> Image.Image:
    """Scale samples of more than 8 bits to 0..255 by a rule that needs no other file.

    Full range is the smallest of 255, 4095 and 65535 (for floats also 1) that holds the largest value. Twelve-bit
    cameras and X-ray devices store 0..4095 in 16 bits: divided by 65535 only 16 nearly black levels would be left.
    """
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise Unreadable("NaN or infinite pixels")
    ranges = {255: "8-bit in 16", 4095: "12-bit in 16", 65535: "16-bit"}
    if values.dtype.kind == "f":
        ranges = dict.fromkeys((1, 255, 4095, 65535), "float")
    low, high = float(values.min()), float(values.max())
    full = next((full for full in ranges if high <= full), None)
    if low < 0 or full is None:
        odd.append("stretched")
        bytes_ = (values.astype(np.float64) - low) * (255 / max(high - low, 1e-12))
    else:
        odd.append(ranges[full])
        bytes_ = values.astype(np.float64) * (255 / full)
    result = np.rint(bytes_).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        odd.append("transparent")
        result[values == transparent] = 255
    return Image.fromarray(result)
