"""Fingerprints and packed pixels -> findings about images that occur twice: copies, leaks, contradictions, look-alikes.

Exact duplicates have equal pixels and native size. Near duplicates are looked for in two steps. First the pairs whose
64-bit difference hashes differ in at most 7 bits: cut into 8 bands, two such hashes share at least one band whole
(multi-index hashing, Norouzi, Punjani & Fleet 2012, "Fast search in Hamming space with multi-index hashing"), so only
images of one bucket are compared. Hashes of similar motives on plain ground are alike without any copying, so each pair
is then verified on its pixels: reduced to 16 x 16 grey values, the two must correlate so closely that the variance one
leaves unexplained of the other is at most a tenth of what the most similar hundredth of 5,000 other images leaves; and
never less than 0.95. The measure thus adapts to each image: 0.95 in a set of photos, 0.986 for hands before a white
wall, 0.997 for the silhouettes of trousers. A series of which one picture in a hundred or more belongs to one scene is
not told from a class that looks alike: give it groups. Images smaller than 24 pixels are not searched: at that size
different things look the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.fingerprint import areas
from sightline.data.images import SPLITS
from sightline.data.pixels import Pixels
from sightline.finding import Finding

LISTED = 100
"""Groups or files that a finding lists at most; its counts are always of all."""

SMALLEST = 24
"""Shortest side in pixels at which near duplicates are searched."""

CORRELATION = 0.95
"""Lowest correlation of two 16 x 16 grey images that makes a near duplicate, in any set."""

COMPARISONS = 100_000_000
"""Pairs of hashes compared at most; where buckets are fuller, wider bands find the pairs with fewer differing bits."""

_BANDS = (8, 6, 5, 4, 3, 2, 1)
_CROWD = 2000  # images that share one hash whole: it says nothing about them
_THUMB = 16


def exact(pixels: Pixels, parts: NDArray[np.str_]) -> list[Finding]:
    """Find images whose pixels are equal: copies, contradictions between labels, leaks between splits.

    Args:
        pixels: the packed set, M images.
        parts: ``train``, ``valid``, ``test`` or empty, str (M,).
    """
    rows = np.flatnonzero(_taking_part(parts))
    digest = pixels.digests
    order = rows[np.argsort(digest[rows], kind="stable")]
    members = np.split(order, np.flatnonzero(np.diff(digest[order])) + 1)
    groups = sorted((rows for rows in members if len(rows) > 1), key=lambda rows: int(rows[0]))
    labels = pixels.images.labels
    contradicting = [rows for rows in groups if len(set(labels[rows])) > 1]
    leaking = [rows for rows in groups if len(set(parts[rows])) > 1]
    plain = [rows for rows in groups if len(set(labels[rows])) == 1 and len(set(parts[rows])) == 1]
    found = []
    if leaking:
        found.append(_leak(pixels, parts, leaking))
    if contradicting:
        count = sum(len(rows) for rows in contradicting)
        wrong = sum(len(set(labels[rows])) - 1 for rows in contradicting)
        found.append(
            Finding(
                "data/duplicate-across-labels",
                "warning",
                f"{count:,} files are {len(contradicting):,} pictures under more than one label, such as "
                f"{_some(pixels, contradicting[0])}: at least {wrong:,} of these labels must be wrong.",
                "Look at them, and keep each picture in its right class only.",
                {"images": count, **_listed(pixels, parts, contradicting)},
            )
        )
    if plain:
        copies = sum(len(rows) - 1 for rows in plain)
        share = copies / len(pixels)
        found.append(
            Finding(
                "data/exact-duplicate",
                "warning" if share > 0.05 else "note",
                f"{copies:,} of {len(pixels):,} images ({share:.1%}) are exact copies of another one with the same "
                f"label, such as {_some(pixels, plain[0])}.",
                "Remove the copies, or leave them: a split that is drawn keeps them on one side.",
                {"images": copies, **_listed(pixels, parts, plain)},
            )
        )
    return found


def near(pixels: Pixels, parts: NDArray[np.str_]) -> list[Finding]:
    """Find images that are almost the same picture: recompressed, resized, recoloured, slightly shifted.

    Args:
        pixels: the packed set, M images.
        parts: ``train``, ``valid``, ``test`` or empty, str (M,).
    """
    if pixels.preprocessing.kind != "image" or min(pixels.preprocessing.size) < SMALLEST:
        return []
    pairs, likeness, limits = near_pairs(pixels)
    both = _taking_part(parts)[pairs].all(axis=1)
    pairs, likeness = pairs[both], likeness[both]
    if not len(pairs):
        return []
    labels, names = pixels.images.labels, pixels.images
    crossing = parts[pairs[:, 0]] != parts[pairs[:, 1]]
    differing = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    images = len(np.unique(pairs))
    told = f"{images:,} of {len(pixels):,} images ({images / len(pixels):.1%}) look almost the same as another one"
    if crossing.any():
        told += f"; {int(crossing.sum()):,} such pairs are on two sides of the split"
    if differing.any():
        told += f"; {int(differing.sum()):,} have different labels"
    order = np.lexsort((-likeness, ~differing, ~crossing))[:LISTED]
    first, second = pairs[order[0]]
    listed = [
        {
            "files": [names.label_of(int(row)) for row in pairs[index]],
            "labels": [names.classes[labels[row]] for row in pairs[index]],
            "splits": [str(parts[row]) for row in pairs[index]],
            "correlation": round(float(likeness[index]), 4),
        }
        for index in order
    ]
    return [
        Finding(
            "data/near-duplicate",
            "warning" if crossing.any() or differing.any() else "note",
            f"{told}, such as {names.label_of(int(first))} and {names.label_of(int(second))}.",
            "Keep one of each pair, or give pictures of one scene the same group in a manifest, so that no group is on "
            "two sides of the split.",
            {
                "images": images,
                "pairs": len(pairs),
                "across_splits": int(crossing.sum()),
                "across_labels": int(differing.sum()),
                **limits,
                "listed": listed,
            },
        )
    ]


def _taking_part(parts: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Tell which rows are in a part, bool (M,); all of them where there are no parts. Dropped images are in none."""
    given: NDArray[np.bool_] = parts != ""
    return given if given.any() else ~given


def near_pairs(pixels: Pixels) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[str, float]]:
    """Find the pairs of near duplicates, one image for each set of exact duplicates.

    Returns:
        Rows of ``pixels``, int64 (P, 2), ascending within a pair; their correlations, float32 (P,); and what was
        asked of them: ``bits`` of the hash at most, ``correlation`` at least, the median over the pairs that passed.
    """
    digest, dhash = pixels.digests, pixels.records.dhash[pixels.rows]
    rows = np.sort(np.unique(digest, return_index=True)[1])
    rows = rows[dhash[rows] != 0]  # a hash without a bit is an image without structure
    thumbs = _thumbs(pixels, rows)
    bits, buckets = _buckets(dhash[rows])
    others = thumbs[np.random.default_rng(0).permutation(len(thumbs))[:5000]].astype(np.float32)
    asked = np.full(len(rows), np.nan, np.float32)  # by each image, known once it is needed
    found = [(np.empty((0, 2), np.int64), np.empty(0, np.float32))]
    for bucket in buckets:
        for pairs, likeness in _close(dhash[rows], thumbs, bucket, bits):
            new = np.unique(pairs[np.isnan(asked[pairs])])
            asked[new] = _asked(thumbs[new], others)
            kept = likeness >= asked[pairs].max(axis=1)
            found.append((pairs[kept], likeness[kept]))
    pairs, likeness = (np.concatenate(column) for column in zip(*found, strict=True))
    pairs, index = np.unique(pairs, axis=0, return_index=True)
    told = round(float(np.median(asked[pairs].max(axis=1))), 4) if len(pairs) else CORRELATION
    return rows[pairs], likeness[index], {"bits": bits, "correlation": told}


def _leak(pixels: Pixels, parts: NDArray[np.str_], groups: list[NDArray[np.int64]]) -> Finding:
    """Say how many held-out images the training has seen."""
    counts = {}
    for a, part in enumerate(SPLITS):
        for other in SPLITS[:a]:
            rows = [row for group in groups if other in parts[group] for row in group[parts[group] == part]]
            if rows:
                counts[f"{part} in {other}"] = len(rows)
    most = max(counts, key=lambda name: counts[name])
    held, seen = most.split(" in ")
    total = int((parts == held).sum())
    return Finding(
        "data/duplicate-across-splits",
        "error",
        f"{counts[most]:,} of {total:,} {held} images ({counts[most] / total:.1%}) are in {seen} too, such as "
        f"{_some(pixels, groups[0])}: the score on them is memory, not recognition.",
        f"Remove them from {seen}, or give the images without splits and let a split be drawn.",
        {"counts": counts, **_listed(pixels, parts, groups)},
    )


def _buckets(hashes: NDArray[np.uint64]) -> tuple[int, list[NDArray[np.int64]]]:
    """Sort hashes into buckets so that two which differ in at most the returned number of bits share one."""
    for bands in _BANDS:
        buckets = []
        for low, high in itertools.pairwise(np.linspace(0, 64, bands + 1).astype(np.uint64)):
            keys = hashes << (np.uint64(64) - high) >> (np.uint64(64) - high + low)
            order = np.argsort(keys, kind="stable")
            members = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
            buckets += [rows for rows in members if len(rows) > 1]
        if sum(len(rows) ** 2 / 2 for rows in buckets) <= COMPARISONS:
            return bands - 1, buckets
    return 0, [rows for rows in buckets if len(rows) <= _CROWD]


def _close(
    hashes: NDArray[np.uint64], thumbs: NDArray[np.float16], rows: NDArray[np.int64], bits: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Give the pairs of ascending ``rows`` that are close in hash and in pixels, with their correlation."""
    block = max(1, (1 << 20) // len(rows))
    for start in range(0, len(rows), block):
        mine, others = rows[start : start + block], rows[start:]
        near = np.bitwise_count(hashes[mine, None] ^ hashes[None, others]) <= bits
        near &= np.arange(len(mine))[:, None] < np.arange(len(others))
        first, second = np.nonzero(near)
        if len(first) > near.size // 16:  # so many that the product of all is cheaper
            likeness = (thumbs[mine].astype(np.float32) @ thumbs[others].astype(np.float32).T)[first, second]
        else:
            likeness = np.einsum("ij,ij->i", thumbs[mine[first]], thumbs[others[second]], dtype=np.float32)
        close = likeness >= CORRELATION
        if close.any():
            yield np.stack([mine[first[close]], others[second[close]]], axis=1), likeness[close]


def _asked(thumbs: NDArray[np.float16], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the correlation that a near duplicate of each image must reach, by how similar the image is to others."""
    rank = min(len(others), max(5, len(others) // 100))  # the image itself and its copies may be among them
    similar = np.empty(len(thumbs), np.float32)
    for start in range(0, len(thumbs), 2048):
        part = thumbs[start : start + 2048].astype(np.float32) @ others.T
        similar[start : start + 2048] = np.partition(part, -rank, axis=1)[:, -rank]
    return np.maximum(np.float32(CORRELATION), 1 - (1 - similar) / 10)


def _thumbs(pixels: Pixels, rows: NDArray[np.int64]) -> NDArray[np.float16]:
    """Reduce images to 16 x 16 grey values of mean 0 and length 1, float16 (R, 256); flat ones to zeros."""
    down, across = areas(pixels.array.shape[1], _THUMB), areas(pixels.array.shape[2], _THUMB)
    result = np.empty((len(rows), _THUMB * _THUMB), np.float32)
    for start in range(0, len(rows), 2048):
        part = pixels.array[rows[start : start + 2048]].mean(axis=3, dtype=np.float32)
        result[start : start + 2048] = (down @ part @ across.T).reshape(len(part), -1)
    result -= result.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", result, result))
    flat = length < 0.05 * np.median(length) if len(length) else length > 0
    result /= np.where(flat, np.inf, length)[:, None]
    return result.astype(np.float16)


def _some(pixels: Pixels, rows: NDArray[np.int64]) -> str:
    return " and ".join(pixels.images.label_of(int(row)) for row in rows[:2])


def _listed(pixels: Pixels, parts: NDArray[np.str_], groups: list[NDArray[np.int64]]) -> dict[str, Any]:
    names = pixels.images
    listed = [
        {
            "files": [names.label_of(int(row)) for row in rows[:LISTED]],
            "labels": [names.classes[names.labels[row]] for row in rows[:LISTED]],
            "splits": [str(parts[row]) for row in rows[:LISTED]],
        }
        for rows in groups[:LISTED]
    ]
    return {"groups": len(groups), "listed": listed}
