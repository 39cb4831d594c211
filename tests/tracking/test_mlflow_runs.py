"""What MLflow holds is read back from a real store on disk, with MLflow's own client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
mlflow = pytest.importorskip("mlflow")

from sightline.settings import ReportTypes, TrainerSettings  # noqa: E402
from sightline.tracking.mlflow import allowed  # noqa: E402
from sightline.tracking.tracker import Context, make  # noqa: E402

# MLflow's store uses what its newest database library has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:::sqlalchemy", "ignore:::mlflow")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def experiment(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store)
    identifier = mlflow.create_experiment(request.node.name, artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment(experiment_id=identifier)
    yield
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


def context(folder: Path, done: int = 0, **changes: Any) -> Context:
    settings = TrainerSettings(**{"epochs": 3, "metrics": [], "logdir": folder, **changes})
    return Context(folder, settings, torch.nn.Linear(4, 2), epochs_done=done)


def train(context: Context, epochs: range, error: Exception | None = None) -> None:
    (tracker,) = make([ReportTypes.MLFLOW])
    tracker.start(context)
    try:
        for epoch in epochs:
            tracker.row({"epoch": epoch, "step": 9, "train_loss": 1 / epoch, "valid_loss": 2.0, "lr": 0.1,
                         "valid_MASE(scale=0.100)": 0.5})  # fmt: skip
        if error is not None:
            raise error
        tracker.artifact(context.folder / "a.txt")
        tracker.artifact(context.folder / "figures")
    finally:
        tracker.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "it's a run"
    (folder / "figures").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "figures" / "b.txt").write_text("b")
    return folder


def runs() -> list[Any]:
    return list(mlflow.search_runs(output_format="list"))


def test_without_an_active_run_one_is_made_and_ended(folder: Path) -> None:
    train(context(folder), range(1, 4))
    (run,) = runs()
    assert run.info.run_name == folder.name
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "3"
    assert run.data.params["optimizer_kwargs.lr"] == "0.001"
    assert set(run.data.metrics) == {"Loss/train", "Loss/test", "learning_rate", "metric/MASE_scale_0.100"}
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "Loss/train")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    files = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert files == {"a.txt", "figures"}
    assert mlflow.active_run() is None


def test_an_active_run_is_joined_and_left_open(folder: Path) -> None:
    with mlflow.start_run() as mine:
        mlflow.log_params({"epochs": 3, "optimizer_kwargs.lr": "mine"})
        train(context(folder), range(1, 3))
        assert mlflow.active_run().info.run_id == mine.info.run_id
        mlflow.log_param("batchsize", 8)  # and afterwards
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert run.data.params == {"epochs": "3", "optimizer_kwargs.lr": "mine", "batchsize": "8"}
    assert run.data.metrics["Loss/test"] == 2.0


def test_a_training_that_goes_on_goes_on_in_its_run(folder: Path) -> None:
    train(context(folder), range(1, 3))
    train(context(folder, done=2, epochs=9), range(3, 5))
    (run,) = runs()
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "Loss/train")
    assert [point.step for point in history] == [0, 1, 2, 3]
    assert run.info.status == "FINISHED"


def test_two_trainings_are_two_runs(folder: Path) -> None:
    train(context(folder), range(1, 2))
    train(context(folder), range(1, 2))
    assert len(runs()) == 2


def test_a_training_that_fails_is_marked(folder: Path) -> None:
    with pytest.raises(ArithmeticError):
        train(context(folder), range(1, 2), ArithmeticError("NaN"))
    (run,) = runs()
    assert run.info.status == "FAILED"


def test_an_unreachable_store_ends_no_training(folder: Path) -> None:
    mlflow.set_tracking_uri("nonsense://nowhere")
    with pytest.warns(RuntimeWarning, match="MLFLOW failed and gets nothing more") as caught:
        train(context(folder), range(1, 4))
    assert len([warning for warning in caught if warning.category is RuntimeWarning]) == 1


def test_a_search_of_the_course(tmp_path: Path) -> None:
    """As written for mltrainer: a run around each training, with its parameters; the loss is what is minimised."""
    from sightline import Trainer, metrics

    torch.manual_seed(0)
    x = torch.randn(64, 4)
    batches = [(x, (x.sum(1) > 0).long())]

    def objective(params: dict[str, Any]) -> dict[str, Any]:
        settings = TrainerSettings(
            epochs=3, metrics=[metrics.Accuracy()], logdir=tmp_path / "modellogs", train_steps=1, valid_steps=1,
            reporttypes=[ReportTypes.MLFLOW, ReportTypes.TOML], optimizer_kwargs=params,
        )  # fmt: skip
        with mlflow.start_run():
            mlflow.set_tag("model", "linear")
            mlflow.log_params(params)
            mlflow.log_param("epochs", settings.epochs)
            trainer = Trainer(
                model=torch.nn.Linear(4, 2), settings=settings, loss_fn=torch.nn.CrossEntropyLoss(),
                optimizer=torch.optim.Adam, traindataloader=batches, validdataloader=batches,
                scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau, device="cpu",
            )  # fmt: skip
            trainer.loop()
            mlflow.log_param("optimizer_kwargs.lr", "mine")
        return {"loss": trainer.test_loss, "status": "ok"}

    losses = [objective({"lr": lr})["loss"] for lr in (0.1, 0.01)]
    found = list(reversed(runs()))
    assert [run.data.metrics["Loss/test"] for run in found] == pytest.approx(losses)
    assert set(found[0].data.metrics) == {"Loss/train", "Loss/test", "metric/Accuracy", "learning_rate"}
    assert [run.data.params["lr"] for run in found] == ["0.1", "0.01"]
    history = mlflow.MlflowClient().get_metric_history(found[0].info.run_id, "Loss/test")
    assert [point.step for point in history] == [0, 1, 2]


@pytest.mark.parametrize(
    ("tag", "name"), [("metric/F1(micro)", "metric/F1_micro"), ("Loss/train", "Loss/train"), ("a b:c-d.e", "a b:c-d.e")]
)
def test_names_are_made_such_as_mlflow_allows(tag: str, name: str) -> None:
    assert allowed(tag) == name
