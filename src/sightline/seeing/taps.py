"""A model and names of layers -> what these layers give, and the model exactly as it was when it is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from sightline.errors import ModelError, did_you_mean
from sightline.training import generators


class Taps(Mapping[str, Tensor]):
    """Listen to layers while a model runs; afterwards it is what it was, whatever happened in between.

    Inside the block the model is in evaluation mode, its weights need no gradient, and gradients are on, also where
    the code around it has switched them off. After it, and after an exception, its hooks, modes, weights, buffers,
    gradients and ``requires_grad`` and torch's generators are bit for bit what they were::

        with Taps(model, ["conv1", "layer2"]) as taps:
            logits = taps.run(x)
            taps["conv1"]                                        # (B, C, H, W)
            torch.autograd.grad(logits[0, 3], taps["layer2"])    # what is kept is part of the graph, if x has one

    A layer's values are kept as it gave them: what works in place afterwards works on a copy, and so does what works in
    place on inputs and outputs of the model. Of a layer that gives a tuple, the first tensor is kept; of one that runs
    several times, the last run.

    Args:
        model: any module; it may be frozen, and in any mode.
        names: layers by torch's dotted names, as ``model.named_modules()`` has them.
        stop: end a run once every layer named has been heard; ``run`` then gives None. What lies behind them is not
            computed, and need not fit the input.

    Raises:
        ModelError: there is no layer of that name, or the model is scripted, compiled, or not yet sized (lazy).
    """

    def __init__(self, model: nn.Module, names: Sequence[str] = (), *, stop: bool = False) -> None:
        refuse(model)
        self.model = model
        self.names = tuple(dict.fromkeys(names))
        self._modules = {name: layer_of(model, name) for name in self.names}
        self._stop = stop and bool(self.names)
        self._kept: dict[str, Tensor] = {}
        self._exit: ExitStack | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(as_it_was(self.model))
            for name, part in self._modules.items():
                stack.callback(part.register_forward_hook(self._listen(name), with_kwargs=True).remove)
            stack.callback(self._kept.clear)
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._exit is not None
        self._exit.close()

    def run(self, x: Tensor) -> Tensor | None:
        """Send inputs (B, C, *positions) through; what was kept of the run before is forgotten.

        Returns:
            What the model returns, or None where the run ended early.
        """
        self._kept.clear()
        try:
            logits = first_tensor(self.model(x.clone()))
            return None if logits is None else logits.clone()
        except _EndedEarly:
            return None

    def __getitem__(self, name: str) -> Tensor:
        """Give what a layer gave in the last run."""
        if name not in self._kept:
            fault = "did not run" if name in self._modules else "is not listened to"
            raise ModelError(f"layer '{name}' {fault}.", f"Heard: {', '.join(self._kept) or 'none yet'}.")
        return self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def _listen(self, name: str) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
            found = first_tensor(output)
            if found is None:
                return None
            # a layer may give its input on, whole or as a view, and the model may work on that in place
            around = [part for part in (*given, *named.values()) if isinstance(part, Tensor)]
            shared = any(part.untyped_storage().data_ptr() == found.untyped_storage().data_ptr() for part in around)
            self._kept[name] = found = found.clone() if shared else found
            if self._stop and len(self._kept) == len(self._modules):
                raise _EndedEarly
            if isinstance(output, Tensor):
                return found.clone()
            if type(output) is tuple and isinstance(output[0], Tensor):
                return (found.clone(), *output[1:])
            if not shared:  # of a kind that cannot be made anew: kept apart from the graph behind it
                self._kept[name] = found.clone()
            return None

        return hook


class _EndedEarly(Exception):  # noqa: N818 (no error)
    """Everything that was to be heard has been heard."""


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Undo, after the block, all it did to a model; inside, it is in evaluation mode and its weights are frozen.

    What comes back: weights and buffers (values, and the objects themselves), gradients, ``requires_grad``, the mode
    of every part, and torch's generators, of the processor and of the model's device.

    Raises:
        ModelError: the model is scripted, compiled or not yet sized.
    """
    refuse(model)
    parts = list(model.modules())
    tables: list[tuple[Any, dict[str, Any]]] = [
        (table, dict(table)) for part in parts for table in (part._parameters, part._buffers)
    ]
    modes = [part.training for part in parts]
    parameters = list(model.parameters())
    flags = [(p, p.requires_grad, p.grad) for p in parameters]
    values = [(tensor, tensor.detach().clone()) for tensor in (*parameters, *model.buffers())]
    device = values[0][0].device if values else torch.device("cpu")
    numbers = generators.state(device)
    try:
        model.eval()
        for p in parameters:
            p.requires_grad_(False)
            p.grad = None
        yield
    finally:
        for table, before in tables:
            table.clear()
            table.update(before)
        with torch.inference_mode(False), torch.no_grad():
            for tensor, old in values:
                if not torch.equal(tensor, old):  # a copy would disturb graphs that were made before the block
                    tensor.copy_(old)
        for p, needs, gradient in flags:
            p.requires_grad_(needs)
            p.grad = gradient
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
        generators.restore(numbers, device)


def refuse(model: nn.Module) -> None:
    """Say why a model cannot be looked into, if so.

    Raises:
        ModelError: it is scripted, traced or compiled, or has layers that do not know their size yet.
    """
    for name, part in model.named_modules():
        where = f"its part '{name}'" if name else "it"
        if isinstance(part, torch.jit.ScriptModule):
            raise ModelError(
                f"{type(model).__name__} cannot be looked into: {where} is scripted or traced.",
                "Give the module it was made from.",
            )
        if type(part).__name__ == "OptimizedModule" or getattr(part, "_compiled_call_impl", None) is not None:
            raise ModelError(
                f"{type(model).__name__} cannot be looked into: {where} is compiled.",
                "Give the module before torch.compile; `compiled._orig_mod` is that module.",
            )
        if any(nn.parameter.is_lazy(p) for p in part._parameters.values()):
            raise ModelError(
                f"{type(model).__name__} cannot be looked into: {where} does not know its size yet.",
                "Send one example through it first.",
            )


def layer_of(model: nn.Module, name: str) -> nn.Module:
    """Find a layer by its dotted name.

    Raises:
        ModelError: there is none; the message suggests the nearest.
    """
    found: dict[str, nn.Module] = dict(model.named_modules())
    found.pop("", None)
    if name not in found:
        shown = list(found)
        more = f" ... ({len(shown)} in all)" if len(shown) > 20 else ""
        raise ModelError(
            f"the network has no layer '{name}'.{did_you_mean(name, shown)}",
            f"Its layers are: {', '.join(shown[:20]) or 'none with a name'}{more}.",
        )
    return found[name]


def first_tensor(output: Any) -> Tensor | None:
    """Give the tensor that a layer's output is, or the first one in it; None if there is none."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return next((part for part in output if isinstance(part, Tensor)), None)
    return None
