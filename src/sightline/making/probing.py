"""A training's data and settings -> what its probes say: asked before a long first epoch, after a short one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sightline import files
from sightline.data.stream import Stream
from sightline.diagnosis import probes
from sightline.errors import SightlineError
from sightline.making.assembly import assemble, slowest_s, train_stream
from sightline.making.prepared import Prepared
from sightline.making.trained import plan_of
from sightline.models.obtain import wanted
from sightline.models.pretrained import Recalled
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.settings import Settings
from sightline.tracking.tracker import Context
from sightline.training import generators
from sightline.training.trainer import Trainer

SHORT_S = 120.0
"""Seconds that a slow processor may take for a first epoch that is short: a usual one takes some seconds then."""


class Probing:
    """Asks a training's probes, once.

    Nobody should wait for a long epoch to hear that nothing can come of it, nor for the first step of a short one. The
    answers are the same: they are asked of a twin, made again from the seed as the training began, so a training that
    was cut off before them gives them when it is resumed. It is a tracker, as these hear when an epoch is done.

    Args:
        folder: of the run; gets ``probes.json``.
        data: of the run.
        settings: with nothing left open; without ``probes`` nothing is asked.
        device: of the training.
        progress: shows the trying, and what is found to be wrong.

    Attributes:
        asked: whether nothing is left to ask.
    """

    def __init__(
        self, folder: RunFolder, data: Prepared, settings: Settings, device: torch.device, progress: Progress
    ) -> None:
        self.folder = folder
        self.data = data
        self.settings = settings
        self.device = device
        self.progress = progress
        self.asked = not settings.probes

    def can_wait(self) -> bool:
        """Say whether the first epoch is short, by its multiplications; where minutes are counted, it counts as long.

        Those minutes are planned for steps.
        """
        if self.settings.minutes is not None:
            return False
        images = len(self.data.split.train)
        if self.settings.train_steps and self.settings.batch_size:
            images = min(images, self.settings.train_steps * self.settings.batch_size)
        plan = plan_of(self.settings, self.data.preprocessing, len(self.data.images.classes))
        return slowest_s(plan, images) < SHORT_S

    def ask(self) -> None:
        """Ask for some seconds what was not asked yet; write it down, and say what is wrong. Nothing is changed.

        Raises:
            RunError: ``probes.json`` cannot be written.
        """
        if self.asked or self.folder.probes.is_file():
            return
        self.asked = True
        data = self.data
        if isinstance(data.weights, Recalled):  # resumed before they were asked: the twin begins with those weights
            try:
                data = replace(data, weights=wanted(self.settings, self.progress))
            except SightlineError as error:
                self.progress.note(f"the set-up is not tried: {error.fault}")
                return
        numbers = generators.state(self.device)
        try:
            plain = self.settings.model_copy(update={"compile": "off", "trackers": ()})
            twin = assemble(None, data, plain, self.device, Progress(quiet=True))
            try_out(twin, self.folder, data, self.settings, self.progress)
        finally:
            generators.restore(numbers, self.device)

    def start(self, context: Context) -> None:
        """Do nothing: ``can_wait`` says whether something is to be asked before."""

    def row(self, row: Mapping[str, float]) -> None:
        """Ask after the first epoch."""
        self.ask()

    def artifact(self, path: Path) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def try_out(trainer: Trainer, folder: RunFolder, data: Prepared, settings: Settings, progress: Progress) -> None:
    """Probe a network about to be trained, its data and its learning rate, and say what is wrong; change nothing.

    Raises:
        RunError: ``probes.json`` cannot be written.
    """

    def mixed(rows: NDArray[np.int64]) -> Stream:
        return Stream(data.pixels.array, data.labels, rows, data.preprocessing, batch_size=min(len(rows), 256))

    trainer.freezing.apply(trainer.model, 1)
    with progress.task("Trying the set-up", total=None):
        found = probes.before(
            trainer.model,
            trainer.optimizer,
            trainer.loss_fn,
            trainer.precision,
            plain=mixed(data.split.train),
            valid=mixed(data.split.valid),
            augmented=train_stream(data, settings, torch.device("cpu")).peek(probes.AUGMENTED),
            classes=data.images.classes,
        )
    files.write_json(folder.probes, found)
    for finding in probes.told(found, settings.model_dump(), len(data.images.classes)):
        progress.note(f"{finding.severity}: {finding.message} {finding.advice}")
