"""Manifests: three formats read alike, paths, splits and groups, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.data.images import Images
from sightline.data.sources import load
from sightline.errors import SourceError

Row = dict[str, str]
ROWS: list[Row] = [
    {"file_name": "images/a1.jpg", "label": "cat", "split": "train", "group": "g1"},
    {"file_name": "images/b 2, ü.jpg", "label": "dog", "split": "val", "group": "g2"},
    {"file_name": "images/a2.jpg", "label": "cat", "split": "Test", "group": "g1"},
    {"file_name": "images/gone.jpg", "label": "dog", "split": "training", "group": "g3"},
]


def write_csv(path: Path, rows: list[Row], delimiter: str = ",") -> Path:
    lines = [rows[0].keys(), *(row.values() for row in rows)]
    path.write_text("".join(delimiter.join(f'"{cell}"' for cell in line) + "\n" for line in lines), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[Row]) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


WRITERS: dict[str, Callable[[Path, list[Row]], Path]] = {
    "csv": write_csv,
    "tsv": lambda path, rows: write_csv(path, rows, "\t"),
    "parquet": write_parquet,
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for row in ROWS[:3]:
        (tmp_path / row["file_name"]).touch()
    return tmp_path


def refused(path: Path) -> str:
    with pytest.raises(SourceError) as error:
        load(path)
    assert error.value.hint
    return str(error.value)


def told(images: Images) -> list[tuple[str, str]]:
    return [(images.label_of(row), images.classes[images.labels[row]]) for row in range(len(images))]


@pytest.mark.parametrize("kind", WRITERS)
def test_the_formats_are_read_alike(place: Path, kind: str) -> None:
    images = load(WRITERS[kind](place / f"table.{kind}", ROWS))
    assert told(images) == [(row["file_name"], row["label"]) for row in ROWS]
    assert images.classes == ("cat", "dog")
    assert images.splits is not None
    assert images.splits.tolist() == ["train", "valid", "test", "train"]
    assert images.groups is not None
    assert images.groups.tolist() == ["g1", "g2", "g1", "g3"]
    assert images.name == "table"
    assert images.layout == f"{kind} manifest with splits"
    assert images.ignored == ()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_separators_and_a_byte_order_mark(place: Path, delimiter: str) -> None:
    path = write_csv(place / "table.csv", ROWS, delimiter)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert told(load(path)) == [(row["file_name"], row["label"]) for row in ROWS]


def test_path_and_label_are_enough_and_case_does_not_matter(place: Path) -> None:
    rows = [{" Path ": row["file_name"], "LABEL": row["label"]} for row in ROWS]
    images = load(write_csv(place / "table.csv", rows))
    assert images.splits is None
    assert images.groups is None
    assert len(images) == 4


def test_absolute_paths(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = [{"path": str(place / row["file_name"]), "label": row["label"]} for row in ROWS]
    images = load(write_csv(tmp_path_factory.mktemp("elsewhere") / "table.csv", rows))
    assert images.paths is not None
    assert images.paths.tolist() == [row["path"] for row in rows]


def test_other_columns_are_told(place: Path) -> None:
    images = load(write_csv(place / "table.csv", [{**row, "width": "3"} for row in ROWS]))
    assert images.ignored == ("columns without a meaning here: 'width'",)


def test_one_split_is_no_split(place: Path) -> None:
    images = load(write_csv(place / "table.csv", [{**row, "split": "train"} for row in ROWS]))
    assert images.splits is None


def test_numbers_as_labels_of_a_parquet(place: Path) -> None:
    rows = [{"path": row["file_name"], "label": 10 if row["label"] == "cat" else 9} for row in ROWS]
    images = load(write_parquet(place / "table.parquet", rows))  # type: ignore[arg-type]
    assert images.classes == ("9", "10")


def test_missing_files_are_left_to_the_decoder(place: Path) -> None:
    images = load(write_csv(place / "table.csv", ROWS))
    assert "images/gone.jpg" in [name for name, _ in told(images)]


def test_no_file_at_all_is_one_error(place: Path) -> None:
    rows = [{**row, "file_name": f"nowhere/{row['file_name']}"} for row in ROWS]
    message = refused(write_csv(place / "table.csv", rows))
    assert f"none of the 4 files in manifest '{place / 'table.csv'}' exists" in message
    assert str(place / "nowhere" / "images" / "a1.jpg") in message
    assert "backslashes" not in message


def test_backslashes_are_pointed_out(place: Path) -> None:
    rows = [{**row, "file_name": row["file_name"].replace("/", "\\")} for row in ROWS]
    assert "backslashes" in refused(write_csv(place / "table.csv", rows))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("column", ["file_name", "label", "split", "group"])
def test_empty_cells(place: Path, kind: str, column: str) -> None:
    rows = [dict(row) for row in ROWS]
    rows[1][column] = " "
    where = "row 1" if kind == "parquet" else "line 3"
    name = "path" if column == "file_name" else column
    assert f"{where}: '{name}' is empty" in refused(WRITERS[kind](place / f"table.{kind}", rows))


def test_nothing_in_a_cell_of_a_parquet(place: Path) -> None:
    rows = [{**row, "label": None} if k == 2 else row for k, row in enumerate(ROWS)]
    assert "row 2: 'label' is empty" in refused(write_parquet(place / "table.parquet", rows))  # type: ignore[arg-type]


def test_unknown_splits(place: Path) -> None:
    rows = [{**row, "split": "tset"} if k == 2 else row for k, row in enumerate(ROWS)]
    message = refused(write_csv(place / "table.csv", rows))
    assert "line 4: split 'tset' is unknown. Did you mean 'test'?" in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "has no column file_name or path: it has nothing"),
        ("file_name,label\n", "has no rows"),
        ("filename,label\na.jpg,x\n", "it has 'filename', 'label'. Did you mean 'filename'?"),
        ("path,class\na.jpg,x\n", "has no column label: it has 'path', 'class'"),
        ("path,lable\na.jpg,x\n", "Did you mean 'lable'?"),
        ("path,file_name,label\na,b,c\n", "both 'path' and 'file_name'"),
        ("path,label,label\na,b,c\n", "two columns of one name"),
        ("path,label\na.jpg,x\nb.jpg,y,z\n", "line 3: 3 cells, but 2 columns"),
        ('path,label\n"a.jpg,x\n', "cannot be read"),
    ],
)
def test_tables_that_are_refused(place: Path, text: str, word: str) -> None:
    (place / "table.csv").write_text(text)
    message = refused(place / "table.csv")
    assert word in message
    assert f"'{place / 'table.csv'}'" in message


def test_other_encodings_are_not_guessed(place: Path) -> None:
    (place / "table.csv").write_bytes("path,label\nä.jpg,x\n".encode("latin-1"))
    assert "not written in UTF-8" in refused(place / "table.csv")


def test_a_parquet_that_is_none(place: Path) -> None:
    pytest.importorskip("pyarrow")
    (place / "table.parquet").write_bytes(b"PAR1 but no more")
    assert "cannot be read" in refused(place / "table.parquet")


def test_a_parquet_with_other_columns(place: Path) -> None:
    rows = [{"image": b"123", "label": "a"}]
    message = refused(write_parquet(place / "table.parquet", rows))  # type: ignore[arg-type]
    assert "has no column file_name or path: it has 'image', 'label'" in message


def test_line_numbers_count_lines_within_cells(place: Path) -> None:
    (place / "table.csv").write_text('path,label,note\nimages/a1.jpg,x,"two\nlines"\n\nimages/a2.jpg,,\n')
    assert "line 5: 'label' is empty" in refused(place / "table.csv")
