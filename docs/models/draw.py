"""Plans of networks -> the drawings and tables of the cards in this folder, so that they never say anything else.

Run it after a change: ``python docs/models/draw.py``. A test compares. What is measured is in ``speed.json``, which
``benches/models.py`` writes; see ``README.md`` here. The prose of the cards is written by hand, around
``<!-- made: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sightline.models import arithmetic, googlenet, lenet, zoo
from sightline.models.plan import Conv, Group, Layer, Plan, Pool, Shape, chain, each
from sightline.reports import block, network
from sightline.reports.network import amount
from sightline.reports.svg import Svg, number, tag, text, width

FOLDER = Path(__file__).parent

FAMILIES: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "mlp": (("logistic", {}), ("mlp", {})),
    "lenet": (("lenet5", {}), ("lenet5", {"connections": "full"})),
    "alexnet": (("alexnet", {}), ("alexnet", {"variant": "public"})),
    "vgg": tuple((name, {}) for name in zoo.ZOO if name.startswith("vgg")),
    "googlenet": (
        ("googlenet", {}),
        ("googlenet", {"auxiliary": True}),
        ("googlenet", {"variant": "public"}),
    ),
    "resnet": tuple((name, {}) for name in zoo.ZOO if name.startswith(("resnet", "plain"))),
    "senet": tuple((name, {}) for name in zoo.ZOO if name.startswith("se")),
    "cnn": (("cnn", {}), ("cnn", {"se": 16})),
    "fastnet": (("fastnet", {}),),
    "bigru": (("bigru", {}), ("bigru", {"read": "patches"})),
    "transformer": (("transformer", {}),),
}
"""Card -> its networks, with options; every name of the zoo stands in one card."""

PUBLISHED = {
    "lenet5": "60,000",
    "alexnet": "60 M",
    "alexnet variant=public": "61,100,840 (torchvision)",
    "vgg11": "133 M",
    "vgg13": "133 M",
    "vgg16": "138 M",
    "vgg19": "144 M",
    "googlenet": "6.8 M, summed over table 1",
    "googlenet variant=public": "6,624,904 (torchvision)",
    "resnet18": "1.8 G multiply-adds",
    "resnet34": "3.6 G multiply-adds",
    "resnet50": "3.8 G multiply-adds",
    "resnet101": "7.6 G multiply-adds",
    "resnet152": "11.3 G multiply-adds",
    "resnet20": "0.27 M",
    "resnet32": "0.46 M",
    "resnet44": "0.66 M",
    "resnet56": "0.85 M",
    "resnet110": "1.7 M",
    "plain18": "1.8 G multiply-adds",
    "plain34": "3.6 G multiply-adds",
    "se_resnet50": "28.1 M; 3.87 G multiply-adds",
    "senet154": "115.1 M (timm)",
}
"""What the papers say (or whom the brackets name): parameters, unless it says otherwise."""

SIDES = ((28, 3), (100, 3), (200, 3), (400, 3))
"""Maps of the lecture's comparison, and the kernel that does the same work."""


def part(name: str, where: str, **options: Any) -> tuple[Layer, Shape]:
    """Find a part of a network by its dotted name, and the shape that reaches it."""
    plan = zoo.plan_for(name, **options)
    layer: Layer = plan.body
    shape = plan.shape
    for step in where.split("."):
        assert isinstance(layer, Group)
        for found, child in layer.parts:
            if found == step:
                layer = child
                break
            shape = child.out(shape)
    return layer, shape


def whole(name: str, **options: Any) -> Callable[[], Svg]:
    """Give what draws a whole network."""
    return lambda: network.draw(zoo.plan_for(name, **options))


def inside(name: str, where: str, title: str) -> Callable[[], Svg]:
    """Give what draws a part of a network."""
    return lambda: block.draw(*part(name, where), title)


def bare_module() -> Svg:
    """Draw the inception module that would be without its bottlenecks (figure 2a)."""
    module, shape = part("googlenet", "inception3a")
    assert isinstance(module, Group)
    kept = tuple((name, _without(branch)) for name, branch in module.parts)
    return block.draw(type(module)(kept), shape, "The same module without its 1×1 bottlenecks")


def _without(branch: Layer) -> Layer:
    """Leave the bottleneck before a kernel, or the projection after the pool, out of a branch."""
    assert isinstance(branch, Group)
    first, *others = branch.parts
    if isinstance(first[1], Pool):
        return chain(first)
    return chain(*others) if isinstance(first[1], Group) else branch


def connections() -> Svg:
    """Draw LeNet's table I: which maps of S2 each map of C3 sees."""
    cell, left, top = 22.0, 150.0, 56.0
    parts = [text(0, 13, "Which of the 6 maps of S2 each of the 16 maps of C3 sees", kind="strong")]
    for column, seen in enumerate(lenet.CONNECTIONS):
        x = left + column * cell
        parts.append(text(x + cell / 2, top - 8, str(column), anchor="middle"))
        for row in range(6):
            kind = "right" if row in seen else "cell"
            size = {"width": cell - 3, "height": cell - 3}
            parts.append(tag("rect", x=x + 1.5, y=top + row * cell + 1.5, rx=2, kind=kind, **size))
    parts.append(text(left - 10, top - 8, "map of C3", anchor="end"))
    for row in range(6):
        parts.append(text(left - 10, top + row * cell + 15, f"map {row} of S2", anchor="end"))
    count = sum(map(len, lenet.CONNECTIONS))
    told = f"{count} kernels of 5×5 in place of {6 * 16}"
    parts.append(text(left, top + 6 * cell + 20, told))
    return Svg(left + 16 * cell + 4, top + 6 * cell + 28, f"Table I of LeNet-5: {told}.", "".join(parts))


def fields() -> Svg:
    """Draw what a unit sees: after two 3-wide layers, and after the same with a pool of 2 between."""
    plain = _field("two layers, each 3 wide", (("3 wide", Conv(3)), ("3 wide", Conv(3))))
    pooled = _field("the first with stride 2", (("3 wide, stride 2", Conv(3, stride=2)), ("3 wide", Conv(3))))
    gap = 60.0
    body = plain[0] + tag("g", pooled[0], transform=f"translate({number(plain[1] + gap)} 0)")
    label = "What one unit sees: 5 positions after two layers 3 wide, 7 if the first has stride 2."
    return Svg(plain[1] + gap + pooled[1], plain[2], label, body)


def _field(title: str, layers: tuple[tuple[str, Conv], ...]) -> tuple[str, float, float]:
    """Draw a signal of 11 positions, and above it row by row what comes of it; lit is what the middle one sees."""
    cell, left, high = 24.0, 118.0, 46.0
    sizes, offsets = [11], [0.0]
    for _, layer in layers:
        (kernel,), (stride,) = each(layer.kernel, 1), each(layer.stride, 1)
        sizes.append((sizes[-1] - kernel) // stride + 1)
        offsets.append(offsets[-1] + (kernel - 1) / 2 * _jump(layers, len(offsets) - 1))
    rows = len(sizes)
    middle = sizes[-1] // 2
    lit = [set[int]() for _ in sizes]
    lit[-1] = {middle}
    parts = [text(0, 13, title[:1].upper() + title[1:], kind="strong")]
    for row in range(rows - 1, -1, -1):
        y = 30 + (rows - 1 - row) * high
        jump = _jump(layers, row)
        if row < rows - 1:
            (kernel,), (stride,) = each(layers[row][1].kernel, 1), each(layers[row][1].stride, 1)
            above = _jump(layers, row + 1)
            for unit in lit[row + 1]:
                seen = range(unit * stride, unit * stride + kernel)
                lit[row] |= set(seen)
                for below in seen:
                    start = left + (offsets[row + 1] + unit * above + 0.5) * cell
                    end = left + (offsets[row] + below * jump + 0.5) * cell
                    parts.append(tag("line", x1=start, y1=y - high + 18, x2=end, y2=y, kind="mark"))
        for unit in range(sizes[row]):
            x = left + (offsets[row] + unit * jump) * cell
            kind = "right" if unit in lit[row] else "cell"
            parts.append(tag("rect", x=x + 2, y=y, width=cell - 4, height=18, rx=2, kind=kind))
        name = layers[row - 1][0] if row else f"input: {len(lit[0])} seen"
        parts.append(text(left - 12, y + 13, name, anchor="end"))
    return "".join(parts), left + sizes[0] * cell, 30 + (rows - 1) * high + 24


def _jump(layers: tuple[tuple[str, Conv], ...], row: int) -> int:
    jump = 1
    for _, layer in layers[:row]:
        jump *= each(layer.stride, 1)[0]
    return jump


def dense_against() -> Svg:
    """Draw the weights from a map to one of the same size: dense, and one 3x3 kernel, on a scale of powers of ten."""
    rows = [(f"{side}×{side}", dense_row(side).dense, dense_row(side).parameters) for side, _ in SIDES]
    left, across, high = 92.0, 560.0, 34.0
    most = 11.0
    parts = [text(0, 13, "Weights from one map to another of the same size", kind="strong")]
    bottom = 34 + len(rows) * high
    for power in range(0, 12, 2):
        x = left + power / most * across
        parts.append(tag("line", x1=x, x2=x, y1=28, y2=bottom, kind="grid"))
        shown = "1" if not power else amount(10**power) if power < 12 else ""
        parts.append(text(x, bottom + 17, shown, anchor="middle"))
    for i, (name, dense, kernel) in enumerate(rows):
        y = 34 + i * high
        parts.append(text(left - 10, y + 16, name, anchor="end"))
        for value, kind, down in ((dense, "wrong", 2.0), (kernel, "right", 15.0)):
            wide = math.log10(value) / most * across
            parts.append(tag("rect", x=left, y=y + down, width=wide, height=11, kind=kind))
        wide = math.log10(dense) / most * across
        parts.append(text(left + wide + 6, y + 12, f"{dense:,} dense"))
        parts.append(text(left + math.log10(kernel) / most * across + 6, y + 25, f"{kernel}: one 3×3 kernel"))
    wide = left + across + width("25,600,000,000 dense") - 16
    label = "; ".join(f"{name}: {dense:,} dense, {kernel} as a kernel" for name, dense, kernel in rows)
    return Svg(wide, bottom + 26, f"Weights, on a scale of powers of ten. {label}.", "".join(parts))


def dense_row(side: int) -> arithmetic.Row:
    """Work out a 3x3 convolution from one map to one of the same size."""
    return arithmetic.table(Plan("one kernel", chain(("conv", Conv(3, maps=1, bias=False))), (1, side, side), ()))[0]


FIGURES: dict[str, Callable[[], Svg]] = {
    "mlp": whole("mlp"),
    "dense": dense_against,
    "fields": fields,
    "lenet": whole("lenet5"),
    "lenet-table": connections,
    "alexnet": whole("alexnet"),
    "vgg": whole("vgg16"),
    "googlenet": whole("googlenet", auxiliary=True),
    "googlenet-module": inside("googlenet", "inception3a", "An inception module (3a): four branches see the same maps"),
    "googlenet-naive": bare_module,
    "resnet": whole("resnet34"),
    "resnet-small": whole("resnet20"),
    "resnet-plain": whole("plain20"),
    "resnet-basic": inside("resnet34", "layer1.1", "A basic block (resnet18, resnet34)"),
    "resnet-bottleneck": inside("resnet50", "layer1.1", "A bottleneck block (resnet50 and deeper)"),
    "resnet-projection": inside("resnet34", "layer2.0", "Where the shape changes, the shortcut projects (option B)"),
    "senet": whole("se_resnet50"),
    "senet-block": inside("se_resnet18", "layer2.1", "A basic block with squeeze-and-excitation (se_resnet18)"),
    "cnn": whole("cnn"),
    "fastnet": whole("fastnet"),
    "cnn-block": inside("cnn", "convolutions.1", "A ConvBlock"),
    "bigru": whole("bigru"),
    "transformer": whole("transformer"),
    "transformer-block": inside(
        "transformer", "blocks.0", "An encoder block: the tokens look at each other, then each at itself"
    ),
}
"""Name of a drawing -> what draws it."""


def title(name: str, options: dict[str, Any]) -> str:
    """Write a network with its options as on the command line."""
    return " ".join(
        [name, *(f"{key}={str(value).lower() if value is True else value}" for key, value in options.items())]
    )


def numbers(card: str) -> str:
    """Tabulate a card's networks: what follows from the plan, what the paper says, what was measured here."""
    head = "| network | input | parameters | multiply-adds | published |\n|---|---|---:|---:|---|"
    rows = []
    for name, options in FAMILIES[card]:
        entry = zoo.entry(name)
        layers = zoo.table(name, **options)
        given = "×".join(map(str, entry.native))
        told = PUBLISHED.get(title(name, options), "")
        counts = f"{arithmetic.parameters(layers):,} | {amount(arithmetic.multiply_adds(layers))}"
        rows.append(f"| `{title(name, options)}` | {given} | {counts} | {told} |")
    return "\n".join([head, *rows])


def measured() -> list[dict[str, Any]]:
    """Read what ``benches/models.py`` measured, one entry an input."""
    path = FOLDER / "speed.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def cost(card: str) -> str:
    """Tabulate the images a second of a card's networks, with their range over the rounds."""
    names = list(dict.fromkeys(name for name, _ in FAMILIES[card]))
    results = measured()
    head = "| network |" + "".join(
        f" training, {result['input']} | prediction, {result['input']} |" for result in results
    )
    rows = [head, "|---|" + "---:|---:|" * len(results)]
    for name in names:
        cells = []
        for result in results:
            found = next((row for row in result["networks"] if row["name"] == name), None)
            for kind in ("train", "predict"):
                cells.append(speed(found, kind) if found else "")
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*rows, "", conditions(results)])


def speed(row: dict[str, Any], kind: str) -> str:
    """Write images a second and their range."""
    low, high = row[f"{kind}_range"]
    value = row[f"{kind}_images_per_second"]
    places = 0 if value >= 20 else 1
    return f"{value:,.{places}f} ({low:,.{places}f} to {high:,.{places}f})"


def conditions(results: list[dict[str, Any]]) -> str:
    """Say what the figures were measured with."""
    if not results:
        return "Not measured yet."
    first = results[0]
    batches = ", ".join(f"batches of {result['batch']} at {result['input']}" for result in results)
    clock = "seconds of the processor" if first["cpu"] else "seconds of the clock"
    return (
        f"Images a second with {first['torch_threads']} thread of an {first['processor']}, torch {first['torch']}, "
        f"{'fp32' if first['fp32'] else 'bf16'}, {batches}, 10 classes: forward, backward and update, no data; medians "
        f"of {first['rounds']} rounds of one step each (range), in {clock}."
    )


def dense_table() -> str:
    """Tabulate the lecture's comparison."""
    rows = ["| from and to | dense | 3×3 kernel |", "|---|---:|---:|"]
    for side, _ in SIDES:
        row = dense_row(side)
        rows.append(f"| {side}×{side} → {side}×{side} | {row.dense:,} | {row.parameters:,} |")
    return "\n".join(rows)


def bottleneck_table() -> str:
    """Tabulate the multiply-adds of an inception module's branches with and without the 1x1 before them."""
    row, shape = googlenet.TABLE["3a"], (192, 28, 28)
    pairs = (("3×3", 3, row.before_three, row.three), ("5×5", 5, row.before_five, row.five))
    lines = ["| branch of module 3a | straight | through the bottleneck | saved |", "|---|---:|---:|---:|"]
    for name, kernel, between, maps in pairs:
        straight = Conv(kernel, maps=maps).multiply_adds(shape)
        first = Conv(1, maps=between)
        through = first.multiply_adds(shape) + Conv(kernel, maps=maps).multiply_adds(first.out(shape))
        saved = f"{1 - through / straight:.0%}"
        lines.append(f"| {shape[0]} → {maps} maps, {name} | {straight:,} | {through:,} | {saved} |")
    return "\n".join(lines)


def stacked_table() -> str:
    """Tabulate what one large kernel costs, and the stack of 3x3 kernels that sees as much."""
    maps = 256
    lines = ["| sees | one layer | stack of 3×3 | weights, 256 maps in and out |", "|---|---|---|---:|"]
    for kernel in (5, 7):
        count = (kernel - 1) // 2
        one = Conv(kernel, maps=maps, bias=False).parameters((maps, 28, 28))
        several = count * Conv(3, maps=maps, bias=False).parameters((maps, 28, 28))
        lines.append(f"| {kernel}×{kernel} | one {kernel}×{kernel} | {count} layers | {one:,} against {several:,} |")
    return "\n".join(lines)


def index() -> str:
    """Tabulate every network of the zoo with its card."""
    of = {name: card for card, networks in FAMILIES.items() for name, _ in networks}
    lines = ["| network | year | what was new | parameters | multiply-adds |", "|---|---:|---|---:|---:|"]
    for name, entry in zoo.ZOO.items():
        layers = zoo.table(name)
        counts = f"{amount(arithmetic.parameters(layers))} | {amount(arithmetic.multiply_adds(layers))}"
        lines.append(f"| [`{name}`]({of[name]}.md) | {entry.year} | {entry.idea} | {counts} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "index": index,
    "dense": dense_table,
    "bottleneck": bottleneck_table,
    "stacked": stacked_table,
    **{f"numbers of {card}": (lambda card=card: numbers(card)) for card in FAMILIES},  # type: ignore[misc]
    **{f"cost of {card}": (lambda card=card: cost(card)) for card in FAMILIES},  # type: ignore[misc]
}
"""Name of a table -> what makes it."""

MADE = re.compile(r"^<!-- made: (?P<name>.+?) -->\n(?P<table>.*?)^<!-- end -->$", re.M | re.S)


def filled(page: str) -> str:
    """Give a page with its tables made anew."""
    return MADE.sub(lambda m: f"<!-- made: {m['name']} -->\n\n{TABLES[m['name']]()}\n\n<!-- end -->", page)


def files() -> Iterator[tuple[Path, str]]:
    """Give every file that this script makes or fills, with what has to stand in it."""
    for name, drawn in FIGURES.items():
        yield FOLDER / f"{name}.svg", str(drawn())
    for page in sorted(FOLDER.glob("*.md")):
        yield page, filled(page.read_text(encoding="utf-8"))


def stale() -> list[str]:
    """Name the files that are not what they have to be."""
    return [path.name for path, wanted in files() if not path.is_file() or path.read_text(encoding="utf-8") != wanted]


if __name__ == "__main__":
    for path, wanted in files():
        path.write_text(wanted, encoding="utf-8")
