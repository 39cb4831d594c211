"""A plan -> a torch network that returns logits and names its stages."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sightline.models import arithmetic
from sightline.models.layers import SideModule, TableConv, children
from sightline.models.plan import MisfitError, Norm, Plan, leaves

AUXILIARY_WEIGHT = 0.3
"""Weight of each auxiliary loss (Szegedy et al. 2014, section 5)."""


class Network(nn.Module):
    """The network of a plan: (B, C, *positions) float -> logits (B, num_classes).

    Attributes:
        plan: the layers as data; ``sightline.models.arithmetic.table(model.plan)`` gives their integers.
        adaptations: sentences that say where it departs from its paper for this input size; empty when it does not.

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
        for name, layer in leaves(plan.body):
            if isinstance(layer, Norm) and layer.zero:
                nn.init.zeros_(self.get_submodule(name).get_parameter("weight"))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits (B, num_classes) of (B, C, *positions)."""
        for child in self.children():
            x = child(x)
        return x

    def stages(self) -> dict[str, nn.Module]:
        """Give the module whose output is the stage's, by stage, in order; the last is ``head``, the logits."""
        return {stage: self.get_submodule(name) for stage, name in self.plan.stages}

    def auxiliary_logits(self) -> tuple[Tensor, ...]:
        """Take the logits (B, num_classes) that auxiliary heads made of the last training batch; most nets have none.

        Their losses are added to the training loss with the weight ``AUXILIARY_WEIGHT``. They are forgotten once
        taken, so that their graph is freed with the step.
        """
        sides = [part for part in self.modules() if isinstance(part, SideModule)]
        logits = tuple(side.logits for side in sides if side.logits is not None)
        for side in sides:
            side.logits = None
        return logits


def _wake(network: Network) -> None:
    """Send one example of zeros through lazy layers, so that their parameters exist before an optimizer asks."""
    device = next((p.device for p in network.parameters() if not isinstance(p, nn.UninitializedParameter)), None)
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, *network.plan.shape, device=device))
    network.train()


def _he(network: Network) -> None:
    """Kaiming normal for rectifiers (He et al. 2015b, eq. 10, by outputs); a small last layer starts near ln K."""
    for part in network.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.Linear):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
    _quiet_head(network)


def _lecun(network: Network) -> None:
    """Normal weights of variance 1 / inputs, for tanh (LeCun et al. 1998b, eq. 16)."""
    for part in network.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, TableConv):
            nn.init.normal_(part.weight, std=(part.fan_in * part.weight[0].numel()) ** -0.5)


def _quiet_head(network: Network) -> None:
    head = network.stages().get("head")
    if isinstance(head, nn.Linear):
        nn.init.normal_(head.weight, std=0.01)


def _torch(network: Network) -> None:
    """Leave what torch's constructors gave."""


def _tokens(network: Network) -> None:
    """Truncated normal of 0.02 for dense layers (Dosovitskiy et al. 2021 and their code)."""
    for part in network.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)


INITS = {"tokens": _tokens, "he": _he, "lecun": _lecun, "torch": _torch}
"""How the weights of a network start, by the plan's ``init``."""
