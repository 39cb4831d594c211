"""A trained network and images -> the loss on a plane around its weights, spanned by two random directions.

After H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein, Visualizing the Loss Landscape of Neural Nets, 2018 (section 4):
each filter of a random direction is scaled to the norm of the network's own filter, so that a step of 1 changes every
filter by as much as it is large, and surfaces of different networks can be compared. As in the authors' figures, biases
and norms stay as they are (their directions are 0), and batch norms keep the statistics of the training. Of dense
layers, a filter is what one unit takes in.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi, sin
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline import files
from sightline.errors import RunError, SettingsError
from sightline.progress import Progress
from sightline.training.ending import Ending

if TYPE_CHECKING:
    from sightline.training.precision import Precision

Floats = NDArray[np.float64]

KEEP_SECONDS = 20.0
"""What has been measured is written down this often."""

RAYS = 64
"""Straight walks away from the weights that are looked at."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """The loss over a plane; the weights are in its middle.

    Attributes:
        name: of the network or run.
        places: float64 (n,): steps along either direction, -reach..reach, in filter norms.
        losses: float64 (n, n), nats: row i, column j is the loss after ``places[i]`` of the second direction and
            ``places[j]`` of the first; NaN where it has not been measured.
        errors: float64 (n, n): share of images taken for another class, likewise.
        classes: K; guessing has a loss of log(K).
        images: how many were looked at.
        seed: of the directions.
        key: what it was measured of: weights, images, directions.
    """

    name: str
    places: Floats
    losses: Floats
    errors: Floats
    classes: int
    images: int
    seed: int
    key: str

    @property
    def complete(self) -> bool:
        """Whether every place has been measured."""
        return bool(np.isfinite(self.losses).all())

    def grid(self) -> tuple[Floats, Floats]:
        """Give places (m,) and losses (m, m) of the finest grid that is complete.

        Raises:
            RunError: not even the coarsest is.
        """
        for step in _steps(len(self.places))[::-1]:
            if np.isfinite(self.losses[::step, ::step]).all():
                return self.places[::step], self.losses[::step, ::step]
        raise RunError(
            f"too little of the landscape of '{self.name}' has been measured to draw it.",
            "Give it more minutes, or fewer points or images.",
        )

    @property
    def least(self) -> float:
        """The loss of the network as it is."""
        return float(self.losses[len(self.places) // 2, len(self.places) // 2])

    def around(self, distance: float) -> float:
        """Give the median loss on the circle of this radius, in filter norms, at most the reach."""
        return float(np.median([self._at(distance, i) for i in range(RAYS)]))

    @property
    def rising(self) -> float:
        """Give the share of straight walks from the weights to the circle on which the loss never falls.

        A fall of less than a hundredth of the way up does not count. In a bowl this is 1.
        """
        places = np.linspace(0, float(self.places[-1]), 26)
        walks = np.array([[self._at(float(place), i) for place in places] for i in range(RAYS)])
        falls = np.maximum.accumulate(walks, axis=1) - walks
        return float((falls.max(axis=1) <= 0.01 * (walks.max(axis=1) - walks[:, 0])).mean())

    @property
    def sentence(self) -> str:
        """What it shows."""
        half, whole = float(self.places[-1]) / 2, float(self.places[-1])
        return (
            f"{self.name}: the loss is {self.least:.3g} at the weights found, {self.around(half):.3g} at a distance of "
            f"{half:g} filter norms and {self.around(whole):.3g} at {whole:g} (medians); on {self.rising:.0%} of "
            f"{RAYS} straight walks away it never falls."
        )

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values; what has not been measured is None."""
        return {
            "name": self.name,
            "reach": float(self.places[-1]),
            "classes": self.classes,
            "images": self.images,
            "seed": self.seed,
            "key": self.key,
            "losses": [[None if np.isnan(n) else n for n in row] for row in self.losses.tolist()],
            "errors": [[None if np.isnan(n) else n for n in row] for row in self.errors.tolist()],
        }

    def _at(self, distance: float, ray: int) -> float:
        """Interpolate the loss at a distance from the middle, on the ray of that number."""
        places, losses = self.grid()
        x, y = distance * cos(2 * pi * ray / RAYS), distance * sin(2 * pi * ray / RAYS)
        unit = places[1] - places[0]
        (j, u), (i, v) = (_split((place - places[0]) / unit, len(places)) for place in (x, y))
        corners = losses[i : i + 2, j : j + 2]
        return float(np.array([1 - v, v]) @ corners @ np.array([1 - u, u]))


def landscape(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    name: str = "network",
    reach: float = 1.0,
    points: int = 25,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    precision: Precision | None = None,
    minutes: float | None = None,
    path: Path | None = None,
    progress: Progress | None = None,
) -> Landscape:
    """Measure the loss around a network's weights.

    Coarse grids come first, so that a walk that is stopped (Ctrl-C, minutes) has something to show. The network is
    copied: neither its weights nor its mode, gradients, statistics or torch's generators change.

    Args:
        model: returns logits (B, K).
        x: inputs as the network takes them, float32 (N, ...).
        labels: int64 (N,).
        name: for drawings and sentences.
        reach: how far to go either way, in filter norms; the paper's figures have 1.
        points: places along each direction, odd, 5 or more; 8 m + 1 has the most coarse grids.
        seed: of the two directions.
        batch_size: inputs at a time.
        device: where to compute.
        precision: fp32 unless told otherwise; coarser ones make the surface rough by their rounding.
        minutes: None takes what it takes.
        path: a JSON file, where what has been measured is kept, and taken up again; None keeps nothing.
        progress: shows how far it is.

    Raises:
        SettingsError: a setting is out of range.
        RunError: the file cannot be read or written.
    """
    if points < 5 or points % 2 == 0 or not 0 < reach < 100 or not len(x) or len(x) != len(labels):
        raise SettingsError(
            f"a landscape of {points} points, reach {reach} and {len(x)} images with {len(labels)} labels is none.",
            "Take an odd number of points from 5 on, a reach above 0, and a label for each image.",
        )
    from sightline.training.precision import Precision  # brings the settings along, which nothing else here needs

    progress, precision = progress or Progress(quiet=True), precision or Precision("fp32", device)
    ways = directions(model, seed)
    walker = copy.deepcopy(model).to(device).eval().requires_grad_(False)
    with torch.inference_mode():
        classes = walker(x[:1].to(device)).shape[-1]
    found = _begun(path, name, points, reach, seed, classes, x, labels, model)
    precision.arrange(walker)
    start = {key: p.clone() for key, p in walker.named_parameters() if key in ways}
    one, other = ({key: pair[i].to(device) for key, pair in ways.items()} for i in (0, 1))
    batches = [
        (x[i : i + batch_size].to(device), labels[i : i + batch_size].to(device)) for i in range(0, len(x), batch_size)
    ]
    left, kept = list(_left(found.losses)), monotonic()
    try:
        with (
            Ending(None if minutes is None else minutes * 60) as ending,
            torch.inference_mode(),
            progress.task(f"Landscape of {name}", total=points * points, done=points * points - len(left)) as task,
        ):
            for i, j in left:
                for key, p in walker.named_parameters():
                    if key in start:
                        p.copy_(start[key] + float(found.places[j]) * one[key] + float(found.places[i]) * other[key])
                found.losses[i, j], found.errors[i, j] = _score(walker, batches, precision)
                task.advance()
                if path is not None and monotonic() - kept > KEEP_SECONDS:
                    files.write_json(path, found.as_dict())
                    kept = monotonic()
                if ending.why():
                    progress.note(f"{name}: {ending.why()}; the rest has not been measured")
                    break
    finally:
        if path is not None:
            files.write_json(path, found.as_dict())
    return found


def directions(model: nn.Module, seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    """Draw two directions, filter by filter as long as the network's own weights.

    Args:
        model: with weights.
        seed: of a generator of its own, on the processor: the same everywhere.

    Returns:
        For each weight of two axes or more, by name, two float32 tensors of its shape; biases and the scales and
        shifts of norms are left out, which is to say 0.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, weights in model.named_parameters():
        if weights.ndim < 2:
            continue
        norms = weights.detach().float().cpu().flatten(1).norm(dim=1)
        pair = []
        for _ in range(2):
            drawn = torch.randn(weights.shape, generator=generator).flatten(1)
            scaled = drawn * (norms / drawn.norm(dim=1).clamp_min(1e-12)).unsqueeze(1)
            pair.append(scaled.view(weights.shape))
        found[name] = (pair[0], pair[1])
    return found


def read(path: Path) -> Landscape:
    """Read what ``landscape`` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        losses, errors = (np.array(told[name], np.float64) for name in ("losses", "errors"))
        places = np.linspace(-told["reach"], told["reach"], len(losses))
        counts = (int(told["classes"]), int(told["images"]), int(told["seed"]))
        return Landscape(str(told["name"]), places, losses, errors, *counts, str(told["key"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"'{path}' is no landscape: {error}.", "Measure it again, into another file.") from None


def _begun(
    path: Path | None,
    name: str,
    points: int,
    reach: float,
    seed: int,
    classes: int,
    x: Tensor,
    labels: Tensor,
    model: nn.Module,
) -> Landscape:
    """Take up what the file holds, if that is the same plane, if need be from a coarser grid; else begin."""
    digest = hashlib.sha256(f"{reach} {seed}".encode())
    for tensor in (x, labels, *model.state_dict().values()):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    key = digest.hexdigest()[:32]
    losses, errors = (np.full((points, points), np.nan) for _ in range(2))
    if path is not None and path.is_file() and (kept := read(path)).key == key:
        step, rest = divmod(points - 1, len(kept.places) - 1)
        if not rest:
            losses[::step, ::step], errors[::step, ::step] = kept.losses, kept.errors
    return Landscape(name, np.linspace(-reach, reach, points), losses, errors, classes, len(x), seed, key)


def _score(model: nn.Module, batches: list[tuple[Tensor, Tensor]], precision: Precision) -> tuple[float, float]:
    """Give the mean loss, nats, and the share of mistakes; what overflows counts as the largest float there is."""
    total = wrong = count = 0.0
    for x, labels in batches:
        with precision.forward():
            logits = model(x)
        logits = logits.float()
        total += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
        wrong += float((logits.argmax(dim=1) != labels).sum())
        count += len(x)
    mean = total / count
    return mean if np.isfinite(mean) else float(np.finfo(np.float32).max), wrong / count


def _steps(points: int) -> list[int]:
    """List the spacings of the grids, coarse to fine: powers of 2 that fit."""
    return [step for step in (8, 4, 2, 1) if (points - 1) % (2 * step) == 0 or step == 1]


def _left(losses: Floats) -> Iterator[tuple[int, int]]:
    """Yield the places not yet measured, those of coarse grids first."""
    seen = np.isfinite(losses)
    for step in _steps(len(losses)):
        for i in range(0, len(losses), step):
            for j in range(0, len(losses), step):
                if not seen[i, j]:
                    seen[i, j] = True
                    yield i, j


def _split(place: float, count: int) -> tuple[int, float]:
    """Give the cell that a place is in, and how far."""
    cell = min(max(int(place), 0), count - 2)
    return cell, place - cell
