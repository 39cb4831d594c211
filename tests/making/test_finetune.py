"""Fine-tuning from end to end: weights of a run, of a file, of ImageNet; what is stored; resumed; and that it helps."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import t
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import sightline
from sightline.cli import app
from sightline.download import File
from sightline.errors import ModelError, SettingsError
from sightline.making import recipe
from sightline.making.prepared import Prepared, depends_on, prepare
from sightline.models import zoo
from sightline.models.public import PUBLIC, Public
from sightline.progress import Progress
from sightline.settings import Settings
from sightline.training.trainer import Trainer

QUIET = Progress(quiet=True)
DIGITS = load_digits()
X, Y = (DIGITS.images * (255 / 16)).astype(np.uint8), DIGITS.target
LOW, HIGH = (X[Y < 5], Y[Y < 5]), (X[Y >= 5], Y[Y >= 5])
FEW = (HIGH[0][:100], HIGH[1][:100])
WIDTH = 0.25
PLAIN: dict[str, Any] = {"device": "cpu", "precision": "fp32", "progress": QUIET}


@pytest.fixture(scope="module")
def low(tmp_path_factory: pytest.TempPathFactory) -> sightline.Run:
    """A narrow ResNet-18 that knows the digits 0 to 4."""
    runs, options = tmp_path_factory.mktemp("runs"), {"width": WIDTH}
    return sightline.train(LOW, "resnet18", epochs=5, runs=runs, name="low", options=options, **PLAIN)


def train(weights: Any, runs: Path, source: Any = FEW, **changes: Any) -> sightline.Run:
    return sightline.train(source, weights=weights, runs=runs, **{"epochs": 1, **PLAIN, **changes})


def test_a_run_begins_where_another_ended(low: sightline.Run, tmp_path: Path) -> None:
    run = train(low.path, tmp_path, name="high", freeze="features")
    assert run.settings.model == "resnet18"
    assert run.settings.options == {"width": WIDTH, "stem": "small"}
    assert run.settings.weights == str(low.path.resolve())
    assert run.settings.old_lr == 1.0
    assert run.preprocessing.mean == low.preprocessing.mean
    assert run.preprocessing.std == low.preprocessing.std
    ours, theirs = run.model.state_dict(), low.model.state_dict()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]) == (not name.startswith("fc.")), name
    told = json.loads(run.folder.data.read_text())
    assert told["weights"]["sha256"] == hashlib.sha256(low.folder.best.read_bytes()).hexdigest()
    assert told["weights"]["fresh"] == ["fc.bias", "fc.weight"]
    assert "the head is new, for 5 classes; the weights were for 5 others" in told["weights"]["changes"]
    assert "stay as they are for good" in told["reasons"]["freeze"]
    assert run.predict(FEW[0][:3]).probabilities.shape == (3, 5)


def test_the_same_classes_keep_the_head(low: sightline.Run, tmp_path: Path) -> None:
    run = train(low.path, tmp_path, source=LOW, lr=1e-6)
    assert run.history.rows[0]["valid_accuracy"] > 0.8, "it begins where the other ended"
    assert json.loads(run.folder.data.read_text())["weights"]["fresh"] == []


def test_the_file_of_a_run_stands_for_the_run(low: sightline.Run, tmp_path: Path) -> None:
    run = train(low.folder.last, tmp_path)
    assert run.settings.options == {"width": WIDTH, "stem": "small"}
    assert run.settings.weights == str(low.folder.last.resolve())
    assert run.preprocessing.mean == low.preprocessing.mean


def test_another_size_and_colour_are_told(low: sightline.Run, tmp_path: Path) -> None:
    colour = np.repeat(FEW[0][..., None], 3, axis=-1)
    run = train(low.path, tmp_path, source=(colour, FEW[1]), image_size=12)
    assert run.preprocessing.size == (12, 12)
    changes = json.loads(run.folder.data.read_text())["weights"]["changes"]
    assert "the first kernels are repeated from 1 to 3 channels, times 1/3" in changes
    assert "mean and deviation are those of these images: they have 3 channels" in changes


def test_a_run_is_repeated_from_its_settings(low: sightline.Run, tmp_path: Path) -> None:
    first = train(low.path, tmp_path, name="first", freeze="until:layer1", thaw_epoch=2, epochs=2)
    again = train(low.path, tmp_path, name="again", settings=Settings.from_toml(first.folder.settings), epochs=2)
    assert again.folder.history.read_bytes() == first.folder.history.read_bytes()
    assert again.folder.best.read_bytes() == first.folder.best.read_bytes()


class Killed(BaseException):
    """Stands for the end of the process."""


HOW: dict[str, Any] = {"epochs": 3, "freeze": "until:layer2", "thaw_epoch": 2, "old_lr": 0.3, "ema": 0.5}


@pytest.fixture(scope="module")
def straight(low: sightline.Run, tmp_path_factory: pytest.TempPathFactory) -> sightline.Run:
    """A fine-tuning that nobody interrupts; in its second epoch the frozen layers thaw."""
    return train(low.path, tmp_path_factory.mktemp("runs"), name="straight", **HOW)


@pytest.mark.parametrize(("done", "gone"), [(0, True), (1, False)])
def test_resumed_equals_uninterrupted_even_without_the_weights(
    low: sightline.Run, straight: sightline.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int, gone: bool
) -> None:
    """What is old and what is new the run remembers by itself."""
    given = shutil.copytree(low.path, tmp_path / "given")
    report = Trainer.report

    def dies(self: Trainer, epoch: int, *rest: Any) -> None:
        if epoch > done:
            raise Killed
        report(self, epoch, *rest)

    monkeypatch.setattr(Trainer, "report", dies)
    with pytest.raises(Killed):
        train(given, tmp_path, name="cut", **HOW)
    monkeypatch.setattr(Trainer, "report", report)
    if gone:
        shutil.rmtree(given)
    cut = sightline.resume(tmp_path / "cut", source=FEW, progress=QUIET)
    for file in ("history", "best", "last", "valid_losses"):
        assert getattr(cut.folder, file).read_bytes() == getattr(straight.folder, file).read_bytes(), file


def test_cut_off_before_its_first_checkpoint_it_needs_the_weights_again(
    straight: sightline.Run, tmp_path: Path
) -> None:
    cut = sightline.Run.load(shutil.copytree(straight.path, tmp_path / "cut"))
    for name in ("checkpoint", "history", "timing", "valid_losses", "best", "last"):
        getattr(cut.folder, name).unlink()
    cut.folder.write_state(status="stopped")
    settings = cut.folder.settings.read_text()
    cut.folder.settings.write_text(settings.replace(str(straight.settings.weights), str(tmp_path / "gone")))
    with pytest.raises(ModelError, match=r"there are no weights '.*gone'"):
        sightline.resume(cut.path, source=FEW, progress=QUIET)
    cut.folder.settings.write_text(settings)
    again = sightline.resume(cut.path, source=FEW, progress=QUIET)
    assert again.folder.best.read_bytes() == straight.folder.best.read_bytes()


# ImageNet


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Publish weights of a narrow network, and put their file where it would be looked for."""
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "cache" / "weights" / "resnet20" / "resnet20-12345678.pth"
    path.parent.mkdir(parents=True)
    torch.manual_seed(3)
    network = zoo.build("resnet20", in_channels=3, num_classes=1000, image_size=24, variant="public", stem="paper")
    torch.save(network.state_dict(), path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()
    file = File(path.name, ("https://example.org/resnet20-12345678.pth",), digits, path.stat().st_size)
    public = Public(file, "torchvision", "BSD-3-Clause", (0.5, 0.4, 0.3), (0.2, 0.3, 0.1), size=24)
    monkeypatch.setitem(PUBLIC, "resnet20", public)
    return path


def test_imagenet_brings_its_size_and_its_normalisation(imagenet: Path, tmp_path: Path, draw_folder: Any) -> None:
    photos = draw_folder(tmp_path / "photos", per_class=10, size=40)
    run = train("imagenet", tmp_path, source=photos, model="resnet20")
    assert run.settings.options == {"variant": "public", "stem": "paper"}
    assert run.settings.image_size == 24
    assert run.settings.old_lr == 0.1
    assert run.preprocessing.mean == (0.5, 0.4, 0.3)
    assert run.preprocessing.std == (0.2, 0.3, 0.1)
    reasons = json.loads(run.folder.data.read_text())["reasons"]
    assert "what the weights were trained at" in reasons["image_size"]
    assert "variant=public, stem=paper" in reasons["weights"]
    assert imagenet.with_suffix(".safetensors").is_file()
    assert run.predict(photos / "disc" / "0.png").labels


def prepared(source: Any, **changes: Any) -> Prepared:
    return prepare(sightline.load(source), Settings(weights="imagenet", model="resnet20", **changes), QUIET)


def test_a_size_of_the_users_own_wins(imagenet: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 12, 12, 3), dtype=np.uint8)
    found = prepared((x, np.arange(60) % 3), image_size=16).preprocessing
    assert (found.size, found.mean) == ((16, 16), (0.5, 0.4, 0.3))


def test_grey_images_get_the_mean_of_the_colours(imagenet: Path) -> None:
    found = prepared(FEW, image_size=8).preprocessing
    assert found.mean == (pytest.approx(0.4),)
    assert found.std == (pytest.approx(0.2),)


def test_floats_of_their_own_unit_are_measured(imagenet: Path) -> None:
    x = np.random.default_rng(0).normal(300, 40, (60, 8, 8, 3)).astype(np.float32)
    data = prepared((x, np.arange(60) % 3), image_size=8)
    assert data.preprocessing.mean[0] == pytest.approx(300, abs=5)
    assert data.weights.notes[-1] == "mean and deviation are those of these images: the weights know uint8 pixels"  # type: ignore[union-attr]


@pytest.mark.parametrize("normalise", ["pixel", "none"])
def test_another_normalisation_is_the_users_choice(imagenet: Path, normalise: str) -> None:
    data = prepared(FEW, image_size=8, normalise=normalise)
    assert data.preprocessing.normalisation == normalise
    assert data.weights.notes[-1] == f"inputs are normalised anew, by {normalise}"  # type: ignore[union-attr]


def test_signals_are_refused(imagenet: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 1, 40)).astype(np.float32)
    with pytest.raises(ModelError, match="are for images, and these are signals"):
        train("imagenet", tmp_path / "runs", source=(x, np.arange(60) % 3), model="resnet20")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"options": {"variant": "paper"}}, ModelError, "variant=public, not paper"),
        ({"options": {"width": 0.5}}, ModelError, "do not fit 'resnet20'"),
        ({"options": {"norm": "group"}}, ModelError, "do not fit 'resnet20'"),
        ({"freeze": "until:layer7"}, SettingsError, "has no stage 'layer7'"),
        ({"freeze": "features", "thaw_epoch": 9, "epochs": 3}, SettingsError, "only 3 epochs"),
        ({"model": "plain20"}, ModelError, "no public ImageNet weights for 'plain20'"),
        ({"freeze": "features", "weights": None}, SettingsError, "no weights are given"),
        ({"thaw_epoch": 3}, SettingsError, "nothing is frozen"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    imagenet: Path, tmp_path: Path, how: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        train(**{"weights": "imagenet", "runs": tmp_path / "runs", "model": "resnet20", **how})
    assert not (tmp_path / "runs").exists()
    assert not imagenet.with_suffix(".safetensors").exists(), "nothing is kept that did not fit"


def test_offline_the_command_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    result = CliRunner().invoke(
        app, ["train", "digits", "--weights", "imagenet", "--runs", str(tmp_path / "runs"), "-q"]
    )
    assert isinstance(result.exception, ModelError)
    file = PUBLIC["resnet18"].file
    for words in (file.name, file.urls[0], str(tmp_path / "cache" / "weights" / "resnet18"), "--download"):
        assert words in str(result.exception)
    assert not (tmp_path / "runs").exists()


# elsewhere


def test_the_search_for_a_rate_begins_with_the_weights(low: sightline.Run) -> None:
    plain: dict[str, Any] = {"options": {"width": WIDTH}, "device": "cpu", "precision": "fp32"}
    settings = Settings(weights=str(low.path), freeze="features", **plain)
    found = recipe.learning_rate(FEW, settings=settings, progress=QUIET)
    drawn = recipe.learning_rate(FEW, settings=Settings(**plain), progress=QUIET)
    assert found.losses != drawn.losses


def test_the_preview_has_the_weights_normalisation(low: sightline.Run, tmp_path: Path) -> None:
    settings = Settings(weights=str(low.path), runs=tmp_path)
    assert recipe.preview(FEW, settings=settings, progress=QUIET).is_file()


def test_data_depend_on_the_weights() -> None:
    plain = Settings(model="resnet18")
    assert depends_on(plain) == depends_on(Settings(model="vgg11"))
    assert depends_on(plain) != depends_on(Settings(weights="imagenet"))
    assert depends_on(Settings(weights="imagenet")) != depends_on(Settings(weights="imagenet", model="googlenet"))


def test_the_listing_says_which_networks_have_weights() -> None:
    rows = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)
    assert {row["name"] for row in rows if row["weights"]} == set(PUBLIC)
    assert all(row["weights"] in (None, "imagenet") for row in rows)


def test_fine_tuning_beats_training_from_scratch_on_50_images(low: sightline.Run) -> None:
    """A narrow ResNet-18, four seeds, the same 50 images of other digits for both, some 850 to score on."""
    gains = []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(HIGH[0]))
        few, rest = order[:50], order[50:]
        scores = []
        for weights in (low.path, None):
            how = {"options": {"width": WIDTH}, "epochs": 8, "lr": 0.003, "device": "cpu", "precision": "fp32"}
            model = sightline.ImageClassifier(weights=weights, valid_fraction=0.2, random_state=seed, **how)
            scores.append(model.fit(HIGH[0][few], HIGH[1][few]).score(HIGH[0][rest], HIGH[1][rest]))
        gains.append(scores[0] - scores[1])
    half = t.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / math.sqrt(len(gains))
    assert np.mean(gains) - half > 0, f"{gains}"


def test_an_estimator_takes_and_tells_its_weights(low: sightline.Run) -> None:
    model = sightline.ImageClassifier(weights=low.path, freeze="features", epochs=1, device="cpu", precision="fp32")
    assert model.get_params()["freeze"] == "features"
    model.fit(*FEW)
    theirs = load_file(low.folder.best)
    assert torch.equal(model.network_.state_dict()["conv1.weight"], theirs["conv1.weight"])
    assert replace(model._preprocessing, size=(8, 8)).mean == low.preprocessing.mean
