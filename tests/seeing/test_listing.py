"""The layers of a network: as torch names them, as they run, with their shapes and units."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import sightline
from sightline.errors import ModelError
from sightline.models import arithmetic, zoo
from sightline.seeing.layers import layers


def test_shapes_are_those_of_the_plan() -> None:
    model = sightline.build("resnet20", in_channels=3, num_classes=10, image_size=32)
    found = layers(model)
    for row in arithmetic.table(model.plan):
        if row.name in found:
            assert found[row.name].shape == row.shape_out, row.name
    assert {row.name for row in arithmetic.table(model.plan) if row.parameters} <= {p.name for p in found}


def test_layers_come_in_the_order_they_finish() -> None:
    names = [p.name for p in layers(nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1)), (2,))]
    assert names == ["0.0", "0.1", "0", "1"]


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize(
    ("name", "shape"), [("transformer", (3, 16, 16)), ("transformer", (2, 64)), ("bigru", (1, 8, 8))]
)
def test_units_of_tokens_lie_on_the_last_axis(name: str, shape: tuple[int, ...], norm: str) -> None:
    options = {"norm": norm, "width": 0.25}
    model = zoo.build(name, in_channels=shape[0], num_classes=3, image_size=shape[1:], **options)
    found = layers(model)
    tokens = [p for p in found if len(p.shape) == 2 and p.kind not in ("Conv1d", "BatchNorm1d")]
    assert tokens
    assert all(p.axis == 2 for p in tokens), [p for p in tokens if p.axis != 2]
    assert all(p.axis == 1 for p in found if len(p.shape) != 2 or p.kind in ("Conv1d", "BatchNorm1d"))


def test_as_many_tokens_as_features_are_told_apart() -> None:
    class Turn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(1, 2)

    found = layers(
        nn.Sequential(nn.Conv1d(1, 6, 3, padding=1), nn.ReLU(), Turn(), nn.Dropout(), nn.Linear(6, 2)), (1, 6)
    )
    assert [p.axis for p in found] == [1, 1, 2, 2, 2]
    assert found["4"].units == 2
    assert found["4"].positions == (6,)
    assert found["4"].maps(torch.zeros(3, 6, 2)).shape == (3, 2, 6)


def test_units_have_stable_names() -> None:
    found = layers(nn.Sequential(nn.Conv2d(1, 4, 3)), (1, 5, 5))
    place, number = found.unit("0:3")
    assert (place.name, place.units, place.positions, number) == ("0", 4, (3, 3), 3)
    with pytest.raises(ModelError, match="no unit 4"):
        found.unit("0:4")
    with pytest.raises(ModelError, match="names no unit"):
        found.unit("0")


def test_what_is_not_there_is_said() -> None:
    model = sightline.build("cnn", in_channels=1, num_classes=10, image_size=8)
    with pytest.raises(ModelError, match=r"Did you mean 'convolutions.0.conv.0'\?"):
        layers(model)["convolution.0.conv.0"]
    with pytest.raises(ModelError, match="does not pass through"):
        layers(model, (3, 8, 8))
    with pytest.raises(ModelError, match="is not known"):
        layers(nn.Linear(1, 1))


def test_a_table_is_for_reading() -> None:
    text = str(layers(nn.Sequential(nn.Conv2d(1, 1200, 1), nn.ReLU()), (1, 5, 4)))
    assert text.splitlines()[1].split() == ["0", "Conv2d", "1200x5x4", "1,200", "2,400"]
