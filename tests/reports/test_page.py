from __future__ import annotations

import base64
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from reports.runs import make, picture
from sightline.errors import RunError
from sightline.reports import page
from sightline.reports.facts import read
from sightline.reports.page import draw, write
from sightline.reports.plots import signal
from sightline.run import RunFolder

NASTY = ["<b>bold</b>", "a \"quoted\" & 'odd' <script>alert(1)</script>", "日本語", "عربي", "x" * 300, "{{ 7 * 7 }}"]
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Reader(HTMLParser):
    """Read a page: visible text, attributes, and whether every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words).replace("\N{NO-BREAK SPACE}", " "))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def shown(folder: RunFolder, thumbnails: dict[str, bytes] | None = None) -> Reader:
    return Reader(write(folder, thumbnails=thumbnails).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, bytes]]:
    return make(tmp_path_factory.mktemp("runs"), "digits", list("0123456789"), strength=3.0, sheet=picture(0))


def test_the_page_says_how_good_it_is_and_how_sure_that_is(digits: tuple[RunFolder, dict[str, bytes]]) -> None:
    folder, thumbnails = digits
    seen, found = shown(folder, thumbnails), read(folder).evaluation
    assert found is not None
    assert found.accuracy.low is not None
    assert found.accuracy.high is not None
    assert f"{found.accuracy.value:.1%} of 180 held-out images right".replace("%", " %") in seen.text
    assert f"{100 * found.accuracy.low:.1f} to {100 * found.accuracy.high:.1f} % of them (95 % interval)" in seen.text
    assert "took no part in the training" in seen.text
    for name in ("Balanced accuracy", "Macro-F1", "Top-5 error", "Calibration error", "Loss", "Brier score"):
        assert name in seen.text
    assert f"{found.loss.value:.3f}" in seen.text
    assert f"temperature of {found.temperature:.3f}" in seen.text


def test_skewed_classes_are_told_by_balanced_figures_first(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [150, 20, 10])
    logits = np.zeros((180, 3))
    logits[:, 0] = 1  # everything is called by the commonest class, but for half of 'bee'
    logits[150:160, 1] = 2
    folder, thumbnails = make(tmp_path, "skewed", ["ant", "bee", "cow"], logits=logits, labels=labels)
    seen = shown(folder, thumbnails)
    assert "50.0 % balanced accuracy on 180 held-out images" in seen.text
    assert "Of all images alike 88.9 % were right" in seen.text
    assert "calling all of them ‘ant’ would already be right for 83.3 %" in seen.text
    tiles = [
        seen.text.index(name) for name in ("Macro-F1 ", "Lowest recall 0 %", "Accuracy 88.9 %", "Calibration error")
    ]
    assert tiles == sorted(tiles)
    assert "share of ‘cow’ that was found" in seen.text
    assert "All classes, the weakest first" in seen.text


def test_the_page_tells_the_whole_story(digits: tuple[RunFolder, dict[str, bytes]]) -> None:
    folder, thumbnails = digits
    seen, found = shown(folder, thumbnails), read(folder).evaluation
    assert found is not None
    for words in (
        "1,440 to train on, 180 to validate, 180 to test",
        "photos (class folders, no split)",
        "32 × 32 pixels, 3 channels",
        "20; the weights are those of epoch",
        "cpu, 2 threads, precision auto",
        "2 files cannot be read and were left out",
        "b/broken.jpg: truncated",
        "3 hidden or system files",
        "training: validation",
        "images per second (median epoch)",
        "label_smoothing",
        "0.002 for adamw at batch 128, times the root of 64/128",
        f"sightline predict {folder.path}",
        "sightline.Run.load(",
        "sightline train /home/ada/photos --label-smoothing 0.05",
        "9f86d081884c7d659a2feaa0c55ad015",
        "Negative natural logarithm",
    ):
        assert words in seen.text
    order = [seen.text.index(finding) for finding in ("Error 2 files", "Warning The valid", "Note 6 pairs")]
    assert order == sorted(order)
    for mistake in found.worst:
        assert mistake.name in seen.text
    pictures = [image for image in seen.all("img") if "taken for" in (image["alt"] or "")]
    assert len(pictures) == len(found.worst)
    assert all(image["src"].startswith("data:image/png;base64,") for image in pictures if image["src"])
    assert any("as the network gets them" in (image["alt"] or "") for image in seen.all("img"))


def test_nothing_is_asked_of_the_network_and_nothing_runs(digits: tuple[RunFolder, dict[str, bytes]]) -> None:
    folder, thumbnails = digits
    seen = shown(folder, thumbnails)
    text = folder.report.read_text(encoding="utf-8")
    assert seen.all("script") == seen.all("iframe") == seen.all("object") == []
    for tag, attributes in seen.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} {name}"
            if name in {"src", "href", "action", "srcset", "data"}:
                assert value is not None
                assert value.startswith(("data:", "#")), f"{tag} {name}={value}"
    assert "@import" not in text
    assert not re.search(r"url\(", text)
    assert "default-src 'none'" in text


def test_those_who_do_not_see_it_can_read_it(digits: tuple[RunFolder, dict[str, bytes]]) -> None:
    folder, thumbnails = digits
    seen = shown(folder, thumbnails)
    assert seen.all("html")[0]["lang"] == "en"
    assert len(seen.all("h1")) == 1
    assert [tag for tag, _ in seen.tags if tag in {"header", "main", "footer", "nav"}] == [
        "header",
        "nav",
        "main",
        "footer",
    ]
    levels = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch(r"h\d", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(image.get("alt") for image in seen.all("img"))
    assert all(drawing.get("aria-label") or drawing.get("aria-hidden") for drawing in seen.all("svg"))
    assert all(cell.get("scope") == "col" for cell in seen.all("th"))
    places = {attributes.get("id") for _, attributes in seen.tags}
    assert {(link["href"] or "")[1:] for link in seen.all("a")} <= places


def test_names_are_text_never_markup(tmp_path: Path) -> None:
    folder, thumbnails = make(tmp_path, "nasty", NASTY, count=60, strength=1.2, source="/data/<i>odd</i> & 'quoted'")
    seen = shown(folder, thumbnails)
    assert not seen.all("script")
    assert not seen.all("i")
    for name in NASTY:
        assert name in seen.text
    assert "49" not in {word.strip() for word in seen.words}


def test_names_that_are_no_unicode_are_shown_with_a_mark(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "bytes", ["ok", "bad\x00name\x1b"], count=40, strength=1.0)
    assert "bad\ufffdname\ufffd" in shown(folder).text
    run = read(folder)
    run.data["ignored"].append("caf\udce9.jpg was left aside.")
    assert "caf\ufffd.jpg" in page.render(run)


def test_the_same_run_gives_the_same_page(digits: tuple[RunFolder, dict[str, bytes]]) -> None:
    folder, thumbnails = digits
    assert write(folder, thumbnails=thumbnails).read_bytes() == write(folder, thumbnails=thumbnails).read_bytes()


def test_validation_scores_are_not_sold_as_held_out(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "valid", ["a", "b"], part="validation")
    text = shown(folder).text
    assert "validation images right" in text
    assert "held-out images" not in text
    assert "No images were held out for a test" in text


def test_a_run_cut_off_says_so_and_how_to_go_on(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "cut", ["a", "b"], part=None, done=3, epochs=30)
    text = shown(folder).text
    assert "Training was stopped after 3 of 30 epochs" in text
    assert "Why it ended: interrupted twice; resume continues it." in text
    assert f"To continue: sightline resume {folder.path}" in text
    assert "Best so far: a validation loss of" in text
    assert "Class by class" not in text
    assert "Learning curves" in text


def test_a_torn_last_row_is_what_a_kill_leaves(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "torn", ["a", "b"], part=None, done=3, epochs=30)
    with folder.history.open("a") as file:
        file.write('{"epoch": 4, "valid_lo')
    assert "after 3 of 30 epochs" in shown(folder).text
    with folder.history.open("a") as file:
        file.write("\n")
    with pytest.raises(RunError, match=r"history.jsonl' is damaged"):
        write(folder)


def test_a_fresh_folder_has_a_page_too(tmp_path: Path) -> None:
    text = shown(RunFolder.create(tmp_path, "fresh")).text
    assert "0 epochs" in text
    assert "Learning curves" not in text


PARTS = ("settings", "data", "environment", "findings", "evaluation", "history", "timing")


@pytest.mark.parametrize("part", PARTS)
def test_any_part_may_be_missing(tmp_path: Path, part: str) -> None:
    folder, thumbnails = make(tmp_path, part, ["a", "b", "c"])
    getattr(folder, part).unlink()
    assert "What the words mean" in shown(folder, thumbnails).text


@pytest.mark.parametrize("part", ["settings", "data", "environment", "findings", "evaluation", "history"])
def test_a_damaged_part_is_told(tmp_path: Path, part: str) -> None:
    folder, _ = make(tmp_path, part, ["a", "b", "c"])
    getattr(folder, part).write_text('{"a": \n')
    with pytest.raises(RunError, match="is damaged"):
        write(folder)


def test_one_epoch_one_image_and_perfect_scores(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "one", ["a", "b"], epochs=1, count=1, strength=30.0)
    text = shown(folder).text
    assert "100 % of 1 held-out image right" in text
    assert "no interval from one image" in text
    assert "None: all 1 image" in text
    assert "No class was taken for another" in text


def test_a_hundred_classes(tmp_path: Path) -> None:
    folder, thumbnails = make(tmp_path, "many", [f"class {i:03d}" for i in range(100)], count=1000, strength=2.5)
    seen = shown(folder, thumbnails)
    assert "The 20 weakest of 100 classes" in seen.text
    assert "All 100 classes" in seen.text
    assert "class 099" in seen.text
    assert folder.report.stat().st_size < 2_000_000


def test_a_thousand_classes_stay_readable(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "huge", [f"class {i}" for i in range(1000)], count=2000, strength=3.0)
    seen = shown(folder)
    assert "evaluation.json has them all" in seen.text
    assert len(seen.all("tr")) < 500


def test_labels_are_doubted_only_where_the_network_is_sure(tmp_path: Path) -> None:
    doubt = "the label may be what is wrong"
    assert doubt in shown(make(tmp_path, "sure", ["a", "b"], strength=1.5, sharper=5.0)[0]).text
    assert doubt not in shown(make(tmp_path, "unsure", ["a", "b"], strength=1.5, sharper=0.1)[0]).text


def test_signals_without_pictures_and_with_drawings(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "ecg", ["normal", "PVC"], kind="signal", size=(140,), strength=1.0)
    seen = shown(folder)
    assert "held-out signals right" in seen.text
    assert "140 values, 3 channels" in seen.text
    assert not seen.all("img")
    found = read(folder).evaluation
    assert found is not None
    line = str(signal([0.0, 1.0, 0.5])).encode()
    sources = [image["src"] or "" for image in shown(folder, {found.worst[0].name: line}).all("img")]
    assert base64.b64decode(sources[0].removeprefix("data:image/svg+xml;base64,")) == line


def test_a_thumbnail_must_be_a_picture(digits: tuple[RunFolder, dict[str, bytes]]) -> None:
    with pytest.raises(RunError, match="'x' is neither PNG nor JPEG"):
        write(digits[0], thumbnails={"x": b"hello"})


def test_settings_of_another_version_are_shown_as_they_are(digits: tuple[RunFolder, dict[str, bytes]]) -> None:
    run = read(digits[0])
    run.settings["from_the_future"] = [1, 2]
    run.data["reasons"]["also_unknown"] = "who knows"
    text = Reader(page.render(run)).text
    assert "from_the_future" in text
    assert "Who knows" in text


def test_charts_are_drawn_as_files(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "charts", ["a", "b"])
    paths = draw(folder)
    assert [path.name for path in paths] == [
        "loss.svg",
        "accuracy.svg",
        "learning-rate.svg",
        "confusion.svg",
        "reliability.svg",
    ]
    for path in paths:
        ElementTree.parse(path)
    assert draw(RunFolder.create(tmp_path, "none")) == []


def test_page_and_style_are_part_of_the_package() -> None:
    assert {"page.html.j2", "page.css", "chart.css"} <= {path.name for path in Path(page.__file__).parent.iterdir()}


def test_a_full_disk_leaves_the_old_page(
    digits: tuple[RunFolder, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = digits
    before = write(folder).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sightline.files.os.fsync", full)
    with pytest.raises(RunError, match="disk is full"):
        write(folder)
    assert folder.report.read_bytes() == before
