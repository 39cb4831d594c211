from __future__ import annotations

import pytest

from sightline.diagnosis.intervals import Figure
from sightline.reports import words


@pytest.mark.parametrize(
    ("share", "written"),
    [(1, "100 %"), (0, "0 %"), (0.986, "98.6 %"), (0.9999, "99.99 %"), (0.99999, "99.99 %"), (0.0004, "0.04 %"),
     (0.00001, "0.01 %"), (0.5, "50.0 %"), (0.9994, "99.9 %"), (0.99951, "99.95 %")],
)  # fmt: skip
def test_only_all_is_a_hundred_percent(share: float, written: str) -> None:
    assert words.percent(share) == written.replace(" ", words.SPACE)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0 s"), (0.001, "under 0.01 s"), (0.83, "0.83 s"), (9.94, "9.9 s"), (42.4, "42 s"), (185, "3 min 05 s"),
     (59.7, "1 min 00 s"), (7620, "2 h 07 min"), (float("nan"), "unknown")],
)  # fmt: skip
def test_durations(seconds: float, written: str) -> None:
    assert (
        words.duration(seconds) == written.replace(" ", words.SPACE, 1)
        or words.duration(seconds).replace(words.SPACE, " ") == written
    )


def test_intervals() -> None:
    assert words.interval(Figure(0.986, 0.952, 0.996)) == f"95.2 to 99.6{words.SPACE}%"
    assert words.interval(Figure(0.041, 0.0061, 0.1), share=False) == "0.006 to 0.100"
    assert words.interval(Figure(0.0012, 0.0001, 0.0031), share=False) == "0.00010 to 0.00310"
    assert words.interval(Figure(0.3, None, None), share=False) == "no interval from one image"


def test_values_and_counts() -> None:
    assert words.value(True) == "on"
    assert words.value([96, 64]) == "96, 64"
    assert words.value({"width": 2, "norm": "layer"}) == "width=2, norm=layer"
    assert words.value({}) == "none"
    assert words.value(2e-5) == "2e-5"
    assert words.counted(1, "mistakes") == f"1{words.SPACE}mistake"
    assert words.counted(1797, "images") == f"1,797{words.SPACE}images"
    assert words.size([28, 28]) == f"28{words.SPACE}×{words.SPACE}28"


def test_sentences_begin_large_and_hold_code_but_no_markup() -> None:
    assert words.sentence("raise `valid_fraction` <now>") == "Raise <code>valid_fraction</code> &lt;now&gt;"
    assert words.sentence("img_1.png is <b>") == "img_1.png is &lt;b&gt;"
    assert words.sentence("a ` alone, `<i>`") == "A ` alone, `&lt;i&gt;`"
    assert words.sentence("") == ""
