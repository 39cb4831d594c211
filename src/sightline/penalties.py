"""A penalty's name -> what large or superfluous weights cost: J = loss + eta * penalty(W), with its gradient and prior.

A penalty is minus the logarithm of a prior over the weights, up to a constant: whoever minimises J looks for the most
probable weights given the data and that prior. As the loss is a mean over N images, it is N * eta that counts.
``PENALTIES`` lists them, each with formula, gradient, prior and source.

All are sums over the weights of the layers, without norms and biases unless asked for. Where a penalty has a kink (the
absolute value, and the norm of a filter, at 0) the gradient used is 0, the subgradient of least norm: a weight that is
exactly 0 is left there by the penalty. Weights that are pulled towards 0 by a gradient come close to 0 and step over it
by a learning rate; they are seldom exactly 0.

Under an optimizer that rescales gradients (Adam and its kin) eta is rescaled with them, differently for every weight;
the decay that is apart from the gradient (``adamw``, or ``decoupled``) is not. For SGD, ``l2`` with eta is the same as
``weight_decay=2 * eta``.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sightline.errors import SettingsError, did_you_mean

Filter = Callable[[str, Tensor], bool]
"""A parameter's dotted name and the parameter -> whether it is penalised."""


def absolute(weights: Sequence[Tensor]) -> Tensor:
    """Give sum |w|, without axes. Gradient: sign(w), and 0 at 0."""
    return torch.stack(torch._foreach_norm(list(weights), 1)).sum()


def squared(weights: Sequence[Tensor]) -> Tensor:
    """Give sum w^2, without axes. Gradient: 2 w."""
    return torch.stack(torch._foreach_norm(list(weights), 2)).square().sum()


def mixed(weights: Sequence[Tensor]) -> Tensor:
    """Give (sum |w| + sum w^2) / 2, without axes. Gradient: sign(w) / 2 + w."""
    return (absolute(weights) + squared(weights)) / 2


def grouped(weights: Sequence[Tensor]) -> Tensor:
    """Give the sum over filters f of sqrt(n_f) ||w_f||, n_f its number of weights; gradient sqrt(n_f) w_f / ||w_f||.

    A filter is what one unit or feature map takes in: a row of a dense layer, a kernel over all input maps. The factor
    makes large and small filters equally dear for each weight. At w_f = 0 the gradient is 0.
    """
    terms = []
    for weight in weights:
        norms = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)) or None)
        terms.append(norms.sum() * math.sqrt(weight.numel() / max(1, len(weight))))
    return torch.stack(terms).sum()


def crossed(weights: Sequence[Tensor]) -> Tensor:
    """Give the sum over layers of ||W W' - I||^2, W having a row per unit; gradient 4 (W W' - I) W.

    Layers with more units than inputs cannot have orthogonal rows: for them columns take the place of rows. What has
    one axis is left out.
    """
    terms = [weights[0].sum() * 0]
    for weight in weights:
        if weight.ndim > 1:
            rows = weight.flatten(1)
            rows = rows if rows.shape[0] <= rows.shape[1] else rows.T
            gram = rows @ rows.T
            terms.append((gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).square().sum())
    return torch.stack(terms).sum()


@dataclass(frozen=True)
class Entry:
    """A penalty as data.

    Attributes:
        value: weights -> penalty without eta, a tensor without axes that gradients flow through.
        eta: a strength to begin with.
        description: what it does, one line.
        formula: in text.
        gradient: with respect to one weight (or filter, or layer).
        prior: the distribution of weights whose negative logarithm it is, up to a constant, for N images.
        source: who proposed it.
    """

    value: Callable[[Sequence[Tensor]], Tensor]
    eta: float
    description: str
    formula: str
    gradient: str
    prior: str
    source: str


PENALTIES: dict[str, Entry] = {
    "l1": Entry(
        absolute, 1e-5, "few weights that matter, many near 0", "sum |w|", "sign(w)",
        "Laplace, scale 1 / (N eta)", "lasso: Tibshirani 1996",
    ),
    "l2": Entry(
        squared, 1e-4, "small weights, none that stands out", "sum w^2", "2 w",
        "normal, variance 1 / (2 N eta)", "ridge: Hoerl & Kennard 1970; weight decay: Krogh & Hertz 1992",
    ),
    "elastic": Entry(
        mixed, 1e-5, "few weights, but correlated ones together", "(sum |w| + sum w^2) / 2", "sign(w) / 2 + w",
        "product of a Laplace and a normal", "elastic net: Zou & Hastie 2005",
    ),
    "group": Entry(
        grouped, 1e-5, "whole filters near 0", "sum over filters of sqrt(n) ||w||", "sqrt(n) w / ||w||",
        "multivariate Laplace for each filter", "group lasso: Yuan & Lin 2006; on filters: Wen et al. 2016",
    ),
    "orthogonal": Entry(
        crossed, 1e-4, "filters that look for different things", "sum over layers of ||W W' - I||^2",
        "4 (W W' - I) W", "none with a name: high where rows are orthonormal",
        "soft orthogonality: Bansal, Chen & Wang 2018",
    ),
}  # fmt: skip
"""Name -> penalty."""


class Penalty:
    """What is added to the loss: the sum of eta * penalty(W) over some penalties. Called with the model.

    Args:
        strengths: name of a penalty -> eta, at least 0; those at 0 are not even computed.
        on: which parameters: ``"weights"`` (those with two axes or more: no norms, no biases), ``"all"``, a pattern of
            dotted names such as ``"head.*"``, or a function of name and parameter. Frozen ones never.

    Raises:
        SettingsError: a name is unknown, or a strength is negative or no number.
    """

    def __init__(self, strengths: Mapping[str, float], on: str | Filter = "weights") -> None:
        for name, eta in strengths.items():
            if name not in PENALTIES:
                raise SettingsError(
                    f"unknown penalty '{name}'.{did_you_mean(name, PENALTIES)}",
                    f"The penalties are: {', '.join(PENALTIES)}; several go together: l1=1e-5,orthogonal=1e-4.",
                )
            if not 0 <= eta < math.inf:
                raise SettingsError(f"penalty '{name}' has the strength {eta}.", "Use a number of at least 0.")
        self.strengths = {name: eta for name, eta in strengths.items() if eta}
        self.on = on
        self._filter = on if callable(on) else _filter(on)

    def __repr__(self) -> str:
        return " + ".join(f"{eta:g} {name}" for name, eta in self.strengths.items()) or "none"

    def __call__(self, model: nn.Module) -> Tensor:
        """Give the penalty of a model's trained weights, float without axes; 0 if all it concerns are frozen.

        Raises:
            SettingsError: it concerns no parameter of the model.
        """
        concerned = [p for name, p in model.named_parameters() if self._filter(name, p)]
        if not concerned:
            names = [name for name, p in model.named_parameters() if p.ndim > 1]
            raise SettingsError(
                f"'penalty_on' is '{self.on}', which is no parameter of {type(model).__name__}.",
                f"Use weights, all, or a pattern of names such as {', '.join([*names[:3], *names[3:][-1:]])}.",
            )
        weights = [p for p in concerned if p.requires_grad]
        terms = [eta * PENALTIES[name].value(weights) for name, eta in self.strengths.items() if weights]
        return torch.stack(terms).sum() if terms else torch.zeros((), device=concerned[0].device)


def penalty(text: str, on: str | Filter = "weights") -> Penalty | None:
    """Read penalties as settings spell them: ``none``, ``l2``, ``l1=1e-5``, ``l1=1e-5,orthogonal=1e-3``.

    Args:
        text: names, each with its strength or without (then the entry's ``eta``), separated by commas.
        on: which parameters; see ``Penalty``.

    Returns:
        The penalty; None if there is none or all strengths are 0: training is then exactly what it is without.

    Raises:
        SettingsError: it cannot be read, a name is unknown or twice there, or a strength is out of range.
    """
    strengths: dict[str, float] = {}
    for part in text.split(",") if text.strip().lower() != "none" else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name in strengths or not name or (equals and not _number(value)):
            raise SettingsError(
                f"'penalty' is '{text}', of which '{part}' cannot be read.",
                "Write none, a name, or names with strengths, each once: l1=1e-5,orthogonal=1e-4.",
            )
        strengths[name] = float(value) if equals else PENALTIES[name].eta if name in PENALTIES else 0.0
    found = Penalty(strengths, on)
    return found if found.strengths else None


def l1(model: nn.Module, strength: float = 1e-5) -> Tensor:
    """Give strength * sum |w| over the weights: the lasso, a Laplace prior (Tibshirani 1996).

    As a penalty of ``Trainer``: ``penalty=functools.partial(l1, strength=1e-5)``.
    """
    return _total(model, absolute, strength)


def l2(model: nn.Module, strength: float = 1e-4) -> Tensor:
    """Give strength * sum w^2 over the weights: ridge, a normal prior (Hoerl & Kennard 1970)."""
    return _total(model, squared, strength)


def elastic(model: nn.Module, l1_strength: float = 1e-5, l2_strength: float = 1e-4) -> Tensor:
    """Give the sum of ``l1`` and ``l2`` with their own strengths: the elastic net (Zou & Hastie 2005)."""
    return l1(model, l1_strength) + l2(model, l2_strength)


@dataclass(frozen=True)
class Sparsity:
    """How small and how sparse weights are.

    Attributes:
        count: weights in all.
        norm: Euclidean norm of all together.
        zero: share that is exactly 0.
        near: share within a hundredth of the largest weight of the same layer; the exact zeros among them.
    """

    count: int
    norm: float
    zero: float
    near: float


@torch.no_grad()
def sparsity(weights: Iterable[Tensor]) -> Sparsity:
    """Measure weights, one tensor for each layer; tensors with fewer than two axes (norms, biases) do not count."""
    kept = [weight.float() for weight in weights if weight.ndim > 1 and weight.numel()]
    count = sum(weight.numel() for weight in kept)
    zero = sum(int((weight == 0).sum()) for weight in kept)
    near = sum(int((weight.abs() <= 0.01 * weight.abs().max()).sum()) for weight in kept)
    norm = math.sqrt(math.fsum(float(weight.square().sum()) for weight in kept))
    return Sparsity(count, norm, zero / max(count, 1), near / max(count, 1))


def _total(model: nn.Module, value: Callable[[Sequence[Tensor]], Tensor], strength: float) -> Tensor:
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    return strength * value(weights) if weights else torch.zeros((), device=next(model.parameters()).device)


def _filter(on: str) -> Filter:
    if on == "weights":
        return lambda name, p: p.ndim > 1
    if on == "all":
        return lambda name, p: True
    return lambda name, p: fnmatch.fnmatchcase(name, on)


def _number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False
