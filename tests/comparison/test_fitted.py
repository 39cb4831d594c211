"""Training errors that decide are of all training images, not of the history's sample."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import sightline
from sightline.progress import Progress

QUIET = Progress(quiet=True)


def test_what_decides_is_the_error_of_the_last_weights_on_every_training_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 2600)
    pixels = np.clip(rng.normal(100 + 12 * labels[:, None, None], 60, (2600, 8, 8)), 0, 255).astype(np.uint8)
    small = {"epochs": 2, "instruments": "none", "lr": 0.01, "compile": "off", "device": "cpu", "precision": "fp32"}

    def ask(decides: str) -> sightline.comparison.compare.Comparison:
        return sightline.compare(
            (pixels, labels),
            "logistic",
            "mlp",
            seeds=1,
            decides=decides,
            test_fraction=0.05,
            valid_fraction=0.05,
            runs=tmp_path,
            name="fit",
            progress=QUIET,
            **small,
        )

    found = ask("train_error")
    for label in ("logistic", "mlp"):
        (one,) = found.outcomes[label]
        run = sightline.Run.load(one.folder.path)
        data = run.data((pixels, labels))
        assert len(data.split.train) > 2000
        network = run.network(run.folder.best)
        network.load_state_dict(load_file(run.folder.last))
        x = run.preprocessing.normalise(torch.from_numpy(data.pixels.array[data.split.train]))
        with torch.inference_mode():
            wrong = network(x).argmax(dim=1).numpy() != data.labels[data.split.train]
        assert one.scores["train_error"].value == wrong.mean()
    kept = found.path / "train_error.json"
    assert json.loads(kept.read_text()) == {
        f"{label}-seed0": found.outcomes[label][0].scores["train_error"].value for label in ("logistic", "mlp")
    }
    before = kept.stat().st_mtime_ns
    assert ask("train_error").outcomes["mlp"][0].scores["train_error"] is not None
    assert kept.stat().st_mtime_ns == before, "what was scored is not scored again"
    sampled = ask("valid_loss").outcomes["mlp"][0].scores["train_error"].value
    assert sampled != found.outcomes["mlp"][0].scores["train_error"].value
