"""Weights in safetensors files <-> a network, checked before anything is changed."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sightline.errors import ModelError


def read_weights(model: nn.Module, path: Path) -> None:
    """Load weights into a network; on any fault the network is as it was.

    Args:
        model: takes the weights, by name.
        path: a safetensors file.

    Raises:
        ModelError: the file is missing or damaged, or its names or shapes are not the network's.
    """
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise ModelError(f"weights file '{path}' does not exist.", "Check the path.") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"weights file '{path}' is no whole safetensors file: {error}.", "Copy it again, or train again."
        ) from None
    fit(model, weights, str(path))


def fit(model: nn.Module, weights: dict[str, torch.Tensor], name: str) -> None:
    """Copy named tensors into a network, all or none.

    Args:
        model: takes the weights.
        weights: one tensor for every parameter and buffer, by its dotted name.
        name: where they are from, for the message.

    Raises:
        ModelError: names are missing or unknown, or shapes differ; the network is then unchanged.
    """
    own = model.state_dict()
    faults = [f"'{key}' is missing" for key in own.keys() - weights.keys()]
    faults += [f"'{key}' is unknown to the network" for key in weights.keys() - own.keys()]
    faults += [
        f"'{key}' is {tuple(weights[key].shape)} in the file and {tuple(own[key].shape)} in the network"
        for key in own.keys() & weights.keys()
        if own[key].shape != weights[key].shape
    ]
    if faults:
        shown = "; ".join(sorted(faults)[:3])
        raise ModelError(
            f"the weights in '{name}' do not fit {type(model).__name__}: {shown}"
            f"{f' (and {len(faults) - 3} more)' if len(faults) > 3 else ''}.",
            "Use the network, options and classes that the weights were trained with.",
        )
    model.load_state_dict(weights)
