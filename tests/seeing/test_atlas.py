"""A map of images: like lies by like, the network stays as it was, regions hold what lies in them, pages show it."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sightline.errors import ModelError, SettingsError
from sightline.reports import atlases
from sightline.seeing import atlas as room
from sightline.seeing.atlas import Atlas, atlas


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(216, 3))


@pytest.fixture
def images() -> tuple[Tensor, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Three kinds of images that any layer can tell apart: red, green, blue."""
    labels = np.arange(60) % 3
    x = torch.randn(60, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.1
    x[torch.arange(60), torch.from_numpy(labels)] += 3
    return x, labels


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_like_lies_by_like(net: nn.Module, images: tuple[Tensor, np.ndarray], method: str) -> None:  # type: ignore[type-arg]
    x, labels = images
    net.train()
    before = copy.deepcopy(net.state_dict())
    found = atlas(net, x, labels, layer="0", method=method, batch_size=7)
    assert found.places.shape == (60, 2)
    assert found.places.min() >= 0
    assert found.places.max() <= 1
    assert found.features.shape == (60, 6)
    assert found.agreement() == found.agreement(features=True) == 1
    assert "60 images" in found.sentence
    assert ("variance" in found.sentence) == (method == "pca")
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        answers = net.eval()(x).argmax(dim=1).numpy()
    assert (found.answers == answers).all()
    assert (found.wrong == (answers != labels)).all()


def test_features_are_the_means_over_positions(net: nn.Module, images: tuple[Tensor, np.ndarray]) -> None:  # type: ignore[type-arg]
    x, labels = images
    found = atlas(net, x, labels, layer="0", method="pca")
    with torch.no_grad():
        np.testing.assert_allclose(found.features, net[0](x).mean(dim=(2, 3)), atol=1e-6)  # type: ignore[index]
        np.testing.assert_allclose(atlas(net, x, labels, layer="4", method="pca").features, net.eval()(x), atol=1e-5)
    centred = found.features - found.features.mean(axis=0)
    kept = np.linalg.svd(centred, compute_uv=False) ** 2
    assert found.kept == pytest.approx(kept[:2].sum() / kept.sum())


def test_neighbours_are_kept_that_two_components_would_lose() -> None:
    class Straight(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)[:, :, 0]

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

    labels, numbers = np.arange(120) % 3, torch.Generator().manual_seed(0)
    told = 2.5 * nn.functional.one_hot(torch.from_numpy(labels)) + 0.1 * torch.randn(120, 3, generator=numbers)
    x = torch.cat([1.5 * torch.randn(120, 2, generator=numbers), told], 1)[:, :, None]
    pca, tsne = (atlas(Straight(), x, labels, layer="layer", method=name) for name in ("pca", "tsne"))
    assert tsne.agreement() > max(pca.agreement() + 0.1, 0.9 * tsne.agreement(features=True))


def test_neighbours_are_kept_unless_images_are_many(
    net: nn.Module,
    images: tuple[Tensor, np.ndarray],  # type: ignore[type-arg]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert atlas(net, *images).method == "tsne"
    monkeypatch.setattr(room, "MANY", 59)
    assert atlas(net, *images).method == "pca"


def test_regions_hold_what_lies_in_them() -> None:
    places = np.repeat([[0.1, 0.9], [0.9, 0.9], [0.6, 0.1]], 6, axis=0)[:-2]
    features = np.arange(16.0)[:, None] * np.ones(4)
    numbers = np.zeros(16, np.int64)
    found = Atlas("layer", "pca", features, places, numbers, numbers, 1.0)
    regions = found.regions(2)
    assert [(region.row, region.column, len(region.members)) for region in regions] == [(0, 0, 6), (0, 1, 6)]
    assert regions[0].vector.tolist() == [2.5 - 7.5] * 4
    assert regions[1].typical in (8, 9)
    with pytest.raises(SettingsError, match="1 cells"):
        found.regions(1)


def test_the_page_shows_mistakes_and_regions(net: nn.Module, images: tuple[Tensor, np.ndarray]) -> None:  # type: ignore[type-arg]
    x, labels = images
    found = atlas(net, x, labels, layer="0", method="pca")
    array = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)
    regions = found.regions(3)
    dreams = [np.zeros((8, 8), np.uint8)] * len(regions)
    classes = ["<red>", "green", "blue"]
    rows = np.arange(10, 70)
    page = atlases.page(found, array, rows, classes, title="a & b", side=3, regions=regions, dreams=dreams)
    assert "a &amp; b" in page
    assert "<red>" not in page
    assert "&lt;red&gt;" in page
    assert page.count("<figure") == len(regions)
    assert len(re.findall(r"<image ", page)) >= 3
    assert len(re.findall('<circle[^>]*class="dot wrong"', page)) == found.wrong.sum()
    assert "regions" not in atlases.page(found, array, rows, classes, title="x").split("<main>")[1]
    assert atlases.measure(found)["images"] == 60


def test_bad_input_is_refused(net: nn.Module, images: tuple[Tensor, np.ndarray]) -> None:  # type: ignore[type-arg]
    x, labels = images
    with pytest.raises(SettingsError, match="umap"):
        atlas(net, x, labels, method="umap")
    with pytest.raises(SettingsError, match="2 images"):
        atlas(net, x[:2], labels[:2])
    with pytest.raises(ModelError, match="zero"):
        atlas(net, x, labels, layer="zero")
