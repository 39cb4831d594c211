"""The weights of one network -> the state of another that differs in classes, channels or input size, and what changed.

Whatever is changed is told in a sentence, and what cannot be carried over is refused, except for heads, which are new
where the classes are. Where a layer reads a whole map and the map has another size, its weights are multiplied by the
matrix of adaptive average pooling from the new size to the old: the layer gives what it would have given had the map
been pooled first, for maps that are smaller (their values are repeated) as for larger ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.models import arithmetic
from sightline.models.arithmetic import Row
from sightline.models.googlenet import AUXILIARY
from sightline.models.network import Network
from sightline.models.plan import Plan, Shape, by
from sightline.models.weights import differs, misfit

COUNTER = "num_batches_tracked"
"""A batch norm's count of batches, which files older than PyTorch 0.4.1 do not have."""


@dataclass(frozen=True)
class Fitted:
    """What a network begins with.

    Attributes:
        state: a tensor for every name of its ``state_dict``.
        fresh: the parameters among them that did not come with the weights.
        changes: sentences on what is new, adapted or left out.
    """

    state: dict[str, Tensor]
    fresh: frozenset[str]
    changes: tuple[str, ...]


def fitted(
    network: Network,
    weights: Mapping[str, Tensor],
    name: str,
    *,
    classes: Sequence[str] = (),
    their_classes: Sequence[str] = (),
    their_plan: Plan | None = None,
) -> Fitted:
    """Fit weights to a network, which itself is left as it is.

    Args:
        network: with fresh weights, of which those of new heads are kept.
        weights: tensors by the names the network has for them.
        name: where they are from, for messages.
        classes: what the network's logits stand for.
        their_classes: what the logits of the weights stand for; empty: nobody knows. The head is kept if these are
            the same classes, whatever their order.
        their_plan: of the network the weights are from, for the sizes of its maps; None: they are taken to be square.

    Raises:
        ModelError: names are missing or unknown, a shape cannot be brought over, values are no finite numbers, or
            nothing of the weights would be used.
    """
    plan, own = network.plan, network.state_dict()
    rows, theirs = _rows(plan), _rows(their_plan) if their_plan else None
    head = plan.stages[-1][1]
    same = bool(their_classes) and set(classes) == set(their_classes)
    heads = (*([] if same else [f"{head}."]), *(f"{side}." for side in AUXILIARY.values()))
    changes: list[str] = []
    faults: list[str] = []
    state: dict[str, Tensor] = {}
    fresh: set[str] = set()
    for key, ours in own.items():
        given = weights.get(key)
        if key.startswith(heads):
            fresh.add(key)
        elif given is not None:
            state[key], changed = _brought_over(key, given, ours, rows, theirs)
            changes += [changed] if changed else []
            faults += [differs(key, given, ours)] if state[key].shape != ours.shape else _unsound(key, given, ours)
        elif not key.endswith(COUNTER):
            faults.append(f"'{key}' is missing")
    beside = [key for key in weights if key not in own]
    faults += [f"'{key}' is unknown to the network" for key in beside if not key.startswith(heads)]
    if faults or not any(key in state for key, _ in network.named_parameters()):
        raise misfit(name, f"'{plan.name}'", faults or ["nothing of them would be used"], _hint(plan))
    if same and list(classes) != list(their_classes):
        order = [list(their_classes).index(one) for one in classes]
        state |= {key: value[order] for key, value in state.items() if key.startswith(f"{head}.")}
    if any(key.endswith(COUNTER) and key not in weights for key in own):
        changes.append("the file has no counts of batches for its batch norms; they start at 0")
    if any(key.startswith(tuple(f"{side}." for side in AUXILIARY.values())) for key in beside):
        changes.append("the auxiliary heads in the file are left out: this network has none")
    changes.append(_on_the_head(same, weights, head, own, their_classes))
    state = {key: state.get(key, ours).to(ours.dtype) for key, ours in own.items()}
    return Fitted(state, frozenset(fresh & dict(network.named_parameters()).keys()), tuple(changes))


def _on_the_head(
    same: bool, weights: Mapping[str, Tensor], head: str, own: Mapping[str, Tensor], their_classes: Sequence[str]
) -> str:
    count = len(own[f"{head}.weight"])
    if same:
        return f"the head is kept: it knows these {count} classes"
    given = weights.get(f"{head}.weight")
    before = len(their_classes) or (len(given) if given is not None else 0)
    return f"the head is new, for {count} classes" + (f"; the weights were for {before} others" if before else "")


def _brought_over(
    key: str, given: Tensor, ours: Tensor, rows: Mapping[str, Row], theirs: Mapping[str, Row] | None
) -> tuple[Tensor, str]:
    """Give the tensor in the network's shape, as far as that can be done, and say what was changed."""
    place, kind = key.rpartition(".")[::2]
    if given.shape == ours.shape or kind != "weight" or place not in rows or given.ndim != ours.ndim:
        return given, ""
    row, first = rows[place], next(name for name, row in rows.items() if row.kind in ("conv", "dense"))
    if row.kind == "conv" and place == first and given.shape[2:] == ours.shape[2:] and len(given) == len(ours):
        return _channels(given, ours.shape[1])
    if row.kind == "dense" and len(given) == len(ours):
        maps = _flattened(rows, place)
        before = _flattened(theirs, place) if theirs else _square(given.shape[1], maps)
        return _regridded(place, given, maps, before, first=place == first)
    if row.kind == "positions" and given.shape[::2] == ours.shape[::2]:
        grid = rows[first].shape_out[1:]
        before = theirs[first].shape_out[1:] if theirs else _square(given.shape[1], (1, *grid))[1:]
        return _interpolated(given, before, grid)
    return given, ""


def _channels(given: Tensor, channels: int) -> tuple[Tensor, str]:
    """Let the first kernels read another number of channels: their sum for one, else in turn and weaker."""
    before = given.shape[1]
    if channels == 1:
        return given.sum(1, keepdim=True), f"the first kernels are summed over their {before} channels: images are grey"
    turn = [channel % before for channel in range(channels)]
    return given[:, turn] * (before / channels), (
        f"the first kernels are repeated from {before} to {channels} channels, times {before}/{channels}"
    )


def _regridded(place: str, given: Tensor, maps: Shape, before: Shape, *, first: bool) -> tuple[Tensor, str]:
    """Let a dense layer read maps (C, *positions) of another size, as if they were pooled to the old one."""
    if len(maps) != len(before) or len(maps) < 2 or prod(before) != given.shape[1]:
        return given, ""
    weight, told = given.reshape(-1, *before).float(), []
    if maps[0] != before[0]:
        if not first:
            return given, ""
        weight, sentence = _channels(weight, maps[0])
        told.append(sentence)
    for axis, (new, old) in enumerate(zip(maps[1:], before[1:], strict=True), 2):
        weight = torch.tensordot(weight, pooling(new, old), ([axis], [0])).movedim(-1, axis)
    if maps[1:] != before[1:]:
        told.append(f"'{place}' reads a map of {by(maps[1:])} as if it were pooled to the {by(before[1:])} it knows")
    return weight.reshape(len(given), -1), "; ".join(told)


def pooling(new: int, old: int) -> Tensor:
    """Give the matrix (old, new) of adaptive average pooling from ``new`` positions to ``old``; rows sum to 1."""
    return F.adaptive_avg_pool1d(torch.eye(new)[:, None], old)[:, 0].T


def _interpolated(given: Tensor, before: Shape, grid: Shape) -> tuple[Tensor, str]:
    """Give the positions (1, tokens, features) of another grid of patches (Dosovitskiy et al. 2021, 3.2)."""
    if len(before) != len(grid) or not grid or prod(before) != given.shape[1]:
        return given, ""
    maps = given.float().movedim(1, 2).reshape(1, -1, *before)
    mode = {1: "linear", 2: "bicubic", 3: "trilinear"}[len(grid)]
    moved = F.interpolate(maps, size=grid, mode=mode, align_corners=False)
    return moved.flatten(2).movedim(2, 1), f"the positions are interpolated from {by(before)} to {by(grid)} patches"


def _flattened(rows: Mapping[str, Row], place: str) -> Shape:
    """Give the maps (C, *positions) that a dense layer reads flattened; nothing if it reads something else."""
    maps: Shape = ()
    for name, row in rows.items():
        if name == place:
            return maps
        if row.kind == "flatten":
            maps = row.shape_in
        elif row.kind in ("dense", "conv"):
            maps = ()
    return ()


def _square(count: int, maps: Shape) -> Shape:
    """Guess maps with as many channels and axes as ``maps`` and the same side everywhere; nothing if there are none."""
    axes = len(maps) - 1
    side = round((count / maps[0]) ** (1 / axes)) if axes > 0 else 0
    return (maps[0], *(side,) * axes) if side and maps[0] * side**axes == count else ()


def _unsound(key: str, given: Tensor, ours: Tensor) -> list[str]:
    if given.is_floating_point() != ours.is_floating_point():
        return [f"'{key}' is {given.dtype} in the file and {ours.dtype} in the network"]
    return [] if bool(torch.isfinite(given).all()) else [f"'{key}' holds NaN or infinite values"]


def _rows(plan: Plan) -> dict[str, Row]:
    return {row.name: row for row in arithmetic.table(plan)}


def _hint(plan: Plan) -> str:
    return (
        f"Use weights of '{plan.name}' with the same options (width, depth, norm, ...), or leave image_size out, to "
        "have that of the weights."
    )
