"""Bounds on what units take in: which weights, how long, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tasks import network, weights
from torch import nn

from sightline.errors import SettingsError
from sightline.training.constraints import MaxNorm, units
from sightline.training.trainer import Trainer


def lengths(weight: torch.Tensor, axis: int) -> torch.Tensor:
    return weight.detach().movedim(axis, 0).flatten(1).norm(dim=1)


@given(st.integers(0, 10**6), st.floats(0.1, 5))
def test_longer_ones_are_scaled_back_and_the_others_left_alone(seed: int, limit: float) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), nn.ConvTranspose1d(2, 3, 3), nn.Linear(4, 3),
        nn.GRU(3, 2), nn.BatchNorm1d(3),
    )  # fmt: skip
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4)
        model[2].weight[0].zero_()
    before = weights(model)
    MaxNorm(model, limit)()
    found = units(model)
    assert len(found) == 5
    assert [axis for _, axis in found] == [0, 1, 0, 0, 0]
    names = {id(p): name for name, p in model.named_parameters()}
    for weight, axis in found:
        old, new = before.pop(names[id(weight)]), weight.detach()
        torch.testing.assert_close(lengths(new, axis), lengths(old, axis).clamp(max=limit))
        short = lengths(old, axis) < limit * 0.999
        assert torch.equal(new.movedim(axis, 0)[short], old.movedim(axis, 0)[short])
        cosine = nn.functional.cosine_similarity(new.movedim(axis, 0).flatten(1), old.movedim(axis, 0).flatten(1))
        assert (cosine[lengths(old, axis) > 0] > 1 - 1e-5).all()
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value), "norms and biases are no one's input"


def test_a_training_stays_within_the_bound(make: Callable[..., Trainer]) -> None:
    model = network()
    trainer = make(model=model, max_norm=0.5, optimizer_kwargs={"lr": 0.5})
    trainer.loop()
    for weight, axis in units(model):
        assert lengths(weight, axis).max() <= 0.5 * (1 + 1e-5)


def test_frozen_and_tied_weights() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert len(units(model)) == 1
    model[0].weight.requires_grad_(False)
    before = weights(model)
    MaxNorm(model, 0.01)()
    assert torch.equal(model[0].weight, before["0.weight"])


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_no_length_is_refused(make: Callable[..., Any], limit: float) -> None:
    with pytest.raises(SettingsError, match="'max_norm'"):
        make(max_norm=limit)
