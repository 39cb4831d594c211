"""A stream -> one picture of its first 16 inputs, exactly as the network gets them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sightline.data.preprocess import Preprocessing
from sightline.data.stream import Stream

COUNT, COLUMNS = 16, 4
TILE = 160
"""Pixels per tile, about: images are enlarged by whole factors only, so that each pixel stays what it is."""
GAP, TEXT = 8, 12

_PAPER, _INK, _LINES = (255, 255, 255), (40, 40, 40), ((31, 119, 180), (214, 90, 20), (44, 140, 60), (140, 80, 170))


def sheet(stream: Stream, classes: Sequence[str]) -> Image.Image:
    """Draw the first 16 inputs of the stream's epoch with their classes; the stream stays where it is.

    Normalisation is undone, nothing else: size, padding, crops and augmentation are the network's view. Images are
    enlarged without interpolation; signals are lines over time, all on one scale; of volumes, the middle slice is
    shown. Mixed labels show their shares.

    Args:
        stream: where the inputs come from.
        classes: K class names.

    Returns:
        an RGB picture, at most 16 tiles.
    """
    preprocessing = stream.preprocessing
    x, y = stream.peek(COUNT)
    values = _denormalise(x.cpu().numpy(), preprocessing)
    if preprocessing.kind == "signal":
        tiles = _lines(values)
    else:
        tiles = [_pixels(value) for value in (values[:, :, values.shape[2] // 2] if values.ndim == 5 else values)]
    captions = [_caption(label, classes) for label in y.cpu().numpy()]
    size = " x ".join(map(str, preprocessing.size))
    title = f"{len(tiles)} inputs as the network gets them: {size}, {preprocessing.channels} "
    title += f"channel{'s' * (preprocessing.channels > 1)}"
    return _arrange(tiles, captions, [title, f"augmentation: {stream.augment}"])


def _denormalise(x: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Bring inputs back to stored units; images and volumes that are not stored as uint8 to 0..255 by their range."""
    x = preprocessing.denormalise(x)
    if preprocessing.stored != "uint8" and preprocessing.kind != "signal":
        x = (x - x.min()) * (255 / max(float(np.ptp(x)), 1e-12))
    return x if preprocessing.kind == "signal" else np.rint(x).clip(0, 255)


def _pixels(value: NDArray[np.float32]) -> Image.Image:
    """Turn (C, H, W) into a picture: three channels are colours, of any other number the first is shown in grey."""
    pixels = value.astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)) if len(pixels) == 3 else pixels[0])
    factor = max(1, TILE // max(image.size))
    return image.convert("RGB").resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _lines(values: NDArray[np.float32]) -> list[Image.Image]:
    """Draw each (C, L) as one line per channel; all tiles share one vertical scale."""
    low, high = float(values.min()), float(values.max())
    width, height = 2 * TILE, TILE
    across = np.linspace(4, width - 5, values.shape[-1])
    tiles = []
    for value in values:
        tile = Image.new("RGB", (width, height), (246, 246, 246))
        pen = ImageDraw.Draw(tile)
        for number, line in enumerate(value):
            down = height - 5 - (line - low) / max(high - low, 1e-12) * (height - 10)
            pen.line(list(zip(across.tolist(), down.tolist(), strict=True)), fill=_LINES[number % len(_LINES)], width=2)
        tiles.append(tile)
    return tiles


def _caption(label: NDArray[np.generic] | np.generic, classes: Sequence[str]) -> str:
    """Name a class, or the shares of several: ``70% cat, 30% dog``."""
    shares = np.asarray(label)
    if shares.ndim == 0:
        return str(classes[int(shares)])
    named = [(float(shares[k]), str(classes[k])) for k in np.argsort(-shares, kind="stable") if shares[k] >= 0.005]
    return named[0][1] if len(named) == 1 else ", ".join(f"{share:.0%} {name}" for share, name in named[:2])


def _arrange(tiles: list[Image.Image], captions: list[str], title: list[str]) -> Image.Image:
    """Lay tiles in rows of four under a title, each over its caption; a caption that is too long ends in '…'."""
    font = ImageFont.load_default(TEXT)
    width, height = tiles[0].size
    cell = max(width, 100)
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    line = TEXT + 6
    total = max(columns * (cell + GAP) + GAP, 420)
    title = [part for text in title for part in _wrapped(text, total - 2 * GAP, font)]
    top = GAP + line * len(title)
    picture = Image.new("RGB", (total, top + rows * (height + line + GAP) + GAP), _PAPER)
    pen = ImageDraw.Draw(picture)
    for number, text in enumerate(title):
        pen.text((GAP, GAP + number * line), text, _INK, font)
    for number, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        row, column = divmod(number, columns)
        corner = (GAP + column * (cell + GAP), top + GAP + row * (height + line + GAP))
        picture.paste(tile, corner)
        pen.text((corner[0], corner[1] + height + 2), _fitting(caption, cell, font), _INK, font)
    return picture


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Break text into lines of a width in pixels."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Cut text to a width in pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
