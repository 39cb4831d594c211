"""A file that no image reader takes -> what it is, in words a person can act on."""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np

HEAD = 4096
"""Bytes looked at; enough for every signature below, and for telling text and noise apart."""

MAGIC: dict[bytes, str] = {
    b"\x00\x05\x16\x07": "AppleDouble side file of macOS",
    b"\x00\x05\x16\x00": "AppleSingle file of macOS",
    b"%PDF-": "PDF document",
    b"%!PS": "PostScript",
    b"PK\x03\x04": "ZIP archive",
    b"\x1f\x8b": "gzip archive",
    b"Rar!\x1a\x07": "RAR archive",
    b"7z\xbc\xaf\x27\x1c": "7z archive",
    b"\x93NUMPY": "NumPy array",
    b"\x89HDF\r\n\x1a\n": "HDF5 file",
    b"8BPS": "Photoshop document",
    b"\x1aE\xdf\xa3": "Matroska or WebM video",
    b"SQLite format 3\x00": "SQLite database",
}
"""What files with an image's name have been found to be: signature -> name."""

IMAGES: dict[bytes, str] = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"\x00\x00\x01\x00": "ICO",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
}
"""Signatures of image formats: a file that has one, and still cannot be read, is damaged or cut off."""

BRANDS: dict[bytes, str] = {
    b"heic": "HEIC photo",
    b"heix": "HEIC photo",
    b"mif1": "HEIF photo",
    b"msf1": "HEIF photo",
    b"crx ": "Canon raw photo",
    b"qt  ": "QuickTime video",
}
"""Brands of the ISO base media format (bytes 8..12 of a file with ``ftyp`` at 4) that Pillow cannot read."""


class Unreadable(Exception):  # noqa: N818 - it says what the file is
    """A file that gives no image.

    Attributes:
        reason: one of few, to group by: ``truncated``, ``not an image (HTML)``, ``zero bytes``, ``a directory``, ...
        detail: what more is known, may be empty.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class Coloured(Unreadable):
    """A colour image where only grey ones can be used."""


def sniff(file: BinaryIO) -> tuple[str, str]:
    """Say why a file that no reader took is no usable image.

    Args:
        file: open for reading; its position is lost.

    Returns:
        ``(reason, detail)``: the reason is one of few (``"zero bytes"``, ``"truncated"``, ``"damaged"``,
        ``"not an image (...)"``), so that files can be grouped by it; the detail may be empty.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(HEAD)
    if not length:
        return "zero bytes", ""
    for magic, name in IMAGES.items():
        if head.startswith(magic):
            return _broken(file, name, length)
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return f"not an image ({name})", ""
    if head[8:12] in (b"avif", b"avis", b"WEBP"):
        return ("truncated" if cut_off(file) else "damaged"), "AVIF" if head[4:8] == b"ftyp" else "WEBP"
    if head[4:8] == b"ftyp":
        return f"not an image Pillow reads ({BRANDS.get(head[8:12], 'video')})", "convert it to JPEG or PNG"
    if head[:4] == b"RIFF":
        return "not an image (sound or video)", ""
    if head[1:4] == b"PNG" or head[12:16] == b"IHDR":
        return "damaged", "PNG signature altered, as by a transfer in text mode"
    if not head.strip(b"\x00") and _all_zero(file):
        return "not an image (all zero bytes)", f"{length:,} of them"
    return _text(head, length) or ("not an image (random or unknown bytes)", f"{length:,} of them")


def cut_off(file: BinaryIO) -> bool:
    """Say whether the file ends before the parts that it announces: PNG chunks, RIFF size (WEBP), boxes (AVIF).

    Args:
        file: open for reading; its position is lost.

    Returns:
        False where the format does not announce its parts, too.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head.startswith(b"RIFF"):
        return int.from_bytes(head[4:8], "little") + 8 > length
    png = head.startswith(b"\x89PNG")
    if not png and head[4:8] != b"ftyp":
        return False
    place = 8 if png else 0
    while place + 8 <= length:
        file.seek(place)
        size, name = int.from_bytes(file.read(4), "big"), file.read(4)
        if name == b"IEND" or (png and not name.isalpha()) or (not png and size < 8):
            return False
        place += size + 12 if png else size
    return png or place > length


def _broken(file: BinaryIO, name: str, length: int) -> tuple[str, str]:
    """Tell a cut-off image from a damaged or unusual one."""
    if cut_off(file) or length < 64:  # no real picture is smaller, and damage this early leaves no header either
        return "truncated", f"{name} of {length} bytes"
    if name == "JPEG":
        precision = _jpeg_precision(file)
        if precision in (12, 16):
            return f"unsupported ({precision}-bit JPEG)", "convert it to PNG"
    return "damaged", f"{name} header"


def _jpeg_precision(file: BinaryIO) -> int | None:
    """Read the bits per sample from the frame header of a JPEG (ITU-T T.81, B.2.2), None if there is none."""
    place = 2
    for _ in range(1000):
        file.seek(place)
        marker = file.read(5)
        if len(marker) < 5 or marker[0] != 0xFF:
            return None
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            return marker[4]
        place += 2 + int.from_bytes(marker[2:4], "big")
    return None


def _all_zero(file: BinaryIO) -> bool:
    file.seek(0)
    while block := file.read(1 << 20):
        if block.strip(b"\x00"):
            return False
    return True


def _text(head: bytes, length: int) -> tuple[str, str] | None:
    """Tell what kind of text the bytes are, or None if they are none."""
    if head.startswith(b"version https://git-lfs"):
        return "Git LFS pointer", "the image itself was not fetched; run `git lfs pull`"
    try:
        text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        if length <= HEAD or error.start < len(head) - 4:  # a character cut by the end of the head is still text
            return None
        text = head[: error.start].decode()
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    if (codes < 32).sum() > np.isin(codes, (9, 10, 12, 13)).sum():
        return None
    start = text.lstrip().lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return "not an image (HTML)", "a web page was saved in its place"
    if start.startswith(("<?xml", "<svg", "<!doctype svg")):
        return f"not an image ({'SVG drawing' if '<svg' in start else 'XML'})", ""
    if start.startswith(("{", "[")):
        return "not an image (JSON)", ""
    return "not an image (text)", f"it begins with {text.strip()[:40]!r}"
