"""Errors: one message that names the thing, the fault and the next step; one tree; the nearest name."""

from __future__ import annotations

import inspect

import pytest

from sightline import errors
from sightline.errors import MissingExtraError, SightlineError, did_you_mean

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", TREE)
def test_every_error_is_in_the_drawn_tree(kind: type[Exception]) -> None:
    assert issubclass(kind, SightlineError)
    assert kind.__name__ in (errors.__doc__ or "")


def test_a_message_is_the_fault_and_then_the_next_step() -> None:
    error = errors.SourceError("folder 'x' has one class ('cat').", "Add a folder for a second class.")
    assert str(error) == "folder 'x' has one class ('cat').\nAdd a folder for a second class."
    assert (error.fault, error.hint) == ("folder 'x' has one class ('cat').", "Add a folder for a second class.")


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.SourceError, ValueError),
        (errors.SettingsError, ValueError),
        (errors.ModelError, ValueError),
        (errors.TrainingError, RuntimeError),
        (errors.RunError, RuntimeError),
        (errors.MissingExtraError, ImportError),
    ],
)
def test_code_that_catches_the_builtin_kind_goes_on_working(kind: type, builtin: type) -> None:
    assert issubclass(kind, builtin)


def test_a_missing_extra_tells_the_command() -> None:
    assert "pip install 'sightline[mlflow]'" in str(MissingExtraError("mlflow", "mlflow"))


@pytest.mark.parametrize(
    ("name", "meant"), [("resnet81", "resnet18"), ("Resnet18", "resnet18"), ("cnnblock", "cnnblocks"), ("mpl", "mlp")]
)
def test_the_nearest_name_is_suggested(name: str, meant: str) -> None:
    assert did_you_mean(name, ["resnet18", "cnnblocks", "mlp"]) == f" Did you mean '{meant}'?"


@pytest.mark.parametrize("name", ["", "xyz", "a network I dreamt of"])
def test_a_name_that_is_like_none_gets_no_suggestion(name: str) -> None:
    assert did_you_mean(name, ["resnet18", "cnnblocks", "mlp"]) == ""


def test_no_known_names_no_suggestion() -> None:
    assert did_you_mean("resnet18", []) == ""
