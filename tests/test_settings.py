"""Settings: declared once with words; a fault tells the setting, its value and what would work."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import SettingsError
from sightline.settings import ReportTypes, Settings, TrainerSettings, read_toml

FIELDS = sorted(Settings.model_fields)

# For each setting: values that cannot be meant.
FAULTS: dict[str, list[Any]] = {
    "image_size": [0, -1, 9000, "abc", "32x", "32x32x32", (1, 2, 3), (0, 32), 1.5, True, [], {}],
    "resize": ["stretch", "", 3, None],
    "normalise": ["batch", "", 3, None],
    "corrections": [3, []],
    "valid_fraction": [0, -0.1, 0.9, 1, "half", math.nan, None],
    "test_fraction": [-0.1, 0.9, "half", math.nan, None],
    "split_seed": [-1, 2**31, 0.5],
    "strict": ["maybe", 3, None],
    "data_dir": [3, []],
    "balance": [3],
    "balance_valid": ["maybe", 3, None],
    "download": ["perhaps", 2, None],
    "model": [3, None],
    "options": ["depth=3", 3, None],
    "dropout": [-0.1, 1, math.nan, "a lot"],
    "weights": [3, []],
    "freeze": ["all", "", "until:", "until layer2", 3, None],
    "thaw_epoch": [0, 1, 2.5, "soon"],
    "old_lr": [0, -0.1, 1.1, math.nan, "slow"],
    "epochs": [0, -1, 1.5, 100_001, "many", math.inf],
    "minutes": [0, -1, math.nan, math.inf, "an hour"],
    "train_steps": [0, -1, 2.5],
    "batch_size": [0, -1, 2.5, "big"],
    "optimizer": [3, None],
    "lr": [0, -1e-3, 100, math.nan, math.inf, "small"],
    "momentum": [-0.1, 1, math.nan],
    "weight_decay": [-1, 10, math.nan],
    "schedule": ["one-cycle", "", 3, None],
    "warmup": [-0.1, 1, math.nan],
    "clip_norm": [0, -1, math.nan, math.inf],
    "accumulate": [0, 1.5, None],
    "bias_lr": [0, -1, 1001, math.nan, None],
    "lookahead": [-1, 1.5, None],
    "lookahead_rises": ["maybe", 3, None],
    "progressive": [0.1, 1.1, math.nan, None],
    "cycles": [0, -1, 1.5, "two"],
    "penalty": [3, None],
    "penalty_on": [3, None],
    "decoupled": ["maybe", 3, None],
    "max_norm": [0, -1, math.nan, math.inf],
    "trim": [-0.1, 1, math.nan, None],
    "trim_from": [-0.1, 1, math.nan, None],
    "ema": [-0.1, 1, math.nan],
    "swa": [-0.1, 1, math.nan, None],
    "label_smoothing": [-0.1, 1, math.nan],
    "augment": [3, None],
    "early_stop": ["never", 1, None],
    "patience": [-1, 1.5],
    "delta": [-1, math.nan, math.inf],
    "monitor": ["accuracy", ""],
    "seed": [-1, 2**31, 0.5, None],
    "device": [3, None],
    "precision": ["fp8", "", None],
    "instruments": ["every", 1, None],
    "probes": ["maybe", 3, None],
    "compile": ["yes", True, None],
    "keep_memory": ["maybe", 3, None],
    "runs": [3, None],
    "name": ["", "a/b", "../x", ".hidden", "a b", "-x", 3],
    "trackers": [3, None],
    "checkpoint_minutes": [0, -1, math.nan, math.inf, None],
}


def test_every_setting_has_its_faults_listed() -> None:
    assert sorted(FAULTS) == FIELDS


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FAULTS.items() for value in values])
def test_a_fault_tells_the_setting_the_value_and_what_would_work(name: str, value: object) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(**{name: value})
    assert f"'{name}" in caught.value.fault
    assert repr(value) in caught.value.fault
    assert " should " in caught.value.fault or " is not " in caught.value.fault
    assert "pydantic" not in str(caught.value)
    assert caught.value.hint


@given(
    name=st.sampled_from(FIELDS),
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.lists(st.integers(-1, 99), max_size=3),
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    ),
)
def test_any_value_is_either_taken_or_refused_in_words(name: str, value: object) -> None:
    with contextlib.suppress(SettingsError):  # any other exception fails the test
        settings = Settings(**{name: value})
        again = Settings(**settings.model_dump())
        assert repr(again) == repr(settings)  # what was accepted once is accepted as it was understood


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_says_what_it_is(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description, f"'{name}' has no words"
    assert field.description.endswith(".")
    assert not field.is_required(), f"'{name}' has no default"


@given(name=st.sampled_from(FIELDS), at=st.integers(0, 30))
def test_an_unknown_name_suggests_the_one_meant(name: str, at: int) -> None:
    at %= len(name)
    wrong = name[:at] + "q" + name[at + 1 :]
    if wrong in FIELDS or len(name) < 4:
        return
    with pytest.raises(SettingsError) as caught:
        Settings(**{wrong: 1})
    assert f"unknown setting '{wrong}'. Did you mean '" in caught.value.fault
    assert name in caught.value.hint


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"'epochs'.*'lr'"):
        Settings(epochs=0, lr=-1)


@pytest.mark.parametrize(
    ("given_", "understood"),
    [(96, 96), ("96", 96), ("64x128", (64, 128)), ("64,128", (64, 128)), ((64, 128), (64, 128)), ([64, 64], (64, 64))],
)
def test_image_sizes_are_understood(given_: object, understood: object) -> None:
    assert Settings(image_size=given_).image_size == understood


def test_parts_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"valid_fraction.*test_fraction"):
        Settings(valid_fraction=0.5, test_fraction=0.5)
    with pytest.raises(SettingsError, match=r"valid_fraction.*test_fraction"):
        Settings(valid_fraction=0.8, test_fraction=0.8)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'cycles' is 3, but 'schedule' is onecycle"):
        Settings(cycles=3)
    with pytest.raises(SettingsError, match="two averages"):
        Settings(ema=0.9, swa=0.25)
    assert Settings(cycles=3, schedule="cyclic").cycles == 3


@pytest.mark.parametrize(
    ("stored", "understood"),
    [
        ("dropout = 0.0", None),  # before penalties there was no other way to say: the network's own
        ("dropout = 0.5", 0.5),
        ('dropout = 0.0\npenalty = "none"', 0.0),
        ('penalty = "none"', None),
    ],
)
def test_the_dropout_of_a_run_means_what_it_meant(tmp_path: Path, stored: str, understood: float | None) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"[settings]\n{stored}\n[given]\n")
    assert Settings.from_toml(file).dropout == understood
    assert Settings.from_toml(file, table="settings").dropout == understood


def test_settings_do_not_change() -> None:
    settings = Settings()
    with pytest.raises(SettingsError, match="epochs"):
        settings.epochs = 3  # type: ignore[misc]
    assert settings.epochs is None


def test_changed_names_what_differs_from_the_defaults() -> None:
    assert Settings().changed() == {}
    assert Settings(epochs=3, resize="pad", options={"depth": 2}).changed() == {"epochs": 3, "options": {"depth": 2}}


def test_from_toml_reads_what_a_user_writes(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'model = "cnn"\nepochs = 5\nimage_size = [32, 64]\nname = "größe-1"\ntrackers = ["mlflow"]\n'
        "[options]\nhidden = 32\n",
        encoding="utf-8",
    )
    settings = Settings.from_toml(file)
    assert settings.changed() == {
        "model": "cnn",
        "epochs": 5,
        "image_size": (32, 64),
        "name": "größe-1",
        "trackers": ("mlflow",),
        "options": {"hidden": 32},
    }


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"epochs = ", "no valid TOML"),
        (b"epochs = 3\nepochs = 4", "no valid TOML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"epohcs = 3", "Did you mean 'epochs'"),
        (b"epochs = 0", "'epochs' should be greater than or equal to 1"),
    ],
)
def test_a_faulty_file_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=told):
        Settings.from_toml(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"mine\.toml.*No such file"):
        Settings.from_toml(tmp_path / "mine.toml")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_toml(tmp_path)


def trainer_settings(**values: Any) -> TrainerSettings:
    return TrainerSettings(**{"epochs": 3, "metrics": [max], "logdir": "logs", **values})


def test_the_lectures_settings_keep_their_defaults() -> None:
    settings = trainer_settings()
    assert settings.optimizer_kwargs == {"lr": 1e-3, "weight_decay": 1e-5}
    assert settings.scheduler_kwargs == {"factor": 0.1, "patience": 10}
    assert settings.earlystop_kwargs == {"save": False, "verbose": True, "patience": 10}
    assert (settings.train_steps, settings.valid_steps, settings.reporttypes) == (None, None, [])
    assert settings.logdir == Path("logs")


def test_validating_makes_no_folder(tmp_path: Path) -> None:
    trainer_settings(logdir=tmp_path / "logs")
    assert list(tmp_path.iterdir()) == []


def test_defaults_are_not_shared() -> None:
    trainer_settings().optimizer_kwargs["lr"] = 7
    assert trainer_settings().optimizer_kwargs["lr"] == 1e-3


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"epochs": 0}, "'epochs' should be"),
        ({"metrics": [3]}, r"'metrics\.0' should be callable"),
        ({"train_steps": 0}, "'train_steps' should be"),
        ({"reporttypes": ["XML"]}, r"'reporttypes\.0' should be 'GIN'"),
        ({"epohcs": 3}, "Did you mean 'epochs'"),
    ],
)
def test_the_lectures_settings_refuse_faults(values: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        trainer_settings(**values)


def test_a_missing_setting_is_told() -> None:
    with pytest.raises(SettingsError, match="'metrics' is missing"):
        TrainerSettings(epochs=1, logdir=Path("logs"))  # type: ignore[call-arg]


def test_the_lectures_settings_may_be_assigned_and_are_checked_when_they_are() -> None:
    settings = trainer_settings()
    settings.epochs = 5
    settings.reporttypes = [ReportTypes.TOML]
    assert settings.epochs == 5
    with pytest.raises(SettingsError, match="'epochs' should be"):
        settings.epochs = 0
    with pytest.raises(SettingsError, match="Did you mean 'epochs'"):
        settings.epohcs = 4
    assert settings.epochs == 5


def test_settings_print_one_per_line() -> None:
    assert str(trainer_settings()).splitlines()[:3] == [
        "epochs: 3",
        "metrics: [<built-in function max>]",
        "logdir: logs",
    ]
