"""A stream -> one picture of its first 16 inputs, as the network gets them; what SMOTE invented -> one of families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sightline.data.preprocess import Preprocessing
from sightline.data.smote import Invented, mix
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
    tiles = _tiles(values, preprocessing)
    captions = [_caption(label, classes) for label in y.cpu().numpy()]
    size = " x ".join(map(str, preprocessing.size))
    title = f"{len(tiles)} inputs as the network gets them: {size}, {preprocessing.channels} "
    title += f"channel{'s' * (preprocessing.channels > 1)}"
    return _arrange(tiles, captions, [title, f"augmentation: {stream.augment}"])


def families(
    array: NDArray[Any],
    labels: NDArray[np.int64],
    invented: Invented,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    nearest: NDArray[np.int64] | None = None,
) -> Image.Image:
    """Draw what SMOTE invented between its parents: one on the left, one on the right of each.

    Args:
        array: the pixel store, (N, ...).
        labels: of its rows, int64 (N,).
        invented: what to draw, M of them; ``smote.some`` chooses. Of signals, which need room, the first 4.
        preprocessing: says what the store holds.
        classes: K class names.
        nearest: where points among features were invented, which no picture shows: for each, the image in the middle,
            a row of the store. None draws the mixture of the two parents.

    Returns:
        an RGB picture of families of three tiles, two in a row; one where they are signals.
    """
    most = 4 if preprocessing.kind == "signal" else len(invented.first)
    invented = Invented(invented.first[:most], invented.second[:most], invented.place[:most])
    first, second = (torch.from_numpy(np.asarray(array[rows])) for rows in (invented.first, invented.second))
    if nearest is None:
        middle = mix(first, second, torch.from_numpy(invented.place))
        notes = [f"invented at {place:.2f}" for place in invented.place]
        title = "What SMOTE invented, each between the two it was made of (0: the left one, 1: the right one)."
    else:
        nearest = nearest[:most]
        middle = torch.from_numpy(np.asarray(array[nearest]))
        notes = [
            f"near {place:.2f}: {classes[labels[row]]}" for place, row in zip(invented.place, nearest, strict=True)
        ]
        title = (
            "SMOTE invented points among features, between those of the left and the right image (0: left, 1: right). "
        )
        title += (
            f"Such a point is no image: in the middle is the training {preprocessing.kind} that lies nearest to it."
        )
    values = torch.stack([first, middle, second], dim=1).flatten(0, 1).float().numpy()
    names = [str(classes[label]) for label in labels[invented.first]]
    captions = [text for name, note in zip(names, notes, strict=True) for text in (name, note, name)]
    if preprocessing.kind == "image":
        values = np.moveaxis(values, -1, 1)
    columns = 3 if preprocessing.kind == "signal" else 6
    return _arrange(_tiles(_shown(values, preprocessing), preprocessing), captions, [title], columns, group=3)


def _tiles(values: NDArray[np.float32], preprocessing: Preprocessing) -> list[Image.Image]:
    """Draw each example, (B, C, *size) in stored units: signals as lines, of volumes the middle slice."""
    if preprocessing.kind == "signal":
        return _lines(values)
    return [_pixels(value) for value in (values[:, :, values.shape[2] // 2] if values.ndim == 5 else values)]


def _denormalise(x: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Bring inputs back to stored units; images and volumes that are not stored as uint8 to 0..255 by their range."""
    return _shown(preprocessing.denormalise(x), preprocessing)


def _shown(x: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Bring stored units to what can be drawn."""
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


def _arrange(
    tiles: list[Image.Image], captions: list[str], title: list[str], columns: int = COLUMNS, group: int = 0
) -> Image.Image:
    """Lay tiles in rows under a title, each over its caption; a caption that is too long ends in '…'.

    With a group, there is a wider gap after each so many tiles.
    """
    font = ImageFont.load_default(TEXT)
    width, height = tiles[0].size
    cell = max(width, 100)
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    line = TEXT + 6
    total = max(columns * (cell + GAP) + GAP + (4 * GAP * ((columns - 1) // group) if group else 0), 420)
    title = [part for text in title for part in _wrapped(text, total - 2 * GAP, font)]
    top = GAP + line * len(title)
    picture = Image.new("RGB", (total, top + rows * (height + line + GAP) + GAP), _PAPER)
    pen = ImageDraw.Draw(picture)
    for number, text in enumerate(title):
        pen.text((GAP, GAP + number * line), text, _INK, font)
    for number, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        row, column = divmod(number, columns)
        apart = 4 * GAP * (column // group) if group else 0
        corner = (GAP + apart + column * (cell + GAP), top + GAP + row * (height + line + GAP))
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
