"""The noise of random batches: the formula, and the estimate where the truth is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tasks import network, same, weights
from torch import Tensor, nn

from sightline.training import noise
from sightline.training.noise import Noise, measure, scale
from sightline.training.precision import Precision


def test_the_scale_is_the_formula() -> None:
    assert scale(0.1, 50_000, 128) == pytest.approx(0.1 * (50_000 / 128 - 1))
    assert scale(0.1, 1000, 10, 0.9) == pytest.approx(10 * scale(0.1, 1000, 10))
    assert scale(0.2, 10**6, 200) == pytest.approx(scale(0.1, 10**6, 100), rel=1e-3)
    assert scale(0.1, 64, 64) == scale(0.1, 64, 128) == 0


class Plane(nn.Module):
    """A loss of mean(x w): each example's gradient is the example itself."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


def batches(count: int, size: int, mean: float) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    x = mean + torch.randn(count, size, 5, generator=generator) * torch.tensor([1.0, 2.0, 3.0, 0.5, 0.0])
    return [(one, torch.zeros(size)) for one in x]


def average(yhat: Tensor, y: Tensor) -> Tensor:
    return yhat.mean()


@pytest.mark.parametrize(("size", "mean"), [(20, 0.5), (4, 1.0), (100, 0.2)])
def test_the_estimate_is_near_the_truth(monkeypatch: pytest.MonkeyPatch, size: int, mean: float) -> None:
    """Five independent gradients with variances 1, 4, 9, 1/4, 0 around the mean."""
    monkeypatch.setattr(noise, "BATCHES", 400)
    found = measure(Plane(), average, batches(400, size, mean), Precision())
    assert found is not None
    assert (found.batch, found.batches) == (size, 400)
    assert found.scale == pytest.approx(14.25 / (5 * mean**2), rel=0.2)


@pytest.mark.parametrize("mode", ["fp32", "bf16"])
def test_the_model_is_left_as_it_was(mode: Any) -> None:
    model = network().eval()
    data = [(torch.rand(16, 1, 8, 8), torch.arange(16) % 10) for _ in range(10)]
    before, numbers = weights(model), torch.get_rng_state()
    found = measure(model, nn.CrossEntropyLoss(), data, Precision(mode))
    assert same(weights(model), before)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert found is not None
    assert found.batches == noise.BATCHES


def test_what_cannot_be_told() -> None:
    assert measure(Plane(), average, batches(1, 8, 1.0), Precision()) is None
    assert measure(Plane(), average, [(torch.full((4, 5), math.inf), torch.zeros(4))] * 3, Precision()) is None
    two = [*batches(2, 8, 1.0), (torch.ones(3, 5), torch.zeros(3))]
    found = measure(Plane(), average, two, Precision())
    assert found is not None
    assert found.batches == 2, "a short batch is another estimate"
    x = torch.randn(8, 5)
    lost = measure(Plane(), average, [(x, torch.zeros(8)), (-x, torch.zeros(8))], Precision())
    assert lost == Noise(8, 2, None)


@pytest.mark.parametrize(
    ("scale", "words"),
    [(None, "lost in the noise of 8 batches of 64"), (2345.6, "about 2,300; batches of 64 are shaken much"),
     (70.0, "about 70, and steps take 64"), (3.0, "batches of 64 are shaken little")],
)  # fmt: skip
def test_words(scale: float | None, words: str) -> None:
    found = Noise(64, 8, scale)
    assert words in found.sentence
    assert Noise(**found.as_dict()) == found
