"""Any iterable of (x, y) -> batches on the device, from an iterator that lives on and whose place can be saved."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.errors import SettingsError, SourceError, TrainingError

Batch = tuple[Any, Tensor]
"""x, a tensor or a tuple of tensors, and y, a tensor; both on the device."""


class Feed:
    """One loader, read as a training reads it.

    A loader with ``state_dict`` and ``load_state_dict`` (such as ``Stream``) is asked where it is, and its ``iter``
    goes on from there. Any other is brought back to its place by setting torch's generator as it was when the
    iterator was made (a ``DataLoader`` draws its order from it) and skipping the batches that were taken.

    Args:
        loader: an iterable of (x, y): ``Stream``, ``DataLoader``, list, generator; tensors, tuples of tensors, or
            arrays (whose numbers become float32 and int64, but for uint8).
        steps: batches an epoch takes; None takes all there are.
        device: where batches go.
        channels_last: lay out 4-axis inputs channel by channel within each pixel.
        name: what messages call it: ``"traindataloader"``.

    Raises:
        SettingsError: the loader is no iterable, or can be read only once while ``steps`` is None.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        steps: int | None,
        device: torch.device,
        channels_last: bool = False,
        name: str = "loader",
    ) -> None:
        if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
            raise SettingsError(
                f"{name} is a {type(loader).__name__}, which cannot be iterated over.", "Give an iterable of (x, y)."
            )
        if steps is None and hasattr(loader, "__next__"):
            raise SettingsError(
                f"{name} is a {type(loader).__name__}, which may never end and can be read only once.",
                "Say how many batches make an epoch: train_steps and valid_steps in TrainerSettings.",
            )
        self.loader = loader
        self.steps = steps
        self.device = device
        self.name = name
        self._format = torch.channels_last if channels_last else torch.preserve_format
        self._iterator: Iterator[Any] | None = None
        self._taken = 0
        self._over = False
        self._began: dict[str, Any] = {}
        source: Any = loader
        self._stateful = source if hasattr(source, "state_dict") and hasattr(source, "load_state_dict") else None
        self._first = self._stateful.state_dict() if self._stateful else None

    @property
    def total(self) -> int | None:
        """Batches in an epoch, or None if nobody knows."""
        if self.steps is not None:
            return self.steps
        try:
            return len(self.loader)  # type: ignore[arg-type]
        except TypeError:
            return None

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """Give the batches of one epoch: ``steps`` of them, or what is left of this pass over the data, or a new pass.

        Args:
            done: batches of this epoch that were taken before, by a training that now goes on.

        Raises:
            TrainingError: the loader has no batch, or not as many as it should.
            SourceError: a batch is not (x, y).
        """
        if self.steps is not None:
            for _ in range(self.steps - done):
                yield self._ready(self._take())
            return
        over, self._over = self._over and done > 0, False
        while not over:
            batch = self._next()
            if batch is None and done:
                self._over = over = True
            else:  # a pass that was left behind its last batch has none: this epoch takes the next
                yield self._ready(self._take() if batch is None else batch)
                done += 1

    def whole(self) -> Generator[Batch]:
        """Give the same batches every time: a pass from the beginning, or ``steps`` batches where that is set.

        A loader that knows its position is brought to the beginning first, even if somebody has looked at its first
        batch, and left where it was, for it may be the one that is trained on.
        """
        if self.steps is not None or not self._stateful:
            self._iterator = None if self.steps is None else self._iterator
            yield from self.epoch()
            return
        place = self._stateful.state_dict()
        try:
            self._stateful.load_state_dict(self._first)
            if hasattr(self._stateful, "rewind"):
                self._stateful.rewind()
            self._iterator = None
            yield from self.epoch()
        finally:
            self._stateful.load_state_dict(place)

    def state_dict(self) -> dict[str, Any]:
        """Give the position: behind the batch that was taken last."""
        # Who looks for a further batch at the end of a pass finds the loader at the next one: "over" remembers that.
        if self._stateful:
            return {"over": self._over, "loader": self._stateful.state_dict()}
        return {"over": self._over, "taken": self._taken, **(self._began if self._taken else self._generators())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position. Torch's generator is somewhere else afterwards: restore it last.

        Raises:
            TrainingError: the loader has fewer batches than were taken from it.
        """
        self._iterator, self._taken, self._over = None, 0, state["over"]
        own = getattr(self.loader, "generator", None)
        if isinstance(own, torch.Generator) and "own" in state:
            own.set_state(state["own"])
        if self._stateful and "loader" in state:
            self._stateful.load_state_dict(state["loader"])
        elif state.get("taken"):
            torch.set_rng_state(state["generator"])
            self._open()
            assert self._iterator is not None
            self._taken = sum(1 for _ in islice(self._iterator, state["taken"]))
            if self._taken < state["taken"]:
                raise TrainingError(
                    f"{self.name} has only {self._taken} batches, but {state['taken']} were taken from it before.",
                    "Go on with the same data and batch size.",
                )

    def _open(self) -> None:
        self._began = self._generators()
        self._iterator, self._taken = iter(self.loader), 0

    def _generators(self) -> dict[str, Tensor]:
        """What a ``DataLoader`` will draw its order from: torch's generator, and its own if it was given one."""
        own = getattr(self.loader, "generator", None)
        return {
            "generator": torch.get_rng_state(),
            **({"own": own.get_state()} if isinstance(own, torch.Generator) else {}),
        }

    def _next(self) -> Any:
        """Take the next batch of this pass; None at its end."""
        if self._iterator is None:
            self._open()
            assert self._iterator is not None
        try:
            batch = next(self._iterator)
        except StopIteration:
            self._iterator, self._taken = None, 0
            return None
        self._taken += 1
        return batch

    def _take(self) -> Any:
        """Take the next batch, of the next pass if this one is over."""
        batch = self._next()
        if batch is None:
            batch = self._next()
        if batch is None:
            raise TrainingError(
                f"{self.name} gives no batch"
                + (" any more: it is used up." if hasattr(self.loader, "__next__") else "."),
                "Give a loader that can be read again, or ask for fewer steps.",
            )
        return batch

    def _ready(self, batch: Any) -> Batch:
        if not isinstance(batch, list | tuple) or len(batch) != 2:
            many = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
            raise SourceError(
                f"{self.name} gives a {type(batch).__name__}{many}, where a batch is a pair (x, y).",
                "Let it give pairs; x may be a tuple of tensors.",
            )
        x, y = batch
        target = torch.as_tensor(y) if isinstance(y, list | tuple) else y
        return self._move(x, self._format), self._move(target, torch.preserve_format)

    def _move(self, value: Any, layout: torch.memory_format) -> Any:
        if isinstance(value, list | tuple):
            return tuple(self._move(part, layout) for part in value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and value.dtype != np.uint8:
            value = value.astype(np.float32 if value.dtype.kind == "f" else np.int64, copy=False)
        tensor = torch.as_tensor(value)
        if layout is torch.channels_last and (tensor.ndim != 4 or not tensor.is_floating_point()):
            layout = torch.preserve_format
        return tensor.to(self.device, non_blocking=True, memory_format=layout)


def size(batch: Batch) -> int:
    """Count the examples of a batch."""
    return len(batch[1]) if batch[1].ndim else 1


def groups(batches: Iterator[Batch], count: int) -> Iterator[list[tuple[Any, Tensor, float]]]:
    """Bring batches together whose gradients make one step.

    Args:
        batches: one epoch's.
        count: batches per group; the last group may have fewer.

    Yields:
        Lists of (x, y, share), where share is the batch's part of the group's examples: with losses that are means over
        a batch, the shares' sum is the mean over the group, also where batches are short.
    """
    while group := list(islice(batches, count)):
        examples = sum(size(batch) for batch in group)
        yield [(*batch, size(batch) / examples) for batch in group]
