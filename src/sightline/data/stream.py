"""Rows of the pixel store -> seeded batches (x, y) on the device, ready for the network; its position can be saved."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sightline.data.augment import Augment, augment
from sightline.data.batchwise import gather
from sightline.data.paging import Pages
from sightline.data.preprocess import Preprocessing
from sightline.data.randomness import shuffled, uniforms
from sightline.data.smote import Invented, mix
from sightline.errors import SettingsError

Batch = tuple[Tensor, Tensor]
"""x float32 (B, C, *size), normalised; y int64 (B,), or float32 (B, K) with mixup, cutmix or float labels."""


class Stream:
    """Batches without workers: one gather, one augmentation and one normalisation for the whole batch.

    The order of epoch e and the augmentation of sample i in it are functions of (seed, e, i) alone, so nothing but
    the position has to be saved. Works in anybody's loop::

        stream = Stream(array, labels, rows, preprocessing, batch_size=64, shuffle=True)
        for epoch in range(10):
            for x, y in stream:
                ...

    Each ``iter`` starts where the stream is and moves it along: after the last batch the next epoch begins, and a loop
    that was left early goes on where it stopped (``rewind`` starts the epoch again). Two iterators made at the same
    position give the same batches and do not disturb each other; the stream is where the one used last is.

    Args:
        array: the pixel store: images (N, H, W, C), signals (N, C, L), volumes (N, C, D, H, W), uint8 or float32; in
            memory, memory-mapped (only the rows of a batch are read), or a tensor. A tensor on ``device`` is never
            copied there again: see ``resident``.
        labels: int64 (N,), 0..K-1, or float targets (N, ...).
        rows: int64 (n,): which rows to give. A row listed k times is seen k times, each time augmented differently.
        chances: float (n,), 0 or more: an epoch then draws n rows with replacement, with these odds, anew each epoch;
            None gives every row once. A row drawn several times is augmented differently each time.
        sizes: of the inputs in the first epochs, (height, width) in pixels, where they are smaller than those stored;
            images only.
        invented: examples between two rows each, which an epoch has besides its rows; their label is their parents'.
        preprocessing: with mean and std of the training rows.
        batch_size: samples in a batch; the last batch of an epoch has what is left.
        seed: of order and augmentation.
        augment: what to do at random to each batch; None or ``Augment()``: nothing.
        shuffle: a new order each epoch; False: the order of ``rows``.
        drop_last: leave out a last batch that is not full.
        device: where batches are wanted. CUDA: a batch travels as uint8, from pinned memory, without blocking.
        num_classes: K; the largest label and one if None.

    Raises:
        SettingsError: ``batch_size`` is below 1 or leaves no batch; there are no rows, or rows, chances or labels out
            of range; array, labels, preprocessing and augmentation do not fit each other.
    """

    def __init__(
        self,
        array: NDArray[Any] | Tensor,
        labels: NDArray[Any],
        rows: NDArray[np.int64],
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        seed: int = 0,
        augment: Augment | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        device: torch.device | str = "cpu",
        num_classes: int | None = None,
        chances: NDArray[np.float64] | None = None,
        invented: Invented | None = None,
        sizes: Sequence[tuple[int, ...]] = (),
    ) -> None:
        self.device = torch.device(device)
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment or Augment()
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.sizes = tuple(sizes)
        self.rows = np.asarray(rows)
        labels = np.asarray(labels)
        _check_rows(self.rows, len(array))
        self._real = len(self.rows)
        self._invented = invented
        if invented is not None:
            self.rows = np.concatenate([self.rows, invented.first])
            _check_rows(np.concatenate([self.rows, invented.second]), len(array))
        _check_array(array, labels, preprocessing)
        whole = labels.ndim == 1 and labels.dtype.kind in "iu"
        self.num_classes = num_classes or (int(labels[self.rows].max()) + 1 if whole else 0)
        if whole:
            _check_labels(labels, self.rows, self.num_classes)
        _check_batch(batch_size, len(self.rows), drop_last)
        self.augment.check(preprocessing)
        self._pages = Pages(array)
        self._store = array if isinstance(array, Tensor) else as_tensor(array)
        target = labels[self.rows].astype(np.int64 if whole else np.float32)
        self._targets = torch.from_numpy(target).to(self.device)
        self._samples = _samples(self.rows)
        self._odds = None if chances is None else _cumulated(chances, len(self.rows))
        self._epoch = 0
        self._step = 0
        self._loaded = False

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.rows), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    @property
    def epoch(self) -> int:
        """The epoch the stream is in, from 0; it begins with its first batch or ends with the loop before it."""
        return self._epoch

    def __iter__(self) -> Iterator[Batch]:
        if self._step >= len(self) and not self._loaded:  # a loop that stopped right behind the last batch
            self._epoch, self._step = self._epoch + 1, 0
        self._loaded = False
        return self._batches(self._epoch, self._step)

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        order, samples = self._order(epoch)
        for step in range(first, len(self)):
            part = slice(step * self.batch_size, (step + 1) * self.batch_size)
            batch = self._batch(order[part], samples[part], epoch)
            self._epoch, self._step = epoch, step + 1
            yield batch
        self._epoch, self._step = epoch + 1, 0

    def _order(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions in ``rows`` in the order of an epoch, int64 (n,), and the sample at each, which augments itself."""
        if self._odds is not None:
            luck = uniforms(self.seed, epoch, np.arange(len(self.rows)), 1, purpose="draw")[:, 0]
            order = np.searchsorted(self._odds, luck, side="right")
            return order, _samples(self.rows[order])
        order = shuffled(self.seed, epoch, self._samples) if self.shuffle else np.arange(len(self.rows))
        return order, self._samples[order]

    def _batch(self, positions: NDArray[np.int64], samples: NDArray[np.int64], epoch: int) -> Batch:
        x = self._read(self.rows[positions])
        late = np.flatnonzero(positions >= self._real)
        if self._invented is not None and len(late):
            which = positions[late] - self._real
            place = torch.from_numpy(self._invented.place[which]).to(self.device)
            x[late] = mix(x[late], self._read(self._invented.second[which]), place)
        if self.preprocessing.kind == "image":
            x = x.movedim(-1, 1)
        y = self._targets[torch.from_numpy(positions).to(self.device)]
        x, y = augment(x, y, samples, self.augment, seed=self.seed, epoch=epoch, num_classes=self.num_classes)
        x = self.preprocessing.normalise(x.movedim(1, -1) if self.preprocessing.kind == "image" else x)
        if epoch < len(self.sizes):
            x = F.interpolate(x, self.sizes[epoch], mode="bilinear", antialias=True)
        return x, y

    def _read(self, rows: NDArray[np.int64]) -> Tensor:
        """Bring rows of the store to the device, as stored."""
        index = torch.from_numpy(rows.astype(np.int64, copy=False)).to(self._store.device)
        if self._store.device.type != "cpu":
            return self._store.index_select(0, index).to(self.device)
        pinned = self.device.type == "cuda"
        read = torch.empty((len(rows), *self._store.shape[1:]), dtype=self._store.dtype, pin_memory=pinned)
        gather(self._store, index, read)
        self._pages.read(read.nbytes, len(rows))
        return read.to(self.device, non_blocking=pinned)

    def peek(self, count: int = 16) -> Batch:
        """Give the first inputs of the current epoch as the network gets them, without moving the stream.

        Args:
            count: how many; fewer if the epoch has fewer.

        Returns:
            x (count, C, *size) and y, as in a batch.
        """
        order, samples = (part[: len(self) * self.batch_size] for part in self._order(self._epoch))
        parts = [
            self._batch(order[start : start + self.batch_size], samples[start : start + self.batch_size], self._epoch)
            for start in range(0, min(count, len(order)), self.batch_size)
        ]
        x, y = (torch.cat(column)[:count] for column in zip(*parts, strict=True))
        return x, y

    def rewind(self) -> None:
        """Start the current epoch again; an epoch whose last batch has been given is over, so the next one starts."""
        if self._step >= len(self):
            self._epoch += 1
        self._step, self._loaded = 0, False

    def state_dict(self) -> dict[str, int]:
        """Give the position: ``{"epoch", "step"}``, step = batches of that epoch already given."""
        return {"epoch": self._epoch, "step": self._step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to a saved position: the next ``iter`` gives what followed it, nothing if the epoch was at its end.

        Raises:
            SettingsError: an epoch of this stream has no such step.
        """
        epoch, step = int(state["epoch"]), int(state["step"])
        if epoch < 0 or not 0 <= step <= len(self):
            raise SettingsError(
                f"saved position epoch {epoch}, step {step} is not in this stream of {len(self)} batches an epoch.",
                "Use the rows, batch_size and drop_last of the run that saved it.",
            )
        self._epoch, self._step, self._loaded = epoch, step, True


def as_tensor(array: NDArray[Any]) -> Tensor:
    """See an array, also a read-only or memory-mapped one, as a tensor, without a copy; it must not be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")
        return torch.from_numpy(array)


def resident(array: NDArray[Any], device: torch.device | str, share: float = 0.25) -> NDArray[Any] | Tensor:
    """Put the whole pixel store on the device if it takes little of it, for streams that then copy nothing.

    Args:
        array: the pixel store.
        device: where to.
        share: of the device's free memory that it may take at most.

    Returns:
        a tensor on the device; the array itself where it is too large, or where the device is no CUDA device.
    """
    if torch.device(device).type != "cuda":
        return array
    free, _ = torch.cuda.mem_get_info(device)
    return as_tensor(array).to(device) if array.nbytes <= share * free else array


def _samples(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number samples so that a row that comes again is another one: int64 (n,)."""
    return rows.astype(np.int64) + (_occurrences(rows) << 40)


def _cumulated(chances: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Add up chances to 1, float64 (n,)."""
    chances = np.asarray(chances, np.float64)
    if chances.shape != (count,) or not np.isfinite(chances).all() or (chances < 0).any() or not chances.any():
        raise SettingsError(
            f"chances have shape {chances.shape}, or are not all finite and 0 or more, or are all 0.",
            f"Give one number for each of the {count} rows, such as 1 / images of its class.",
        )
    total = np.cumsum(chances)
    odds: NDArray[np.float64] = total / total[-1]
    return odds


def _occurrences(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count how often each row stood in the list before, int64 (n,): 0 for all if none repeats."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered)
    times = np.empty(len(rows), np.int64)
    times[order] = np.arange(len(rows)) - first
    return times


def _check_rows(rows: NDArray[Any], count: int) -> None:
    if rows.ndim != 1 or len(rows) == 0:
        raise SettingsError(
            "there are no rows to stream." if rows.ndim == 1 else f"rows have shape {rows.shape}; they need one axis.",
            "Give a list of row numbers of the array, such as the training rows of a split.",
        )
    if rows.dtype.kind not in "iu":
        raise SettingsError(
            f"rows are {rows.dtype}, not integers.", "Give row numbers; np.flatnonzero(mask) for a mask."
        )
    if rows.min() < 0 or rows.max() >= count:
        odd = int(rows[(rows < 0) | (rows >= count)][0])
        raise SettingsError(f"row {odd} is not in the array of {count} rows.", f"Use rows 0 to {count - 1}.")


def _check_array(array: NDArray[Any] | Tensor, labels: NDArray[Any], preprocessing: Preprocessing) -> None:
    if len(labels) != len(array):
        raise SettingsError(
            f"the array has {len(array)} rows, the labels {len(labels)}.", "Give one label for each row of the array."
        )
    channels, *size = preprocessing.shape
    wanted = (*size, channels) if preprocessing.kind == "image" else (channels, *size)
    if tuple(array.shape[1:]) != wanted or str(array.dtype).removeprefix("torch.") != preprocessing.stored:
        raise SettingsError(
            f"the array holds {array.dtype} of shape {tuple(array.shape[1:])}, the preprocessing expects "
            f"{preprocessing.stored} of shape {wanted}.",
            "Pack the data again, or use the preprocessing that belongs to them.",
        )
    if not preprocessing.fitted:
        raise SettingsError(
            "the preprocessing has no mean and standard deviation yet.",
            "Measure them on the training rows: preprocessing.fit(array, rows).",
        )


def _check_labels(labels: NDArray[Any], rows: NDArray[np.int64], num_classes: int) -> None:
    odd = rows[(labels[rows] < 0) | (labels[rows] >= num_classes)]
    if len(odd):
        raise SettingsError(
            f"row {odd[0]} has label {labels[odd[0]]}, which is not in 0..{num_classes - 1} ({num_classes} classes).",
            "Number the classes from 0, or give the right num_classes.",
        )


def _check_batch(batch_size: int, count: int, drop_last: bool) -> None:
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise SettingsError(f"batch_size is {batch_size!r}.", f"Use a whole number from 1 to {count}.")
    if drop_last and batch_size > count:
        raise SettingsError(
            f"batch_size {batch_size} is larger than the {count} images, so dropping the last batch leaves none.",
            f"Use batch_size={count} or less, or drop_last=False.",
        )
