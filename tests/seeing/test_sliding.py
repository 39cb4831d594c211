"""Windows that slide: the numbers are torch's for any setting, the sums say what they claim, bad input is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn import functional as F

from sightline.errors import SettingsError, SourceError
from sightline.reports import walkthrough
from sightline.seeing import stencils
from sightline.seeing.learnable import learn
from sightline.seeing.sliding import Slide, convolve, cost, pool, say


def settings(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Draw settings that fit: images and kernels of any shape, strides that do not divide, dilation, padding."""
    random = np.random.default_rng(seed)
    while count:
        height, width, k, w, channels, maps = (int(n) for n in random.integers(1, (13, 13, 6, 6, 5, 5)))
        stride, padding, dilation = (
            tuple(int(n) for n in random.integers(*ends, 2)) for ends in ((1, 5), (0, 4), (1, 4))
        )
        room = [n + 2 * p - d * (m - 1) for n, m, p, d in zip((height, width), (k, w), padding, dilation, strict=True)]
        if min(room) < 1:
            continue
        count -= 1
        groups = int(random.choice([n for n in range(1, channels + 1) if channels % n == maps % n == 0]))
        yield {
            "image": random.normal(0, 3, (channels, height, width)),
            "kernel": random.normal(0, 3, (maps, channels // groups, k, w)),
            "bias": random.normal(0, 3, maps),
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }


def test_convolutions_are_torchs() -> None:
    for drawn in settings(1000):
        given = (torch.tensor(drawn[name]) for name in ("image", "kernel", "bias"))
        wanted = F.conv2d(*given, **ways(drawn), groups=drawn["groups"]).numpy()
        found = convolve(**drawn)
        assert found.output.shape == wanted.shape
        np.testing.assert_allclose(found.output, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["max", "average"])
def test_pools_are_torchs(kind: str) -> None:
    for drawn in settings(500, seed=1):
        size = drawn["kernel"].shape[2:]
        options = ways(drawn)
        options["padding"] = tuple(min(p, k // 2) for p, k in zip(options["padding"], size, strict=True))
        if kind == "average":
            options["dilation"] = (1, 1)
        room = zip(drawn["image"].shape[1:], size, options["padding"], options["dilation"], strict=True)
        if any(n + 2 * p - d * (k - 1) < 1 for n, k, p, d in room):
            continue
        found = pool(drawn["image"], size, kind=kind, **options)
        if kind == "average":
            del options["dilation"]
        torchs = F.max_pool2d if kind == "max" else F.avg_pool2d
        wanted = torchs(torch.tensor(drawn["image"]), size, **options).numpy()
        np.testing.assert_allclose(found.output, wanted, atol=1e-6, rtol=0)


def ways(drawn: dict[str, Any]) -> dict[str, Any]:
    return {name: drawn[name] for name in ("stride", "padding", "dilation")}


def test_every_number_is_the_sum_of_its_terms() -> None:
    for drawn in settings(30, seed=2):
        found = convolve(**drawn)
        for step in found.steps():
            total = sum(term.value * term.weight for term in step.terms) + step.bias
            assert total == pytest.approx(step.value, abs=1e-9)
        assert found.read.tolist() == moved(found).tolist()


def moved(slide: Slide) -> np.ndarray[Any, Any]:
    """Find the pixels that matter by changing one after the other."""
    assert slide.kernel is not None
    matters = np.zeros(slide.image.shape[1:], bool)
    options = {name: getattr(slide, name) for name in ("stride", "padding", "dilation", "groups")}
    ones = np.abs(slide.kernel) + 1  # no weight hides a pixel
    still = convolve(slide.image, ones, **options).output
    for place in np.ndindex(matters.shape):
        image = slide.image.copy()
        image[(slice(None), *place)] += 1
        matters[place] = (convolve(image, ones, **options).output != still).any()
    return matters


def test_what_is_written_can_be_checked_by_hand() -> None:
    slide = convolve([[1, 2, 3], [4, 5, 6]], [[1, 0], [-1, 2]], bias=[0.5])
    assert [step.written for step in slide.steps()] == [
        "1·1 + 2·0 + 4·(-1) + 5·2 + 0.5 = 7.5",
        "2·1 + 3·0 + 5·(-1) + 6·2 + 0.5 = 9.5",
    ]
    assert pool([[1, -2], [3, 4]], 2).step(0, 0, 0).written == "max(1, -2, 3, 4) = 4"
    assert pool([[1, -2], [3, 4]], 2, kind="average").step(0, 0, 0).written == "(1 + (-2) + 3 + 4) / 4 = 1.5"
    assert convolve([[1 / 3]], [[1]]).step(0, 0, 0).written == "0.3333·1 ≈ 0.3333"


@given(st.floats(-1e12, 1e12))
def test_numbers_keep_four_digits(value: float) -> None:
    assert float(say(value)) == pytest.approx(value, rel=5e-4, abs=1e-300)
    assert say(value) != "-0"


def test_sizes_that_do_not_divide_are_rounded_down_and_told() -> None:
    slide = convolve(np.ones((8, 5)), np.ones((3, 3)), stride=2)
    rows, columns = slide.sizes()
    assert rows == "rows: floor((8 + 2·0 - 1·(3 - 1) - 1) / 2) + 1 = floor(5/2) + 1 = 3; row 7 is never read"
    assert columns == "columns: floor((5 + 2·0 - 1·(3 - 1) - 1) / 2) + 1 = 1 + 1 = 2"
    assert not slide.read[7].any()
    assert slide.read[:7].all()
    assert "/1/" in walkthrough.summary(slide)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_identity_gives_the_image_back_bit_by_bit(size: int, channels: int) -> None:
    image = np.random.default_rng(0).normal(size=(channels, 9, 9))
    one = stencils.kernel("identity", size)[0, 0]
    each = np.einsum("mc,kl->mckl", np.eye(channels), one)
    assert (convolve(image, each, padding=size // 2).output == image).all()


def test_kernels_do_what_they_are_said_to_do() -> None:
    flat, image = np.full((7, 7), 3.0), stencils.sample("digit")[0]
    assert (convolve(flat, stencils.kernel("edge", 5)).output == 0).all()
    for name in ("vertical", "horizontal"):
        assert (convolve(flat, stencils.kernel(name, 5)).output == 0).all()
    for name in ("identity", "shift", "blur", "sharpen"):
        assert stencils.kernel(name, 5).sum() == 1
    shifted = convolve(image, stencils.kernel("shift"), padding=1).output[0]
    assert (shifted[:, 1:] == image[:, :-1]).all()
    assert stencils.kernel("vertical").tolist() == [[[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]]]
    colour = stencils.sample("colour")
    assert (convolve(colour, stencils.kernel("swap", 1, 3)).output == colour[::-1]).all()
    np.testing.assert_allclose(convolve(colour, stencils.kernel("mix", 1, 3)).output[0], colour.mean(axis=0))
    assert (stencils.sample("digit") == load_digits().images[3]).all()
    for name in stencils.SAMPLES:
        assert stencils.sample(name).ndim == 3
    for name in stencils.KERNELS:
        assert convolve(colour, stencils.kernel(name, channels=3)).output.size


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_numbers_that_are_written_are_read_back(maps: int, channels: int, rows: int, columns: int) -> None:
    wanted = np.random.default_rng(rows).integers(-9, 9, (maps, channels, rows, columns)) / 4
    for parts in (("||", "|", "; ", " "), (" || ", " | ", ";", ", ")):
        text = parts[0].join(
            parts[1].join(parts[2].join(parts[3].join(map(str, row)) for row in grid) for grid in kernel)
            for kernel in wanted.tolist()
        )
        assert (stencils.numbers(text) == wanted).all()


def test_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "k.txt").write_text("1 2\n3 4\n\n5 6\n7 8\n---\n0 0\n0 0\n\n1 1\n1 1\n")
    (tmp_path / "i.csv").write_text("1,2,3\r\n4,5,6\r\n")
    assert stencils.weights(str(tmp_path / "k.txt")).shape == (2, 2, 2, 2)
    assert stencils.image(str(tmp_path / "i.csv")).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    Image.new("RGB", (128, 32), (255, 0, 0)).save(tmp_path / "red.png")
    assert stencils.image(str(tmp_path / "red.png")).shape == (1, 16, 64)
    assert stencils.image(str(tmp_path / "red.png"), colour=True)[:, 0, 0].tolist() == [255, 0, 0]


def test_a_kernel_is_learnt_from_what_it_did() -> None:
    image = stencils.sample("digit")
    target = convolve(image, stencils.kernel("edge"), padding=1).output
    found = learn(image, target, steps=1000, padding=1)
    np.testing.assert_allclose(found.kernels[-1], stencils.kernel("edge"), atol=1e-6)
    assert (np.diff(found.losses) <= 1e-12).all()
    assert found.kernels.shape == (1001, 1, 1, 3, 3)
    assert "1000" in walkthrough.progress(found)
    slow = learn(image, target, steps=1, padding=1, rate=found.rate / 2)
    assert slow.losses[1] > found.losses[1]
    weights = torch.tensor(found.kernels[0], requires_grad=True)
    loss = ((F.conv2d(torch.tensor(image), weights, padding=1) - torch.tensor(target)) ** 2).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    np.testing.assert_allclose(found.kernels[1], (weights - found.rate * weights.grad).detach().numpy(), atol=1e-9)


def test_costs_are_those_of_the_lecture() -> None:
    for side, dense, work in ((8, 4096, 576), (28, 614_656, 7056), (224, 2_517_630_976, 451_584)):
        row = cost((1, side, side), 1, 3, padding=1)
        assert (row.parameters, row.dense, row.multiply_adds) == (9, dense, work)
    assert "68,295" in walkthrough.costs([cost((1, 28, 28), 1, 3, padding=1)])
    slide, row = convolve(np.ones((3, 9, 7)), np.ones((4, 3, 3, 3)), stride=2, padding=1), cost((3, 9, 7), 4, 3, 2, 1)
    assert (slide.weights, slide.multiply_adds, slide.dense) == (row.parameters, row.multiply_adds, row.dense)


def test_the_text_shows_where_the_window_is() -> None:
    slide = convolve([[1, 2], [3, 4]], [[1, 1], [1, 1]], padding=1)
    assert walkthrough.frame(slide, slide.step(0, 0, 0)).splitlines() == [
        "(0, 0)",
        "image              kernel",
        "[.] [.]  .   .     1 1",
        "[.] [1]  2   .     1 1",
        " .   3   4   .",
        " .   .   .   .",
        "0·1 + 0·1 + 0·1 + 1·1 = 1",
    ]
    assert walkthrough.sums(slide, 2).endswith("... and 7 more")
    assert "9 times as many" not in walkthrough.summary(pool([[1, 2], [3, 4]], 2))


BAD: list[tuple[Any, str]] = [
    (lambda: convolve([[1, 2], [3]], [[1]]), "not a table"),
    (lambda: convolve([[float("nan")]], [[1]]), "not finite"),
    (lambda: convolve(np.ones((2, 3, 3)), np.ones((3, 1, 1))), "made for 3 channels"),
    (lambda: convolve(np.ones((3, 3)), np.ones((4, 4))), "does not fit"),
    (lambda: convolve(np.ones((3, 3)), np.ones((2, 2)), dilation=4), "5x5 with its dilation"),
    (lambda: convolve(np.ones((3, 3)), np.ones((2, 2)), stride=0), "stride 0"),
    (lambda: convolve(np.ones((3, 3)), np.ones((2, 2)), padding=(1, -1)), "padding"),
    (lambda: convolve(np.ones((3, 3)), np.ones((2, 2)), bias=[1, 2]), "2 biases"),
    (lambda: convolve(np.ones((3, 3)), np.ones((2, 2))).step(0, 2, 0), "no output number"),
    (lambda: convolve(np.ones((4, 3, 3)), np.ones((2, 2)), groups=3), "cannot be split into 3 groups"),
    (lambda: convolve(np.ones((4, 3, 3)), np.ones((3, 2, 2, 2)), groups=2), "3 output maps cannot be split"),
    (lambda: convolve(np.ones((4, 3, 3)), np.ones((2, 4, 2, 2)), groups=2), "a group has 2"),
    (lambda: convolve(np.ones(3), np.ones((2, 2))), "image of shape"),
    (lambda: pool(np.ones((3, 3)), 2, padding=2), "more than half"),
    (lambda: pool(np.ones((3, 3)), 2, kind="median"), "median"),
    (lambda: pool(np.ones((3, 3)), 2, kind="average", dilation=2), "no dilation"),
    (lambda: stencils.kernel("egde"), "Did you mean 'edge'"),
    (lambda: stencils.kernel("edge", 4), "4x4"),
    (lambda: stencils.sample("digits"), "Did you mean 'digit'"),
    (lambda: stencils.numbers("1 2; 3"), "do not make a table"),
    (lambda: stencils.image("nothing.png"), "neither a known name"),
    (lambda: stencils.image("1||2"), "output maps"),
    (lambda: learn(np.ones((3, 3)), np.ones((3, 3))), "the target is"),
    (lambda: learn(np.zeros((3, 3)), np.ones((1, 1))), "0 everywhere"),
    (lambda: learn(np.ones((3, 3)), np.ones((1, 1)), steps=0), "0 steps"),
    (lambda: learn(np.ones((3, 3)) * 1e3, np.ones((1, 1)), rate=1e3, steps=200), "without bounds"),
]


@pytest.mark.parametrize(("call", "told"), BAD, ids=[told for _, told in BAD])
def test_bad_input_is_refused(call: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        call()
    assert caught.value.hint


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("no picture")
    with pytest.raises(SourceError, match="cannot be read"):
        stencils.image(str(tmp_path / "photo.png"))
    with pytest.raises(SourceError, match="cannot be read"):
        stencils.image(str(tmp_path / "gone.csv"))
