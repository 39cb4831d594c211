"""Counts of the classes -> how a training makes up for rare ones: weights or offsets of the loss, or rows drawn again.

Only training rows ever come in here. A network that learns from skewed classes learns their shares, too, and names
common classes too often; each method takes the shares out at another place, ``METHODS`` says where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sightline.data.images import Kind
from sightline.data.randomness import shuffled
from sightline.data.smote import Invented, invent, refuse_single
from sightline.errors import SettingsError, did_you_mean
from sightline.finding import Finding
from sightline.progress import Progress

Space = Literal["auto", "values", "features"]
Single = Literal["refuse", "repeat"]

SKEWED = 5.0
"""Largest class over smallest, from which on classes count as skewed: balanced figures lead, ``auto`` acts."""


@dataclass(frozen=True)
class Method:
    """What a name stands for.

    Attributes:
        description: one line for help texts.
        knobs: what may follow the name: ``"weights,beta=0.999"``.
        repeats: whether an epoch gets longer: every class is brought to the size of the largest.
    """

    description: str
    knobs: tuple[str, ...] = ()
    repeats: bool = False


METHODS: dict[str, Method] = {
    "none": Method("every training image once an epoch, all counting the same"),
    "weights": Method("the loss of an image of a rare class counts more", ("beta",)),
    "sampler": Method("images are drawn with replacement, every class as often"),
    "oversample": Method("images of rare classes are repeated, each as often", repeats=True),
    "smote": Method(
        "examples of rare classes are invented between two of them", ("space", "neighbours", "single"), True
    ),
    "logits": Method("the loss adds the log of each class's share to its logit, so that it is not learnt", ("tau",)),
}
"""Every way to balance; ``auto`` is one of them."""


CHOICES: dict[str, tuple[str, ...]] = {"space": get_args(Space), "single": get_args(Single)}
"""Knobs that are words."""


@dataclass(frozen=True)
class Balance:
    """A method and its knobs.

    Attributes:
        method: a key of ``METHODS``, or ``auto`` before it is decided.
        beta: of ``weights``, 0..1. 1: inverse frequency. Below 1, inverse effective number of images (Cui et al. 2019,
            "Class-balanced loss based on effective number of samples", CVPR, eq. 2), which is n for rare classes and
            never above 1 / (1 - beta); 0 weighs nothing.
        tau: of ``logits``, 0 or more: strength of the adjustment; 1 aims at the balanced error (Menon et al. 2021,
            "Long-tail learning via logit adjustment", ICLR, section 5).

        space: of ``smote``: where lines between two examples are drawn. ``values``: between the pixels, or the
            flattened signals, while it trains. ``features``: between what the trained network makes of them, and its
            last layer is learnt anew. ``auto``: features for images, else values.
        neighbours: of ``smote``: of how many nearest of its class the second parent is drawn; all others where a class
            has no more.
        single: of ``smote``: what happens to a class of one training image: ``refuse`` the training, or ``repeat`` it.

    Raises:
        SettingsError: there is no such method or knob, or a knob is out of its range.
    """

    method: str = "none"
    beta: float = 1.0
    tau: float = 1.0
    space: Space = "auto"
    neighbours: int = 5
    single: Single = "refuse"

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise SettingsError(f"balance knob 'beta' is {self.beta:g}.", "Use 0 to 1, such as beta=0.999.")
        if not 0 <= self.tau <= 10:
            raise SettingsError(f"balance knob 'tau' is {self.tau:g}.", "Use 0 to 10, such as tau=1.")
        if self.neighbours < 1:
            raise SettingsError(f"balance knob 'neighbours' is {self.neighbours}.", "Use 1 or more, such as 5.")
        for name, words in CHOICES.items():
            if getattr(self, name) not in words:
                raise SettingsError(
                    f"balance knob '{name}' is '{getattr(self, name)}'.", f"Use one of: {', '.join(words)}."
                )

    @classmethod
    def parse(cls, text: str | None) -> Balance:
        """Read ``"weights"`` or ``"weights,beta=0.999"``; None is ``auto``."""
        method, *changes = [part.strip() for part in ("auto" if text is None else text).split(",")]
        known = [*METHODS, "auto"]
        if method not in known:
            raise SettingsError(
                f"balance is '{method}', which is no way to balance.{did_you_mean(method, known)}",
                f"Use one of: {', '.join(known)}.",
            )
        knobs = METHODS[method].knobs if method in METHODS else ()
        values: dict[str, Any] = {}
        for change in changes:
            name, _, value = (part.strip() for part in change.partition("="))
            if name not in knobs:
                raise SettingsError(
                    f"balance {method} has no knob '{name}'.{did_you_mean(name, knobs)}",
                    f"It has: {', '.join(knobs)}." if knobs else "Leave it out.",
                )
            try:
                values[name] = value if name in CHOICES else int(value) if name == "neighbours" else float(value)
            except ValueError:
                number = "a whole number" if name == "neighbours" else "a number"
                raise SettingsError(f"balance knob '{name}' is '{value}'.", f"Give {number}: {name}=...") from None
        return cls(method, **values)

    @property
    def afterwards(self) -> bool:
        """Whether it acts on the last layer of a network that was trained without it."""
        return self.method == "smote" and self.space == "features"

    def __str__(self) -> str:
        """Write what ``parse`` reads, without knobs that are as they come."""
        set_ = {f.name: getattr(self, f.name) for f in fields(self)[1:] if getattr(self, f.name) != f.default}
        return ",".join([self.method, *(f"{name}={value}" for name, value in set_.items())])

    def class_weights(self, counts: NDArray[np.int64]) -> list[float] | None:
        """Give a weight of the loss for each class, with mean 1 over the training examples; None: no weights.

        Args:
            counts: training images of each class, int64 (K,). A class without any has weight 0.
        """
        if self.method != "weights":
            return None
        n = np.maximum(counts, 1).astype(np.float64)
        # -expm1(n log beta) is 1 - beta^n without losing digits near beta = 1
        effective = n if self.beta == 1 else -np.expm1(n * np.log(max(self.beta, 1e-300))) / (1 - self.beta)
        weights = np.where(counts > 0, 1 / effective, 0.0)
        found: list[float] = (weights * (counts.sum() / (weights * counts).sum())).tolist()
        return found

    def offsets(self, counts: NDArray[np.int64]) -> list[float] | None:
        """Give what the loss adds to the logit of each class, tau x log of its share; None: nothing.

        Args:
            counts: training images of each class, int64 (K,). A class without any counts as one image.
        """
        if self.method != "logits":
            return None
        found: list[float] = (self.tau * np.log(np.maximum(counts, 1) / counts.sum())).tolist()
        return found

    def epoch_length(self, counts: NDArray[np.int64]) -> int:
        """Give the images that the network sees in an epoch."""
        longer = METHODS[self.method].repeats and not self.afterwards
        return int(counts.max() * np.count_nonzero(counts) if longer else counts.sum())


@dataclass(frozen=True, eq=False)
class Rows:
    """What an epoch goes through.

    Attributes:
        rows: int64 (n,), of the pixel store; a row may stand there several times.
        chances: float64 (n,), above 0: each of the n places of an epoch is drawn anew with these odds. None: every
            row comes once as often as it is listed.
        invented: examples that come after the rows; None: no such thing.
    """

    rows: NDArray[np.int64]
    chances: NDArray[np.float64] | None = None
    invented: Invented | None = None


def ratio(counts: NDArray[np.int64]) -> float:
    """Divide the largest class by the smallest that has images."""
    present = counts[counts > 0]
    return float(present.max() / present.min()) if len(present) else 1.0


def skewed(counts: NDArray[np.int64]) -> bool:
    """Say whether accuracy alone would mislead: the largest class has at least ``SKEWED`` times the smallest."""
    return ratio(counts) >= SKEWED


def decide(text: str | None, counts: NDArray[np.int64], kind: Kind) -> tuple[Balance, str]:
    """Choose the method where the user left it open.

    Args:
        text: what the user gave: ``"auto"`` decides, as does None.
        counts: training images of each class, int64 (K,).
        kind: what the data are.

    Returns:
        the method, and why it; an empty reason where the user said so.
    """
    given = Balance.parse(text)
    if given.method == "smote" and given.space == "auto":
        if kind == "image":
            return replace(
                given, space="features"
            ), "half-way between two images is no image; smote,space=values draws it"
        return replace(given, space="values"), f"half-way between two {kind}s is a {kind}"
    if given.method != "auto":
        return given, ""
    told = f"the largest class has {ratio(counts):.1f} times the images of the smallest"
    if not skewed(counts):
        return Balance("none"), f"{told}; below {SKEWED:g} nothing is done"
    return Balance("logits"), f"{told}; none switches it off"


def draw(
    balance: Balance,
    array: NDArray[Any],
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    seed: int,
    classes: Sequence[str],
    progress: Progress | None = None,
) -> Rows:
    """List what an epoch of training goes through.

    Args:
        balance: how.
        array: the pixel store, (N, ...); ``smote`` looks for neighbours in it.
        labels: of the whole pixel store, int64 (N,).
        rows: training rows, int64 (n,). None but these come out.
        seed: decides which images are repeated once more than others.
        classes: K names.
        progress: shows long work.

    Raises:
        SettingsError: SMOTE, and a class has one training image.
    """
    counts = np.bincount(labels[rows], minlength=len(classes))
    if balance.method == "smote":
        if balance.single == "refuse":
            refuse_single(counts, classes)
        if balance.afterwards:
            return Rows(rows)
        invented = invent(array, labels, rows, neighbours=balance.neighbours, seed=seed, progress=progress)
        return Rows(rows, invented=invented)
    if balance.method == "sampler":
        return Rows(rows, 1 / counts[labels[rows]])
    if balance.method == "oversample":
        return Rows(np.concatenate([rows, repeats(labels, rows, seed)]))
    return Rows(rows)


def repeated_validation(counts: NDArray[np.int64]) -> Finding:
    """Warn that the epochs are judged on repeated validation images.

    Args:
        counts: validation images of each class, int64 (K,).
    """
    after = int(counts.max()) * int(np.count_nonzero(counts))
    return Finding(
        "data/validation-repeated",
        "warning",
        f"validation images of rare classes are repeated: {int(counts.sum()):,} become {after:,}. What is measured "
        "after each epoch is then the score on a distribution that does not exist.",
        "Leave balance_valid off, and judge by balanced accuracy: it counts the classes alike without repeating any. "
        "The final score is not affected: it is taken on images that are never repeated.",
        {"counts": counts.tolist(), "after": after},
    )


def repeats(labels: NDArray[np.int64], rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """List the rows that bring every class to the size of the largest, each row of a class as often, give or take one.

    Args:
        labels: of the whole pixel store, int64 (N,).
        rows: to repeat, int64 (n,).
        seed: decides whose turn it is for the one.

    Returns:
        int64 (m,): the repeats alone, by class.
    """
    counts = np.bincount(labels[rows])
    luck = rows[shuffled(seed, 0, rows, purpose="repeat")]
    return np.concatenate(
        [np.resize(luck[labels[luck] == k], counts.max() - counts[k]) for k in np.flatnonzero(counts)]
    ).astype(np.int64)
