"""The page as a real browser shows it: nothing overlaps, nothing sticks out, nothing is asked of the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports import comparisons
from reports.browser import OVERLAPS, PROGRAM, WIDE, Browser
from reports.runs import make, picture
from sightline.reports import compared
from sightline.reports.page import draw, write

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium is installed")

LONG = [
    "Straße <b>öffentlich</b>",
    "日本語のとても長いクラス名です",
    "x" * 120,
    "a name of many words that goes on and on",
    "عربي",
]
RUNS = {
    "digits": {"classes": list("0123456789"), "strength": 3.0, "sheet": picture(0)},
    "two": {"classes": ["ants", "bees"], "strength": 1.2, "done": 14},
    "long": {"classes": LONG, "strength": 1.5, "epochs": 1, "part": "validation", "count": 60},
    "many": {"classes": [f"rather long class name {i}" for i in range(30)], "strength": 2.0, "count": 600},
    "hundred": {"classes": [f"class {i}" for i in range(100)], "strength": 2.5, "count": 1000},
    "cut": {"classes": ["daisy", "rose"], "part": None, "done": 3, "epochs": 30},
    "signals": {"classes": ["normal", "R-on-T", "PVC"], "kind": "signal", "size": (140,), "strength": 1.5},
}


@pytest.mark.parametrize("name", RUNS)
def test_the_page_in_a_browser(browser: Browser, tmp_path: Path, name: str) -> None:
    folder, thumbnails = make(tmp_path, name, **RUNS[name])  # type: ignore[arg-type]
    write(folder, thumbnails={} if name == "signals" else thumbnails)
    for width, dark in ((1400, False), (820, True), (400, False)):
        browser.open(folder.report, width, dark=dark)
        assert browser.complaints() == []
        assert browser.requests() == []
        assert browser.ask("document.documentElement.scrollWidth") <= width
        assert browser.ask(WIDE) == []
        assert browser.ask(OVERLAPS) == []
    browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.ask("document.documentElement.scrollWidth") <= 400
    assert browser.ask("[...document.images].filter(i => !i.complete || !i.naturalWidth).length") == 0


@pytest.mark.parametrize("name", comparisons.MADE)
def test_the_page_of_a_comparison_in_a_browser(browser: Browser, tmp_path: Path, name: str) -> None:
    page = compared.write(tmp_path, comparisons.MADE[name](tmp_path).as_dict())
    for width, dark in ((1400, False), (400, True)):
        browser.open(page, width, dark=dark)
        assert browser.complaints() == []
        assert browser.requests() == []
        assert browser.ask("document.documentElement.scrollWidth") <= width
        assert browser.ask(WIDE) == []
        assert browser.ask(OVERLAPS) == []


def test_dark_is_dark_and_paper_is_white(browser: Browser, tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "run", ["a", "b"])
    ground = "getComputedStyle(document.body).backgroundColor"
    write(folder)
    browser.open(folder.report, dark=False)
    assert browser.ask(ground) == "rgb(255, 255, 255)"
    browser.open(folder.report, dark=True)
    assert browser.ask(ground) == "rgb(16, 18, 23)"
    browser.open(folder.report, dark=True, media="print")
    assert browser.ask(ground) == "rgb(255, 255, 255)"
    assert browser.printed().startswith(b"%PDF")


def test_charts_are_pictures_of_their_own(browser: Browser, tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "run", ["a", "b"])
    for path in draw(folder):
        browser.open(path, 700)
        assert browser.complaints() == []
        assert browser.ask(OVERLAPS) == []
