"""Weights in safetensors files <-> a network, checked before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sightline.errors import ModelError


def read_weights(model: nn.Module, path: Path) -> None:
    """Load weights into a network; on any fault the network is as it was.

    Args:
        model: takes the weights, by name.
        path: a safetensors file.

    Raises:
        ModelError: the file is missing or damaged, or its names or shapes are not the network's.
    """
    fit(model, read(path)[0], str(path))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors by name, on the processor, and the words about them in its header.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            # Copies, because the file is mapped into memory: some systems do not replace a file that is.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError(f"weights file '{path}' does not exist.", "Check the path.") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"weights file '{path}' is no whole safetensors file: {error}.", "Copy it again, or train again."
        ) from None


def fit(model: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
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
        differs(key, weights[key], own[key])
        for key in own.keys() & weights.keys()
        if own[key].shape != weights[key].shape
    ]
    if faults:
        raise misfit(name, type(model).__name__, faults)
    model.load_state_dict(weights)


def differs(key: str, theirs: Tensor, ours: Tensor) -> str:
    """Say that a tensor has another shape than the network's."""
    return f"'{key}' is {tuple(theirs.shape)} in the file and {tuple(ours.shape)} in the network"


def misfit(
    name: str,
    network: str,
    faults: Iterable[str],
    hint: str = "Use the network, options and classes that the weights were trained with.",
) -> ModelError:
    """Tell why weights do not fit a network: three faults, and how many more there are."""
    faults = sorted(faults)
    more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
    return ModelError(f"the weights in '{name}' do not fit {network}: {'; '.join(faults[:3])}{more}.", hint)
