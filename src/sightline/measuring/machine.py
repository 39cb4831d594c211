"""This machine -> what each lever gives on it, in about a minute: training, reading images, augmenting, predicting."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from sightline.data.ahead import ahead
from sightline.data.augment import Augment
from sightline.data.decode import decode
from sightline.data.preprocess import Preprocessing
from sightline.data.presets import PRESETS
from sightline.data.stream import Stream
from sightline.measuring.turns import Pace, Way, in_turns
from sightline.models.zoo import build
from sightline.progress import Progress
from sightline.serving import engines
from sightline.training.precision import Precision

IMAGES = 512
"""Images of 32 x 32 that training and augmentation are tried on; they are noise, which costs the same."""

PHOTO = (768, 1024)
"""Height and width of the JPEG files that are decoded."""


def measure(device: torch.device, *, rounds: int = 3, progress: Progress | None = None) -> dict[str, list[Pace]]:
    """Measure what each lever gives here; the first way of each table is what the others are compared with.

    Args:
        device: where networks compute.
        rounds: how often each way has its turn.
        progress: shows how far it is.

    Returns:
        Paces by topic, in reading order.
    """
    progress = progress or Progress()
    topics: dict[str, Callable[[], dict[str, Way]]] = {
        "training, images (ResNet-18, 32 x 32)": lambda: training(device),
        "augmenting, images (32 x 32)": lambda: augmenting(device),
        "predicting, images (ResNet-18, 128 x 128)": lambda: predicting(device),
    }
    found: dict[str, list[Pace]] = {}
    with progress.task("Measuring", total=(len(topics) + 1) * (rounds + 1)) as task:
        for topic, ways in topics.items():
            found[topic] = in_turns(ways(), rounds=rounds, round_done=task.advance)
        with tempfile.TemporaryDirectory() as folder:
            files = photos(Path(folder))
            found["JPEG files decoded to 128 x 128"] = in_turns(decoding(files), rounds=rounds, round_done=task.advance)
    return found


def training(device: torch.device, batch: int = 16, width: float = 1.0) -> dict[str, Way]:
    """Give training steps of ResNet-18: plain, and with the levers one by one."""
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.standard_normal((batch, 3, 32, 32), np.float32)).to(device)
    y = torch.arange(batch, device=device) % 10
    fast = Precision.of("auto", device)
    levers = {
        "fp32, as torch has it": Precision("fp32", device, channels_last=False),
        "channels last": Precision("fp32", device),
    }
    if fast.mode != "fp32":
        levers[fast.mode] = Precision(fast.mode, device, channels_last=False)
        levers[f"{fast.mode} and channels last"] = fast
    return {name: _steps(precision, x, y, width) for name, precision in levers.items()}


def _steps(precision: Precision, x: torch.Tensor, y: torch.Tensor, width: float) -> Way:
    torch.manual_seed(0)
    network: nn.Module = build("resnet18", in_channels=3, num_classes=10, image_size=32, width=width).to(x.device)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, fused=x.device.type in ("cpu", "cuda"))
    precision.arrange(network, optimizer)
    x = x.contiguous(memory_format=torch.channels_last) if precision.channels_last else x

    def step() -> int:
        with precision.forward():
            logits = network(x)
        precision.backward(nn.functional.cross_entropy(logits.float(), y))
        precision.step(optimizer)
        next(network.parameters()).sum().item()
        return len(x)

    return step


def augmenting(device: torch.device, batch: int = 64) -> dict[str, Way]:
    """Give batches of a ``Stream``: as they are, and by preset."""
    x = np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    rows = np.arange(IMAGES)
    spec = Preprocessing("image", 3, (32, 32)).fit(x, rows)

    def way(augment: Augment) -> Way:
        stream = Stream(x, rows % 10, rows, spec, batch_size=batch, augment=augment, device=device)

        def epoch() -> int:
            return sum(len(given) for given, _ in stream)

        return epoch

    return {name: way(PRESETS[name].amounts["image"]) for name in ("none", "light", "strong")}


def predicting(device: torch.device, batch: int = 16, size: int = 128, width: float = 1.0) -> dict[str, Way]:
    """Give predictions by the engines that are here and quick to make, the network in fp32 first."""
    torch.manual_seed(0)
    network = build("resnet18", in_channels=3, num_classes=10, image_size=size, width=width).eval().to(device)
    precision = Precision.of("auto", device)
    precision.arrange(network)
    x = torch.randn(batch, 3, size, size, device=device)
    ways: dict[str, Way] = {"fp32": _predictions(lambda x: network(x), x)}
    for name in ("plain", "folded"):
        ways[name] = _predictions(engines.ENGINES[name].make(network, x, precision), x)
    return ways


def _predictions(logits: engines.Logits, x: torch.Tensor) -> Way:
    x = x.contiguous(memory_format=torch.channels_last) if x.device.type in ("cpu", "cuda") else x

    @torch.inference_mode()
    def once() -> int:
        logits(x).sum().item()
        return len(x)

    return once


def photos(folder: Path, count: int = 24, size: tuple[int, int] = PHOTO) -> list[Path]:
    """Write JPEG files that look like photos to a decoder: smooth areas, edges, some noise."""
    random = np.random.default_rng(0)
    height, width = size
    files = []
    for number in range(count):
        coarse = random.integers(0, 256, (height // 64 + 2, width // 64 + 2, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noise: NDArray[Any] = random.integers(-8, 9, (height, width, 1))
        pixels = np.clip(np.asarray(image, np.int16) + noise, 0, 255).astype(np.uint8)
        files.append(folder / f"{number}.jpg")
        Image.fromarray(pixels).save(files[-1], quality=90)
    return files


def decoding(files: list[Path], size: tuple[int, int] = (128, 128)) -> dict[str, Way]:
    """Give the decoding of files: whole and then made small, reduced while decoding, and that by threads."""

    def whole() -> int:
        return sum(len(np.asarray(Image.open(file).convert("RGB").resize(size))) > 0 for file in files)

    return {
        "whole, then made small": whole,
        "reduced while decoding": lambda: sum(decode(file, size).width > 0 for file in files),
        "and by threads": lambda: sum(one.width > 0 for one in ahead(lambda file: decode(file, size), files, most=16)),
    }
