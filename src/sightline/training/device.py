"""A device's name -> the device, or why it cannot be used."""

from __future__ import annotations

from pathlib import Path

import torch

from sightline.errors import SettingsError

NATIVE_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Instruction sets that multiply bf16."""


def choose(name: str = "auto") -> tuple[torch.device, str]:
    """Choose where to compute.

    Args:
        name: ``auto`` (a CUDA GPU if there is one, else Apple's GPU, else the processor), or torch's own
            names: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Returns:
        The device and, in words, what it is.

    Raises:
        SettingsError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"device '{name}' is unknown.", "Use auto, cpu, cuda, cuda:1 or mps.") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise SettingsError(
                f"device '{name}' is not here: torch {torch.__version__} sees no CUDA GPU.",
                "Use --device cpu, or install a CUDA build of torch.",
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise SettingsError(
                f"device '{name}' is not here: there are {torch.cuda.device_count()} GPUs.",
                "Count from cuda:0.",
            )
        return device, torch.cuda.get_device_name(device)
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise SettingsError("device 'mps' is not here: this machine has no Apple GPU.", "Use --device cpu.")
        return device, "Apple GPU"
    if device.type != "cpu":
        raise SettingsError(f"device '{name}' is not supported.", "Use auto, cpu, cuda, cuda:1 or mps.")
    return device, f"processor, {torch.get_num_threads()} threads"


def processor_flags() -> set[str]:
    """Give the instruction sets of this processor by the kernel's names, such as ``avx512_bf16``; empty if unknown."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is not None:
        return {name for name, there in ask().items() if there is True}
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":")[1].split()}
