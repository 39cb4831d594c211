"""A window that has slid over an image -> an animation, GIF or PNG: a frame for each number of the output."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import SettingsError
from sightline.seeing.learnable import Learnt
from sightline.seeing.sliding import Slide, Step, say
from sightline.seeing.windows import Floats

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

FRAMES = 300
"""An animation of more steps than that nobody watches."""

FORMATS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG"}

LIGHT = {
    "paper": "#ffffff",
    "ink": "#15181e",
    "soft": "#575e6c",
    "line": "#d3d7df",
    "up": "#1c5fd0",
    "down": "#b54a08",
    "mark": "#0a7567",
}
DARK = {
    "paper": "#101217",
    "ink": "#eceef2",
    "soft": "#a3aab8",
    "line": "#3a404d",
    "up": "#74aaff",
    "down": "#ff9c57",
    "mark": "#4fd0bb",
}
"""Colours of the pages (``chart.css``)."""

STRONGEST = 0.62
"""How much colour the largest number gets, so that its text stays readable."""

WIDEST = 1200
"""Pixels; cells shrink until a frame is no wider."""


def film(slide: Slide, *, seconds: float = 0.6, dark: bool = False, form: str = ".gif") -> bytes:
    """Draw a slide as an animation: what is under the window, the sum, and the output as it fills.

    Args:
        slide: what has slid.
        seconds: each frame is shown; the last one five times as long.
        dark: light letters on dark paper.
        form: ``.gif``, ``.png`` or ``.apng``.

    Raises:
        SettingsError: the form is not known, or there are more than ``FRAMES`` output numbers.
    """
    if slide.output.size > FRAMES:
        raise SettingsError(
            f"an animation of {slide.output.size:,} steps would be too long to watch.",
            f"Take a smaller image, more stride or fewer maps: at most {FRAMES} output numbers.",
        )
    picture = _Frame(slide, DARK if dark else LIGHT)
    return _encoded([picture.draw(step, done) for done, step in enumerate(slide.steps())], seconds, form)


def learning(found: Learnt, *, seconds: float = 0.15, dark: bool = False, form: str = ".gif") -> bytes:
    """Draw how a kernel was learnt: kernel, output and loss after each of at most 60 steps, the first ones all."""
    count = len(found.losses) - 1
    marks = sorted({round(count * (i / 59) ** 2) for i in range(60)})
    frames = []
    for at in marks:
        slide = found.after(at)
        text = f"step {at}: mean squared difference {say(float(found.losses[at]))}"
        frames.append(_Frame(slide, DARK if dark else LIGHT).draw(None, slide.output.size, text))
    return _encoded(frames, seconds, form)


def form_of(path: Path) -> str:
    """Give the ending of a path, if an animation can be written so.

    Raises:
        SettingsError: it cannot.
    """
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"'{path}' is no name for an animation.", f"End it in {', '.join(FORMATS)}.")
    return path.suffix.lower()


class _Frame:
    """Where everything is; drawn anew for each step."""

    def __init__(self, slide: Slide, colours: dict[str, str]) -> None:
        self.slide, self.colours = slide, colours
        self.pads = slide.padding
        self.grids = [("image", slide.image)]
        if slide.kernel is not None:
            self.grids.append(("kernel", slide.kernel.reshape(-1, *slide.size)))
        self.grids.append(("output", slide.output))
        columns = [self._shape(name, grid)[1] for name, grid in self.grids]
        self.cell = int(min(44, (WIDEST - 40 * (len(columns) + 1)) / sum(columns)))
        self.cell = max(self.cell, 12)
        heights = [len(grid) * (self._shape(name, grid)[0] * self.cell + 22) for name, grid in self.grids]
        self.wide = max(sum(columns) * self.cell + 40 * (len(columns) - 1) + 48, 420)
        self.rows = 1 if slide.image.shape[0] == 1 or slide.kernel is None else slide.image.shape[0] + 1
        self.tall = max(heights) + 44 + 28 * self.rows
        self.tints = [float(np.abs(grid).max(initial=0, where=np.isfinite(grid))) for _, grid in self.grids]

    def draw(self, step: Step | None, done: int, text: str = "") -> Image.Image:
        """Draw one frame: numbers up to ``done`` are there."""
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", (self.wide, self.tall), self.colours["paper"])
        pen = ImageDraw.Draw(picture)
        x = 24
        for (name, grid), most in zip(self.grids, self.tints, strict=True):
            y = 14
            for i, values in enumerate(grid):
                pen.text((x, y), self._title(name, i, len(grid)), self.colours["soft"], _font(14))
                self._grid(pen, name, i, values, (x, y + 20), most, step, done)
                y += self._shape(name, grid)[0] * self.cell + 22
            x += self._shape(name, grid)[1] * self.cell + 40
        y = self.tall - 28 * self.rows - 4
        for line in [text] if step is None else _sums(step):
            self._line(pen, line, (24, y))
            y += 28
        return picture

    def _shape(self, name: str, grid: Floats) -> tuple[int, int]:
        rows, columns = grid.shape[1:]
        return (rows + 2 * self.pads[0], columns + 2 * self.pads[1]) if name == "image" else (rows, columns)

    def _title(self, name: str, i: int, count: int) -> str:
        if count == 1:
            return name
        if name == "kernel":
            m, c = self._reads(i)
            return f"map {m}, ch. {c}" if len(self.slide.output) > 1 else f"kernel, channel {c}"
        return f"{name}, {'channel' if name == 'image' else 'map'} {i}"

    def _grid(
        self, pen: ImageDraw.ImageDraw, name: str, i: int, values: Floats, corner: tuple[int, int], most: float,
        step: Step | None, done: int,
    ) -> None:  # fmt: skip
        down, along = self.pads if name == "image" else (0, 0)
        rows, columns = values.shape
        under = self._marked(name, i, step)
        texts = [say(float(n), 3) for n in values.ravel()]
        size = int(max(8, min(self.cell * 0.4, self.cell * 1.5 / max(map(len, texts)))))
        soft = name == "kernel" and step is not None and self._reads(i)[0] != step.map
        read = self.slide.read
        for row in range(-down, rows + down):
            for column in range(-along, columns + along):
                x, y = corner[0] + (column + along) * self.cell, corner[1] + (row + down) * self.cell
                box = (x, y, x + self.cell, y + self.cell)
                inside = 0 <= row < rows and 0 <= column < columns
                there = name != "output" or (i * rows + row) * columns + column <= done
                value = float(values[row, column]) if inside else 0.0
                shade = self._shade(value, most) if inside and there else self.colours["paper"]
                pen.rectangle(box, shade, self.colours["line"])
                if inside and name == "image" and not read[row, column]:
                    for offset in range(0, 2 * self.cell, 6):
                        ends = (
                            (x + max(0, offset - self.cell), y + min(offset, self.cell)),
                            (x + min(offset, self.cell), y + max(0, offset - self.cell)),
                        )
                        pen.line(ends, self.colours["soft"])
                if (inside and there) or (not inside and self.slide.kind != "max pool"):
                    colour = self.colours["ink" if inside and not soft else "soft"]
                    middle = (x + self.cell / 2, y + self.cell / 2)
                    pen.text(middle, say(value, 3) if inside else "0", colour, _font(size), anchor="mm")
        for row, column in under:
            x, y = corner[0] + (column + along) * self.cell, corner[1] + (row + down) * self.cell
            pen.rectangle((x + 1, y + 1, x + self.cell - 1, y + self.cell - 1), None, self.colours["mark"], 3)

    def _reads(self, i: int) -> tuple[int, int]:
        """Say which map the i-th kernel drawn makes, and which channel it reads."""
        each = 1 if self.slide.kernel is None else self.slide.kernel.shape[1]
        return i // each, self.slide.heard(i // each)[i % each]

    def _marked(self, name: str, i: int, step: Step | None) -> set[tuple[int, int]]:
        if step is None or name == "kernel":
            return set()
        if name == "output":
            return {(step.row, step.column)} if i == step.map else set()
        return {(t.row, t.column) for t in step.terms if t.channel == i}

    def _shade(self, value: float, most: float) -> str:
        share = STRONGEST * min(abs(value) / most, 1) if most and np.isfinite(value) else 0.0
        ends = [_rgb(self.colours[name]) for name in ("paper", "up" if value >= 0 else "down")]
        mixed = [round(a + (b - a) * share) for a, b in zip(*ends, strict=True)]
        return "#{:02x}{:02x}{:02x}".format(*mixed)

    def _line(self, pen: ImageDraw.ImageDraw, line: str, corner: tuple[float, float]) -> None:
        """Write a line, smaller where it is long, and cut where even that is too much."""
        room = self.wide - 2 * corner[0]
        size = next((size for size in range(18, 10, -1) if pen.textlength(line, _font(size)) <= room), 11)
        while pen.textlength(line, _font(size)) > room:
            left, _, result = line.rpartition(" = ") if " = " in line else line.rpartition(" ≈ ")
            head = left.removesuffix(" + …").rpartition(" + ")[0] or left[: len(left) // 2]
            line = f"{head} + … = {result}"
        pen.text(corner, line, self.colours["ink"], _font(size))


def _sums(step: Step) -> list[str]:
    """Write the sum of a step: one line for each channel, if there are several, and the result."""
    channels = sorted({term.channel for term in step.terms})
    if len(channels) == 1:
        return [step.written]
    lines = []
    for channel in channels:
        terms = tuple(term for term in step.terms if term.channel == channel)
        part = Step(step.kind, step.map, step.row, step.column, terms, 0.0, sum(t.value * t.weight for t in terms))
        lines.append(f"channel {channel}: {part.written}")
    return [*lines, f"together{f', and {say(step.bias)}' if step.bias else ''} = {say(step.value)}"]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _encoded(frames: Sequence[Image.Image], seconds: float, form: str) -> bytes:
    """Write frames as an animation that repeats."""
    if form not in FORMATS or not 0.02 <= seconds <= 60:
        raise SettingsError(
            f"an animation '{form}' of {seconds:g} seconds a frame is not possible.",
            f"There are {', '.join(FORMATS)}, and 0.02 to 60 seconds.",
        )
    from PIL import Image

    each = [round(seconds * 1000)] * (len(frames) - 1) + [round(seconds * 5000)]
    buffer = io.BytesIO()
    if FORMATS[form] == "GIF":
        # one palette for all, so that a frame stores only what has changed; the last frame has every colour
        palette = frames[-1].quantize(128)
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    frames[0].save(
        buffer, FORMATS[form], save_all=True, append_images=frames[1:], duration=each, loop=0, optimize=False
    )
    return buffer.getvalue()
