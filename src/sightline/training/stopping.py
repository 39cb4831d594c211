"""A number per epoch in, a decision out: is it better, and is it time to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sightline import files
from sightline.errors import RunError, SettingsError, did_you_mean
from sightline.models.weights import read_weights
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.training.checkpoint import save_weights


@dataclass
class Patience:
    """A memory of the best number and of how long ago it was.

    Attributes:
        patience: numbers without improvement, in a row, after which it is ``exhausted``; at least 1.
        delta: a number improves if it is below ``best - delta`` (above ``best + delta`` where higher is better).
        lower_is_better: direction.
        best: the last number that improved; None before the first.
        waited: numbers since then.
    """

    patience: int
    delta: float = 0.0
    lower_is_better: bool = True
    best: float | None = None
    waited: int = 0

    def __post_init__(self) -> None:
        if self.patience < 1 or not self.delta >= 0:
            raise SettingsError(
                f"early stopping cannot have patience={self.patience}, delta={self.delta}.",
                "Use a patience of at least 1 and a delta of at least 0.",
            )

    def see(self, value: float) -> bool:
        """Take the next number and say whether it improves; a NaN never does."""
        if better(value, self.best, self.delta, self.lower_is_better):
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether it is time to stop."""
        return self.waited >= self.patience


def better(value: float, best: float | None, delta: float = 0.0, lower_is_better: bool = True) -> bool:
    """Say whether a number is better than the best by more than ``delta``; a NaN never is, anything else beats None."""
    if math.isnan(value):
        return False
    if best is None:
        return True
    return value < best - delta if lower_is_better else value > best + delta


class Stopper(Protocol):
    """What a trainer asks after each epoch whether to stop: ``EarlyStopping``, or ``diagnosis.rising.RiseStopping``."""

    @property
    def early_stop(self) -> bool:
        """Whether it is time to stop."""

    def after(self, value: float, model: nn.Module, losses: NDArray[np.float32] | None) -> None:
        """Take what is monitored after an epoch, the model, and the loss of each validation image if all are known."""

    def why(self, monitor: str, best_epoch: int) -> str:
        """Say why it is time to stop, as a phrase."""

    def restart(self, log_dir: Path) -> None:
        """Begin anew, for a training that begins or goes on."""

    def state_dict(self) -> dict[str, Any]:
        """Give what it remembers."""

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take what ``state_dict`` gave."""


class EarlyStopping:
    """The lecture's early stopping: ``early_stopping(val_loss, model)`` after each epoch, then look at ``early_stop``.

    Args:
        log_dir: folder for the best weights; made when they are first written.
        patience: epochs without improvement after which ``early_stop`` is True.
        verbose: say each epoch without improvement.
        delta: the improvement that counts: the loss must fall below ``best_loss - delta``.
        save: write the weights of each improvement to ``path`` (safetensors), for ``get_best``.
        lower_is_better: False for an accuracy.
        progress: where to say it; stderr otherwise.
    """

    OPTIONS = ("patience", "verbose", "delta", "save")

    def __init__(
        self,
        log_dir: Path | str,
        patience: int = 7,
        verbose: bool = False,
        delta: float = 0.0,
        save: bool = False,
        *,
        lower_is_better: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.log_dir = Path(log_dir)
        self.verbose = verbose
        self.save = save
        self.progress = progress or Progress()
        self._machine = Patience(patience, delta, lower_is_better)
        self._model: nn.Module | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any] | None, **given: Any) -> EarlyStopping | None:
        """Make one from ``earlystop_kwargs``; None of None.

        Raises:
            SettingsError: an option is unknown or out of range.
        """
        for option in options or ():
            if option not in cls.OPTIONS:
                raise SettingsError(
                    f"early stopping has no option '{option}'.{did_you_mean(option, cls.OPTIONS)}",
                    f"earlystop_kwargs may hold: {', '.join(cls.OPTIONS)}.",
                )
        return None if options is None else cls(**options, **given)

    @property
    def path(self) -> Path:
        """Where the best weights are written if ``save`` is set."""
        return RunFolder(self.log_dir).best

    @property
    def patience(self) -> int:
        """Epochs without improvement that are borne."""
        return self._machine.patience

    @property
    def delta(self) -> float:
        """The improvement that counts."""
        return self._machine.delta

    @property
    def counter(self) -> int:
        """Epochs since the last improvement."""
        return self._machine.waited

    @property
    def best_loss(self) -> float | None:
        """The last loss that improved; None before the first."""
        return self._machine.best

    @property
    def early_stop(self) -> bool:
        """Whether it is time to stop."""
        return self._machine.exhausted

    def __call__(self, val_loss: float, model: nn.Module) -> None:
        """Take the validation loss of an epoch, and the model that has it.

        Raises:
            RunError: the weights cannot be written.
        """
        self._model = model
        if self._machine.see(val_loss):
            if self.save:
                files.make_folder(self.log_dir)
                save_weights(self.path, model.state_dict())
        elif self.verbose:
            best = "none yet" if self.best_loss is None else f"{self.best_loss:.4f}"
            self.progress.note(f"no improvement for {self.counter} of {self.patience} epochs (best {best})")

    def after(self, value: float, model: nn.Module, losses: NDArray[np.float32] | None) -> None:
        """Do what calling it does; the losses of single images take no part."""
        self(value, model)

    def why(self, monitor: str, best_epoch: int) -> str:
        """Say why it is time to stop, as a phrase."""
        return f"{monitor} has not improved for {self.counter} epochs; the best was epoch {best_epoch}"

    def get_best(self) -> nn.Module:
        """Put the best weights back into the model that was seen last, and give it.

        It is the same module with the same parameters, so an optimizer that holds them still does.

        Raises:
            RunError: no weights were saved.
        """
        if self._model is None or not self.save or not self.path.exists():
            raise RunError(
                "early stopping has saved no weights.",
                "Make it with save=True and call it once; after Trainer.loop() the model has its best weights anyway.",
            )
        read_weights(self._model, self.path)
        return self._model

    def restart(self, log_dir: Path) -> None:
        """Be patient anew, remembering the best: for a training that begins, or goes on after it was stopped."""
        self.log_dir = log_dir
        self._machine.waited = 0

    def state_dict(self) -> dict[str, Any]:
        """Give what it remembers, as plain values."""
        return {"best": self._machine.best, "waited": self._machine.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what ``state_dict`` gave."""
        self._machine.best, self._machine.waited = state["best"], int(state["waited"])
