"""All pixels as one vector -> dense layers -> logits: the network f_n o s o ... o f_1 of any depth, as a plan."""

from __future__ import annotations

from sightline.models.plan import Chain, Dense, Flatten, Layer, Plan, Shape, chain
from sightline.models.style import Style, count


def mlp(
    name: str, shape: Shape, classes: int, style: Style, *, hidden: int | tuple[int, ...] = 128, depth: int = 2
) -> Plan:
    """Plan a multilayer perceptron.

    Args:
        name: its name, for messages.
        shape: the input, ``(channels, *positions)``, any number of axes.
        classes: length of the logits.
        style: norm (none), activation (relu), dropout (0, after every hidden layer) and width are followed.
        hidden: units of every hidden layer, or a tuple with the units of each.
        depth: hidden layers; 0 is logistic regression. A tuple ``hidden`` already says how many.
    """
    given = hidden if isinstance(hidden, tuple | list) else (hidden,) * count("depth", depth, low=0, high=1000)
    units = [count("hidden", unit) for unit in given]
    filled = style.filled()
    layers: list[tuple[str, Layer]] = []
    stages = []
    for i, unit in enumerate(units, 1):
        layers += [(f"dense{i}", Dense(filled.wide(unit), bias=filled.norm == "none")), *filled.normed(f"norm{i}")]
        layers += [*filled.act(f"act{i}"), *filled.drop(f"dropout{i}")]
        stages.append((f"hidden{i}", f"act{i}"))
    body = chain(("flatten", Flatten()), *Chain(tuple(layers)).parts, ("head", Dense(classes)))
    return Plan(name, body, shape, (*stages, ("head", "head")))


def logistic(name: str, shape: Shape, classes: int, style: Style) -> Plan:
    """Plan logistic regression: one dense layer from the pixels to the logits; dropout acts on the pixels."""
    body = chain(("flatten", Flatten()), *style.filled().drop(), ("head", Dense(classes)))
    return Plan(name, body, shape, (("head", "head"),))
