"""Class names and training pixels -> whether a mirror image keeps its label, and why, without training a network."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from sightline.data.preprocess import Preprocessing
from sightline.data.randomness import shuffled

SAMPLE = 2000
"""Images, at most, that the comparison of originals with mirror images looks at."""
SIDE = 12
"""Pixels per side to which it shrinks them."""

_HANDED = {
    "left", "right", "leftward", "rightward", "clockwise", "counterclockwise", "anticlockwise", "east", "west",
    "links", "rechts", "gauche", "droite", "izquierda", "derecha", "sinistra", "destra",
}  # fmt: skip
_WRITING = {
    "letter", "letters", "digit", "digits", "number", "numbers", "numeral", "character", "characters", "glyph", "font",
    "text", "word", "words", "script", "handwriting", "alphabet", "arrow", "arrows", "sign", "signs", "logo", "captcha",
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
}  # fmt: skip
_EMPTY_WORDS = {"class", "label", "category", "type", "group", "cluster", "target", "item"}


def keeps_label(
    classes: Sequence[str],
    preprocessing: Preprocessing,
    array: NDArray[np.generic] | None = None,
    labels: NDArray[np.int64] | None = None,
    rows: NDArray[np.int64] | None = None,
) -> tuple[bool, str]:
    """Decide whether images may be mirrored left to right in training; in doubt they may not.

    Names decide first: sides, letters, digits and writing forbid it, names that say nothing are a doubt. Then the
    pixels: a linear classifier on small copies that recognises mirror images of unseen images clearly worse than
    the unseen images themselves shows that left and right matter.

    Args:
        classes: K class names.
        preprocessing: the kind and shape of the data.
        array: the pixel store, images (N, H, W, C); None judges by the names alone.
        labels: int64 (N,), needed with ``array``.
        rows: the training rows of the array; None: all.

    Returns:
        the decision, and the reason as a clause: "the class names are digits or letters".
    """
    if preprocessing.kind == "signal":
        return False, "a signal runs in one direction"
    if preprocessing.kind == "volume":
        return False, "left and right may differ in a volume"
    by_name = _doubt(classes)
    if by_name:
        return False, by_name
    if array is None or labels is None:
        return True, "the class names are words for things"
    plain, mirrored, chance, drop = compare(array, labels, np.arange(len(labels)) if rows is None else rows)
    if drop > 3 and plain - mirrored > 0.02:
        return False, (
            f"left and right matter: a linear classifier recognises {plain:.0%} of images it has not seen, "
            f"but {mirrored:.0%} of their mirror images"
        )
    if chance > 3:
        return True, (
            "the class names are words for things, and a linear classifier recognises unseen images and their mirror "
            f"images equally well ({plain:.0%} and {mirrored:.0%})"
        )
    return True, "the class names are words for things"


def compare(
    array: NDArray[np.generic], labels: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[float, float, float, float]:
    """Recognise unseen images and their mirror images with ridge regression on small copies, in two folds.

    Args:
        array: images (N, H, W, C), uint8 or float.
        labels: int64 (N,).
        rows: int64, rows to take a sample of.

    Returns:
        the share of images recognised; the share of mirror images; how many standard errors the first lies above
        always naming the commonest class; and how many standard errors it lies above the second (sign test on the
        images of which one way only was recognised: Q. McNemar, 1947).
    """
    sample = np.sort(rows[shuffled(0, 0, rows, purpose="sample")[:SAMPLE]])
    _, y = np.unique(labels[sample], return_inverse=True)
    small = _shrunk(array, sample)
    small -= small.mean(axis=0)
    ways = [small.reshape(len(y), -1), small[:, :, :, ::-1].reshape(len(y), -1)]
    target = np.eye(y.max() + 1)[y]
    target -= target.mean(axis=0)
    fold = shuffled(1, 0, sample, purpose="sample") % 2 == 0
    right = np.zeros((2, len(y)), bool)
    for fit in (fold, ~fold):
        known = ways[0][fit]
        gram = known.T @ known
        gram[np.diag_indices_from(gram)] += gram.trace() / len(gram) + 1e-12
        weights = np.linalg.solve(gram, known.T @ target[fit])
        for way, pixels in enumerate(ways):
            right[way, ~fit] = (pixels[~fit] @ weights).argmax(axis=1) == y[~fit]
    plain, mirrored = right.mean(axis=1)
    commonest = np.bincount(y).max() / len(y)
    above = (plain - commonest) / math.sqrt(commonest * (1 - commonest) / len(y) + 1e-12)
    only, other = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return float(plain), float(mirrored), float(above), (only - other) / math.sqrt(max(1, only + other))


def _shrunk(array: NDArray[np.generic], rows: NDArray[np.int64], chunk: int = 256) -> NDArray[np.float64]:
    """Shrink images to at most 12 x 12 by averaging, float64 (n, C, h, w)."""
    height, width = (min(SIDE, side) for side in array.shape[1:3])
    parts = []
    for start in range(0, len(rows), chunk):
        pixels = torch.from_numpy(np.asarray(array[rows[start : start + chunk]], dtype=np.float32))
        parts.append(F.adaptive_avg_pool2d(pixels.movedim(-1, 1), (height, width)).double().numpy())
    return np.concatenate(parts)


def _doubt(classes: Sequence[str]) -> str:
    """Say why the names forbid mirroring or leave it in doubt; an empty string if they do not."""
    words = [_words(name) for name in classes]
    handed = [name for name, parts in zip(classes, words, strict=True) if parts & _HANDED]
    if handed:
        return f"class '{handed[0]}' names a side"
    if any(re.fullmatch(r"\d+|[^\W\d_]", name.strip()) for name in classes):
        return "the class names are digits, letters or bare numbers"
    if 2 * sum(bool(parts & _WRITING) for parts in words) >= len(classes):
        return "the class names speak of writing or signs"
    if 2 * sum(_is_thing(name, parts) for name, parts in zip(classes, words, strict=True)) < len(classes):
        return "the class names do not say what is in the images"
    return ""


def _words(name: str) -> set[str]:
    """Split ``turnLeft_2`` into {'turn', 'left'}."""
    return set(re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()))


def _is_thing(name: str, words: set[str]) -> bool:
    """Tell words of three letters or more, and WordNet numbers such as n01440764, from codes."""
    return bool(re.fullmatch(r"n\d{8}", name)) or any(len(word) >= 3 for word in words - _EMPTY_WORDS)
