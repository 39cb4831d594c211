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
from parts import FEWER, NETWORKS, PARTS, TRAIN, Part

from sightline import files
from sightline.data.images import Images
from sightline.diagnosis import pixels
from sightline.errors import TrainingError
from sightline.making.assembly import assemble
from sightline.making.choices import resolve
from sightline.making.prepared import prepare, record
from sightline.making.probing import try_out
from sightline.making.promise import promise
from sightline.models.weights import read_weights
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.serving.predict import Predictor
from sightline.settings import Settings

QUIET = Progress(quiet=True)


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


def cells(name: str) -> Iterator[tuple[Case, list[Case]]]:
    """Give healthy runs, each with the spoilt ones that share its images, weights and order; any beginning is fair.

    Where rules are mended two or three conditions go with each healthy run, in sealed parts one or fewer: a low share
    of false alarms takes many healthy runs to show.
    """
    part = PARTS[name]
    kinds = [pair[:2] for pair in part.pairs]
    turns = [pair[:2] for pair in part.pairs for _ in range(pair[2])]
    np.random.default_rng(0).shuffle(turns)
    used: Counter[tuple[str, str]] = Counter()
    for place in range(1000):
        data, network = turns[place % len(turns)]
        healthy = _healthy(part, data, network, place)
        names = [
            condition
            for condition, told in CONDITIONS.items()
            if condition != "healthy" and condition.startswith(part.only)
            if name not in told.since and not {data, network} & set(told.without)
        ]
        count = part.spoilt[place % len(part.spoilt)]
        first = used[data, network]
        used[data, network] += count
        offset = 5 * kinds.index((data, network))
        yield (
            healthy,
            [replace(healthy, condition=names[(offset + 7 * at) % len(names)]) for at in range(first, first + count)],
        )


def _healthy(part: Part, data: str, network: str, place: int) -> Case:
    seed = part.first + place
    if part.few:
        return Case(data, network, "healthy", seed, 180 if place % 2 else 100, held=FEWER.get(data, 740))
    train = TRAIN.get(data, 320)
    seen = 180 if place % 2 or data in TRAIN else 360
    return Case(data, network, "healthy", seed, seen, train=train, held=seen + 640)


def longer(healthy: Case) -> Case:
    """Give the run with twice the epochs: if that helps, the run was not healthy."""
    return healthy.changed("epochs", 2 * EPOCHS)


def main() -> None:
    """Train the cases of a part, as many as fit into a time; what is there already is taken as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--data", type=Path, required=True, help="folder with <name>.npz (x, y) of the data sets")
    parser.add_argument("--runs", type=Path, required=True, help="where run folders go")
    parser.add_argument("--cells", type=int, default=130, help="healthy runs, at most")
    parser.add_argument("--minutes", type=float, default=1000.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    for healthy, spoilt in islice(cells(asked.part), asked.cells):
        for case in (healthy, *spoilt, longer(healthy)):
            if time.monotonic() - began > 60 * asked.minutes:
                return
            make(case, asked.data, asked.runs)
            print(case.name, flush=True)


if __name__ == "__main__":
    main()
