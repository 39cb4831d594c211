"""Parts of ``sightline see`` that need no network: the arithmetic of convolutions and pools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.commands.arguments import AsJson, print_json
from sightline.errors import SettingsError

if TYPE_CHECKING:
    from sightline.seeing.learnable import Learnt
    from sightline.seeing.sliding import Slide

SHOWN = 100
"""Sums that are written out unless all are asked for."""


def arithmetic(
    image: Annotated[
        str,
        typer.Argument(
            help="digit, step, corner, cross, ramp, dot, noise, colour; an image or text file; or numbers: '1 2; 3 4'."
        ),
    ] = "digit",
    kernel: Annotated[
        str,
        typer.Option(
            "--kernel",
            help="identity, shift, blur, edge, vertical, horizontal, sharpen, mix, swap; a text file; or numbers.",
        ),
    ] = "edge",
    size: Annotated[str, typer.Option("--size", help="Rows and columns of a named kernel or of a pool.")] = "3",
    stride: Annotated[str | None, typer.Option("--stride", help="From one window to the next: 2, or 2,1.")] = None,
    padding: Annotated[str, typer.Option("--padding", help="Zeros around the image.")] = "0",
    dilation: Annotated[str, typer.Option("--dilation", help="From one tap of the kernel to the next.")] = "1",
    groups: Annotated[
        int, typer.Option("--groups", min=1, help="Parts of channels and maps; as many as channels: depthwise.")
    ] = 1,
    pool: Annotated[str | None, typer.Option("--pool", metavar="max|average", help="Pool instead.")] = None,
    side: Annotated[int, typer.Option("--side", min=1, max=64, help="Pixels along the side of a named image.")] = 8,
    colour: Annotated[bool, typer.Option("--colour", help="Keep red, green and blue of an image file apart.")] = False,
    learn: Annotated[
        int, typer.Option("--learn", min=0, metavar="STEPS", help="Learn the kernel from what it does, in these steps.")
    ] = 0,
    at: Annotated[
        str | None, typer.Option("--at", help="Show one output number: row,column or map,row,column.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Write out every sum, however many.")] = False,
    cost: Annotated[bool, typer.Option("--cost", help="Only what it costs, beside a dense layer.")] = False,
    film: Annotated[Path | None, typer.Option("--film", help="Draw an animation into this file (.gif, .png).")] = None,
    page: Annotated[Path | None, typer.Option("--page", help="Write a page to play with into this file.")] = None,
    dark: Annotated[bool, typer.Option("--dark", help="An animation on dark paper.")] = False,
    as_json: AsJson = False,
) -> None:
    """Convolve or pool step by step, every output number as its sum: as text, an animation, a page; needs no run."""
    from sightline.files import write_bytes, write_text
    from sightline.reports import walkthrough
    from sightline.reports.film import film as filmed
    from sightline.reports.film import form_of, learning
    from sightline.seeing import learnable, sliding, stencils, windows

    if pool is not None and (learn or cost or groups > 1):
        raise SettingsError("a pool has no weights.", "Leave out --pool, or --learn, --cost and --groups.")
    if learn and groups > 1:
        raise SettingsError("a kernel is learnt over all channels.", "Leave out --learn or --groups.")
    form = None if film is None else form_of(film)
    pixels, both = stencils.image(image, side, colour=colour), _pair("size", size)
    moves, pads, taps = _pair("stride", stride or "1"), _pair("padding", padding), _pair("dilation", dilation)
    if pool is not None:
        slide = sliding.pool(pixels, both, kind=pool, stride=moves if stride else None, padding=pads, dilation=taps)
    else:
        if both[0] != both[1]:
            raise SettingsError(f"--size {size}: a named kernel is square.", "Give one number, or a kernel of numbers.")
        weights = stencils.weights(kernel, both[0], windows.grouped(len(pixels), groups), groups)
        slide = sliding.convolve(pixels, weights, stride=moves, padding=pads, dilation=taps, groups=groups)
    found = None
    if learn:
        found = learnable.learn(
            pixels, slide.output, slide.size, steps=learn, stride=moves, padding=pads, dilation=taps
        )
    step = None if at is None else slide.step(*_place(at))
    written = {}
    if film is not None and form is not None:
        drawn = filmed(slide, dark=dark, form=form) if found is None else learning(found, dark=dark, form=form)
        write_bytes(film, drawn)
        written["film"] = str(film)
    if page is not None:
        from sightline.reports.explorer import explorer

        named = {"image": image if image in stencils.SAMPLES else "own"}
        if kernel in stencils.KERNELS:
            named |= {"kernel": "learnable", "goal": kernel} if found else {"kernel": kernel}
        write_text(page, explorer(found.after(0) if found else slide, **named))
        written["page"] = str(page)
    if as_json:
        print_json({**_plain(slide), **({"learnt": _learnt(found)} if found else {}), **written})
        return
    if cost:
        shapes = [(len(pixels), n, n) for n in sorted({pixels.shape[1], 28, 224})]
        shapes = [shape for shape in shapes if shape[1] + 2 * pads[0] > taps[0] * (slide.size[0] - 1)]
        ways = (len(slide.output), slide.size[0], moves[0], pads[0], taps[0], groups)
        print(walkthrough.costs([sliding.cost(shape, *ways) for shape in shapes]))
    elif step is not None:
        print(walkthrough.frame(slide, step))
    elif found is not None:
        print(walkthrough.summary(slide), walkthrough.progress(found), sep="\n\n")
    else:
        print(walkthrough.summary(slide), walkthrough.sums(slide, None if every else SHOWN), sep="\n\n")
    for name, path in written.items():
        print(f"{name} {path}")


def _plain(slide: Slide) -> dict[str, object]:
    return {
        "kind": slide.kind,
        "image": slide.image.tolist(),
        "kernel": None if slide.kernel is None else slide.kernel.tolist(),
        "size": slide.size,
        "stride": slide.stride,
        "padding": slide.padding,
        "dilation": slide.dilation,
        "groups": slide.groups,
        "output": [
            [[n if abs(n) < float("inf") else None for n in row] for row in grid] for grid in slide.output.tolist()
        ],
        "read": slide.read.tolist(),
        "sums": [step.written for step in slide.steps()],
        "weights": slide.weights,
        "multiply_adds": slide.multiply_adds,
        "dense": slide.dense,
    }


def _learnt(found: Learnt) -> dict[str, object]:
    return {"rate": found.rate, "losses": found.losses.tolist(), "kernel": found.kernels[-1].tolist()}


def _pair(name: str, told: str) -> tuple[int, int]:
    numbers = told.replace("x", ",").split(",")
    if len(numbers) > 2 or not all(number.strip().isdigit() for number in numbers):
        raise SettingsError(f"--{name} {told} is not possible.", "Give a whole number, or two: rows,columns.")
    return int(numbers[0]), int(numbers[-1])


def _place(told: str) -> tuple[int, int, int]:
    numbers = told.split(",")
    if len(numbers) not in (2, 3) or not all(number.strip().isdigit() for number in numbers):
        raise SettingsError(f"--at {told} is no place in the output.", "Give row,column or map,row,column, from 0.")
    row, column = int(numbers[-2]), int(numbers[-1])
    return (int(numbers[0]) if len(numbers) == 3 else 0), row, column
