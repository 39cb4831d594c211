"""Cases (data set x network x size x injected condition x seed) -> trained runs with what an oracle saw of them.

A run's validation part is what the diagnosis may see (``SEEN`` images) followed by the oracle's images, which it never
sees: one training gives the loss of both on every image after every epoch.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray
from torch import nn

from sightline import files
from sightline.data.images import Images
from sightline.errors import TrainingError
from sightline.making.assembly import assemble, resolve
from sightline.making.prepared import prepare, record
from sightline.making.recipe import try_out
from sightline.models.weights import read_weights
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.serving.predict import Predictor
from sightline.settings import Settings

QUIET = Progress(quiet=True)

OPEN = {"data": ("digits", "fashion"), "networks": ("mlp", "cnn")}
"""What thresholds may be fitted on."""
SEALED = {"data": ("signs", "control", "cifar"), "networks": ("lenet5", "resnet20")}
"""What is opened once, when they are fixed. No data set and no network is in both."""

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "cnn": {"hidden": 16, "num_layers": 2, "stride": 2, "norm": "batch"},
    "lenet5": {},
    "resnet20": {"width": 0.25, "stride": 2},
}
RATES = {"mlp": 4.0, "cnn": 10.0, "lenet5": 8.0, "resnet20": 10.0}
"""Factor on the learning rate of the recipe, with which these small networks converge in so few steps."""
ORACLE = 400
"""Images, at most, that only the oracle sees."""


@dataclass(frozen=True)
class Case:
    """One run to make.

    Attributes:
        data: name of the data set.
        network: name of the network.
        train: training images.
        seen: validation images that the diagnosis sees.
        condition: what is wrong with it, a key of ``CONDITIONS``.
        seed: of the draw of images, the weights, the order.
    """

    data: str
    network: str
    train: int
    seen: int
    condition: str
    seed: int

    @property
    def name(self) -> str:
        """The run folder's name."""
        return f"{self.data}-{self.network}-{self.train}-{self.seen}-{self.condition}-{self.seed}"


@dataclass
class Setup:
    """What a condition may change before the training begins."""

    case: Case
    x: NDArray[Any]
    y: NDArray[np.int64]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    oracle: NDArray[np.int64]
    random: np.random.Generator
    settings: dict[str, Any] = field(default_factory=dict)
    weights: Callable[[nn.Module], None] | None = None


def epochs(train: int) -> int:
    """Give the epochs after which a healthy run of this size has converged: about 10,000 images seen, 25 to 60."""
    return int(np.clip(10_000 // train, 25, 60))


def _doubled(setup: Setup) -> None:
    setup.settings["epochs"] *= 2


def _settings(**values: Any) -> Callable[[Setup], None]:
    return lambda setup: setup.settings.update(values)


def _undertrained(setup: Setup) -> None:
    setup.settings["epochs"] = max(4, epochs(setup.case.train) // 10)


def _rate(factor: float) -> Callable[[Setup], None]:
    def change(setup: Setup) -> None:
        setup.settings["lr_factor"] *= factor

    return change


def _small(setup: Setup) -> None:
    narrow = {"mlp": {"hidden": [3]}, "cnn": {**NETWORKS["cnn"], "hidden": 1}}
    setup.settings["options"] = narrow.get(setup.case.network, {**NETWORKS[setup.case.network], "width": 0.13})


def _overfit(setup: Setup) -> None:
    setup.settings |= {"augment": "none", "epochs": 2 * epochs(setup.case.train), "schedule": "constant"}


def _noise(share: float) -> Callable[[Setup], None]:
    def change(setup: Setup) -> None:
        rows = np.concatenate([setup.train, setup.valid])
        wrong = rows[setup.random.random(len(rows)) < share]
        shifts = setup.random.integers(1, setup.y.max() + 1, len(wrong))
        setup.y[wrong] = (setup.y[wrong] + shifts) % (setup.y.max() + 1)
        setup.settings |= {"augment": "none", "epochs": 2 * epochs(setup.case.train)}

    return change


def _duplicates(share: float) -> Callable[[Setup], None]:
    def change(setup: Setup) -> None:
        count = max(1, round(share * len(setup.valid)))
        copied = setup.random.choice(setup.train, count, replace=len(setup.train) < count)
        setup.x[setup.valid[:count]], setup.y[setup.valid[:count]] = setup.x[copied], setup.y[copied]

    return change


def _bright(setup: Setup) -> None:
    for rows in (setup.valid, setup.oracle):
        x = setup.x[rows].astype(np.float32)
        x = x * 0.6 + 0.4 * (255 if setup.x.dtype == np.uint8 else np.abs(x).max())
        setup.x[rows] = x.astype(setup.x.dtype)


def _turned(setup: Setup) -> None:
    for rows in (setup.valid, setup.oracle):
        axes = (1, 2) if setup.x.ndim > 3 or setup.x.shape[1] > 1 else None
        setup.x[rows] = np.rot90(setup.x[rows], 1, axes) if axes else setup.x[rows][..., ::-1]


def _priors(setup: Setup) -> None:
    half = setup.y[setup.train] >= (setup.y.max() + 1) / 2
    kept = ~half | (setup.random.random(len(half)) < 0.1)
    setup.train = setup.train[kept]


def _dead(setup: Setup) -> None:
    def push(model: nn.Module) -> None:
        *hidden, _ = [part for part in model.modules() if getattr(part, "bias", None) is not None]
        for part in hidden:
            part.bias.data.sub_(30.0)

    setup.weights = push


def _explode(setup: Setup) -> None:
    def grow(model: nn.Module) -> None:
        for part in model.modules():
            if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear):
                part.weight.data.mul_(8.0)

    setup.weights = grow


@dataclass(frozen=True)
class Condition:
    """Something done to a run.

    Attributes:
        truth: the verdict that is right, or "" where the oracle decides between fits.
        cause: kind of underfit, or "".
        finding: code that has to be found, or "".
        change: does it.
    """

    truth: str
    cause: str
    finding: str
    change: Callable[[Setup], None]


def _nothing(setup: Setup) -> None: ...


CONDITIONS: dict[str, Condition] = {
    "healthy": Condition("", "", "", _nothing),
    "doubled": Condition("", "", "", _doubled),
    "undertrained": Condition("underfitted", "trained too short", "", _undertrained),
    "rate-low": Condition("underfitted", "learning rate too low", "training/rate-too-low", _rate(0.01)),
    "rate-high": Condition("broken", "", "training/rate-too-high", _rate(30)),
    "small": Condition("underfitted", "too little capacity", "", _small),
    "regularised": Condition("underfitted", "over-regularised", "", _settings(dropout=0.95)),
    "overfit": Condition("", "", "", _overfit),
    "noise-10": Condition("", "", "data/label-noise", _noise(0.10)),
    "noise-20": Condition("", "", "data/label-noise", _noise(0.20)),
    "noise-40": Condition("", "", "data/label-noise", _noise(0.40)),
    "duplicates-5": Condition("", "", "data/leak", _duplicates(0.05)),
    "duplicates-20": Condition("", "", "data/leak", _duplicates(0.20)),
    "duplicates-50": Condition("", "", "data/leak", _duplicates(0.50)),
    "bright": Condition("", "", "data/validation-differs", _bright),
    "turned": Condition("", "", "data/validation-differs", _turned),
    "priors": Condition("", "", "data/validation-differs", _priors),
    "dead": Condition("broken", "", "training/dead-units", _dead),
    "explode": Condition("", "", "setup/first-loss", _explode),
}


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
    order = random.permutation(len(y))
    train, valid = order[: case.train], order[case.train : case.train + case.seen]
    oracle = order[case.train + case.seen :][:ORACLE]
    setup = Setup(case, x.copy(), y.copy(), train, valid, oracle, random)
    setup.settings = {"epochs": epochs(case.train), "options": NETWORKS[case.network], "lr_factor": RATES[case.network]}
    CONDITIONS[case.condition].change(setup)
    return setup


def make(case: Case, data: Path, runs: Path) -> Path:
    """Train a case unless that was done before; give its folder, whole or not there."""
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
    given = Settings(model=case.network, seed=case.seed, runs=runs, name=case.name, test_fraction=0.0,
                     precision="fp32", device="cpu", compile="off", instruments="all", **setup.settings)  # fmt: skip
    prepared = prepare(images, given, QUIET)
    plan = resolve(given, prepared, torch.device("cpu"), QUIET)
    settings = plan.settings.model_copy(update={"lr": plan.settings.lr * factor})
    folder = RunFolder.create(runs, case.name)
    record(folder, prepared, source=None, reasons=plan.reasons)
    files.write_text(folder.settings, tomli_w.dumps({"settings": settings.as_toml(), "given": {}}))
    began = time.process_time()
    trainer = assemble(folder, prepared, settings, torch.device("cpu"), QUIET)
    if setup.weights is not None:
        setup.weights(trainer.model)
    valid, seen = prepared.split.valid, len(setup.valid)
    shown = replace(prepared, split=replace(prepared.split, valid=valid[:seen]))
    try_out(trainer, folder, shown, settings, QUIET)
    logits = {}
    try:
        trainer.loop()
        predictor = Predictor(trainer.model, classes, prepared.preprocessing)
        logits["best"] = predictor.logits(prepared.pixels.array, valid)
        read_weights(trainer.model, folder.last)
        logits["last"] = predictor.logits(prepared.pixels.array, valid)
        folder.write_state(status="finished", best_epoch=trainer.best_epoch, epochs=trainer.last_epoch)
    except TrainingError as error:
        folder.write_state(status="failed", stopped=str(error))
    np.savez(done / "logits.npz", labels=prepared.labels[valid], **logits)
    for path in (folder.checkpoint, folder.last, folder.best, folder.split):
        path.unlink(missing_ok=True)
    seconds = round(time.process_time() - began, 2)
    told = {**asdict(case), "seconds": seconds, "images": seen, "oracle": len(setup.oracle)}
    (done / "case.json").write_text(json.dumps(told))
    return done


def cases(half: dict[str, tuple[str, ...]], seeds: int, *, healthy: float = 0.35) -> list[Case]:
    """List the cases of a half, shuffled, so that any beginning of the list is a fair sample."""
    random = np.random.default_rng(0)
    found = []
    rest = [name for name in CONDITIONS if name != "healthy"]
    sizes = {"digits": (100, 300), "control": (100, 200), "fashion": (100, 300, 600), "signs": (100, 300, 600),
             "cifar": (300, 600)}  # fmt: skip
    for seed in range(seeds):
        for data in half["data"]:
            for network in half["networks"]:
                if (data, network) == ("control", "resnet20"):
                    continue
                for train in sizes[data]:
                    names = [*rest, *["healthy"] * math.ceil(len(rest) * healthy / (1 - healthy))]
                    for place, name in enumerate(names):
                        seen = int(random.choice([100, 360]))
                        found.append(Case(data, network, train, seen, name, 100 * seed + place))
    random.shuffle(found)  # type: ignore[arg-type]
    return found
