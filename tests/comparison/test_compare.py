"""Controlled experiments on digits: real trainings, small ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import sightline
from sightline.comparison import arms
from sightline.errors import ModelError, RunError, SettingsError
from sightline.progress import Progress
from sightline.settings import Settings

QUIET = Progress(quiet=True)
SMALL = {"epochs": 2, "instruments": "none", "lr": 0.005, "compile": "off", "device": "cpu", "progress": QUIET}


def test_networks_are_compared_and_the_same_call_trains_nothing_again(tmp_path: Path) -> None:
    found = sightline.compare("digits", "mlp", "lenet5", seeds=2, runs=tmp_path, name="two", **SMALL)
    assert found.path == tmp_path / "compare" / "two"
    folders = sorted(path.name for path in (found.path / "runs").iterdir())
    assert folders == ["lenet5-seed0", "lenet5-seed1", "mlp-seed0", "mlp-seed1"]
    told = json.loads(found.json.read_text())
    assert [arm["label"] for arm in told["arms"]] == ["mlp", "lenet5"]
    assert all(run["status"] == "finished" for arm in told["arms"] for run in arm["runs"])
    difference = found.contrasts["test_accuracy"]["lenet5", "mlp"]
    assert (difference.seeds, difference.examples) == (2, 180)
    weights = {path: path.stat().st_mtime_ns for path in found.path.rglob("best.safetensors")}
    again = sightline.compare("digits", "mlp", "lenet5", seeds=2, runs=tmp_path, name="two", **SMALL)
    assert {path: path.stat().st_mtime_ns for path in found.path.rglob("best.safetensors")} == weights
    assert {**again.as_dict(), "made": ""} == {**found.as_dict(), "made": ""}
    assert "No difference" in found.report.read_text() or " is " in found.report.read_text()


def test_only_the_pairs_that_are_named_are_compared() -> None:
    names = ["mlp", "lenet5", "cnn"]
    design = arms.networks(Settings(), names, pairs=arms.parse_pairs("cnn:mlp, lenet5:mlp"))
    assert design.pairs == (("cnn", "mlp"), ("lenet5", "mlp"))
    assert design.reference == "mlp"
    assert arms.networks(Settings(), names, pairs="all").pairs == (("lenet5", "mlp"), ("cnn", "mlp"), ("cnn", "lenet5"))
    assert arms.parse_pairs("lr=1, dropout=0:base; lr=2:base") == [("lr=1, dropout=0", "base"), ("lr=2", "base")]


def test_arms_share_the_split_and_seeds_do_not_share_the_weights(tmp_path: Path) -> None:
    found = sightline.compare("digits", "mlp", seeds=2, vary={"dropout": [0.0, 0.3]}, runs=tmp_path, **SMALL)
    runs = sorted((found.path / "runs").iterdir())
    assert len({(run / "split.csv").read_bytes() for run in runs}) == 1
    assert len({(run / "last.safetensors").read_bytes() for run in runs}) == 4


def test_a_value_that_the_base_has_makes_no_arm_of_its_own(tmp_path: Path) -> None:
    vary = {"dropout": [0, 0.5], "option.width": [0.5, 1], "lr": [0.005, 0.01], "augment": ["none", "light"]}
    found = sightline.compare("digits", "mlp", seeds=1, vary=vary, runs=tmp_path, **{**SMALL, "epochs": 1})
    assert [arm.label for arm in found.design.arms] == ["base", "dropout=0.5", "width=0.5", "lr=0.01", "augment=none"]
    assert found.design.arms[0].levels == {"dropout": 0, "option.width": 1, "lr": 0.005, "augment": "light"}


def test_a_run_made_by_hand_is_taken_over(tmp_path: Path) -> None:
    runs = tmp_path / "compare" / "mine" / "runs"
    hand = sightline.train("digits", "mlp", runs=runs, name="mlp-seed0", **SMALL)
    before = (hand.path / "best.safetensors").stat().st_mtime_ns
    sightline.compare("digits", "mlp", "lenet5", seeds=1, runs=tmp_path, name="mine", **SMALL)
    assert (hand.path / "best.safetensors").stat().st_mtime_ns == before


def test_another_run_in_its_place_is_refused(tmp_path: Path) -> None:
    runs = tmp_path / "compare" / "mine" / "runs"
    sightline.train("digits", "mlp", runs=runs, name="mlp-seed0", **SMALL)
    with pytest.raises(RunError, match=r"lr is 0\.005, not 0\.01"):
        sightline.compare("digits", "mlp", "lenet5", runs=tmp_path, name="mine", **{**SMALL, "lr": 0.01})
    assert [path.name for path in runs.iterdir()] == ["mlp-seed0"]


@pytest.mark.parametrize(
    ("models", "how", "error", "says"),
    [
        (("mlp",), {}, SettingsError, "nothing to compare mlp to"),
        (("mlp", "mlp"), {}, SettingsError, "two arms would be called 'mlp'"),
        (("mlp", "lenet6"), {}, ModelError, "no network 'lenet6'. Did you mean 'lenet5'?"),
        ((), {"vary": {"weight_decya": [0, 1]}}, SettingsError, "Did you mean 'weight_decay'?"),
        ((), {"vary": {"dropout": [0.3]}}, SettingsError, "factor 'dropout' has one value, 0.3"),
        ((), {"vary": {"dropout": [0.3, 0.30]}}, SettingsError, "has the value 0.3 twice"),
        ((), {"vary": {"dropout": [0.3, 1.5]}}, SettingsError, "'dropout' should be less than 1"),
        ((), {"vary": {"model": ["mlp", "lenet6"]}}, ModelError, "Did you mean 'lenet5'?"),
        ((), {"vary": {"seed": [0, 1]}}, SettingsError, "--seeds"),
        ((), {"vary": {"test_fraction": [0.1, 0.2]}}, SettingsError, "scored on different images"),
        (("mlp",), {"vary": {"option.widht": [1, 2]}}, ModelError, "no option 'widht'. Did you mean 'width'?"),
        (("mlp", "lenet5"), {"vary": {"dropout": [0, 0.3]}}, SettingsError, "networks are named"),
        (("mlp",), {"vary": {"model": ["mlp", "lenet5"]}}, SettingsError, "is named (mlp) and varied"),
        (("mlp", "lenet5"), {"grid": True}, SettingsError, "a grid needs factors"),
        (("mlp", "lenet5"), {"seeds": 0}, SettingsError, "'seeds' is 0"),
        (("mlp", "lenet5"), {"jobs": 0}, SettingsError, "'jobs' is 0"),
        (("mlp", "lenet5"), {"matters": -1}, SettingsError, "'matters' is -1"),
        (("mlp", "lenet5"), {"split": "other"}, SettingsError, "'split' is 'other'"),
        (("mlp", "lenet5"), {"pairs": "most"}, SettingsError, "no pair of arms"),
        (("mlp", "lenet5"), {"pairs": [("mlp", "mlp")]}, SettingsError, "no pair of arms"),
        (
            ("mlp", "lenet5"),
            {"pairs": [("mlp", "lenet")]},
            SettingsError,
            "no arm 'lenet' to compare. Did you",
        ),
        (("mlp", "lenet5"), {"decides": "accuracy"}, SettingsError, "Did you mean 'test_accuracy'?"),
        (("mlp", "lenet5"), {"name": "../up"}, SettingsError, "'name'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(
    models: tuple[str, ...], how: dict[str, object], error: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        sightline.compare("digits", *models, runs=tmp_path, **{**SMALL, **how})  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_where_classes_are_skewed_balanced_accuracy_decides(tmp_path: Path) -> None:
    digits = load_digits()
    kept = np.flatnonzero((digits.target > 3) | (np.arange(len(digits.target)) % 8 == 0))  # 0 to 3 are rare
    pixels = np.rint(digits.images[kept] * (255 / 16)).astype(np.uint8)
    found = sightline.compare(
        (pixels, digits.target[kept]), "logistic", "mlp", seeds=1, runs=tmp_path, name="rare", **{**SMALL, "epochs": 1}
    )
    assert found.decides == "test_balanced_accuracy"
