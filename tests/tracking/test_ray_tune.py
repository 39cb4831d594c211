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
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.filterwarnings("ignore:::ray")]


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


def follow(config: dict[str, Any]) -> None:
    """Report five epochs from inside a trial."""
    (tracker,) = make([ReportTypes.RAY])
    tracker.start(context(Path.cwd()))
    try:
        for epoch in range(1, 6):
            tracker.row({"epoch": epoch, "step": 9, "train_loss": 1 / epoch, "valid_loss": 2.0, "lr": 0.1,
                         "valid_Accuracy": config["accuracy"]})  # fmt: skip
    finally:
        tracker.close()


def fit(trainable: Any, folder: Path, **options: Any) -> Any:
    from ray import tune

    run = tune.RunConfig(storage_path=str(folder), name="search", verbose=0, **options)
    space = {"accuracy": tune.grid_search([0.25, 0.75])}
    return tune.Tuner(trainable, param_space=space, run_config=run).fit()


def test_outside_a_trial_it_is_refused_at_the_start(tmp_path: Path) -> None:
    (tracker,) = make([ReportTypes.RAY])
    with pytest.raises(SettingsError, match="this training is in none") as caught:
        tracker.start(context(tmp_path))
    assert "ray.tune.Tuner" in caught.value.hint


def test_a_trial_reports_what_mltrainer_reported_and_may_be_ended(cluster: Path, tmp_path: Path) -> None:
    results = fit(follow, tmp_path, stop={"training_iteration": 3})
    assert not results.errors
    best = results.get_best_result("Accuracy", "max")
    assert best.config["accuracy"] == 0.75
    assert {name: best.metrics[name] for name in ("iterations", "train_loss", "test_loss", "Accuracy")} == {
        "iterations": 2, "train_loss": 1 / 3, "test_loss": 2.0, "Accuracy": 0.75,
    }  # fmt: skip
    assert list(best.metrics_dataframe["iterations"]) == [0, 1, 2]
