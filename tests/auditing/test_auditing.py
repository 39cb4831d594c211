"""An audit ranks wrong labels first, scores no image by a network that saw it, and goes on where it was cut off."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import sightline
from sightline.auditing import outoffold
from sightline.auditing.audit import Audit, audit
from sightline.data.corrections import apply, read
from sightline.errors import RunError, SettingsError, TrainingError
from sightline.making import recipe
from sightline.making.assembly import train_stream
from sightline.making.prepared import prepare
from sightline.making.trained import Run
from sightline.progress import Progress
from sightline.settings import Settings

QUIET = Progress(quiet=True)
QUICK: dict[str, Any] = {"model": "mlp", "epochs": 8, "compile": "off", "progress": QUIET, "lr": 0.004}


def digits(wrong: int = 30, count: int = 400) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Give digits, their labels with some changed, and the rows that were changed."""
    x, y = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    rows = random.choice(count, wrong, replace=False)
    labels = y[:count].astype(np.int64)
    labels[rows] = (labels[rows] + random.integers(1, 10, wrong)) % 10
    return (x[:count].reshape(-1, 8, 8) * 15.9).astype(np.uint8), labels, rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Audit, NDArray[np.int64]]:
    x, y, wrong = digits()
    return audit((x, y), folds=3, runs=tmp_path_factory.mktemp("runs"), name="digits", **QUICK), wrong


def test_wrong_labels_come_first(made: tuple[Audit, NDArray[np.int64]]) -> None:
    found, wrong = made
    listed = found.suspects()
    rows = np.array([int(one["file"].removeprefix("row ")) for one in listed])
    score = np.array([float(one["score"]) for one in listed])
    assert sorted(rows.tolist()) == list(range(400))
    assert (np.diff(score) <= 0).all()
    assert roc_auc_score(np.isin(rows, wrong), score) > 0.95
    assert found.noise.low is not None
    assert found.noise.high is not None
    assert found.noise.low <= 30 / 400 <= found.noise.high
    assert found.told["verdict"] == "wrong labels"
    assert {one["action"] for one in listed} == {"keep"}


def test_every_image_is_scored_by_a_network_that_never_saw_it(made: tuple[Audit, NDArray[np.int64]]) -> None:
    found, _ = made
    held: list[str] = []
    for path in sorted((found.path / "folds").iterdir()):
        with Run.load(path).folder.split.open() as file:
            rows = list(csv.DictReader(file))
        assert {row["split"] for row in rows} == {"train", "valid"}
        held += [row["file"] for row in rows if row["split"] == "valid"]
    assert len(held) == len(set(held)) == 400


def test_no_batch_holds_an_image_of_the_fold(tmp_path: Path) -> None:
    x, y, _ = digits(count=60, wrong=0)
    given = Settings(model="mlp", epochs=1, augment="none")
    data = prepare(sightline.load((x, y)), given, QUIET)
    assert len(train_stream(data, given, torch.device("cpu")).rows)  # what was worked out for the whole is not used
    for fold in outoffold.deal(data, 3, [0, 1], tmp_path):
        part = outoffold.without(fold, data, given)
        assert sorted(train_stream(part, given, torch.device("cpu")).rows) == fold.learnt.tolist()
        assert set(fold.held) & set(fold.learnt) == set()
        assert len(fold.held) + len(fold.learnt) == 60


def test_the_page_says_it_and_asks_for_nothing(made: tuple[Audit, NDArray[np.int64]]) -> None:
    found, _ = made
    page = found.report.read_text()
    assert f"<h1>{found.headline}</h1>" in page
    assert "corrections=" in page
    assert "<script" not in page
    assert "data:image/png" in page
    told = json.loads(found.json.read_text())
    joint = np.array(told["confident_learning"]["joint"])
    assert joint.sum() == pytest.approx(1)
    assert np.array(told["counts"]).sum() == 400


def test_a_finished_audit_prefills_and_an_edited_list_stays(tmp_path: Path) -> None:
    x, y, _ = digits(count=120, wrong=10)
    settings = {**QUICK, "epochs": 2, "runs": tmp_path, "name": "small"}
    first = audit((x, y), folds=2, **settings)
    runs = {path: (path / "best.safetensors").stat().st_mtime_ns for path in (first.path / "folds").iterdir()}
    again = audit((x, y), folds=2, drop="10%", **settings)
    assert [one["action"] for one in again.suspects()] == ["drop"] * 12 + ["keep"] * 108
    assert {path: (path / "best.safetensors").stat().st_mtime_ns for path in runs} == runs
    images = sightline.load((x, y))
    assert len(apply(images, read(again.labels)).dropped) == 12
    again.labels.write_text(again.labels.read_text().replace("drop", "keep", 3))
    edited = again.labels.read_bytes()
    assert audit((x, y), folds=2, **settings).labels.read_bytes() == edited
    with pytest.raises(RunError, match="audit with other folds"):
        audit((x, y), folds=3, **settings)
    with pytest.raises(RunError, match="audit with other images or labels"):
        audit((x, 9 - y), folds=2, **settings)


def test_a_cut_off_audit_ends_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _ = digits(count=120, wrong=10)
    settings = {**QUICK, "epochs": 3}
    whole = audit((x, y), folds=3, runs=tmp_path / "whole", name="a", **settings)
    make, made = recipe.make, 0

    def stumble(*args: Any, **kwargs: Any) -> Run:
        nonlocal made
        made += 1
        if made == 2:
            raise TrainingError("cut off", "as a test")
        return make(*args, **kwargs)

    monkeypatch.setattr(recipe, "make", stumble)
    with pytest.raises(TrainingError):
        audit((x, y), folds=3, runs=tmp_path / "cut", name="a", **settings)
    with pytest.raises(RunError, match="not finished"):
        Audit.load(tmp_path / "cut" / "audit" / "a")
    rest = audit((x, y), folds=3, runs=tmp_path / "cut", name="a", **settings)
    assert made == 4  # one, the fault, and the two that were left
    assert rest.labels.read_bytes() == whole.labels.read_bytes()


def test_a_given_test_part_is_scored_by_all_and_never_learnt(draw_folder: Callable[..., Path], tmp_path: Path) -> None:
    for part, count in (("train", 12), ("test", 4)):
        draw_folder(tmp_path / "photos" / part, per_class=count, seed=count)
    found = audit(tmp_path / "photos", folds=2, drop=0.4, image_size=16, runs=tmp_path, **QUICK)
    listed = found.suspects()
    assert sum(one["part"] == "test" for one in listed) == 12
    assert {one["action"] for one in listed if one["part"] == "test"} == {"keep"}
    assert sum(one["action"] == "drop" for one in listed) == round(0.4 * 36)
    for path in (found.path / "folds").iterdir():
        with Run.load(path).folder.split.open() as file:
            assert all(row["split"] == "" for row in csv.DictReader(file) if row["file"].startswith("test"))
    assert any("test part are scored by all networks" in note for note in found.told["notes"])


def test_contradicting_copies_are_doubted_and_corrections_are_kept(tmp_path: Path) -> None:
    x, y, _ = digits(count=120, wrong=0)
    x[1] = x[0]  # one picture, called 0 and 1
    first = audit((x, y), folds=2, runs=tmp_path, name="first", **{**QUICK, "epochs": 4})
    twins = {one["file"]: one for one in first.suspects() if one["file"] in ("row 0", "row 1")}
    assert all("the same picture is labelled" in one["why"] for one in twins.values())
    assert sum(float(one["score"]) for one in twins.values()) >= 0.99
    path = tmp_path / "list.csv"
    path.write_text("file,label,suggested,action\nrow 1,1,0,relabel\nrow 5,5,,drop\n")
    second = audit((x, y), folds=2, runs=tmp_path, name="second", corrections=path, **{**QUICK, "epochs": 2})
    lines = {one["file"]: one for one in second.suspects()}
    assert (lines["row 1"]["label"], lines["row 1"]["suggested"], lines["row 1"]["action"]) == ("1", "0", "relabel")
    assert lines["row 5"]["action"] == "drop"
    assert (apply(sightline.load((x, y)), read(second.labels)).images.labels[1]) == 0


def test_losses_that_are_no_likelihoods_are_not_believed(tmp_path: Path) -> None:
    x, y, _ = digits(count=120, wrong=0)
    given = Settings(model="mlp", epochs=4, label_smoothing=0.3, compile="off", runs=tmp_path)
    data = prepare(sightline.load((x, y)), given, QUIET)
    planned = outoffold.deal(data, 2, [0], tmp_path / "folds")
    assert outoffold.train(planned, data, given, (x, y), QUIET)
    scored, _ = outoffold.collect(planned, data, QUIET)
    run = Run.load(planned[0].folder.path)
    plain = run.serve(run.model).probabilities(run.predictor.logits(data.pixels.array, planned[0].held))
    assert np.allclose(scored.probabilities.sum(axis=1), 1)
    own = scored.probabilities[np.searchsorted(scored.rows, planned[0].held)]
    assert (own.argmax(axis=1) == plain.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"folds": 1}, "into 1 folds"),
        ({"folds": 500}, "into 500 folds"),
        ({"repeats": 0}, "'repeats' is 0"),
        ({"drop": "60%"}, "'drop' is 60%"),
        ({"drop": "some"}, "'drop' is some"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(wish: dict[str, Any], said: str, tmp_path: Path) -> None:
    x, y, _ = digits(count=60)
    with pytest.raises(SettingsError, match=said):
        audit((x, y), runs=tmp_path / "runs", **{**QUICK, **wish})
    assert not (tmp_path / "runs").exists()
