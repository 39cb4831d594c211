"""Trackers are refused early, guarded later, and count and name as mltrainer does."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import MissingExtraError, SettingsError
from sightline.run import RunFolder
from sightline.settings import ReportTypes, Settings, TrainerSettings
from sightline.tracking import tracker as room
from sightline.tracking.tracker import TRACKERS, Context, Guarded, flat, make, metrics_of, plain, report_types, scalars

ROW = {"epoch": 1, "step": 40, "train_loss": 0.5, "valid_loss": 0.6, "probe_loss": 0.4, "lr": 1e-3,
       "valid_Accuracy": 0.8, "probe_Accuracy": 0.9, "valid_F1(macro)": 0.7, "grad_norm": 2.0}  # fmt: skip


class Memory:
    """A tracker that remembers, and fails in the methods named."""

    def __init__(self, *failing: str, error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.failing = failing
        self.error = error or OSError("no route to host")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise self.error

    def start(self, context: Context) -> None:
        self._call("start")

    def row(self, row: Mapping[str, float]) -> None:
        self._call("row")

    def artifact(self, path: Path) -> None:
        self._call("artifact")

    def close(self) -> None:
        self._call("close")


def context(folder: Path, **changes: Any) -> Context:
    mine = TrainerSettings(epochs=3, metrics=[], logdir=folder)
    return Context(**{"folder": folder, "settings": mine, "model": torch.nn.Linear(4, 2), **changes})


def train(tracker: Guarded, folder: Path, rows: int = 3) -> None:
    tracker.start(context(folder))
    try:
        for _ in range(rows):
            tracker.row(ROW)
        tracker.artifact(folder)
    finally:
        tracker.close()


def test_every_report_type_has_a_back_end_with_an_extra_that_exists() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    import tomllib

    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert set(TRACKERS) == set(ReportTypes)
    for kind, entry in TRACKERS.items():
        assert entry.description
        assert entry.extra is None or entry.extra in extras
        source = Path(room.__file__).with_name(entry.module.rpartition(".")[2] + ".py")
        classes = {node.name for node in ast.parse(source.read_text()).body if isinstance(node, ast.ClassDef)}
        assert entry.name in classes, kind


def test_the_list_of_back_ends_imports_none_of_them() -> None:
    code = (
        "import sys, sightline.tracking.tracker;"
        "assert not {'torch', 'tensorboard', 'mlflow', 'ray', 'gin'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_become_report_types() -> None:
    assert report_types(["tensorboard", "MLflow"]) == [ReportTypes.TENSORBOARD, ReportTypes.MLFLOW]
    with pytest.raises(SettingsError, match=r"unknown tracker 'tensorbord'\. Did you mean 'tensorboard'"):
        report_types(["tensorbord"])


@pytest.mark.parametrize("kind", [kind for kind, entry in TRACKERS.items() if entry.extra])
def test_a_missing_package_is_one_error_that_names_the_extra(
    kind: ReportTypes, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"GIN": "gin", "TENSORBOARD": "tensorboard", "MLFLOW": "mlflow", "RAY": "ray"}[kind.value]
    for name in [
        name for name in sys.modules if name.split(".")[0] == package or name.endswith("torch.utils.tensorboard")
    ]:
        monkeypatch.delitem(sys.modules, name)

    class Absent:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name.split(".")[0] == package:
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(MissingExtraError, match=rf"pip install 'sightline\[{TRACKERS[kind].extra}\]'"):
        make([kind])


def test_a_fault_of_our_own_is_not_called_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = TRACKERS[ReportTypes.GIN]._replace(module="sightline.tracking.gone")
    monkeypatch.setitem(TRACKERS, ReportTypes.GIN, entry)
    with pytest.raises(ModuleNotFoundError, match="gone"):
        make([ReportTypes.GIN])


def test_a_type_named_twice_counts_once() -> None:
    assert len(make([ReportTypes.TOML, ReportTypes.TENSORBOARD, ReportTypes.TOML])) == 2
    assert make([]) == []


def test_a_sound_back_end_hears_everything(tmp_path: Path) -> None:
    memory = Memory()
    train(Guarded(memory, "X"), tmp_path)
    assert memory.calls == ["start", "row", "row", "row", "artifact", "close"]


@pytest.mark.parametrize(
    ("failing", "heard"),
    [("start", ["start", "close"]), ("row", ["start", "row", "close"]),
     ("artifact", ["start", "row", "row", "row", "artifact", "close"]),
     ("close", ["start", "row", "row", "row", "artifact", "close"])],
)  # fmt: skip
def test_a_failing_back_end_warns_once_and_ends_nothing(failing: str, heard: list[str], tmp_path: Path) -> None:
    memory = Memory(failing, "close")
    with pytest.warns(RuntimeWarning, match="X failed .* OSError: no route to host") as caught:
        train(Guarded(memory, "X"), tmp_path)
    assert len(caught) == 1
    assert memory.calls == heard


def test_a_back_end_that_failed_gets_a_new_chance_in_the_next_loop(tmp_path: Path) -> None:
    memory = Memory("row")
    guarded = Guarded(memory, "X")
    with pytest.warns(RuntimeWarning, match="X failed"):
        train(guarded, tmp_path)
    memory.failing = ()
    train(guarded, tmp_path, rows=1)
    assert memory.calls[-4:] == ["start", "row", "artifact", "close"]


def test_a_fault_of_the_user_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="wrong place"):
        train(Guarded(Memory("start", error=SettingsError("wrong place", "Move.")), "X"), tmp_path)


def test_ctrl_c_goes_through(tmp_path: Path) -> None:
    class Interrupted(Memory):
        def row(self, row: Mapping[str, float]) -> None:
            raise KeyboardInterrupt

    memory = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        train(Guarded(memory, "X"), tmp_path)
    assert memory.calls == ["start", "close"]


def test_closing_what_was_never_started_is_harmless() -> None:
    for tracker in make(ReportTypes):
        tracker.close()
        tracker.close()


def test_numbers_go_under_the_tags_of_mltrainer() -> None:
    assert scalars(ROW) == {
        "Loss/train": 0.5, "Loss/test": 0.6, "Loss/probe": 0.4, "learning_rate": 1e-3, "metric/Accuracy": 0.8,
        "probe/Accuracy": 0.9, "metric/F1(macro)": 0.7, "grad_norm": 2.0,
    }  # fmt: skip
    assert metrics_of(ROW) == {"Accuracy": 0.8, "F1(macro)": 0.7}
    assert room.step(ROW) == 0


def test_the_settings_of_a_run_are_the_runs_own(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "one")
    assert isinstance(context(run.path).knobs, TrainerSettings)  # not written yet
    run.settings.write_text('[settings]\nmodel = "mlp"\nlr = 0.5\n[given]\n')
    assert context(run.path).knobs == Settings(model="mlp", lr=0.5)


class Colour(Enum):
    RED = "red"


class Scorer:
    def __str__(self) -> str:
        return "Scorer(3)"


def test_settings_become_plain_values() -> None:
    values = {"a": Path("x") / "y", "b": Colour.RED, "c": (1, 2), "d": torch.optim.Adam, "e": Scorer(), "f": None,
              "g": {"h": np.float64(0.5)}, "i": len, "j": True, 7: train}  # fmt: skip
    assert plain(values) == {
        "a": str(Path("x") / "y"), "b": "red", "c": (1, 2), "d": "Adam", "e": "Scorer(3)", "f": None,
        "g": {"h": 0.5}, "i": str(len), "j": True, "7": "train",
    }  # fmt: skip
    assert flat(plain(values))["g.h"] == 0.5
    assert "f" not in flat(plain(values))
    assert flat(plain(values))["c"] == "1, 2"


leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3) | st.just(Path("a"))
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25)
@given(st.dictionaries(st.text(min_size=1, max_size=3), trees, max_size=4))
def test_any_settings_become_plain_and_flat(values: dict[str, Any]) -> None:
    made = plain(values)
    assert plain(made) == made
    assert all(type(value) in (str, bool, int, float) for value in flat(made).values())
