"""A network's name -> its public ImageNet weights: the file, where it is, its checksum, what goes in front of it.

Addresses, file names and sizes are those in torchvision 0.28 (``torchvision/models/*.py``) and timm 1.0.31
(``timm/models/senet.py``; sizes from its documentation). Both publish the first eight digits of a file's SHA-256 in its
name. All 64 digits are given where two or more independent public repositories that pin the same file agree on them;
elsewhere the eight published ones are all that can be checked. The copies of the timm files on the Hugging Face hub are
not listed, because no checksum of them is known here: such a file can be given by its path.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightline.download import File

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the red, green and blue of ImageNet's photos, as shares of the full range."""


@dataclass(frozen=True)
class Public:
    """The ImageNet weights of one network.

    Attributes:
        file: where it is and how it is known.
        source: the library whose network it is for.
        licence: of that library; the photos behind the weights have terms of their own.
        mean: what is taken from red, green and blue (0..1) before the network.
        std: what they are divided by then.
        size: side in pixels.
        classes: length of the logits.
    """

    file: File
    source: str
    licence: str
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    size: int = 224
    classes: int = 1000


def _torchvision(
    name: str,
    size: int | float,
    sha256: str = "",
    mean: tuple[float, float, float] = MEAN,
    std: tuple[float, float, float] = STD,
) -> Public:
    """Describe a file of torchvision; a ``size`` with a fraction is in MiB, as torchvision rounds it."""
    digits = sha256 or name.removesuffix(".pth").rpartition("-")[2]
    size, rounded = (round(size * 2**20), 600) if isinstance(size, float) else (size, 0)
    file = File(name, (f"https://download.pytorch.org/models/{name}",), digits, size, rounded)
    return Public(file, "torchvision", "BSD-3-Clause", mean, std)


def _timm(folder: str, name: str, size: int) -> Public:
    """Describe a file of timm; the size in its documentation is taken to be right within a megabyte."""
    address = f"https://github.com/rwightman/pytorch-image-models/releases/download/{folder}/{name}"
    digits = name.removesuffix(".pth").rpartition("-")[2]
    return Public(File(name, (address,), digits, size, 1_000_000), "timm", "Apache-2.0")


PUBLIC: dict[str, Public] = {
    "alexnet": _torchvision(
        "alexnet-owt-7be5be79.pth", 244_408_911, "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
    ),
    "vgg11": _torchvision("vgg11-8a719046.pth", 506.84),
    "vgg11_bn": _torchvision("vgg11_bn-6002323d.pth", 506.881),
    "vgg13": _torchvision("vgg13-19584684.pth", 507.545),
    "vgg13_bn": _torchvision("vgg13_bn-abd245e5.pth", 507.59),
    "vgg16": _torchvision(
        "vgg16-397923af.pth", 553_433_881, "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
    ),
    "vgg16_bn": _torchvision(
        "vgg16_bn-6c64b313.pth", 553_507_836, "6c64b3138f2f4fcb3bcc4cafde11619c4f440eb1631787e93a682fd88305888a"
    ),
    "vgg19": _torchvision(
        "vgg19-dcbb9e9d.pth", 574_673_361, "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"
    ),
    "vgg19_bn": _torchvision(
        "vgg19_bn-c79401a0.pth", 574_769_405, "c79401a0cf3cb42714e4182f5868c7a6f4f4534f5df9e956e2bb2098de41cbb6"
    ),
    # torchvision takes ImageNet's mean and deviation off and its network puts them on again ("transform_input"):
    # what the weights see is (pixel - 0.5) / 0.5
    "googlenet": _torchvision(
        "googlenet-1378be20.pth",
        49.731,
        "1378be20a8e875cf1568b8a71654e704449655e34711a959a38b04fb34905cef",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    "resnet18": _torchvision(
        "resnet18-f37072fd.pth", 46_830_571, "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"
    ),
    "resnet34": _torchvision(
        "resnet34-b627a593.pth", 83.275, "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f"
    ),
    "resnet50": _torchvision(
        "resnet50-0676ba61.pth", 102_530_333, "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"
    ),
    "resnet101": _torchvision(
        "resnet101-63fe2227.pth", 170.511, "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a"
    ),
    "resnet152": _torchvision(
        "resnet152-394f9c45.pth", 230.434, "394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58"
    ),
    "se_resnet18": _timm("v0.1-weights", "seresnet18-4bb0ce65.pth", 47_175_663),
    "se_resnet34": _timm("v0.1-weights", "seresnet34-a4004e63.pth", 87_958_697),
    "se_resnet50": _timm("v0.1-cadene", "se_resnet50-ce0d4300.pth", 112_611_220),
    "se_resnet101": _timm("v0.1-cadene", "se_resnet101-7e38fcc6.pth", 197_822_624),
    "se_resnet152": _timm("v0.1-cadene", "se_resnet152-d17c99b7.pth", 268_033_864),
    "senet154": _timm("v0.1-weights", "legacy_senet154-e9eb9fe6.pth", 461_488_402),
}
"""Every network with public weights, by its name in the zoo; ``--weights imagenet`` takes the file named here."""
