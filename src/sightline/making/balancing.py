"""Prepared data and settings -> how this training makes up for rare classes, while it goes on and when it has ended."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sightline.data.balance import Balance, decide, repeats
from sightline.data.smote import Invented, some
from sightline.data.stream import Stream
from sightline.making.prepared import Prepared
from sightline.metrics import Accuracy, BalancedAccuracy, BalancedLoss, Metric
from sightline.models import weights
from sightline.progress import Progress
from sightline.settings import Settings
from sightline.training import head
from sightline.training.checkpoint import save_weights
from sightline.training.scores import score
from sightline.training.trainer import Trainer


def balance(data: Prepared, settings: Settings) -> Balance:
    """Choose how to make up for rare classes, as ``plan`` does."""
    return decide(settings.balance, data.counts, data.images.kind)[0]


def measured(data: Prepared, settings: Settings) -> list[Metric]:
    """Choose what is measured after each epoch: the balanced figures, too, where they tell something else."""
    both = "balanced" in (settings.monitor or "") or balance(data, settings).method != "none"
    return [Accuracy(), BalancedAccuracy(), BalancedLoss()] if both else [Accuracy()]


def valid_rows(data: Prepared, settings: Settings) -> NDArray[np.int64]:
    """List what is evaluated after each epoch: the validation images, and behind them, where asked for, repeats."""
    rows = data.split.valid
    return np.concatenate([rows, repeats(data.labels, rows, settings.seed)]) if settings.balance_valid else rows


@dataclass(frozen=True)
class Relearnt:
    """A last layer that was learnt anew.

    Attributes:
        sentence: on how much, and what it changed.
        shown: some of what was invented, as rows of the pixel store.
        nearest: for each of those, the training image whose features are nearest, parents apart, int64.
    """

    sentence: str
    shown: Invented
    nearest: NDArray[np.int64]


def learn_last_layer(trainer: Trainer, data: Prepared, settings: Settings, progress: Progress) -> Relearnt | None:
    """Learn the last layer anew where the settings ask for SMOTE among features; see ``training.head``.

    Args:
        trainer: has ended; its model, with the best weights, gets another last layer, and so do the stored ones, those
            of snapshots included.
        data: of the training.
        settings: of the training.
        progress: shows it.

    Returns:
        what was done; None where the settings do not ask for it.
    """
    chosen = balance(data, settings)
    if not chosen.afterwards:
        return None
    network, rows, kind = trainer.model, data.split.train, data.images.kind

    def stream(part: NDArray[np.int64]) -> Stream:
        return Stream(
            data.pixels.array,
            data.labels,
            part,
            data.preprocessing,
            batch_size=min(len(part), 256),
            shuffle=False,
            device=trainer.device,
            num_classes=len(data.counts),
        )

    def judged() -> float:
        scores = score(network, stream(data.split.valid), trainer.loss_fn, [BalancedAccuracy()], trainer.precision)
        return scores.metrics["BalancedAccuracy"]

    last, labels = head.last_layer(network), data.labels[rows]

    def anew() -> tuple[Tensor, Invented]:
        values = head.features(network, stream(rows), trainer.precision)
        invented = head.relearn(
            last, values, labels, neighbours=chosen.neighbours, seed=settings.seed, progress=progress
        )
        return values, invented

    before = judged()
    values, found = anew()
    if trainer.folder:
        save_weights(trainer.folder.best, network.state_dict(), epoch=trainer.best_epoch)
        for path in sorted(trainer.folder.snapshots.glob("*.safetensors")):  # they vote, too
            _, told = weights.read(path)
            weights.read_weights(network, path)
            anew()
            save_weights(path, network.state_dict(), **json.loads(told["sightline"]))
        weights.read_weights(network, trainer.folder.best)
    sentence = (
        f"learnt anew on the features of {len(rows):,} training {kind}s and of {len(found.first):,} points that SMOTE "
        f"invented among them: balanced accuracy on validation {kind}s {before:.1%} before, {judged():.1%} after"
    )
    progress.note(f"last layer {sentence}")
    shown = some(found, labels)
    nearest = head.nearest_others(values, shown)
    return Relearnt(sentence, Invented(rows[shown.first], rows[shown.second], shown.place), rows[nearest])
