"""Source -> run: the main job as one function that reads like its description."""

from __future__ import annotations

import csv
import io
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray

import sightline
from sightline import files
from sightline.data.balance import Balance
from sightline.data.preview import families, sheet
from sightline.data.smote import Invented, some
from sightline.data.sources import load
from sightline.data.stream import Stream
from sightline.data.summary import describe
from sightline.diagnosis import probes
from sightline.diagnosis.calibration import fit_temperature
from sightline.diagnosis.mistakes import evaluate
from sightline.errors import TrainingError
from sightline.making.assembly import assemble, train_stream, training_loss
from sightline.making.balancing import balance, learn_last_layer
from sightline.making.beginning import adopted, begin
from sightline.making.choices import resolve
from sightline.making.course import optimizer_of
from sightline.making.prepared import Prepared, describe_source, prepare, read_settings, recall, record, restore
from sightline.making.probing import Probing
from sightline.making.promise import promise
from sightline.making.trained import Run, write_report
from sightline.models import zoo
from sightline.models.weights import read_weights
from sightline.penalties import sparsity
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.serving.predict import Predictor
from sightline.settings import AUTO, Settings
from sightline.training import device as devices
from sightline.training import lr_range, memory, noise
from sightline.training.precision import Precision
from sightline.training.trainer import Trainer


def train(
    source: Any,
    model: str | None = None,
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Run:
    """Train a recogniser on labelled images.

    Args:
        source: a folder, manifest, ``.npz``, known name, ``Images``, arrays ``(x, y)``, or a torch or
            Hugging Face data set; see ``sightline.load``.
        model: name of the network; ``resnet18`` unless settings say otherwise; ``auto``: what learns most in the time.
        settings: where to start from; the defaults otherwise.
        progress: shows what happens; on stderr by default.
        **changes: any field of ``Settings``, such as ``epochs=10``.

    Returns:
        The finished run, scored on its test part (on its validation part where there is none).

    Raises:
        SourceError: the data cannot be used. SettingsError: a setting cannot. ModelError: the network
        cannot take images of this size. TrainingError: the loss became NaN. RunError: nowhere to write.
    """
    progress = progress or Progress()
    wanted = {**(settings.changed() if settings else {}), **changes, **({"model": model} if model else {})}
    given = Settings(**wanted)
    if given.model != AUTO:
        zoo.entry(given.model)
    Balance.parse(given.balance)
    devices.choose(given.device)
    if given.keep_memory:
        memory.keep_memory()
    images = load(source, data_dir=given.data_dir, download=given.download, progress=progress)
    progress.show(describe(images))
    data = prepare(images, given, progress)
    for finding in data.findings:
        if finding.severity != "note" or finding.code == "data/corrections":
            progress.note(f"{finding.severity}: {finding.message} {finding.advice}")
    return train_on(data, given, source=describe_source(source), progress=progress)


def train_on(data: Prepared, given: Settings, *, source: str | None, progress: Progress) -> Run:
    """Train on data that are prepared already, as several runs on the same images are.

    Args:
        data: prepared with the settings of ``given`` that concern data.
        given: the settings as the user gave them.
        source: where the data can be found again; None for arrays in memory.
        progress: shows what happens.

    Raises:
        As ``train`` does.
    """
    device, _ = devices.choose(given.device)
    if given.keep_memory:
        memory.keep_memory()
    resolved = resolve(given, data, device, progress)
    folder = RunFolder.create(resolved.settings.runs, resolved.settings.name)
    record(folder, data, source=source, reasons=resolved.reasons, fitted=resolved.fitted)
    files.write_text(
        folder.settings, tomli_w.dumps({"settings": resolved.settings.as_toml(), "given": _toml(given.changed())})
    )
    files.write_json(folder.environment, environment(device))
    files.make_folder(folder.figures)
    stream = train_stream(data, resolved.settings, torch.device("cpu"))
    draw_inputs(stream, data, folder.figures / "inputs.png")
    invented = data.training_rows(balance(data, resolved.settings), resolved.settings.seed).invented
    if invented is not None:
        draw_invented(some(invented, data.labels), data, folder.figures / "smote.png")
    probing = Probing(folder, data, resolved.settings, device, progress)
    trainer = assemble(folder, data, resolved.settings, device, progress, trackers=[probing])
    if not probing.can_wait():
        probing.ask()
    return carry_out(trainer, probing, folder, data, progress)


def make(settings: Settings, data: Callable[[], Prepared], *, source: Any, progress: Progress) -> Run:
    """Train a run with a name, go on with it where it was cut off, or take it as it is if it is finished.

    Args:
        settings: with ``runs`` and ``name``; they must be those that the run, if there is one, was begun with.
        data: gives the prepared images, if they are needed.
        source: where they are from, as the user gave it.
        progress: shows what happens.

    Raises:
        As ``train`` does.
    """
    folder = RunFolder(settings.runs / str(settings.name))
    if folder.how_far() in ("begun", "finished"):
        return resume(folder.path, source=None if describe_source(source) else source, progress=progress)
    if folder.path.is_dir() and not folder.history.exists():
        shutil.rmtree(folder.path)  # cut off while it was being made; there is nothing in it
    torch.manual_seed(settings.seed)
    return train_on(data(), settings, source=describe_source(source), progress=progress)


def resume(run: Run | Path | str, *, source: Any = None, progress: Progress | None = None) -> Run:
    """Continue a run that was cut off, exactly where its last checkpoint was.

    Args:
        run: the run, or its folder.
        source: the data, where they were arrays in memory or have moved.
        progress: shows what happens; on stderr by default.

    Returns:
        The finished run, bit for bit what it would have been without the interruption (same machine, CPU).

    Raises:
        RunError: the folder is incomplete, or its data have changed.
    """
    progress = progress or Progress()
    folder = run.folder if isinstance(run, Run) else RunFolder.open(run)
    if folder.read_state()["status"] == "finished":
        progress.note(f"run '{folder.path}' is finished; there is nothing to resume.")
        return Run(folder)
    settings = read_settings(folder)
    device, _ = devices.choose(settings.device)
    if settings.keep_memory:
        memory.keep_memory()
    data = replace(restore(folder, progress, source), weights=recall(folder, settings, progress))
    probing = Probing(folder, data, settings, device, progress)
    trainer = assemble(folder, data, settings, device, progress, trackers=[probing])
    if folder.checkpoint.is_file():
        trainer.resume()
        progress.note(f"continuing '{folder.path}' at epoch {trainer.last_epoch + 1} of {settings.epochs}")
    return carry_out(trainer, probing, folder, data, progress)


def preview(source: Any, *, settings: Settings, progress: Progress) -> Path:
    """Draw 16 training inputs as the network gets them; nothing is trained.

    Returns:
        The picture, ``preview.png`` in the folder of runs.
    """
    images = load(source, data_dir=settings.data_dir, download=settings.download, progress=progress)
    data = prepare(images, settings, progress)
    stream = train_stream(data, settings, torch.device("cpu"), progress)
    path = files.make_folder(settings.runs) / "preview.png"
    draw_inputs(stream, data, path)
    return path


def draw_inputs(stream: Stream, data: Prepared, path: Path) -> None:
    """Draw 16 inputs as the network gets them, into a PNG file that is whole or not there."""
    with files.whole(path) as temporary:
        sheet(stream, data.images.classes).save(temporary, "PNG")


def draw_invented(shown: Invented, data: Prepared, path: Path, nearest: NDArray[np.int64] | None = None) -> None:
    """Draw what SMOTE invented between its parents, if there is anything; see ``preview.families``."""
    if len(shown.first):
        picture = families(data.pixels.array, data.labels, shown, data.preprocessing, data.images.classes, nearest)
        with files.whole(path) as temporary:
            picture.save(temporary, "PNG")


def learning_rate(source: Any, *, settings: Settings, progress: Progress) -> lr_range.Range:
    """Raise the learning rate step by step on the weights a training would begin with, and watch the loss."""
    images = load(source, data_dir=settings.data_dir, download=settings.download, progress=progress)
    device, _ = devices.choose(settings.device)
    data = prepare(images, settings, progress)
    settings = adopted(settings, data)
    start = begin(data, settings)
    return lr_range.find(
        start.network,
        train_stream(data, settings, device, progress),
        training_loss(data, settings, start.network),
        optimizer_of(settings, start.network, lr=1e-6, factors=start.factors),
        precision=Precision.choose(settings.precision, device)[0],
        progress=progress,
        freezing=start.freezing,
    )


def carry_out(trainer: Trainer, probing: Probing, folder: RunFolder, data: Prepared, progress: Progress) -> Run:
    """Train, score, report; whatever happens, the folder says how it ended."""
    folder.write_state(status="running")
    begun = time.perf_counter()
    try:
        trainer.loop()
    except TrainingError as error:
        folder.write_state(status="failed", stopped=str(error))
        with suppress(torch.OutOfMemoryError):  # it may be what the error is about
            probing.ask()  # they may know why, and an epoch that failed has not asked them
        raise
    except KeyboardInterrupt:
        folder.write_state(status="stopped", stopped="interrupted twice; resume continues it")
        raise
    seconds = {"training": time.perf_counter() - begun}
    folder.write_state(stopped=trainer.stopped, best_epoch=trainer.best_epoch, epochs=trainer.last_epoch)
    folder.write_state(weights=asdict(sparsity(trainer.model.parameters())))
    if not trainer.interrupted and trainer.step >= noise.CHEAP * noise.BATCHES:
        found = noise.measure(trainer.model, trainer.loss_fn, iter(trainer.traindataloader), trainer.precision)
        if found:
            progress.note(f"random batches: {found.sentence}")
            folder.write_state(noise=found.as_dict())
    relearnt = learn_last_layer(trainer, data, read_settings(folder), progress)
    if relearnt:
        folder.write_state(last_layer=relearnt.sentence)
        draw_invented(relearnt.shown, data, folder.figures / "smote.png", relearnt.nearest)
    begun = time.perf_counter()
    headline = conclude(trainer, folder, data)
    seconds["evaluation"] = time.perf_counter() - begun
    status = "stopped" if trainer.interrupted else "finished"
    folder.write_state(status=status, headline=headline, seconds=seconds)
    if trainer.interrupted:
        progress.note(f"stopped early; the rest can follow: sightline resume {folder.path}")
    write_report(folder, data)
    return Run(folder, data)


def conclude(trainer: Trainer, folder: RunFolder, data: Prepared) -> str:
    """Score the best weights on the test part, once; write the scores and predictions; give the headline."""
    predictor = Predictor(
        trainer.model, data.images.classes, data.preprocessing, device=trainer.device, precision=trainer.precision
    )
    settings, valid = read_settings(folder), data.split.valid
    best = predictor.logits(data.pixels.array, valid)
    predictor.temperature = fit_temperature(best, data.labels[valid])
    last = None
    if trainer.best_epoch != trainer.last_epoch:
        read_weights(trainer.model, folder.last)
        last = predictor.logits(data.pixels.array, valid)
        read_weights(trainer.model, folder.best)
    tried = folder.read_json(folder.probes) if folder.probes.is_file() else {}
    promised = promise(data, settings) if settings.probes else None
    files.write_json(folder.probes, {**tried, **probes.after(best, last, data.labels[valid], promised)})
    part, rows = ("test", data.split.test) if len(data.split.test) else ("validation", valid)
    logits = predictor.logits(data.pixels.array, rows)
    names = data.names(rows)
    evaluation = evaluate(
        logits, data.labels[rows], data.images.classes, names=names, temperature=predictor.temperature
    )
    files.write_json(folder.evaluation, {"part": part, **evaluation.as_dict()})
    write_predictions(folder, names, data.labels[rows], data.images.classes, predictor.probabilities(logits))
    return evaluation.sentence(part)


def write_predictions(
    folder: RunFolder,
    names: Sequence[str],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    probabilities: NDArray[np.float32],
) -> None:
    """Write what was said of each scored image: file, label, predicted class, and the probability (N, K) of each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "label", "predicted", *classes])
    for name, label, p in zip(names, labels, probabilities, strict=True):
        writer.writerow([name, classes[label], classes[int(p.argmax())], *(f"{value:.6f}" for value in p)])
    files.write_text(folder.predictions, text.getvalue())


def environment(device: torch.device) -> dict[str, Any]:
    """Say where and with what a run was made."""
    packages = {}
    for name in ("torch", "numpy", "pillow", "scikit-learn", "safetensors"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "unknown"
    return {
        "sightline": sightline.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "packages": packages,
        "command": sys.argv,
    }


def _toml(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
