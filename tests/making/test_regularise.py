"""Regularisation by settings: what is set reaches the training, is written down, and can be used afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import nn

import sightline
from sightline.data.preprocess import Preprocessing
from sightline.errors import ModelError, SettingsError
from sightline.making.trained import network_of
from sightline.progress import Progress
from sightline.settings import Settings
from sightline.training.constraints import units

QUIET = Progress(quiet=True)
SMALL = {
    "model": "resnet20", "options": {"width": 0.25, "depth": 0.3}, "batch_size": 32, "precision": "fp32",
    "augment": "none",
}  # fmt: skip


@pytest.fixture(scope="module")
def arrays() -> tuple[NDArray[Any], NDArray[Any]]:
    data = load_digits()
    return data.images[:300].astype(np.uint8) * 15, data.target[:300]


@pytest.fixture(scope="module")
def cyclic(arrays: Any, tmp_path_factory: pytest.TempPathFactory) -> sightline.Run:
    """Two cycles of two epochs, with whatever does not exclude that."""
    return sightline.train(
        arrays, **SMALL, epochs=4, schedule="cyclic", cycles=2, optimizer="sgd", decoupled=True, penalty="l1=1e-3",
        max_norm=1.5, trim=0.1, trim_from=0.25, label_smoothing=0.1, dropout=0.2, ema=0.9,
        runs=tmp_path_factory.mktemp("runs"), name="cyclic", progress=QUIET,
    )  # fmt: skip


def test_what_is_set_is_in_force(cyclic: sightline.Run) -> None:
    rates = cyclic.history.column("lr")
    assert rates[2] > rates[1] < rates[0], "the second cycle begins at the peak"
    assert all(value > 0 for value in cyclic.history.column("penalty"))
    snapshot = cyclic.network(cyclic.snapshots()[0][1])
    for weight, axis in units(snapshot):
        assert weight.detach().movedim(axis, 0).flatten(1).norm(dim=1).max() <= 1.5 * (1 + 1e-4)
    assert cyclic.settings.weight_decay == 5e-3
    state = cyclic.folder.read_state()
    assert state["weights"]["count"] == sum(p.numel() for p in cyclic.model.parameters() if p.ndim > 1)


def test_snapshots_are_kept_and_can_vote(cyclic: sightline.Run) -> None:
    kept = cyclic.snapshots()
    assert [name for name, _ in kept] == ["cycle 1", "cycle 2"]
    one, two = (load_file(path) for _, path in kept)
    assert one.keys() == two.keys() == load_file(cyclic.folder.best).keys()
    assert not torch.equal(one["conv1.weight"], two["conv1.weight"])
    voted = sightline.Ensemble([f"{cyclic.path}:snapshots"])
    assert len(voted.members) == 2


def test_the_report_says_what_kept_it_simple(cyclic: sightline.Run) -> None:
    page = (cyclic.path / "report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    for words in (
        "What kept it simple", "l1=1e-3, on weights: ", "beside a loss of", "0.005, apart from the gradient",
        "longer than 1.5 together", "20 % of units before the last layer", "10 % of each target is spread",
        "the hardest 10 % of each batch got no gradient after the first 25 % of the training",
        "moving, with a decay of 0.9 a step", "the ends of 2 cycles", "32 of 240 images a step: a noise scale of",
        "within a hundredth of the largest of their layer", "Penalty on weights",
    ):  # fmt: skip
        assert words in page, words
    assert (cyclic.path / "figures" / "penalty.svg").is_file()


def test_cycles_are_chosen_if_none_are_named(arrays: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = sightline.train(arrays, **SMALL, epochs=3, schedule="cyclic", swa=0.5, runs=tmp_path)
    assert run.settings.cycles == 3
    assert "cycles = 3 (usual for snapshots" in capsys.readouterr().err
    assert len(run.snapshots()) == 3
    last = load_file(run.folder.last)
    both = [load_file(path) for _, path in run.snapshots()[1:]]
    assert not torch.equal(last["conv1.weight"], both[0]["conv1.weight"])


def test_the_rate_is_held_where_weights_are_averaged(arrays: Any, tmp_path: Path) -> None:
    run = sightline.train(arrays, **SMALL, epochs=6, swa=0.5, runs=tmp_path, progress=QUIET)
    rates = run.history.column("lr")
    assert rates[3] == rates[4] == rates[5] > 1e-4
    assert run.snapshots() == []
    assert not (run.path / "snapshots").exists()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"schedule": "cyclic", "cycles": 9, "epochs": 4}, SettingsError, "9 cycles do not fit into 4 epochs"),
        ({"penalty": "elastics=1"}, SettingsError, "unknown penalty 'elastics'. Did you mean 'elastic'"),
        ({"penalty": "l1=-1"}, SettingsError, "'l1' has the strength -1"),
        ({"penalty": "l1", "penalty_on": "heads.*"}, SettingsError, "'penalty_on' is 'heads"),
        ({"trim": 0.01}, SettingsError, "'trim' is 0.01, which is not one image of a batch of 32"),
        ({"options": {"spatial_dropout": 1.5}}, ModelError, "spatial_dropout must be a number from 0 to below 1"),
        ({"model": "mlp", "options": {"spatial_dropout": 0.1}}, ModelError, "'mlp' has no option 'spatial_dropout'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    arrays: Any, tmp_path: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sightline.train(arrays, **{**SMALL, "epochs": 2, **changes}, runs=tmp_path / "runs", progress=QUIET)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("dropout", "shares"), [(None, {0.5}), (0.0, set()), (0.2, {0.2})])
def test_a_networks_own_dropout_can_be_switched_off(dropout: float | None, shares: set[float]) -> None:
    settings = Settings(model="vgg11", dropout=dropout, options={"width": 0.1, "hidden": 16})
    network = network_of(settings, Preprocessing("image", 1, (32, 32)), 3)
    assert {part.p for part in network.modules() if isinstance(part, nn.Dropout)} == shares


def test_the_estimator_takes_them_too(arrays: Any) -> None:
    x, y = arrays
    model = sightline.ImageClassifier(
        "mlp", epochs=2, batch_size=32, penalty="l1=1e-3", max_norm=0.5, trim=0.1, swa=0.5, augment="none"
    )
    model.fit(x, y)
    assert model.history_[-1]["penalty"] > 0
    for weight, _ in units(model.network_):
        assert weight.norm(dim=1).max() <= 0.5 * (1 + 1e-4)
