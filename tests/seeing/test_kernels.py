"""Weights as pictures and tables: exact values, one scale with zero white."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sightline.errors import ModelError
from sightline.models.zoo import build
from sightline.seeing import picture
from sightline.seeing.kernels import kernels, named


def test_zero_is_white_and_signs_mirror_each_other() -> None:
    colours = picture.diverging(np.array([0.0, 2.0, -2.0, 1.0, -1.0, 9.0, np.nan]), 2.0)
    assert colours[0].tolist() == [255, 255, 255]
    assert tuple(colours[1]) == picture.FOR == tuple(colours[5])
    assert tuple(colours[2]) == picture.AGAINST
    assert colours[6].tolist() == [128, 128, 128]
    share = (255 - colours[3].astype(float)) / (255 - colours[1].astype(float))
    assert share == pytest.approx((255 - colours[4].astype(float)) / (255 - colours[2].astype(float)), abs=0.03)


def test_grey_stays_grey_and_colour_colour() -> None:
    assert picture.natural(np.full((1, 4, 4), 0.5)).shape == (4, 4)
    assert picture.natural(np.full((3, 4, 4), 0.5)).shape == (4, 4, 3)
    assert picture.natural(np.full((2, 4, 4), 1.0)).tolist() == [[255] * 4] * 4
    assert picture.natural(np.zeros((1, 9))).shape == (1, 9)
    assert picture.natural(np.zeros((1, 3, 4, 5))).shape == (4, 5)


def test_a_sheet_enlarges_by_whole_numbers() -> None:
    tiles = [np.array([[0, 255]], np.uint8), np.array([[255, 0]], np.uint8), np.array([[9, 9]], np.uint8)]
    page = picture.sheet(tiles, 2, factor=3, gap=1)
    assert page.shape == (7, 13, 3)
    assert page[:3, :3].max() == 0
    assert page[:3, 3:6].min() == 255
    assert (page[4:7, :6] == 9).all()


def test_the_kernels_are_the_weights() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(2, 5, bias=False))
    first, second, last = kernels(model)
    weight = model[0].weight.detach().numpy()
    assert first.first
    assert not second.first
    assert np.array_equal(first.weights, weight)
    assert first.norms == pytest.approx(np.linalg.norm(weight.reshape(4, -1), axis=1), rel=1e-6)
    assert first.order[0] == first.norms.argmax()
    assert first.picture(1, 2).shape == (3, 3, 3)
    assert first.picture(1).shape == (3, 11, 3)
    assert last.bias is None
    assert second.strongest_inputs(0, 2)[0][0] == abs(second.weights[0, :, 0, 0]).argmax()
    assert named([first, second], "2") is second
    with pytest.raises(ModelError, match="no layer with kernels is called '22'"):
        named([first, second], "22")


def test_a_first_dense_layer_is_shown_as_images() -> None:
    [first, last] = kernels(nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Linear(3, 2)), (1, 8, 8))
    assert first.weights.shape == (3, 1, 8, 8)
    assert first.picture(0).shape == (8, 8, 3)
    assert last.weights.shape == (2, 3)
    assert last.picture(0).shape == (1, 5, 3)


def test_connections_that_a_table_leaves_out_are_zero() -> None:
    model = build("lenet5", in_channels=1, num_classes=10, image_size=32)
    second = kernels(model)[1]
    assert second.weights.shape[:2] == (16, 6)
    assert (second.weights[0, 3:] == 0).all()
    assert abs(second.weights[0, :3]).min() > 0
    x = torch.randn(1, 6, 14, 14)
    table = model.get_submodule(second.layer)
    whole = torch.nn.functional.conv2d(x, torch.from_numpy(second.weights), table.get_parameter("bias"))
    assert torch.equal(table(x), whole)


def test_a_model_without_weights_has_no_kernels() -> None:
    with pytest.raises(ModelError, match="no convolution"):
        kernels(nn.ReLU())
