"""Feature maps: what a layer gave, stage by stage, and the units that never answer."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from sightline.models.zoo import build
from sightline.seeing.layers import layers
from sightline.seeing.maps import maps, stages


def test_maps_are_what_the_layers_give() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(inplace=True), nn.Conv2d(5, 4, 3), nn.Flatten(), nn.LazyLinear(3))
    x = torch.randn(5, 2, 8, 8)
    model(x)
    [first, second] = maps(model, x, ["0", "2"], batch=2)
    with torch.no_grad():
        raw = model[0](x)
        assert np.allclose(first.values, raw.numpy(), atol=1e-6), "not what a ReLU in place left of it"
        assert np.allclose(second.values, model[2](raw.relu()).numpy(), atol=1e-6)
    assert first.signed
    assert first.strength.argmax() == first.values.std(axis=(0, 2, 3)).argmax()


def test_dead_units_are_counted() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2))
    with torch.no_grad():
        model[0].weight[:] = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1, 1)
        model[0].bias[:] = torch.tensor([0.0, 0.3, -9.0])
    [relu] = maps(model, torch.rand(4, 1, 4, 4), ["1"])
    assert relu.dead.tolist() == [1, 2], "one says the same of every image, one says nothing"
    assert not relu.signed


def test_stages_of_ours_and_of_others() -> None:
    ours = build("resnet20", in_channels=3, num_classes=10, image_size=16)
    found = stages(ours)
    assert "head" not in found
    assert [place.shape for place in found.values()][-1] == (64, 4, 4)
    inner = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    theirs = nn.Sequential(inner)
    assert list(stages(theirs, layers(theirs, (1, 8)))) == ["0.0", "0.1", "0.2"]
    [first, *_] = maps(theirs, torch.randn(3, 1, 8))
    assert first.values.shape == (3, 2, 6)
