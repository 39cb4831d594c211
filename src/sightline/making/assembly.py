"""Settings and prepared data -> what is left open decided, and a trainer put together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from sightline import losses
from sightline.data import progressive
from sightline.data.augment import Augment
from sightline.data.presets import preset
from sightline.data.stream import Stream
from sightline.diagnosis.measures import LEAST
from sightline.diagnosis.rising import RiseStopping
from sightline.errors import SettingsError
from sightline.making import plan
from sightline.making.balancing import balance, measured, valid_rows
from sightline.making.beginning import adopted, begin, changes
from sightline.making.course import (
    averaged_epochs,
    check,
    check_sizes,
    optimizer_of,
    penalty_of,
    schedule_of,
    snapshot_epochs,
)
from sightline.making.prepared import Prepared
from sightline.models.network import Network
from sightline.models.pretrained import Pretrained
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.settings import Settings, TrainerSettings
from sightline.tracking.tracker import report_types
from sightline.training import compiling, speed
from sightline.training.head import last_layer
from sightline.training.instruments import SHARES, Instruments
from sightline.training.instruments import plan as plan_instruments
from sightline.training.precision import Precision
from sightline.training.trainer import Trainer

PROBE = 2000
"""Training images, at most, whose loss without dropout and augmentation is drawn beside the validation loss."""

MEASURING = 0.05
"""Share of the minutes there are that may go into measuring how long a step takes."""


def resolve(given: Settings, data: Prepared, device: torch.device, progress: Progress) -> plan.Plan:
    """Choose what the user left open, print each choice with its reason, and refuse what cannot work."""
    asked, given = given, adopted(given, data)
    precision, why = Precision.choose(given.precision, device)
    resolved = plan.make(
        given,
        counts=data.counts,
        kind=data.images.kind,
        size=data.preprocessing.size,
        size_reason=data.size_reason,
        pace=data.weights.pace if data.weights else None,
    )
    settings = resolved.settings.model_copy(update={"precision": precision.mode})
    if settings.early_stop == "rise" and settings.monitor != "valid_loss":
        raise SettingsError(
            f"'early_stop' is rise, which looks at valid_loss, but with balance={settings.balance} the best epoch is "
            f"chosen by {settings.monitor}.",
            "Use --monitor valid_loss with it, or --patience 5 instead.",
        )
    reasons = {**resolved.reasons}
    if given.precision == "auto":
        reasons["precision"] = why
    if given.augment == "auto":
        reasons["augment"] = augmentation(data, given)[1]
    start = begin(data, settings)  # refuses impossible sizes, and weights that do not fit
    network = start.network
    if isinstance(data.weights, Pretrained) and start.fitted:
        data.weights.keep()
        sentences = changes(asked, given, start.fitted)
        reasons["weights"] = "; ".join([data.weights.name, *sentences])
        for sentence in sentences:
            progress.note(f"weights: {sentence}")
    if start.frozen() and settings.freeze != "none":
        reasons["freeze"] = start.frozen()
    elif start.frozen():
        progress.note(f"{settings.model}: {start.frozen()}: they were measured on training images")
    report_types(settings.trackers)
    augmentation(data, settings)
    optimizer_of(settings, network)
    check_sizes(settings, network, data.images.kind)
    start.freezing.apply(network, epoch=1)  # so that the speed measured is that of the first epoch
    for sentence in getattr(network, "adaptations", ()):
        progress.note(f"{settings.model}: {sentence}")
    if balance(data, settings).afterwards:
        last_layer(network)
    stream = train_stream(data, settings, device, progress)
    if settings.minutes is not None:
        began = time.perf_counter()
        step_s, eval_s = pace(network, stream, data, settings, precision)
        left = settings.minutes - (time.perf_counter() - began) / 60
        if settings.progressive < 1 and not given.epochs:
            step_s *= progressive.work(data.preprocessing.size, settings.progressive)
        epochs, steps = plan.fit_minutes(left, step_s=step_s, steps=len(stream), eval_s=eval_s)
        settings = settings.model_copy(update={"epochs": given.epochs or epochs, "train_steps": steps})
        reasons["epochs"] = f"{step_s * 1000:.0f} ms a step, {len(stream)} steps an epoch, {settings.minutes:g} minutes"
    if given.compile == "auto":
        choice = compile_if_it_pays(network, stream, settings, precision)
        settings = settings.model_copy(update={"compile": "on" if choice.compiled else "off"})
        reasons["compile"] = choice.reason
    settings, chosen = plan.with_cycles(settings)
    reasons |= chosen
    check(settings, network, len(stream))
    told = {**reasons, **({"weights": data.weights.name} if isinstance(data.weights, Pretrained) else {})}
    for name, reason in told.items():
        progress.note(f"{name} = {getattr(settings, name)} ({reason})")
    return plan.Plan(settings, reasons, start.fitted)


def pace(
    network: nn.Module, stream: Stream, data: Prepared, settings: Settings, precision: Precision
) -> tuple[float, float]:
    """Measure the seconds of a training step, and from them estimate those of the evaluation after an epoch."""
    step_s = speed.step_seconds(
        network,
        stream,
        training_loss(data, settings, network),
        precision,
        optimizer=lambda copy: optimizer_of(settings, copy, lr=1e-6),
        at_most_s=math.inf if settings.minutes is None else settings.minutes * 60 * MEASURING,
    )
    images = len(valid_rows(data, settings)) + min(PROBE, len(data.split.train))
    return step_s, step_s / 3 * images / stream.batch_size


def compile_if_it_pays(
    network: nn.Module, stream: Stream, settings: Settings, precision: Precision
) -> compiling.Choice:
    """Decide by measuring whether to compile; where that was decided before, do it without measuring again."""
    precision.arrange(network.to(precision.device))
    steps = (settings.epochs or 1) * (settings.train_steps or len(stream))
    x, y = stream.peek(stream.batch_size)
    loss = losses.with_auxiliary(losses.CrossEntropy(), network)
    return compiling.choose(settings.compile, network, x, y, loss, precision, steps=steps)


def augmentation(data: Prepared, settings: Settings) -> tuple[Augment, str]:
    """Choose the augmentation, and say why."""
    return preset(
        settings.augment,
        data.preprocessing,
        data.images.classes,
        data.pixels.array,
        data.labels,
        rows=data.split.train,
    )


def training_loss(
    data: Prepared,
    settings: Settings,
    network: nn.Module,
    batches: int = 0,
    class_weights: Sequence[float] | None = None,
) -> losses.Loss:
    """Choose what a training minimises: the settings' loss, and that of the network's auxiliary heads if it has any.

    Where the settings trim it, that begins after their share of a training with so many batches an epoch; with 0 it
    never does, for measuring. Its ``per_example`` is the plain cross-entropy, for validation.
    """
    chosen = balance(data, settings)
    weights, offsets = class_weights or chosen.class_weights(data.counts), chosen.offsets(data.counts)
    loss: losses.Loss = losses.CrossEntropy(settings.label_smoothing, class_weights=weights, offsets=offsets)
    if settings.trim and batches:
        heads = len(network.auxiliary_heads()) if isinstance(network, Network) else 0  # for each it is called, too
        begins = round(settings.trim_from * (settings.epochs or 1) * (settings.train_steps or batches))
        loss = losses.Trimmed(loss, settings.trim, begins * (1 + heads))
    return losses.with_auxiliary(loss, network)


def train_stream(data: Prepared, settings: Settings, device: torch.device, progress: Progress | None = None) -> Stream:
    """Make the stream of training batches: balanced as set, shuffled, augmented."""
    batch = settings.batch_size or plan.batch_size(len(data.split.train))
    spec, _ = augmentation(data, settings)
    drawn = data.training_rows(balance(data, settings), settings.seed, progress)
    return Stream(
        data.pixels.array,
        data.labels,
        drawn.rows,
        data.preprocessing,
        batch_size=batch,
        seed=settings.seed,
        augment=spec,
        drop_last=len(data.split.train) > batch,
        device=device,
        num_classes=len(data.images.classes),
        chances=drawn.chances,
        invented=drawn.invented,
        sizes=progressive.sizes(data.preprocessing.size, settings.progressive, settings.epochs),
    )


def assemble(
    folder: RunFolder | None,
    data: Prepared,
    settings: Settings,
    device: torch.device,
    progress: Progress,
    class_weights: Sequence[float] | None = None,
) -> Trainer:
    """Put network, streams, loss, optimizer and schedule together; the same settings give the same trainer.

    Without a folder nothing is kept on disk. Weights of the classes go into the loss instead of those that the
    settings may ask for.
    """
    start = begin(data, settings)
    network = start.network
    batches = train_stream(data, settings, device, progress)

    def plain(rows: Any) -> Stream:
        return Stream(
            data.pixels.array,
            data.labels,
            rows,
            data.preprocessing,
            batch_size=min(len(rows), max(256, batches.batch_size)),
            shuffle=False,
            device=device,
        )

    assert settings.epochs is not None
    precision = Precision.of(settings.precision, device)
    forward: Callable[[Any], Any] = network
    if settings.compile == "on":
        forward = compile_if_it_pays(network, batches, settings, precision).forward
        torch.manual_seed(settings.seed)
    loss_fn = training_loss(data, settings, network, len(batches), class_weights)
    rows = data.split.train
    steps = settings.train_steps or len(batches)
    looked_at, every, first = plan_instruments(
        min(steps * batches.batch_size, len(rows)),
        len(data.split.valid) + min(PROBE, len(rows)),
        steps,
        settings.epochs,
        SHARES[settings.instruments],
    )
    instruments = Instruments(
        plain(rows[:: len(rows) // looked_at][:looked_at]) if looked_at else None,
        loss_fn,
        precision,
        every,
        folder,
        first=first,
    )
    rises = settings.early_stop == "rise"
    stopper = RiseStopping(least=LEAST * math.log(len(data.images.classes))) if rises else None
    return Trainer(
        model=network,
        settings=TrainerSettings(
            epochs=settings.epochs,
            metrics=measured(data, settings),
            logdir=folder.path if folder else settings.runs,
            train_steps=settings.train_steps,
            reporttypes=report_types(settings.trackers),
            earlystop_kwargs={"patience": settings.patience, "delta": settings.delta} if settings.patience else None,
            scheduler_kwargs=None,
        ),
        loss_fn=loss_fn,
        optimizer=optimizer_of(settings, network, factors=start.factors, batches=len(batches)),
        traindataloader=batches,
        validdataloader=plain(valid_rows(data, settings)),
        scheduler=schedule_of(settings, len(batches)),
        device=device,
        precision=precision,
        forward=forward,
        penalty=penalty_of(settings),
        clip_norm=settings.clip_norm,
        max_norm=settings.max_norm,
        accumulate=settings.accumulate,
        ema=settings.ema,
        swa=averaged_epochs(settings),
        snapshots=snapshot_epochs(settings),
        probe=plain(data.split.train[:: max(1, -(-len(data.split.train) // PROBE))]),
        folder=folder,
        checkpoint_minutes=settings.checkpoint_minutes,
        progress=progress,
        monitor=settings.monitor or "valid_loss",
        time_limit_s=None if settings.minutes is None else settings.minutes * 60 * 0.95,
        freezing=start.freezing,
        instruments=instruments,
        stopper=stopper,
    )
