"""The screen that says what was understood: the right numbers, within the width, whatever the names are."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from sightline.data.images import Images
from sightline.data.sources import load
from sightline.data.summary import describe


def shown(images: Images, width: int = 80, records: Any = None) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(describe(images, records))
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    return text


def row(text: str, name: str) -> list[str]:
    """Give the cells of the line that begins with a name."""
    line = next(line for line in text.splitlines() if line.startswith(name))
    return line.removeprefix(name).split()


def arrays(classes: int, each: int = 3, shape: tuple[int, ...] = (8, 10)) -> Images:
    return load((np.zeros((classes * each, *shape)), [f"c{k}" for k in range(classes)] * each))


def test_classes_and_counts_are_shown() -> None:
    text = shown(load({"train": (np.zeros((5, 8, 8)), list("aabbb")), "test": (np.zeros((2, 8, 8)), list("aa"))}))
    assert "7 images in 2 classes" in text
    assert row(text, "class") == ["train", "test", "all"]
    assert row(text, "a ") == ["2", "2", "4"]
    assert row(text, "b ") == ["3", "0", "3"]
    assert row(text, "all classes") == ["5", "2", "7"]
    assert "dict of splits, N,H,W read as grey images" in text


@pytest.mark.parametrize("width", [80, 120])
def test_many_classes_fit_on_one_screen(width: int) -> None:
    text = shown(arrays(100), width)
    assert len(text.splitlines()) <= 30
    assert "and 81 more, each" in text
    assert row(text, "and 81 more, each") == ["3"]
    assert row(text, "all classes") == ["300"]
    assert row(text, "c18") == ["3"]
    assert "c19" not in text


def test_the_rest_is_a_range() -> None:
    labels = [f"c{k:02}" for k in range(30) for _ in range(2 + k)]
    text = shown(load((np.zeros((len(labels), 8, 8)), labels)))
    assert row(text, "and 11 more, each") == ["21", "to", "31"]


def test_twenty_classes_have_a_line_each() -> None:
    text = shown(arrays(20))
    assert "more" not in text
    assert row(text, "c19") == ["3"]


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((8, 10), "8 pixels high, 10 wide, 1 channel"),
        ((16, 16, 3), "16 x 16 pixels, 3 channels"),
        ((140,), "140 values, 1 channel"),
        ((12, 1000), "1,000 values, 12 channels"),
        ((1, 4, 5, 6), "4 deep, 5 high, 6 wide, 1 channel"),
    ],
)
def test_sizes_of_arrays(shape: tuple[int, ...], told: str) -> None:
    text = shown(arrays(2, shape=shape))
    assert told in text
    assert "float32, 0 to 0" in text


@dataclass
class Sizes:
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    mode: NDArray[np.str_]


def files(count: int) -> Images:
    return Images(
        name="photos",
        layout="class folders, no split",
        kind="image",
        classes=("a", "b"),
        labels=np.arange(count) % 2,
        paths=np.array([f"/nowhere/{k}.jpg" for k in range(count)]),
        root=Path("/nowhere"),
    )


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ([(32, 32)] * 10, "32 x 32 pixels"),
        ([(32, 24)] * 10, "24 pixels high, 32 wide"),
        ([(32, 32)] * 8 + [(64, 48), (3024, 48)], "32 x 32 pixels in 80%, others 48 pixels high, 64 to 3,024 wide"),
        (
            [(10 * k, 400) for k in range(1, 11)],
            "400 pixels high, 10 to 100 wide, the median of the shorter side is 55",
        ),
    ],
)
def test_sizes_of_decoded_files(sizes: list[tuple[int, int]], told: str) -> None:
    width, height = np.array(sizes, dtype=np.int32).T
    text = shown(files(10), 120, Sizes(width, height, np.array(["RGB"] * 9 + ["L"])))
    assert told in text
    assert "RGB 90%, L 10%" in text
    assert "unreadable" not in text


def test_files_that_could_not_be_decoded_are_counted() -> None:
    width = np.array([0, 0, 8, 8], dtype=np.int32)
    assert "2 of 4 files" in shown(files(4), records=Sizes(width, width, np.array(["", "", "L", "L"])))
    nothing = np.zeros(4, dtype=np.int32)
    assert "4 of 4 files" in shown(files(4), records=Sizes(nothing, nothing, np.array([""] * 4)))


def test_headers_are_looked_at_before_decoding(draw_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "set", per_class=4, size=16)
    (folder / "bar" / "9.png").write_bytes(b"broken")
    (folder / "bar" / "folder.png").mkdir()
    text = shown(load(folder))
    assert row(text, "size") == ["16", "x", "16", "pixels"]
    assert "seen in" not in text
    Image.new("L", (8, 8)).save(folder / "bar" / "8.png")
    assert "RGB 92%, L 8%" in shown(load(folder))
    draw_folder(folder, per_class=30, size=16)
    assert "(seen in 64 files)" in shown(load(folder))


def test_nothing_is_said_of_files_that_are_all_broken() -> None:
    assert "size" not in shown(files(4))


def test_what_was_left_aside_is_shown() -> None:
    images = replace(
        files(4), ignored=("3 hidden or system entries: .x 3", "1 image beside"), groups=np.array(list("aabb"))
    )
    text = shown(images)
    assert row(text, "left aside") == ["3", "hidden", "or", "system", "entries:", ".x", "3"]
    assert "            1 image beside" in text
    assert "none of which will be on both sides" in text


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "x" * 200, "日本語" * 30, ":smile:", "[/]"])
def test_names_are_shown_as_they_are(name: str) -> None:
    text = shown(replace(files(4), name=name, classes=(name, "b"), ignored=(name,)))
    assert text.replace("\n", "").replace(" ", "").count(name[:20]) >= 3
