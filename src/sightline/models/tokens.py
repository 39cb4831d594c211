"""The layers of sequence plans -> torch modules; tokens are (B, tokens, features) here."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.models.plan import Layer, Shape
from sightline.models.sequence import Attention, Ends, Mean, Positions, Recurrent, Steps, Tokens


class TokensModule(nn.Module):
    """(B, C, *positions) -> (B, tokens, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Lay the positions in one row."""
        return x.flatten(2).transpose(1, 2)


class StepsModule(nn.Module):
    """(B, C, steps, *positions) -> (B, steps, C * positions)."""

    def forward(self, x: Tensor) -> Tensor:
        """Make the first axis time."""
        return x.transpose(1, 2).flatten(2)


class PositionsModule(nn.Module):
    """Adds a learnt vector to every token: (B, tokens, C) -> the same.

    It starts as large as the sines of Vaswani et al. (2017): from vectors of 0.02, as large transformers start, a
    small one on few images takes many epochs to find out where its tokens stand.
    """

    def __init__(self, tokens: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, tokens, features))
        nn.init.normal_(self.weight, std=0.5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Add the positions."""
        return x + self.weight


class AttentionModule(nn.Module):
    """Softmax(q k / sqrt(d)) v with several heads: (B, tokens, C) -> the same (Vaswani et al. 2017, 3.2)."""

    def __init__(self, features: int, layer: Attention) -> None:
        super().__init__()
        self.heads, self.dropout = layer.heads, layer.dropout
        self.qkv = nn.Linear(features, 3 * features)
        self.proj = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the tokens."""
        batch, tokens, features = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, features // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return torch.as_tensor(self.proj(mixed.transpose(1, 2).reshape(batch, tokens, features)))


class RecurrentModule(nn.Module):
    """Gated recurrent units in both directions: (B, steps, features) -> (B, steps, 2 * units)."""

    def __init__(self, features: int, layer: Recurrent) -> None:
        super().__init__()
        self.gru = nn.GRU(
            features, layer.units, layer.layers, batch_first=True, dropout=layer.dropout, bidirectional=True
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give the states of both directions at every step."""
        states: Tensor = self.gru(x)[0]
        return states


class EndsModule(nn.Module):
    """(B, steps, 2 * units) -> (B, 2 * units): the forward state at the last step, the backward one at the first."""

    def forward(self, x: Tensor) -> Tensor:
        """Take what each direction knows when it has read everything."""
        units = x.shape[2] // 2
        return torch.cat([x[:, -1, :units], x[:, 0, units:]], dim=1)


class MeanModule(nn.Module):
    """(B, tokens, C) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Average the tokens."""
        return x.mean(1)


class TokenNormModule(nn.Module):
    """A norm made for (B, C, positions), on (B, tokens, C)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the features."""
        return torch.as_tensor(self.norm(x.transpose(1, 2)).transpose(1, 2))


def module(layer: Layer, shape: Shape) -> nn.Module | None:
    """Build the torch module of a sequence layer for ``shape`` (features, tokens); None if it is no such layer."""
    match layer:
        case Tokens():
            return TokensModule()
        case Steps():
            return StepsModule()
        case Positions():
            return PositionsModule(shape[1], shape[0])
        case Attention():
            return AttentionModule(shape[0], layer)
        case Recurrent():
            return RecurrentModule(shape[0], layer)
        case Ends():
            return EndsModule()
        case Mean():
            return MeanModule()
        case _:
            return None
