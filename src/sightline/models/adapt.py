"""Layers made for large images + a small image -> layers it can pass through, and sentences on what changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sightline.models.plan import Conv, Group, Layer, MisfitError, Pool, Residual, Shape, Subsample, by, chain, each
from sightline.models.style import Filled, Parts


def fit(parts: Parts, shape: Shape, style: Filled) -> tuple[Parts, tuple[str, ...]]:
    """Fit a row of layers to a small input: the earliest strides are dropped until the input passes through.

    The early strides go first because a small image has no detail to spare, while the late layers want their wide
    view. A pool without its stride is left out; a convolution keeps its kernel.

    Args:
        parts: the named layers up to, and not including, the head.
        shape: the input, ``(channels, *positions)``.
        style: ``style.adapt`` False leaves everything as it is.

    Returns:
        The layers, and a sentence for every change. What cannot be made to fit comes back unchanged.
    """
    notes: list[str] = []
    kept = list(parts)
    while style.adapt and not last_map(kept, shape):
        place = next((i for i, (_, layer) in enumerate(kept) if strided(layer)), None)
        if place is None:
            return parts, ()
        name, layer = kept[place]
        plain = unstrided(layer)
        if plain is None:
            del kept[place]
            notes.append(f"the pool '{name}' is left out")
        else:
            kept[place] = (name, plain)
            notes.append(f"'{name}' has stride 1")
    return tuple(kept), tuple(notes)


def last_map(parts: Iterable[tuple[str, Layer]], shape: Shape) -> tuple[int, ...]:
    """Give the positions of the last map; nothing when the input does not pass through."""
    try:
        return chain(*parts).out(shape)[1:]
    except MisfitError:
        return ()


def grid(parts: Parts, shape: Shape, side: int, style: Filled) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Choose the cells per axis over which a map is averaged before dense layers: ``side``, or as many as it has.

    Returns:
        The cells, and a sentence when there are fewer than the paper's.
    """
    paper = (side,) * (len(shape) - 1)
    last = last_map(parts, shape) if style.adapt else paper
    cells = tuple(min(side, n) for n in last or paper)
    return cells, (f"the dense layers take a map of {by(cells)}, not {by(paper)}",) if cells != paper else ()


def ends(stages: Iterable[tuple[str, Parts]], kept: Parts, inside: str = "") -> tuple[tuple[str, str], ...]:
    """Name the module that gives each stage's output: the last of its layers that was kept.

    Args:
        stages: name and layers of every stage, before fitting.
        kept: the layers after fitting.
        inside: dotted name of the module that holds the layers.
    """
    names = {name for name, _ in kept}
    last = ((stage, [name for name, _ in parts if name in names]) for stage, parts in stages)
    return tuple((stage, f"{inside}.{found[-1]}" if inside else found[-1]) for stage, found in last if found)


def strided(layer: Layer) -> bool:
    """Tell whether a convolution or pool, or anything inside this layer, moves by more than one position."""
    if isinstance(layer, Conv | Pool):
        return max(each(layer.stride, 1)) > 1
    inside = [child for _, child in layer.parts] if isinstance(layer, Group) else []
    return any(map(strided, inside))


def unstrided(layer: Layer) -> Layer | None:
    """Give the same layer with all strides 1; None for a pool, which is nothing without its stride."""
    if isinstance(layer, Pool):
        return None if strided(layer) else layer
    if isinstance(layer, Conv | Subsample):
        return replace(layer, stride=1)
    if isinstance(layer, Residual) and layer.shortcut:
        layer = replace(layer, shortcut=unstrided(layer.shortcut))
    if isinstance(layer, Group):
        inside = ((name, unstrided(child)) for name, child in layer.parts)
        return replace(layer, parts=tuple((name, child) for name, child in inside if child))
    return layer
