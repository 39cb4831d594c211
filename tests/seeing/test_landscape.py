"""The loss around weights: directions as the paper has them, values as a plain loop gives them, gone on with."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.errors import RunError, SettingsError
from sightline.models.zoo import build
from sightline.reports.landscapes import landscapes
from sightline.seeing.landscape import Landscape, directions, landscape, read
from sightline.seeing.landscape import _steps as steps


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return build("lenet5", in_channels=1, num_classes=4, image_size=(12, 12)).eval()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 1, 12, 12, generator=generator), torch.arange(20) % 4


def test_directions_are_as_long_as_the_filters(net: nn.Module) -> None:
    weights = dict(net.named_parameters())
    found = directions(net, seed=3)
    assert set(found) == {name for name, p in weights.items() if p.ndim > 1}
    for name, pair in found.items():
        for way in pair:
            torch.testing.assert_close(way.flatten(1).norm(dim=1), weights[name].detach().flatten(1).norm(dim=1))
        assert (pair[0] != pair[1]).any()
    again, other = directions(net, seed=3), directions(net, seed=4)
    assert all(torch.equal(found[name][0], again[name][0]) for name in found)
    assert not any(torch.equal(found[name][0], other[name][0]) for name in found)


def test_norms_and_biases_stay_where_they_are() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    assert set(directions(net)) == {"0.weight", "3.weight"}


def test_the_losses_are_those_of_a_plain_loop(net: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    x, labels = batch
    found = landscape(net, x, labels, points=5, reach=0.5, seed=1, batch_size=7)
    ways = directions(net, seed=1)
    for i, up in enumerate(found.places):
        for j, across in enumerate(found.places):
            moved = copy.deepcopy(net)
            with torch.no_grad():
                for name, p in moved.named_parameters():
                    if name in ways:
                        p += float(across) * ways[name][0] + float(up) * ways[name][1]
                logits = moved(x)
            assert found.losses[i, j] == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
            assert found.errors[i, j] == pytest.approx(float((logits.argmax(1) != labels).float().mean()))
    assert found.complete
    assert (found.classes, found.images) == (4, 20)
    assert found.least == found.losses[2, 2]


def test_scaling_a_network_that_does_not_care_changes_nothing(batch: tuple[Tensor, Tensor]) -> None:
    """The paper's argument: weights before a batch norm can be multiplied by anything."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(400, 4))
    net.train()
    net(batch[0])
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        scaled[0].weight *= 7  # type: ignore[operator]
        scaled[0].bias *= 7  # type: ignore[operator]
        scaled[1].running_mean *= 7  # type: ignore[operator]
        scaled[1].running_var *= 49  # type: ignore[operator]
    one, other = (landscape(each, *batch, points=5).losses for each in (net, scaled))
    np.testing.assert_allclose(one, other, rtol=1e-3)


def test_the_network_stays_as_it_was(net: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    net.train()
    before, numbers = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    landscape(net, *batch, points=5)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert torch.equal(numbers, torch.get_rng_state())


def test_it_is_gone_on_with(net: nn.Module, batch: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "landscape.json"
    whole = landscape(net, *batch, points=5)
    part = landscape(net, *batch, points=5, path=path, minutes=1e-9)
    assert np.isfinite(part.losses).sum() == 1
    with pytest.raises(RunError, match="too little"):
        part.grid()
    told = json.loads(path.read_text(encoding="utf-8"))
    told["losses"][0][0] = 123.0  # a mark: what has been measured is not measured again
    path.write_text(json.dumps(told), encoding="utf-8")
    rest = landscape(net, *batch, points=5, path=path)
    assert rest.losses[0, 0] == 123
    assert (rest.losses.ravel()[1:] == whole.losses.ravel()[1:]).all()
    finer = landscape(net, *batch, points=9, path=path, minutes=1e-9)
    assert (finer.losses[::2, ::2] == rest.losses).all(), "a coarser grid is taken up"
    assert (finer.grid()[1] == rest.losses).all(), "and drawn until the finer one is done"
    other = landscape(net, *batch, points=5, seed=5, path=path)
    assert other.losses[0, 0] != 123
    assert (read(path).losses == other.losses).all()


def test_coarse_grids_come_first() -> None:
    assert steps(33) == [8, 4, 2, 1]
    assert steps(25) == [4, 2, 1]
    assert steps(7) == [1]


def made(name: str, losses: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Landscape:
    return Landscape(name, np.linspace(-1, 1, len(losses)), losses, np.zeros_like(losses), 10, 50, 0, "")


def test_a_bowl_only_rises_and_waves_do_not() -> None:
    places = np.linspace(-1, 1, 25)
    far = np.hypot(*np.meshgrid(places, places))
    bowl, waves = made("bowl", 0.1 + far**2), made("waves", 1 + np.sin(9 * far) ** 2)
    assert bowl.rising == 1
    assert waves.rising == 0
    assert bowl.around(0.5) == pytest.approx(0.35, abs=0.01)
    assert "100% of 64 straight walks" in bowl.sentence


def test_it_is_drawn() -> None:
    places = np.linspace(-1, 1, 13)
    far = np.hypot(*np.meshgrid(places, places))
    drawing = landscapes([made("one & only", 0.1 + 9 * far**2), made("wild", 0.1 + np.exp(9 * far))])
    root = ElementTree.fromstring(str(drawing))
    assert root.tag.endswith("svg")
    assert "one &amp; only" in str(drawing)
    assert "as good as guessing: 2.3" in str(drawing)
    flat = landscapes([made("flat", np.full((5, 5), 2.0))])
    ElementTree.fromstring(str(flat))
    with pytest.raises(SettingsError, match="5 landscapes"):
        landscapes([made("x", np.ones((5, 5)))] * 5)


@pytest.mark.parametrize("bad", [{"points": 4}, {"points": 3}, {"reach": 0}, {"reach": float("nan")}])
def test_bad_settings_are_refused(net: nn.Module, batch: tuple[Tensor, Tensor], bad: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="landscape of"):
        landscape(net, *batch, **bad)  # type: ignore[arg-type]


def test_a_file_that_is_no_landscape_is_refused(net: nn.Module, batch: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match="no landscape"):
        landscape(net, *batch, points=5, path=tmp_path / "x.json")
