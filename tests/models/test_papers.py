"""The law of papers: weights, multiplications and sizes are those that were published."""

from __future__ import annotations

import hashlib

import pytest
import torch

from sightline.models import arithmetic, zoo
from sightline.models.senet import from_timm, to_timm

PUBLIC = {"variant": "public"}


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("alexnet", PUBLIC, 61_100_840),
        ("alexnet", {}, 60_965_224),  # the paper says 60 million
        ("alexnet", {"columns": 1}, 62_378_344),
        ("vgg11", {}, 132_863_336),
        ("vgg13", {}, 133_047_848),
        ("vgg16", {}, 138_357_544),
        ("vgg19", {}, 143_667_240),
        ("vgg16_bn", {}, 138_365_992),
        ("googlenet", PUBLIC, 6_624_904),
        ("resnet18", {}, 11_689_512),
        ("resnet34", {}, 21_797_672),
        ("resnet50", {}, 25_557_032),
        ("resnet50", PUBLIC, 25_557_032),
        ("resnet101", {}, 44_549_160),
        ("resnet152", {}, 60_192_808),
        ("senet154", {}, 115_088_984),
        ("se_resnet50", {}, 28_088_024),
    ],
)
def test_parameters(name: str, options: dict[str, object], count: int) -> None:
    assert arithmetic.parameters(zoo.table(name, **options)) == count


@pytest.mark.parametrize(("layers", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_parameters_of_the_cifar_nets(layers: int, millions: float) -> None:
    count = zoo.parameters(f"resnet{layers}")
    assert round(count / 1e6, 1 if layers == 110 else 2) == millions
    if layers < 110:
        assert zoo.parameters(f"plain{layers}") == count  # option A learns nothing


@pytest.mark.parametrize(
    ("name", "billions"),
    # table 1 of the paper; 3.66 for 34 layers is given there as 3.6
    [("resnet18", 1.8), ("resnet34", 3.6), ("resnet50", 3.8), ("resnet101", 7.6), ("resnet152", 11.3)],
)
def test_multiply_adds_of_the_paper(name: str, billions: float) -> None:
    assert zoo.multiply_adds(name) / 1e9 == pytest.approx(billions, abs=0.07)


def test_lenets_layers() -> None:
    rows = {row.name: row for row in zoo.table("lenet5")}
    # section II.B: C1 156, S2 12, C3 1516, S4 32, C5 48120, F6 10164 trainable parameters
    counts = {"c1": 156, "s2.scale": 12, "c3": 1516, "s4.scale": 32, "c5": 48_120, "f6": 10_164}
    assert {name: rows[name].parameters for name in counts} == counts
    maps = {"c1": (6, 28, 28), "s2.pool": (6, 14, 14), "c3": (16, 10, 10), "s4.pool": (16, 5, 5), "c5": (120, 1, 1)}
    assert {name: rows[name].shape_out for name in maps} == maps


ALEXNET = {"conv1": (96, 27), "conv2": (256, 13), "conv3": (384, 13), "conv4": (384, 13), "conv5": (256, 6)}
VGG = {"block1": (64, 112), "block2": (128, 56), "block3": (256, 28), "block4": (512, 14), "block5": (512, 7)}
GOOGLENET = {"stem": (192, 28), "inception3a": (256, 28), "inception3b": (480, 28), "inception4a": (512, 14)}
GOOGLENET |= {"inception4b": (512, 14), "inception4c": (512, 14), "inception4d": (528, 14), "inception4e": (832, 14)}
GOOGLENET |= {"inception5a": (832, 7), "inception5b": (1024, 7)}
BASIC = {"stem": (64, 56), "layer1": (64, 56), "layer2": (128, 28), "layer3": (256, 14), "layer4": (512, 7)}
DEEP = {"layer1": (256, 56), "layer2": (512, 28), "layer3": (1024, 14), "layer4": (2048, 7)}


@pytest.mark.parametrize(
    ("name", "options", "stages"),
    [
        ("alexnet", {}, ALEXNET),
        ("vgg11", {}, VGG),
        ("vgg19", {}, VGG),
        ("googlenet", {}, GOOGLENET),
        ("googlenet", PUBLIC, GOOGLENET),
        ("resnet18", {}, BASIC),
        ("plain34", {}, BASIC),
        ("resnet50", {}, {"stem": (64, 56), **DEEP}),
        ("resnet50", PUBLIC, {"stem": (64, 56), **DEEP}),
        ("se_resnet50", {}, {"stem": (64, 56), **DEEP}),
        ("senet154", {}, {"stem": (128, 56), **DEEP}),
        ("resnet20", {}, {"stem": (16, 32), "layer1": (16, 32), "layer2": (32, 16), "layer3": (64, 8)}),
    ],
)
def test_sizes_of_the_stages(name: str, options: dict[str, object], stages: dict[str, tuple[int, int]]) -> None:
    entry = zoo.entry(name)
    with torch.device("meta"):
        model = zoo.build(
            name, in_channels=entry.native[0], num_classes=entry.classes, image_size=entry.native[1:], **options
        )
        seen = {}
        for stage, module in model.stages().items():
            module.register_forward_hook(lambda _, __, y, stage=stage: seen.update({stage: tuple(y.shape[1:])}))
        logits = model.eval()(torch.zeros(1, *entry.native))
    assert logits.shape == (1, entry.classes)
    assert model.adaptations == ()
    assert {stage: seen[stage] for stage in stages} == {s: (maps, side, side) for s, (maps, side) in stages.items()}
    assert list(seen)[-1] == "head"


# Made outside from torchvision 0.28.0 and timm 1.0.31 (names by ``from_timm``): the start of the SHA-256 of sorted
# "name shape" lines of the state_dict for 3x224x224 and 1000 classes, and how many there are.
STATE_DICTS = {
    "alexnet": ("935c1ea73a7869ee", 16),
    "googlenet": ("545eb1baab91f5d8", 344),
    "vgg11": ("b11acd4f90d9643f", 22),
    "vgg11_bn": ("56ed5816909a8132", 62),
    "vgg13": ("79ca8fd7a1480aa7", 26),
    "vgg13_bn": ("e4f52ce016e5e82f", 76),
    "vgg16": ("ba63c2556d912509", 32),
    "vgg16_bn": ("86bad13b66635552", 97),
    "vgg19": ("393fac8b08b63fbe", 38),
    "vgg19_bn": ("faf0fdbb92f698c6", 118),
    "resnet18": ("5191d63ec3989592", 122),
    "resnet34": ("f8de2a1812ef85e4", 218),
    "resnet50": ("a87e91cd6bd1f939", 320),
    "resnet101": ("dbc3ca74fffafc72", 626),
    "resnet152": ("7d486dbdc941506e", 932),
    "se_resnet18": ("333778322741b21e", 154),
    "se_resnet34": ("72d172b515f50af5", 282),
    "se_resnet50": ("f09b8fa1240f9e00", 384),
    "se_resnet101": ("c5f975790650d899", 758),
    "se_resnet152": ("5f44e06e0719a690", 1132),
    "senet154": ("a5b7c58635a57d8f", 1144),
}


def digest(name: str, **options: object) -> tuple[str, int]:
    with torch.device("meta"):
        options |= PUBLIC if "variant" in zoo.entry(name).options else {}
        state = zoo.build(name, in_channels=3, num_classes=1000, image_size=224, **options).state_dict()
    lines = "\n".join(f"{key} {tuple(value.shape)}" for key, value in sorted(state.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16], len(state)


@pytest.mark.parametrize("name", STATE_DICTS)
def test_a_state_dict_goes_to_and_from_the_public_implementations(name: str) -> None:
    assert digest(name) == STATE_DICTS[name]


def test_the_auxiliary_heads_have_the_public_names() -> None:
    assert digest("googlenet", auxiliary=True) == ("de3745733576b3b1", 364)


@pytest.mark.parametrize(
    ("timm", "ours"),
    [
        ("layer0.conv1.weight", "conv1.weight"),
        ("layer0.bn3.running_var", "bn3.running_var"),
        ("layer1.0.se_module.fc1.bias", "layer1.0.se.fc1.bias"),
        ("layer3.1.downsample.0.weight", "layer3.1.downsample.0.weight"),
        ("last_linear.weight", "fc.weight"),
    ],
)
def test_names_of_timm(timm: str, ours: str) -> None:
    assert (from_timm(timm), to_timm(ours)) == (ours, timm)
