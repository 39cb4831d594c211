"""The page of a comparison: its sentence is what the intervals say, and only complete runs enter its pictures."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from reports import comparisons
from reports.test_page import NASTY, Reader
from sightline.reports import arms, compared, contrasts


@pytest.fixture(params=comparisons.MADE)
def told(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A made-up comparison, as plain values."""
    return comparisons.MADE[request.param](tmp_path).as_dict()


def test_the_page_and_its_drawings_are_whole(told: dict[str, Any], tmp_path: Path) -> None:
    page = Reader(compared.write(tmp_path, told).read_text())
    assert contrasts.headline(told) in page.text
    drawings = sorted((tmp_path / "figures").glob("*.svg"))
    assert {"curves.svg", "differences.svg", "training-error.svg"} <= {path.name for path in drawings}
    for path in drawings:
        ElementTree.fromstring(path.read_text())
        assert "nan" not in path.read_text()


def test_the_headline_groups_what_is_real(tmp_path: Path) -> None:
    told = comparisons.networks(tmp_path).as_dict()
    found = {(one["arm"], one["against"]): one["word"] for one in told["differences"]["test_accuracy"]}
    assert {pair for pair, word in found.items() if word == "real"} == {
        ("plain56", "plain20"), ("resnet20", "plain56"), ("resnet56", "plain56"), ("resnet56", "plain20"),
    }  # fmt: skip
    assert contrasts.headline(told).startswith("plain56 is worse than plain20, resnet20 and resnet56 (")
    assert "resnet56 is better than plain20 (" in contrasts.headline(told)


def test_one_seed_claims_nothing(tmp_path: Path) -> None:
    told = comparisons.networks(tmp_path, seeds=1).as_dict()
    assert contrasts.headline(told) == "One seed each: no difference in test accuracy can be told from luck."
    assert any("nothing about other seeds" in line for line in contrasts.caveats(told))
    Reader(compared.write(tmp_path, told).read_text())


def test_incomplete_arms_enter_neither_heat_map_nor_factor(tmp_path: Path) -> None:
    told = comparisons.grid(tmp_path).as_dict()
    cut = {"lr=0.001, dropout=0.6", "lr=0.1, dropout=0.6"}
    assert {arm["label"] for arm in told["arms"]} - {arm["label"] for arm in arms.complete(told)} == cut
    heat = arms.heat(told)
    assert heat is not None
    assert heat.body.count("not complete") == 2
    # The row of dropout 0.6 lacks two learning rates, so no learning rate is seen with it.
    means = {
        lr: sum(a["figures"]["test_accuracy"]["value"] for a in told["arms"] if a["levels"] == {"lr": lr, "dropout": d})
        for lr in (0.001, 0.01, 0.1)
        for d in (0.3,)
    }
    drawn = arms.factor(told, "lr")
    assert drawn is not None
    for lr, at in means.items():
        other = next(a for a in told["arms"] if a["levels"] == {"lr": lr, "dropout": 0})
        mean = 50 * (at + other["figures"]["test_accuracy"]["value"])
        assert f"{lr:g}: {mean:.4g}" in drawn.label
    assert "takes no part: failed" in " ".join(contrasts.left_out(told))


@pytest.mark.parametrize("name", NASTY)
def test_any_label_fits(name: str, tmp_path: Path) -> None:
    told = comparisons.networks(tmp_path, seeds=2, epochs=3).as_dict()
    text = copy.deepcopy(told)
    text["arms"][1]["label"] = name
    for found in text["differences"].values():
        for one in found:
            for side in ("arm", "against"):
                one[side] = name if one[side] == "plain56" else one[side]
    Reader(compared.write(tmp_path, text).read_text())


def test_nothing_finished_yet_is_a_page_too(tmp_path: Path) -> None:
    made = comparisons.networks(tmp_path, seeds=1)
    told = {**made.as_dict(), "differences": {}, "stopped": "interrupted"}
    for arm in told["arms"]:
        arm["figures"] = {}
        arm["runs"] = [{**run, "status": "missing", "figures": {}, "curves": {}} for run in arm["runs"]]
    assert contrasts.headline(told) == "Nothing can be compared yet."
    assert "Left out" in Reader(compared.write(tmp_path, told).read_text()).text
