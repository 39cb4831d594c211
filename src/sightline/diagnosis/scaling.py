"""Two classes, one number per image -> the loss over two parameters, and gradient descent on it, unscaled and scaled.

The model is logistic regression with weight w and bias b: the chance of the first class is 1 / (1 + exp(-(w x + b))).
Scaling x to mean 0 and deviation 1 changes no function that the model can be, only the coordinates in which gradient
descent walks: both surfaces have the same least loss, and both walks begin at the same function, w = b = 0. What
differs is how many times steeper the loss bends in one direction than in the other, the condition number of its Hessian
(Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, Efficient BackProp, 1998, section 4.3).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.images import Images
from sightline.errors import SourceError, did_you_mean

SOFTENED = 0.02
"""What each label gives away to the other class: without it, classes that one number separates have no least loss."""

CLOSE = 0.001
"""A walk is done where this share of the way from the first to the least loss is left."""

STEPS = 5000
"""Steps after which a walk that is not done is left."""

IMAGES = 1000
"""Images of each class, at most."""

CLASSES = 12
"""Of how many classes, the largest, all pairs are tried."""


@dataclass(frozen=True, eq=False)
class Walk:
    """Gradient descent on the loss over (weight, bias) in one unit of x.

    Attributes:
        mean: what is subtracted from the feature; 0 without scaling.
        std: what it is then divided by; 1 without scaling.
        least: float (2,): weight and bias of the least loss.
        condition: the larger over the smaller eigenvalue of the loss's Hessian there.
        rate: the learning rate that needs the fewest steps; a higher one is slower or does not come to rest.
        path: float (steps + 1, 2): weight and bias from (0, 0) on.
        done: whether it came close within ``STEPS``.
    """

    mean: float
    std: float
    least: NDArray[np.float64]
    condition: float
    rate: float
    path: NDArray[np.float64]
    done: bool

    @property
    def steps(self) -> int:
        """How many steps it took, or was given."""
        return len(self.path) - 1


@dataclass(frozen=True, eq=False)
class Scaling:
    """The same model in two coordinates.

    Attributes:
        feature: what x is, in words: ``mean of the red channel``.
        classes: the two class names; the chance is that of the first.
        values: float (n,): x of each image, as stored: 0..1 of the full range for uint8.
        labels: bool (n,): whether it is of the first class.
        plain: without scaling.
        scaled: with mean 0 and deviation 1.
        first: the loss at the start, nats.
        last: the least loss.
    """

    feature: str
    classes: tuple[str, str]
    values: NDArray[np.float64]
    labels: NDArray[np.bool_]
    plain: Walk
    scaled: Walk
    first: float
    last: float

    @property
    def sentence(self) -> str:
        """What it shows."""
        without, with_it = (f"{'' if w.done else 'more than '}{w.steps:,}" for w in (self.plain, self.scaled))
        return (
            f"To tell '{self.classes[0]}' from '{self.classes[1]}' by the {self.feature}, gradient descent needs "
            f"{without} steps without feature scaling and {with_it} with it; the condition number of the Hessian is "
            f"{self.plain.condition:,.1f} and {self.scaled.condition:.1f}."
        )

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values, without images and paths."""
        walks = {
            name: {
                "condition": w.condition,
                "rate": w.rate,
                "steps": w.steps,
                "done": w.done,
                "least": w.least.tolist(),
            }
            for name, w in (("plain", self.plain), ("scaled", self.scaled))
        }
        return {
            "feature": self.feature,
            "classes": list(self.classes),
            "images": len(self.values),
            "first_loss": self.first,
            "least_loss": self.last,
            **walks,
        }


def scaling(array: NDArray[Any], images: Images, classes: tuple[str, str] | None = None) -> Scaling:
    """Walk down the loss with and without feature scaling, for two classes of the images at hand.

    Args:
        array: the pixel store: images N,H,W,C, signals N,C,L, volumes N,C,D,H,W.
        images: whose rows are those of the array; a given test part is left out.
        classes: which two; None takes the two, of the largest, that one number tells apart best.

    Raises:
        SourceError: a class is unknown, or named twice.
    """
    rows = np.arange(len(images)) if images.splits is None else np.flatnonzero(images.splits != "test")
    labels = images.labels[rows]
    if classes is not None:
        pairs = [_numbers(classes, images.classes)]
    else:
        counts = np.bincount(labels, minlength=len(images.classes))
        largest = [int(k) for k in np.argsort(-counts, kind="stable")[:CLASSES] if counts[k]]
        pairs = list(itertools.combinations(sorted(largest), 2))
    wanted = sorted({k for pair in pairs for k in pair})
    kept = np.concatenate([rows[labels == k][:IMAGES] for k in wanted])
    table = features(array, np.sort(kept), images.kind)
    labels = images.labels[np.sort(kept)]
    best: tuple[float, str, tuple[int, int]] = (-1.0, "", pairs[0])
    for pair in pairs:
        for name, column in table.items():
            apart = abs(_auroc(column[labels == pair[0]], column[labels == pair[1]]) - 0.5)
            best = max(best, (apart, name, pair))
    _, name, (one, other) = best
    chosen = (labels == one) | (labels == other)
    x, y = table[name][chosen], labels[chosen] == one
    spread = float(x.std()) or 1.0
    first = float(loss(x, y, np.zeros((1, 2)))[0])
    plain, scaled = walk(x, y, 0.0, 1.0), walk(x, y, float(x.mean()), spread)
    last = float(loss((x - scaled.mean) / scaled.std, y, scaled.least[None])[0])
    return Scaling(name, (images.classes[one], images.classes[other]), x, y, plain, scaled, first, last)


def features(array: NDArray[Any], rows: NDArray[np.int64], kind: str) -> dict[str, NDArray[np.float64]]:
    """Describe each row by a few numbers: mean and spread of all values, and the mean of each of up to 3 channels.

    Returns:
        Name -> float (rows,); in 0..1 of the full range if the store holds uint8.
    """
    unit = 255.0 if array.dtype == np.uint8 else 1.0
    channels = array.shape[-1 if kind == "image" else 1]
    columns: list[NDArray[np.float64]] = []
    for start in range(0, len(rows), 256):
        part = np.moveaxis(np.asarray(array[rows[start : start + 256]]), -1 if kind == "image" else 1, 1)
        flat = part.reshape(len(part), channels, -1).astype(np.float64) / unit
        columns.append(np.column_stack([flat.mean(axis=(1, 2)), flat.std(axis=(1, 2)), flat.mean(axis=2)[:, :3]]))
    table = np.concatenate(columns)
    colours = ("red", "green", "blue") if kind == "image" and channels == 3 else tuple(f"{c + 1}." for c in range(3))
    told = (
        {"brightness": table[:, 0], "contrast": table[:, 1]}
        if kind == "image"
        else {"mean": table[:, 0], "spread": table[:, 1]}
    )
    if channels > 1:
        told |= {f"mean of the {colours[c]} channel": table[:, 2 + c] for c in range(min(channels, 3))}
    return told


def loss(x: NDArray[np.float64], y: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the mean cross-entropy, nats.

    Args:
        x: float (n,).
        y: bool (n,); labels are softened by ``SOFTENED``.
        points: float (p, 2): weights and biases.

    Returns:
        float (p,).
    """
    target = np.where(y, 1 - SOFTENED, SOFTENED)
    z = points[:, :1] * x + points[:, 1:]
    found: NDArray[np.float64] = (np.logaddexp(0, z) - target * z).mean(axis=1)
    return found


def walk(x: NDArray[np.float64], y: NDArray[np.bool_], mean: float, std: float) -> Walk:
    """Find the least loss by Newton's method, then walk there by gradient descent at the best of many rates."""
    x = (x - mean) / std
    least = np.zeros(2)
    for _ in range(50):
        gradient, hessian = _slopes(x, y, least)
        step = np.linalg.solve(hessian + 1e-12 * np.eye(2), gradient)
        while loss(x, y, (least - step)[None])[0] > loss(x, y, least[None])[0] + 1e-15 and np.abs(step).max() > 1e-12:
            step = step / 2
        least = least - step
        if np.abs(step).max() < 1e-10:
            break
    values = np.linalg.eigvalsh(_slopes(x, y, least)[1])
    steepest = max(float(np.linalg.eigvalsh(_slopes(x, y, point)[1])[-1]) for point in (least, np.zeros(2)))
    rates = 2 / steepest * np.geomspace(0.2, 4, 40)
    rate, path, done = _descend(x, y, rates, float(loss(x, y, least[None])[0]))
    return Walk(mean, std, least, float(values[-1] / max(values[0], 1e-15)), rate, path, done)


def _descend(
    x: NDArray[np.float64], y: NDArray[np.bool_], rates: NDArray[np.float64], least: float
) -> tuple[float, NDArray[np.float64], bool]:
    """Walk with all rates at once until the first is close for good; give its rate and path."""
    target = np.where(y, 1 - SOFTENED, SOFTENED)
    points = np.zeros((len(rates), 2))
    enough = least + CLOSE * (float(loss(x, y, points[:1])[0]) - least)
    paths = [points]
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(points[:, :1] * x + points[:, 1:], -60, 60)))
        error = chance - target
        points = points - rates[:, None] * np.column_stack([(error * x).mean(axis=1), error.mean(axis=1)])
        paths.append(points)
        close = loss(x, y, points) <= enough
        if close.any():
            best = int(np.flatnonzero(close)[0])
            return float(rates[best]), np.array([each[best] for each in paths]), True
    best = int(loss(x, y, points).argmin())
    return float(rates[best]), np.array([each[best] for each in paths]), False


def _slopes(
    x: NDArray[np.float64], y: NDArray[np.bool_], point: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give gradient (2,) and Hessian (2, 2) of the loss."""
    chance = 1 / (1 + np.exp(-np.clip(point[0] * x + point[1], -60, 60)))
    inputs = np.column_stack([x, np.ones(len(x))])
    error = chance - np.where(y, 1 - SOFTENED, SOFTENED)
    gradient = (error[:, None] * inputs).mean(axis=0)
    hessian = (inputs * (chance * (1 - chance))[:, None]).T @ inputs / len(x)
    return gradient, hessian


def _auroc(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Give the chance that one of ours is larger than one of theirs."""
    ordered = np.sort(theirs)
    below = np.searchsorted(ordered, ours, "left") + np.searchsorted(ordered, ours, "right")
    return float(below.mean() / (2 * max(len(theirs), 1)))


def _numbers(wanted: tuple[str, str], known: tuple[str, ...]) -> tuple[int, int]:
    for name in wanted:
        if name not in known:
            raise SourceError(
                f"there is no class '{name}'.{did_you_mean(name, known)}", f"The classes are: {', '.join(known[:20])}."
            )
    if wanted[0] == wanted[1]:
        raise SourceError(f"'{wanted[0]}' is named twice.", "Name two classes.")
    return known.index(wanted[0]), known.index(wanted[1])
