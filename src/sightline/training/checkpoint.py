"""A tree of plain values and tensors <-> one safetensors file, whole or not at all; nothing in it is a pickle.

Tensors are stored as such, everything else as JSON in the file's metadata. What JSON has no word for is a list that
begins with a mark: tensors, tuples, dicts with other keys than text, and numbers that are not finite.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sightline import files
from sightline.errors import RunError, TrainingError

FORMAT = 1
"""Version of the file's layout; a file with a higher number is refused."""

MARK = "\N{SECTION SIGN}"
"""Begins a JSON list that stands for something else: ``["§tensor", "model.fc.weight"]``."""


def save(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a tree of plain values and tensors; what was at ``path`` stays until the new file is whole.

    Args:
        path: ``.safetensors``.
        tree: nested dicts, lists and tuples of tensors, numbers, text, booleans and None.

    Raises:
        TrainingError: something in the tree is neither.
        RunError: the disk is full, or there is no permission.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_pack(tree, "", tensors), allow_nan=False)
    _write(path, tensors, {"sightline": str(FORMAT), "state": text})


def load(path: Path) -> dict[str, Any]:
    """Read what ``save`` wrote; tensors are on the processor.

    Raises:
        RunError: the file is missing, damaged, no checkpoint, or from a newer version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            # Copies, because the file is mapped into memory: some systems do not replace a file that is.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise RunError(f"checkpoint '{path}' does not exist.", "Train again.") from None
    except (SafetensorError, OSError) as error:
        raise RunError(f"checkpoint '{path}' is damaged: {error}.", "Restore it from a copy, or train again.") from None
    if "state" not in told:
        raise RunError(f"'{path}' holds no training state.", "Give a checkpoint, not a file of weights.")
    if int(told["sightline"]) > FORMAT:
        raise RunError(
            f"checkpoint '{path}' has format {told['sightline']}; this version reads up to {FORMAT}.",
            "Upgrade: pip install -U sightline",
        )
    return dict(_unpack(json.loads(told["state"]), tensors))


def save_weights(path: Path, weights: Mapping[str, Any], **told: int | str) -> None:
    """Write a network's weights by their names, and a few words about them into the metadata.

    Raises:
        RunError: the disk is full, or there is no permission.
    """
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    # One key only: the library writes several in random order, and equal weights shall give equal files.
    _write(path, tensors, {"sightline": json.dumps(told)})


def _write(path: Path, tensors: Mapping[str, Tensor], told: dict[str, str]) -> None:
    own: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        flat = value.detach().to("cpu").contiguous()
        # Tied weights share memory, which the format refuses: each name gets its own copy.
        own[name] = flat.clone() if flat.data_ptr() in seen else flat
        seen.add(flat.data_ptr())
    with files.whole(path) as temporary:
        try:
            save_file(own, temporary, metadata=told)
        except SafetensorError as error:
            raise _as_os_error(error) from error


def _as_os_error(error: SafetensorError) -> OSError:
    """The library wraps the system's error in text: ``... Os { code: 28, kind: StorageFull, ... }``."""
    text = str(error)
    code = text.partition("code: ")[2].partition(",")[0] or text.partition("(os error ")[2].partition(")")[0]
    return OSError(int(code) if code.isdigit() else None, text)


def _pack(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[place] = value
        return [f"{MARK}tensor", place]
    if isinstance(value, Mapping):
        if all(isinstance(name, str) for name in value) and not isinstance(value, Counter):
            return {name: _pack(item, f"{place}.{name}" if place else name, tensors) for name, item in value.items()}
        kind = "counter" if isinstance(value, Counter) else "dict"
        return [f"{MARK}{kind}", *([_pack(k, "", {}), _pack(v, f"{place}.{k}", tensors)] for k, v in value.items())]
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{place}.{row}", tensors) for row, item in enumerate(value)]
        return [f"{MARK}tuple", *items] if isinstance(value, tuple) else items
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{MARK}float", str(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TrainingError(
        f"the state '{place}' is a {type(value).__name__}, which a checkpoint cannot hold.",
        "Use an object whose state_dict() has numbers, text and tensors only, or train without a run folder.",
    )


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        return {name: _unpack(item, tensors) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    if not value or not isinstance(value[0], str) or not value[0].startswith(MARK):
        return [_unpack(item, tensors) for item in value]
    kind, rest = value[0][1:], value[1:]
    if kind == "tensor":
        return tensors[rest[0]]
    if kind == "tuple":
        return tuple(_unpack(item, tensors) for item in rest)
    if kind == "float":
        return float(rest[0])
    pairs = {_unpack(name, tensors): _unpack(item, tensors) for name, item in rest}
    return Counter(pairs) if kind == "counter" else pairs
