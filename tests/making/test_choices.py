"""What a training leaves open and only trying can tell: which network gets enough passes in the time there is."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sightline
from sightline.data import arrays
from sightline.errors import ModelError, SettingsError
from sightline.making import choices, plan
from sightline.making.prepared import Prepared, prepare
from sightline.models import arithmetic, zoo
from sightline.progress import Progress
from sightline.settings import Settings
from sightline.training.precision import Precision
from sightline.training.trainer import Trainer

QUIET = Progress(quiet=True)
CPU = torch.device("cpu")
RATE = 1e9
"""Multiplications a second of the machine that these tests make up, for a batch of one."""


class Told(Progress):
    """Keeps what is told."""

    def __init__(self, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def made_up_machine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine on which every multiplication takes the same time; gives the networks that were tried on it."""
    tried: list[str] = []

    def pace(network: Any, stream: Any, data: Any, settings: Settings, precision: Any) -> tuple[float, float]:
        tried.append(f"{settings.model}/{settings.options.get('width', 1)}")
        return arithmetic.multiply_adds(arithmetic.table(network.plan)) * stream.batch_size / RATE, 0.0

    monkeypatch.setattr(choices, "pace", pace)
    return tried


def prepared(side: int, **changes: Any) -> tuple[Prepared, Settings]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, side, side), dtype=np.uint8)
    given = Settings(model="auto", augment="none", normalise="none", **changes)
    images = arrays.assemble([arrays.from_pair(x, np.arange(60) % 3)], name="drawn", layout="arrays")
    data = prepare(images, given, QUIET)
    made = plan.make(given, counts=data.counts, kind="image", size=data.preprocessing.size, size_reason="")
    return data, made.settings


def chosen(side: int, **changes: Any) -> choices.Chosen:
    data, settings = prepared(side, **changes)
    return choices.choose(settings, data, CPU, Precision.choose("fp32", CPU)[0])


@pytest.mark.parametrize(("side", "between"), [(8, 0.5), (72, 5.0)])
def test_more_minutes_take_larger_networks_each_with_enough_images(
    side: int, between: float, made_up_machine: list[str]
) -> None:
    sizes = []
    for minutes in (0.01, between, 10_000.0):
        found = chosen(side, minutes=minutes)
        channels = (1, side, side)
        network = zoo.plan_for(found.candidate.model, channels, num_classes=3, **found.candidate.options)
        work = arithmetic.multiply_adds(arithmetic.table(network))
        sizes.append(work)
        smallest = min(choices.CANDIDATES["large" if side > choices.SMALL else "small"], key=lambda one: one.needs)
        needs = min(found.candidate.needs, choices.AMPLE * 48)
        assert found.candidate == smallest or minutes * 60 * RATE / work >= needs
        assert found.candidate.title in found.reason
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3
    assert {name.split("/")[0] for name in made_up_machine} == ({"resnet18"} if side == 72 else {"fastnet", "resnet18"})


def test_what_cannot_be_fast_enough_is_not_tried(made_up_machine: list[str]) -> None:
    chosen(8, minutes=0.001)
    assert made_up_machine == ["fastnet/0.25"]


def test_without_minutes_all_epochs_have_to_fit_into_a_patient_wait(made_up_machine: list[str]) -> None:
    few, many = chosen(8, epochs=1), chosen(8, epochs=100_000)
    assert few.candidate == choices.CANDIDATES["small"][-1]
    assert many.candidate == choices.CANDIDATES["small"][0]


def test_a_run_holds_what_was_chosen_and_what_was_asked(tmp_path: Path) -> None:
    run = sightline.train("digits", "auto", minutes=0.002, runs=tmp_path, name="a", progress=QUIET, probes=False)
    assert run.settings.model in zoo.ZOO
    stored = tomllib.loads(run.folder.settings.read_text())
    assert stored["given"]["model"] == "auto"
    assert stored["settings"]["model"] == run.settings.model
    assert run.settings.model in run.folder.read_json(run.folder.data)["reasons"]["model"]
    settled = run.settings.model_copy(update={"name": "b", "minutes": None})  # with minutes speed is measured again
    again = sightline.train("digits", settings=settled, progress=QUIET)
    changed = {"name", "minutes"}  # the clock may have cut off the first, so weights need not be the same
    assert again.settings.model_dump(exclude=changed) == run.settings.model_dump(exclude=changed)


def test_a_chosen_network_is_kept_where_the_training_is_cut_off_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.CANDIDATES, "small", choices.CANDIDATES["small"][:1])
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (60, 8, 8), dtype=np.uint8), np.arange(60) % 3
    given = Settings(model="auto", epochs=2, runs=tmp_path, probes=False, compile="off")
    whole = sightline.train(source, settings=given.model_copy(update={"name": "whole"}), progress=QUIET)
    trainbatches = Trainer.trainbatches

    def cut(trainer: Trainer) -> float:
        if trainer.last_epoch == 1:
            raise KeyboardInterrupt
        return trainbatches(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "trainbatches", cut)
        with pytest.raises(KeyboardInterrupt):
            sightline.train(source, settings=given.model_copy(update={"name": "cut"}), progress=QUIET)
    monkeypatch.delattr(choices, "choose")  # the choice hangs on a clock: nobody may ask again
    resumed = sightline.resume(tmp_path / "cut", source=source, progress=QUIET)
    assert resumed.settings.model == "fastnet"
    assert resumed.folder.best.read_bytes() == whole.folder.best.read_bytes()
    assert [row["valid_loss"] for row in resumed.history] == [row["valid_loss"] for row in whole.history]


def test_a_network_too_large_for_the_time_is_told(made_up_machine: list[str]) -> None:
    data, settings = prepared(8, minutes=0.01)
    told = Told(quiet=True)
    choices.resolve(settings.model_copy(update={"model": "resnet18"}), data, CPU, told)
    assert any("--model auto" in line for line in told.lines)
    told.lines.clear()
    choices.resolve(settings.model_copy(update={"model": "resnet18", "minutes": 100.0}), data, CPU, told)
    assert not any("--model auto" in line for line in told.lines)


def test_a_network_to_choose_is_refused_where_one_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'model' is auto, but 'options' is set"):
        Settings(model="auto", options={"width": 0.5})
    with pytest.raises(SettingsError, match="'model' is auto, but 'weights' is set"):
        Settings(model="auto", weights="imagenet")
    with pytest.raises(ModelError, match="'auto' is chosen when a training begins"):
        sightline.compare("digits", "auto", "mlp", runs=tmp_path, progress=QUIET)
    with pytest.raises(ModelError, match="'auto' is chosen when a training begins"):
        sightline.build("auto", in_channels=1, num_classes=2, image_size=8)
    assert not list(tmp_path.iterdir())
