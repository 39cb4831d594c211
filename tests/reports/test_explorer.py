"""The page of a convolution in a real browser: its own arithmetic is torch's, its controls do what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from reports.browser import OVERLAPS, PROGRAM, WIDE, Browser
from sightline.reports.explorer import explorer
from sightline.seeing import stencils
from sightline.seeing.sliding import convolve, pool

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium is installed")


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(explorer(), encoding="utf-8")
    return path


def questions(count: int) -> Iterator[dict[str, Any]]:
    """Draw what the page can be asked; every third is a pool. Values are quarters: exact in text and in doubles."""
    random = np.random.default_rng(0)
    while count:
        height, width, k, w, channels, maps = (int(n) for n in random.integers(1, (13, 13, 8, 8, 5, 5)))
        ends = ((1, 5), (0, 4), (1, 4))
        stride, padding, dilation = ([int(n) for n in random.integers(*e, 2)] for e in ends)
        mode = ("convolution", "convolution", "max", "convolution", "convolution", "average")[count % 6]
        if mode != "convolution":
            padding = [min(p, n // 2) for p, n in zip(padding, (k, w), strict=True)]
        if mode == "average":
            dilation = [1, 1]
        sizes = zip((height, width), (k, w), padding, dilation, strict=True)
        if any(n + 2 * p - d * (m - 1) < 1 for n, m, p, d in sizes):
            continue
        count -= 1
        groups = int(random.choice([n for n in range(1, channels + 1) if channels % n == maps % n == 0]))
        yield {
            "mode": mode,
            "groups": groups if mode == "convolution" else 1,
            "image": (random.integers(-40, 40, (channels, height, width)) / 4).tolist(),
            "kernel": (random.integers(-40, 40, (maps, channels // groups, k, w)) / 4).tolist(),
            "bias": (random.integers(-40, 40, maps) / 4).tolist() if mode == "convolution" else None,
            "size": [k, w],
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
        }


def test_the_arithmetic_of_the_page_is_torchs(browser: Browser, page: Path) -> None:
    browser.open(page)
    asked = list(questions(1200))
    for start in range(0, len(asked), 200):
        part = asked[start : start + 200]
        found = browser.ask(
            f"{json.dumps(part)}.map(q => {{ const s = arithmetic.slide(q); return [s.output, s.read]; }})"
        )
        for question, (output, read) in zip(part, found, strict=True):
            x, ways = torch.tensor(question["image"], dtype=torch.float64), (question["stride"], question["padding"])
            if question["mode"] == "convolution":
                kernel, bias = (torch.tensor(question[name], dtype=torch.float64) for name in ("kernel", "bias"))
                rest = (question["dilation"], question["groups"])
                wanted = F.conv2d(x, kernel, bias, *ways, *rest)
                pairs = {name: tuple(question[name]) for name in ("stride", "padding", "dilation")}
                ours = convolve(x, kernel, **pairs, groups=rest[1])
                assert read == ours.read.tolist()
            elif question["mode"] == "max":
                wanted = F.max_pool2d(x, question["size"], *ways, question["dilation"])
            else:
                wanted = F.avg_pool2d(x, question["size"], *ways)
            output = np.array(output, np.float64)  # JSON has no -Infinity: a pool that sees padding alone
            output[np.isnan(output)] = -np.inf
            assert output.shape == tuple(wanted.shape)
            np.testing.assert_allclose(output, wanted, atol=1e-6, rtol=0)


def test_the_slope_of_the_page_is_torchs(browser: Browser, page: Path) -> None:
    browser.open(page)
    for question in [q for q in questions(60) if q["mode"] == "convolution"]:
        question["bias"] = None
        x, weights = (torch.tensor(question[name], dtype=torch.float64) for name in ("image", "kernel"))
        weights.requires_grad_()
        output = F.conv2d(
            x, weights, None, question["stride"], question["padding"], question["dilation"], question["groups"]
        )
        target = torch.ones_like(output)
        loss = ((output - target) ** 2).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        told = browser.ask(f"arithmetic.slope({json.dumps(question)}, {json.dumps(target.tolist())})")
        assert told["loss"] == pytest.approx(float(loss.detach()))
        assert weights.grad is not None
        np.testing.assert_allclose(told["grad"], weights.grad.numpy(), atol=1e-6)


def test_the_page_looks_right_and_asks_for_nothing(browser: Browser, page: Path) -> None:
    for width, dark in ((1400, False), (820, True), (400, False)):
        browser.open(page, width, dark=dark)
        assert browser.complaints() == []
        assert browser.requests() == []
        assert browser.ask("document.documentElement.scrollWidth") <= width
        assert browser.ask(WIDE) == []
        assert browser.ask(OVERLAPS) == []


def outputs(browser: Browser) -> list[float]:
    script = "[...document.querySelectorAll('#output .cell')].map(c => +c.textContent.replace('−', '-'))"
    return list(map(float, browser.ask(script)))


def click(browser: Browser, selector: str, times: int = 1) -> None:
    browser.ask(f"for (let i = 0; i < {times}; i++) document.querySelector({selector!r}).click()")


def more(browser: Browser, name: str, value: int = 1) -> None:
    browser.ask(f"document.getElementById('{name}').parentElement.querySelector('button[value=\"{value}\"]').click()")


def choose(browser: Browser, name: str, value: str) -> None:
    script = f"s = document.getElementById('{name}'); s.value = '{value}'; s.dispatchEvent(new Event('change'))"
    browser.ask(f"(() => {{ const {script} }})()")


def test_the_controls_do_what_they_say(browser: Browser, page: Path) -> None:
    browser.open(page)
    digit, edge = stencils.sample("digit"), stencils.kernel("edge")
    assert outputs(browser) == convolve(digit, edge).output.ravel().tolist()
    assert "= 41" in browser.ask("document.getElementById('sum').textContent")
    click(browser, "#on")
    assert browser.ask("document.getElementById('where').textContent") == "2 of 36"
    assert browser.ask("document.querySelectorAll('.cell.under').length") == 9 + 1  # and the one that explains it
    more(browser, "stride")
    assert outputs(browser) == convolve(digit, edge, stride=2).output.ravel().tolist()
    assert browser.ask("document.querySelectorAll('#image .cell.unread').length") == 15
    assert "row 7 is never read" in browser.ask("document.getElementById('sizes').textContent")
    more(browser, "dilation")
    more(browser, "padding")
    assert outputs(browser) == convolve(digit, edge, stride=2, dilation=2, padding=1).output.ravel().tolist()
    address = browser.ask("location.href")
    click(browser, "[data-mode=max]")
    assert outputs(browser) == pool(digit, 3, stride=2, dilation=2, padding=1).output.ravel().tolist()
    assert browser.ask(f"decodeURIComponent({address!r}).includes('\"stride\":2')")
    choose(browser, "picture", "colour")
    click(browser, "[data-mode=convolution]")
    choose(browser, "named", "swap")
    assert browser.ask("document.querySelectorAll('#kernel input').length") == 9
    choose(browser, "named", "edge")
    more(browser, "groups")
    assert browser.ask("document.getElementById('groups').textContent") == "3"  # 2 does not divide 3 channels
    wanted = convolve(stencils.sample("colour"), edge[0, 0], stride=2, dilation=2, padding=1, groups=3)
    assert outputs(browser) == wanted.output.ravel().tolist()
    more(browser, "channels", -1)
    assert browser.ask("document.querySelectorAll('#kernel input').length") == 2 * 9  # still depthwise
    assert browser.complaints() == []


def test_a_number_can_be_changed_and_a_kernel_learns(browser: Browser, page: Path) -> None:
    browser.open(page)
    script = "c = document.querySelector('#kernel input'); c.value = '5'; c.dispatchEvent(new Event('change'))"
    browser.ask(f"(() => {{ const {script} }})()")
    edge = stencils.kernel("edge")
    edge[0, 0, 0, 0] = 5
    assert outputs(browser) == convolve(stencils.sample("digit"), edge).output.ravel().tolist()
    choose(browser, "named", "learnable")
    click(browser, "#descend100", 4)
    weights = browser.ask("[...document.querySelectorAll('#kernel input')].map(c => +c.value.replace('−', '-'))")
    np.testing.assert_allclose(weights, stencils.kernel("edge").ravel(), atol=0.01)
    assert "400 steps" in browser.ask("document.getElementById('loss').textContent")
    assert browser.complaints() == []


def test_the_page_opens_with_what_it_is_given(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "own.html"
    slide = pool(stencils.sample("ramp", 5), 3, kind="average", stride=2, padding=1)
    path.write_text(explorer(slide), encoding="utf-8")
    browser.open(path)
    np.testing.assert_allclose(outputs(browser), slide.output.ravel(), atol=0.01)
    path.write_text(explorer(convolve([[1, 2], [3, 4]], np.ones((2, 1, 2, 2)))), encoding="utf-8")
    browser.open(path)
    assert outputs(browser) == [10, 10]
    assert browser.complaints() == []
