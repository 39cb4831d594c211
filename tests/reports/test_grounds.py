"""Every picture of the diagnosis is well-formed markup that holds what it claims, whatever the numbers are."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "diagnosis"))
import histories

from sightline.diagnosis.evidence import Evidence
from sightline.diagnosis.measures import Measures
from sightline.diagnosis.terms import TERMS
from sightline.diagnosis.verdict import judge
from sightline.reports import grounds, judged, verdicts

TOLD = {
    **{name: make() for name, make in histories.TRUTHS.items()},
    "flat": histories.flat(),
    "three epochs": histories.healthy(3),
    "curves alone": histories.overfitted(images=None),
    "huge": histories.make([1, 1e30, 2, 1e9], [1, 1e20, 1e-9, 3]),
}


def instrumented() -> Evidence:
    rows = [
        {"epoch": e, "dead/act1": 0.9, "dead/act2": 0.1, "gradient/conv1": 1e-5, "gradient/fc": 0.1, "update/fc": 0.2}
        for e in (1, 5, 9)
    ]
    return replace(
        histories.flat(), instruments=rows, probes={"reference": {"name": "a kNN", "accuracy": 0.8, "images": 400}}
    )


@pytest.mark.parametrize("name", TOLD)
def test_three_pictures_are_drawn_of_any_training(name: str) -> None:
    evidence = TOLD[name]
    drawn = judged.pictures(judge(evidence), evidence)
    assert len(drawn) == 3
    for picture in drawn:
        text = "".join(ET.fromstring(str(picture)).itertext())
        assert "nan" not in str(picture)
        assert "inf" not in str(picture)
        assert text


@pytest.mark.parametrize("name", grounds.PICTURES)
def test_each_picture_is_drawn_where_there_is_what_it_shows(name: str) -> None:
    found = grounds.PICTURES[name](Measures(instrumented()))
    assert found is not None
    ET.fromstring(str(found))


def test_terms_name_pictures_that_exist() -> None:
    assert {term.picture for term in TERMS.values()} - {""} <= set(grounds.PICTURES)


def test_the_curve_marks_the_minimum_and_the_rise() -> None:
    m = Measures(histories.overfitted())
    drawn = str(grounds.curve(m))
    assert m.rise is not None
    assert f"lowest: epoch {m.best + 1}" in drawn
    assert f"+{m.rise.value:.0%}".replace("%", " %") in drawn


def test_a_terminal_gets_the_sentence_first_and_commands_unbroken() -> None:
    evidence = replace(histories.undertrained(), where="runs/" + "very-long-name" * 9, source="photos")
    verdict = judge(evidence)
    told = verdicts.text(verdict, width=60).splitlines()
    assert " ".join(told).startswith(verdict.sentence[:40])
    assert any(line.strip() == verdict.advice[0].command for line in told)
    assert verdicts.lines(verdict)[0] == verdict.sentence
    assert verdict.advice[0].command in verdicts.lines(verdict)[1]
    assert verdicts.lines(judge(histories.healthy())) == [judge(histories.healthy()).sentence]


def test_numbers_without_an_epoch_of_sense_draw_nothing() -> None:
    empty = Measures(Evidence(rows=[{"epoch": 1, "train_loss": np.nan, "valid_loss": np.nan}]))
    assert all(draw(empty) is None for draw in (grounds.curve, grounds.gap, *grounds.PICTURES.values()))
