"""A reviewed list is applied at load, exactly and strictly; source and parts of the split stay as they are."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline
from sightline.data.corrections import COLUMNS, apply, read
from sightline.data.images import SPLITS, Images
from sightline.data.split import Split
from sightline.errors import RunError, SourceError
from sightline.making.prepared import prepare
from sightline.progress import Progress
from sightline.settings import Settings

CLASSES = ("ant", "bee", "cow")


def images(count: int = 30) -> Images:
    array = np.zeros((count, 4, 4, 1), np.uint8)
    array[:, 0, 0, 0] = np.arange(count)
    return Images("insects", "arrays", "image", CLASSES, np.arange(count) % 3, array=array)


def listing(path: Path, *lines: tuple[str, ...], header: tuple[str, ...] = COLUMNS) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    return path


@given(st.lists(st.tuples(st.integers(0, 29), st.sampled_from(["keep", "drop", "relabel"])), unique_by=lambda p: p[0]))
def test_every_line_is_done_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, wishes: list[tuple[int, str]]
) -> None:
    given_images = images()
    path = tmp_path_factory.mktemp("list") / "labels.csv"
    lines = [(f"row {row}", CLASSES[row % 3], CLASSES[(row + 1) % 3], action) for row, action in wishes]
    corrected = apply(given_images, read(listing(path, *lines)))
    did = dict(wishes)
    for row in range(30):
        assert (row in corrected.dropped) == (did.get(row) == "drop")
        assert (row in corrected.relabelled) == (did.get(row) == "relabel")
        assert corrected.images.labels[row] == (row + (did.get(row) == "relabel")) % 3
    assert corrected.images.array is given_images.array
    assert (given_images.labels == np.arange(30) % 3).all()
    again = listing(path.with_name("again.csv"))
    again.write_text(corrected.corrections.as_csv())
    assert (apply(given_images, read(again)).images.labels == corrected.images.labels).all()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([("row 30", "ant", "", "drop")], "line 2: 'row 30' is not among the readable images of 'insects'"),
        ([("row 0", "bee", "", "drop")], "labelled 'ant' in 'insects', not 'bee'"),
        ([("row 0", "ant", "wasp", "relabel")], "'wasp' is no class"),
        ([("row 0", "ant", "be", "relabel")], "Did you mean 'bee'"),
        ([("row 0", "ant", "", "relabel")], "'suggested' is empty"),
        ([("row 0", "ant", "ant", "relabel")], "labelled 'ant' already"),
        ([("row 0", "ant", "", "dorp")], "'dorp' is no action. Did you mean 'drop'"),
        ([("row 0", "ant", "", "drop"), ("row 0", "ant", "bee", "relabel")], "line 3, contradict line 2"),
        ([("row 0", "ant", "", "drop"), ("row 0", "ant", "", "keep")], "to keep, and to drop"),
        ([("row 0", "ant", "bee")], "3 cells, but 4 columns"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(lines: list[tuple[str, ...]], said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        apply(images(), read(listing(tmp_path / "labels.csv", *lines)))
    assert said in str(caught.value)
    assert caught.value.hint


def test_a_list_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read(tmp_path / "missing.csv")
    with pytest.raises(SourceError, match=r"no column 'action'.*Did you mean 'actions'"):
        read(
            listing(tmp_path / "labels.csv", ("a", "b", "c", "keep"), header=("file", "label", "suggested", "actions"))
        )


def test_what_a_spreadsheet_saves_is_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("\ufefffile;label;Suggested;ACTION;score\r\nrow 3;ant;cow;Relabel;0,1\r\n".encode())
    assert apply(images(), read(path)).relabelled.tolist() == [3]


def test_nobody_changes_sides_and_a_class_needs_an_image(tmp_path: Path) -> None:
    source = images()
    settings = Settings(test_fraction=0.2, valid_fraction=0.2)
    before = prepare(source, settings, Progress(quiet=True))
    lines = [
        (f"row {row}", CLASSES[row % 3], CLASSES[(row + 1) % 3], "drop" if row % 2 else "relabel") for row in range(12)
    ]
    path = listing(tmp_path / "labels.csv", *lines)
    after = prepare(source, settings.model_copy(update={"corrections": path}), Progress(quiet=True))
    for part in SPLITS:
        kept = [row for row in getattr(before.split, part) if row >= 12 or row % 2 == 0]
        assert getattr(after.split, part).tolist() == kept
    told = next(finding for finding in after.findings if finding.code == "data/corrections")
    in_test = [row for row in before.split.test if row < 12]
    assert told.evidence["counts"]["test"] == {
        "drop": sum(row % 2 for row in in_test),
        "relabel": sum(row % 2 == 0 for row in in_test),
    }
    assert (told.severity == "warning") == bool(in_test)
    everything = [(f"row {row}", "ant", "", "drop") for row in range(0, 30, 3)]
    with pytest.raises(SourceError, match="class 'ant' without a training image"):
        prepare(source, Settings(corrections=listing(path, *everything)), Progress(quiet=True))


def test_the_test_part_is_told_apart() -> None:
    corrected = apply(images(), read_lines(("row 1", "bee", "", "drop")))
    rows = np.arange(30)
    told = corrected.finding(Split(rows[2:], rows[:0], rows[:2]))
    assert told.severity == "warning"
    assert "test 1 dropped and 0 relabelled of 2" in told.message
    assert corrected.finding(Split(rows[:20], rows[20:], rows[:0])).severity == "note"


def read_lines(*lines: tuple[str, ...]):  # type: ignore[no-untyped-def]
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return read(listing(Path(folder) / "labels.csv", *lines))


def test_copies_that_were_dropped_are_no_finding(tmp_path: Path) -> None:
    source = images()
    assert source.array is not None
    source.array[1] = source.array[0]  # one picture, an ant and a bee

    def codes(**settings: Path) -> set[str]:
        return {finding.code for finding in prepare(source, Settings(**settings), Progress(quiet=True)).findings}

    assert "data/duplicate-across-labels" in codes()
    path = listing(tmp_path / "labels.csv", ("row 1", "bee", "", "drop"))
    assert not codes(corrections=path) & {"data/duplicate-across-labels", "data/duplicate-across-splits"}


def test_a_run_remembers_its_corrections(draw_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    names = [f"disc/{number}.png" for number in range(20)]
    lines = [(name, "disc", "bar", "relabel") for name in names[:2]] + [
        (name, "disc", "", "drop") for name in names[2:4]
    ]
    path = listing(tmp_path / "labels.csv", *lines)
    run = sightline.train(
        folder, "mlp", epochs=1, image_size=16, corrections=path, runs=tmp_path, name="run", compile="off"
    )
    with run.folder.split.open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows["disc/0.png"]["class"] == "bar"
    assert rows["disc/2.png"]["split"] == ""
    assert sum(row["split"] != "" for row in rows.values()) == 58
    told = run.folder.read_json(run.folder.data)["corrections"]
    assert sum(count["drop"] for count in told["counts"].values()) == 2
    assert sum(count["relabel"] for count in told["counts"].values()) == 2
    path.unlink()  # the run has its own copy
    data = sightline.Run.load(run.path).data()
    assert data.labels[data.names(np.arange(60)).index("disc/0.png")] == 0
    assert len(data.split.train) + len(data.split.valid) + len(data.split.test) == 58
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before
    shutil.move(folder / "disc" / "0.png", folder / "grid" / "x.png")
    with pytest.raises(RunError, match="1 images are gone, 1 are new"):
        sightline.Run.load(run.path).data()


def test_the_estimator_applies_them_by_row(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    y = np.array(["tea", "coffee"])[np.arange(40) % 2]
    x = random.integers(0, 100, (40, 6, 6)).astype(np.uint8) + (100 * (y == "tea")).astype(np.uint8)[:, None, None]
    path = listing(tmp_path / "labels.csv", ("row 4", "tea", "coffee", "relabel"), ("row 6", "tea", "", "drop"))
    model = sightline.ImageClassifier("logistic", epochs=2, corrections=path, normalise="pixel").fit(x, y)
    assert model.classes_.tolist() == ["coffee", "tea"]
    assert model.predict(x).shape == (40,)
    with pytest.raises(SourceError, match="labelled 'coffee' in 'arrays', not 'tea'"):
        sightline.ImageClassifier("logistic", epochs=2, corrections=path).fit(x[1:], y[1:])
