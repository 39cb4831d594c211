"""A window that has slid over an image -> text for a terminal: the numbers side by side, every output as its sum."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.models.arithmetic import Row
from sightline.models.plan import by
from sightline.seeing.learnable import Learnt
from sightline.seeing.sliding import Slide, Step, say
from sightline.seeing.windows import Floats, Pair

WIDTH = 100
"""Columns that tables may take side by side."""


def summary(slide: Slide) -> str:
    """Tell the sizes and where they come from, show image, kernel and output, and count what it costs."""
    parts = [f"{slide.kind}: {by(slide.image.shape)} -> {by(slide.output.shape)}"]
    if slide.kernel is not None:
        parts.append(f"kernel {by(slide.kernel.shape)}")
    else:
        parts.append(f"window {by(slide.size)}")
    for name in ("stride", "padding", "dilation"):
        parts.append(f"{name} {_by(getattr(slide, name))}")
    if slide.groups > 1:
        parts.append(f"groups {slide.groups}")
    maps = range(len(slide.output))
    blocks = [_grids("image, channel", {f"{c}": _image(slide, c, None) for c in range(len(slide.image))})]
    if slide.kernel is not None:
        taps = {f"{c} to map {m}": _told(slide.kernel[m, i]) for m in maps for i, c in enumerate(slide.heard(m))}
        blocks.append(_grids("kernel, channel", taps))
    blocks.append(_grids("output, map", {f"{m}": _told(slide.output[m]) for m in maps}))
    told = [", ".join(parts), *slide.sizes(), "", *_side_by_side(blocks)]
    if not slide.read.all():
        told.append("/5/: a pixel that is never read; whatever it holds, the output stays the same.")
    if slide.kernel is not None:
        told += ["", _cost(slide)]
    return "\n".join(told)


def sums(slide: Slide, most: int | None = None) -> str:
    """Write every output number as its sum, one a line; after ``most`` of them, say how many are left."""
    steps = list(slide.steps())
    several = len(slide.output) > 1
    lines = []
    for step in steps[:most]:
        place = f"({step.map}, {step.row}, {step.column})" if several else f"({step.row}, {step.column})"
        lines.append(f"{place}  {step.written}")
    left = len(steps) - len(lines)
    return "\n".join([*lines, *([f"... and {left:,} more"] if left else [])])


def frame(slide: Slide, step: Step) -> str:
    """Show the window where it is: the pixels under it in brackets, padding as dots, and the sum."""
    channels = slide.heard(step.map)
    title = (
        f"output ({step.map}, {step.row}, {step.column})" if len(slide.output) > 1 else f"({step.row}, {step.column})"
    )
    if slide.kernel is not None and slide.groups > 1:
        title += f", of channel{'s' * (len(channels) > 1)} {', '.join(map(str, channels))}"
    blocks = [_grids("image, channel", {f"{c}": _image(slide, c, step) for c in channels})]
    if slide.kernel is not None:
        taps = {f"{c}": _told(slide.kernel[step.map, i]) for i, c in enumerate(channels)}
        blocks.append(_grids("kernel, channel", taps))
    return "\n".join([title, *_side_by_side(blocks), step.written])


def progress(found: Learnt, shown: int = 8) -> str:
    """Tell how a kernel was learnt: its loss and weights at the start, on the way and at the end."""
    last = len(found.losses) - 1
    marks = sorted({round(last ** (i / (shown - 2))) for i in range(shown - 1)} | {0, last} if last > 1 else {0, last})
    lines = ["step   loss        kernel"]
    for at in marks:
        taps = " | ".join("; ".join(" ".join(f"{n:.2f}" for n in row) for row in grid) for grid in found.kernels[at][0])
        lines.append(f"{at:<6} {say(float(found.losses[at])):<11} {taps}")
    return "\n".join([*lines, found.sentence])


def costs(rows: Sequence[Row]) -> str:
    """Show what convolutions cost beside dense layers of the same sizes: weights and multiplications."""
    head = ("input", "output", "conv weights", "dense weights", "times", "conv multiply-adds", "dense", "times")
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        counts = (row.parameters, row.dense, row.dense // row.parameters, row.multiply_adds, row.dense)
        times = f"{row.dense / row.multiply_adds:,.1f}"
        lines.append((by(row.shape_in), by(row.shape_out), *(f"{n:,}" for n in counts), times))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


def _cost(slide: Slide) -> str:
    weights, work = slide.weights, slide.multiply_adds
    return (
        f"{weights:,} weight{'s' * (weights != 1)} and {work:,} multiply-adds; a dense layer between the same numbers "
        f"has {slide.dense:,} weights, {slide.dense / weights:,.0f} times as many, and multiplies "
        f"{slide.dense / work:,.1f} times as often."
    )


def _image(slide: Slide, channel: int, step: Step | None) -> list[list[str]]:
    """Write a channel with its padding: dots around it, slashes where nothing is read, brackets under the window."""
    pixels, (down, along), read = slide.image[channel], slide.padding, slide.read
    under = {(t.row, t.column) for t in step.terms} if step is not None else set[tuple[int, int]]()
    grid = []
    for row in range(-down, pixels.shape[0] + down):
        line = []
        for column in range(-along, pixels.shape[1] + along):
            inside = 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1]
            told = say(float(pixels[row, column])) if inside else "."
            if (row, column) in under:
                told = f"[{told}]"
            elif inside and not read[row, column]:
                told = f"/{told}/"
            else:
                told = f" {told} "
            line.append(told)
        grid.append(line)
    return grid


def _told(values: Floats) -> list[list[str]]:
    return [[say(float(n)) for n in row] for row in values]


def _by(sizes: Pair) -> str:
    return str(sizes[0]) if sizes[0] == sizes[1] else by(sizes)


def _grids(name: str, grids: dict[str, list[list[str]]]) -> list[str]:
    """Write tables below each other, each with its name; one alone has no number."""
    lines: list[str] = []
    for which, grid in grids.items():
        lines.append(f"{name} {which}" if len(grids) > 1 else name.partition(",")[0])
        wide = max(len(cell) for row in grid for cell in row)
        lines += [" ".join(cell.rjust(wide) for cell in row) for row in grid]
    return lines


def _side_by_side(blocks: list[list[str]]) -> list[str]:
    widths = [max(map(len, block)) for block in blocks]
    if sum(widths) + 4 * (len(blocks) - 1) > WIDTH:
        return [line for block in blocks for line in [*block, ""]]
    height = max(map(len, blocks))
    full = [block + [""] * (height - len(block)) for block in blocks]
    rows = zip(*full, strict=True)
    return ["    ".join(line.ljust(w) for line, w in zip(row, widths, strict=True)).rstrip() for row in rows]
