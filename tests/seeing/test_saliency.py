"""Saliency: analytic values, captum's numbers, completeness, any input; and whether a map is to be believed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.errors import ModelError, SettingsError
from sightline.models.zoo import build
from sightline.seeing.saliency import METHODS, blurred, saliency
from sightline.seeing.trust import Judge, Trust, deletion, edges, shuffled

GREY = nn.Sequential(
    nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1),
    nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
)  # fmt: skip


def network(name: str) -> tuple[nn.Module, Tensor, str]:
    """Give a network, inputs, and the layer that Grad-CAM is to read."""
    torch.manual_seed(0)
    if name == "grey":
        return GREY.eval(), torch.randn(3, 1, 12, 12), "3"
    if name == "residual":
        return (
            build("resnet20", in_channels=3, num_classes=10, image_size=16).eval(),
            torch.randn(2, 3, 16, 16),
            "layer2",
        )
    return build("lenet5", in_channels=1, num_classes=10, image_size=28).eval(), torch.randn(3, 1, 28, 28), "c3"


def close(ours: NDArray[np.float32], theirs: Tensor) -> bool:
    """Within a ten-thousandth of the largest value."""
    wanted = theirs.detach().numpy()
    return ours.shape == wanted.shape and bool(abs(ours - wanted).max() <= 1e-4 * abs(wanted).max())


@pytest.mark.parametrize("name", ["grey", "residual", "lenet5"])
def test_the_numbers_are_those_of_captum(name: str) -> None:
    model, x, layer = network(name)
    targets = torch.arange(len(x))
    asked = x.clone().requires_grad_()
    windows = (x.shape[1], 4, 4)
    theirs = {
        "gradient": attr.Saliency(model).attribute(asked, targets, abs=False),
        "integrated": attr.IntegratedGradients(model).attribute(asked, target=targets, n_steps=20),
        "occlusion": attr.Occlusion(model).attribute(x, windows, (x.shape[1], 3, 3), target=targets),
    }
    for method, wanted in theirs.items():
        found = saliency(model, x, targets, method, window=4, stride=3, steps=20, exact=float("inf"))
        assert close(found.raw, wanted), method
    if name != "grey":  # there a ReLU works in place on what captum keeps of the layer
        wanted = attr.LayerGradCam(model, model.get_submodule(layer)).attribute(x, targets, relu_attributions=True)
        found = saliency(model, x, targets, "gradcam", layer=layer)
        assert close(found.raw, wanted[:, 0])


def test_a_linear_model_is_explained_by_its_weights() -> None:
    """There all ways have closed forms: w, w * (x - x0), and for occlusion the mean over the windows of their sums."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 6, 3))
    x, w = torch.randn(2, 2, 6), model[1].weight.detach().view(3, 2, 6)
    targets = torch.tensor([2, 0])
    own = w[targets]
    found = {m: saliency(model, x, targets, m, window=1, stride=1) for m in METHODS if m != "gradcam"}
    assert found["gradient"].raw == pytest.approx(own.numpy(), abs=1e-6)
    assert found["smoothgrad"].raw == pytest.approx(own.numpy(), abs=1e-6)
    assert found["integrated"].raw == pytest.approx((own * x).numpy(), abs=1e-5)
    assert found["occlusion"].values == pytest.approx((own * x).sum(1).numpy(), abs=1e-5)
    assert found["integrated"].missed.max() < 1e-4
    moved = saliency(model, x, targets, "integrated", baseline=torch.ones(1, 2, 6))
    assert moved.raw == pytest.approx((own * (x - 1)).numpy(), abs=1e-5)


def test_integrated_gradients_sum_to_the_difference() -> None:
    model, x, _ = network("lenet5")
    found = saliency(model, x, method="integrated", steps=2)
    with torch.no_grad():
        logits = model(torch.cat([x, torch.zeros_like(x)])).gather(
            1, torch.from_numpy(found.targets).repeat(2)[:, None]
        )
    difference = (logits[: len(x)] - logits[len(x) :])[:, 0].numpy()
    assert found.steps > 2, "two steps cannot be enough, so more are taken"
    assert found.missed.max() <= 0.01
    assert found.values.sum(axis=(1, 2)) == pytest.approx(difference, rel=0.011)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8, 8), (3, 32, 32), (2, 40), (1, 6, 6, 6)])
def test_any_input_and_frozen_weights(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(shape) - 2]
    model = nn.Sequential(
        nn.ReLU(inplace=True), conv(shape[0], 4, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(),
        nn.LazyLinear(3),
    )  # fmt: skip
    x = torch.randn(2, *shape)
    model(x.clone())
    model.requires_grad_(False)
    before, kept = x.clone(), {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for method in METHODS:
            found = saliency(model, x, method=method, steps=4)
            assert found.values.shape == (2, *shape[1:])
            assert np.isfinite(found.values).all()
            assert len(found.cells) == len(shape) - 1
            assert found.signed or found.values.min() >= 0
    assert torch.equal(x, before)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    assert model.training
    assert not any(part._forward_hooks for part in model.modules())


def test_the_resolution_is_said() -> None:
    model, x, _ = network("lenet5")
    assert saliency(model, x, method="gradcam", layer="c3").resolution == "10×10 cells on 28×28 positions"
    assert saliency(model, x, method="gradient").resolution == "every position (28×28)"
    assert saliency(model, x, method="occlusion", window=7, stride=7).cells == (4, 4)
    assert saliency(model, x, method="occlusion", window=5, stride=4).cells == (7, 7)


def test_what_cannot_be_asked_is_refused() -> None:
    model, x, _ = network("lenet5")
    with pytest.raises(SettingsError, match="Did you mean 'gradcam'"):
        saliency(model, x, method="gradcamm")
    with pytest.raises(SettingsError, match="is no baseline"):
        saliency(model, x, baseline="white")
    with pytest.raises(ModelError, match="do not fit 3 images and 10 classes"):
        saliency(model, x, torch.tensor([0, 1, 10]))
    with pytest.raises(ModelError, match="Grad-CAM needs positions"):
        saliency(model, x, method="gradcam", layer="f6")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    with pytest.raises(ModelError, match="so Grad-CAM has none to weigh"):
        saliency(flat, x, method="gradcam")


def test_blurred_keeps_the_mean_of_a_flat_image_and_loses_detail() -> None:
    flat = torch.full((1, 1, 9, 9), 0.7)
    assert blurred(flat).numpy() == pytest.approx(flat.numpy(), abs=1e-6)
    assert float(blurred(torch.randn(1, 2, 30)).std()) < 0.5


class Corner(nn.Module):
    """Calls an image class 1 if its first pixel is bright; nothing else matters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(64))
        self.weight.data[0] = 4.0

    def forward(self, x: Tensor) -> Tensor:
        evidence = x.flatten(1) @ self.weight
        return torch.stack([-evidence, evidence], dim=1)


def test_deleting_what_matters_lowers_the_probability_first() -> None:
    x = torch.ones(2, 1, 8, 8)
    targets = np.array([1, 1])
    order = np.zeros((2, 8, 8), np.float32)
    order[0, 0, 0] = 1.0  # the first image loses its corner at once, the second at last
    order[1] = 1.0 - (np.arange(64).reshape(8, 8) == 0)
    areas = deletion(Corner(), x, targets, order, torch.zeros(1))
    sure = 1 / (1 + np.exp(-8))
    steps = 16
    assert areas[0] == pytest.approx((sure / 2 + 0.5 * (steps - 1) + 0.25) / steps)
    assert areas[1] == pytest.approx((sure / 2 + sure * (steps - 1) + 0.25) / steps)


def test_a_map_that_is_right_is_trusted_and_one_of_edges_is_not() -> None:
    numbers = torch.Generator().manual_seed(0)
    x = torch.randn(6, 1, 8, 8, generator=numbers) * 0.1
    x[:, 0, 0, 0] = 1.0
    x[:, 0, 4, 4] = 3.0  # the strongest edge is elsewhere
    targets = np.ones(6, np.int64)
    model = Corner()
    judge = Judge.of(model, x, targets, torch.zeros(1))
    told = judge.trust(saliency(model, x, targets, "integrated"))
    assert told.learnt
    assert told.explains
    assert told.area < told.chance
    assert told.area < told.edges
    assert "faster than deleting edges" in told.sentence
    assert float(model.weight.detach().sum()) == 4.0, "the model is not the one that was shuffled"


def test_the_sentence_says_what_is_wrong_with_a_map() -> None:
    assert "hardly depends on what was learnt" in Trust("gradient", 4, 0.7, 0.2, 0.4, 0.5).sentence
    assert "no more than edges do" in Trust("gradient", 4, 0.1, 0.4, 0.4, 0.5).sentence
    assert "no more than chance does" in Trust("gradient", 4, 0.1, 0.4, 0.5, 0.3).sentence
    assert not Trust("gradient", 4, 0.1, 0.4, 0.5, 0.3).explains
    hardly = Trust("gradient", 4, 0.1, 0.458, 0.461, 0.5)
    assert not hardly.explains
    assert "no more than edges" in hardly.sentence


def test_shuffling_keeps_the_numbers_and_loses_their_order() -> None:
    model, x, _ = network("lenet5")
    other = shuffled(model, seed=3)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine.flatten().sort().values, theirs.flatten().sort().values)
    assert not torch.allclose(model(x), other(x))


def test_edges_are_where_values_change() -> None:
    x = torch.zeros(1, 2, 6, 6)
    x[..., 3:] = 1.0
    found = edges(x)[0]
    assert found[:, 2:4].min() > 0
    assert found[:, [0, 1, 4, 5]].max() == 0
    assert edges(torch.zeros(1, 1, 1)).shape == (1, 1)
