"""Drawings of networks: to scale, complete, their labels apart; drawings of blocks: every layer, every path."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sightline.cli import app
from sightline.errors import SettingsError
from sightline.models import arithmetic, zoo
from sightline.models.plan import Group, Layer, Residual, Shape
from sightline.reports import block, network
from sightline.reports.svg import Svg, width

SVG = "{http://www.w3.org/2000/svg}"


def parsed(picture: Svg) -> ElementTree.Element:
    return ElementTree.fromstring(str(picture))


def part(name: str, where: str) -> tuple[Layer, Shape]:
    """Find a part of a network by its dotted name, and the shape that it gets."""
    plan = zoo.plan_for(name)
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


def shortcuts(layer: Layer) -> int:
    inside = sum(shortcuts(child) for _, child in layer.parts) if isinstance(layer, Group) else 0
    return inside + isinstance(layer, Residual)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_every_network_can_be_drawn(name: str) -> None:
    plan = zoo.plan_for(name)
    picture = network.draw(plan)
    drawn = parsed(picture)
    texts = [element for element in drawn.iter(f"{SVG}text") if element.get("transform") is None]
    rows = arithmetic.table(plan)
    counts = network.amount(arithmetic.parameters(rows)), network.amount(arithmetic.multiply_adds(rows))
    assert texts[0].text is not None
    assert texts[0].text.endswith(f"{counts[0]} weights, {counts[1]} multiply-adds")
    arcs = [path for path in drawn.iter(f"{SVG}path") if "arc" in str(path.get("class"))]
    kinds = len({path.get("class") for path in arcs})  # each kind stands in the legend, too
    assert len(arcs) - kinds == shortcuts(plan.body)
    assert picture.width < (1000 if len(rows) < 300 else 1200)
    apart(drawn)


def apart(drawn: ElementTree.Element) -> None:
    """No two labels share a place, and none leaves the paper."""
    boxes = []
    for element in drawn.iter():
        moved = re.search(r"translate\(([\d.]+) ([\d.]+)\)", str(element.get("transform", "")))
        offset = (float(moved[1]), float(moved[2])) if moved else (0.0, 0.0)
        for label in element.findall(f"{SVG}text"):
            assert label.text
            wide = width(label.text, bold=label.get("class") == "strong") * 0.95
            x, y = float(label.get("x", 0)) + offset[0], float(label.get("y", 0)) + offset[1]
            left = x - wide / 2 if label.get("text-anchor") == "middle" else x
            boxes.append((left, y - 9, left + wide, y + 2, label.text))
    right, bottom = float(drawn.get("width", 0)), float(drawn.get("height", 0))
    for i, (left, top, end, base, label_text) in enumerate(boxes):
        assert left >= 0, label_text
        assert end <= right + 1, label_text
        assert base <= bottom, label_text
        for other in boxes[:i]:
            clear = end <= other[0] or other[2] <= left or base <= other[1] or other[3] <= top
            assert clear, (label_text, other[4])


@pytest.mark.parametrize("shape", ["1x8x8", "3x224x224", "2x96x48", "1x140", "1x16x16x16"])
def test_any_input_can_be_drawn(shape: str) -> None:
    for name in ("mlp", "lenet5", "vgg11", "googlenet", "resnet18", "se_resnet50", "bigru", "transformer"):
        apart(parsed(network.draw(zoo.plan_for(name, shape))))


@pytest.mark.parametrize(
    ("count", "written"),
    [(0, "0"), (999, "999"), (1516, "1.52 k"), (999_700, "1 M"), (61_100_840, "61.1 M"), (10**11, "100 G")],
)
def test_large_counts_are_written_in_three_digits(count: int, written: str) -> None:
    assert network.amount(count).replace("\N{NO-BREAK SPACE}", " ") == written


def test_maps_are_to_scale() -> None:
    """VGG's maps halve in height where they double in number."""
    drawn = parsed(network.draw(zoo.plan_for("vgg11")))
    maps = [r for r in drawn.findall(f"{SVG}rect") if r.get("class") == "right"]
    high = [float(r.get("height", 0)) for r in maps]
    wide = [float(r.get("width", 0)) for r in maps]
    assert [round(h / high[-1], 1) for h in high] == [16, 8, 4, 4, 2, 2, 1, 1]
    assert [round(w / wide[2], 1) for w in wide[2:]] == [1, 1, 2, 2, 2, 2]
    assert wide[1] / wide[2] == pytest.approx(0.5, abs=0.1)


def test_branches_gates_and_heads_are_seen() -> None:
    googlenet = parsed(network.draw(zoo.plan_for("googlenet", auxiliary=True)))
    assert {t.text for t in googlenet.iter(f"{SVG}text")} >= {"aux1", "aux2"}
    shades = [r for r in googlenet.findall(f"{SVG}rect") if str(r.get("class")).startswith("right l")]
    assert len(shades) >= 9 * 4
    senet = parsed(network.draw(zoo.plan_for("se_resnet18")))
    assert len(list(senet.findall(f"{SVG}circle"))) == 8


@pytest.mark.parametrize(
    ("name", "where", "words"),
    [
        ("googlenet", "inception3a", ["192×28×28", "1×1, 64", "1×1, 96", "3×3, 128", "5×5, 32", "256×28×28"]),
        ("resnet34", "layer2.0", ["3×3, 128, stride 2", "batch norm, relu", "1×1, 128, stride 2", "+", "relu"]),
        ("se_resnet18", "layer1.1", ["mean of all", "1×1, 4", "sigmoid", "×", "+"]),
        ("senet154", "layer1.1", ["3×3, 256 in 64 groups"]),
        ("transformer", "blocks.0", ["attention, 4 heads", "layer norm", "dense, 512", "gelu", "128×64"]),
        ("cnn", "convolutions.0", ["3×3, 64", "relu"]),
        ("resnet20", "layer2.0", ["subsample", "+"]),
        ("bigru", "gru", ["GRU, 2 × 128 both ways"]),
        ("alexnet", "features", ["11×11, 96, stride 4", "relu, response norm", "5×5, 256 in 2 groups"]),
    ],
)
def test_a_block_names_its_layers(name: str, where: str, words: list[str]) -> None:
    drawn = parsed(block.draw(*part(name, where), "a part"))
    assert {text.text for text in drawn.iter(f"{SVG}text")} >= set(words)
    if len(words) < 8 and name != "alexnet":
        apart(drawn)


def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.svg"
    app(["models", "resnet20", "--input", "1x8x8", "--option", "width=2", "--draw", str(path)], standalone_mode=False)
    assert "resnet20 at 1×8×8" in path.read_text()
    assert "layer1.0.conv1" in capsys.readouterr().out
    with pytest.raises(SettingsError, match="draws one network"):
        app(["models", "--draw", str(path)], standalone_mode=False)
