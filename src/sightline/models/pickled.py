"""A ``.pth`` or ``.pt`` file -> its tensors by name, or a refusal; no code in the file is ever run.

Such a file is a pickle, which can name any function of Python. ``torch.load(weights_only=True)`` reads only what a
``state_dict`` needs and refuses the rest. This is the one place in Sightline that reads such files at all; what it
gives is kept as safetensors, so that each is read once. Before torch sees the file, its table of contents is looked at:
a small file that would become a large one in memory is refused.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sightline.errors import ModelError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Names under which training scripts put the weights beside other things."""

PARALLEL = "module."
"""What ``DataParallel`` puts before every name."""

PICKLE = 1 << 24
"""Bytes that the pickle in a file may have, which lists the tensors; SENet-154 with its 1,144 has 0.2 MB."""


def read_pickled(path: Path) -> dict[str, Tensor]:
    """Read a ``state_dict`` from a file that ``torch.save`` wrote.

    Args:
        path: the file; a ``state_dict``, or a dict that holds one under a name of ``WRAPPERS``.

    Returns:
        Dense tensors on the processor, each with storage of its own size at least, by name.

    Raises:
        ModelError: the file is missing or damaged, larger inside than outside, or holds anything but tensors.
    """
    _refuse_bomb(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols and old storages
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"weights file '{path}' does not exist.", "Check the path.") from None
    except Exception as error:  # a broken file makes torch raise anything from KeyError to RuntimeError
        raise _refused(path, error) from None
    return {name: _dense(path, name, value) for name, value in _unwrapped(path, content).items()}


def _refuse_bomb(path: Path) -> None:
    """Refuse a zip archive that is larger unpacked than packed: ``torch.save`` compresses nothing."""
    try:
        if not zipfile.is_zipfile(path):
            return  # torch's older format, read in order; or no weights at all, which torch will say
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise _damaged(path, error) from None
    unpacked = sum(entry.file_size for entry in entries)
    pickles = [entry.file_size for entry in entries if entry.filename.endswith(".pkl")]
    squeezed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if squeezed or unpacked > path.stat().st_size or max(pickles, default=0) > PICKLE:
        raise ModelError(
            f"weights file '{path}' was not written by torch.save: its parts are compressed or overlap "
            f"({path.stat().st_size / 1e6:,.1f} MB outside, {unpacked / 1e6:,.1f} MB inside).",
            "It was not opened. Get the file again from whoever made it, best as safetensors.",
        )


def _refused(path: Path, error: Exception) -> ModelError:
    text = str(error)
    wanted = re.search(r"GLOBAL ([\w.]+)", text)
    if wanted:
        return ModelError(
            f"weights file '{path}' holds more than tensors: loading it would call '{wanted[1]}'.",
            "None of its code was run. Ask for the weights alone: torch.save(model.state_dict(), ...), or safetensors.",
        )
    first = text.strip().split("\n")[0].split(". ")[0]
    return _damaged(path, first if 0 < len(first) < 200 else type(error).__name__)


def _damaged(path: Path, error: object) -> ModelError:
    return ModelError(
        f"weights file '{path}' is no whole file of weights: {error}.", "Copy or download it again, whole."
    )


def _unwrapped(path: Path, content: Any) -> dict[str, Any]:
    """Find the ``state_dict``: the content itself, or what it holds under one of the usual names."""
    if isinstance(content, dict) and not any(isinstance(value, Tensor) for value in content.values()):
        content = next((content[name] for name in WRAPPERS if isinstance(content.get(name), dict)), content)
    if not isinstance(content, dict) or not content or not all(isinstance(name, str) for name in content):
        raise ModelError(
            f"weights file '{path}' holds no tensors by name.",
            "Give a state_dict: torch.save(model.state_dict(), ...).",
        )
    if all(name.startswith(PARALLEL) for name in content):
        return {name.removeprefix(PARALLEL): value for name, value in content.items()}
    return content


def _dense(path: Path, name: str, value: Any) -> Tensor:
    """Give a plain tensor, or refuse what is none: sparse, quantised, without data, or larger than its own storage."""
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized:
        plain: Tensor = value.detach()
        if plain.device.type == "cpu" and plain.numel() * plain.element_size() <= plain.untyped_storage().nbytes():
            return plain
    kind = "tensor without plain data" if isinstance(value, Tensor) else type(value).__name__
    raise ModelError(
        f"'{name}' in the weights file '{path}' is a {kind}.",
        "Give a state_dict of plain tensors, with nothing beside them.",
    )
