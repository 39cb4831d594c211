"""The last layer learnt anew: as scikit-learn's logistic regression, nothing else touched, nothing left hooked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from sightline.data.smote import Invented
from sightline.errors import ModelError
from sightline.models.zoo import ZOO, build
from sightline.training import head
from sightline.training.precision import Precision

RANDOM = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [60, 20, 6])
VALUES = (RANDOM.normal(size=(86, 5)) * [1, 2, 5, 0.1, 1] + LABELS[:, None] * [1, 0, 3, 0.1, 0]).astype(np.float32)
CPU = Precision("fp32", torch.device("cpu"))


def test_it_is_the_logistic_regression_of_even_classes() -> None:
    torch.manual_seed(0)
    layer, values = nn.Linear(5, 3), torch.from_numpy(VALUES.copy())
    found = head.relearn(layer, values, LABELS, seed=3)
    scaled = values.numpy()
    assert scaled.mean(axis=0) == pytest.approx(0, abs=1e-5)
    invented = scaled[found.first] + found.place[:, None] * (scaled[found.second] - scaled[found.first])
    x, y = np.concatenate([scaled, invented]), np.concatenate([LABELS, LABELS[found.first]])
    assert np.bincount(y).tolist() == [60, 60, 60]
    twin = LogisticRegression(C=1 / (head.STRENGTH * len(y)), max_iter=2000, tol=1e-8).fit(x, y)
    expected = twin.predict_proba(scaled)
    got = layer(torch.from_numpy(VALUES)).softmax(dim=1).detach().numpy()
    assert got == pytest.approx(expected, abs=5e-3)


def test_it_goes_through_the_examples_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = []
    for rows in (8192, 17):
        monkeypatch.setattr(head, "ROWS", rows)
        torch.manual_seed(0)
        layers.append(nn.Linear(5, 3))
        head.relearn(layers[-1], torch.from_numpy(VALUES.copy()), LABELS)
    assert torch.allclose(layers[0].weight, layers[1].weight, rtol=1e-2, atol=1e-3)


def test_features_are_what_the_last_layer_is_given() -> None:
    network = build("cnn", in_channels=1, num_classes=3, image_size=8, hidden=4, num_layers=1).train()
    x = torch.randn(7, 1, 8, 8)
    found = head.features(network, [(x[:4], x), (x[4:], x)], CPU)
    network.eval()
    assert torch.allclose(head.last_layer(network)(found), network(x), atol=1e-5)
    network.train()
    head.features(network, [(x, x)], CPU)
    assert network.training
    assert not any(part._forward_pre_hooks for part in network.modules())


@pytest.mark.parametrize("name", [name for name in ZOO if name in ("mlp", "lenet5", "googlenet", "bigru", "resnet20")])
def test_networks_of_the_zoo_have_a_last_layer(name: str) -> None:
    network = build(name, in_channels=3, num_classes=4, image_size=32)
    assert head.last_layer(network).out_features == 4


@pytest.mark.parametrize("network", [nn.Sequential(nn.Linear(3, 2)), nn.Linear(3, 2)])
def test_other_networks_are_refused(network: nn.Module) -> None:
    with pytest.raises(ModelError, match="space=values"):
        head.last_layer(network)


def test_the_nearest_other_is_no_parent() -> None:
    values = torch.tensor([[0.0], [1.0], [0.6], [5.0]])
    invented = Invented(np.array([0, 2]), np.array([1, 3]), np.array([0.5, 0.0], np.float32))
    assert head.nearest_others(values, invented).tolist() == [2, 1]
