"""A loss's name -> the loss, with the distribution it assumes; for penalties on weights see ``penalties``.

Every loss is a ``torch.nn.Module`` called ``loss(yhat, y)`` that gives the mean over the batch, a tensor without
axes, and has ``loss.per_example(yhat, y)``, which gives one number per example, (B,), float32: the plain negative
log-likelihood (or squared error) without label smoothing and class weights. Validation uses the latter, so that its
figure means the same whatever the training was regularised with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.errors import SettingsError, SourceError, did_you_mean
from sightline.models.network import AUXILIARY_WEIGHT, Network
from sightline.penalties import elastic as elastic
from sightline.penalties import l1 as l1
from sightline.penalties import l2 as l2


class Loss(nn.Module):
    """What a loss can do."""

    def forward(self, yhat: Any, y: Tensor) -> Tensor:
        """Give the mean loss of a batch, without axes."""
        return self.per_example(yhat, y).mean()

    def per_example(self, yhat: Any, y: Tensor) -> Tensor:
        """Give the loss of each example, (B,), without label smoothing and class weights."""
        raise NotImplementedError


class CrossEntropy(Loss):
    """One class out of K: assumes a categorical distribution with probabilities softmax(yhat).

    The loss is -sum_k q_k log softmax(yhat)_k, with q the target: one-hot for a label, a mixture for soft targets
    (mixup, cutmix), and (1 - e) q + e / K with label smoothing e (Szegedy et al. 2016, section 7). With class weights
    w the terms are weighted by w_k, and the sum over the batch is divided by the sum of the weights of the targets.
    Offsets are added to the logits first: with the log of each class's share, the network itself need not learn the
    shares, and its bare logits rank the classes as if all were equally frequent (Menon et al. 2021, eq. 10).

    Args:
        label_smoothing: e, 0 <= e < 1.
        class_weights: K numbers >= 0, or None.
        offsets: K numbers, or None.
    """

    class_weights: Tensor | None
    offsets: Tensor | None

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | Tensor | None = None,
        offsets: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__()
        self.label_smoothing = _share(label_smoothing)
        self.register_buffer("class_weights", _weights(class_weights), persistent=False)
        self.register_buffer("offsets", _offsets(offsets), persistent=False)

    def forward(self, yhat: Tensor, y: Tensor) -> Tensor:
        """Give the mean loss of a batch.

        Args:
            yhat: logits, float (B, K) or (B, K, ...).
            y: labels 0..K-1, integers (B,) or (B, ...); or probabilities, float (B, K).

        Raises:
            SourceError: labels are out of range (noticed on the processor only: elsewhere it would cost a
                wait at every step), or the shapes do not belong together.
        """
        y = _targets(yhat, y)
        weights = self._for("class_weights", yhat)
        offsets = self._for("offsets", yhat)
        if offsets is not None:
            yhat = yhat + offsets.view(-1, *[1] * (yhat.ndim - 2))
        if not y.is_floating_point():
            return F.cross_entropy(yhat, y, weight=weights, label_smoothing=self.label_smoothing)
        smooth = y * (1 - self.label_smoothing) + self.label_smoothing / yhat.shape[1]
        terms = -F.log_softmax(yhat, dim=1)
        if weights is None:
            return (smooth * terms).sum(dim=1).mean()
        return (smooth * terms * weights).sum() / (y * weights).sum()

    def per_example(self, yhat: Tensor, y: Tensor) -> Tensor:
        """Give -log of the probability of each target, (B,), without smoothing, weights and offsets."""
        y = _targets(yhat, y)
        if y.is_floating_point():
            return -(y * F.log_softmax(yhat.float(), dim=1)).sum(dim=1)
        return F.cross_entropy(yhat.float(), y, reduction="none").reshape(len(y), -1).mean(dim=1)

    def _for(self, name: str, yhat: Tensor) -> Tensor | None:
        """Give the numbers by class on the device of the logits."""
        values: Tensor | None = getattr(self, name)
        if values is None:
            return None
        if len(values) != yhat.shape[1]:
            raise SettingsError(
                f"there are {len(values)} {name.replace('_', ' ')}, but the network gives {yhat.shape[1]} logits.",
                f"Give one of the {name.replace('_', ' ')} per class.",
            )
        if values.device != yhat.device:
            setattr(self, name, values := values.to(yhat.device))
        return values


class BinaryCrossEntropy(Loss):
    """Any subset of K labels: assumes K independent Bernoulli distributions with probabilities sigmoid(yhat).

    The loss is the mean over batch and labels of -w_k y_k log p_k - (1 - y_k) log(1 - p_k). Label smoothing e moves the
    targets to e/2 and 1 - e/2. Class weights w_k weigh the presences (the ``pos_weight`` of torch).

    Args:
        label_smoothing: e, 0 <= e < 1.
        class_weights: K numbers >= 0, or None.
    """

    class_weights: Tensor | None

    def __init__(self, label_smoothing: float = 0.0, class_weights: Sequence[float] | Tensor | None = None) -> None:
        super().__init__()
        self.label_smoothing = _share(label_smoothing)
        self.register_buffer("class_weights", _weights(class_weights), persistent=False)

    def forward(self, yhat: Tensor, y: Tensor) -> Tensor:
        """Give the mean loss of a batch: logits float (B, K) and targets 0/1 or 0..1 (B, K); (B,) where K is 1."""
        y = _alike(yhat, y)
        if self.class_weights is not None and self.class_weights.device != yhat.device:
            self.class_weights = self.class_weights.to(yhat.device)
        smooth = y * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(yhat, smooth, pos_weight=self.class_weights)

    def per_example(self, yhat: Tensor, y: Tensor) -> Tensor:
        """Give the mean over the labels of each example, (B,), without smoothing and weights."""
        loss = F.binary_cross_entropy_with_logits(yhat.float(), _alike(yhat, y).float(), reduction="none")
        return loss.flatten(1).mean(dim=1) if loss.ndim > 1 else loss


class SquaredError(Loss):
    """Numbers: assumes a normal distribution around yhat with one unknown variance for all examples.

    Minimising the mean of (yhat - y)^2 is then maximum likelihood; the unit is that of y, squared.
    """

    def per_example(self, yhat: Tensor, y: Tensor) -> Tensor:
        """Give the mean squared error of each example, (B,); yhat (B, ...) and y alike, or (B, 1) and (B,)."""
        error = (yhat.float() - _alike(yhat, y).float()).square()
        return error.flatten(1).mean(dim=1) if error.ndim > 1 else error


class GaussianNLL(Loss):
    """Numbers with their uncertainty: assumes a normal distribution whose mean and variance the network gives.

    The loss is the mean of (log v + (y - m)^2 / v + log 2 pi) / 2 (Nix & Weigend 1994). The network gives m and log
    v, so that every output is allowed; the variance is kept above 1e-6, below which the loss has no floor.
    """

    def per_example(self, yhat: Tensor | tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        """Give the mean negative log-likelihood of each example, (B,).

        Args:
            yhat: (B, 2 D): D means, then D log-variances; or the pair (mean, log-variance), each like y.
            y: (B, D), or (B,) where D is 1.
        """
        mean, log_variance = yhat if isinstance(yhat, tuple) else yhat.chunk(2, dim=1)
        y = _alike(mean, y).float()
        log_variance = log_variance.float().clamp(min=math.log(1e-6))
        error = (y - mean.float()).square() * torch.exp(-log_variance)
        loss = (log_variance + error + math.log(2 * math.pi)) / 2
        return loss.flatten(1).mean(dim=1) if loss.ndim > 1 else loss


class WithAuxiliary(Loss):
    """A loss, plus ``AUXILIARY_WEIGHT`` times the loss of each auxiliary head (Szegedy et al. 2014, section 5).

    The heads' logits are asked from the network after each forward pass of training, so a training loop needs to know
    nothing of them. Validation is that of the loss alone: the heads are no part of a prediction.

    Args:
        loss: of logits and targets.
        network: has auxiliary heads; see ``with_auxiliary`` for networks that may have none.
    """

    def __init__(self, loss: Loss, network: Network) -> None:
        super().__init__()
        self.loss = loss
        self._take = network.auxiliary_logits  # not the network itself: it would become a part of the loss

    def forward(self, yhat: Any, y: Tensor) -> Tensor:
        """Give the mean loss of a batch, the heads' included; heads that saw no training batch since add nothing."""
        total = self.loss(yhat, y)
        for logits in self._take():
            total = total + AUXILIARY_WEIGHT * self.loss(logits.float(), y)
        return total  # type: ignore[no-any-return]

    def per_example(self, yhat: Any, y: Tensor) -> Tensor:
        """Give the loss of each example, (B,), without the heads."""
        return self.loss.per_example(yhat, y)


def with_auxiliary(loss: Loss, network: nn.Module) -> Loss:
    """Add the losses of a network's auxiliary heads to its loss; without such heads the loss comes back as it is."""
    if isinstance(network, Network) and network.auxiliary_heads():
        return WithAuxiliary(loss, network)
    return loss


@dataclass(frozen=True)
class Entry:
    """A loss as data.

    Attributes:
        builder: makes the loss.
        description: what for, one line.
        distribution: of the target given the image, that makes the loss its negative log-likelihood.
        for_classes: whether it takes ``label_smoothing`` and ``class_weights``.
    """

    builder: Callable[..., Loss]
    description: str
    distribution: str
    for_classes: bool


LOSSES: dict[str, Entry] = {
    "cross-entropy": Entry(CrossEntropy, "one class out of K", "categorical, softmax of the logits", True),
    "bce": Entry(BinaryCrossEntropy, "any subset of K labels", "K Bernoullis, sigmoid of the logits", True),
    "mse": Entry(SquaredError, "numbers", "normal, one variance for all", False),
    "gaussian-nll": Entry(GaussianNLL, "numbers with their uncertainty", "normal, mean and log-variance", False),
}
"""Name -> loss."""


class Trimmed(Loss):
    """A loss from which, after a while, the hardest examples of each batch are left out: they get no gradient.

    What a network that has learnt something still finds hardest is often labelled wrongly or shows nothing of its
    class. Leaving out the largest share of a sum's terms is the least trimmed squares of Rousseeuw (1984); for networks
    and wrong labels see Shen & Sanghavi (2019). How hard an example is, is said by ``loss.per_example``: without label
    smoothing and class weights. The loss is then the mean over the others.

    Args:
        loss: of the training.
        share: of each batch, rounded down to whole examples, 0 <= share < 1.
        begins: batches with the whole loss before that. The network must first know what is easy.

    Raises:
        SettingsError: a number is out of range.
    """

    def __init__(self, loss: Loss, share: float, begins: int = 0) -> None:
        super().__init__()
        if not 0 <= share < 1 or begins < 0:
            raise SettingsError(
                f"a loss cannot be trimmed by {share} from batch {begins} on.", "Use a share from 0 to below 1."
            )
        self.loss = loss
        self.share = share
        self.begins = begins
        self.batches = 0

    def forward(self, yhat: Any, y: Tensor) -> Tensor:
        """Give the mean loss of a batch, or of those of its examples that are not the hardest."""
        self.batches += 1
        left_out = int(self.share * len(y))
        if self.batches <= self.begins or not left_out:
            return self.loss(yhat, y)  # type: ignore[no-any-return]
        with torch.no_grad():
            hardness = self.loss.per_example(yhat, y)
            kept = hardness.topk(len(y) - left_out, largest=False).indices.sort().values
        # What is not finite counts as hardest, and must not vanish with those that are left out.
        return self.loss(_rows(yhat, kept), y[kept]) + 0 * hardness.sum()  # type: ignore[no-any-return]

    def per_example(self, yhat: Any, y: Tensor) -> Tensor:
        """Give the loss of each example, (B,): of all of them."""
        return self.loss.per_example(yhat, y)

    def get_extra_state(self) -> dict[str, int]:
        """Give the batches seen, for a training that is resumed."""
        return {"batches": self.batches}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Take what ``get_extra_state`` gave."""
        self.batches = state["batches"]


def _rows(yhat: Any, rows: Tensor) -> Any:
    return tuple(part[rows] for part in yhat) if isinstance(yhat, tuple) else yhat[rows]


def loss(
    name: str, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | Tensor | None = None
) -> CrossEntropy | BinaryCrossEntropy | SquaredError | GaussianNLL:
    """Build a loss by its name.

    Args:
        name: a key of ``LOSSES``.
        label_smoothing: share of the target spread over all classes, 0 <= e < 1.
        class_weights: one weight >= 0 per class, or None.

    Raises:
        SettingsError: the name is unknown, or the loss knows no classes to smooth or weigh.
    """
    if name not in LOSSES:
        raise SettingsError(
            f"unknown loss '{name}'.{did_you_mean(name, LOSSES)}", f"The losses are: {', '.join(LOSSES)}."
        )
    entry = LOSSES[name]
    if entry.for_classes:
        return entry.builder(label_smoothing, class_weights)  # type: ignore[return-value]
    if label_smoothing or class_weights is not None:
        raise SettingsError(
            f"loss '{name}' has no classes, so it takes neither label_smoothing nor class_weights.",
            "Leave them out, or use 'cross-entropy' or 'bce'.",
        )
    return entry.builder()  # type: ignore[return-value]


def _share(value: float) -> float:
    if not 0 <= value < 1:
        raise SettingsError(f"'label_smoothing' is {value}.", "It is a share: at least 0 and below 1, such as 0.1.")
    return value


def _weights(values: Sequence[float] | Tensor | None) -> Tensor | None:
    if values is None:
        return None
    weights = torch.as_tensor(values, dtype=torch.float32)
    if weights.ndim != 1 or not bool(torch.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise SettingsError(
            f"'class_weights' are {weights.tolist()}.", "Give one finite number >= 0 per class, not all 0."
        )
    return weights


def _offsets(values: Sequence[float] | Tensor | None) -> Tensor | None:
    if values is None:
        return None
    offsets = torch.as_tensor(values, dtype=torch.float32)
    if offsets.ndim != 1 or not bool(torch.isfinite(offsets).all()):
        raise SettingsError(f"'offsets' are {offsets.tolist()}.", "Give one finite number per class.")
    return offsets


def _targets(yhat: Tensor, y: Tensor) -> Tensor:
    """Give labels as int64 or probabilities as float, refusing what does not fit the logits."""
    if y.ndim == yhat.ndim and y.shape == yhat.shape:
        return y.to(yhat.dtype) if yhat.is_floating_point() else y.float()
    if y.is_floating_point() or y.shape != (yhat.shape[0], *yhat.shape[2:]) or yhat.ndim < 2:
        raise SourceError(
            f"cross-entropy got logits of shape {tuple(yhat.shape)} and {y.dtype} targets of shape {tuple(y.shape)}.",
            "Give labels as integers of shape (B,), or probabilities as floats of the shape of the logits.",
        )
    if y.device.type == "cpu" and y.numel():
        low, high = (int(value) for value in y.aminmax())
        if low < 0 or high >= yhat.shape[1]:
            wrong = low if low < 0 else high
            raise SourceError(
                f"label {wrong} is out of range: the network gives {yhat.shape[1]} logits, so labels are "
                f"0 to {yhat.shape[1] - 1}.",
                f"Number the classes from 0, or build the network with num_classes={high + 1}.",
            )
    return y.long()


def _alike(yhat: Tensor, y: Tensor) -> Tensor:
    """Give y in the shape and type of yhat; a lone axis of size 1 is no difference, everything else is refused."""
    if y.shape == yhat.shape:
        return y.to(yhat.dtype)
    if y.shape in ((*yhat.shape, 1), yhat.shape[:-1]) and y.numel() == yhat.numel():
        return y.reshape(yhat.shape).to(yhat.dtype)
    raise SourceError(
        f"the network gives {tuple(yhat.shape)}, targets are {tuple(y.shape)}: all would be compared with all.",
        "Give targets of the shape of the network's output.",
    )
