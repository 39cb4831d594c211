"""A network in training -> a row of numbers about its layers: gradients, steps, dead and saturated units.

A look costs a few passes over some of the training images, so it is taken after the last epoch, and after the first and
in between as often as a share of the training's time allows. What is measured depends on weights and images alone, and
nothing of the training is changed: a training with instruments ends with the same bits as one without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.run import RunFolder
from sightline.training import generators
from sightline.training.batches import Feed
from sightline.training.history import History
from sightline.training.precision import Precision, full

SHARES = {"none": 0.0, "some": 0.01, "all": 0.05}
"""The setting ``instruments`` -> the share of the training's time that they may take."""

IMAGES = (16, 128)
"""Training images that a look is taken with: at least, and at most."""

PASSES = 5
"""What a look costs, in forward passes over its images: one with gradients, one without, and some bookkeeping."""

STEPS = 6
"""What it costs at most, in steps of the training, by which looks are spaced: weights are gone through, too."""

USUAL = 2.5
"""What it was measured to cost in short trainings of networks from an MLP to ResNet-20."""

FLAT = {"Tanh": 0.97, "ScaledTanh": 0.97 * 1.7159, "Sigmoid": 0.94}
"""Activations with flat ends -> the distance from the middle where they begin; a sigmoid's middle is 1/2, times two."""


def plan(train: int, held_out: int, steps: int, epochs: int, share: float) -> tuple[int, int, bool]:
    """Choose with how many images to look, and every how many epochs, so that it takes at most a share of the time.

    One look, the last, is always taken: where not even two fit into the share, the first one is left out.

    Args:
        train: training images seen in an epoch.
        held_out: images evaluated after each epoch.
        steps: steps of an epoch.
        epochs: of the training.
        share: of the time, 0..1.

    Returns:
        Images, epochs between two looks, and whether to look after the first epoch; (0, 0, False) for none.
    """
    if share <= 0:
        return 0, 0, False
    passes = 3 * train + held_out  # a step costs about three forward passes over its images
    images = min(max(int(share * passes / PASSES), IMAGES[0]), IMAGES[1], train)
    every = max(1, math.ceil(PASSES * images / (share * passes)), math.ceil(STEPS / (share * steps)))
    return images, every, round(share * steps * epochs / USUAL) >= 2


class Instruments:
    """Looks into a network after some of its epochs.

    Args:
        batches: the same training images each time, (x, y), few and without augmentation; None looks at nothing.
        loss_fn: as in training; its ``per_example`` is taken where it has one.
        precision: as in training.
        every: epochs between two looks; 0 for none.
        first: whether to look after the first epoch, too.
        folder: where the rows go, one per look; None keeps them in memory.

    Attributes:
        rows: one per look: ``epoch``, ``lr``, ``train_mode_loss`` and ``eval_mode_loss`` of the same images,
            ``commonest`` (share of the class named most), and by layer ``gradient/<layer>`` (norm), ``update/<layer>``
            (norm of the optimizer's last step / norm of the weights), ``dead/<layer>`` and ``saturated/<layer>``
            (shares of its units).
    """

    def __init__(
        self,
        batches: Iterable[Any] | None = None,
        loss_fn: Callable[[Any, Tensor], Tensor] | None = None,
        precision: Precision | None = None,
        every: int = 0,
        folder: RunFolder | None = None,
        *,
        first: bool = True,
    ) -> None:
        self.batches = batches
        self.loss_fn: Any = loss_fn
        self.precision = precision or Precision("fp32", torch.device("cpu"), channels_last=False)
        self.every = every if batches is not None else 0
        self.first = first
        self._history = History(folder.instruments if folder else None)

    @property
    def rows(self) -> list[dict[str, float]]:
        """What was seen so far."""
        return self._history.rows

    def measure(self, model: nn.Module, optimizer: Optimizer, epoch: int, last: bool) -> None:
        """Take a look if it is time for one.

        Args:
            model: left exactly as it was, with torch's generators.
            optimizer: over its parameters, only read.
            epoch: done, from 1.
            last: whether no epoch follows.

        Raises:
            RunError: the row cannot be written.
        """
        if not self.every or not ((self.first and epoch == 1) or last or epoch % self.every == 0):
            return
        path = self._history.path
        if path is not None and path.is_file() and not self.rows:  # a training that goes on
            self._history.rows = History.read(path).rows
        self._history.rows = [row for row in self.rows if row["epoch"] < epoch]
        self._history.append(
            {"epoch": epoch, "lr": float(optimizer.param_groups[0]["lr"]), **self._look(model, optimizer)}
        )

    def _look(self, model: nn.Module, optimizer: Optimizer) -> dict[str, float]:
        device = next(model.parameters()).device
        row: dict[str, float] = {}
        with _as_it_was(model, device):
            for x, y in Feed(self.batches or (), None, device, self.precision.channels_last, "instruments").whole():
                model.train()
                _keep_frozen_norms(model)
                loss = self._loss(model, x, y)
                row["train_mode_loss"] = float(loss.detach())
                params = {name: p for name, p in model.named_parameters() if p.requires_grad and p.ndim > 1}
                slopes = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
                gradients = {name: slope for name, slope in zip(params, slopes, strict=True) if slope is not None}
                row |= {f"gradient/{_layer(name)}": float(slope.float().norm()) for name, slope in gradients.items()}
                row |= {f"update/{_layer(name)}": value for name, value in steps(optimizer, params, gradients).items()}
                model.eval()
                with torch.no_grad(), _listening(model) as heard:
                    row["eval_mode_loss"] = float(self._loss(model, x, y, row))
                row |= heard
                break
        return row

    def _loss(self, model: nn.Module, x: Any, y: Tensor, row: dict[str, float] | None = None) -> Tensor:
        with self.precision.forward():
            yhat = full(model(x))
        side: Any = getattr(model, "auxiliary_logits", None)
        if side is not None:
            side()  # taken away, so that their graph is freed
        if row is not None and isinstance(yhat, Tensor) and yhat.ndim == 2 and yhat.shape[1] > 1:
            named = yhat.argmax(dim=1).bincount(minlength=yhat.shape[1])
            row["commonest"] = float(named.max() / named.sum())
        each = getattr(self.loss_fn, "per_example", None)
        return torch.as_tensor(each(yhat, y).mean() if each else self.loss_fn(yhat, y))


def steps(optimizer: Optimizer, params: dict[str, nn.Parameter], gradients: dict[str, Tensor]) -> dict[str, float]:
    """Give the norm of the optimizer's last step / norm of the weights, by parameter, from what it remembers.

    Known for SGD (without momentum the given gradients stand for the last), Adam and AdamW (D. Kingma and J. Ba 2015,
    algorithm 1); other optimizers give nothing. Weight decay and Nesterov's look ahead are left out.
    """
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    found = {}
    for name, p in params.items():
        group, state = groups.get(id(p)), optimizer.state.get(p, {})
        size = float(p.detach().float().norm())
        if group is None or size == 0:
            continue
        if type(optimizer).__name__ in ("Adam", "AdamW") and "exp_avg_sq" in state:
            done = float(state.get("step", 1)) or 1.0
            first, second = (1 - beta**done for beta in group["betas"][:2])
            step = (state["exp_avg"] / first) / ((state["exp_avg_sq"] / second).sqrt() + group.get("eps", 1e-8))
        elif type(optimizer).__name__ == "SGD" and (state.get("momentum_buffer") is not None or name in gradients):
            step = gradients[name] if state.get("momentum_buffer") is None else state["momentum_buffer"]
        else:
            continue
        found[name] = float(group["lr"]) * float(step.detach().float().norm()) / size
    return found


@contextmanager
def _as_it_was(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Bring back what a look may change: buffers, modes, generators. Weights and gradients it does not touch."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    modes = [(part, part.training) for part in model.modules()]
    numbers = generators.state(device)
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for part, mode in modes:
            part.training = mode
        generators.restore(numbers, device)


def _keep_frozen_norms(model: nn.Module) -> None:
    """Leave norms whose weights are frozen in evaluation mode, as training does."""
    for part in model.modules():
        own = list(part.parameters(recurse=False))
        if getattr(part, "track_running_stats", False) and own and not any(p.requires_grad for p in own):
            part.eval()


@contextmanager
def _listening(model: nn.Module) -> Iterator[dict[str, float]]:
    """Count, in the forward pass of the block, the units of each activation that are dead or saturated."""
    heard: dict[str, float] = {}
    gates = [name for name, part in model.named_modules() if "Gate" in type(part).__name__]

    def hear(name: str, module: nn.Module, inputs: Any, out: Any) -> None:
        if not isinstance(out, Tensor) or out.ndim < 2:
            return
        flat = FLAT.get(type(module).__name__)
        while f"dead/{name}" in heard or f"saturated/{name}" in heard:  # one module may stand at several places
            name += "+"
        values = out.detach().transpose(0, 1).flatten(1)  # a row for each unit: feature, or map
        if flat is None:
            heard[f"dead/{name}"] = float((values <= 0).all(dim=1).float().mean())
        else:
            away = (2 * values - 1 if isinstance(module, nn.Sigmoid) else values).abs()
            heard[f"saturated/{name}"] = float(((away > flat).float().mean(dim=1) > 0.95).float().mean())

    hooks = [
        part.register_forward_hook(partial(hear, name))
        for name, part in model.named_modules()
        if (isinstance(part, nn.ReLU | nn.ReLU6) or type(part).__name__ in FLAT)
        and not any(name.startswith(gate) for gate in gates)
    ]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


def _layer(parameter: str) -> str:
    """``features.0.conv.weight`` -> ``features.0.conv``."""
    return parameter.rpartition(".")[0] if parameter.endswith(".weight") else parameter
