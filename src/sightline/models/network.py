"""A plan -> a torch network that returns logits and names its stages."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sightline.models import arithmetic
from sightline.models.layers import SideModule, TableConv, children
from sightline.models.plan import Conv, MisfitError, Norm, Plan, leaves

AUXILIARY_WEIGHT = 0.3
"""Weight of each auxiliary loss (Szegedy et al. 2014, section 5)."""


class Network(nn.Module):
    """The network of a plan: (B, C, *positions) float -> logits (B, num_classes).

    Attributes:
        plan: the layers as data; ``sightline.models.arithmetic.table(model.plan)`` gives their integers.
        adaptations: sentences for the log that say how it was fitted to this input; empty for the paper's own size.

    Raises:
        ModelError: the input does not pass through; the message goes through the layers one by one.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.adaptations = plan.adaptations
        try:
            plan.body.out(plan.shape)
        except MisfitError:
            arithmetic.table(plan)  # fails in the same layer, and says how the sizes came to it
        for name, child in children(plan.body, plan.shape):
            self.add_module(name, child)
        if any(isinstance(part, nn.modules.lazy.LazyModuleMixin) for part in self.modules()):
            _wake(self)
        INITS[plan.init](self)
        with torch.no_grad():
            for name, layer in leaves(plan.body):
                if isinstance(layer, Norm) and layer.zero:
                    self.get_submodule(name).get_parameter("weight").zero_()
                elif isinstance(layer, Conv) and layer.gain != 1:
                    self.get_submodule(name).get_parameter("weight").mul_(layer.gain)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits (B, num_classes) of (B, C, *positions)."""
        for child in self.children():
            x = child(x)
        return x

    def stages(self) -> dict[str, nn.Module]:
        """Give the module whose output is the stage's, by stage, in order; the last is ``head``, the logits."""
        return {stage: self.get_submodule(name) for stage, name in self.plan.stages}

    def auxiliary_heads(self) -> tuple[SideModule, ...]:
        """List the heads that learn from the middle of the network while training; most networks have none."""
        return tuple(part for part in self.modules() if isinstance(part, SideModule))

    def auxiliary_logits(self) -> tuple[Tensor, ...]:
        """Take the logits (B, num_classes) that auxiliary heads made of the last training batch.

        ``sightline.losses.WithAuxiliary`` adds their losses to the training loss with the weight
        ``AUXILIARY_WEIGHT``. They are forgotten once taken, so that their graph is freed with the step.
        """
        sides = self.auxiliary_heads()
        logits = tuple(side.logits for side in sides if side.logits is not None)
        for side in sides:
            side.logits = None
        return logits


def _wake(network: Network) -> None:
    """Send one example of zeros through lazy layers, so that their parameters exist before an optimizer asks."""
    device = next((p.device for p in network.parameters() if not isinstance(p, nn.UninitializedParameter)), None)
    network.eval()
    for head in network.auxiliary_heads():
        head.training = True  # of the head alone, not of its layers: it is looked through, and nothing is counted
    with torch.no_grad():
        network(torch.zeros(1, *network.plan.shape, device=device))
    network.auxiliary_logits()
    network.train()


def _inputs(part: nn.Module) -> int:
    """Count the inputs of one unit; 0 for what has no weights of that kind."""
    if isinstance(part, TableConv):
        return part.fan_in * part.weight[0].numel()
    if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
        return part.weight[0].numel()
    return 0


def _normal(network: Network, gain: float) -> None:
    """Draw weights of variance ``gain`` / inputs, so that the spread of the maps stays the same on the way up.

    By inputs, not by outputs: in a network without norms, a 1x1 bottleneck from 480 maps to 16 would otherwise
    multiply the variance by 30. Last layers start small, so that the first loss is near ln K.
    """
    heads = {network.stages()["head"], *(part[-1] for part in network.modules() if isinstance(part, SideModule))}
    for part in network.modules():
        inputs = _inputs(part)
        if inputs:
            std = 0.25 * inputs**-0.5 if part in heads else (gain / inputs) ** 0.5
            nn.init.normal_(part.get_parameter("weight"), std=std)
            if part.bias is not None:
                nn.init.zeros_(part.get_parameter("bias"))


def _he(network: Network) -> None:
    """Start for rectifiers: variance 2 / inputs (He et al. 2015b, eq. 10)."""
    _normal(network, 2.0)


def _lecun(network: Network) -> None:
    """Start for tanh, and where norms come first: variance 1 / inputs (LeCun et al. 1998b, eq. 16)."""
    _normal(network, 1.0)


def _dirac(network: Network) -> None:
    """Start as torch does, but let the first maps of each convolution pass on what comes in (a Dirac kernel).

    A block begins near the identity then, which is easier to train than noise (Jordan 2024, section 3.1).
    """
    for part in network.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d) and part.groups == 1:
            weight = part.get_parameter("weight").data
            nn.init.dirac_(weight[: weight.shape[1]])


def _torch(network: Network) -> None:
    """Leave what torch's constructors gave."""


INITS = {"he": _he, "lecun": _lecun, "torch": _torch, "dirac": _dirac}
"""How the weights of a network start, by the plan's ``init``."""
