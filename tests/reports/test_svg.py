from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.reports.svg import (
    Scale,
    Svg,
    apart,
    around,
    axes,
    clean,
    fit,
    line,
    round_up,
    short,
    stylesheet,
    tag,
    text,
    width,
)

NASTY = "<b>&\"'\x00\x1b\ud800 日本語 عربي"


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 9))
def test_ticks_are_round_and_within(low: float, spread: float, count: int) -> None:
    scale = Scale(low, low + spread, 0, 100)
    ticks = scale.ticks(count)
    assert 1 <= len(ticks) <= count + 1
    assert all(-0.1 <= scale(tick) <= 100.1 for tick in ticks)


@given(st.floats(-8, 3), st.floats(0.5, 9))
def test_log_ticks_are_within_and_few(exponent: float, decades: float) -> None:
    scale = Scale(10**exponent, 10 ** (exponent + decades), 10, 90, log=True)
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 8
    assert all(9.9 <= scale(tick) <= 90.1 for tick in ticks)


def test_scales_go_from_end_to_end() -> None:
    assert [Scale(0, 10, 100, 0)(value) for value in (0, 5, 10)] == [100, 50, 0]
    assert [round(Scale(1e-4, 1, 0, 4, log=True)(value), 9) for value in (1e-4, 1e-2, 1)] == [0, 2, 4]


@given(st.lists(st.floats(-1e4, 1e4) | st.just(math.nan) | st.just(math.inf), max_size=8))
def test_around_holds_every_finite_value(values: list[float]) -> None:
    low, high = around(values)
    assert low < high
    assert all(low <= value <= high for value in values if math.isfinite(value))


def test_around_respects_what_cannot_be() -> None:
    assert around([0.1, 99.9], least=0, most=100) == (0, 100)
    assert around([100.0, 100.0], most=100)[1] == 100
    assert around([0.0], least=0)[0] == 0


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (0.5, "0.5"), (0.06237, "0.0624"), (2e-5, "2e-5"), (1.5e-4, "1.5e-4"), (1234.4, "1,234"), (2e7, "2e7"),
     (100, "100"), (0.001, "0.001"), (math.nan, "nan")],
)  # fmt: skip
def test_numbers_are_short(value: float, written: str) -> None:
    assert short(value) == written


def test_round_up() -> None:
    assert [round_up(v) for v in (0.9, 1.0, 1.1, 3, 6, 45)] == [1, 1, 2, 5, 10, 50]


@given(st.text(max_size=60), st.floats(10, 200))
def test_texts_are_cut_to_fit(content: str, room: float) -> None:
    cut = fit(content, room)
    assert width(cut) <= room or cut == "…"
    assert cut == content or "…" in cut


def test_both_ends_of_a_cut_name_stay() -> None:
    assert fit("a rather long class name 17", 90).endswith("17")
    assert fit("a rather long class name 17", 90).startswith("a ra")


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_labels_are_moved_apart(places: list[float]) -> None:
    moved = apart(places, 15, 0, 100)
    ordered = sorted(moved)
    assert all(b - a >= 15 - 1e-6 for a, b in itertools.pairwise(ordered))
    if len(places) == 1:
        assert moved == places


def test_gaps_break_a_line_and_lone_points_are_dots() -> None:
    drawn = line([(0, 0), (1, 1), (2, math.nan), (3, 3)], "valid")
    assert drawn.count("<path") == 1
    assert drawn.count("<circle") == 1
    assert "nan" not in drawn
    assert line([(0, math.nan)], "valid") == ""


@given(st.text(max_size=30))
def test_any_text_makes_valid_xml(content: str) -> None:
    drawing = Svg(100, 50, content, text(1, 2, content, whole=content + "x") + tag("rect", kind=content))
    ElementTree.fromstring(str(drawing))
    ElementTree.fromstring(drawing.inline)


def test_nasty_text_is_data_not_markup() -> None:
    drawing = Svg(100, 50, NASTY, text(1, 2, NASTY))
    root = ElementTree.fromstring(drawing.inline)
    assert root.get("aria-label") == clean(NASTY)
    assert root[0].text == clean(NASTY)
    str(drawing).encode()


def test_a_drawing_of_its_own_carries_its_style_and_a_notebook_shows_it() -> None:
    x = Scale(0, 1, 10, 90)
    drawing = Svg(100, 50, "a chart", axes(x, x, x_title="x, s", y_title="y, m", x_ticks={0: "0"}, y_ticks={1: "1"}))
    assert stylesheet() in str(drawing)
    assert stylesheet() not in drawing.inline
    assert drawing._repr_svg_() == str(drawing)
