"""Minutes and measured speeds -> how many epochs each run gets, or why the time is too short."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightline.comparison.running import Job, Stock
from sightline.errors import SettingsError
from sightline.making.assembly import train_stream
from sightline.making.choices import pace
from sightline.making.trained import network_of
from sightline.progress import Progress, span
from sightline.settings import Settings
from sightline.training import device as devices
from sightline.training.precision import Precision

MOST_EPOCHS = 300
SHARE = 0.9
"""Of the time, what trainings get; the rest is for their final scores and reports."""


@dataclass(frozen=True)
class Budget:
    """A total time and what each run will take of it.

    Attributes:
        minutes: for all runs.
        epochs: for the arms that leave them open.
        seconds: of a whole run, for each arm's label.
    """

    minutes: float
    epochs: int | None
    seconds: Mapping[str, float]


def divide(
    minutes: float, todo: Sequence[Job], resolved: Mapping[str, Settings], stock: Stock, jobs: int, progress: Progress
) -> Budget:
    """Divide a time among runs: arms that leave their epochs open get the same number, as many as fit for all seeds.

    Where all epochs are given, the runs are made in turn until the next would not fit.

    Args:
        minutes: for all runs together.
        todo: those that are not finished.
        resolved: settings of each arm, with all but the epochs decided.
        stock: the data.
        jobs: how many runs go on at a time.
        progress: says what was measured.

    Raises:
        SettingsError: the time is too short for one run of some arm.
    """
    device, _ = devices.choose(stock.base.device)
    epoch_s: dict[str, float] = {}
    given: dict[str, int | None] = {}
    for job in todo:
        if job.arm.label not in epoch_s:
            settings = resolved[job.arm.label]
            data, precision = stock.data(job.settings), Precision.of(settings.precision, device)
            stream = train_stream(data, settings, device)
            network = network_of(settings, data.preprocessing, len(data.images.classes))
            step_s, eval_s = pace(network, stream, data, settings, precision)
            epoch_s[job.arm.label] = (settings.train_steps or len(stream)) * step_s + eval_s
            given[job.arm.label] = job.settings.epochs
    seconds = minutes * 60 * SHARE * jobs
    fixed = sum(epoch_s[job.arm.label] * (job.settings.epochs or 0) for job in todo)
    once = sum(epoch_s[job.arm.label] for job in todo if job.settings.epochs is None)
    epochs = None
    if once:
        epochs = min(MOST_EPOCHS, math.floor((seconds - fixed) / once))
        if epochs < 1:
            raise SettingsError(
                f"{minutes:g} minutes are too short: one epoch for each of {len(todo)} runs takes about "
                f"{span((fixed + once) / SHARE / jobs)} on this machine.",
                f"Use --minutes {math.ceil((fixed + once) / 60 / SHARE / jobs)}, or fewer seeds or arms.",
            )
        progress.note(f"epochs = {epochs} (as many as {len(todo)} runs can have in {minutes:g} minutes)")
    whole = {label: each * (given[label] or epochs or 0) for label, each in epoch_s.items()}
    longest = max(whole, key=lambda label: whole[label])
    if whole[longest] > minutes * 60:
        raise SettingsError(
            f"{minutes:g} minutes are too short for one run: {longest} takes about {span(whole[longest])} for "
            f"{given[longest] or epochs} epochs on this machine.",
            f"Use --minutes {math.ceil(whole[longest] / 60 / SHARE)}, or fewer --epochs.",
        )
    return Budget(minutes, epochs, whole)
