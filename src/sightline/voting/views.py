"""Names of test-time views -> the ways in which one network looks at an image again: mirrored, moved by a little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sightline.data.preprocess import Preprocessing
from sightline.errors import SettingsError, did_you_mean

DISTANCE = 1 / 32
"""How far a view moves an image, as a share of its side; at least one position."""

_SIDES = {
    "image": (("up", "down"), ("left", "right")),
    "signal": (("earlier", "later"),),
    "volume": (("forward", "back"), ("up", "down"), ("left", "right")),
}


@dataclass(frozen=True)
class View:
    """One way to look at an image.

    Attributes:
        words: ``"mirrored"``, ``"1 left"``: moved by one position, ``"mirrored, 1 left"``.
        axis: of the network's input (B, C, *size) along which it is moved.
        move: positions it is moved by along that axis; what comes into view repeats the edge.
        flip: mirrored before that, left to right.
    """

    words: str
    axis: int
    move: int = 0
    flip: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """Give the changed batch (B, C, *size)."""
        x = x.flip(-1) if self.flip else x
        if not self.move:
            return x
        length = x.shape[self.axis]
        places = (torch.arange(length, device=x.device) - self.move).clamp(0, length - 1)
        return x.index_select(self.axis, places)


class Viewed(nn.Module):
    """A network that looks at every input through a view.

    Args:
        model: (B, C, *size) -> logits (B, K).
        view: what is done to the input.
    """

    def __init__(self, model: nn.Module, view: View) -> None:
        super().__init__()
        self.model = model
        self.view = view

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of what the view shows."""
        return torch.as_tensor(self.model(self.view(x)))


@dataclass(frozen=True)
class Kind:
    """A kind of view.

    Attributes:
        description: one line for help texts.
        make: the input's preprocessing -> the views.
    """

    description: str
    make: Callable[[Preprocessing], tuple[View, ...]]


def _flips(preprocessing: Preprocessing) -> tuple[View, ...]:
    return (View("mirrored", 3, flip=True),) if preprocessing.kind == "image" else ()


def _shifts(preprocessing: Preprocessing) -> tuple[View, ...]:
    views = []
    for axis, (side, sides) in enumerate(zip(preprocessing.size, _SIDES[preprocessing.kind], strict=True), 2):
        by = max(1, round(side * DISTANCE))
        if side > by:
            views += [View(f"{by} {word}", axis, move) for word, move in zip(sides, (-by, by), strict=True)]
    return tuple(views)


VIEWS: dict[str, Kind] = {
    "flips": Kind("the mirror image, where it keeps its label", _flips),
    "shifts": Kind("moved by a 32nd of the side, each way", _shifts),
}
"""The kinds of views."""


def combined(found: Sequence[View]) -> tuple[View, ...]:
    """Add what two kinds show together: the mirror image is moved, too, each way."""
    mirrored, moved = [view for view in found if view.flip], [view for view in found if not view.flip]
    both = [replace(far, words=f"{near.words}, {far.words}", flip=True) for near in mirrored for far in moved]
    return (*found, *both)


def names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Read ``"flips,shifts"`` or a list of names.

    Raises:
        SettingsError: there is no such view.
    """
    parts = [part.strip() for part in given.split(",")] if isinstance(given, str) else list(given)
    for part in parts:
        if part not in VIEWS:
            raise SettingsError(
                f"there is no view '{part}'.{did_you_mean(part, VIEWS)}", f"Use one or more of: {', '.join(VIEWS)}."
            )
    return tuple(dict.fromkeys(parts))
