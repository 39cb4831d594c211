"""A TensorBoard event file -> its curves, by tag; read as bytes, so neither TensorBoard nor protobuf is needed.

The file is a sequence of records (length, checksum, content, checksum), each content an ``Event`` message of
TensorFlow's ``event.proto``: step (field 2) and summary (5) of values (1), each with tag (1) and a number, plain (2) or
as a tensor (8). Whatever else is in it is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline.errors import RunError

Curve = list[tuple[float, float]]

_FLOAT, _DOUBLE = 1, 2
"""Types of tensors, as TensorFlow's ``types.proto`` numbers them."""


def read(path: Path) -> dict[str, Curve]:
    """Read every curve of numbers: tag -> (step, value), in the order written.

    A record that is cut off, as a kill leaves it, ends the file.

    Raises:
        RunError: it cannot be read, or is no event file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"'{path}' cannot be read: {error.strerror}.", "Check the path.") from None
    curves: dict[str, Curve] = {}
    try:
        for record in _records(content):
            step, values = 0.0, []
            for number, value in _fields(record):
                if number == 2 and isinstance(value, int):
                    step = float(value)
                elif number == 5 and isinstance(value, bytes):
                    values = [_value(part) for field, part in _fields(value) if field == 1 and isinstance(part, bytes)]
            for tag, found in values:
                if found is not None:
                    curves.setdefault(tag, []).append((step, found))
    except (IndexError, struct.error, ValueError, UnicodeDecodeError) as error:
        raise RunError(f"'{path}' is no event file, or is damaged: {error}.", "Give another file.") from None
    return curves


def _records(content: bytes) -> Iterator[bytes]:
    place = 0
    while place + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        end = place + 12 + length
        if end + 4 > len(content):
            if place == 0:
                raise ValueError("its first record is longer than the file")
            return
        yield content[place + 12 : end]
        place = end + 4


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Walk through a protobuf message: field number and value (int, or bytes, of 4 or 8 for floats)."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == 2:
            length, place = _varint(message, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of unknown kind {kind}")
        if place + length > len(message):
            raise ValueError("a field is longer than its message")
        yield number, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _value(summary: bytes) -> tuple[str, float | None]:
    """Read one value of a summary: its tag and number; None for pictures, texts, histograms."""
    tag, found = "", None
    for number, content in _fields(summary):
        if number == 1 and isinstance(content, bytes):
            tag = content.decode()
        elif number == 2 and isinstance(content, bytes) and len(content) == 4:
            found = float(struct.unpack("<f", content)[0])
        elif number == 8 and isinstance(content, bytes):
            found = _scalar(content)
    return tag, found


def _scalar(tensor: bytes) -> float | None:
    """Read a tensor that holds one float or double, as its bytes (field 4) or as a list (5 or 6)."""
    parts: dict[int, Any] = dict(_fields(tensor))
    form = {_FLOAT: ("<f", 5), _DOUBLE: ("<d", 6)}.get(parts.get(1, 0))
    if form is None:
        return None
    raw = parts.get(4) or parts.get(form[1])
    return float(struct.unpack(form[0], raw)[0]) if raw and len(raw) == struct.calcsize(form[0]) else None
