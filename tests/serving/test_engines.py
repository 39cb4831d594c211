"""Engines say what the network in fp32 says, or are not used; predictions do not depend on how they are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import sightline
from sightline.data.ahead import ahead
from sightline.data.preprocess import Preprocessing
from sightline.errors import MissingExtraError, SettingsError, SourceError
from sightline.serving import engines
from sightline.serving.predict import Predictor
from sightline.training.precision import Precision

CPU = torch.device("cpu")


def network(name: str, **options: Any) -> nn.Module:
    """Build a small network whose norms have seen something."""
    torch.manual_seed(0)
    model = sightline.build(name, in_channels=3, num_classes=4, image_size=16, **options)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 3, 16, 16) * 2 + 1)
    return model.eval()


def predictor(model: nn.Module | None = None, **options: Any) -> Predictor:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    spec = Preprocessing("image", 3, (16, 16)).fit(pixels, np.arange(8))
    return Predictor(model or network("cnn", width=0.25), ["a", "b", "c", "d"], spec, **options)


@pytest.mark.parametrize(
    ("name", "options", "left"),
    [
        ("resnet18", {"width": 0.125}, 0),
        ("vgg11_bn", {"width": 0.125}, 0),
        ("googlenet", {"width": 0.125, "norm": "batch"}, 0),
    ],
)
def test_folding_norms_changes_nothing_but_rounding(name: str, options: dict[str, Any], left: int) -> None:
    model = network(name, **options)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded = engines.fold(model)
    x = torch.randn(5, 3, 16, 16)
    assert torch.allclose(folded(x), model(x), atol=1e-4, rtol=1e-4)
    assert sum(isinstance(part, nn.BatchNorm2d) for part in folded.modules()) == left
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_norm_behind_two_branches_stays() -> None:
    """A norm is folded only where order of children is order of computing."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(self.norm(x))

    assert isinstance(engines.fold(Odd()).get_submodule("norm"), nn.BatchNorm2d)


@pytest.mark.parametrize("mode", ["fp32", "bf16"])
@pytest.mark.parametrize("engine", ["plain", "folded"])
def test_an_engine_gives_the_networks_logits_for_any_number_of_images(mode: Any, engine: str) -> None:
    model = network("resnet18", width=0.125)
    choice = engines.choose(model, torch.randn(8, 3, 16, 16), Precision(mode, CPU), engine=engine)
    assert choice.engine == engine
    assert choice.trials[-1].agree == 1
    x = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(choice.logits(x), model(x), atol=1e-3 if mode == "fp32" else 0.2)
    assert engine in choice.sentence
    assert choice.as_dict()["engine"] == engine


def test_openvino_gives_the_networks_logits() -> None:
    pytest.importorskip("openvino")
    model = network("cnn", width=0.25)
    choice = engines.choose(model, torch.randn(4, 3, 16, 16), Precision("fp32", CPU), engine="openvino")
    x = torch.randn(7, 3, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(choice.logits(x), model(x), atol=1e-3)


def test_an_engine_that_says_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: nn.Module, x: torch.Tensor, precision: Precision) -> engines.Logits:
        return lambda x: torch.eye(4)[torch.zeros(len(x), dtype=torch.long)] * 99

    def broken(model: nn.Module, x: torch.Tensor, precision: Precision) -> engines.Logits:
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setitem(engines.ENGINES, "folded", engines.Entry("wrong", wrong, 0.0))
    monkeypatch.setitem(engines.ENGINES, "openvino", engines.Entry("broken", broken, 0.0))
    monkeypatch.setitem(engines.ENGINES, "compiled", engines.Entry("costly", wrong, 1e9))
    model, x = network("cnn", width=0.25), torch.randn(16, 3, 16, 16)
    choice = engines.choose(model, x, Precision("fp32", CPU), work_s=100)
    assert choice.engine == "plain"
    assert "folded not used: a probability differs" in choice.sentence
    assert "openvino not used: it fails here (no compiler)" in choice.sentence
    with pytest.raises(SettingsError, match="differs"):
        engines.choose(model, x, Precision("fp32", CPU), engine="folded")


def test_labels_may_change_only_where_the_reference_is_undecided() -> None:
    sure, torn = [[3.0, 0.0]], [[0.01, 0.0]]
    of = lambda logits: torch.tensor(logits).double().softmax(1)  # noqa: E731
    assert not engines._judged("x", torch.tensor([[0.0, 0.01]]), of(torn), 1).fault
    assert engines._judged("x", torch.tensor([[0.0, 3.0]]), of(sure), 1).fault
    assert engines._judged("x", torch.tensor([[float("nan"), 3.0]]), of(sure), 1).fault


def test_predictions_are_the_same_by_every_engine(tmp_path: Path) -> None:
    one = predictor(batch_size=4)
    pixels = np.random.default_rng(1).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)
    plain, folded = one.predict(pixels, engine="plain"), one.predict(pixels, engine="folded")
    assert plain.engine is None
    assert folded.engine is not None
    assert np.allclose(plain.probabilities, folded.probabilities, atol=1e-4)
    assert np.array_equal(plain.probabilities, one.probabilities(one.logits(pixels)))


def test_much_work_is_given_to_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "FIRST_S", 0.0)
    monkeypatch.setitem(engines.ENGINES, "folded", engines.Entry("folded", engines._folded, 0.0))
    one = predictor(batch_size=2)
    pixels = np.random.default_rng(1).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    found = one.predict(pixels)
    assert found.engine is not None
    assert [trial.engine for trial in found.engine.trials] == ["fp32", "plain", "folded"]
    assert np.allclose(found.probabilities, one.predict(pixels, engine="plain").probabilities, atol=1e-4)


def test_an_unknown_or_missing_engine_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="Did you mean 'folded'"):
        predictor().predict("nowhere", engine="folder")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"sightline\[serve\]"):
        predictor().predict("nowhere", engine="openvino")
    with pytest.raises(SourceError, match="does not exist"):
        predictor().predict("nowhere")


def test_a_folder_is_recognised_in_order_and_what_is_bad_is_named(
    draw_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = draw_folder(tmp_path / "photos", per_class=9, size=16)
    (folder / "bar" / "3.png").write_bytes(b"no image")
    one = predictor(batch_size=5)
    found = one.predict(folder)
    files = [str(folder / kind / f"{n}.png") for kind in ("bar", "disc", "grid") for n in range(9)]
    assert [name for name, _ in found.refused] == [files.pop(3)]
    assert list(found.names) == files
    alone = np.stack([np.asarray(Image.open(file)) for file in files])
    assert np.allclose(found.probabilities, one.probabilities(one.logits(alone)), atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 3])
def test_ahead_keeps_the_order_and_never_makes_too_many(chunk: int) -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number * number

    taken = 0
    for taken, square in enumerate(ahead(make, iter(range(50)), most=6, chunk=chunk)):
        assert square == taken * taken
        assert len(made) <= taken + 6 + 2 * chunk
    assert taken == 49


def test_ahead_raises_what_was_raised_where_it_was() -> None:
    found = ahead(lambda number: 6 // number, [3, 2, 0, 1], most=2)
    assert [next(found), next(found)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_images_that_are_nearly_tied_are_asked_again_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is wrong only where two classes are close gives the network's own labels all the same."""
    model, x = network("cnn", width=0.25), torch.randn(64, 3, 16, 16)
    with torch.inference_mode():
        exact = model(x)
    spread = exact.softmax(1).topk(2).values.diff().abs().flatten()
    monkeypatch.setattr(engines, "DOUBT", float(spread.sort().values[32]))
    asked = []

    def swapped(model: nn.Module, x: torch.Tensor, precision: Precision) -> engines.Logits:
        def logits(x: torch.Tensor) -> torch.Tensor:
            out = model(x)
            close = out.softmax(1).topk(2).values.diff().abs().flatten() < engines.DOUBT
            asked.append(int(close.sum()))
            return torch.where(close[:, None], -out * 1e-3, out)

        return logits

    monkeypatch.setitem(engines.ENGINES, "folded", engines.Entry("swapped", swapped, 0.0))
    choice = engines.choose(model, x, Precision("fp32", CPU), engine="folded")
    with torch.inference_mode():
        assert torch.allclose(choice.logits(x), exact, atol=1e-5)
    assert asked[-1] == 32
