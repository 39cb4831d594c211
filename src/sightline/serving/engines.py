"""A network and real inputs -> the fastest way to compute its logits here that still says what the network says.

Nothing is believed: every engine is held against the network in fp32 on inputs that are really to be recognised, and
one that says something else is not used.
"""

from __future__ import annotations

import copy
import importlib.util
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sightline.errors import MissingExtraError, SettingsError, did_you_mean
from sightline.training.precision import Precision, full

Logits = Callable[[Tensor], Tensor]
"""Inputs, float32 (B, C, *size), to logits, float32 (B, K); B may change from call to call."""

MOST_DIFFERENT = 0.05
"""No class probability of an image may differ by more than this from the reference's."""

TIE = 0.02
"""An image's most probable class may change only where the reference has the two classes this close."""


DOUBT = 0.05
"""Where an engine finds the two best classes of an image this close, the image is asked again, in fp32."""

FIRST_S = 20.0
"""Seconds of work with the plain engine from which any other is tried."""


@dataclass(frozen=True)
class Entry:
    """One engine as data.

    Attributes:
        description: one line.
        make: (network in evaluation mode, inputs, precision) -> how to compute logits.
        worth_s: seconds of work with the plain engine from which it is tried: making it takes time, too.
        package: what must be installed; empty for none.
        cpu_only: it computes on the processor.
    """

    description: str
    make: Callable[[nn.Module, Tensor, Precision], Logits]
    worth_s: float
    package: str = ""
    cpu_only: bool = False


@dataclass(frozen=True)
class Trial:
    """What came of trying an engine.

    Attributes:
        engine: its name.
        images_per_s: on batches of the size tried; 0 if it could not be made.
        agree: share of the images whose most probable class is the reference's, 0..1.
        difference: largest difference of a class probability from the reference's, 0..1.
        fault: why it is not used; empty if it could be.
    """

    engine: str
    images_per_s: float = 0.0
    agree: float = 0.0
    difference: float = 1.0
    fault: str = ""


@dataclass(frozen=True)
class Choice:
    """The engine taken, and what was tried: the network in fp32 first."""

    engine: str
    logits: Logits
    trials: tuple[Trial, ...]
    images: int

    @property
    def sentence(self) -> str:
        """Say what is used and how well it agrees with the reference."""
        reference, own = self.trials[0], next(trial for trial in self.trials if trial.engine == self.engine)
        times = own.images_per_s / reference.images_per_s
        told = f"{ENGINES[self.engine].description}; {times:.1f} times as fast as fp32"
        same = (
            f"{own.agree:.1%} of {self.images} labels agree, no probability differs by more than {own.difference:.3f}"
        )
        failed = "".join(f"; {trial.engine} not used: {trial.fault}" for trial in self.trials if trial.fault)
        return f"{self.engine} ({told}; {same}{failed})"

    def as_dict(self) -> dict[str, Any]:
        """Give plain values: engine, images, and every trial."""
        return {"engine": self.engine, "images": self.images, "trials": [vars(trial) for trial in self.trials]}


def choose(
    model: nn.Module, x: Tensor, precision: Precision, *, engine: str = "auto", work_s: float = math.inf
) -> Choice:
    """Make the engines that are worth it, hold them against the network in fp32, and take the fastest that agrees.

    An engine agrees if no class probability differs by more than ``MOST_DIFFERENT``, and no label changes but for a
    tie (``TIE``). The plain engine is what the network was evaluated with and is never refused.

    Args:
        model: in evaluation mode, on its device; it is left as it is.
        x: inputs that are really to be recognised, float32 (B, C, *size), on the device; at batch size B the speed is
            measured.
        precision: of the plain engine.
        engine: a key of ``ENGINES``, or ``auto``.
        work_s: seconds that the work ahead takes with the plain engine; ``auto`` tries what can pay back in it.

    Raises:
        SettingsError: there is no such engine, or the one asked for fails or does not agree.
        MissingExtraError: the one asked for is not installed.
    """
    check(engine)
    made: dict[str, Logits] = {}
    exactly, exact_s = _tried(lambda x: _exactly(model, x), x, repeats=1)
    reference = _softmax(exactly)
    trials = [Trial("fp32", len(x) / exact_s, 1.0, 0.0)]
    made["plain"] = _plain(model, x, precision)
    own, plain_s = _tried(made["plain"], x)
    trials.append(_judged("plain", own, reference, len(x) / plain_s))
    for name in _candidates(engine, precision, work_s):
        try:
            made[name] = _surely(model, ENGINES[name].make(model, x, precision))
            own, seconds = _tried(made[name], x)
            trials.append(_judged(name, own, reference, len(x) / seconds))
        except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            trials.append(Trial(name, fault=f"it fails here ({first.strip()[:120]})"))
    if engine != "auto" and trials[-1].fault and engine != "plain":
        raise SettingsError(f"engine '{engine}' cannot be used: {trials[-1].fault}.", "Use --engine auto or plain.")
    able = [trial for trial in trials[1:] if trial.engine == "plain" or not trial.fault]
    best = able[-1] if engine != "auto" else max(able, key=lambda trial: trial.images_per_s)
    return Choice(best.engine, made[best.engine], tuple(trials), len(x))


def check(engine: str) -> None:
    """Refuse the name of an engine that there is not, or whose package is missing.

    Raises:
        SettingsError, MissingExtraError: as ``choose`` does.
    """
    known = [*ENGINES, "auto"]
    if engine not in known:
        raise SettingsError(
            f"engine is '{engine}', which is none.{did_you_mean(engine, known)}", f"Use one of: {', '.join(known)}."
        )
    package = "" if engine == "auto" else ENGINES[engine].package
    if package and not importlib.util.find_spec(package):
        raise MissingExtraError(package, "serve")


def _candidates(engine: str, precision: Precision, work_s: float) -> Iterable[str]:
    """Name the engines to try beside the plain one."""
    if engine != "auto":
        return [] if engine == "plain" else [engine]
    return [
        name
        for name, entry in ENGINES.items()
        if name != "plain"
        and work_s >= entry.worth_s
        and (not entry.package or importlib.util.find_spec(entry.package))
        and (not entry.cpu_only or precision.device.type == "cpu")
    ]


def _judged(name: str, logits: Tensor, reference: Tensor, images_per_s: float) -> Trial:
    """Hold probabilities (B, K) against the reference's."""
    own = _softmax(logits)
    difference = float((own - reference).abs().max())
    label, wanted = own.argmax(dim=1, keepdim=True), reference.argmax(dim=1, keepdim=True)
    gap = (reference.gather(1, wanted) - reference.gather(1, label))[:, 0]
    agree = float((label == wanted).float().mean())
    fault = ""
    if not difference <= MOST_DIFFERENT:  # NaN, too
        fault = f"a probability differs by {difference:.3f}"
    elif bool((gap > TIE).any()):
        fault = f"only {agree:.1%} of the labels agree"
    return Trial(name, images_per_s, agree, difference, fault)


def _softmax(logits: Tensor) -> Tensor:
    return logits.double().softmax(dim=1).cpu()


@torch.inference_mode()
def _tried(logits: Logits, x: Tensor, repeats: int = 3) -> tuple[Tensor, float]:
    """Give the logits of a batch and its seconds: the median after a first call, in which kernels are chosen."""
    logits(x)
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        found = logits(x)
        found.sum().item()  # waits for a GPU
        taken.append(time.perf_counter() - began)
    return found, statistics.median(taken)


def _surely(model: nn.Module, quick: Logits) -> Logits:
    """Ask in fp32 again about images that an engine finds nearly tied: few, and the only ones it could be wrong on."""

    def logits(x: Tensor) -> Tensor:
        found = quick(x)
        best = found.softmax(dim=1).topk(min(2, found.shape[1]), dim=1).values
        doubtful = (best[:, 0] - best[:, -1] < DOUBT) & (found.shape[1] > 1)
        if bool(doubtful.any()):
            found[doubtful] = _exactly(model, x[doubtful]).float()
        return found

    return logits


# ---- the engines ----


def _exactly(model: nn.Module, x: Tensor) -> Tensor:
    """Compute in fp32: the reference."""
    with torch.autocast(x.device.type, enabled=False):
        return Tensor(model(x))


def _plain(model: nn.Module, x: Tensor, precision: Precision) -> Logits:
    def logits(x: Tensor) -> Tensor:
        with precision.forward():
            return Tensor(full(model(x)))

    return logits


def _folded(model: nn.Module, x: Tensor, precision: Precision) -> Logits:
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision.mode, torch.float32)
    network = fold(model).to(dtype)
    precision.arrange(network)
    return lambda x: Tensor(network(x.to(dtype)).float())


def _compiled(model: nn.Module, x: Tensor, precision: Precision) -> Logits:
    import torch._inductor.config as inductor

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision.mode, torch.float32)
    network = fold(model).to(dtype)
    precision.arrange(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself: compiling still imports what it calls deprecated
        compiled = torch.compile(network)
    size = len(x)

    def logits(x: Tensor) -> Tensor:
        """Fill a last batch up, since every batch size would be compiled anew."""
        whole = x if len(x) == size else torch.cat([x, x[-1:].expand(size - len(x), *x.shape[1:])])
        with inductor.patch(freezing=True):
            return Tensor(compiled(whole.to(dtype)).float()[: len(x)])

    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        logits(x)
    return logits


def _openvino(model: nn.Module, x: Tensor, precision: Precision) -> Logits:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself, in OpenVINO's name
        import openvino

        network = copy.deepcopy(model).eval()
        two = torch.zeros(2, *x.shape[1:])
        with torch.no_grad():
            exported = torch.export.export(network, (two,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
        graph = openvino.convert_model(exported)
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    wanted = {"INFERENCE_PRECISION_HINT": "f32"} if precision.mode == "fp32" else {}
    compiled = openvino.Core().compile_model(graph, "CPU", {**threads, **wanted})
    return lambda x: torch.from_numpy(compiled(x.contiguous().numpy())[0].copy())


ENGINES: dict[str, Entry] = {
    "plain": Entry("the network as it was evaluated", _plain, 0.0),
    "folded": Entry("norms folded into the convolutions, weights in the precision of the run", _folded, FIRST_S),
    "openvino": Entry("Intel's OpenVINO", _openvino, 90.0, "openvino", cpu_only=True),
    "compiled": Entry("folded, and compiled by torch with its weights frozen", _compiled, 300.0),
}
"""Name -> engine, the quicker to make first."""


def fold(model: nn.Module) -> nn.Module:
    """Copy a network for prediction: a batch norm that follows a convolution becomes a part of it.

    In evaluation mode such a norm multiplies each map by one number and adds another, which the convolution can do
    itself. Neighbours are looked for where the order of the children is the order of computing: in ``nn.Sequential``
    and in the blocks of our own networks.

    Returns:
        A copy in evaluation mode, whose outputs are the model's up to rounding.
    """
    from sightline.models.layers import ResidualModule
    from sightline.models.network import Network

    network = copy.deepcopy(model).eval()
    for part in network.modules():
        names = [name for name, _ in part.named_children()] if isinstance(part, nn.Sequential | Network) else []
        if isinstance(part, ResidualModule):
            names = list(part.body)
        for before, after in pairwise(names):
            conv, norm = part.get_submodule(before), part.get_submodule(after)
            if isinstance(conv, nn.Conv1d | nn.Conv2d | nn.Conv3d) and isinstance(
                norm, nn.modules.batchnorm._BatchNorm
            ):
                setattr(part, before, fuse_conv_bn_eval(conv, norm))
                setattr(part, after, nn.Identity())
    return network
