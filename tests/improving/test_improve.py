"""A run is made better by experiments: what is kept, when it ends, that it goes on, and that nothing else changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline
from sightline.comparison.outcome import Outcome
from sightline.diagnosis.experiment import Score
from sightline.errors import RunError, SettingsError
from sightline.improving import hypotheses, trial
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.training.trainer import Trainer

QUIET = Progress(quiet=True)
SHORT: dict[str, Any] = {
    "model": "mlp",
    "epochs": 4,
    "schedule": "constant",
    "lr": 0.0003,
    "instruments": "none",
    "compile": "off",
    "device": "cpu",
    "precision": "fp32",
}


class Killed(BaseException):
    """The process is gone: nobody has cleaned up."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> sightline.Run:
    """Train too short on purpose."""
    runs = tmp_path_factory.mktemp("runs")
    return sightline.train("digits", runs=runs, name="short", progress=QUIET, **SHORT)


@pytest.fixture(scope="module")
def whole(begun: sightline.Run) -> Any:
    """Improve it in two rounds, never interrupted."""
    return sightline.improve(begun, rounds=2, seeds=3, progress=QUIET)


def again(tmp_path: Path) -> sightline.Run:
    return sightline.train("digits", runs=tmp_path, name="short", progress=QUIET, **SHORT)


def told(found: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in one.items() if k != "seconds"} for one in found.journal.as_dict()["rounds"]]


def test_what_helps_is_kept_and_told(begun: sightline.Run, whole: Any) -> None:
    first, second = whole.journal.rounds
    assert first.kind == "underfitted"
    assert first.status == "kept"
    assert first.seeds == 3
    assert first.difference["high"] < 0, "the interval excludes zero"
    assert second.base == first.arm, "the next round begins with what is best"
    assert whole.improved
    assert whole.best.path.parent == begun.path.parent / "improve" / "short"
    lower = whole.best.history.column("valid_loss")
    assert min(lower) < min(begun.history.column("valid_loss"))
    assert whole.journal.end["why"] == "rounds"
    words = whole.path.read_text(encoding="utf-8")
    for part in ("## Round 1", "**Believed.** ", "**Done.** 3", "**Came out.** It helped", "## How it ended"):
        assert part in words
    assert "What was tried to improve it" in begun.folder.report.read_text(encoding="utf-8")


def test_the_test_part_is_told_once_at_the_end(whole: Any) -> None:
    assert all("test_accuracy" not in side for one in whole.journal.rounds for side in one.figures.values())
    assert whole.journal.end["test_accuracy"]["seeds"] == 3
    assert whole.path.read_text(encoding="utf-8").count("| test accuracy |") == 1


def test_the_run_itself_is_left_as_it_was(tmp_path: Path) -> None:
    run = again(tmp_path)
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    sightline.improve(run, rounds=1, seeds=1, progress=QUIET)
    after = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    assert set(after) - set(before) == {"journal.md", "journal.json"}
    assert {name for name in before if before[name] != after[name]} <= {"report.html"}


def test_killed_in_the_middle_it_goes_on_as_if_it_had_not_been(
    begun: sightline.Run, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = again(tmp_path)
    report, epochs = Trainer.report, []

    def kill(trainer: Trainer, epoch: int, *rest: Any) -> None:
        report(trainer, epoch, *rest)
        epochs.append(epoch)
        if len(epochs) in (10, 26):  # in the first round, and in the second
            raise Killed

    monkeypatch.setattr(Trainer, "report", kill)
    for _ in range(2):
        with pytest.raises(Killed):
            sightline.improve(run, rounds=2, progress=QUIET, seeds=3)
    found = sightline.improve(run, rounds=2, progress=QUIET)
    monkeypatch.undo()
    assert told(found) == told(whole)
    for path in (begun.path.parent / "improve" / "short").glob("*/last.safetensors"):
        assert (tmp_path / "improve" / "short" / path.parent.name / path.name).read_bytes() == path.read_bytes()


def test_a_finished_sitting_may_be_followed_by_another(tmp_path: Path) -> None:
    run = again(tmp_path)
    first = sightline.improve(run, rounds=1, seeds=1, progress=QUIET)
    second = sightline.improve(run, rounds=1, progress=QUIET)
    assert len(second.journal.rounds) == len(first.journal.rounds) + 1
    with pytest.raises(RunError, match="begun with 1 seeds, not 2"):
        sightline.improve(run, rounds=1, seeds=2, progress=QUIET)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "improve").rglob("best.safetensors")}
    run.folder.rounds.unlink()
    anew = sightline.improve(run, rounds=1, seeds=1, minutes=5, progress=QUIET)
    assert told(anew) == told(first), "begun anew, it comes to the same"
    assert anew.journal.before > 0, "what was trained before takes none of its time"
    assert {path: path.stat().st_mtime_ns for path in made} == made, "and is taken over"


def test_what_fits_well_is_left_alone(begun: sightline.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = replace(begun.verdict, kind="well fitted", sentence="Well fitted.", findings=(), advice=())
    monkeypatch.setattr(hypotheses, "judge", lambda evidence: verdict)
    run = again(tmp_path)
    found = sightline.improve(run, progress=QUIET)
    assert not found.improved
    assert found.journal.rounds == []
    assert found.journal.end["why"] == "well fitted"
    assert found.best.path == run.path
    assert "Unchanged" in found.path.read_text(encoding="utf-8")
    assert not list((tmp_path / "improve" / "short").glob("*/run.json")), "nothing was trained"


def test_changes_that_are_not_possible_are_told_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = again(tmp_path)
    real = hypotheses.believe

    def believe(*args: Any) -> hypotheses.Belief:
        belief = real(*args)
        first = replace(belief.changes[0], setting="options.colour", value="green")
        return replace(belief, changes=(first,))

    monkeypatch.setattr("sightline.improving.sitting.believe", believe)
    found = sightline.improve(run, progress=QUIET)
    assert [one.status for one in found.journal.rounds] == ["impossible"]
    assert found.journal.end["why"] == "nothing helps"
    assert "colour" in found.path.read_text(encoding="utf-8")


def scored(values: list[float | None], rows: str = "r") -> list[Outcome]:
    """Give outcomes with these losses on 200 images; None: the training broke off."""
    noise = np.random.default_rng(0).normal(0, 0.3, 200)
    return [
        Outcome(seed, RunFolder(Path("x")), "failed")
        if value is None
        else Outcome(
            seed,
            RunFolder(Path("x")),
            "finished",
            scores={"valid_loss": Score(value, value + noise - noise.mean(), rows)},
        )
        for seed, value in enumerate(values)
    ]


BASE: list[float | None] = [1.00, 1.02, 0.99, 1.01, 0.98]


@pytest.mark.parametrize(
    ("change", "base", "status"),
    [
        ([0.90, 0.93, 0.89, 0.91, 0.88], BASE, "kept"),
        ([1.10, 1.13, 1.09, 1.11, 1.08], BASE, "not kept"),
        ([1.02, 0.98, 1.03, 0.97, 1.00], BASE, "not kept"),
        ([0.998, 1.017, 0.988, 1.009, 0.978], BASE, "not kept"),  # real, and too small to matter
        ([None] * 5, BASE, "failed"),
        ([0.9, 0.9, 0.9, 0.9, 0.9], [None] * 5, "kept"),  # the base breaks off, the change does not
        ([0.9, None, 0.9, 0.9, 0.9], [None] * 5, "unknown"),
        ([0.90, 0.93], [1.00, 1.02], "unknown"),
    ],
)
def test_only_a_gain_beyond_luck_is_kept(change: list[float | None], base: list[float | None], status: str) -> None:
    planned = 5
    ours, theirs = (
        [*scored(side), *(Outcome(k, RunFolder(Path("x")), "missing") for k in range(len(side), planned))]
        for side in (change, base)
    )
    assert trial.conclude(ours, theirs, "", "").status == status


def test_one_seed_each_is_said_to_be_perhaps_luck() -> None:
    found = trial.conclude(scored([0.5]), scored([1.0]), "", "")
    assert found.status == "kept"
    assert "may be luck" in found.said
    assert trial.conclude(scored([1.5]), scored([1.0]), "", "").status == "not kept"


def test_what_was_given_up_is_not_kept() -> None:
    found = trial.conclude(scored([1.5, 1.4]), scored([1.0, 1.0]), "worse with both of the first seeds", "")
    assert found.status == "hopeless"
    assert "worse with both" in found.said


def test_bad_input_is_refused_before_anything_is_trained(begun: sightline.Run, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'minutes' is -1"):
        sightline.improve(begun, minutes=-1, progress=QUIET)
    with pytest.raises(SettingsError, match="too short for one round"):
        sightline.improve(again(tmp_path), minutes=0.001, progress=QUIET)
    with pytest.raises(RunError, match="does not exist"):
        sightline.improve(tmp_path / "nothing")
    stopped = again(tmp_path / "other")
    stopped.folder.write_state(status="stopped")
    with pytest.raises(RunError, match="sightline resume"):
        sightline.improve(stopped, progress=QUIET)
    assert not list((tmp_path / "other").glob("improve/*/*/run.json"))


def test_other_images_are_refused(tmp_path: Path) -> None:
    run = again(tmp_path)
    data = json.loads(run.folder.data.read_text(encoding="utf-8"))
    run.folder.data.write_text(json.dumps({**data, "fingerprint": "0" * 32}), encoding="utf-8")
    with pytest.raises(RunError, match="its images are others"):
        sightline.improve(run.path, progress=QUIET)


def test_arrays_are_asked_for_again(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8) * 15).astype(np.uint8)
    run = sightline.train((x, y), runs=tmp_path, name="short", progress=QUIET, **SHORT)
    with pytest.raises(RunError, match="arrays in memory"):
        sightline.improve(run.path, progress=QUIET)
    found = sightline.improve(run.path, source=(x, y), rounds=1, seeds=1, progress=QUIET)
    assert len(found.journal.rounds) == 1
