"""Settings and prepared data -> what is left open decided, with its reasons: some by rule, some by trying here."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import nn

from sightline.data import progressive
from sightline.data.stream import Stream
from sightline.errors import ModelError, SettingsError
from sightline.making import plan
from sightline.making.assembly import PROBE, augmentation, compile_if_it_pays, train_stream, training_loss
from sightline.making.balancing import balance, valid_rows
from sightline.making.beginning import adopted, begin, changes
from sightline.making.course import check, check_sizes, optimizer_of
from sightline.making.prepared import Prepared
from sightline.making.trained import plan_of
from sightline.models import arithmetic
from sightline.models.pretrained import Pretrained
from sightline.progress import Progress, span
from sightline.settings import AUTO, Settings
from sightline.tracking.tracker import report_types
from sightline.training import speed
from sightline.training.head import last_layer
from sightline.training.precision import Precision

MEASURING = 0.05
"""Share of the minutes there are that may go into measuring how long a step takes."""

PATIENT = 10.0
"""Minutes that a training may take with the network that ``model=auto`` chooses, where nothing is said."""


TRYING = 0.15
"""Share of the minutes there are after which no further network is tried."""

HOPE = 0.4
"""Part of the time that its multiplications promise, beside a measured network, in which a larger one may be hoped for:
large products are quicker. A network that would see too few images even then is not tried."""


AMPLE = 60
"""Passes over all training images that are enough for any network here."""


@dataclass(frozen=True)
class Candidate:
    """A network that ``model=auto`` may take.

    Attributes:
        model: name of the network.
        width: factor on its feature maps.
        needs: training images that it has to see, counting repetitions, before it beats the ones before it.
    """

    model: str
    width: float
    needs: int

    @property
    def options(self) -> dict[str, float]:
        """Give its options."""
        return {} if self.width == 1 else {"width": self.width}

    @property
    def title(self) -> str:
        """Name it in a sentence."""
        return self.model if self.width == 1 else f"{self.model} of width {self.width:g}"


SMALL = 64
"""Sides up to here, in pixels, are small: there ``fastnet`` is quick, which shrinks nothing before its first block."""

CANDIDATES = {
    "small": (
        Candidate("fastnet", 0.25, 0),
        Candidate("fastnet", 0.5, 5_000),
        Candidate("fastnet", 1.0, 50_000),
        Candidate("resnet18", 0.5, 100_000),
        Candidate("resnet18", 1.0, 200_000),
    ),
    "large": (
        Candidate("resnet18", 0.25, 0),
        Candidate("resnet18", 0.5, 5_000),
        Candidate("resnet18", 1.0, 20_000),
    ),
}
"""For small images, signals and volumes, and for large images: from quick to slow. By ``benches/choosing.py``."""


@dataclass(frozen=True)
class Chosen:
    """The network that fits into a time.

    Attributes:
        candidate: which.
        reason: why.
        step_s, eval_s: its seconds of a step, and of the evaluation of an epoch.
        tried_s: seconds that finding it took.
    """

    candidate: Candidate
    reason: str
    step_s: float
    eval_s: float
    tried_s: float = 0.0


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
    chosen = None
    if settings.model == AUTO:
        with progress.task("Choosing a network", total=None):
            chosen = choose(settings, data, device, precision)
        settings = settings.model_copy(update={"model": chosen.candidate.model, "options": chosen.candidate.options})
    if settings.early_stop == "rise" and settings.monitor != "valid_loss":
        raise SettingsError(
            f"'early_stop' is rise, which looks at valid_loss, but with balance={settings.balance} the best epoch is "
            f"chosen by {settings.monitor}.",
            "Use --monitor valid_loss with it, or --patience 5 instead.",
        )
    reasons = {**({"model": chosen.reason} if chosen else {}), **resolved.reasons}
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
        step_s, eval_s = (chosen.step_s, chosen.eval_s) if chosen else pace(network, stream, data, settings, precision)
        left = settings.minutes - (time.perf_counter() - began + (chosen.tried_s if chosen else 0)) / 60
        if settings.progressive < 1 and not given.epochs:
            step_s *= progressive.work(data.preprocessing.size, settings.progressive)
        epochs, steps = plan.fit_minutes(left, step_s=step_s, steps=len(stream), eval_s=eval_s)
        settings = settings.model_copy(update={"epochs": given.epochs or epochs, "train_steps": steps})
        reasons["epochs"] = f"{step_s * 1000:.0f} ms a step, {len(stream)} steps an epoch, {settings.minutes:g} minutes"
        seen = (settings.epochs or 1) * (steps or len(stream)) * stream.batch_size
        if not chosen and seen < _needs(settings, data):
            progress.note(
                f"{settings.model} sees about {_round(seen)} images in that time, which is little for it: --model auto "
                "takes a network that learns more in it"
            )
    if given.compile == "auto":
        choice = compile_if_it_pays(network, stream, settings, precision)
        settings = settings.model_copy(update={"compile": "on" if choice.compiled else "off"})
        reasons["compile"] = choice.reason
    settings, why_cycles = plan.with_cycles(settings)
    reasons |= why_cycles
    check(settings, network, len(stream))
    told = {**reasons, **({"weights": data.weights.name} if isinstance(data.weights, Pretrained) else {})}
    for name, reason in told.items():
        progress.note(f"{name} = {getattr(settings, name)} ({reason})")
    return plan.Plan(settings, reasons, start.fitted)


def choose(settings: Settings, data: Prepared, device: torch.device, precision: Precision) -> Chosen:
    """Choose the largest network that gets enough passes within the minutes there are, by trying them here.

    Enough is what the network needs to see (``Candidate.needs``); without minutes it is all epochs, within
    ``PATIENT`` minutes. From quick to slow, so that no more than one is tried in vain.

    Raises:
        ModelError: the images are too small for all of them.
    """
    candidates = _candidates(data)
    stream = train_stream(data, settings, device)
    minutes = settings.minutes or PATIENT
    whole = (settings.epochs or 1) * len(stream) * stream.batch_size

    def seen(step_s: float, eval_s: float) -> int:
        epochs, steps = plan.fit_minutes(minutes, step_s=step_s, steps=len(stream), eval_s=eval_s)
        return epochs * (steps or len(stream)) * stream.batch_size

    best: Chosen | None = None
    began, work, why = time.perf_counter(), 0, ""
    for candidate in candidates:
        tried = settings.model_copy(
            update={"model": candidate.model, "options": candidate.options, "minutes": minutes / len(candidates)}
        )
        try:
            planned = plan_of(tried, data.preprocessing, len(data.images.classes))
        except ModelError:
            if best is None and candidate is candidates[-1]:
                raise
            continue
        before, work = work, arithmetic.multiply_adds(arithmetic.table(planned))
        needs = whole if settings.minutes is None else _needs(tried, data)
        if best:
            hope = HOPE * work / before
            late = time.perf_counter() - began > minutes * 60 * TRYING
            if late or seen(best.step_s * hope, best.eval_s * hope) < needs:
                break
        network = begin(data, tried).network
        if best is None:
            optimizer_of(tried, network)  # the first of a process takes a while, as torch then imports its compiler
            began = time.perf_counter()
        step_s, eval_s = pace(network, stream, data, tried, precision)
        count = seen(step_s, eval_s)
        if best and count < needs:
            why = f"; with {candidate.title} only about {_round(count)}"
            break
        told = f"{candidate.title}: about {_round(count)} images fit into {span(minutes * 60)}"
        best = Chosen(candidate, told, step_s, eval_s)
    assert best is not None
    return replace(best, reason=best.reason + why, tried_s=time.perf_counter() - began)


def _candidates(data: Prepared) -> tuple[Candidate, ...]:
    size = data.preprocessing.size
    return CANDIDATES["large" if len(size) == 2 and min(size) > SMALL else "small"]


def _needs(settings: Settings, data: Prepared) -> int:
    """Count the images that these settings' network has to see, to be worth its size; 0 if that is not known."""
    own = (settings.model, settings.options)
    known = next((one.needs for one in _candidates(data) if (one.model, one.options) == own), 0)
    return min(known, AMPLE * len(data.split.train))


def _round(count: int) -> str:
    """Write a count with two digits that mean something."""
    return f"{float(f'{count:.2g}'):,.0f}"


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
