"""Runs that vote: what they answer, who may judge them, what is refused, and a folder that can be moved."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sightline
from sightline.ensembles.members import own_images
from sightline.errors import RunError, SettingsError, SightlineError, SourceError
from sightline.opened import open_run
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.settings import Settings

QUIET = Progress(quiet=True)
PLAIN = {"epochs": 2, "device": "cpu", "precision": "fp32", "augment": "none", "batch_size": 16, "progress": QUIET}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, draw_folder: Callable[..., Path]) -> Path:
    """Drawn images in ``shapes`` and three runs on them with one split: two sizes, three networks."""
    root = tmp_path_factory.mktemp("ensemble")
    draw_folder(root / "shapes", per_class=40)
    for name, model, size in (("a", "mlp", 24), ("b", "logistic", 16), ("c", "lenet5", 24)):
        settings = Settings(image_size=size, test_fraction=0.3, valid_fraction=0.2)
        sightline.train(root / "shapes", model, settings=settings, runs=root / "runs", name=name, **PLAIN)
    return root


@pytest.fixture(scope="module")
def members(place: Path) -> list[Path]:
    return [place / "runs" / name for name in "abc"]


@pytest.fixture(scope="module")
def saved(place: Path, members: list[Path]) -> sightline.Ensemble:
    ensemble = sightline.Ensemble(members)
    ensemble.save(place / "runs", "vote-1", progress=QUIET)
    ensemble.report(QUIET)
    return ensemble


def test_a_soft_vote_of_runs_is_the_mean_of_what_they_predict(place: Path, members: list[Path]) -> None:
    images = place / "shapes" / "bar"
    mean = np.mean([sightline.Run.load(member).predict(images).probabilities for member in members], axis=0)
    ensemble = sightline.Ensemble(members)
    ensemble._temperature = 1.0
    found = ensemble.predict(images)
    assert np.allclose(found.probabilities, mean, atol=1e-6)
    ensemble._temperature = 2.0
    assert ensemble.predict(images).labels == found.labels, "a temperature changes no answer"


def test_members_are_scored_on_what_they_all_held_out(members: list[Path]) -> None:
    ensemble = sightline.Ensemble(members)
    outcome = ensemble.judge(progress=QUIET)
    evaluation, standing = outcome.evaluation, outcome.standing
    assert (standing.part, standing.count, evaluation.count) == ("test", 36, 36)
    for seat, member in zip(standing.members, members, strict=True):
        own = sightline.Run.load(member).evaluate(progress=QUIET)
        assert seat.accuracy == own.accuracy
        assert seat.gain["accuracy"].value == pytest.approx(evaluation.accuracy.value - own.accuracy.value)
    assert len(standing.diversity.pairs) == 3


def test_the_best_member_and_the_weights_come_from_validation_images_alone(members: list[Path]) -> None:
    ensemble = sightline.Ensemble(members, weights="auto")
    first = ensemble.judge(progress=QUIET).standing
    judges = ensemble._own
    judges.labels[judges.scored] = (judges.labels[judges.scored] + 1) % 3  # a test part that says otherwise
    again = sightline.Ensemble(members, weights="auto")
    again._own = judges
    second = again.judge(progress=QUIET).standing
    assert [seat.weight for seat in first.members] == [seat.weight for seat in second.members]
    assert (first.best, first.chosen) == (second.best, second.chosen)
    assert first.whole.accuracy != second.whole.accuracy


def test_an_ensemble_is_a_folder_that_can_be_moved(
    saved: sightline.Ensemble, place: Path, tmp_path: Path, draw_folder: Callable[..., Path]
) -> None:
    before = saved.predict(place / "shapes" / "disc").probabilities
    shutil.copytree(saved.path, tmp_path / "moved")
    again = open_run(tmp_path / "moved")
    assert isinstance(again, sightline.Ensemble)
    assert [member.name for member in again.members] == ["a", "b", "c"]
    assert all(member.run.path.is_relative_to(tmp_path) for member in again.members)
    assert np.array_equal(again.predict(place / "shapes" / "disc").probabilities, before)
    assert again.evaluate(progress=QUIET) is not None
    assert again.report(QUIET).is_file()
    assert sightline.predict(tmp_path / "moved", place / "shapes" / "disc").labels
    assert sightline.evaluate(tmp_path / "moved", place / "shapes").count == 36, "what members learnt from is left out"
    fresh = draw_folder(tmp_path / "fresh", per_class=5, seed=9)
    assert sightline.evaluate(tmp_path / "moved", fresh).count == 15


def test_stored_scores_are_those_of_the_vote(saved: sightline.Ensemble) -> None:
    stored = json.loads(saved.folder.evaluation.read_text())
    assert stored == {"part": "test", **saved.evaluate(progress=QUIET).as_dict()}
    told = json.loads(saved.folder.vote.read_text())
    assert [seat["name"] for seat in told["members"]] == ["a", "b", "c"]
    assert all(seat["cost"]["ms"] > 0 for seat in told["members"])
    assert saved.headline.startswith(f"{stored['accuracy']['value']:.1%} of 36 test images recognised")


def test_classes_in_another_order_are_mapped(place: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = (rng.random((60, 8, 8)) * 80 + 120 * y[:, None, None]).astype(np.uint8)
    words = np.array(["cat", "dog"])[y]
    one = sightline.train((x, words), "mlp", runs=tmp_path, name="one", **PLAIN)
    folder = RunFolder(tmp_path / "two")
    shutil.copytree(one.path, folder.path)  # the same network whose classes are counted the other way round
    told = folder.read_json(folder.data)
    folder.data.write_text(json.dumps({**told, "classes": ["dog", "cat"]}))
    ensemble = sightline.Ensemble([one, folder.path])
    ensemble._temperature = 1.0
    found = ensemble.predict(x)
    assert found.classes == ("cat", "dog")
    assert np.allclose(found.probabilities, 0.5, atol=1e-6), "cat of the one is dog of the other"


def test_images_that_any_member_learnt_from_do_not_judge(place: Path, members: list[Path], tmp_path: Path) -> None:
    other = sightline.train(
        place / "shapes", "mlp", runs=tmp_path, name="other", seed=1, test_fraction=0.5, valid_fraction=0.2, **PLAIN
    )
    ensemble = sightline.Ensemble([members[0], other])
    judges = own_images(ensemble.members, QUIET)
    used = set()
    for run in (sightline.Run.load(members[0]), other):
        data = run.data(progress=QUIET)
        used |= set(data.names(np.concatenate([data.split.train, data.split.valid])))
    assert len(judges.scored) > 0
    assert not set(judges.names(judges.scored)) & used
    assert f"{len(judges.scored)} were used by no other" in judges.notes[0]
    trained = set()
    for run in (sightline.Run.load(members[0]), other):
        data = run.data(progress=QUIET)
        trained |= set(data.names(data.split.train))
    assert not set(judges.names(judges.valid)) & trained
    assert not set(judges.valid) & set(judges.scored)


def test_views_vote_beside_their_run(members: list[Path], place: Path, tmp_path: Path) -> None:
    ensemble = sightline.Ensemble([members[0]], views="flips,shifts", vote="hard")
    names = [member.name for member in ensemble.members]
    assert names[:2] == ["a", "a, mirrored"]
    assert len(names) == 10, "each way of moving is seen mirrored, too"
    ensemble.save(tmp_path, "views", progress=QUIET)
    again = sightline.Ensemble.load(tmp_path / "views")
    assert [member.view for member in again.members] == [member.view for member in ensemble.members]
    assert len(list((tmp_path / "views" / "members").iterdir())) == 1, "one run is copied once"
    images = place / "shapes" / "grid"
    assert np.array_equal(again.predict(images).probabilities, ensemble.predict(images).probabilities)


def test_a_mirrored_view_sees_the_mirror_image(members: list[Path]) -> None:
    plain, mirrored = sightline.Ensemble([members[2]], views="flips").members
    images = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), dtype=np.uint8)
    assert np.allclose(mirrored.predictor.logits(images), plain.predictor.logits(images[:, :, ::-1]), atol=1e-4)


def test_a_mirrored_image_is_moved_after_it_was_mirrored(members: list[Path]) -> None:
    both = {member.name: member for member in sightline.Ensemble([members[2]], views="shifts,flips").members}
    images = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), dtype=np.uint8)
    mirrored = images[:, :, ::-1]
    moved = np.concatenate([mirrored[:, :, 1:], mirrored[:, :, -1:]], axis=2)
    seen = both["c, mirrored, 1 left"].predictor.logits(images)
    assert np.allclose(seen, both["c"].predictor.logits(moved), atol=1e-4)


def test_weights_cannot_be_fitted_without_the_images(members: list[Path], tmp_path: Path) -> None:
    copies = []
    for member in members[:2]:
        copy = RunFolder(tmp_path / member.name)
        shutil.copytree(member, copy.path)
        copy.data.write_text(json.dumps({**copy.read_json(copy.data), "source": str(tmp_path / "gone")}))
        copies.append(copy.path)
    with pytest.raises(RunError, match=r"weights cannot be fitted: .*gone"):
        sightline.Ensemble(copies, weights="auto").weights(QUIET)
    with pytest.raises(SourceError, match="gone"):
        sightline.Ensemble(copies).save(tmp_path, "none", progress=QUIET)
    assert sightline.Ensemble(copies).predict(np.zeros((2, 24, 24, 3), np.uint8)).labels
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that cannot vote with those on shapes: other classes, signals."""
    root = tmp_path_factory.mktemp("strangers")
    rng = np.random.default_rng(0)
    names = np.array(["bar", "disc", "ring"])[np.arange(60) % 3]
    x = rng.integers(0, 256, (60, 24, 24, 3), dtype=np.uint8)
    sightline.train((x, names), "logistic", runs=root, name="classes", **PLAIN)
    names = np.array(["bar", "disc", "grid"])[np.arange(60) % 3]
    sightline.train((rng.normal(size=(60, 40)), names), "logistic", runs=root, name="signals", **PLAIN)
    RunFolder.create(root, "empty")
    return root


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([], SettingsError, "no members"),
        (["a"], SettingsError, "one member"),
        (["a", "a"], SettingsError, "is a member twice"),
        (["a", "shapes"], RunError, "not a run folder"),
        (["a", "nowhere"], RunError, "does not exist"),
        (["a", "empty"], RunError, "not finished"),
        (["a", "classes"], SourceError, "only 'a' knows 'grid'; only 'classes' knows 'ring'"),
        (["a", "signals"], SourceError, "'a' takes images .uint8., 'signals' takes signals of 1 x 40 values"),
        (["a", "vote-1"], RunError, "holds an ensemble"),
    ],
)
def test_members_that_cannot_vote_are_refused(
    given: list[str], error: type[SightlineError], said: str, place: Path, strangers: Path, saved: sightline.Ensemble
) -> None:
    where = {"shapes": place / "shapes", **{name: strangers / name for name in ("classes", "signals", "empty")}}
    with pytest.raises(error, match=said):
        sightline.Ensemble([where.get(name, place / "runs" / name) for name in given])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"vote": "sotf"}, "Did you mean 'soft'"),
        ({"vote": "hard", "weights": "auto"}, "a hard vote has no weights"),
        ({"weights": [1, 2]}, "2 weights for 3 members"),
        ({"weights": "automatic"}, "'automatic'"),
        ({"views": "flip"}, "Did you mean 'flips'"),
    ],
)
def test_wrong_votes_are_refused(options: dict[str, object], said: str, members: list[Path]) -> None:
    with pytest.raises(SettingsError, match=said):
        sightline.Ensemble(members, **options)


def test_flips_are_refused_where_they_change_the_label(tmp_path: Path) -> None:
    run = sightline.train("digits", "logistic", runs=tmp_path, name="digits", **{**PLAIN, "epochs": 1})
    with pytest.raises(SettingsError, match=r"view 'flips' cannot be used .* digits"):
        sightline.Ensemble([run], views="flips")


def test_an_image_that_one_member_refuses_is_refused(members: list[Path], place: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    good = place / "shapes" / "bar" / "0.png"
    found = sightline.Ensemble(members).predict([good, tmp_path / "broken.png", good])
    assert found.names == (str(good), str(good))
    assert [name for name, _ in found.refused] == [str(tmp_path / "broken.png")]


def test_the_command_votes_and_answers(
    place: Path, members: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sightline import cli

    def typed(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sightline", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    words = ["vote", *members, "--runs", place / "typed", "--name", "one", "-q"]
    code, out, _ = typed(*words, "--weights", "2,1,1")
    assert code == 0
    assert "weighted vote" in out
    assert out.splitlines()[-1].split(maxsplit=1)[1] == str(place / "typed" / "one" / "report.html")
    code, out, err = typed(*words)
    assert (code, out) == (1, "")
    assert "exists already" in err
    told = json.loads(typed("vote", *members[:2], "--hard", "--runs", place / "typed", "--json", "-q")[1])
    assert told["vote"] == "hard"
    assert Path(told["run"]).name.startswith("vote-")
    assert len(told["members"]) == 2
    assert "disc" in typed("predict", place / "typed" / "one", place / "shapes" / "disc" / "0.png")[1]
    for wrong, said in (
        (["--hard", "--soft"], "different votes"),
        (["--weights", "a,b"], "'a,b'"),
        (["--views", "flip"], "Did you mean 'flips'"),
        (["--on", place / "nowhere"], "nowhere"),
    ):
        code, out, err = typed("vote", *members, *wrong, "--runs", place / "wrong", "-q")
        assert (code, out) == (1, ""), wrong
        assert err.startswith("error: "), wrong
        assert said in err, wrong
    assert not (place / "wrong").exists()
