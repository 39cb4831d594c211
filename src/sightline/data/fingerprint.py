"""Pixels -> two numbers per image: one that equal images share, one that similar images nearly share."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 1 << 18
"""Values that are looked at at once: as float32, 1 MB, which a processor's cache holds."""


def digests(array: NDArray[np.generic], width: NDArray[np.int32], height: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Hash each row's pixels and native size: equal for exact duplicates, whatever file they came in.

    Two images of one native size that differ in a detail too small to survive the packing count as equal, too.

    Args:
        array: N rows of packed pixels, any shape and dtype.
        width: native widths in pixels, int32 (N,).
        height: native heights in pixels, int32 (N,).

    Returns:
        uint64 (N,): the first 8 bytes of BLAKE2b; among a million different images two share it with odds of 1 to
        37 million.
    """
    result = np.empty(len(array), np.uint64)
    for row, pixels in enumerate(array):
        digest = hashlib.blake2b(f"{width[row]}x{height[row]}:".encode(), digest_size=8)
        digest.update(np.ascontiguousarray(pixels).data)
        result[row] = int.from_bytes(digest.digest(), "little")
    return result


def dhashes(array: NDArray[np.generic]) -> NDArray[np.uint64]:
    """Hash what each image looks like: near duplicates differ in few bits.

    The difference hash of N. Krawetz ("Kind of like that", The Hacker Factor Blog, January 2013): the image is reduced
    to 8 rows of 9 grey values, and each bit says whether a value is larger than its left neighbour. Brightness,
    contrast and size do not matter to it; in an image without texture it has little to say.

    Args:
        array: N,H,W,C, uint8 or float.

    Returns:
        uint64 (N,): 64 bits each.
    """
    count, height, width, channels = array.shape
    rows, columns = areas(height, 8), areas(width, 9).T / channels
    grey = np.empty((count, 8, 9), np.float32)
    step = max(1, AT_ONCE // max(1, array[:1].size))
    for start in range(0, count, step):
        part = slice(start, start + step)
        lines = rows @ array[part].reshape(-1, height, width * channels).astype(np.float32)
        grey[part] = lines.reshape(-1, 8, width, channels).sum(axis=3) @ columns
    bits = grey[:, :, 1:] > grey[:, :, :-1] + 1e-3  # a flat area gives zeros, not the rounding of its sum
    return np.packbits(bits.reshape(len(array), 64), axis=1).view(">u8").astype(np.uint64).reshape(-1)


def areas(length: int, parts: int) -> NDArray[np.float32]:
    """Give the matrix (parts, length) that averages ``length`` pixels over ``parts`` equal stretches."""
    edges = np.linspace(0, length, parts + 1)
    pixel = np.arange(length)
    cover = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    cover = np.maximum(cover, 0)
    result: NDArray[np.float32] = (cover / cover.sum(axis=1, keepdims=True)).astype(np.float32)
    return result
