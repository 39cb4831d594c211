"""The parts of the bench: which data sets and networks each pairs, how large its runs are, and what was sealed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """Runs that belong together: rules are mended on them, or were never shown them.

    Attributes:
        pairs: data sets and networks, and how often each pair takes its turn.
        first: the first seed; the next healthy run has the next.
        spoilt: runs with a condition that go with each healthy one, in turn.
        few: whether runs are trained on 120 images, whatever the data set has.
        only: what the names of its conditions begin with.
    """

    pairs: tuple[tuple[str, str, int], ...]
    first: int
    spoilt: tuple[int, ...] = (1,)
    few: bool = False
    only: tuple[str, ...] = ("",)


PARTS: dict[str, Part] = {
    # What thresholds may be fitted on.
    "open": Part(
        (
            ("digits", "mlp", 2),
            ("fashion", "mlp", 2),
            ("digits", "cnn", 1),
        ),
        0,
        spoilt=(2,),
        few=True,
    ),
    # Sealed once, and opened: rules may be mended on it since.
    "second": Part(
        (
            ("signs", "tanh-net", 3),
            ("control", "tanh-net", 3),
            ("signs", "lenet5", 1),
            ("control", "lenet5", 1),
            ("signs", "bigru", 1),
        ),
        0,
        spoilt=(0, 1),
        few=True,
    ),
    # Data sets and networks of both, paired anew, with more faults.
    "third": Part(
        (
            ("signs", "mlp", 1),
            ("control", "tanh-net", 1),
            ("digits", "lenet5", 1),
            ("fashion", "tanh-net", 1),
            ("digits", "bigru", 1),
            ("fashion", "lenet5", 1),
        ),
        1000,
        spoilt=(3,),
        few=True,
    ),
    # Sealed next, and opened.
    "fourth": Part(
        (
            ("ecg", "transformer", 4),
            ("leaf", "vgg", 3),
            ("ecg", "resnet", 2),
            ("cifar", "transformer", 2),
            ("flowers", "vgg", 1),
            ("cifar", "resnet", 1),
        ),
        3000,
        few=True,
    ),
    # Data sets and networks of all four, paired anew, with more images.
    "fifth": Part(
        (
            ("digits", "lenet5", 1),
            ("fashion", "cnn", 1),
            ("signs", "resnet", 1),
            ("ecg", "bigru", 1),
            ("control", "transformer", 1),
            ("fashion", "mlp", 1),
            ("cifar", "lenet5", 1),
            ("ecg", "tanh-net", 1),
        ),
        4000,
        spoilt=(3,),
    ),
    # Sealed after that, and opened.
    "sixth": Part(
        (
            ("mnist", "logistic", 3),
            ("italy", "weighed", 3),
            ("vowels", "maps", 2),
            ("italy", "logistic", 2),
            ("vowels", "weighed", 2),
            ("mnist", "weighed", 1),
            ("mnist1d", "maps", 1),
            ("mnist", "plain", 1),
            ("cifar6", "plain", 1),
        ),
        5000,
    ),
    # Sealed after that, and opened.
    "seventh": Part(
        (
            ("bars", "instance", 2),
            ("cells", "elu-net", 2),
            ("bars", "elu-net", 2),
            ("textures", "elu-net", 1),
            ("cells", "fast", 1),
            ("plaid", "instance", 1),
        ),
        6000,
    ),
    # Sealed after that, and opened.
    "eighth": Part(
        (
            ("segments", "deeper", 3),
            ("patterns", "deeper", 2),
            ("cbf", "deeper", 2),
            ("segments", "wide", 2),
            ("patterns", "wide", 2),
            ("segments", "leaky", 2),
            ("patterns", "leaky", 2),
            ("cbf", "leaky", 1),
            ("captcha", "wide", 1),
            ("captcha", "leaky", 1),
            ("shapes", "leaky", 1),
        ),
        7000,
    ),
    # Sealed after that, and opened.
    "ninth": Part(
        (
            ("gestures", "gelu-net", 2),
            ("glyphs", "gelu-net", 2),
            ("phishing", "gelu-net", 2),
            ("gestures", "bottle", 2),
            ("glyphs", "bottle", 2),
            ("waves", "gelu-net", 1),
            ("waveform", "gelu-net", 1),
            ("phishing", "bottle", 1),
            ("waves", "bottle", 1),
            ("waveform", "bottle", 1),
            ("waveform", "kernel5", 1),
            ("waves", "kernel5", 1),
            ("phishing", "kernel5", 1),
            ("gestures", "kernel5", 1),
        ),
        8000,
    ),
    # Opened once, for the rule about wrong labels alone.
    "labels": Part(
        (
            ("dots", "gelu-cnn", 1),
            ("arrows", "rectified", 1),
            ("arrows", "gelu-cnn", 1),
            ("lamps", "rectified", 1),
            ("clouds", "rectified", 1),
            ("tones", "rectified", 1),
            ("rings", "rectified", 1),
        ),
        9000,
        only=("noise",),
    ),
    # Opened once, when rules are fixed: its data sets and networks are in no part but the one for wrong labels.
    "sealed": Part(
        (
            ("arrows", "rectified", 2),
            ("lamps", "rectified", 2),
            ("clouds", "rectified", 2),
            ("tones", "rectified", 2),
            ("rings", "rectified", 1),
            ("dots", "gelu-cnn", 1),
            ("arrows", "gelu-cnn", 1),
            ("clouds", "gelu-cnn", 1),
            ("tones", "gelu-cnn", 1),
        ),
        30000,
    ),
}
"""Each part by name, the oldest first."""

TRAIN = {"ecg": 200, "control": 200, "vowels": 250}
"""Training images in the other parts; 320 where none is named."""
FEWER = {"ecg": 378, "leaf": 320, "cifar": 480, "flowers": 480}
"""Images held out in the parts of few images; 740 where none is named."""


@dataclass(frozen=True)
class Kind:
    """A network of the bench, small enough for a run to take some seconds.

    Attributes:
        model: its name in the zoo.
        options: its own options.
        rate: factor on the learning rate of the recipe, with which it converges in so few steps.
        narrow: options that leave it too little capacity.
    """

    model: str
    options: dict[str, Any]
    rate: float
    narrow: dict[str, Any]


_CNN = {"hidden": 8, "num_layers": 2, "stride": 2, "norm": "batch"}
_DEEP = {"activation": "tanh", "norm": "batch"}
_RELU = {"activation": "relu", "pooling": "max"}
_BARE = {"hidden": 12, "num_layers": 3, "stride": 2, "norm": "none"}
_ELU = {"hidden": [96, 48], "activation": "elu", "norm": "layer"}
_INSTANCE = {"hidden": 12, "num_layers": 2, "stride": 2, "norm": "instance"}
_WEIGHED = {"hidden": 12, "num_layers": 2, "stride": 2, "norm": "batch", "se": 4}
_LEAKY = {"hidden": 16, "num_layers": 2, "stride": 2, "activation": "leaky_relu", "norm": "batch"}
_GELU = {"hidden": [128], "activation": "gelu", "norm": "none"}
_BOTTLE = {"hidden": [48, 24, 48], "activation": "relu", "norm": "batch"}
_KERNEL5 = {"hidden": 12, "num_layers": 2, "stride": 2, "kernel_size": 5, "activation": "relu", "norm": "batch"}
_PLAIN = {"hidden": [80], "activation": "relu", "norm": "none"}
_GELU_CNN = {"hidden": 10, "num_layers": 2, "stride": 2, "activation": "gelu", "norm": "batch"}
_DEEPER = {"hidden": [64, 64, 32], "activation": "relu", "norm": "batch"}
_WIDE = {"hidden": [192], "activation": "silu", "norm": "batch"}
_SHORT = {"depth": 0.34, "width": 0.5}
_ATTENDS = {"hidden": 32, "layers": 1, "patch": 10}
NETWORKS: dict[str, Kind] = {
    "mlp": Kind("mlp", {}, 3.0, {"hidden": [3]}),
    "cnn": Kind("cnn", _CNN, 20.0, {**_CNN, "hidden": 1}),
    "lenet5": Kind("lenet5", _RELU, 4.0, {**_RELU, "width": 0.13}),
    "bigru": Kind("bigru", {"hidden": 24, "layers": 1}, 10.0, {"hidden": 1, "layers": 1}),
    "resnet": Kind("resnet20", _SHORT, 10.0, {**_SHORT, "width": 0.07}),
    "transformer": Kind("transformer", _ATTENDS, 8.0, {**_ATTENDS, "hidden": 2, "heads": 1}),
    "vgg": Kind("vgg11", {"width": 0.06, "dropout": 0.0}, 1.0, {"width": 0.01, "dropout": 0.0, "hidden": 200}),
    "tanh-net": Kind("mlp", {"hidden": [64, 64], **_DEEP}, 3.0, {"hidden": [2], **_DEEP}),
    "logistic": Kind("logistic", {}, 10.0, {}),
    "plain": Kind("plain20", _SHORT, 5.0, {**_SHORT, "width": 0.07}),
    "maps": Kind("cnn", _BARE, 5.0, {**_BARE, "hidden": 1}),
    "elu-net": Kind("mlp", _ELU, 4.0, {**_ELU, "hidden": [2]}),
    "instance": Kind("cnn", _INSTANCE, 10.0, {**_INSTANCE, "hidden": 1}),
    "leaky": Kind("cnn", _LEAKY, 5.0, {**_LEAKY, "hidden": 1}),
    "gelu-net": Kind("mlp", _GELU, 3.0, {**_GELU, "hidden": [2]}),
    "bottle": Kind("mlp", _BOTTLE, 3.0, {**_BOTTLE, "hidden": [2]}),
    "kernel5": Kind("cnn", _KERNEL5, 8.0, {**_KERNEL5, "hidden": 1}),
    "rectified": Kind("mlp", _PLAIN, 3.0, {**_PLAIN, "hidden": [2]}),
    "gelu-cnn": Kind("cnn", _GELU_CNN, 6.0, {**_GELU_CNN, "hidden": 1}),
    "deeper": Kind("mlp", _DEEPER, 3.0, {**_DEEPER, "hidden": [2]}),
    "wide": Kind("mlp", _WIDE, 3.0, {**_WIDE, "hidden": [2]}),
    "fast": Kind("fastnet", {"width": 0.1}, 4.0, {"width": 0.02}),
    "weighed": Kind("cnn", _WEIGHED, 5.0, {**_WEIGHED, "hidden": 1}),
}
