"""Made-up comparisons, as ``compare`` writes them: what their page is tried on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sightline.comparison import arms
from sightline.comparison.compare import Comparison, contrasts
from sightline.comparison.outcome import Outcome
from sightline.diagnosis.experiment import Score
from sightline.run import RunFolder
from sightline.settings import Settings

ABILITY = {"plain20": 0.80, "plain56": 0.62, "resnet20": 0.83, "resnet56": 0.85}


def outcome(path: Path, label: str, seed: int, ability: float, epochs: int, pace: float = 1.0) -> Outcome:
    """Make one training up: it learns as fast as ``pace`` says, up to ``ability``."""
    generator = np.random.default_rng([seed, *map(ord, label)])
    reached = ability + generator.normal(0, 0.006)
    shape = 1 - np.exp(-pace * 2.5 * np.arange(1, epochs + 1) / epochs * 2)
    valid = 1 - (0.1 + (reached - 0.1) * shape) + generator.normal(0, 0.006, epochs)
    probe = 1 - (0.1 + (reached + 0.02 - 0.1) * shape) + generator.normal(0, 0.004, epochs)
    right = (np.random.default_rng(5).random(2000) * 0.6 + generator.random(2000) * 0.4 < reached).astype(float)
    losses = -np.log(np.clip(np.where(generator.random(500) < reached, 0.9, 0.1), 0.01, 1))
    scores = {
        "test_accuracy": Score(float(right.mean()), right, "test", 5000),
        "test_balanced_accuracy": Score(float(right.mean()), right, "test", 5000),
        "valid_accuracy": Score(float(1 - valid[-1])),
        "valid_loss": Score(float(losses.mean()), losses, "valid", 5000),
        "train_error": Score(float(probe[-1])),
        "train_seconds": Score(float(40 * (1 + len(label) / 8) + generator.normal(0, 1))),
    }
    curves = {
        "probe_error": probe.tolist(),
        "valid_error": valid.tolist(),
        "probe_loss": (probe * 2.2).tolist(),
        "valid_loss": (valid * 2.4).tolist(),
        "train_loss": (probe * 2.6).tolist(),
    }
    return Outcome(seed, RunFolder(path / "runs" / f"{label}-seed{seed}"), "finished", "", scores, curves)


def told(design: arms.Design, found: dict[str, list[Outcome]], path: Path, **changes: Any) -> Comparison:
    """Put a comparison together."""
    about = {
        "name": "made-up",
        "source": "photos",
        "seeds": [one.seed for one in next(iter(found.values()))],
        "split": "same",
        "settings": {"epochs": 30, "optimizer": "sgd"},
        "epochs": None,
        "matters": None,
        "made": "2026-11-22T18:00:00+0000",
        "data": "photos",
        "images": {"train": 45000, "valid": 5000, "test": 10000},
        "length": 30,
        "environment": {"sightline": "0.1.0", "python": "3.11", "command": ["x", "compare", "photos", "--seeds", "5"]},
    }
    stopped = changes.pop("stopped", "")
    return Comparison(
        path,
        design,
        found,
        contrasts(design, found, "test_accuracy", None),
        "test_accuracy",
        stopped,
        {**about, **changes},
    )


def networks(path: Path, seeds: int = 5, epochs: int = 30) -> Comparison:
    """Four networks, one of which cannot learn as much."""
    design = arms.networks(Settings(), list(ABILITY), pairs="all")
    found = {
        name: [outcome(path, name, seed, ability, epochs, 0.5 if name == "plain56" else 1.0) for seed in range(seeds)]
        for name, ability in ABILITY.items()
    }
    return told(design, found, path)


def factors(path: Path, seeds: int = 5) -> Comparison:
    """Two settings varied one at a time."""
    base = Settings(weight_decay=1e-4, dropout=0)
    vary = arms.factors(base, {"weight_decay": [0, 1e-4, 1e-2, 0.1], "dropout": [0, 0.3, 0.6]})
    design = arms.around(base, vary, {"weight_decay": 1e-4, "dropout": 0}, pairs="first")
    found = {
        arm.label: [
            outcome(path, arm.label, seed, 0.84 - 0.8 * arm.levels["weight_decay"] + 0.02 * arm.levels["dropout"], 20)
            for seed in range(seeds)
        ]
        for arm in design.arms
    }
    return told(design, found, path)


def grid(path: Path, seeds: int = 3) -> Comparison:
    """A grid of two settings; one run failed and one was stopped."""
    base = Settings(dropout=0.3, lr=0.01)
    vary = arms.factors(base, {"lr": [0.001, 0.01, 0.1], "dropout": [0, 0.3, 0.6]})
    design = arms.grid(base, vary, {"lr": 0.01, "dropout": 0.3}, pairs="first")
    found = {
        arm.label: [
            outcome(
                path, arm.label, s, 0.86 - 0.05 * abs(np.log10(arm.levels["lr"]) + 2) - 0.1 * arm.levels["dropout"], 12
            )
            for s in range(seeds)
        ]
        for arm in design.arms
    }
    labels = list(found)
    for label, status, why in (
        (labels[-1], "failed", "the loss became NaN in epoch 2"),
        (labels[2], "stopped", "interrupted"),
    ):
        one = found[label][1]
        found[label][1] = Outcome(one.seed, one.folder, status, why)
    return told(design, found, path, stopped="interrupted")


MADE = {"networks": networks, "factors": factors, "grid": grid}

if __name__ == "__main__":
    import sys

    from sightline.reports import compared

    for name, make in MADE.items():
        folder = Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        print(compared.write(folder, make(folder).as_dict()))
