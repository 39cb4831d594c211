"""Made-up runs, as a training writes them: what reports are tried on."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from PIL import Image

from sightline import files
from sightline.diagnosis.mistakes import evaluate, fit_temperature
from sightline.run import RunFolder
from sightline.settings import Settings

FINDINGS = [
    {
        "code": "data/near-duplicates",
        "severity": "note",
        "message": "6 pairs of images look almost the same (at most 4 of 64 bits of their hash differ).",
        "advice": "Look at the pairs; if they come from one scene, name it in a 'group' column.",
        "evidence": {"pairs": [["a/1.png", "a/2.png"], ["b/7.png", "c/8.png"]], "threshold": 4},
    },
    {
        "code": "data/unreadable-file",
        "severity": "error",
        "message": "2 files cannot be read and were left out: truncated (1), zero bytes (1).",
        "advice": "Replace or delete them; --strict refuses to train while there are any.",
        "evidence": {"files": {"b/broken.jpg": "truncated", "b/empty.png": "zero bytes"}},
    },
    {
        "code": "data/small-validation",
        "severity": "warning",
        "message": "The validation part has 180 images: an accuracy of 95 % is known to ±3.3 points.",
        "advice": "Keep more for validation with --valid-fraction 0.2.",
        "evidence": {},
    },
]


def history(epochs: int, classes: int, floor: float = 0.05, overfit: float = 0.004) -> list[dict[str, float]]:
    """Make rows of a training that learns, then overfits a little."""
    generator = np.random.default_rng(7)
    start, rows = float(np.log(classes)), []
    for i in range(epochs):
        fall = float(np.exp(-3.2 * (i + 1) / max(epochs * 0.55, 2)))
        valid = floor + start * fall + overfit * max(0, i - epochs * 0.6) + float(generator.normal(0, 0.006))
        probe = max(0.002, floor * 0.2 + start * fall * 0.92)
        rows.append(
            {
                "epoch": i + 1,
                "train_loss": probe * 1.3 + 0.05,
                "valid_loss": max(valid, 0.01),
                "valid_accuracy": float(np.exp(-max(valid, 0.01) * 0.7)),
                "probe_loss": probe,
                "probe_accuracy": float(np.exp(-probe * 0.6)),
                "lr": float(2e-3 * np.sin(np.pi * (i + 0.7) / (epochs + 0.7))),
                "step": 12 * (i + 1),
            }
        )
    return rows


def scored(classes: int, count: int, strength: float, seed: int = 0, sharper: float = 1.0) -> tuple[Any, Any]:
    """Draw logits and labels of a network that knows its classes as well as ``strength`` says."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(count) % classes)
    logits = generator.normal(size=(count, classes))
    logits[np.arange(count), labels] += strength
    return logits * strength * sharper, labels


def picture(seed: int, side: int = 112) -> bytes:
    """Draw a small PNG."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def make(
    runs: Path,
    name: str,
    classes: list[str],
    *,
    epochs: int = 20,
    done: int | None = None,
    count: int = 180,
    strength: float = 4.2,
    sharper: float = 1.0,
    kind: str = "image",
    size: tuple[int, ...] = (32, 32),
    part: str | None = "test",
    findings: list[dict[str, Any]] | None = None,
    source: str = "/home/ada/photos",
    logits: Any = None,
    labels: Any = None,
    image_names: list[str] | None = None,
    sheet: bytes | None = None,
    given: dict[str, Any] | None = None,
) -> tuple[RunFolder, dict[str, bytes]]:
    """Write a run folder; give it and pictures of its worst mistakes."""
    folder, k = RunFolder.create(runs, name), len(classes)
    done = epochs if done is None else done
    chosen = {"epochs": epochs, "batch_size": 64, "lr": 0.0014, "weight_decay": 0.05, "image_size": size[0]}
    given = {"model": "resnet18", "label_smoothing": 0.05} if given is None else given
    settings = Settings(**{**given, **chosen}).as_toml()
    files.write_text(folder.settings, tomli_w.dumps({"settings": settings, "given": given}))
    supports = np.bincount(np.arange(count) % k, minlength=k)
    files.write_json(
        folder.data,
        {
            "source": source,
            "name": Path(source).name,
            "layout": "class folders, no split",
            "kind": kind,
            "classes": classes,
            "counts": {
                "train": (supports * 8).tolist(),
                "valid": supports.tolist(),
                "test": supports.tolist() if part == "test" else [0] * k,
            },
            "preprocessing": {
                "kind": kind, "channels": 3, "size": list(size), "resize": "pad", "stored": "uint8",
                "mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2],
            },
            "fingerprint": "9f86d081884c7d659a2feaa0c55ad015",
            "reasons": {
                "batch_size": "1,440 training images: at least 20 steps an epoch, at most 128 a step",
                "epochs": "about 100,000 images seen in all, within 15 to 60 epochs",
                "lr": "0.002 for adamw at batch 128, times the root of 64/128",
                "weight_decay": "usual for adamw",
                "image_size": "all images have this size",
            },
            "ignored": ["3 hidden or system files (.DS_Store, Thumbs.db) were left aside."],
            "notes": ["4 duplicates were kept on one side of the split."],
        },
    )  # fmt: skip
    files.write_json(
        folder.environment,
        {
            "sightline": "0.1.0", "python": "3.12.4", "platform": "Linux-6.8-x86_64", "device": "cpu", "threads": 2,
            "cores": 2, "packages": {"torch": "2.13.0+cpu", "numpy": "2.4.6"},
            "command": ["/usr/bin/sightline", "train", source, "--label-smoothing", "0.05"],
        },
    )  # fmt: skip
    rows = history(epochs, k)[:done]
    files.write_text(folder.history, "".join(json.dumps(row) + "\n" for row in rows))
    timing = [
        {"epoch": i + 1, "train_s": 1.9, "valid_s": 0.11, "probe_s": 0.2, "checkpoint_s": 0.04, "images_per_s": 752 + i}
        for i in range(done)
    ]
    files.write_text(folder.timing, "".join(json.dumps(row) + "\n" for row in timing))
    files.write_json(folder.findings, FINDINGS if findings is None else findings)
    if sheet:
        files.make_folder(folder.figures)
        (folder.figures / "inputs.png").write_bytes(sheet)
    best = min(rows, key=lambda row: row["valid_loss"])["epoch"] if rows else None
    if part is None:
        folder.write_state(status="stopped", stopped="interrupted twice; resume continues it", best_epoch=best)
        return folder, {}
    if logits is None:
        logits, labels = scored(k, count, strength, sharper=sharper)
    names = image_names or [f"{classes[y]}/{1000 + i}.png" for i, y in enumerate(labels)]
    temperature = fit_temperature(*scored(k, 400, strength, 1, sharper)) if k == logits.shape[1] else 1.0
    found = evaluate(logits, labels, classes, names=names, temperature=temperature)
    files.write_json(folder.evaluation, {"part": part, **found.as_dict()})
    folder.write_state(
        status="finished",
        stopped="all epochs were done" if done == epochs else f"no improvement for 5 epochs (epoch {done})",
        best_epoch=best,
        epochs=done,
        seconds={"decoding": 1.7, "training": 2.35 * done, "evaluation": 0.4, "report": 0.2},
    )
    return folder, {mistake.name: picture(mistake.row) for mistake in found.worst}
