"""Image files -> blocks of packed pixels and their records, decoded in threads, given in order.

Threads, because Pillow gives up the interpreter lock while it decodes; but files so small that they mostly wait for
that lock are decoded by a single one. Measured on 2 cores: photos of 0.1 megapixel 1.5 times, of 1 megapixel 2.0 times
as fast with two threads; 32 x 32 PNG files 7,200 a second with one thread, 5,900 with two, and no more with two
processes, which take time to start and would need a guard in the user's script.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sightline.data.ahead import ahead, cores
from sightline.data.decode import Coloured, Decoded, Unreadable, decode, quiet
from sightline.data.fingerprint import dhashes, digests
from sightline.data.preprocess import Resize
from sightline.data.records import Records

BLOCK = 16 << 20
"""Bytes of pixels that one block holds at most."""

_SMALL = 4096  # bytes; files that are smaller than this on average are decoded by one thread
_SAMPLE = 64  # files that decide whether packing starts with one channel

Block = tuple[Records, NDArray[np.uint8]]
"""The records of some consecutive files, and the pixels of those that are readable, M,H,W,C."""


def blocks(
    paths: NDArray[np.str_], lengths: NDArray[np.int64], size: tuple[int, int], resize: Resize, channels: int
) -> Generator[Block, None, None]:
    """Decode files; four blocks per thread are in memory at a time, however many files there are.

    Args:
        paths: str (N,).
        lengths: sizes of the files in bytes, int64 (N,).
        size: (height, width) in pixels.
        resize: see ``resize.py``.
        channels: 1 or 3.

    Raises:
        Coloured: ``channels`` is 1 and a colour image turned up.
    """
    small = np.mean(lengths) < _SMALL
    workers = 1 if small else min(cores(), 16)
    step = max(1, min(256 if small else 8, BLOCK // (size[0] * size[1] * channels)))
    parts = (paths[start : start + step] for start in range(0, len(paths), step))
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

    # BLAS hashes what images look like. It would give each decoding thread helpers, who mostly wait, busily, for tiny
    # products: on 2 cores packing photos took 1.5 times the processor's time with them.
    with quiet, threadpool_limits(1, user_api="blas"):
        yield from ahead(lambda part: _block(part, size, resize, channels), parts, most=4 * workers, workers=workers)


def all_grey(paths: NDArray[np.str_], size: tuple[int, int]) -> bool:
    """Say whether a sample of the files shows no colour; it pays to start with one channel then."""
    for row in np.unique(np.linspace(0, len(paths) - 1, min(len(paths), _SAMPLE)).astype(int)):
        try:
            decode(paths[row], size, "squash", 1)
        except Coloured:
            return False
        except Unreadable:
            continue
    return True


def _block(paths: NDArray[np.str_], size: tuple[int, int], resize: Resize, channels: int) -> Block:
    """Decode some files; bad ones leave a reason and no pixels."""
    decoded: list[Decoded | None] = []
    error: list[str | None] = []
    pixels = np.empty((len(paths), *size, channels), np.uint8)
    count = 0
    for path in paths:
        try:
            one = decode(path, size, resize, channels)
        except Coloured:
            raise
        except Unreadable as fault:
            decoded.append(None)
            error.append(str(fault))
            continue
        pixels[count] = one.pixels
        count += 1
        decoded.append(replace(one, pixels=pixels[count - 1]))
        error.append(None)
    good = np.array([one is not None for one in decoded], bool)
    pixels = pixels[:count]
    width = np.array([one.width if one else 0 for one in decoded], np.int32)
    height = np.array([one.height if one else 0 for one in decoded], np.int32)
    digest, dhash = np.zeros((2, len(paths)), np.uint64)
    digest[good] = digests(pixels, width[good], height[good])
    dhash[good] = dhashes(pixels)
    records = Records(
        width=width,
        height=height,
        mode=np.array([one.mode if one else "" for one in decoded], np.str_),
        format=np.array([one.format if one else "" for one in decoded], np.str_),
        oddities=[one.oddities if one else () for one in decoded],
        error=error,
        digest=digest,
        dhash=dhash,
    )
    return records, pixels
