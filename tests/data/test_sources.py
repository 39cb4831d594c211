"""Folders and paths: what is understood, what is left aside and told, what is refused and with which words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.data.images import Images
from sightline.data.sources import load, refuse_untrainable
from sightline.errors import SightlineError, SourceError

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make files below a folder, empty ones: nothing is opened by listing."""

    def make(*names: str, folder: str = "set") -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for name in names:
            path = root / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
        return root

    return make


def listed(images: Images) -> list[tuple[str, str, str]]:
    """Give (path below the root, class, split) of each row."""
    splits = images.splits if images.splits is not None else [""] * len(images)
    return [(images.label_of(row), images.classes[images.labels[row]], str(splits[row])) for row in range(len(images))]


def refused(source: object, **options: object) -> str:
    """Load what must be refused, and give the message."""
    with pytest.raises(SourceError) as error:
        load(source, **options)  # type: ignore[arg-type]
    assert error.value.hint
    return str(error.value)


def test_class_folders(tree: Tree) -> None:
    images = load(tree("cats/b.jpg", "cats/a.PNG", "dogs/1.jpeg", "dogs/2.webp"))
    assert images.classes == ("cats", "dogs")
    assert listed(images) == [
        ("cats/a.PNG", "cats", ""),
        ("cats/b.jpg", "cats", ""),
        ("dogs/1.jpeg", "dogs", ""),
        ("dogs/2.webp", "dogs", ""),
    ]
    assert images.kind == "image"
    assert images.layout == "class folders, no split"
    assert images.splits is None
    assert images.array is None
    assert images.ignored == ()
    assert images.labels.dtype == np.int64
    assert images.paths is not None
    assert all(os.path.isabs(path) for path in images.paths)


def test_classes_are_sorted_as_people_do(tree: Tree) -> None:
    images = load(tree(*(f"{name}/{k}.jpg" for name in ("10", "9", "b2", "b10", "A") for k in range(2))))
    assert images.classes == ("9", "10", "A", "b2", "b10")


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [("train", "val", "test"), ("Training", "VALID", "holdout"), ("TRAIN", "validation", "Test"), ("train", "dev", "")],
)
def test_split_folders_by_all_their_names(tree: Tree, train: str, valid: str, test: str) -> None:
    folders = {"train": train, "valid": valid, **({"test": test} if test else {})}
    root = tree(*(f"{folder}/{name}/{k}.jpg" for folder in folders.values() for name in ("a", "b") for k in range(2)))
    images = load(root)
    assert images.splits is not None
    assert listed(images) == [
        (f"{folder}/{name}/{k}.jpg", name, split)
        for split, folder in folders.items()
        for name in ("a", "b")
        for k in range(2)
    ]


def test_a_class_missing_from_a_split_moves_no_number(tree: Tree) -> None:
    images = load(
        tree(
            "train/a/1.jpg",
            "train/b/1.jpg",
            "train/c/1.jpg",
            "test/a/1.jpg",
            "test/c/1.jpg",
            "test/b/",
            "train/b/2.jpg",
        )
    )
    assert images.classes == ("a", "b", "c")
    assert images.counts("train").tolist() == [1, 2, 1]
    assert images.counts("test").tolist() == [1, 0, 1]
    assert "1 folder without images: 'b'" in images.ignored


def test_classes_are_those_of_all_splits(tree: Tree) -> None:
    images = load(tree("train/a/1.jpg", "train/a/2.jpg", "test/b/1.jpg", "test/b/2.jpg"))
    assert images.classes == ("a", "b")


def test_one_split_folder_is_no_split(tree: Tree) -> None:
    images = load(tree("train/a/1.jpg", "train/b/1.jpg", "train/a/2.jpg", "train/b/2.jpg"))
    assert images.splits is None
    assert images.layout == "class folders in 'train', no split"


def test_a_class_may_be_called_train(tree: Tree) -> None:
    images = load(tree("bus/1.jpg", "train/1.jpg", "bus/2.jpg", "train/2.jpg"))
    assert images.classes == ("bus", "train")
    assert images.splits is None


def test_train_as_split_or_class_is_not_guessed(tree: Tree) -> None:
    message = refused(tree("bus/1.jpg", "train/fast/1.jpg", "train/slow/2.jpg"))
    assert "'train' with class folders inside" in message
    assert "'bus'" in message


def test_two_folders_for_one_split(tree: Tree) -> None:
    message = refused(tree("train/a/1.jpg", "val/a/1.jpg", "valid/b/1.jpg"))
    assert "'val' and 'valid', which both mean valid" in message


def test_what_lies_beside_the_splits_is_told(tree: Tree) -> None:
    images = load(
        tree(
            *(f"{split}/{name}/{k}.jpg" for split in ("train", "test") for name in "ab" for k in range(2)),
            "extra/1.jpg",
            "cover.png",
            "train/loose.jpg",
            "README.txt",
        )
    )
    assert len(images) == 8
    assert "1 folder beside the splits, in no split: 'extra'" in images.ignored
    assert "1 image beside the splits, in no split" in images.ignored
    assert "1 image in 'train' outside its class folders" in images.ignored
    assert "1 file without an image's extension: .txt" in images.ignored


def test_an_unlabelled_test_folder_is_told(tree: Tree) -> None:
    images = load(tree(*(f"train/{name}/{k}.jpg" for name in "ab" for k in range(2)), "val/a/1.jpg", "test/1.jpg"))
    assert images.counts("valid").tolist() == [1, 0]
    assert images.counts("test").tolist() == [0, 0]
    assert "1 folder beside the splits, in no split: 'test'" in images.ignored
    only = load(tree(*(f"train/{name}/{k}.jpg" for name in "ab" for k in range(2)), "test/1.jpg", folder="contest"))
    assert only.layout == "class folders in 'train', no split"
    assert "1 folder beside the splits, in no split: 'test'" in only.ignored


def test_hidden_and_system_entries_are_left_aside_and_told(tree: Tree) -> None:
    images = load(
        tree(
            "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", ".git/x.jpg", "__MACOSX/a/1.jpg", ".ipynb_checkpoints/1.jpg",
            "a/.DS_Store", "a/Thumbs.db", "a/._1.jpg", "b/desktop.ini", "b/@eaDir/1.jpg", "b/notes.txt", "b/more.txt",
            "b/README", "docs/x.pdf",
        )
    )  # fmt: skip
    assert images.classes == ("a", "b")
    assert len(images) == 4
    hidden = next(sentence for sentence in images.ignored if "hidden" in sentence)
    assert hidden.startswith("8 hidden or system entries: ")
    assert "4 files without an image's extension: .txt 2, no extension, .pdf" in images.ignored
    assert "1 folder without images: 'docs'" in images.ignored


def test_images_in_folders_below_a_class(tree: Tree) -> None:
    images = load(tree("cat/2019/jan/1.jpg", "cat/2.jpg", "dog/spaniel/1.jpg", "dog/poodle/1.jpg"))
    assert [path for path, _, _ in listed(images)] == [
        "cat/2.jpg",
        "cat/2019/jan/1.jpg",
        "dog/poodle/1.jpg",
        "dog/spaniel/1.jpg",
    ]
    assert images.ignored == ()


def test_a_level_that_may_be_the_classes_is_told(tree: Tree) -> None:
    images = load(tree(*(f"{outer}/{name}/1.jpg" for outer in ("farm", "zoo") for name in ("cat", "dog"))))
    assert images.classes == ("farm", "zoo")
    assert "every class folder holds the folders 'cat', 'dog', which were not taken for classes" in images.ignored


def test_a_class_may_have_a_splits_word_in_its_name(tree: Tree) -> None:
    root = tree(*(f"{name}/{view}/1.jpg" for name in ("test tube", "beaker") for view in ("front", "back")))
    assert load(root).classes == ("beaker", "test tube")


@pytest.mark.parametrize("outer", [("training_set", "test_set"), ("seg_train", "seg_test"), ("Train-1", "Val-1")])
def test_splits_with_unknown_names_are_not_taken_for_classes(tree: Tree, outer: tuple[str, str]) -> None:
    message = refused(tree(*(f"{folder}/{name}/1.jpg" for folder in outer for name in ("cat", "dog"))))
    assert "look like splits" in message
    assert "Call them train, valid and test" in message


def test_a_folder_within_a_folder(tree: Tree) -> None:
    root = tree("flowers/rose/1.jpg", "flowers/tulip/1.jpg", "__MACOSX/x")
    assert f"give '{root / 'flowers'}'" in refused(root)


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_broken_entries_with_an_images_name_stay_for_the_decoder(tree: Tree) -> None:
    root = tree("a/1.jpg", "b/1.jpg", "b/2.jpg", "a/folder.png/inside.jpg")
    (root / "a" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    (root / "a" / "self.jpg").symlink_to(root / "a" / "self.jpg")
    (root / "loop").symlink_to(root / "loop")
    images = load(root)
    assert [path for path, name, _ in listed(images) if name == "a"] == [
        "a/1.jpg",
        "a/folder.png",
        "a/gone.jpg",
        "a/self.jpg",
    ]


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_links_are_followed_but_not_in_circles(tree: Tree) -> None:
    root = tree("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    elsewhere = tree("3.jpg", folder="elsewhere")
    (root / "a" / "more").symlink_to(elsewhere)
    (root / "b" / "up").symlink_to(root / "b")
    images = load(root)
    assert images.counts().tolist() == [3, 2]
    assert any("already read" in sentence for sentence in images.ignored)


@pytest.mark.parametrize(
    "name",
    ["fête d'été", "日本 語", "emoji 🦊👩‍🚀", "a&b [c] {d}", "100%", "-rf", "quote\"'", "train.jpg", "x" * 200],
)
def test_odd_names(tree: Tree, name: str) -> None:
    images = load(tree(f"{name}/{name[:100]}.jpg", f"{name}/new\nline.jpg", "b/1.jpg", "b/2.jpg"))
    assert name in images.classes
    assert images.paths is not None
    assert all(os.path.exists(path) for path in images.paths)


def test_a_name_is_one_class_however_its_accents_are_written(tree: Tree) -> None:
    images = load(tree("train/caf\u00e9/1.jpg", "test/cafe\u0301/1.jpg", "train/b/1.jpg", "test/b/1.jpg"))
    assert images.classes == ("b", "caf\u00e9")
    assert images.counts("test").tolist() == [1, 1]


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are Unicode there")
def test_names_that_are_no_unicode(tree: Tree) -> None:
    root = tree("a/1.jpg", "a/2.jpg", "b/1.jpg")
    (Path(os.fsdecode(os.fsencode(root / "b") + b"/\xff\xfe.jpg"))).write_bytes(b"")
    images = load(root)
    assert images.paths is not None
    assert all(os.path.exists(path) for path in images.paths.tolist())
    os.mkdir(os.fsencode(root) + b"/\xff")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff/1.jpg")).write_bytes(b"")
    assert "broken Unicode" in refused(root)


def test_class_names_that_differ_by_case_are_told(tree: Tree) -> None:
    if os.path.exists(str(tree("case.x") / "CASE.X")):
        pytest.skip("the disk knows no case")
    images = load(tree("Cat/1.jpg", "cat/1.jpg", "Cat/2.jpg", "cat/2.jpg"))
    assert images.classes == ("Cat", "cat")
    assert "classes that differ only in upper and lower case count as two: 'cat'" in images.ignored


def test_the_working_folder_does_not_matter(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    whole = load(root)
    monkeypatch.chdir(root.parent)
    assert whole.paths is not None
    for name in ("set", "./set", "set/", str(root) + "/../set", Path("set")):
        relative = load(name)
        assert relative.paths is not None
        assert relative.paths.tolist() == whole.paths.tolist()
        assert relative.name == "set"
    monkeypatch.chdir(root)
    assert load(".").name == "set"


def test_loading_changes_nothing(tree: Tree) -> None:
    root = tree("train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/b/1.jpg", ".x")
    for path in sorted(root.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = [(str(path), path.stat().st_mtime_ns) for path in sorted(root.rglob("*"))]
    load(root)
    assert before == [(str(path), path.stat().st_mtime_ns) for path in sorted(root.rglob("*"))]
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["train", "val", "test"]), st.sampled_from("abcde")), min_size=1))
def test_every_image_is_found_once(tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, str]]) -> None:
    root = tmp_path_factory.mktemp("drawn")
    for number, (split, name) in enumerate(files):
        path = root / split / name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    images = load(root, training=False)
    mean = {"train": "train", "val": "valid", "test": "test"}
    expected = {(f"{split}/{name}/{k}.jpg", name, mean[split]) for k, (split, name) in enumerate(files)}
    if images.splits is None:
        assert len({split for split, _ in files}) == 1
        expected = {(path, name, "") for path, name, _ in expected}
    assert set(listed(images)) == expected
    assert len(images) == len(files)


# what is refused


def test_a_missing_path_suggests_its_neighbour(tree: Tree) -> None:
    root = tree("a/1.jpg")
    message = refused(root.parent / "sets")
    assert f"Did you mean '{root}'?" in message
    assert "digits" in message


def test_a_missing_path_says_where_it_ends(tmp_path: Path) -> None:
    message = refused(tmp_path / "no" / "such" / "folder")
    assert f"there is no folder '{tmp_path / 'no' / 'such'}'" in message
    assert f"'{tmp_path}' does" in message


@pytest.mark.parametrize(
    ("name", "meant"), [("minst", "mnist"), ("cifar-10", "cifar10"), ("Fashion_MNIST", "fashion-mnist")]
)
def test_a_misspelt_name_suggests_the_known_one(name: str, meant: str) -> None:
    assert f"Did you mean '{meant}'?" in refused(name)


@pytest.mark.parametrize("name", ["", " ", "x" * 5000, "a\0b"])
def test_impossible_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(name)


def test_folders_without_images(tree: Tree) -> None:
    assert "is empty" in refused(tree(folder="nothing"))
    assert "has 2 images but no class folders" in refused(tree("1.jpg", "2.jpg", folder="flat"))
    assert "hold no images: 'a', 'b'" in refused(tree("a/", "b/x.txt", folder="bare"))
    assert "holds no images; 2 files without an image's extension: .txt 2" in refused(
        tree("1.txt", "2.txt", folder="texts")
    )


def test_a_table_in_the_folder_is_pointed_to(tree: Tree) -> None:
    root = tree("1.jpg", "2.jpg", "metadata.csv")
    assert f"Did you mean the file in it: '{root / 'metadata.csv'}'?" in refused(root)


def test_one_class(tree: Tree) -> None:
    root = tree("cat/1.jpg", "cat/2.jpg")
    assert "has one class, 'cat'" in refused(root)
    assert load(root, training=False).classes == ("cat",)


def test_a_class_with_one_image(tree: Tree) -> None:
    root = tree("cat/1.jpg", "cat/2.jpg", "dog/1.jpg")
    assert "only one image of class 'dog'" in refused(root)
    images = load(root, training=False)
    assert images.counts().tolist() == [2, 1]
    with pytest.raises(SourceError, match="class 'dog'"):
        refuse_untrainable(images)


def test_images_that_are_no_classes(tree: Tree) -> None:
    assert "one each" in refused(tree(*(f"{k}/1.jpg" for k in range(5))))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission(tree: Tree) -> None:
    root = tree("a/1.jpg", "b/1.jpg")
    (root / "b").chmod(0)
    try:
        assert "no permission to read" in refused(root)
    finally:
        (root / "b").chmod(0o755)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("x.mat", "kind that is not understood"),
        ("x.zip", "Unpack"),
        ("x.jpg", "sightline predict"),
        ("x.npy", "numpy.savez"),
        ("x.pkl", "can run code"),
        ("README", "not understood"),
    ],
)
def test_files_that_are_no_source(tree: Tree, name: str, word: str) -> None:
    assert word in refused(tree(name) / name)


@pytest.mark.parametrize("source", [None, 3, [1, 2], (1, 2, 3), (), b"x", np.zeros((3, 3))])
def test_things_that_are_no_source(source: object) -> None:
    assert "a source cannot be" in refused(source)


def test_images_are_passed_on(tree: Tree) -> None:
    images = load(tree("a/1.jpg", "b/1.jpg", "a/2.jpg", "b/2.jpg"))
    assert load(images) is images


def test_a_folder_comes_before_the_known_name(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", folder="digits")
    monkeypatch.chdir(root.parent)
    images = load("digits")
    assert images.classes == ("a", "b")
    assert "the known data set 'digits': a folder of that name is here" in images.ignored


def test_errors_are_ours() -> None:
    assert issubclass(SourceError, SightlineError)
