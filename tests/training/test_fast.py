"""The ingredients of fast training: each does what its paper says."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sightline
from sightline.data import progressive
from sightline.data.augment import Augment, augment
from sightline.data.preprocess import Preprocessing
from sightline.data.stream import Stream
from sightline.errors import SettingsError
from sightline.making.beginning import begin
from sightline.making.course import check_sizes
from sightline.models.layers import norm
from sightline.models.network import Network
from sightline.models.plan import Norm
from sightline.models.whitening import kernels, whiten
from sightline.recipes import reading
from sightline.settings import Settings
from sightline.training import optim
from sightline.training.muon import MATCH, Muon, orthogonal
from sightline.training.muon_sgd import MOMENTUM, MuonSGD

# ---- Muon ----


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_orthogonal_brings_all_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) * 37
    found = orthogonal(matrix)
    assert found.shape == shape
    assert torch.linalg.svdvals(found).sub(1).abs().max() < 0.35
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0) > 0.95


def test_muon_steps_along_an_orthogonal_matrix_for_kernels_and_by_adam_for_the_rest() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = optim.build("muon", model, lr=0.01)
    assert isinstance(optimizer, Muon)
    assert [group["adam"] for group in optimizer.param_groups] == [False, True]
    (model(torch.randn(4, 3, 6, 6)) + 1).square().mean().backward()
    optimizer.step()
    moved = (before["0.weight"] - model[0].weight).detach().reshape(8, 27) / (0.01 * MATCH * 27**0.5)
    assert torch.linalg.svdvals(moved).sub(1).abs().max() < 0.35
    assert torch.allclose((before["1.bias"] - model[1].bias).abs(), torch.tensor(0.01), atol=1e-4)  # Adam's first step


def test_muon_decays_apart_from_the_gradient() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.zeros(2, 2)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(weight, torch.full((2, 2), 0.95))


def test_muon_gives_the_last_layer_to_adam() -> None:
    model = sightline.build("mlp", in_channels=1, num_classes=3, image_size=4)
    groups = optim.build("muon", model, lr=0.01).param_groups
    head = {id(p) for p in model.stages()["head"].parameters()}
    assert all(group["adam"] for group in groups for p in group["params"] if id(p) in head)
    assert any(not group["adam"] for group in groups)


def test_muonsgd_turns_kernels_of_fixed_length_and_lets_the_rest_descend() -> None:
    model = sightline.build("fastnet", in_channels=1, num_classes=3, image_size=16, width=0.125)
    optimizer = optim.build("muonsgd", model, lr=0.2, momentum=0.0, weight_decay=0.01, bias_lr=10)
    kernel, offset, last = model.features.conv1b.weight, model.features.norm1b.bias, model.fc.weight
    before = {p: p.detach().clone() for p in (kernel, offset, last)}
    model(torch.randn(4, 1, 16, 16)).square().mean().backward()
    optimizer.step()
    rows = len(kernel)
    moved = (before[kernel] * (rows**0.5 / before[kernel].norm()) - kernel).detach().reshape(rows, -1) / 0.2
    assert torch.linalg.svdvals(moved).max() < 1.3
    nesterov = 1 + MOMENTUM
    slope = offset.grad + 0.01 / 2.0 * before[offset]
    assert torch.allclose(before[offset] - offset, 2.0 * nesterov * slope, atol=1e-6)
    rate = 0.2 * optim.OPTIMIZERS["muonsgd"].head_lr
    assert torch.allclose(before[last] - last, nesterov * (rate * last.grad + 0.01 * before[last]), atol=1e-6)
    assert [group["weight_decay"] for group in optimizer.param_groups if group["lr"] == pytest.approx(0.2)] == [0.01, 0]


@pytest.mark.parametrize("options", [{"momentum": 1.0}, {"lr": -1.0}, {"sgd_momentum": -0.1}])
def test_muonsgd_refuses_what_is_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="momentum"):
        MuonSGD([nn.Parameter(torch.ones(2, 2))], **options)


# ---- lookahead, biases ----


def test_lookahead_goes_half_the_way_back() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = optim.build("sgd", model, lr=1.0, momentum=0.0, lookahead=2)
    seen = []
    for _ in range(5):
        model.weight.grad = torch.full((1, 1), -1.0)
        optimizer.step()
        seen.append(float(model.weight.detach()))
    # it begins at the first step's 1; two steps on it is at 3 and goes back to 2; then at 4 and back to 3
    assert seen == [1.0, 2.0, 2.0, 3.0, 3.0]


def test_lookahead_that_rises_ends_on_its_slow_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = optim.build("sgd", model, lr=1.0, momentum=0.0, lookahead=2, rising=4)
    seen = []
    for _ in range(4):
        model.weight.grad = torch.full((1, 1), -1.0)
        optimizer.step()
        seen.append(float(model.weight.detach()))
    kept = 0.95**2 * (3 / 4) ** 3  # after the third step, of the slow weight 1
    slow = kept * 1 + (1 - kept) * 3
    assert seen == pytest.approx([1.0, 2.0, slow, slow])


def test_norms_follow_batches_as_fast_as_they_are_told() -> None:
    x = torch.arange(8.0).view(2, 1, 2, 2)
    for share in (0.1, 0.4):
        built = norm(Norm(momentum=share), (1, 2, 2))
        built(x)
        assert float(built.running_mean) == pytest.approx(share * 3.5)
    network = sightline.build("fastnet", in_channels=1, num_classes=2, image_size=8, width=0.02, norm_momentum=0.4)
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.4}


def test_biases_learn_faster_and_the_rate_told_is_that_of_the_weights() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    groups = optim.build("sgd", model, lr=0.1, weight_decay=0.5, bias_lr=64).param_groups
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert found[id(model[0].weight)] == (0.1, 0.5)
    assert found[id(model[1].weight)] == (0.1, 0.0)
    assert found[id(model[1].bias)] == found[id(model[0].bias)] == (pytest.approx(6.4), 0.0)
    assert groups[0]["lr"] == 0.1


# ---- augmentation, sizes ----


def test_alternating_flips_show_both_ways_in_any_two_epochs() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4).repeat(40, 1, 1, 1)
    rows, y = np.arange(40), torch.zeros(40, dtype=torch.long)
    seen = [
        augment(x, y, rows, Augment(flip=True, alternate=True), seed=3, epoch=e, num_classes=1)[0] for e in range(3)
    ]
    mirrored = [(one != x).flatten(1).any(1) for one in seen]
    assert torch.equal(mirrored[0], ~mirrored[1])
    assert torch.equal(mirrored[0], mirrored[2])
    assert 5 < mirrored[0].sum() < 35
    with pytest.raises(SettingsError, match="flip"):
        Augment(alternate=True)


def test_sizes_grow_to_the_full_size_which_has_the_last_third() -> None:
    found = progressive.sizes((32, 64), 0.5, 12)
    assert found[0] == (16, 32)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(found))
    assert len(found) <= 8
    assert progressive.sizes((32, 32), 1.0, 12) == progressive.sizes((32, 32), 0.5, None) == ()
    assert progressive.sizes((10, 30), 1.0, 12) == ()  # whatever the sides are multiples of
    assert progressive.sizes((30, 30), 0.5, 12)[-1] <= (28, 28)
    assert 0.25 < progressive.work((32, 32), 0.5) < 1
    assert progressive.work((32, 32), 1.0) == 1


def test_a_stream_gives_small_images_first_and_resumes_with_them() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    spec = Preprocessing("image", 3, (16, 16)).fit(pixels, np.arange(6))

    def stream() -> Stream:
        return Stream(pixels, np.arange(6), np.arange(6), spec, batch_size=3, sizes=((8, 8), (12, 12)))

    one = stream()
    sides = [[x.shape[-1] for x, _ in one] for _ in range(3)]
    assert sides == [[8, 8], [12, 12], [16, 16]]
    two = stream()
    two.load_state_dict({"epoch": 1, "step": 1})
    assert next(iter(two))[0].shape[-1] == 12


def test_progressive_is_refused_where_weights_depend_on_the_size() -> None:
    settings = Settings(progressive=0.5)

    def built(name: str) -> Network:
        return sightline.build(name, in_channels=3, num_classes=4, image_size=64)

    check_sizes(settings, built("fastnet"), "image")
    check_sizes(Settings(), built("mlp"), "image")
    for name in ("mlp", "cnn"):
        with pytest.raises(SettingsError, match=f"'{name}' has no weights that take both"):
            check_sizes(settings, built(name), "image")
    with pytest.raises(SettingsError, match="signal has no size"):
        check_sizes(settings, built("fastnet"), "signal")


# ---- the network ----


@pytest.mark.parametrize("size", [(2,), (2, 2), (3, 2)])
def test_whitened_patches_are_uncorrelated_and_of_variance_one(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(300, 2, *(9,) * len(size)).cumsum(2)  # neighbours alike
    maps = 2 * 2 * int(np.prod(size))
    found = kernels(x, size, maps)
    conv = (torch.nn.functional.conv1d, torch.nn.functional.conv2d)[len(size) - 1]
    out = conv(x - x.mean(dim=(0, *range(2, x.ndim)), keepdim=True), found).movedim(1, -1).reshape(-1, maps)
    covariance = out[:, : maps // 2].T.cov()
    assert torch.allclose(covariance, torch.eye(maps // 2), atol=0.05)
    assert torch.equal(found[: maps // 2], -found[maps // 2 :])


def test_fastnet_is_whitened_on_training_inputs_and_stays_so(tmp_path: Path) -> None:
    run = sightline.train("digits", model="fastnet", options={"width": 0.05}, epochs=1, runs=tmp_path, compile="off",
                          probes=False, optimizer="muon", lookahead=2, bias_lr=4, instruments="none")  # fmt: skip
    data = run.data()
    start = begin(data, run.settings)
    assert start.freezing.names == {"features.whiten.weight"}
    trained, first = run.model.state_dict(), start.network.state_dict()
    assert torch.equal(trained["features.whiten.weight"], first["features.whiten.weight"])
    assert not torch.equal(trained["features.whiten.bias"], first["features.whiten.bias"])
    assert not torch.equal(trained["fc.weight"], first["fc.weight"])


def test_fastnet_begins_with_a_flat_softmax_and_blocks_that_pass_on() -> None:
    model = sightline.build("fastnet", in_channels=3, num_classes=10, image_size=32)
    assert isinstance(model, Network)
    whiten(model, torch.randn(64, 3, 32, 32))
    weight = model.get_submodule("features.conv2b").get_parameter("weight")
    assert torch.equal(weight[:, :, 1, 1], torch.eye(256))
    with torch.no_grad():
        assert model(torch.randn(64, 3, 32, 32)).softmax(1).max() < 0.4


@pytest.mark.parametrize("name", ["fast", "photos"])
def test_bundled_recipes_are_plain_settings(name: str) -> None:
    recipe = reading.read(name)
    assert not recipe.members
    assert recipe.settings().changed()


# ---- the start ----


def test_a_step_imports_no_compiler(tmp_path: Path) -> None:
    program = """
import sys, torch
from sightline.training import optim
for name in ("sgd", "adamw", "muon", "muonsgd"):
    model = torch.nn.Linear(2, 2)
    optimizer = optim.build(name, model, lr=0.1, weight_decay=0.1, lookahead=2)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
assert isinstance(optim.build("adam", model, lr=0.1), torch.optim.Adam)
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "RMSprop"])
def test_optimizers_that_leave_the_compiler_out_make_torchs_steps(name: str) -> None:
    torch.manual_seed(0)
    mine, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(mine.state_dict())
    builder = getattr(torch.optim, name)
    ours, plain = optim.make(builder, mine.parameters(), {"lr": 0.1}), builder(theirs.parameters(), lr=0.1)
    for _ in range(3):
        for model, optimizer in ((mine, ours), (theirs, plain)):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
    for own, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other)
    assert type(ours).__name__ == type(plain).__name__
    plain.load_state_dict(ours.state_dict())
