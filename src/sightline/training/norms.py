"""Weights that were never trained together -> the means and variances their norm layers need, from training batches.

A batch norm remembers running means and variances of what flowed through it while *these* weights trained. An average
of weights is a network of its own, through which other numbers flow (Izmailov et al. 2018, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from sightline.errors import SettingsError
from sightline.training import generators
from sightline.training.batches import Batch, Feed, size

EXAMPLES = 2048
"""Training examples, at most one batch more, from which statistics are estimated; as dear as evaluating them."""


def layers(model: nn.Module) -> dict[str, _NormBase]:
    """Give the layers that remember means and variances, by their dotted names: batch norms, mostly."""
    found = {name: part for name, part in model.named_modules() if isinstance(part, _NormBase)}
    return {name: part for name, part in found.items() if part.running_mean is not None}


def buffers(model: nn.Module) -> dict[str, Tensor]:
    """Give what those layers remember, by the names of the model's ``state_dict``."""
    return {
        f"{name}.{key}" if name else key: value
        for name, part in layers(model).items()
        for key, value in part.named_buffers(recurse=False)
    }


@torch.no_grad()
def estimate(
    model: nn.Module,
    batches: Iterable[Batch],
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> None:
    """Replace a model's running means and variances by those of some batches, each example counting as much.

    Everything but those layers is in evaluation mode (no dropout, no block left out), as it will be when the statistics
    are used; so no random numbers are drawn. Modes, momenta and counts of batches are afterwards as they were.

    Args:
        model: without such layers, nothing is done. One that evaluation does not pass keeps what it has, and so does
            one that is frozen.
        batches: (x, y) on the model's device, shuffled: each layer normalises a batch by its own statistics. One with a
            single example, which may have no variance, is passed over, unless there is no other.
        context: what the training runs the model in, such as ``precision.forward``.
    """
    norms = [norm for norm in layers(model).values() if _learns(norm)]
    if not norms:
        return
    modes = [(part, part.training) for part in model.modules()]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    model.eval()
    seen = 0
    try:
        for norm in norms:
            norm.train()
            norm.num_batches_tracked = None
        for batch in batches:
            count = size(batch)
            if count > 1 or not seen:
                seen += count
                for norm in norms:
                    norm.momentum = count / seen
                with context():
                    model(batch[0])
    finally:
        for norm, momentum, tracked in before:
            norm.momentum, norm.num_batches_tracked = momentum, tracked
        for part, mode in modes:
            part.training = mode


def _learns(norm: _NormBase) -> bool:
    """Tell whether a norm goes with the training: one whose own weights are frozen keeps its statistics, too."""
    own = list(norm.parameters(recurse=False))
    return not own or any(weight.requires_grad for weight in own)


class Statistics:
    """Estimates a model's running means and variances afresh, on the same batches every time.

    Args:
        loader: training batches. One with ``state_dict`` (such as ``Stream``) is left where it was; any other is read
            with torch's generator (and its own) set to a fixed state, which is undone afterwards.
        device: where batches go.
        channels_last: lay out 4-axis inputs channel by channel within each pixel.
        context: what the training runs the model in.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        device: torch.device,
        channels_last: bool = False,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.loader = loader
        self.device = device
        self.context = context
        self._layout = channels_last
        self._feed: Feed | None = None

    def check(self) -> Feed:
        """Refuse what cannot be read again, else give the feed that reads it.

        Raises:
            SettingsError: the loader can be read only once.
        """
        if hasattr(self.loader, "__next__"):
            raise SettingsError(
                f"averaged weights need the statistics of the model's norms estimated on training batches, but a "
                f"{type(self.loader).__name__} can be read only once.",
                "Give Trainer statistics=, a list or loader of some training batches.",
            )
        self._feed = self._feed or Feed(self.loader, None, self.device, self._layout, "the statistics' loader")
        return self._feed

    def estimate(self, model: nn.Module) -> None:
        """See ``estimate``; of the batches, as many as have ``EXAMPLES`` examples."""
        feed = self.check()
        before, own = generators.state(self.device), getattr(self.loader, "generator", None)
        place = own.get_state() if isinstance(own, torch.Generator) else None
        try:
            torch.manual_seed(0)
            if isinstance(own, torch.Generator):
                own.manual_seed(0)
            with closing(feed.whole()) as batches:
                estimate(model, _first(batches, EXAMPLES), self.context)
        finally:
            generators.restore(before, self.device)
            if isinstance(own, torch.Generator) and place is not None:
                own.set_state(place)


def _first(batches: Iterable[Batch], examples: int) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        examples -= size(batch)
        if examples <= 0:
            return
