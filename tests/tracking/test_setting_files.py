"""What TOML and gin files say is read back with the libraries whose formats they are."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gin
import pytest
import torch

from sightline import metrics
from sightline.run import RunFolder
from sightline.settings import ReportTypes, TrainerSettings
from sightline.tracking.gin import bindings
from sightline.tracking.toml import model_text
from sightline.tracking.tracker import Context, make


@dataclass
class Config:
    hidden: int = 3
    shape: tuple[int, int] = (8, 8)
    nothing: None = None


class Net(torch.nn.Sequential):
    def __init__(self, config: Any = None) -> None:
        super().__init__(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        self.config = config


@pytest.fixture
def clean_gin() -> Iterator[None]:
    with gin.unlock_config():
        gin.clear_config()
    yield
    with gin.unlock_config():
        gin.clear_config()


def settings(folder: Path, **changes: Any) -> TrainerSettings:
    values = {
        "epochs": 3, "metrics": [metrics.Accuracy(), metrics.MAE()], "logdir": folder, "train_steps": None,
        "reporttypes": [ReportTypes.TOML, ReportTypes.GIN], "optimizer_kwargs": {"lr": 3e-4, "betas": (0.9, 0.95)},
        "earlystop_kwargs": None,
    }  # fmt: skip
    return TrainerSettings(**{**values, **changes})


def write(kind: ReportTypes, context: Context) -> None:
    (tracker,) = make([kind])
    tracker.start(context)
    tracker.row({"epoch": 1, "train_loss": 0.5, "valid_loss": 0.5, "lr": 0.1})
    tracker.artifact(context.folder)
    tracker.close()


def test_toml_holds_the_settings(tmp_path: Path) -> None:
    write(ReportTypes.TOML, Context(tmp_path, settings(tmp_path), Net()))
    assert tomllib.loads((tmp_path / "settings.toml").read_text()) == {
        "epochs": 3, "metrics": ["Accuracy", "MAE"], "logdir": str(tmp_path), "reporttypes": ["TOML", "GIN"],
        "optimizer_kwargs": {"lr": 3e-4, "betas": [0.9, 0.95]}, "scheduler_kwargs": {"factor": 0.1, "patience": 10},
    }  # fmt: skip


def test_toml_holds_the_network(tmp_path: Path) -> None:
    net = Net(Config())
    net[0].bias.requires_grad_(False)
    write(ReportTypes.TOML, Context(tmp_path, settings(tmp_path), net))
    read = tomllib.loads((tmp_path / "model.toml").read_text())
    assert read["class"] == "Net"
    assert read["parameters"] == 4 * 3 + 3 + 3 * 2 + 2
    assert read["trained_parameters"] == read["parameters"] - 3
    assert read["structure"] == f"{net}\n"
    assert read["config"] == {"hidden": 3, "shape": [8, 8]}


@pytest.mark.parametrize("config", [None, "text", Config, 7])
def test_a_network_without_a_config_has_none(config: Any) -> None:
    assert "config" not in tomllib.loads(model_text(Net(config)))


def test_a_network_of_lazy_layers_can_be_written() -> None:
    read = tomllib.loads(model_text(torch.nn.Sequential(torch.nn.LazyLinear(4), torch.nn.Linear(4, 2))))
    assert read["parameters"] == 4 * 2 + 2


def test_settings_of_a_second_loop_replace_the_first(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    write(ReportTypes.TOML, Context(tmp_path, mine, Net()))
    mine.epochs = 7
    write(ReportTypes.TOML, Context(tmp_path, mine, Net(), epochs_done=3))
    assert tomllib.loads((tmp_path / "settings.toml").read_text())["epochs"] == 7


def test_a_runs_own_settings_are_left_alone(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "one")
    run.settings.write_text('[settings]\nmodel = "mlp"\n')
    write(ReportTypes.TOML, Context(run.path, settings(tmp_path), Net()))
    assert run.settings.read_text() == '[settings]\nmodel = "mlp"\n'
    assert (run.path / "model.toml").is_file()


def test_gin_reads_the_settings_back(tmp_path: Path, clean_gin: None) -> None:
    mine = settings(tmp_path, earlystop_kwargs={"patience": 2, "save": True})
    write(ReportTypes.GIN, Context(tmp_path, mine, Net()))
    gin.parse_config_file(str(tmp_path / "settings.gin"))
    read = gin.get_configurable(TrainerSettings)()
    assert str(read.metrics) == str(mine.metrics)
    assert read.model_copy(update={"metrics": []}) == mine.model_copy(update={"metrics": []})


def test_gin_reads_the_settings_in_a_new_program(tmp_path: Path) -> None:
    write(ReportTypes.GIN, Context(tmp_path, settings(tmp_path, metrics=[]), Net()))
    code = (
        f"import gin; gin.parse_config_file({str(tmp_path / 'settings.gin')!r})\n"
        "from sightline import TrainerSettings\nassert gin.get_configurable(TrainerSettings)().epochs == 3"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_gin_says_what_it_cannot_hold(tmp_path: Path, clean_gin: None) -> None:
    class Mine(metrics.Accuracy):
        pass

    text = bindings(settings(tmp_path, metrics=[metrics.F1Score(average="macro"), Mine()]))
    assert "# settings.TrainerSettings.metrics = ['F1(macro)', 'Accuracy']" in text
    gin.parse_config(text)
    assert gin.query_parameter("TrainerSettings.epochs") == 3
    assert gin.get_configurable(TrainerSettings)(metrics=[]).epochs == 3


def test_gin_of_a_run_holds_the_runs_own_settings(tmp_path: Path, clean_gin: None) -> None:
    run = RunFolder.create(tmp_path, "one")
    run.settings.write_text('[settings]\nmodel = "mlp"\nimage_size = [8, 16]\n')
    write(ReportTypes.GIN, Context(run.path, settings(tmp_path), Net()))
    gin.parse_config_file(str(run.path / "settings.gin"))
    assert gin.query_parameter("Settings.model") == "mlp"


def test_a_program_that_uses_gin_itself_keeps_its_bindings(tmp_path: Path, clean_gin: None) -> None:
    gin.parse_config("units = 128")
    write(ReportTypes.GIN, Context(tmp_path, settings(tmp_path), Net()))
    assert "units = 128" in (tmp_path / "saved_config.gin").read_text()
