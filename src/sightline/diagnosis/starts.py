"""Rules about the set-up: what was tried of the network as it began -> findings, most of them told early, too."""

from __future__ import annotations

import math

from sightline.diagnosis.faults import rated
from sightline.diagnosis.limits import LIMITS, Limits
from sightline.diagnosis.measures import Measures
from sightline.diagnosis.terms import found
from sightline.finding import Finding


def one_batch(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a network that could not learn sixteen images by heart with a usual learning rate."""
    batch = (m.after("one_batch") or {}).get("reference")
    if not batch or batch["verdict"] not in ("unmoved", "diverged") or (m.level is not None and m.level < 0.9):
        return None
    own = (m.after("one_batch") or {}).get("own")
    if own and 0 <= own["last"] < 0.9 * own["first"]:
        return None  # with its own rate it does learn something, and more than how many images each class has
    return found(
        "setup/one-batch",
        "error",
        f"in {batch['steps']} steps the loss on one batch of {batch['images']} images went from "
        f"{batch['first']:.3g} to {batch['last']:.3g} nats: network, loss or labels are not wired as they should be.",
        first=batch["first"],
        last=batch["last"],
        steps=batch["steps"],
    )


def ignores_input(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a network whose answers are the same without the image."""
    seen, batch = m.after("zero_input"), (m.after("one_batch") or {}).get("reference")
    if batch and batch["verdict"] not in ("unmoved", "diverged"):
        return None  # a last layer of zeros answers nothing at first, and learns
    if not seen or seen["spread"] > 1e-4 * max(seen["size"], 1e-12):
        return None
    return found(
        "setup/ignores-input",
        "error",
        "the untrained network's answers are the same for every image and for a black one.",
        spread=seen["spread"],
        size=seen["size"],
    )


def setup_rate(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find a learning rate that fails on one batch, where a usual one does not; forget it if the training went well."""
    batch = m.after("one_batch") or {}
    own, usual = batch.get("own"), batch.get("reference")
    if not own or not usual or usual["verdict"] not in ("fitted", "falling"):
        return None
    if own["verdict"] not in ("diverged", "unmoved") or (m.level is not None and m.level < limits.level):
        return None
    if own["verdict"] == "unmoved" and usual["verdict"] != "fitted":
        return None
    how = f"went from {own['first']:.3g} to {own['last']:.3g} nats" if own["last"] >= 0 else "became NaN or infinite"
    return found(
        "setup/rate",
        "warning",
        f"with this learning rate{rated(m)} the loss on one batch of {own['images']} images {how} in "
        f"{own['steps']} step{'s' * (own['steps'] != 1)}, although the network can learn it: the rate is too "
        f"{'high' if own['verdict'] == 'diverged' else 'low'}.",
        "likely",
        first=own["first"],
        last=own["last"],
        steps=own["steps"],
        lr=m.of.settings.get("lr"),
    )


def first_loss(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Compare the loss before the first step with ln K."""
    start = m.after("first_loss")
    if start is None or start["chance"] <= 0:
        return None
    ratio = start["loss"] / start["chance"]
    if ratio <= limits.first_loss and math.isfinite(ratio):
        return None
    never = m.finite and m.epochs > 2 and float(m.of.valid.min()) > start["chance"]
    return found(
        "setup/first-loss",
        "error" if never else "warning",
        f"before the first step the loss was {start['loss']:.3g} nats, {ratio:.1f} times that of guessing "
        f"({start['chance']:.3g}): the first weights are too large"
        + (f", and validation never cost less than {float(m.of.valid.min()):.3g}." if never else "."),
        loss=start["loss"],
        chance=start["chance"],
        threshold=limits.first_loss,
    )


def first_weights(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find first weights far larger than any scheme makes them, which a norm hides from the loss but not from steps."""
    start = m.after("first_weights")
    if not start or not start["scale"] > limits.first_weights:
        return None
    worst = dict(sorted(start["layers"].items(), key=lambda item: -item[1])[:5])
    return found(
        "setup/first-weights",
        "warning",
        f"before the first step the weights were {start['scale']:.1f} times as large as keeps a signal's size (the "
        f"median of {len(start['layers'])} layers; usual are 0.3 to 1.5): a step changes them that much less.",
        scale=start["scale"],
        layers=worst,
        threshold=limits.first_weights,
    )


def augmentation(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find augmentation after which even a simple classifier no longer recognises what it recognised before."""
    told = m.after("augmentation")
    if not told or not told["destroys"]:
        return None
    return found(
        "setup/augmentation",
        "warning",
        f"{told['name']} recognises {told['plain']:.0%} of unseen training images as they are and "
        f"{told['changed']:.0%} of them augmented; guessing gives {told['guess']:.0%}.",
        "likely",
        **{name: told[name] for name in ("plain", "changed", "guess")},
    )


RULES = (one_batch, ignores_input, setup_rate, first_loss, first_weights, augmentation)
"""The rules of this file, gravest first."""
