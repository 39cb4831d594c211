"""A name -> a network: one literal table of every network there is, and ``build``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sightline.errors import ModelError, did_you_mean
from sightline.models import (
    alexnet,
    arithmetic,
    convnet,
    fastnet,
    googlenet,
    lenet,
    mlp,
    resnet,
    senet,
    sequence,
    style,
    vgg,
)
from sightline.models.plan import Plan, Shape, by
from sightline.settings import AUTO

if TYPE_CHECKING:
    from sightline.models.network import Network

CNN = frozenset(
    {
        "norm", "norm_momentum", "activation", "pooling", "dropout", "spatial_dropout", "se", "width", "depth",
        "stride", "padding", "adapt",
    }
)  # fmt: skip
RESIDUAL = CNN | {"stochastic_depth"}
MLP = frozenset({"norm", "activation", "dropout", "width"})


@dataclass(frozen=True)
class Entry:
    """One network of the zoo.

    Attributes:
        builder: makes the plan from (name, shape, classes, style) and the network's own keyword options.
        paper: who published it, and where.
        year: of that paper.
        idea: what was new, in one line.
        native: the input of the paper, ``(channels, *positions)``.
        classes: the paper's number of classes.
        dims: numbers of axes it takes: 1 signals, 2 images, 3 volumes.
        shared: the options of ``sightline.models.style.Style`` that mean something for it.
    """

    builder: Callable[..., Plan]
    paper: str
    year: int
    idea: str
    native: Shape = (3, 224, 224)
    classes: int = 1000
    dims: tuple[int, ...] = (1, 2, 3)
    shared: frozenset[str] = CNN

    @property
    def own(self) -> dict[str, Any]:
        """Give the network's own options with their defaults."""
        signature = inspect.signature(self.builder)
        return {name: p.default for name, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY}

    @property
    def options(self) -> tuple[str, ...]:
        """List every option it takes."""
        return (*self.own, *(name for name in style.names() if name in self.shared))


HE = "He et al., Deep Residual Learning for Image Recognition"
SIMONYAN = "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition"
HU = "Hu et al., Squeeze-and-Excitation Networks"
DIGITS = (1, 28, 28)
CIFAR = (3, 32, 32)


def _vgg(idea: str) -> Entry:
    return Entry(vgg.vgg, SIMONYAN, 2014, idea)


def _resnet(idea: str) -> Entry:
    return Entry(resnet.resnet, HE, 2015, idea, shared=RESIDUAL)


def _small_resnet(idea: str) -> Entry:
    return Entry(resnet.resnet, HE, 2015, idea, CIFAR, 10, shared=RESIDUAL)


def _senet(idea: str) -> Entry:
    return Entry(senet.senet, HU, 2018, idea, shared=RESIDUAL)


ZOO: dict[str, Entry] = {
    "logistic": Entry(
        mlp.logistic,
        "Cox, The Regression Analysis of Binary Sequences",
        1958,
        "one weight from every pixel to every class",
        DIGITS,
        10,
        shared=frozenset({"dropout"}),
    ),
    "mlp": Entry(
        mlp.mlp,
        "Rumelhart et al., Learning Representations by Back-propagating Errors",
        1986,
        "layers of units between the pixels and the classes, learnt by back-propagation",
        DIGITS,
        10,
        shared=MLP,
    ),
    "lenet5": Entry(
        lenet.lenet5,
        "LeCun et al., Gradient-Based Learning Applied to Document Recognition",
        1998,
        "the same small kernels everywhere, sub-sampling between them",
        (1, 32, 32),
        10,
    ),
    "alexnet": Entry(
        alexnet.alexnet,
        "Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks",
        2012,
        "deep, with rectifiers and dropout, and fast enough to learn from a million photos",
    ),
    "vgg11": _vgg("3x3 kernels only: two see as much as one 5x5, for less"),
    "vgg11_bn": _vgg("vgg11 with batch norm"),
    "vgg13": _vgg("vgg11 with two convolutions in every block"),
    "vgg13_bn": _vgg("vgg13 with batch norm"),
    "vgg16": _vgg("vgg13 with a third convolution in the last three blocks"),
    "vgg16_bn": _vgg("vgg16 with batch norm"),
    "vgg19": _vgg("vgg13 with four convolutions in the last three blocks"),
    "vgg19_bn": _vgg("vgg19 with batch norm"),
    "googlenet": Entry(
        googlenet.googlenet,
        "Szegedy et al., Going Deeper with Convolutions",
        2014,
        "kernels of several sizes side by side, made cheap by 1x1 bottlenecks",
    ),
    "resnet18": _resnet("shortcuts around every two convolutions: blocks learn what to add"),
    "resnet34": _resnet("resnet18 with twice the blocks"),
    "resnet50": _resnet("resnet34 with bottleneck blocks: 1x1, 3x3, 1x1"),
    "resnet101": _resnet("resnet50, deeper in its third stage"),
    "resnet152": _resnet("resnet101, deeper still"),
    "resnet20": _small_resnet("residual net for small images: three stages of 16, 32 and 64 maps"),
    "resnet32": _small_resnet("resnet20 with five blocks a stage"),
    "resnet44": _small_resnet("resnet20 with seven blocks a stage"),
    "resnet56": _small_resnet("resnet20 with nine blocks a stage"),
    "resnet110": _small_resnet("resnet20 with eighteen blocks a stage"),
    "plain18": Entry(resnet.plain, HE, 2015, "resnet18 without shortcuts, to see what they do"),
    "plain34": Entry(resnet.plain, HE, 2015, "resnet34 without shortcuts: trains worse than plain18"),
    "plain20": Entry(resnet.plain, HE, 2015, "resnet20 without shortcuts", CIFAR, 10),
    "plain32": Entry(resnet.plain, HE, 2015, "resnet32 without shortcuts", CIFAR, 10),
    "plain44": Entry(resnet.plain, HE, 2015, "resnet44 without shortcuts", CIFAR, 10),
    "plain56": Entry(resnet.plain, HE, 2015, "resnet56 without shortcuts: trains worse than plain20", CIFAR, 10),
    "se_resnet18": _senet("resnet18 whose blocks weigh their maps by what the whole image shows"),
    "se_resnet34": _senet("resnet34 with squeeze-and-excitation"),
    "se_resnet50": _senet("resnet50 with squeeze-and-excitation"),
    "se_resnet101": _senet("resnet101 with squeeze-and-excitation"),
    "se_resnet152": _senet("resnet152 with squeeze-and-excitation"),
    "senet154": _senet("squeeze-and-excitation in blocks of 64 groups; won ImageNet 2017"),
    "cnn": Entry(
        convnet.cnn,
        "the lecture's CNNblocks",
        2023,
        "blocks of two 3x3 convolutions, a pool after every other block",
        DIGITS,
        10,
    ),
    "fastnet": Entry(
        fastnet.fastnet,
        "Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
        2024,
        "shallow and wide behind a first layer that is measured instead of learnt: made to be trained in minutes",
        CIFAR,
        10,
    ),
    "bigru": Entry(
        sequence.bigru,
        "Cho et al., Learning Phrase Representations using RNN Encoder-Decoder",
        2014,
        "reads rows, patches or time steps in both directions and remembers through gates",
        DIGITS,
        10,
        shared=frozenset({"norm", "dropout", "width", "depth"}),
    ),
    "transformer": Entry(
        sequence.transformer,
        "Dosovitskiy et al., An Image Is Worth 16x16 Words",
        2021,
        "patches or time steps look at each other",
        CIFAR,
        10,
        shared=frozenset({"norm", "activation", "dropout", "stochastic_depth", "width", "depth"}),
    ),
}
"""Every network by name: the papers in the order of the lecture, then its own first network and the readers."""


def entry(name: str) -> Entry:
    """Look a network up.

    Raises:
        ModelError: there is none of that name; the message suggests the nearest.
    """
    if name == AUTO:
        raise ModelError("'auto' is chosen when a training begins; here a network is needed.", "Name it: resnet18.")
    if name not in ZOO:
        raise ModelError(f"there is no network '{name}'.{did_you_mean(name, ZOO)}", f"Choose one of: {', '.join(ZOO)}.")
    return ZOO[name]


def plan(name: str, *, in_channels: int, num_classes: int, image_size: int | tuple[int, ...], **options: Any) -> Plan:
    """Plan a network without building it: its layers as data, from which all its numbers follow. Imports no torch.

    The arguments are ``build``'s.
    """
    found = entry(name)
    for option in options:
        if option not in found.options:
            raise ModelError(
                f"'{name}' has no option '{option}'.{did_you_mean(option, found.options)}",
                f"Its options are: {', '.join(found.options)}.",
            )
    shape = _shape(name, found, in_channels, image_size)
    num_classes = style.count("num_classes", num_classes)
    shared = style.Style(**{option: value for option, value in options.items() if option not in found.own})
    own = {option: value for option, value in options.items() if option in found.own}
    planned = found.builder(name, shape, num_classes, shared, **own)
    return planned if shared.adapt else replace(planned, remedy="With adapt=True stem and pools follow the input size.")


def build(
    name: str, *, in_channels: int, num_classes: int, image_size: int | tuple[int, ...], **options: Any
) -> Network:
    """Build a network by name.

    Args:
        name: a name of ``ZOO``; ``sightline models`` lists them.
        in_channels: channels of the input.
        num_classes: length of the logits.
        image_size: positions of the input: a side, (height, width), (length,) or (depth, height, width).
        options: the network's own options and the shared ones of ``sightline.models.style.Style``, such as
            ``norm="group"``, ``dropout=0.2``, ``se=16``, ``width=0.5``.

    Returns:
        A module that maps (B, in_channels, *image_size) float to logits (B, num_classes), with ``stages()`` (ordered:
        stage name -> module), ``adaptations`` (sentences on where it departs from its paper) and ``plan``.

    Raises:
        ModelError: the name or an option is unknown, a value is out of range, or the image is too small; the message
            then goes through the layers one by one.
    """
    from sightline.models.network import Network

    return Network(plan(name, in_channels=in_channels, num_classes=num_classes, image_size=image_size, **options))


def _shape(name: str, found: Entry, channels: int, size: int | tuple[int, ...]) -> Shape:
    """Give ``(channels, *positions)``, or refuse."""
    channels = style.count("in_channels", channels)
    sizes = tuple(style.count("image_size", n) for n in (size if isinstance(size, tuple | list) else (size, size)))
    if len(sizes) not in found.dims:
        kinds = {1: "signals (length,)", 2: "images (height, width)", 3: "volumes (depth, height, width)"}
        raise ModelError(
            f"'{name}' does not take inputs of {len(sizes)} axes ({by(sizes)}).",
            f"It takes {', '.join(kinds[n] for n in found.dims)}.",
        )
    return (channels, *sizes)


def plan_for(
    name: str, input_shape: str | Shape | None = None, *, num_classes: int | None = None, **options: Any
) -> Plan:
    """Plan a network; what is left out is the paper's. Imports no torch.

    Args:
        name: a name of ``ZOO``.
        input_shape: ``(channels, *positions)`` or ``"3x224x224"``.
        num_classes: length of the logits.
        options: as for ``build``.

    Raises:
        ModelError: as for ``build``, and for an input that cannot be read.
    """
    found = entry(name)
    if isinstance(input_shape, str):
        if not re.fullmatch(r"\d+(x\d+)+", input_shape):
            raise ModelError(
                f"an input of '{input_shape}' cannot be read.", "Write channels x sides: 3x224x224, 1x140."
            )
        input_shape = tuple(map(int, input_shape.split("x")))
    channels, *sizes = found.native if input_shape is None else input_shape
    classes = found.classes if num_classes is None else num_classes
    return plan(name, in_channels=channels, num_classes=classes, image_size=tuple(sizes), **options)


def table(
    name: str, input_shape: str | Shape | None = None, *, num_classes: int | None = None, **options: Any
) -> list[arithmetic.Row]:
    """Work out every layer of a network from integers; the arguments are ``plan_for``'s. Imports no torch."""
    return arithmetic.table(plan_for(name, input_shape, num_classes=num_classes, **options))


def parameters(name: str) -> int:
    """Count what a network learns, at the input and with the classes of its paper. Imports no torch."""
    return arithmetic.parameters(table(name))


def multiply_adds(name: str) -> int:
    """Count the multiplications of one prediction, at the input of its paper. Imports no torch."""
    return arithmetic.multiply_adds(table(name))
