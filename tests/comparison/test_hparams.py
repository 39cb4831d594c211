"""What TensorBoard and MLflow show of a comparison is read back with their own readers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
mlflow = pytest.importorskip("mlflow")

import sightline  # noqa: E402
from sightline.progress import Progress  # noqa: E402
from sightline.tracking.hparams import Trial, log  # noqa: E402

# MLflow's store uses what its newest database library has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:::sqlalchemy", "ignore:::mlflow")


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    place = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{place / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("x", artifact_location=(place / "a").as_uri()))
    yield
    mlflow.set_tracking_uri(before)


def test_settings_and_figures_of_every_run(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = sightline.compare(
        "digits", "mlp", vary={"dropout": [0.0, 0.5]}, seeds=1, epochs=1, lr=0.005, compile="off", device="cpu",
        runs=tmp_path, name="tracked", trackers="tensorboard,mlflow", progress=Progress(quiet=True),
    )  # fmt: skip
    accuracy = found.outcomes["dropout=0.5"][0].scores["test_accuracy"].value
    events = EventAccumulator(str(found.path / "hparams" / "dropout-0.5-seed0")).Reload()
    assert events.Scalars("compare/test_accuracy")[0].value == pytest.approx(accuracy)
    assert b"dropout" in events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    runs = mlflow.search_runs(output_format="list", filter_string="tags.`sightline.comparison` = 'tracked'")
    assert {run.info.run_name for run in runs} == {"base-seed0", "dropout-0.5-seed0"}
    (run,) = (run for run in runs if run.info.run_name == "dropout-0.5-seed0")
    assert run.data.metrics["compare/test_accuracy"] == pytest.approx(accuracy)
    assert run.data.metrics["Loss/test"] > 0  # the run that the training itself made
    assert (run.data.params["dropout"], run.data.params["arm"]) == ("0.5", "dropout=0.5")


def test_a_run_that_no_tracker_knew_gets_one(tmp_path: Path) -> None:
    log(["mlflow"], tmp_path / "later", [Trial(tmp_path / "mlp-seed0", {"model": "mlp"}, {"test_accuracy": 0.5})])
    (run,) = mlflow.search_runs(output_format="list", filter_string="tags.`sightline.comparison` = 'later'")
    assert (run.info.run_name, run.data.params, run.info.status) == ("mlp-seed0", {"model": "mlp"}, "FINISHED")


def test_a_tracker_that_fails_warns_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(RuntimeWarning, match="TENSORBOARD got no hparams"):
        log(["tensorboard", "toml"], tmp_path / "file", [Trial(tmp_path / "a", {}, {"test_accuracy": 0.5})])
