"""Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2014), as plans."""

from __future__ import annotations

from sightline.models.adapt import ends, fit, grid
from sightline.models.plan import Chain, Conv, Dense, Flatten, Grid, Plan, Shape, chain
from sightline.models.style import Parts, Style, count

# Table 1: the maps of every 3x3 convolution, block by block; a 2x2 pool with stride 2 ends each block
TABLE = {
    "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),  # A
    "vgg13": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),  # B
    "vgg16": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),  # D
    "vgg19": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),  # E
}
GRID = 7


def vgg(name: str, shape: Shape, classes: int, style: Style, *, hidden: int = 4096) -> Plan:
    """Plan a VGG network, with torchvision's names; ``vgg16_bn`` and its like have batch norm, as they have there.

    Args:
        name: a name of ``TABLE``, or one with ``_bn`` behind it.
        shape: the input, ``(channels, *positions)``, one to three axes.
        classes: length of the logits.
        style: norm (none, or batch for ``_bn``), activation (relu), pooling (max), dropout (0.5, twice) and the other
            shared options.
        hidden: units of the two dense layers.
    """
    filled = style.filled(norm="batch" if name.endswith("_bn") else "none", dropout=0.5)
    hidden = filled.wide(count("hidden", hidden))
    stages: list[tuple[str, Parts]] = []
    place = 0  # in torchvision's numbering; what torchvision does not have takes no number
    for block, row in enumerate(TABLE[name.removesuffix("_bn")], 1):
        parts: Parts = ()
        for maps in map(filled.wide, (*row, *(row[-1],) * filled.deep(len(row)))[: filled.deep(len(row))]):
            conv = Conv(3, maps=maps)
            names = (str(place), str(place + 1), str(place + (1 if filled.norm == "none" else 2)))
            parts += filled.conv(filled.first(conv) if place == 0 else conv, names, bias=True)
            parts += filled.excite(f"se{place}", maps)
            place = int(names[2]) + 1
        stages.append((f"block{block}", (*parts, (str(place), filled.pool(2, 2)))))
        place += 1
    kept, notes = fit(tuple(part for _, parts in stages for part in parts), shape, filled)
    cells, fewer = grid(kept, shape, GRID, filled)
    classifier = chain(
        ("0", Dense(hidden)),
        *filled.act("1"),
        *filled.drop("2"),
        ("3", Dense(hidden)),
        *filled.act("4"),
        *filled.drop("5"),
        ("6", Dense(classes)),
    )
    whole = chain(
        ("features", Chain(kept)), ("avgpool", Grid(cells)), ("flatten", Flatten()), ("classifier", classifier)
    )
    dense = (("fc6", "classifier.1"), ("fc7", "classifier.4"), ("head", "classifier.6"))
    return Plan(name, whole, shape, (*ends(stages, kept, "features"), *dense), (*notes, *fewer))
