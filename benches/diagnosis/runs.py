"""Cases (data set x network x injected condition x seed, and one change of settings) -> trained runs with an oracle.

A run's validation part is what the diagnosis may see (100 to 360 images) followed by the oracle's images, which it
never sees: one training gives the loss of both on every image after every epoch.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from conditions import CONDITIONS, EPOCHS, Setup
from numpy.typing import NDArray

from sightline import files
from sightline.data.images import Images
from sightline.diagnosis import pixels
from sightline.errors import TrainingError
from sightline.making.assembly import assemble
from sightline.making.choices import resolve
from sightline.making.prepared import prepare, record
from sightline.making.promise import promise
from sightline.making.recipe import try_out
from sightline.models.weights import read_weights
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.serving.predict import Predictor
from sightline.settings import Settings

QUIET = Progress(quiet=True)

OPEN = (("digits", "mlp", 2), ("fashion", "mlp", 2), ("digits", "cnn", 1))
"""Data sets and networks that thresholds may be fitted on, and how often each takes its turn."""
SECOND = (
    ("signs", "tanh-net", 3),
    ("control", "tanh-net", 3),
    ("signs", "lenet5", 1),
    ("control", "lenet5", 1),
    ("signs", "bigru", 1),
)
"""What was sealed once, and opened: rules may be mended on it since."""
THIRD = (
    ("signs", "mlp", 1),
    ("control", "tanh-net", 1),
    ("digits", "lenet5", 1),
    ("fashion", "tanh-net", 1),
    ("digits", "bigru", 1),
    ("fashion", "lenet5", 1),
)
"""Data sets and networks of both, paired anew, with three conditions for each healthy run: for rules about faults."""
FOURTH = (
    ("ecg", "transformer", 4),
    ("leaf", "vgg", 3),
    ("ecg", "resnet", 2),
    ("cifar", "transformer", 2),
    ("flowers", "vgg", 1),
    ("cifar", "resnet", 1),
)
"""What was sealed next, and opened."""
FIFTH = (
    ("digits", "lenet5", 1),
    ("fashion", "cnn", 1),
    ("signs", "resnet", 1),
    ("ecg", "bigru", 1),
    ("control", "transformer", 1),
    ("fashion", "mlp", 1),
    ("cifar", "lenet5", 1),
    ("ecg", "tanh-net", 1),
)
"""Data sets and networks of all four, paired anew, with more images to train on."""
SIXTH = (
    ("mnist", "logistic", 3),
    ("italy", "weighed", 3),
    ("vowels", "maps", 2),
    ("italy", "logistic", 2),
    ("vowels", "weighed", 2),
    ("mnist", "weighed", 1),
    ("mnist1d", "maps", 1),
    ("mnist", "plain", 1),
    ("cifar6", "plain", 1),
)
"""What was sealed after that, and opened."""
SEVENTH = (
    ("bars", "instance", 2),
    ("cells", "elu-net", 2),
    ("bars", "elu-net", 2),
    ("textures", "elu-net", 1),
    ("cells", "fast", 1),
    ("plaid", "instance", 1),
)
"""What was sealed after that, and opened."""
SEALED = (
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
)
"""What is opened once, when they are fixed. No data set and no network is in any other."""
HALVES = {
    "open": OPEN,
    "second": SECOND,
    "third": THIRD,
    "fourth": FOURTH,
    "fifth": FIFTH,
    "sixth": SIXTH,
    "seventh": SEVENTH,
    "sealed": SEALED,
}

FIRST = {
    "open": 0,
    "second": 0,
    "third": 1000,
    "fourth": 3000,
    "fifth": 4000,
    "sixth": 5000,
    "seventh": 6000,
    "sealed": 7000,
}
"""The first seed of a half."""

FEW = ("open", "second", "third", "fourth")
"""Halves whose runs are trained on 120 images, whatever the data set has."""
TRAIN = {"ecg": 200, "control": 200, "vowels": 250}
"""Training images in the other halves; 320 where none is named."""
FEWER = {"ecg": 378, "leaf": 320, "cifar": 480, "flowers": 480}
"""Images held out in the halves of few images; 740 where none is named."""


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
    "deeper": Kind("mlp", _DEEPER, 3.0, {**_DEEPER, "hidden": [2]}),
    "wide": Kind("mlp", _WIDE, 3.0, {**_WIDE, "hidden": [2]}),
    "fast": Kind("fastnet", {"width": 0.1}, 4.0, {"width": 0.02}),
    "weighed": Kind("cnn", _WEIGHED, 5.0, {**_WEIGHED, "hidden": 1}),
}


@dataclass(frozen=True)
class Case:
    """One run to make.

    Attributes:
        data: name of the data set.
        network: a key of ``NETWORKS``.
        condition: what is wrong with it, a key of ``CONDITIONS``.
        seed: of the draw of images, the weights, the order.
        seen: validation images that the diagnosis sees.
        change: a setting to change, such as ``epochs`` or ``options.width``; empty: none.
        value: what to, as JSON; ``options`` takes them all.
        train: images to train on.
        held: images held out at most, for the diagnosis and the oracle together.
    """

    data: str
    network: str
    condition: str
    seed: int
    seen: int
    change: str = ""
    value: str = ""
    train: int = 120
    held: int = 740

    @property
    def name(self) -> str:
        """The run folder's name."""
        plain = "".join(letter for letter in self.value if letter.isalnum() or letter in "-.")
        changed = f"+{self.change}-{plain}" if self.change else ""
        return f"{self.data}-{self.network}-{self.condition}-{self.seed}{changed}"

    def changed(self, setting: str, value: Any) -> Case:
        """Give the same run with one setting changed."""
        return replace(self, change=setting, value=json.dumps(value))


def load(name: str, folder: Path) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Give all images and labels of a data set: ``digits``, or ``<folder>/<name>.npz`` with x and y."""
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return (x.reshape(-1, 8, 8, 1) * 15).astype(np.uint8), y.astype(np.int64)
    content = np.load(folder / f"{name}.npz", allow_pickle=False)
    x, y = content["x"], np.unique(content["y"], return_inverse=True)[1].astype(np.int64)
    return (x[..., None] if x.ndim == 3 and x.dtype == np.uint8 else x), y


def draw(case: Case, folder: Path) -> Setup:
    """Draw the images of a case, the same ones for the same seed, and let its condition change them."""
    x, y = load(case.data, folder)
    random = np.random.default_rng([case.seed, case.train])
    train, held = np.split(random.permutation(len(y))[: case.train + case.held], [case.train])
    kind = NETWORKS[case.network]
    setup = Setup(x.copy(), y.copy(), train, held[: case.seen], held[case.seen :], random, kind.narrow)
    setup.settings = {"epochs": EPOCHS, "batch_size": 40, "augment": "none"}
    setup.settings |= {"options": kind.options, "lr_factor": kind.rate}
    CONDITIONS[case.condition].change(setup)
    return setup


def simple(setup: Setup) -> NDArray[np.bool_]:
    """Say of each of the oracle's images whether a simple classifier on pixels, taught the same images, knows it."""
    x = setup.x if setup.x.ndim == 3 else np.moveaxis(setup.x, -1, 1)
    parts = [pixels.shrunk(torch.from_numpy(np.ascontiguousarray(x[rows]))) for rows in (setup.train, setup.oracle)]
    labels = setup.y[setup.train]
    asked = pixels.reference(parts[0], labels, parts[1], setup.y[setup.oracle])["name"]
    classify = pixels.linear if asked == "a linear classifier" else pixels.neighbours
    centre = parts[0].mean(axis=0)
    return np.asarray(classify(parts[0] - centre, labels, parts[1] - centre) == setup.y[setup.oracle])


def make(case: Case, data: Path, runs: Path) -> Path:
    """Train a case unless that was done before; give its folder, whole or not there.

    A run with a change is only measured by the oracle, so it goes without probes and instruments.
    """
    done = runs / case.name
    if (done / "case.json").is_file():
        return done
    shutil.rmtree(done, ignore_errors=True)
    setup = draw(case, data)
    rows = np.concatenate([setup.train, setup.valid, setup.oracle])
    splits = np.array(["train"] * len(setup.train) + ["valid"] * (len(setup.valid) + len(setup.oracle)))
    x = setup.x[rows]
    classes = tuple(str(k) for k in range(int(setup.y.max()) + 1))
    kind: Any = "image" if x.ndim == 4 else "signal"
    images = Images(case.data, "arrays", kind, classes, setup.y[rows], array=x, splits=splits)
    factor = setup.settings.pop("lr_factor")
    given = Settings(
        model=NETWORKS[case.network].model,
        seed=case.seed,
        runs=runs,
        name=case.name,
        test_fraction=0.0,
        precision="fp32",
        device="cpu",
        compile="off",
        instruments="none" if case.change else "all",
        **setup.settings,
    )
    prepared = prepare(images, given, QUIET)
    plan = resolve(given, prepared, torch.device("cpu"), QUIET)
    settings = with_change(plan.settings.model_copy(update={"lr": plan.settings.lr * factor}), case)
    folder = RunFolder.create(runs, case.name)
    record(folder, prepared, source=None, reasons=plan.reasons)
    files.write_text(folder.settings, tomli_w.dumps({"settings": settings.as_toml(), "given": {}}))
    began = time.process_time()
    trainer = assemble(folder, prepared, settings, torch.device("cpu"), QUIET)
    if setup.weights is not None:
        setup.weights(trainer.model)
    valid = prepared.split.valid
    shown = replace(prepared, split=replace(prepared.split, valid=valid[: case.seen]))
    if not case.change:
        try_out(trainer, folder, shown, settings, QUIET)
    logits: dict[str, NDArray[Any]] = {} if case.change else {"simple": simple(setup)}
    try:
        trainer.loop()
        if not case.change:
            predictor = Predictor(trainer.model, classes, prepared.preprocessing)
            logits["best"] = predictor.logits(prepared.pixels.array, valid).astype(np.float32)
            read_weights(trainer.model, folder.last)
            logits["last"] = predictor.logits(prepared.pixels.array, valid).astype(np.float32)
            told = {**folder.read_json(folder.probes), "promise": promise(shown, settings)}
            files.write_json(folder.probes, told)
        folder.write_state(status="finished", best_epoch=trainer.best_epoch, epochs=trainer.last_epoch)
    except TrainingError as error:
        folder.write_state(status="failed", stopped=str(error))
    np.savez(done / "logits.npz", labels=prepared.labels[valid], **logits)
    for path in (folder.checkpoint, folder.last, folder.best, folder.split):
        path.unlink(missing_ok=True)
    told = {**asdict(case), "seconds": round(time.process_time() - began, 2), "oracle": len(setup.oracle)}
    (done / "case.json").write_text(json.dumps(told))
    return done


def with_change(settings: Settings, case: Case) -> Settings:
    """Set what the case changes; ``options.width`` sets one option and leaves the others."""
    if not case.change:
        return settings
    name, _, option = case.change.partition(".")
    value = json.loads(case.value)
    new = {**settings.options, option: value} if option else value
    return Settings.model_validate({**settings.model_dump(), name: new})


def cells(half: str) -> Iterator[tuple[Case, list[Case]]]:
    """Give healthy runs, each with the spoilt ones that share its images, weights and order; any beginning is fair.

    Where rules are mended two or three conditions go with each healthy run, in the sealed half one, and in what was
    sealed first one with every other: a low share of false alarms takes many healthy runs to show.
    """
    turns = [pair[:2] for pair in HALVES[half] for _ in range(pair[2])]
    np.random.default_rng(0).shuffle(turns)
    used: Counter[tuple[str, str]] = Counter()
    for place in range(1000):
        data, network = turns[place % len(turns)]
        healthy = _healthy(half, data, network, place)
        names = [
            name
            for name, condition in CONDITIONS.items()
            if name != "healthy" and half not in condition.since and not {data, network} & set(condition.without)
        ]
        count = {
            "open": 2,
            "second": place % 2,
            "third": 3,
            "fourth": 1,
            "fifth": 3,
            "sixth": 1,
            "seventh": 1,
            "sealed": 1,
        }[half]
        first = used[data, network]
        used[data, network] += count
        offset = 5 * [pair[:2] for pair in HALVES[half]].index((data, network))
        yield (
            healthy,
            [replace(healthy, condition=names[(offset + 7 * at) % len(names)]) for at in range(first, first + count)],
        )


def _healthy(half: str, data: str, network: str, place: int) -> Case:
    seed = FIRST[half] + place
    if half in FEW:
        return Case(data, network, "healthy", seed, 180 if place % 2 else 100, held=FEWER.get(data, 740))
    train = TRAIN.get(data, 320)
    seen = 180 if place % 2 or data in TRAIN else 360
    return Case(data, network, "healthy", seed, seen, train=train, held=seen + 640)


def longer(healthy: Case) -> Case:
    """Give the run with twice the epochs: if that helps, the run was not healthy."""
    return healthy.changed("epochs", 2 * EPOCHS)


def main() -> None:
    """Train the cases of a half, as many as fit into a time; what is there already is taken as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("half", choices=list(HALVES))
    parser.add_argument("--data", type=Path, required=True, help="folder with <name>.npz (x, y) of the data sets")
    parser.add_argument("--runs", type=Path, required=True, help="where run folders go")
    parser.add_argument("--cells", type=int, default=130, help="healthy runs, at most")
    parser.add_argument("--minutes", type=float, default=1000.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    for healthy, spoilt in islice(cells(asked.half), asked.cells):
        for case in (healthy, *spoilt, longer(healthy)):
            if time.monotonic() - began > 60 * asked.minutes:
                return
            make(case, asked.data, asked.runs)
            print(case.name, flush=True)


if __name__ == "__main__":
    main()
