"""This machine -> what it is and what it gives right now, so that a figure can be judged and a slow spell noticed.

Run it: ``python benches/machine.py``.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIDE = 1024
SECONDS = 0.25


def describe() -> dict[str, Any]:
    """Give what a reader of a result must know: processor, cores, memory, versions."""
    import torch

    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
        if os.name == "posix"
        else 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def busy() -> float:
    """Give the processor seconds that all programs together have used since the system started, and what a host took.

    NaN on systems without /proc.
    """
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return float("nan")
    user, nice, system, _idle, _wait, irq, softirq, stolen = map(int, fields)
    return (user + nice + system + irq + softirq + stolen) / os.sysconf("SC_CLK_TCK")


def cores() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wait_until_idle(limit: float = 600.0, share: float = 0.1) -> None:
    """Wait, at most ``limit`` seconds, until other programs use less than ``share`` of the processors."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        before = busy()
        time.sleep(2)
        if not (busy() - before) / (2 * cores()) > share:
            return


def probe() -> dict[str, float]:
    """Measure the matrix product of 1024 x 1024, in 10^9 floating-point operations a second, for half a second."""
    import torch

    a = torch.randn(SIDE, SIDE)
    b = a.bfloat16()
    return {"fp32": rate(lambda: a @ a), "bf16": rate(lambda: b @ b)}


def rate(product: Callable[[], object]) -> float:
    """Repeat a matrix product for ``SECONDS`` after one warm-up and give its rate in GFLOP/s."""
    product()
    start = time.perf_counter()
    count = 0
    while (elapsed := time.perf_counter() - start) < SECONDS:
        product()
        count += 1
    return round(count * 2 * SIDE**3 / elapsed / 1e9, 1)


if __name__ == "__main__":
    print(json.dumps({**describe(), "gflops": probe()}, indent=2))
