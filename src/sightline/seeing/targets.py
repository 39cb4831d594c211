"""Texts such as ``conv1:3``, ``conv1[4,5,3]``, ``conv1^2``, ``logit:cat`` -> objectives, and their sums."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sightline.errors import ModelError, SettingsError, did_you_mean
from sightline.seeing import objectives
from sightline.seeing.layers import Layers
from sightline.seeing.objectives import Objective

FORMS = (
    "Write conv1:3 (a unit, everywhere; or conv1[:,:,3]), conv1[4,5,3] (at column 4, row 5), conv1^2 (a whole layer, "
    "as DeepDream), logit:7 or logit:cat (a class; or pre_softmax[7]), probability:cat (or softmax[7]), conv1~1 (a "
    "random direction). They add up: 'conv1:3 + 0.5*conv1:4', 'conv1:3 - conv1:4', '-conv1:3'; spaces around + and -."
)
"""How a target is written."""


def target(text: str, known: Layers, classes: Sequence[str] = ()) -> Objective:
    """Read what is to be excited.

    Args:
        text: see ``FORMS``.
        known: the network's layers.
        classes: names of the classes, in the order of the logits.

    Raises:
        ModelError: it is not written like that, or there is no such layer or class.
    """
    whole: Objective | None = None
    for sign, part in _parts(text, classes):
        found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) ?\* ?(.+)", part)
        weight = sign * (float(found[1]) if found else 1.0)
        one = _atom(found[2] if found else part, known, classes) * weight
        whole = one if whole is None else whole + one
    assert whole is not None
    return whole


def wanted(
    texts: Sequence[str], known: Layers, classes: Sequence[str] = (), *, negative: bool = False, between: int = 0
) -> list[tuple[str, Objective]]:
    """Read several targets: each with a text that names it.

    Args:
        texts: see ``FORMS``.
        known: the network's layers.
        classes: names of the classes.
        negative: turn each round: what it likes least.
        between: above 0, so many steps from the first of two targets to the second, both included.

    Raises:
        ModelError: a target cannot be read.
        SettingsError: none is named; there are not two targets to go between, or fewer than three steps.
    """
    if not texts:
        raise SettingsError("no target is named that an image could be made for.", FORMS)
    read = [target(text, known, classes) for text in texts]
    if negative:
        texts, read = [f"-({text})" for text in texts], [-objective for objective in read]
    if not between:
        return list(zip(texts, read, strict=True))
    if len(texts) != 2 or between < 3:
        raise SettingsError(
            f"{between} steps between {len(texts)} targets are not possible.",
            "Give two targets, and three steps or more.",
        )
    shares = [step / (between - 1) for step in range(1, between - 1)]
    ways = [(f"{texts[0]} -> {texts[1]}: {share!r}", objectives.between(read[0], read[1], share)) for share in shares]
    return [(texts[0], read[0]), *ways, (texts[1], read[1])]


def _parts(text: str, classes: Sequence[str]) -> list[tuple[float, str]]:
    """Split a sum into signs and terms; names of classes may hold signs themselves."""
    text = text.strip()
    first, text = (-1.0, text[1:].strip()) if text.startswith("-") else (1.0, text)
    if any(text.partition(":")[2] == name for name in classes):
        return [(first, text)]
    pieces = re.split(r"\s+([+-])\s+", text)
    signs = [first, *(1.0 if sign == "+" else -1.0 for sign in pieces[1::2])]
    return list(zip(signs, pieces[::2], strict=True))


def _atom(text: str, known: Layers, classes: Sequence[str]) -> Objective:
    found = re.fullmatch(r"(logit|class|pre_softmax|probability|softmax)(?::(.+)|\[(\d+)\])", text)
    if found and text.split(":")[0] not in known:
        number = _class(found[2] or found[3], classes)
        name = classes[number] if number < len(classes) else ""
        raises = found[1] in ("probability", "softmax")
        return objectives.probability(number, name) if raises else objectives.logit(number, name)
    if found := re.fullmatch(r"(.+):(\d+)", text):
        place, unit = known.unit(text)
        return objectives.channel(place.name, unit)
    if found := re.fullmatch(r"(.+)\[([\d:, ]+)\](\^2)?", text):
        return _indexed(text, found[1], [part.strip() for part in found[2].split(",")], found[3] is not None, known)
    if found := re.fullmatch(r"(.+)~(\d+)", text):
        place = known[found[1]]
        return objectives.random_direction(place.name, place.units, int(found[2]))
    if text.endswith("^2"):
        return objectives.layer(known[text.removesuffix("^2")].name)
    if text in known:
        return objectives.layer(text)
    if not re.fullmatch(r"[\w.]+", text):
        raise ModelError(f"'{text}' names nothing that an image could be made for.", FORMS)
    known[text]  # says which layer was probably meant
    raise AssertionError


def _indexed(text: str, layer: str, index: list[str], squared: bool, known: Layers) -> Objective:
    """Read ``layer[x,y,z]``, where ``:`` stands for all of an axis."""
    place = known[layer]
    *at, unit = index
    if len(at) != len(place.positions) or "" in index:
        wanted = ",".join([*"xyw"[: len(place.positions)], "unit"])
        raise ModelError(f"'{text}' does not fit layer '{layer}'.", f"Write {layer}[{wanted}], : for all of an axis.")
    if unit == ":" and all(part == ":" for part in at):
        return objectives.layer(layer)
    if squared or unit == ":" or (":" in at and set(at) != {":"}):
        raise ModelError(f"'{text}' is no objective known here.", FORMS)
    if not at or set(at) == {":"}:
        return objectives.channel(layer, known.unit(f"{layer}:{unit}")[1])
    return objectives.neuron(layer, known.unit(f"{layer}:{unit}")[1], [int(part) for part in at])


def _class(name: str, classes: Sequence[str]) -> int:
    """Find a class by its name or number; a name wins."""
    if name in classes:
        return list(classes).index(name)
    if name.isdigit() and (not classes or int(name) < len(classes)):
        return int(name)
    raise ModelError(
        f"there is no class '{name}'.{did_you_mean(name, classes)}",
        f"There are: {', '.join(list(classes)[:20])}{' ...' if len(classes) > 20 else ''}."
        if classes
        else "Give its number.",
    )
