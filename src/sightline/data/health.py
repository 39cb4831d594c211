"""Images and their pixels -> findings: what may spoil a training or the trust in its score, each with what to do.

``RULES`` lists all of them; a rule is one function of what was packed. Nothing here touches a file: what should be set
aside is a list in the evidence. Evidence lists are cut at ``LISTED`` entries, the counts beside them never are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sightline.data.balance import SKEWED
from sightline.data.decode import ODDITIES
from sightline.data.duplicates import LISTED, exact, near
from sightline.data.images import Images
from sightline.data.pixels import Pixels
from sightline.data.shapes import enlarged, odd_aspect
from sightline.data.shortcuts import mixed_channels, size_correlates
from sightline.finding import Finding, Severity

if TYPE_CHECKING:
    from sightline.data.split import Split

IMBALANCE_ERROR = 50.0
"""Largest class over smallest, in training images, from which imbalance is an error; from ``SKEWED`` it is told."""

FEW_IMAGES = 20
"""Training images below which a class has too few to be learnt from scratch."""

HALF_WIDTH_NOTE, HALF_WIDTH_WARNING = 0.03, 0.05
"""Half-widths of the 95 % interval of a score that make a held-out part too small."""

FLAT = 3
"""Grey levels of 255 (for floats: this share of the set's range) that a constant image may vary by."""

QUARANTINE = 10_000
"""Unreadable files that are listed at most."""

SERIOUS = ("animated", "several pictures", "stretched", "CMYK", "extreme aspect", "tiny", "damaged EXIF")
"""Oddities that may show something other than what was meant; the others are mended without loss."""

_RANGES = ("16-bit", "12-bit in 16", "8-bit in 16", "float", "stretched")


@dataclass(frozen=True, eq=False)
class Checked:
    """What the rules look at.

    Attributes:
        images: all N entries of the source.
        pixels: the M readable ones.
        parts: ``train``, ``valid``, ``test`` or empty, str (M,).
    """

    images: Images
    pixels: Pixels
    parts: NDArray[np.str_]

    @property
    def train(self) -> NDArray[np.bool_]:
        """True for the images that may be trained on, bool (M,)."""
        return (self.parts == "train") if (self.parts == "train").any() else np.isin(self.parts, ("train", ""))

    def names(self, rows: NDArray[np.int64], most: int = LISTED) -> list[str]:
        """Name some rows of the source."""
        return [self.images.label_of(int(row)) for row in rows[:most]]


def check(images: Images, pixels: Pixels, split: Split | None = None) -> list[Finding]:
    """Look for everything about the data that a training should know.

    Args:
        images: the source, N entries.
        pixels: what was packed of it, M images.
        split: how it is split; None: as the source says, if it says so.

    Returns:
        Findings, errors first.
    """
    parts = np.full(len(pixels), "", dtype="U5")
    if split is not None:
        parts[split.train], parts[split.valid], parts[split.test] = "train", "valid", "test"
    elif pixels.images.splits is not None:
        parts = pixels.images.splits
    checked = Checked(images, pixels, parts)
    found = [finding for rule in RULES for finding in rule(checked)]
    order = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def unreadable_files(checked: Checked) -> list[Finding]:
    """List what cannot be read, by reason; a tenth of the set or more is an error."""
    errors = checked.pixels.records.error
    rows = np.flatnonzero(~checked.pixels.records.readable)
    if not len(rows):
        return []
    reasons = Counter(str(errors[row]).split(": ")[0] for row in rows)
    classes = Counter(checked.images.classes[checked.images.labels[row]] for row in rows)
    total = len(checked.images)
    return [
        Finding(
            "data/unreadable-file",
            "error" if len(rows) >= 0.1 * total else "warning",
            f"{len(rows):,} of {total:,} files ({len(rows) / total:.1%}) cannot be read and are left out: "
            f"{_tally(reasons)}; the first is {checked.images.label_of(int(rows[0]))} ({errors[rows[0]]}).",
            "Copy or convert them again, or remove them: `sightline check --json` lists all with their reasons. "
            "`--strict` refuses to train while there are any.",
            {
                "count": len(rows),
                "total": total,
                "reasons": dict(reasons.most_common()),
                "classes": dict(classes.most_common()),
                "files": {checked.images.label_of(int(row)): errors[row] for row in rows[:QUARANTINE]},
            },
        )
    ]


def odd_files(checked: Checked) -> list[Finding]:
    """Count readable files that are odd, by oddity; the first of each kind are listed."""
    odd = checked.pixels.records.oddities
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, words in enumerate(odd):
        for word in words:
            groups[word].append(row)
    if not groups:
        return []
    counts = Counter({word: len(rows) for word, rows in groups.items()})
    count = sum(1 for words in odd if words)
    shown = {row for rows in groups.values() for row in rows[:LISTED]}
    first = next((word for word, _ in counts.most_common() if word in SERIOUS), counts.most_common(1)[0][0])
    return [
        Finding(
            "data/odd-file",
            "warning" if any(word in SERIOUS for word in groups) else "note",
            f"{count:,} of {len(checked.images):,} files are odd but readable: {_tally(counts)}; such as "
            f"{checked.images.label_of(groups[first][0])} ({first}: {ODDITIES[first]}).",
            "Look at some of them in the preview (`--preview`); what is done about each kind is in the evidence.",
            {
                "count": count,
                "total": len(checked.images),
                "counts": dict(counts.most_common()),
                "done": {word: ODDITIES[word] for word in counts},
                "files": {checked.images.label_of(row): ", ".join(odd[row]) for row in sorted(shown)},
            },
        )
    ]


def mixed_ranges(checked: Checked) -> list[Finding]:
    """Find files of more than 8 bits that were scaled from different ranges: their brightness cannot be compared."""
    odd = checked.pixels.records.oddities
    counts = Counter(word for words in odd for word in words if word in _RANGES)
    if len(counts) < 2 and not counts["stretched"]:
        return []
    return [
        Finding(
            "data/mixed-range",
            "warning",
            f"files of more than 8 bits were scaled to 0..255 from different ranges: {_tally(counts)}; the same "
            "brightness does not mean the same in all of them.",
            "Convert all files to 8 bits by one rule before.",
            {"counts": dict(counts), "ranges": {word: ODDITIES[word] for word in counts}},
        )
    ]


def duplicates(checked: Checked) -> list[Finding]:
    """Find copies, contradictions, leaks and look-alikes: see ``duplicates.py``."""
    return [*exact(checked.pixels, checked.parts), *near(checked.pixels, checked.parts)]


def constant_images(checked: Checked) -> list[Finding]:
    """Find images that are one colour all over."""
    array, axis = checked.pixels.array, checked.pixels.preprocessing.axis

    def spread(rows: NDArray[np.int64], most: int) -> NDArray[np.float64]:
        result = np.empty(len(rows))
        for start in range(0, len(rows), 1024):
            part = np.moveaxis(array[rows[start : start + 1024]], axis, -1)
            part = part.reshape(len(part), -1, part.shape[-1])
            part = part[:, :: max(1, part.shape[1] // most)]
            result[start : start + 1024] = (part.max(axis=1).astype(float) - part.min(axis=1)).max(axis=1)
        return result

    sampled = spread(np.arange(len(array)), 64)
    level = 1.0 if array.dtype == np.uint8 else float(sampled.max()) / 255
    rows = np.flatnonzero(sampled <= FLAT * level)  # a few pixels settle it for most images
    rows = checked.pixels.rows[rows[spread(rows, array[0].size) <= FLAT * level]]
    if not len(rows):
        return []
    return [
        Finding(
            "data/constant-image",
            "warning",
            f"{len(rows):,} of {len(array):,} {checked.pixels.preprocessing.kind}s show nothing: all values within "
            f"{FLAT} of 255 levels, such as {checked.images.label_of(int(rows[0]))}.",
            "Look at them; remove what is no picture of its class.",
            {"count": len(rows), "levels": FLAT, "files": checked.names(rows)},
        )
    ]


def class_imbalance(checked: Checked) -> list[Finding]:
    """Compare the largest and the smallest class, in training images."""
    counts = np.bincount(checked.pixels.images.labels[checked.train], minlength=len(checked.images.classes))
    classes = checked.images.classes
    present = np.flatnonzero(counts)
    least, most = present[counts[present].argmin()], int(counts.argmax())
    ratio = counts[most] / counts[least]
    if ratio < SKEWED:
        return []
    share = counts[most] / counts.sum()
    return [
        Finding(
            "data/class-imbalance",
            "error" if ratio >= IMBALANCE_ERROR else "warning",
            f"'{classes[most]}' has {counts[most]:,} training images and '{classes[least]}' {counts[least]:,}, a ratio "
            f"of {ratio:.1f}; always saying '{classes[most]}' would be right in {share:.0%} of the cases.",
            f"Collect more of '{classes[least]}'; judge by balanced accuracy and macro-F1 instead of accuracy; "
            "`--balance` says how a training makes up for it.",
            {
                "ratio": round(float(ratio), 2),
                "warning_from": SKEWED,
                "error_from": IMBALANCE_ERROR,
                "majority_share": round(float(share), 4),
                "counts": {name: int(n) for name, n in zip(classes, counts, strict=True)},
            },
        )
    ]


def few_images(checked: Checked) -> list[Finding]:
    """Find classes with few training images."""
    counts = np.bincount(checked.pixels.images.labels[checked.train], minlength=len(checked.images.classes))
    few = {name: int(n) for name, n in zip(checked.images.classes, counts, strict=True) if n < FEW_IMAGES}
    if not few:
        return []
    least = min(few, key=lambda name: few[name])
    return [
        Finding(
            "data/few-images-per-class",
            "warning",
            f"{len(few):,} of {len(counts):,} classes have fewer than {FEW_IMAGES} training images; '{least}' has "
            f"{few[least]}.",
            "Collect more, or join rare classes; `--augment strong` helps where mirror images and crops stay true.",
            {"threshold": FEW_IMAGES, "classes": few},
        )
    ]


def small_held_out(checked: Checked) -> list[Finding]:
    """Say how exactly the validation and test parts can measure: the 95 % interval (Wilson 1927) of a score of 90 %.

    Where no split is known yet, parts of a tenth are assumed, the default.
    """
    sizes = {part: int((checked.parts == part).sum()) for part in ("valid", "test")}
    assumed = not any(sizes.values())
    if assumed:
        sizes = dict.fromkeys(sizes, round(0.1 * len(checked.pixels)))
    intervals = {part: wilson(0.9, n) for part, n in sizes.items() if n}
    halves = {part: (high - low) / 2 for part, (low, high) in intervals.items()}
    if not halves or max(halves.values()) <= HALF_WIDTH_NOTE:
        return []
    part = max(halves, key=lambda name: halves[name])
    low, high = intervals[part]
    severity: Severity = "warning" if halves[part] > HALF_WIDTH_WARNING else "note"
    told = {"valid": "validation", "test": "test"}[part]
    return [
        Finding(
            "data/small-validation",
            severity,
            f"the {told} part has {sizes[part]:,} images{' (a tenth, the default)' if assumed else ''}: a score of "
            f"90 % on it can mean anything from {low:.0%} to {high:.0%}.",
            f"Raise `{part}_fraction`, collect more images, or repeat with several seeds and take the mean.",
            {
                "sizes": sizes,
                "assumed": assumed,
                "half_width": {name: round(half, 4) for name, half in halves.items()},
                "note_above": HALF_WIDTH_NOTE,
                "warning_above": HALF_WIDTH_WARNING,
            },
        )
    ]


def wilson(score: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Give the interval of a share (Wilson 1927), with z = 1.96 the 95 % interval.

    Args:
        score: the share, 0..1.
        count: images it was measured on, at least 1.
        z: standard deviations to either side.
    """
    middle = (score + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * sqrt(score * (1 - score) / count + z**2 / (4 * count**2))
    return middle - half, middle + half


RULES = (
    unreadable_files,
    odd_files,
    mixed_ranges,
    duplicates,
    class_imbalance,
    few_images,
    small_held_out,
    lambda checked: size_correlates(checked.pixels),
    lambda checked: mixed_channels(checked.pixels),
    lambda checked: odd_aspect(checked.pixels),
    lambda checked: enlarged(checked.pixels),
    constant_images,
)
"""Every rule: what was packed -> findings, mostly none or one."""


def _tally(counts: Counter[str]) -> str:
    """Say counts in words: ``"12 EXIF-rotated, 3 CMYK"``."""
    return ", ".join(f"{n:,} {word}" for word, n in counts.most_common())
