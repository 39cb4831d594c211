"""This machine -> what it has and what is fast on it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import sightline
from sightline.data.cache import cached, folder
from sightline.measuring import machine
from sightline.measuring.turns import Pace
from sightline.progress import Progress
from sightline.training import device as devices
from sightline.training import memory
from sightline.training.precision import Precision

EXTRAS = {
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "hub": "huggingface_hub",
    "ray": "ray",
    "gin": "gin",
    "parquet": "pyarrow",
    "serve": "openvino",
    "jpeg": "simplejpeg",
}
"""Extra -> the package it brings."""


def examine() -> dict[str, Any]:
    """Collect the facts; takes about a second, because the speed is measured.

    Returns:
        Plain values by name, in reading order.
    """
    device, name = devices.choose("auto")
    precision, why = Precision.choose("auto", device)
    entries = cached()
    compiler = next((found for found in map(shutil.which, ("c++", "g++", "clang++")) if found), None)
    return {
        "sightline": sightline.__version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{package: _version(package) for package in ("torch", "numpy", "pillow", "scikit-learn", "safetensors")},
        "device": f"{device} ({name})",
        "cores": f"{os.cpu_count()}, torch uses {torch.get_num_threads()} threads",
        "precision": f"{precision.mode} ({why})",
        "matrix product": [f"{mode} {speed:,.0f} GFLOP/s" for mode, speed in matrix_speed(device).items()],
        "same result": agreement(device),
        "compile": f"C++ compiler {compiler}" if compiler else "no C++ compiler: torch.compile is left off",
        "extras": [
            f"{extra}: {_version(package)}"
            if importlib.util.find_spec(package)
            else f"{extra}: not installed (pip install 'sightline[{extra}]')"
            for extra, package in EXTRAS.items()
        ],
        "cache": f"{folder()}: {len(entries)} sets, {sum(entry.bytes for entry in entries) / 1e6:,.0f} MB",
    }


def bench(progress: Progress | None = None, *, rounds: int = 3) -> list[tuple[str, list[Pace]]]:
    """Measure what each lever of speed gives on this machine; see ``measuring.machine``.

    Like a training, it lets the process keep the memory that it frees.
    """
    memory.keep_memory()
    device, _ = devices.choose("auto")
    return list(machine.measure(device, rounds=rounds, progress=progress).items())


def matrix_speed(device: torch.device, side: int = 1024, seconds: float = 0.2) -> dict[str, float]:
    """Measure square matrix products in GFLOP/s, by precision."""
    found = {}
    for mode, dtype in {"fp32": torch.float32, "bf16": torch.bfloat16}.items():
        a = torch.randn(side, side, device=device).to(dtype)
        _finish(a @ a)
        count, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            _finish(a @ a)
            count += 1
        found[mode] = count * 2 * side**3 / (time.perf_counter() - begun) / 1e9
    return found


def agreement(device: torch.device) -> str:
    """Compare a small convolution on the device with the processor's, before the device is trusted."""
    if device.type == "cpu":
        return "the processor is the reference"
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 16, 32, 32, generator=generator)
    w = torch.randn(16, 16, 3, 3, generator=generator)
    here = torch.nn.functional.conv2d(x, w, padding=1)
    there = torch.nn.functional.conv2d(x.to(device), w.to(device), padding=1).cpu()
    gap = float((here - there).abs().max() / here.abs().max())
    return f"largest difference to the processor {gap:.1e} of the largest value" + (" - TOO MUCH" if gap > 1e-2 else "")


def _finish(result: torch.Tensor) -> None:
    if result.device.type == "cuda":
        torch.cuda.synchronize(result.device)
    elif result.device.type == "mps":
        torch.mps.synchronize()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "installed" if importlib.util.find_spec(package) else "not installed"
