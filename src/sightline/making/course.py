"""Resolved settings -> the course that weights take: optimizer, learning rate, penalty, which epochs are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from torch import nn
from torch.optim import Optimizer

from sightline.data.images import Kind
from sightline.data.progressive import sizes
from sightline.errors import ModelError, SettingsError
from sightline.models import arithmetic
from sightline.models.network import Network
from sightline.models.plan import by
from sightline.penalties import Penalty, penalty
from sightline.settings import Settings
from sightline.training import optim, schedule
from sightline.training.schedule import Plateau, Schedule


def optimizer_of(
    settings: Settings,
    network: nn.Module,
    lr: float | None = None,
    factors: Mapping[str, float] | None = None,
    batches: int = 0,
) -> Optimizer:
    """Build the optimizer that the settings describe.

    Args:
        settings: name, rate, decay, momentum.
        network: whose parameters it trains.
        lr: another learning rate than theirs.
        factors: on the learning rate, by the names of parameters; see ``optim.build``.
        batches: of an epoch; 0 where it is only tried, so that nothing depends on how long it lasts.
    """
    return optim.build(
        settings.optimizer,
        network,
        lr=lr or settings.lr or 1e-3,
        weight_decay=settings.weight_decay or 0.0,
        momentum=settings.momentum,
        decoupled=settings.decoupled,
        factors=factors,
        bias_lr=settings.bias_lr,
        lookahead=settings.lookahead,
        rising=steps_of(settings, batches) if settings.lookahead_rises and batches else 0,
    )


def steps_of(settings: Settings, batches: int) -> int:
    """Count the steps of a training with so many batches an epoch."""
    return (settings.epochs or 1) * math.ceil((settings.train_steps or batches) / settings.accumulate)


def schedule_of(settings: Settings, batches: int) -> Schedule | Plateau:
    """Build the schedule that the settings describe, for so many batches an epoch.

    Where weights are averaged equally, the rate stays what it is when that begins, unless it goes in cycles.
    """
    assert settings.epochs is not None
    assert settings.lr is not None
    total = steps_of(settings, batches)
    steps = total // settings.epochs
    ends, averaged = snapshot_epochs(settings), averaged_epochs(settings)
    return schedule.build(
        settings.schedule,
        lr=settings.lr,
        steps=total,
        warmup=settings.warmup,
        ends=tuple(epoch * steps for epoch in ends),
        hold=(averaged[0] - 1) * steps if averaged and not ends else None,
    )


def penalty_of(settings: Settings) -> Penalty | None:
    """Build the penalty that the settings describe, if there is one."""
    return penalty(settings.penalty, settings.penalty_on)


def snapshot_epochs(settings: Settings) -> tuple[int, ...]:
    """Give the epochs after which a cycle of the learning rate ends; none where there are no cycles."""
    return schedule.cycle_ends(settings.epochs or 1, settings.cycles) if settings.cycles else ()


def averaged_epochs(settings: Settings) -> tuple[int, ...]:
    """Give the epochs after which weights are averaged equally; none where they are not."""
    if not settings.swa:
        return ()
    return schedule.averaged_epochs(settings.epochs or 1, settings.swa, snapshot_epochs(settings))


def check_sizes(settings: Settings, network: Network, kind: Kind) -> None:
    """Refuse to begin with smaller images where the network, or the data, know no others.

    Raises:
        SettingsError: they are no images; or the network has as many weights as pixels, or no room for small ones.
    """
    if settings.progressive == 1:
        return
    if kind != "image":
        raise SettingsError(
            f"'progressive' is {settings.progressive:g}, but a {kind} has no size.",
            "Leave it out; where a recipe has it: --progressive 1.",
        )
    channels, *size = network.plan.shape
    for small in set(sizes(tuple(size), settings.progressive, 60)):
        try:
            rows = arithmetic.table(replace(network.plan, shape=(channels, *small)))
        except ModelError:
            rows = []
        if arithmetic.parameters(rows) != arithmetic.parameters(arithmetic.table(network.plan)):
            raise SettingsError(
                f"'progressive' is {settings.progressive:g}, but '{network.plan.name}' has no weights that take both "
                f"{by(small)} and {by(tuple(size))}.",
                "Leave it out (where a recipe has it: --progressive 1), or take a network that averages its last map: "
                "resnet18, fastnet, googlenet.",
            )


def check(settings: Settings, network: nn.Module, batches: int) -> None:
    """Refuse settings that this network, or a training of so many batches an epoch, cannot follow.

    Raises:
        SettingsError: there are more cycles than epochs; a penalty is unknown or concerns no parameter; the share of a
            batch that is trimmed is no whole image.
    """
    schedule_of(settings, batches)
    added = penalty_of(settings)
    if added:
        added(network)
    batch = settings.batch_size or 1
    if settings.trim and int(settings.trim * batch) < 1:
        raise SettingsError(
            f"'trim' is {settings.trim:g}, which is not one image of a batch of {batch}.",
            f"Use at least {math.ceil(1e4 / batch) / 1e4:g}, or larger batches.",
        )
