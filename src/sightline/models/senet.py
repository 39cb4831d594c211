"""Hu, Shen and Sun, "Squeeze-and-Excitation Networks" (2018): SE-ResNets and SENet-154, as plans."""

from __future__ import annotations

from math import gcd

from sightline.models import resnet
from sightline.models.plan import Chain, Conv, Layer, Plan, Pool, Shape, by
from sightline.models.resnet import WIDE, Net
from sightline.models.style import Filled, Parts, Stem, Style, Variant


def public_basic(maps: int, stride: int, style: Filled, variant: Variant, zero: bool) -> Parts:
    """Make ResNet's basic block; the public weights have one more activation, before the excitation."""
    plain = resnet.basic(maps, stride, style, variant, zero)
    return (*plain, *style.act("relu2")) if variant == "public" else plain


def caffe_bottleneck(maps: int, stride: int, style: Filled, variant: Variant, zero: bool) -> Parts:
    """Make ResNet's bottleneck with the stride in its first 1x1 convolution, in the public weights as in the paper."""
    return resnet.bottleneck(maps, stride, style, "paper", zero)


def grouped_bottleneck(maps: int, stride: int, style: Filled, variant: Variant, zero: bool) -> Parts:
    """Make SENet-154's block (appendix): 1x1 to twice the maps, 3x3 in 64 groups to four times, 1x1."""
    groups = gcd(64, 2 * maps)
    return (
        *style.conv(Conv(1, maps=2 * maps), ("conv1", "bn1", "relu1")),
        *style.conv(Conv(3, maps=4 * maps, stride=stride, groups=groups), ("conv2", "bn2", "relu2")),
        *style.conv(Conv(1, maps=4 * maps), ("conv3", "bn3", None), zero=zero),
    )


def caffe_stem(shape: Shape, small: bool, style: Filled, variant: Variant) -> tuple[Parts, tuple[str, ...]]:
    """Make ResNet's stem; the public weights pool without padding, keeping the window that overhangs the end."""
    parts, notes = resnet.imagenet_stem(shape, small, style, variant)
    return tuple((name, _overhang(layer) if variant == "public" else layer) for name, layer in parts), notes


def triple_stem(shape: Shape, small: bool, style: Filled, variant: Variant) -> tuple[Parts, tuple[str, ...]]:
    """Make SENet-154's three 3x3 convolutions, the first with stride 2, and a pool; small, without both strides."""
    first = style.first(Conv(3, maps=style.wide(64), stride=1 if small else 2))
    convs = (
        *style.conv(first, ("conv1", "bn1", "relu1")),
        *style.conv(Conv(3, maps=style.wide(64)), ("conv2", "bn2", "relu2")),
        *style.conv(Conv(3, maps=style.wide(128)), ("conv3", "bn3", "relu3")),
    )
    if small:
        return convs, (f"the stem has stride 1 and no pool: the input is {by(shape)}",)
    return (*convs, ("maxpool", style.pool(3, 2, 0, ceil=True))), ()


def wide_projection(maps: int, stride: int, style: Filled) -> Layer:
    """Make SENet-154's shortcut: 3x3 where the size changes, so that no position is skipped, else 1x1."""
    return Chain(style.conv(Conv(3 if stride > 1 else 1, maps=maps, stride=stride), ("0", "1", None)))


def _overhang(layer: Layer) -> Layer:
    return Pool(layer.kernel, layer.stride, 0, ceil=True, kind=layer.kind) if isinstance(layer, Pool) else layer


# ResNet's table 1 with excitation in every block (paper: fig. 3, table 2), and SENet-154 (appendix)
TABLE = {
    "se_resnet18": Net(public_basic, 1, (2, 2, 2, 2), WIDE, caffe_stem, "B"),
    "se_resnet34": Net(public_basic, 1, (3, 4, 6, 3), WIDE, caffe_stem, "B"),
    "se_resnet50": Net(caffe_bottleneck, 4, (3, 4, 6, 3), WIDE, caffe_stem, "B"),
    "se_resnet101": Net(caffe_bottleneck, 4, (3, 4, 23, 3), WIDE, caffe_stem, "B"),
    "se_resnet152": Net(caffe_bottleneck, 4, (3, 8, 36, 3), WIDE, caffe_stem, "B"),
    "senet154": Net(grouped_bottleneck, 4, (3, 8, 36, 3), WIDE, triple_stem, "B", wide_projection),
}
TIMM = (("layer0.", ""), ("last_linear.", "fc."), ("se_module.", "se."))
"""A part's name in the public weights (timm's ``legacy_senet154``, ``legacy_seresnet18`` ...) -> its name here."""


def senet(
    name: str,
    shape: Shape,
    classes: int,
    style: Style,
    *,
    variant: Variant = "paper",
    stem: Stem = "auto",
    zero_init: bool = False,
) -> Plan:
    """Plan a squeeze-and-excitation net of the paper; the reduction is 16 unless the option ``se`` says otherwise.

    Args:
        name: a name of ``TABLE``.
        shape: the input, ``(channels, *positions)``, one to three axes.
        classes: length of the logits.
        style: norm (batch), activation (relu), pooling (max), dropout (SENet-154: 0.2) and the other shared options.
        variant: ``public`` follows the public weights where they differ from the paper: the stem's pool, and one
            more activation in basic blocks.
        stem: ``paper``, ``small`` or ``auto``: small up to 48 positions a side.
        zero_init: start the last norm of every block at 0.
    """
    filled = style.filled(norm="batch", dropout=0.2 if name == "senet154" else 0.0, se=16)
    return resnet.assemble(TABLE[name], name, shape, classes, filled, variant, stem, zero_init)


def from_timm(name: str) -> str:
    """Give the name here of a parameter in the public weights, by the table ``TIMM``."""
    for theirs, ours in TIMM:
        name = name.replace(theirs, ours)
    return name


def to_timm(name: str) -> str:
    """Give the name in the public weights of a parameter here; the inverse of ``from_timm``."""
    if name.startswith("fc."):
        return name.replace("fc.", "last_linear.", 1)
    return name.replace(".se.", ".se_module.") if name.startswith("layer") else f"layer0.{name}"
