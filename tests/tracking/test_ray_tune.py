"""Ray Tune gets what mltrainer gave it, from real trials; outside one it is refused."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sightline.errors import SettingsError
from sightline.settings import ReportTypes, TrainerSettings
from sightline.tracking.tracker import Context, make

pytest.importorskip("ray")

# Ray leaves sockets and files to the garbage collector, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:::ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """Start a cluster of one process for the tests of this file: it takes seconds."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test file
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else one is written into the user's home
        patch.setenv("RAY_AIR_NEW_OUTPUT", "0")
        place = Path(tempfile.mkdtemp(prefix="ray"))  # short: the names of sockets are limited
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False,
                 object_store_memory=80 * 2**20, _temp_dir=str(place))  # fmt: skip
        yield place
        ray.shutdown()
        shutil.rmtree(place, ignore_errors=True)


def context(folder: Path) -> Context:
    return Context(folder, TrainerSettings(epochs=3, metrics=[], logdir=folder), torch.nn.Linear(4, 2))


def test_outside_a_trial_it_is_refused_at_the_start(tmp_path: Path) -> None:
    (tracker,) = make([ReportTypes.RAY])
    with pytest.raises(SettingsError, match="this training is in none") as caught:
        tracker.start(context(tmp_path))
    assert "ray.tune.Tuner" in caught.value.hint


def search(config: dict[str, Any]) -> None:
    """Train in a trial as the course does: data and network are made inside, Tune decides when to stop."""
    from sightline import Trainer, metrics

    torch.manual_seed(0)
    x = torch.randn(64, 4)
    batches = [(x, (x.sum(1) > 0).long())]
    settings = TrainerSettings(
        epochs=4, metrics=[metrics.Accuracy()], logdir=Path(), train_steps=1, valid_steps=1,
        reporttypes=[ReportTypes.RAY, ReportTypes.TENSORBOARD], optimizer_kwargs={"lr": config["lr"]},
        scheduler_kwargs={"factor": 0.5, "patience": 5}, earlystop_kwargs=None,
    )  # fmt: skip
    Trainer(
        model=torch.nn.Linear(4, 2), settings=settings, loss_fn=torch.nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam, traindataloader=batches, validdataloader=batches,
        scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau, device="cpu",
    ).loop()  # fmt: skip


def test_a_trial_gets_what_mltrainer_reported_and_may_be_ended(cluster: Path, tmp_path: Path) -> None:
    from ray import tune

    run = tune.RunConfig(storage_path=str(tmp_path), name="search", verbose=0, stop={"training_iteration": 3})
    results = tune.Tuner(search, param_space={"lr": tune.grid_search([0.1])}, run_config=run).fit()
    assert not results.errors
    best = results.get_best_result("test_loss", "min")
    assert set(best.metrics) >= {"iterations", "train_loss", "test_loss", "Accuracy"}
    assert list(best.metrics_dataframe["iterations"]) == [0, 1, 2]
    assert best.metrics["test_loss"] < best.metrics_dataframe["test_loss"][0]
    assert list(Path(best.path).rglob("events.out.tfevents.*"))
