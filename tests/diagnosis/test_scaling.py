"""Scaling changes the coordinates and nothing else: the same least loss, reached in fewer steps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import sightline
from sightline.cli import app
from sightline.diagnosis.scaling import features, loss, scaling, walk
from sightline.errors import SourceError
from sightline.reports.surfaces import descent


def numbers(mean: float, std: float, gap: float, seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2 == 0
    return mean + std * (random.normal(size=n) + gap * y), y


@settings(max_examples=15)
@given(st.floats(0.3, 0.9), st.floats(0.03, 0.2), st.floats(0, 3), st.integers(0, 99))
def test_both_coordinates_have_the_same_least_loss(mean: float, std: float, gap: float, seed: int) -> None:
    x, y = numbers(mean, std, gap, seed)
    plain, scaled = walk(x, y, 0.0, 1.0), walk(x, y, float(x.mean()), float(x.std()))
    least = [float(loss((x - w.mean) / w.std, y, w.least[None])[0]) for w in (plain, scaled)]
    assert least[0] == pytest.approx(least[1], abs=1e-9)
    weight, bias = scaled.least  # the same function, said in the other coordinates
    assert plain.least == pytest.approx(
        [weight / scaled.std, bias - weight * scaled.mean / scaled.std], rel=1e-4, abs=1e-5
    )
    assert scaled.condition <= plain.condition
    assert scaled.steps <= plain.steps
    for w in (plain, scaled):
        losses = loss((x - w.mean) / w.std, y, w.path)
        assert losses[-1] <= losses[0]
        assert w.path[0].tolist() == [0, 0]


def test_the_hessian_of_a_known_case() -> None:
    x = np.array([-1.0, 1.0] * 50)
    y = np.arange(100) % 4 < 2  # x says nothing: the least loss is at 0, where the Hessian is a quarter of the identity
    found = walk(x, y, 0.0, 1.0)
    assert found.least == pytest.approx([0, 0], abs=1e-9)
    assert found.condition == pytest.approx(1)
    shifted = walk(x + 3, y, 0.0, 1.0)
    values = np.linalg.eigvalsh(np.array([[10, 3], [3, 1]]))  # the mean of x^2, of x, and 1
    assert shifted.condition == pytest.approx(values[1] / values[0], rel=1e-6)


def test_classes_that_one_number_separates_have_a_least_loss() -> None:
    x, y = numbers(0.5, 0.01, 40, 0)
    found = walk(x, y, float(x.mean()), float(x.std()))
    assert np.isfinite(found.least).all()
    assert np.abs(found.least).max() < 20


def test_features_of_every_kind() -> None:
    random = np.random.default_rng(0)
    table = features(random.integers(0, 256, (5, 4, 4, 3)).astype(np.uint8), np.arange(5), "image")
    assert list(table) == ["brightness", "contrast", *(f"mean of the {c} channel" for c in ("red", "green", "blue"))]
    assert all(((column >= 0) & (column <= 1)).all() for column in table.values())
    assert list(features(random.normal(size=(5, 1, 20)).astype(np.float32), np.arange(5), "signal")) == [
        "mean",
        "spread",
    ]


def test_the_drawing_holds_both_walks(draw_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", per_class=10)
    target = tmp_path / "scaling.svg"
    done = CliRunner().invoke(app, ["scaling", str(folder), "--plot", str(target), "--json", "-q"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["scaled"]["condition"] < told["plain"]["condition"]
    drawing = target.read_text()
    assert drawing.count('class="line wrong thin"') == 2
    assert len(re.findall('class="line valid thin faint"', drawing)) > 10
    assert "condition number" in drawing
    named = scaling(*_packed(folder), ("disc", "bar"))
    assert named.classes == ("disc", "bar")
    assert "NaN" not in str(descent(named)).replace("&quot;", "")


def test_classes_that_are_none(draw_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", per_class=4)
    with pytest.raises(SourceError, match=r"no class 'disk'. Did you mean 'disc'"):
        scaling(*_packed(folder), ("disk", "bar"))
    with pytest.raises(SourceError, match="named twice"):
        scaling(*_packed(folder), ("bar", "bar"))


def _packed(folder: Path):  # type: ignore[no-untyped-def]
    from sightline.data.pixels import pack

    pixels = pack(sightline.load(folder))
    return pixels.array, pixels.images
