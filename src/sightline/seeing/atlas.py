"""A network and images -> a map of them: images that a layer finds alike lie together; and what each region stands for.

The map is that of an embedding (PCA, or t-SNE, L. van der Maaten and G. Hinton, 2008); its regions, averaged, are those
of an activation atlas (S. Carter, Z. Armstrong, L. Schubert, I. Johnson, C. Olah, Activation Atlas, Distill 2019), with
one activation for each image: the mean over positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.errors import SettingsError
from sightline.progress import Progress
from sightline.seeing.layers import layers
from sightline.seeing.maps import stages
from sightline.seeing.taps import Taps

Floats = NDArray[np.float64]

NEIGHBOURS = 10
"""Images around an image that are asked for their class."""

FULL = 5
"""Images that a region needs to be drawn."""

FIRST = 50
"""Principal components that t-SNE begins with."""

MANY = 5000
"""Images from which on a map is laid out by PCA unless asked otherwise: t-SNE's time grows faster than their number."""


@dataclass(frozen=True, eq=False)
class Region:
    """A cell of the grid over a map.

    Attributes:
        row: from above, 0.
        column: from the left.
        members: int64: the images in it.
        vector: float64 (units,): their mean activation, minus that of all images.
        typical: the image whose activation is nearest to their mean.
    """

    row: int
    column: int
    members: NDArray[np.int64]
    vector: Floats
    typical: int


@dataclass(frozen=True, eq=False)
class Atlas:
    """Images on a map.

    Attributes:
        layer: whose activations.
        method: ``pca`` or ``tsne``.
        features: float64 (N, units): activations, averaged over positions.
        places: float64 (N, 2), both axes from 0 to 1; the second points up.
        labels: int64 (N,): true classes.
        answers: int64 (N,): the network's.
        kept: of a PCA, the share of the variance that the two axes hold; else None.
    """

    layer: str
    method: str
    features: Floats
    places: Floats
    labels: NDArray[np.int64]
    answers: NDArray[np.int64]
    kept: float | None

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which images were taken for another class."""
        found: NDArray[np.bool_] = self.labels != self.answers
        return found

    def agreement(self, *, features: bool = False) -> float:
        """Give the share of images whose nearest others mostly are of their class, on the map or in the features."""
        points = torch.from_numpy(self.features if features else self.places)
        count, right = min(NEIGHBOURS, len(points) - 1), 0
        for first in range(0, len(points), 1024):
            rows = np.arange(first, min(first + 1024, len(points)))
            apart = torch.cdist(points[rows], points)
            apart[range(len(rows)), rows] = torch.inf  # no image is its own neighbour
            near = apart.topk(count, largest=False).indices.numpy()
            votes = np.apply_along_axis(np.bincount, 1, self.labels[near], minlength=int(self.labels.max()) + 1)
            right += int((votes.argmax(axis=1) == self.labels[rows]).sum())
        return right / len(points)

    @property
    def sentence(self) -> str:
        """What it shows."""
        kept = "" if self.kept is None else f" Its two axes hold {self.kept:.0%} of the variance."
        return (
            f"{len(self.labels):,} images by what the layer {self.layer} gives, {int(self.wrong.sum()):,} of them "
            f"mistaken. The nearest {NEIGHBOURS} neighbours mostly are of an image's own class for "
            f"{self.agreement():.0%} of them on the map, for {self.agreement(features=True):.0%} in the layer.{kept}"
        )

    def regions(self, side: int) -> list[Region]:
        """Lay a grid of ``side`` by ``side`` cells over the map and give those with ``FULL`` images or more."""
        if not 2 <= side <= 30:
            raise SettingsError(f"a grid of {side} cells a side is not possible.", "Take 2 to 30.")
        cells = np.minimum((self.places * side).astype(int), side - 1)
        middle, found = self.features.mean(axis=0), []
        for row in range(side):
            for column in range(side):
                members = np.flatnonzero((cells[:, 0] == column) & (cells[:, 1] == side - 1 - row))
                if len(members) < FULL:
                    continue
                mean = self.features[members].mean(axis=0)
                nearest = int(members[((self.features[members] - mean) ** 2).sum(axis=1).argmin()])
                found.append(Region(row, column, members, mean - middle, nearest))
        return found


def atlas(
    model: nn.Module,
    x: Tensor,
    labels: NDArray[np.int64],
    *,
    layer: str | None = None,
    method: str | None = None,
    seed: int = 0,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Atlas:
    """Lay images out by what a layer makes of them.

    Args:
        model: returns logits (B, K); it is left exactly as it was.
        x: inputs as the network takes them, float32 (N, ...), N 3 or more.
        labels: int64 (N,).
        layer: by its dotted name; None takes the end of the last stage.
        method: ``tsne``, which keeps neighbours, or ``pca``, which is quick and keeps distances; None takes t-SNE for
            up to ``MANY`` images. t-SNE is scikit-learn's; all else needs torch and numpy alone.
        seed: of t-SNE.
        batch_size: inputs at a time.
        progress: shows how far it is.

    Raises:
        ModelError: there is no such layer.
        SettingsError: the method is not known, or there are too few images.
    """
    method = method or ("tsne" if len(x) <= MANY else "pca")
    if method not in ("pca", "tsne"):
        raise SettingsError(f"method '{method}' is not known.", "There are pca and tsne.")
    if len(x) < 3 or len(x) != len(labels):
        raise SettingsError(f"{len(x)} images with {len(labels)} labels make no map.", "Give three or more, labelled.")
    known = layers(model, x.shape[1:])
    name = layer if layer is not None else [*stages(model, known)][-1]
    place = known[name] if layer is not None else stages(model, known)[name]
    features, answers = [], []
    task = (progress or Progress(quiet=True)).task("Activations", total=ceil(len(x) / batch_size))
    with Taps(model, [place.name]) as taps, torch.no_grad(), task:
        for start in range(0, len(x), batch_size):
            logits = taps.run(x[start : start + batch_size])
            assert logits is not None
            maps = place.maps(taps[place.name])
            features.append(maps.reshape(len(logits), place.units, -1).mean(dim=2).double().numpy())
            answers.append(logits.argmax(dim=1).numpy())
            task.advance()
    activations = np.concatenate(features)
    places, kept = _laid_out(activations, method, seed)
    return Atlas(place.name, method, activations, places, np.asarray(labels), np.concatenate(answers), kept)


def _laid_out(features: Floats, method: str, seed: int) -> tuple[Floats, float | None]:
    """Give two coordinates for each row, 0..1, and of a PCA the share of the variance they hold."""
    left, sizes, right = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    ends = right[range(len(right)), np.abs(right).argmax(axis=1)]  # of either sign, take that of the largest weight
    components = left * sizes * np.where(ends < 0, -1.0, 1.0)
    places = components[:, :2]
    kept = float((sizes[:2] ** 2).sum() / ((sizes**2).sum() or 1.0))
    if method == "tsne":
        from sklearn.manifold import TSNE

        wide = min(30.0, (len(features) - 1) / 3)
        places = TSNE(2, perplexity=wide, init="pca", learning_rate="auto", random_state=seed).fit_transform(
            components[:, :FIRST]
        )
    if places.shape[1] < 2:
        places = np.hstack([places, np.zeros_like(places)])
    low, high = places.min(axis=0), places.max(axis=0)
    unit = float((high - low).max()) or 1.0
    centred = 0.5 + (places - (low + high) / 2) / unit
    return np.asarray(centred, np.float64).clip(0, 1), kept if method == "pca" else None
