"""Settings with nothing left open and prepared data -> a trainer put together."""

from __future__ import annotations

import math
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
from sightline.making import plan
from sightline.making.balancing import balance, measured, valid_rows
from sightline.making.beginning import begin
from sightline.making.course import (
    averaged_epochs,
    optimizer_of,
    penalty_of,
    schedule_of,
    snapshot_epochs,
)
from sightline.making.prepared import Prepared
from sightline.models import arithmetic
from sightline.models.network import Network
from sightline.models.plan import Plan
from sightline.progress import Progress, span
from sightline.run import RunFolder
from sightline.settings import Settings, TrainerSettings
from sightline.tracking.tracker import Tracker, report_types
from sightline.training import compiling
from sightline.training.instruments import SHARES, Instruments
from sightline.training.instruments import plan as plan_instruments
from sightline.training.precision import Precision
from sightline.training.trainer import Trainer

SLOW = 2.5e9
"""Multiply-adds a second that a slow processor makes."""
PASSES = 3
"""Times the multiply-adds of a prediction that a training step takes: forward, and back to inputs and to weights."""

PROBE = 2000
"""Training images, at most, whose loss without dropout and augmentation is drawn beside the validation loss."""


def slowest_s(network: Plan, images: int) -> float:
    """Give the seconds that a slow processor trains on so many images, by their multiplications."""
    return images * PASSES * arithmetic.multiply_adds(arithmetic.table(network)) / SLOW


def compile_if_it_pays(
    network: nn.Module, stream: Stream, settings: Settings, precision: Precision
) -> compiling.Choice:
    """Decide by measuring whether to compile; where that was decided before, do it without measuring again.

    Nor is a step measured (which costs what a step does) where so few are wanted that any machine makes them soon.
    """
    if settings.compile == "auto" and isinstance(network, Network):
        images = (settings.epochs or 1) * (settings.train_steps or len(stream)) * stream.batch_size
        at_most_s = slowest_s(network.plan, images)
        if at_most_s < compiling.WORTH_TRYING_S:
            return compiling.Choice(network, False, f"not compiled: at most {span(at_most_s)} even on a slow processor")
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
    trackers: Sequence[Tracker] = (),
) -> Trainer:
    """Put network, streams, loss, optimizer and schedule together; the same settings give the same trainer.

    Without a folder nothing is kept on disk. Weights of the classes go into the loss instead of those that the
    settings may ask for; trackers are told of each epoch before those that the settings name.
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
        trackers=trackers,
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
