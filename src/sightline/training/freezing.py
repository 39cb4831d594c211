"""Names and an epoch -> which weights stay as they are, epoch by epoch; there is nothing to remember."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from sightline.errors import SettingsError, did_you_mean
from sightline.models import arithmetic
from sightline.models.network import Network

UNTIL = "until:"


class Freezing:
    """Keeps parameters as they are until an epoch, or for good; a pure function of the epoch, so it has no state.

    A batch norm whose own weights are frozen stays in evaluation mode: its running mean and variance belong to them.
    The optimizer may hold frozen parameters from the start: without a gradient it neither moves nor decays them.

    Args:
        names: of the parameters, as ``model.named_parameters()`` gives them.
        thaw_epoch: the first epoch, counted from 1, in which they learn; None: they never do.
        measured: names of more parameters, which never learn: they were measured on the data.
    """

    def __init__(
        self, names: Collection[str] = (), thaw_epoch: int | None = None, measured: Collection[str] = ()
    ) -> None:
        self.measured = frozenset(measured)
        self.names = frozenset(names) | self.measured
        self.thaw_epoch = thaw_epoch

    def frozen(self, epoch: int) -> frozenset[str]:
        """Name the parameters that do not learn in an epoch, counted from 1."""
        return self.names if self.thaw_epoch is None or epoch < self.thaw_epoch else self.measured

    def apply(self, model: nn.Module, epoch: int) -> None:
        """Freeze or thaw a model for an epoch; call it behind ``model.train()``, which wakes every batch norm.

        Parameters that are not named are left as somebody else has set them.
        """
        if not self.names:
            return
        still = self.frozen(epoch)
        for name, parameter in model.named_parameters():
            if name in self.names:
                parameter.requires_grad_(name not in still)
        for place, module in model.named_modules():
            own = {f"{place}.{name}" if place else name for name, _ in module.named_parameters(recurse=False)}
            if getattr(module, "track_running_stats", False) and own and own <= still:
                module.eval()


def named(network: Network, freeze: str, fresh: Collection[str]) -> frozenset[str]:
    """Name the parameters that a setting freezes: those that came with weights, up to a stage.

    Args:
        network: whose stages are meant.
        freeze: ``none``, ``features`` (all but the head) or ``until:<stage>`` (that stage and all before it).
        fresh: parameters that did not come with weights; they are never frozen.

    Raises:
        SettingsError: the network has no such stage, or nothing would be left to learn or to freeze.
    """
    if freeze == "none":
        return frozenset()
    *stages, head = (stage for stage, _ in network.plan.stages)
    stage = freeze.removeprefix(UNTIL) if freeze.startswith(UNTIL) else stages[-1] if stages else ""
    if stage not in stages:
        last = " (its head has to learn)" if stage == head else did_you_mean(stage, stages)
        raise SettingsError(
            f"'{network.plan.name}' has no stage '{stage}' that can be frozen.{last}",
            f"Its stages are: {', '.join(stages)}." if stages else "Leave freeze out.",
        )
    end = dict(network.plan.stages)[stage]
    layers = [row.name for row in arithmetic.table(network.plan)]
    last_layer = max(i for i, name in enumerate(layers) if f"{name}.".startswith(f"{end}."))
    inside = tuple(f"{name}." for name in layers[: last_layer + 1])
    chosen = frozenset(name for name, _ in network.named_parameters() if name.startswith(inside)) - frozenset(fresh)
    if not chosen:
        raise SettingsError(
            f"'freeze' is '{freeze}', but nothing up to there came with the weights.", "Leave freeze out."
        )
    return chosen
