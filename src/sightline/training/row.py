"""What an epoch found -> a row of the history, the same row for trackers, and a line for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sightline.errors import SettingsError, did_you_mean
from sightline.metrics import key, name
from sightline.progress import span
from sightline.training.scores import Scores


def build(
    epoch: int,
    train_loss: float,
    valid_loss: float,
    metrics: Mapping[str, float],
    steps: Mapping[str, float],
    probe: Scores | None,
) -> dict[str, float]:
    """Bring an epoch's numbers together; no clock is among them, so the same seed gives the same row.

    Args:
        epoch: its number, from 1.
        train_loss: mean over the training examples as they came, augmented and with dropout.
        valid_loss: mean over the validation examples.
        metrics: of the validation, by name.
        steps: what the steps left: ``lr``, ``step``, and ``penalty`` and ``grad_norm`` where there are.
        probe: of the fixed training examples, or None.

    Returns:
        ``epoch``, ``train_loss``, ``valid_loss``, ``probe_loss``, ``lr``, ``step``, ``valid_<metric>``,
        ``probe_<metric>``.
    """
    row = {"epoch": epoch, "train_loss": float(train_loss), "valid_loss": float(valid_loss)}
    row |= {"probe_loss": probe.loss} if probe else {}
    row |= {**steps, **{f"valid_{key(metric)}": float(value) for metric, value in metrics.items()}}
    return row | ({f"probe_{key(metric)}": value for metric, value in probe.metrics.items()} if probe else {})


def for_trackers(row: Mapping[str, float], metrics: Iterable[str]) -> dict[str, float]:
    """Call metrics by their names, ``valid_Accuracy`` for ``valid_accuracy``: trackers show them as mltrainer did."""
    names = {f"{part}_{key(metric)}": f"{part}_{metric}" for metric in metrics for part in ("valid", "probe")}
    return {names.get(column, column): value for column, value in row.items()}


def line(row: Mapping[str, float], metrics: Mapping[str, float], until: int, seconds: float, best: bool) -> str:
    """Say an epoch in one line."""
    shown = [f"epoch {row['epoch']}" + (f" of {until}" if until else "")]
    shown += [f"train {row['train_loss']:.4f}", f"valid {row['valid_loss']:.4f}"]
    shown += [f"{metric} {value:.4f}" for metric, value in metrics.items()]
    shown += [f"lr {row['lr']:.2g}"] if "lr" in row else []
    return "  ".join([*shown, span(seconds), *(["(best so far)"] if best else [])])


def lower_is_better(monitor: str, metrics: Iterable[Callable[..., Any]], probe: bool) -> bool:
    """Say which direction of a row's number is good; a plain function's is taken to be up.

    Args:
        monitor: a column.
        metrics: those that are measured.
        probe: whether there is a probe.

    Raises:
        SettingsError: no row will have that column.
    """
    known = {"valid_loss": True, "train_loss": True, **({"probe_loss": True} if probe else {})}
    for metric in metrics:
        for part in ("valid", "probe") if probe else ("valid",):
            known[f"{part}_{key(name(metric))}"] = not getattr(metric, "higher_is_better", True)
    if monitor not in known:
        raise SettingsError(
            f"'monitor' is '{monitor}', which no row of this training has.{did_you_mean(monitor, known)}",
            f"It has: {', '.join(known)}.",
        )
    return known[monitor]
