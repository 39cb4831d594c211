"""An optimizer's name and a model -> the optimizer, with norms and biases left out of weight decay."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from sightline.errors import ModelError, RunError, SettingsError, did_you_mean
from sightline.training.lookahead import look_ahead
from sightline.training.muon import Muon
from sightline.training.muon_sgd import MuonSGD


@dataclass(frozen=True)
class Entry:
    """An optimizer as data: its class, a line on it, and the options we set where torch would not.

    Where it treats matrices in a way of its own, ``apart`` is the flag of the groups that it does not treat so,
    ``head_lr`` a factor on the rate of the last layer, which is among them, and ``biases_decay`` says that biases with
    a rate of their own decay as weights do.
    """

    builder: type[Optimizer]
    description: str
    options: Mapping[str, Any] = field(default_factory=dict)
    apart: str = ""
    head_lr: float = 1.0
    biases_decay: bool = False


OPTIMIZERS: dict[str, Entry] = {
    "sgd": Entry(torch.optim.SGD, "stochastic gradient descent with Nesterov momentum", {"nesterov": True}),
    "adam": Entry(torch.optim.Adam, "a step size for each weight from its gradients' moments (Kingma & Ba 2015)"),
    "adamw": Entry(torch.optim.AdamW, "Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019)"),
    "muon": Entry(
        Muon, "momentum made orthogonal for matrices and kernels, AdamW for the rest (Jordan et al. 2024)", apart="adam"
    ),
    "muonsgd": Entry(
        MuonSGD,
        "the same at a fixed length of kernels, Nesterov's SGD for the rest: for few passes (Jordan 2024)",
        apart="sgd",
        head_lr=7.0,
        biases_decay=True,
    ),
}
"""Name -> optimizer; every other class of ``torch.optim`` is found by its name, in any case of letters."""

DECOUPLED = ("adamw", "adafactor", "muon", "muonsgd")
"""Optimizers whose weight decay is apart from the gradient in torch; in the others it is a part of the gradient."""

CLOSURE = ("LBFGS",)
"""Optimizers that evaluate the loss themselves, several times a step: no training loop over batches can drive them."""


def known() -> dict[str, type[Optimizer]]:
    """Give every optimizer that a name can mean, by lower-case name."""
    found = {
        name.lower(): value
        for name, value in sorted(vars(torch.optim).items())
        if isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer and name not in CLOSURE
    }
    return {**found, **{name: entry.builder for name, entry in OPTIMIZERS.items()}}


def build(
    name: str,
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    decoupled: bool = False,
    options: Mapping[str, Any] | None = None,
    factors: Mapping[str, float] | None = None,
    bias_lr: float = 1.0,
    lookahead: int = 0,
    rising: int = 0,
) -> Optimizer:
    """Build an optimizer over the model's trained parameters.

    Args:
        name: ``sgd``, ``adam``, ``adamw``, or any class of ``torch.optim``, in any case of letters.
        model: its parameters are held, so build it before the training and keep the model.
        lr: (peak) learning rate.
        weight_decay: for weights; parameters with one axis or none (norms, biases) get 0.
        momentum: for optimizers that have it; SGD without momentum is not Nesterov's.
        decoupled: before each step multiply the weights by 1 - lr * weight_decay, and leave the gradient alone, as
            ``adamw`` always does (Loshchilov & Hutter 2019); else the decay is what torch makes of it: with momentum it
            gathers momentum, and under Adam it is rescaled as the gradient is.
        options: more options of that optimizer, by torch's names; they win.
        factors: on the learning rate, by the names of parameters; 1 for those that are not named.
        bias_lr: one more factor on that of biases, the offsets of norms included.
        lookahead: see ``lookahead.look_ahead``; 0 does not.
        rising: steps of the whole training, if the pull of the slow weights is to rise over them.

    Raises:
        SettingsError: the name or an option is unknown, or a value is out of the optimizer's range.
        ModelError: the model has no parameter to train.
    """
    classes = known()
    if name.lower() not in classes:
        raise SettingsError(
            f"unknown optimizer '{name}'.{did_you_mean(name.lower(), classes)}",
            f"The optimizers are: {', '.join(classes)}.",
        )
    builder = classes[name.lower()]
    takes = inspect.signature(builder).parameters
    values: dict[str, Any] = {"lr": lr}
    by_us = decoupled and name.lower() not in DECOUPLED
    if "weight_decay" in takes:
        values["weight_decay"] = 0.0 if by_us else weight_decay
    elif weight_decay and not by_us:
        raise SettingsError(f"optimizer '{name}' has no weight decay.", "Set weight_decay=0, or decoupled=true.")
    if "momentum" in takes:
        values["momentum"] = momentum
    if name.lower() in OPTIMIZERS and (momentum or name.lower() != "sgd"):
        values |= OPTIMIZERS[name.lower()].options
    values |= dict(options or {})
    own = {name: p for name, p in model.named_parameters() if p.ndim == 1 and name.rpartition(".")[2] == "bias"}
    if bias_lr != 1:
        factors = {**(factors or {}), **{name: bias_lr * (factors or {}).get(name, 1.0) for name in own}}
    parts = groups(model, values["lr"], weight_decay, factors)
    if bias_lr != 1:
        parts.sort(key=lambda part: part["params"][0].ndim < 2)  # the rate that is told is that of the weights
    entry = OPTIMIZERS.get(name.lower())
    if entry and entry.apart:
        parts = divided(model, parts, entry)
        biases = {id(p) for p in own.values()} if entry.biases_decay else set()
        for part in parts:
            if all(id(p) in biases for p in part["params"]):
                part["weight_decay"] = values.get("weight_decay", 0.0)
    if by_us:
        parts = [{**part, "weight_decay": 0.0, "decay": part["weight_decay"]} for part in parts]
    made = make(builder, parts, values)
    if by_us:
        made.register_step_pre_hook(_decay)
    if lookahead:
        look_ahead(made, lookahead, rising)
    return made


def divided(model: nn.Module, parts: list[dict[str, Any]], entry: Entry) -> list[dict[str, Any]]:
    """Divide groups: what is no matrix, and the last layer, whose rows are classes, are set apart."""
    stages = getattr(model, "stages", None)
    head = {id(p) for p in stages()["head"].parameters()} if callable(stages) else set()
    found = []
    for part in parts:
        for last, apart in ((False, False), (False, True), (True, True)):
            mine = [
                p
                for p in part["params"]
                if (p.ndim > 1 and id(p) in head, p.ndim < 2 or id(p) in head) == (last, apart)
            ]
            rate = part["lr"] * (entry.head_lr if last else 1.0)
            found += [{**part, "params": mine, entry.apart: apart, "lr": rate}] if mine else []
    return found


@torch.no_grad()
def _decay(optimizer: Optimizer, *given: Any) -> None:
    """Let weights decay by the group's own ``decay``; called by torch before each step."""
    for group in optimizer.param_groups:
        moving = [p for p in group["params"] if p.grad is not None]  # frozen ones have none
        if group["decay"] and moving:
            torch._foreach_mul_(moving, 1 - group["lr"] * group["decay"])


def make(builder: type[Optimizer], params: Iterable[Any], options: Mapping[str, Any]) -> Optimizer:
    """Call an optimizer's class, fused where it can be, with its complaints told as settings.

    Args:
        builder: the class (or any function that takes parameters and options).
        params: parameters or parameter groups.
        options: keywords of the class.

    Raises:
        SettingsError: an option is unknown or out of range.
    """
    takes = inspect.signature(builder).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    for option in options:
        if option not in takes and not open_ended:
            raise SettingsError(
                f"optimizer {builder.__name__} has no option '{option}'.{did_you_mean(option, takes)}",
                f"It takes: {', '.join(name for name in takes if name != 'params')}.",
            )
    # One kernel for all parameters instead of some for each; on the processor, too.
    fused = {"fused": True} if "fused" in takes and not {"fused", "foreach", "differentiable"} & set(options) else {}
    try:
        chosen = builder if options.get("differentiable") else _untraced(builder)
        return chosen(list(params), **{**options, **fused})
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise SettingsError(
            f"optimizer {builder.__name__} refuses {dict(options)}: {error}.", "Change those options."
        ) from None


def _untraced(builder: type[Optimizer]) -> type[Optimizer]:
    """Give the same optimizer, which does not import torch's compiler when it is made and when it steps.

    Torch's own mark where a compiler would have to stop, and import the whole of it for that: a second or more, at the
    start of every training. Only networks are compiled here, so nothing has to be marked. A class that is neither
    torch's nor ours, or not of the form that is known, is left as it is.
    """
    theirs = isinstance(builder, type) and builder.__module__.startswith(("torch.optim.", __package__))
    if not theirs or (step := inspect.unwrap(builder.step)) is builder.step:
        return builder
    own = {"step": torch.no_grad()(step)}
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        own[name] = inspect.unwrap(getattr(builder, name))
    return type(builder.__name__, (builder,), {**own, "__module__": builder.__module__, "__doc__": builder.__doc__})


def groups(
    model: nn.Module, lr: float, weight_decay: float, factors: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Divide the trained parameters: those with two axes or more decay, norms and biases do not.

    Args:
        model: whose parameters take gradients.
        lr: learning rate.
        weight_decay: of those that decay.
        factors: on the learning rate, by the names of parameters; 1 for those that are not named.

    Returns:
        Groups with ``params``, ``lr`` and ``weight_decay``; those with the highest rate first, which is the one told.

    Raises:
        ModelError: there is nothing to train, or a lazy layer has no weights yet.
    """
    mine = {id(p) for p in trained(model)}
    rated = [(p, (factors or {}).get(name, 1.0)) for name, p in model.named_parameters() if id(p) in mine]
    parts = [
        {
            "params": [p for p, own in rated if own == factor and (p.ndim > 1) == decays],
            "lr": lr * factor,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for factor in sorted({own for _, own in rated}, reverse=True)
        for decays in (True, False)
    ]
    return [part for part in parts if part["params"]]


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Give the parameters that take gradients, each once.

    Raises:
        ModelError: there are none, or a lazy layer has no weights yet.
    """
    params = [p for p in model.parameters() if p.requires_grad]
    if any(isinstance(p, UninitializedParameter) for p in params):
        raise ModelError(
            f"{type(model).__name__} has lazy layers that have not seen an input, so their weights do not exist.",
            "Run one batch through it first: model(x).",
        )
    if not params:
        raise ModelError(
            f"{type(model).__name__} has no parameter that takes gradients.", "Unfreeze a layer: requires_grad_(True)."
        )
    return params


def over(model: nn.Module, optimizer: type[Optimizer] | Optimizer, options: Mapping[str, Any]) -> Optimizer:
    """Take an optimizer that holds this model's parameters, or make one of that class over all that are trained.

    Args:
        model: whose parameters.
        optimizer: a class, or an optimizer.
        options: keywords of the class.

    Raises:
        SettingsError: the optimizer holds a tensor that is no parameter of the model; or the class refuses an option.
        ModelError: the model has no parameter to train.
    """
    if not isinstance(optimizer, Optimizer):
        return make(optimizer, trained(model), options)
    own = {id(p) for p in model.parameters()}
    foreign = sum(id(p) not in own for group in optimizer.param_groups for p in group["params"])
    if foreign:
        raise SettingsError(
            f"the optimizer holds {foreign} tensors that are not parameters of {type(model).__name__}.",
            "Make the optimizer from this very model: it must not have been copied or replaced since.",
        )
    return optimizer


def align(optimizer: Optimizer) -> None:
    """Lay out each state tensor in memory as its parameter is.

    Fused kernels walk through parameter and state side by side, so a state in another memory format (after
    ``channels_last``, or read from a file) would be mixed up silently.
    """
    for group in optimizer.param_groups:
        for p in group["params"]:
            state = optimizer.state.get(p, {})
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == p.shape and value.ndim > 0:
                    state[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)


def load(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Give an optimizer the state that another one over the same parameters had.

    Raises:
        RunError: the state is of another kind of optimizer or of other parameters.
    """
    try:
        optimizer.load_state_dict(dict(state))
    except (ValueError, KeyError) as error:
        raise RunError(
            f"the checkpoint is of another optimizer: {error}.", "Resume with the settings of that training."
        ) from None
    align(optimizer)
