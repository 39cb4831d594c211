"""Settings and prepared data -> the network a training begins with: which weights are drawn, given, frozen, slower."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sightline.making.prepared import Prepared
from sightline.making.trained import network_of
from sightline.models.fitting import Fitted
from sightline.models.network import Network
from sightline.models.pretrained import Pretrained
from sightline.models.whitening import layers, whiten
from sightline.settings import Settings
from sightline.training.freezing import Freezing, named

MEASURED = 5_000_000
"""Values of training inputs, at most, on which a whitening layer is measured: 1,600 images of 3 x 32 x 32."""


@dataclass(frozen=True)
class Beginning:
    """The network a training begins with.

    Attributes:
        network: with all its weights; nothing of it is frozen yet, so that an optimizer can hold everything.
        freezing: what is to be frozen, and until when.
        factors: on the learning rate, for the parameters that came with weights.
        fitted: how given weights were brought to the network; None where all are drawn.
    """

    network: Network
    freezing: Freezing
    factors: dict[str, float]
    fitted: Fitted | None = None

    def frozen(self) -> str:
        """Say how much is frozen, and until when; an empty string if nothing is."""
        if not self.freezing.names:
            return ""
        sizes = {name: parameter.numel() for name, parameter in self.network.named_parameters()}
        thawing = self.freezing.names - self.freezing.measured if self.freezing.thaw_epoch else frozenset()
        parts = ((thawing, f"until epoch {self.freezing.thaw_epoch}"), (self.freezing.names - thawing, "for good"))
        total = sum(sizes.values())
        return ", ".join(
            f"{sum(sizes[name] for name in names):,} of {total:,} weights stay as they are {until}"
            for names, until in parts
            if names
        )


def begin(data: Prepared, settings: Settings) -> Beginning:
    """Build the network with the weights a training begins with: drawn from the seed, or fitted from those given.

    Args:
        data: with the weights that the settings ask for.
        settings: with the network that these weights are for, see ``adopted``.

    Raises:
        ModelError: the network cannot take images of this size, or the weights do not fit it.
        SettingsError: the network has no such stage to freeze.
    """
    torch.manual_seed(settings.seed)
    network = network_of(settings, data.preprocessing, len(data.images.classes))
    if data.weights is None:
        return Beginning(network, Freezing(measured=_whitened(network, data)), {})
    fitted = data.weights.fit(network, data.images.classes)
    network.load_state_dict(fitted.state)
    measured = frozenset(f"{name}.weight" for name in layers(network))
    if measured & fitted.fresh:
        _whitened(network, data)
    factor = settings.old_lr or data.weights.pace[0]
    factors = {name: factor for name, _ in network.named_parameters() if name not in fitted.fresh}
    still = named(network, settings.freeze, fitted.fresh)
    return Beginning(network, Freezing(still, settings.thaw_epoch, measured), factors, fitted)


def _whitened(network: Network, data: Prepared) -> frozenset[str]:
    """Fill the whitening layers, by what was measured before if there was such a layer; name their weights."""
    weights = {f"{name}.weight": network.get_submodule(name).get_parameter("weight") for name in layers(network)}
    if any(str(weight.shape) not in data.measured for weight in weights.values()):
        whiten(network, _inputs(data))
        data.measured.update({str(weight.shape): weight.detach().clone() for weight in weights.values()})
    for weight in weights.values():
        weight.data.copy_(data.measured[str(weight.shape)])
    return frozenset(weights)


def _inputs(data: Prepared) -> torch.Tensor:
    """Give some training inputs as the network gets them, evenly spread, for what is measured on their patches."""
    rows = np.sort(data.split.train)
    few = max(1, min(len(rows), MEASURED // max(1, int(np.prod(data.preprocessing.shape)))))
    chosen = rows[np.linspace(0, len(rows) - 1, few).astype(np.int64)]
    return data.inputs(chosen)


def adopted(settings: Settings, data: Prepared) -> Settings:
    """Give the settings the network that the weights are for, if there are any; what the user set wins."""
    return data.weights.adopt(settings) if isinstance(data.weights, Pretrained) else settings


def changes(asked: Settings, given: Settings, fitted: Fitted) -> list[str]:
    """Say what was done so that weights and network fit each other.

    Args:
        asked: the settings as the user gave them.
        given: the same, with the network that the weights are for.
        fitted: how the weights were brought to it.
    """
    options = [f"{name}={value}" for name, value in given.options.items() if asked.options.get(name) != value]
    built = [*([f"model={given.model}"] if given.model != asked.model else []), *options]
    needed = [f"the network is built as they need it: {', '.join(built)}"] if built else []
    return [*needed, *fitted.changes]
