"""A schedule, ours or torch's -> the learning rates in the optimizer's groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from sightline.errors import SettingsError
from sightline.training.schedule import Plateau, Schedule

Scheduler = Schedule | Plateau | LRScheduler | Callable[..., LRScheduler]


class Rate:
    """Sets the learning rate of each step, and hears the loss of each epoch.

    Our schedules give each step's share of the peak, by which the rate that each group began with is multiplied.
    Torch's schedulers are stepped once per epoch, after validation; ``ReduceLROnPlateau`` is told the loss.

    Args:
        scheduler: a ``Schedule`` or ``Plateau``; a torch scheduler on this optimizer; the class of one (or a function),
            called ``scheduler(optimizer, **options)``; or None: the rate stays as it is.
        optimizer: whose groups are set.
        options: for a class.

    Raises:
        SettingsError: the class refuses its options, or the scheduler drives another optimizer.
    """

    def __init__(
        self, scheduler: Scheduler | None, optimizer: Optimizer, options: Mapping[str, Any] | None = None
    ) -> None:
        self.optimizer = optimizer
        self.scheduler: Schedule | Plateau | LRScheduler | None = None
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        if scheduler is None or isinstance(scheduler, Schedule | Plateau | LRScheduler):
            self.scheduler = scheduler
        else:
            self.scheduler = _made(scheduler, optimizer, options or {})
        if isinstance(self.scheduler, LRScheduler) and self.scheduler.optimizer is not optimizer:
            raise SettingsError(
                "the scheduler drives another optimizer than the trainer's.",
                "Make it from the optimizer that is given to Trainer, or give its class.",
            )

    @property
    def now(self) -> float:
        """The rate of the first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def before(self, step: int) -> None:
        """Set the rate of an update, counted from 0."""
        if isinstance(self.scheduler, Schedule | Plateau):
            factor = self.scheduler.factor(step)
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def after(self, loss: float) -> None:
        """Hear the validation loss of an epoch."""
        if isinstance(self.scheduler, Plateau):
            self.scheduler.see(loss)
        elif isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(loss)
        elif isinstance(self.scheduler, LRScheduler):
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Give what the scheduler remembers; a pure function remembers nothing."""
        return {} if self.scheduler is None or isinstance(self.scheduler, Schedule) else self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what ``state_dict`` gave."""
        if state and self.scheduler is not None and not isinstance(self.scheduler, Schedule):
            self.scheduler.load_state_dict(state)


def _made(scheduler: Callable[..., LRScheduler], optimizer: Optimizer, options: Mapping[str, Any]) -> LRScheduler:
    try:
        return scheduler(optimizer, **options)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"scheduler {getattr(scheduler, '__name__', scheduler)} refuses {dict(options)}: {error}.",
            "Set scheduler_kwargs to what this scheduler takes; the default ones are for ReduceLROnPlateau.",
        ) from None
