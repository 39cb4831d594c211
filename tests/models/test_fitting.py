"""Weights brought to another network: what they compute stays what it was, and every change is told or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.errors import ModelError
from sightline.models import zoo
from sightline.models.fitting import Fitted, fitted, pooling
from sightline.models.network import Network

TEN, FIVE = tuple("0123456789"), tuple("abcde")


def build(name: str = "resnet20", shape: tuple[int, ...] = (3, 16, 16), classes: int = 10, **options: Any) -> Network:
    torch.manual_seed(5)
    return zoo.build(name, in_channels=shape[0], num_classes=classes, image_size=shape[1:], **options)


def weights(network: Network) -> dict[str, Tensor]:
    """Give weights that are no start: another seed's, with statistics that are not 0 and 1."""
    torch.manual_seed(9)
    return {
        name: value + 0.1 * torch.rand_like(value) if value.is_floating_point() else value + 7
        for name, value in network.state_dict().items()
    }


def bring(network: Network, old: Network, given: dict[str, Tensor] | None = None, **classes: Any) -> Fitted:
    found = fitted(network, weights(old) if given is None else given, "'w'", their_plan=old.plan, **classes)
    network.load_state_dict(found.state)
    network.eval()
    return found


def loaded(network: Network) -> Network:
    network.load_state_dict(weights(network))
    return network.eval()


def features(network: Network, x: Tensor) -> Tensor:
    """Give what the head reads."""
    seen: list[Tensor] = []
    hook = network.stages()["head"].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    with torch.no_grad():
        network(x)
    hook.remove()
    return seen[0]


# heads


def test_other_classes_get_a_new_head_and_keep_the_rest() -> None:
    old, new = build(), build(classes=5)
    head = new.fc.weight.clone()
    found = bring(new, old, classes=FIVE, their_classes=TEN)
    assert found.fresh == {"fc.weight", "fc.bias"}
    assert found.changes == ("the head is new, for 5 classes; the weights were for 10 others",)
    assert torch.equal(new.fc.weight, head)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(features(new, x), features(loaded(old), x))


def test_as_many_but_other_classes_get_a_new_head() -> None:
    found = bring(build(), build(), classes=TEN, their_classes=tuple("abcdefghij"))
    assert found.fresh == {"fc.weight", "fc.bias"}


def test_unknown_classes_get_a_new_head() -> None:
    assert bring(build(), build(), classes=TEN).fresh == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("order", [list(range(10)), [3, 1, 2, 0, 9, 8, 7, 6, 5, 4]])
def test_the_same_classes_keep_the_head_in_their_order(order: list[int]) -> None:
    old, new = build(), build()
    classes = tuple(TEN[number] for number in order)
    found = bring(new, old, classes=classes, their_classes=TEN)
    assert found.fresh == frozenset()
    assert "the head is kept" in found.changes[-1]
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(new(x), loaded(old)(x)[:, order])


# channels


def test_grey_images_are_read_as_three_equal_channels() -> None:
    old, new = build(), build(shape=(1, 16, 16))
    found = bring(new, old)
    assert found.changes[0] == "the first kernels are summed over their 3 channels: images are grey"
    assert "conv1.weight" not in found.fresh
    x = torch.randn(2, 1, 16, 16)
    assert torch.allclose(features(new, x), features(loaded(old), x.expand(-1, 3, -1, -1)), atol=1e-5)


@pytest.mark.parametrize(("before", "now"), [(3, 4), (3, 6), (3, 13), (1, 3), (3, 2)])
def test_more_channels_read_repeated_ones_the_same(before: int, now: int) -> None:
    """Equal channels make no difference; a number that is no multiple of the old sees some of them once more."""
    old, new = build(shape=(before, 16, 16)), build(shape=(now, 16, 16))
    found = bring(new, old)
    assert found.changes[0] == f"the first kernels are repeated from {before} to {now} channels, times {before}/{now}"
    x = torch.randn(2, 1, 16, 16)
    if now % before:
        kernels = weights(old)["conv1.weight"]
        assert torch.allclose(new.conv1.weight, kernels[:, [c % before for c in range(now)]] * before / now)
    else:
        wide = x.expand(-1, now, -1, -1)
        assert torch.allclose(features(new, wide), features(loaded(old), x.expand(-1, before, -1, -1)), atol=1e-5)


def test_dense_networks_change_channels_too() -> None:
    old, new = build("mlp", (3, 8, 8)), build("mlp", (1, 8, 8))
    bring(new, old)
    x = torch.randn(2, 1, 8, 8)
    assert torch.allclose(features(new, x), features(loaded(old), x.expand(-1, 3, -1, -1)), atol=1e-5)


# sizes


@pytest.mark.parametrize("size", [16, 40, 64])
def test_convolutions_take_any_size(size: int) -> None:
    found = bring(build(shape=(3, size, size)), build(shape=(3, 32, 32)))
    assert found.changes == ("the head is new, for 10 classes; the weights were for 10 others",)


@pytest.mark.parametrize(("new", "old"), [(2, 7), (1, 7), (7, 7), (7, 2), (5, 3), (3, 5)])
def test_the_matrix_of_pooling_is_torchs(new: int, old: int) -> None:
    x = torch.randn(4, 1, new)
    assert torch.allclose(x @ pooling(new, old).T, F.adaptive_avg_pool1d(x, old), atol=1e-6)
    assert torch.allclose(pooling(new, old).sum(1), torch.ones(old))


@pytest.mark.parametrize(
    ("name", "sizes", "options"),
    [
        ("vgg11", ((224, 224), (64, 64)), {"width": 0.03, "hidden": 12}),
        ("vgg11", ((64, 96), (224, 224)), {"width": 0.03, "hidden": 12}),
        ("alexnet", ((224, 224), (128, 160)), {"width": 0.1, "hidden": 12, "variant": "public", "stem": "paper"}),
        ("cnn", ((16, 16), (28, 28)), {"hidden": 8}),
        ("mlp", ((8, 8), (12, 20)), {}),
        ("mlp", ((24,), (40,)), {}),
        ("mlp", ((4, 4, 4), (6, 5, 4)), {}),
    ],
)
def test_dense_layers_read_other_maps_as_if_pooled(
    name: str, sizes: tuple[tuple[int, ...], tuple[int, ...]], options: dict[str, Any]
) -> None:
    """The twin is the old network with adaptive pooling put in front of its dense layers."""
    old, new = (build(name, (2, *size), **options) for size in sizes)
    found = bring(new, old, classes=FIVE)
    place = {"mlp": "dense1", "cnn": "dense.1", "alexnet": "classifier.1", "vgg11": "classifier.0"}[name]
    assert any(f"'{place}' reads a map of" in change for change in found.changes)
    twin = loaded(old)
    flatten = next(part for _, part in twin.named_modules() if isinstance(part, nn.Flatten))
    maps = []
    hook = flatten.register_forward_pre_hook(lambda _, given: maps.append(given[0].shape[2:]))
    twin(torch.zeros(1, 2, *sizes[0]))
    hook.remove()
    pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(sizes[0]) - 1]
    flatten.register_forward_pre_hook(lambda _, given: (pool(given[0], maps[0]),))
    for part in twin.modules():
        if isinstance(part, nn.AdaptiveAvgPool2d):  # leave the map as the new network's convolutions made it
            part.output_size = next(p for p in new.modules() if isinstance(p, nn.AdaptiveAvgPool2d)).output_size
    x = torch.randn(2, 2, *sizes[1])
    assert torch.allclose(features(new, x), features(twin, x), rtol=1e-4, atol=1e-5)


def test_a_square_map_is_guessed_where_nobody_knows_it() -> None:
    old, new = build("mlp", (1, 8, 8)), build("mlp", (1, 12, 12))
    told = fitted(new, weights(old), "'w'", classes=FIVE)
    known = fitted(new, weights(old), "'w'", classes=FIVE, their_plan=old.plan)
    assert torch.equal(told.state["dense1.weight"], known.state["dense1.weight"])


@pytest.mark.parametrize(
    ("old", "new"), [((16, 16), (32, 32)), ((16, 32), (24, 16)), ((32,), (48,)), ((8,) * 3, (12,) * 3)]
)
def test_positions_are_interpolated(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    nets = [build("transformer", (1, *size), hidden=16, layers=1, patch=4) for size in (old, new)]
    given = weights(nets[0])
    found = bring(nets[1], nets[0], given)
    assert "the positions are interpolated from" in found.changes[0]
    grids = [tuple(side // 4 for side in size) for size in (old, new)]
    maps = [
        p.movedim(1, 2).unflatten(2, grid)
        for p, grid in zip((given["positions.weight"], found.state["positions.weight"]), grids, strict=True)
    ]
    assert maps[1].shape[2:] == grids[1]
    torch.testing.assert_close(maps[0].mean(), maps[1].mean(), atol=0.05, rtol=0)
    even = {**given, "positions.weight": torch.full_like(given["positions.weight"], 3.0)}
    again = bring(nets[1], nets[0], even)
    torch.testing.assert_close(again.state["positions.weight"], torch.full_like(nets[1].positions.weight, 3.0))


@pytest.mark.parametrize(
    ("name", "old", "new", "options"),
    [
        ("bigru", (1, 16, 16), (1, 16, 20), {}),  # what a unit reads of a row has another meaning
        ("transformer", (1, 16, 16), (1, 32, 32), {"patch": None}),
    ],
)
def test_what_cannot_be_brought_over_is_refused(
    name: str, old: tuple[int, ...], new: tuple[int, ...], options: dict[str, Any]
) -> None:
    target = build(name, new, **options)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(ModelError, match=rf"do not fit '{name}': .* in the file and .* in the network") as error:
        fitted(target, weights(build(name, old, **options)), "'w'")
    assert "image_size" in error.value.hint
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


# what is beside, and what is missing


def test_auxiliary_heads_are_left_out_by_name() -> None:
    old, new = (build("googlenet", (3, 32, 32), width=0.1, variant="public", auxiliary=aux) for aux in (True, False))
    found = bring(new, old, classes=FIVE)
    assert "the auxiliary heads in the file are left out: this network has none" in found.changes


def test_auxiliary_heads_are_new_where_the_network_has_them() -> None:
    old, new = (build("googlenet", (3, 32, 32), k, width=0.1, variant="public", auxiliary=True) for k in (10, 5))
    found = bring(new, old, classes=FIVE)
    assert {name.split(".")[0] for name in found.fresh} == {"aux1", "aux2", "fc"}


def test_old_files_without_counts_of_batches_are_taken() -> None:
    old, new = build(), build()
    given = {name: value for name, value in weights(old).items() if "num_batches" not in name}
    found = bring(new, old, given)
    assert "they start at 0" in found.changes[0]
    assert int(found.state["bn1.num_batches_tracked"]) == 0
    assert torch.equal(found.state["bn1.running_var"], given["bn1.running_var"])


def spoil(change: str, given: dict[str, Tensor]) -> dict[str, Tensor]:
    name = "layer1.0.conv1.weight"
    match change:
        case "missing":
            del given[name]
        case "unknown":
            given["layer1.0.conv9.weight"] = given[name]
        case "shape":
            given[name] = given[name][:, :, :2]
        case "transposed":
            given["layer2.0.conv1.weight"] = given["layer2.0.conv1.weight"].transpose(0, 1)
        case "nan":
            given[name] = torch.full_like(given[name], torch.nan)
        case "infinite":
            given["bn1.running_var"][0] = torch.inf
        case "whole numbers":
            given[name] = given[name].to(torch.int8)
        case "nothing":
            given.clear()
    return given


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", "'layer1.0.conv1.weight' is missing"),
        ("unknown", "'layer1.0.conv9.weight' is unknown"),
        ("shape", r"'layer1.0.conv1.weight' is \(16, 16, 2, 3\) in the file and \(16, 16, 3, 3\) in the network"),
        ("transposed", r"'layer2.0.conv1.weight' is \(16, 32, 3, 3\) in the file"),
        ("nan", "'layer1.0.conv1.weight' holds NaN or infinite values"),
        ("infinite", "'bn1.running_var' holds NaN or infinite values"),
        ("whole numbers", "'layer1.0.conv1.weight' is torch.int8 in the file and torch.float32 in the network"),
        ("nothing", "is missing"),
    ],
)
def test_a_fault_is_named_and_the_network_stays_as_it_was(change: str, words: str) -> None:
    network = build()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ModelError, match=words):
        fitted(network, spoil(change, weights(build())), "'w'", classes=TEN)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_weights_of_which_nothing_would_be_used_are_refused() -> None:
    with pytest.raises(ModelError, match="nothing of them would be used"):
        fitted(build("logistic"), weights(build("logistic")), "'w'", classes=FIVE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_the_networks(dtype: torch.dtype) -> None:
    given = {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights(build()).items()}
    found = fitted(build(), given, "'w'", classes=TEN)
    assert found.state["conv1.weight"].dtype == torch.float32
    torch.testing.assert_close(found.state["conv1.weight"], given["conv1.weight"].float())


@pytest.mark.parametrize(
    ("option", "value"), [("width", 0.5), ("depth", 2.0), ("norm", "group"), ("norm", "none"), ("se", 16)]
)
def test_another_architecture_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ModelError, match=r"do not fit 'resnet20'.*and \d+ more") as error:
        fitted(build(**{option: value}), weights(build()), "'w'", classes=TEN)
    assert "width, depth, norm" in error.value.hint
