"""Prepared data -> probabilities for every image from networks that never saw it: K folds, each an ordinary run.

A fold is the validation part of its run: no weight is fitted to it, but the best epoch is chosen on it. Its images are
scored by that epoch's network, and the probability of the given label is taken as the mean over the second half of the
epochs, whose losses a run keeps image by image: single epochs are noisy witnesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.folds import folds
from sightline.data.split import Split
from sightline.diagnosis.calibration import log_softmax
from sightline.making import recipe
from sightline.making.prepared import Prepared, divide
from sightline.making.trained import Run
from sightline.progress import Muted, Progress
from sightline.run import RunFolder
from sightline.settings import Settings

AGREES = 0.02
"""How far the probability that a run's losses imply may be from the network's own, in the median, for the losses to be
believed: with label smoothing or weights, losses are something else."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One training of an audit.

    Attributes:
        number: of the fold, from 0.
        of: how many folds there are.
        seed: of the dealing into folds, and of the training.
        held: int64, ascending: rows that it scores and does not learn from.
        learnt: int64, ascending: rows that it learns from.
        runs: the folder of its run folder.
    """

    number: int
    of: int
    seed: int
    held: NDArray[np.int64]
    learnt: NDArray[np.int64]
    runs: Path

    @property
    def folder(self) -> RunFolder:
        """Its run folder, made or not."""
        return RunFolder(self.runs / self.name)

    @property
    def name(self) -> str:
        """What its run folder is called."""
        return f"seed{self.seed}-fold{self.number + 1}of{self.of}"


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows and what networks that never saw them say.

    Attributes:
        rows: int64 (n,), ascending.
        probabilities: float64 (n, K), rows sum to 1.
    """

    rows: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def deal(data: Prepared, count: int, seeds: Sequence[int], runs: Path) -> list[Fold]:
    """Deal all images but those of a given test part into folds, once for each seed.

    Raises:
        SettingsError, SourceError: there are too few images or groups for so many folds.
    """
    rows = audited(data)[0]
    groups = data.images.groups
    planned = []
    for seed in seeds:
        fold = folds(
            data.labels[rows],
            count,
            groups=None if groups is None else groups[rows],
            digests=data.pixels.digests[rows],
            seed=seed,
        )
        planned += [Fold(k, count, seed, rows[fold == k], rows[fold != k], runs) for k in range(count)]
    return planned


def audited(data: Prepared) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the rows that are dealt into folds, and those of a test part that the source gives; none that is dropped."""
    taking_part = np.ones(len(data.images), bool)
    if data.corrected is not None:
        taking_part[data.corrected.dropped] = False
    given = data.images.splits == "test" if data.images.splits is not None else np.zeros(len(data.images), bool)
    return np.flatnonzero(taking_part & ~given), np.flatnonzero(taking_part & given)


def train(planned: Sequence[Fold], data: Prepared, given: Settings, source: Any, progress: Progress) -> bool:
    """Train what is not there yet, fold after fold.

    Args:
        planned: from ``deal``.
        data: all images.
        given: as the user gave them; ``minutes`` is for all folds together.
        source: as the user gave it, to continue a fold that was cut off.
        progress: shows what happens: of the first fold all, of the others the outcome.

    Returns:
        False if it was interrupted.

    Raises:
        TrainingError: the loss became NaN, or memory ran out.
    """
    ready = sum(fold.folder.how_far() == "finished" for fold in planned)
    with progress.task("Folds", total=len(planned), done=ready) as task:
        for fold in planned:
            if fold.folder.how_far() == "finished":
                continue
            run = recipe.make(
                _settings(fold, given, len(planned)),
                partial(without, fold, data, given),
                source=source,
                progress=Muted(progress) if ready else progress,
            )
            if fold.folder.how_far() != "finished":
                return False
            ready += 1
            progress.note(f"fold {fold.number + 1} of {fold.of}, seed {fold.seed}: {run.headline}")
            task.advance()
    return True


def collect(planned: Sequence[Fold], data: Prepared, progress: Progress) -> tuple[Scored, Scored]:
    """Let the networks of finished folds score what they did not see.

    Returns:
        The rows that were dealt into folds, each the mean over the seeds; and the rows of a given test part, the mean
        over all networks.
    """
    rows, test = audited(data)
    k = len(data.images.classes)
    sums, of_test = np.zeros((len(data.images), k)), np.zeros((len(test), k))
    with progress.task("Scoring", total=len(planned)) as task:
        for fold in planned:
            run = Run(fold.folder)
            sums[fold.held] += _scored(run, data, fold.held)
            if len(test):
                of_test += np.exp(log_softmax(run.predictor.logits(data.pixels.array, test)))
            task.advance()
    seeds = len({fold.seed for fold in planned})
    return Scored(rows, sums[rows] / seeds), Scored(test, of_test / len(planned))


def _scored(run: Run, data: Prepared, held: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the probabilities of a fold's own images, float (n, K), that of the given label averaged over epochs."""
    found = np.exp(log_softmax(run.predictor.logits(data.pixels.array, held)))
    labels, rows = data.labels[held], np.arange(len(held))
    own = found[rows, labels]
    path = run.folder.valid_losses
    table = np.exp(-np.load(path, allow_pickle=False).astype(np.float64)) if path.is_file() else np.empty((0, 0))
    if table.ndim != 2 or table.shape[1] != len(held):
        return found
    best = int(run.folder.read_state()["best_epoch"]) - 1
    if np.median(np.abs(table[best] - own)) > AGREES:
        return found
    mean = table[len(table) // 2 :].mean(axis=0)
    rest = np.maximum(1 - own, 1e-12)
    found *= ((1 - mean) / rest)[:, None]
    found[rows, labels] = mean
    scaled: NDArray[np.float64] = found / found.sum(axis=1, keepdims=True)
    return scaled


def without(fold: Fold, data: Prepared, given: Settings) -> Prepared:
    """Give the data as a fold's training sees them: its own images are the validation part, nothing is the test."""
    parts = Split(fold.learnt, fold.held, fold.held[:0], (f"Fold {fold.number + 1} of {fold.of}, seed {fold.seed}.",))
    return divide(data, parts, given, Progress(quiet=True))


def _settings(fold: Fold, given: Settings, count: int) -> Settings:
    share = None if given.minutes is None else given.minutes / count
    return given.model_copy(
        update={"seed": fold.seed, "runs": fold.runs, "name": fold.name, "minutes": share, "balance_valid": False}
    )
