"""Rules about the data behind the numbers: label noise, leaks, a validation part too small or of another kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.diagnosis import intervals
from sightline.diagnosis.limits import LIMITS, Limits
from sightline.diagnosis.measures import Measures
from sightline.diagnosis.terms import found, listed
from sightline.finding import Finding

EASY = 0.65
"""Share of the images whose label all the others tell, from which on classes overlap little."""
WIDE = 0.25
"""Width of an interval of the share of wrong labels above which it says too little."""

LEAKS = ("data/duplicate-across-splits",)
"""Findings about the data that mean: validation or test images were trained on."""


def label_noise(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find labels that are contradicted: by a network that never saw the images, or by all the other images."""
    by_network, by_others = _by_network(m, limits), _by_others(m, limits)
    told = by_others or by_network
    if told is None:
        return None
    if by_others:
        grounds = (
            f"of {told['images']} training and validation images, each judged by all the others without any network, "
            "more are called by another class than overlapping classes explain"
        )
    else:
        grounds = "the network has not seen them, and is as sure of another class as it is of right ones"
    return found(
        "data/label-noise",
        "warning",
        f"about {told['value']:.0%} of the {'' if by_others else 'validation '}labels are in doubt (95 % interval "
        f"{told['low']:.0%} to {told['high']:.0%}): {grounds}.",
        "sure" if by_network and by_others else "likely",
        share={name: told[name] for name in ("value", "low", "high")},
        by="images" if by_others else "network",
        threshold=limits.noise,
    )


def _by_network(m: Measures, limits: Limits) -> Mapping[str, Any] | None:
    """Give the estimate from the network's answers, where it is above the limit and all images do not speak against it.

    A network is one of many that the same images could have made; the images speak for all of them.
    """
    told, others = m.after("label_noise"), m.after("labels")
    if not told or told["low"] is None or told["low"] <= limits.noise or not _knows(m):
        return None
    return None if others and others["sure"]["high"] < told["low"] else told


def _by_others(m: Measures, limits: Limits) -> Mapping[str, Any] | None:
    """Give the estimate from all images together, where both ways to make it see wrong labels of every kind.

    Labels that are wrong between some pairs of classes only are not told, as classes that look alike do the same; of
    two classes there is one pair. Where only the sure way sees any, either the classes have to be easy to tell, or the
    network, which judges images that it never saw, has to see some, too.
    """
    told = m.after("labels")
    if not told:
        return None
    sure, network = told["sure"], m.after("label_noise")
    clear = {"even", "pairs"} if m.of.classes == 2 else {"even"}
    narrow = sure["low"] > limits.noise and sure["high"] - sure["low"] <= WIDE
    if {told["kind"], sure["kind"]} <= clear and told["low"] > 0 and narrow:
        return told
    if sure["kind"] != "even" or told["kind"] not in clear | {"none"}:
        return None
    easy = narrow and told["accuracy"] > EASY
    seen = network is not None and (network["low"] or 0.0) > limits.noise / 2 and _knows(m)
    return {**sure, "images": told["images"]} if easy or (seen and sure["low"] > limits.noise / 2) else None


def leak(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Repeat the finding that images of the validation or test part were trained on, for it changes the verdict."""
    told = [finding for finding in m.of.found if finding.get("code") in LEAKS]
    if not told:
        return None
    return found("data/leak", "warning", str(told[0]["message"]), **dict(told[0].get("evidence", {})))


def validation_small(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Say how little a small validation part can tell apart."""
    n = m.of.number
    if n is None or n >= limits.few:
        return None
    accuracy = intervals.share(m.accuracy.value if m.accuracy else 0.5, n)
    assert accuracy.low is not None
    assert accuracy.high is not None
    return found(
        "data/validation-small",
        "note" if n >= 30 else "warning",
        f"with {n} validation images an accuracy of {accuracy.value:.0%} may be anything from {accuracy.low:.0%} to "
        f"{accuracy.high:.0%}.",
        images=n,
        accuracy=accuracy.as_dict(),
        threshold=limits.few,
    )


def validation_differs(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Find validation images that look otherwise than training images, or whose labels mean or are something else."""
    domain, meaning, shares = (m.after(name) or {} for name in ("domain", "meaning", "class_shares"))
    grounds = []
    if domain.get("low") is not None and domain["low"] > limits.shift:
        grounds.append(
            f"a simple classifier tells validation from training images (area under the curve {domain['value']:.2f}, "
            f"95 % interval {domain['low']:.2f} to {domain['high']:.2f}; 0.5 would be chance)"
        )
    if meaning.get("low") is not None and meaning["low"] > limits.meaning:
        grounds.append(
            f"their nearest training images name {meaning['train']:.0%} of training images rightly and "
            f"{meaning['valid']:.0%} of validation images ({100 * meaning['value']:.0f} points less, 95 % interval "
            f"{100 * meaning['low']:.0f} to {100 * meaning['high']:.0f})"
        )
    if shares.get("differs"):
        grounds.append(
            f"classes have other shares: '{shares['worst']}' is {shares['train']:.0%} of training and "
            f"{shares['valid']:.0%} of validation images"
        )
    if not grounds:
        return None
    return found(
        "data/validation-differs",
        "warning",
        f"{listed(grounds)}.",
        domain=dict(domain) or None,
        meaning=dict(meaning) or None,
        shares=dict(shares) or None,
        threshold=limits.shift,
    )


def miscalibrated(m: Measures, limits: Limits = LIMITS) -> Finding | None:
    """Note confidence that cannot be believed, beyond what chance would show."""
    told = m.after("calibration")
    if not told or told["low"] is None or told["low"] <= 0.05 or not _knows(m):
        return None
    return found(
        "fit/miscalibrated",
        "note",
        f"confidence and share right differ by {100 * told['value']:.0f} points on validation images (95 % interval "
        f"{100 * told['low']:.0f} to {100 * told['high']:.0f}); a temperature of {told['temperature']:.2f} mends it.",
        error={name: told[name] for name in ("value", "low", "high")},
        temperature=told["temperature"],
    )


def _knows(m: Measures) -> bool:
    """Say whether the network has learnt enough for its answers to mean something."""
    return m.level is not None and m.level < 0.7


RULES = (leak, label_noise, validation_differs, validation_small, miscalibrated)
"""The rules of this file, gravest first."""
