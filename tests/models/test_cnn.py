"""The lecture's network: its names, its weights, and sizes its own code could not take."""

from __future__ import annotations

import pytest
import torch

from sightline.errors import ModelError
from sightline.models.cnn import CNNblocks, CNNConfig, ConvBlock

LECTURE = CNNConfig((28, 28), 64, 1, 64, 3, 2, 4, 10)


def test_the_lectures_settings_give_the_lectures_weights() -> None:
    # the list is mltrainer 0.3.6's CNNblocks for the same settings
    blocks = {"0": 1, "1": 64, "4": 64, "6": 64, "9": 64}
    expected = {}
    for block, maps_in in blocks.items():
        expected[f"convolutions.{block}.conv.0.weight"] = (64, maps_in, 3, 3)
        expected[f"convolutions.{block}.conv.2.weight"] = (64, 64, 3, 3)
        expected[f"convolutions.{block}.conv.0.bias"] = expected[f"convolutions.{block}.conv.2.bias"] = (64,)
    expected |= {"dense.1.weight": (64, 7 * 7 * 64), "dense.1.bias": (64,)}
    expected |= {"dense.3.weight": (10, 64), "dense.3.bias": (10,)}
    model = CNNblocks(LECTURE)
    assert {name: tuple(weight.shape) for name, weight in model.state_dict().items()} == expected
    assert sum(weight.numel() for weight in model.parameters()) == 534_410


def test_it_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    CNNblocks(LECTURE)
    assert capsys.readouterr() == ("", "")


def test_the_config_is_kept_as_a_dict() -> None:
    assert CNNblocks(LECTURE).config["hidden"] == 64


def test_its_weights_start_as_torchs_do() -> None:
    torch.manual_seed(3)
    model = CNNblocks(LECTURE)
    torch.manual_seed(3)
    block = ConvBlock(1, 64, 3)
    assert torch.equal(model.state_dict()["convolutions.0.conv.0.weight"], block.state_dict()["conv.0.weight"])


@pytest.mark.parametrize(
    ("shape", "kernel", "pool", "layers", "stride", "padding"),
    [
        ((28, 28), 5, 2, 2, 1, 1),  # every convolution takes two positions off
        ((28, 28), 5, 2, 4, 1, None),
        ((30, 17), 3, 3, 1, 1, 0),
        ((64, 64), 3, 2, 1, 2, 1),
        ((64, 48), 7, 2, 0, 3, 2),
        ((140,), 3, 2, 3, 1, 1),
        ((16, 16, 16), 3, 2, 2, 1, 1),
    ],
)
def test_the_head_fits_any_stride_padding_kernel_and_pool(
    shape: tuple[int, ...], kernel: int, pool: int, layers: int, stride: int, padding: int | None
) -> None:
    config = CNNConfig(shape, 4, 2, 6, kernel, pool, layers, 3, stride=stride, padding=padding)
    model = CNNblocks(config)
    logits = model(torch.randn(4, 2, *shape))
    assert logits.shape == (4, 3)
    logits.sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("norm", ["batch", "lazy", "group", "layer", "instance", "sync", "none"])
def test_norms(norm: str) -> None:
    config = CNNConfig((8, 8), 4, 1, 6, 3, 2, 1, 3, norm=norm)  # type: ignore[arg-type]
    assert CNNblocks(config)(torch.randn(4, 1, 8, 8)).shape == (4, 3)


def test_an_image_too_small_is_told_layer_by_layer() -> None:
    with pytest.raises(ModelError) as caught:
        CNNblocks(CNNConfig((8, 8), 4, 1, 6, 3, 2, 8, 3))
    fault, hint = caught.value.fault, caught.value.hint
    assert "an input of 1x8x8 is too small for 'CNNblocks': in 'convolutions.18' (max pool), a 2x2 window" in fault
    assert [line.split()[-3:] for line in fault.splitlines()[2:]] == [
        ["8x8", "->", "4x4"],
        ["4x4", "->", "2x2"],
        ["2x2", "->", "1x1"],
    ]
    assert "The smallest input these layers can take is 16x16" in hint
    CNNblocks(CNNConfig((16, 16), 4, 1, 6, 3, 2, 8, 3))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden", 0),
        ("kernel_size", 0),
        ("maxpool", -1),
        ("num_layers", -1),
        ("num_classes", 0),
        ("input_channels", 1.5),
    ],
)
def test_a_bad_config_is_refused(field: str, value: object) -> None:
    settings = {"matrixshape": (28, 28), "batchsize": 4, "input_channels": 1, "hidden": 8, "kernel_size": 3}
    settings |= {"maxpool": 2, "num_layers": 2, "num_classes": 10}
    with pytest.raises(ModelError, match=f"CNNConfig.{field}"):
        CNNConfig(**{**settings, field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(), (2, 3, 4, 5)])
def test_a_shape_of_no_axes_or_four_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="matrixshape"):
        CNNConfig(shape, 4, 1, 8, 3, 2, 2, 10)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_block_alone(dims: int) -> None:
    assert ConvBlock(2, 5, 3, dims=dims)(torch.randn(2, 2, *(9,) * dims)).shape == (2, 5, *(9,) * dims)
