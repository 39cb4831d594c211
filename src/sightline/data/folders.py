"""A folder of class folders, with or without train, valid and test above them -> Images.

Nothing is opened: a file counts by its name. Whatever has an image's name inside a class folder becomes a row, broken
links and folders included, so that the decoder reports it. Hidden entries (``.*``), system entries and files without an
image's extension are left aside and counted in ``Images.ignored``. No file or folder is ever written to.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline.data.decode import EXTENSIONS
from sightline.data.images import SPLITS, Images, Split, natural_key
from sightline.data.labels import SPLIT_NAMES, class_name, join_splits, listed
from sightline.errors import SourceError

IMAGE_EXTENSIONS = EXTENSIONS | {".heic", ".heif"}
"""What an image's name may end with, in lower case: what is decoded, and what phones write and the decoder refuses."""

# fmt: off
SYSTEM_NAMES = frozenset((
    "$recycle.bin", "@eadir", "__macosx", "desktop.ini", "ehthumbs.db", "icon\r", "lost+found",
    "system volume information", "thumbs.db",
))
# fmt: on
"""Names that operating systems and storage boxes leave behind, in lower case."""


@dataclass
class Aside:
    """What was left aside while listing, by name or extension, with counts."""

    hidden: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)

    def add(self, other: Aside) -> None:
        """Count what was left aside elsewhere too."""
        self.hidden += other.hidden
        self.others += other.others
        self.empty += other.empty
        self.links += other.links
        self.sentences += other.sentences

    def told(self) -> tuple[str, ...]:
        """Say it in sentences."""
        found = list(self.sentences)
        if self.empty:
            found.append(f"{_count(len(self.empty), 'folder')} without images: {listed(self.empty, 6)}")
        if self.links:
            found.append(f"{_count(len(self.links), 'link')} to folders already read: {listed(self.links, 3)}")
        if self.hidden:
            found.append(f"{_count(self.hidden.total(), 'hidden or system entry')}: {_tally(self.hidden)}")
        if self.others:
            found.append(f"{_count(self.others.total(), 'file')} without an image's extension: {_tally(self.others)}")
        return tuple(found)


@dataclass
class Listing:
    """The inside of one folder.

    Attributes:
        path: the folder.
        folders: the names of the folders in it, in natural order.
        beside: how many images lie directly in it.
        aside: what was left aside in it, and below it once ``classes`` is filled.
        classes: class name to the images at any depth of the folders called so.
        below: for each class folder without an image directly in it, the names of the folders in it.
    """

    path: str
    folders: list[str] = field(default_factory=list)
    beside: int = 0
    aside: Aside = field(default_factory=Aside)
    classes: dict[str, list[str]] = field(default_factory=dict)
    below: dict[str, set[str]] = field(default_factory=dict)


def read_folder(path: Path) -> Images:
    """Read a folder of class folders, or of ``train``, ``valid`` and ``test`` folders that hold class folders.

    Splits may be called train, training; val, valid, validation, dev; test, holdout; in upper or lower case. Any of
    them may be missing; a single one counts as no split. A class is a folder that has images at any depth; the classes
    are those of all splits together. A folder with a split's name and no class folders inside is a class like others.

    Returns:
        Images with absolute ``paths``, sorted by split, class and name.

    Raises:
        SourceError: the folder cannot be read, is empty, or has no class folders.
    """
    root = os.path.abspath(path)
    top = _list(root)
    splits: dict[str, Listing] = {}
    for folder in top.folders:
        if folder.lower() in SPLIT_NAMES:
            listing = _list_classes(_list(os.path.join(root, folder)))
            if listing.classes:
                splits[folder] = listing
    if splits:
        return _with_splits(path, top, splits)
    _list_classes(top)
    if not top.classes:
        raise _nothing(path, top)
    _look_like_splits(path, top)
    if top.beside:
        top.aside.sentences.append(f"{_count(top.beside, 'image')} beside the class folders, in no class")
    return _images(root, {None: top}, "class folders, no split", top.aside)


def _with_splits(path: Path, top: Listing, splits: dict[str, Listing]) -> Images:
    by_split: dict[Split, str] = {}
    for folder in splits:
        split = SPLIT_NAMES[folder.lower()]
        if split in by_split:
            raise SourceError(
                f"folder '{path}' has both '{by_split[split]}' and '{folder}', which both mean {split}.",
                "Rename one of them, or put their images together.",
            )
        by_split[split] = folder
    aside = top.aside
    others = [folder for folder in top.folders if folder not in splits]
    # A folder with a split's name is one that has no labels; one with another name may be a class.
    strange = [folder for folder in others if folder.lower() not in SPLIT_NAMES]
    filled = [folder for folder in strange if _list(os.path.join(top.path, folder)).beside]
    if len(splits) == 1 and filled:
        only = next(iter(splits))
        raise SourceError(
            f"folder '{path}' has '{only}' with class folders inside, and folders with images beside it: "
            f"{listed(filled, 4)}.",
            f"If '{only}' is a split, give '{path / only}' or move the others away; if it is a class, rename it.",
        )
    if others:
        aside.sentences.append(f"{_count(len(others), 'folder')} beside the splits, in no split: {listed(others, 6)}")
    if top.beside:
        aside.sentences.append(f"{_count(top.beside, 'image')} beside the splits, in no split")
    for folder, listing in splits.items():
        if listing.beside:
            aside.sentences.append(f"{_count(listing.beside, 'image')} in '{folder}' outside its class folders")
        aside.add(listing.aside)
    names = [by_split[split] for split in SPLITS if split in by_split]
    layout = (
        f"class folders in '{names[0]}', no split"
        if len(names) == 1
        else f"split folders ({', '.join(names)}) of class folders"
    )
    return _images(top.path, {split: splits[by_split[split]] for split in SPLITS if split in by_split}, layout, aside)


def _images(root: str, listings: Mapping[Any, Listing], layout: str, aside: Aside) -> Images:
    classes = tuple(sorted({name for listing in listings.values() for name in listing.classes}, key=natural_key))
    _refuse_unwritable(classes)
    if len({name.casefold() for name in classes}) < len(classes):
        twins = [name for name, n in Counter(name.casefold() for name in classes).items() if n > 1]
        aside.sentences.append(f"classes that differ only in upper and lower case count as two: {listed(twins, 4)}")
    paths: list[str] = []
    numbers: list[int] = []
    counts: list[int] = []
    sizes: list[tuple[Split | None, int]] = []
    for split, listing in listings.items():
        before = len(paths)
        for number, name in enumerate(classes):
            found = sorted(listing.classes.get(name, ()))
            paths += found
            numbers.append(number)
            counts.append(len(found))
        sizes.append((split, len(paths) - before))
    return Images(
        name=Path(root).name or root,
        layout=layout,
        kind="image",
        classes=classes,
        labels=np.repeat(np.array(numbers, dtype=np.int64), counts),
        paths=np.array(paths, dtype=np.str_),
        splits=join_splits(sizes),
        ignored=aside.told(),
        root=Path(root),
    )


def _list(path: str) -> Listing:
    """Look at the entries of one folder, and no deeper."""
    listing = Listing(path)
    for entry in _entries(path):
        extension = _extension(entry.name)
        if _is_hidden(entry.name):
            listing.aside.hidden[entry.name] += 1
        elif _is_folder(entry):
            listing.folders.append(entry.name)
        elif extension in IMAGE_EXTENSIONS:
            listing.beside += 1
        else:
            listing.aside.others[extension] += 1
    listing.folders.sort(key=natural_key)
    return listing


def _list_classes(listing: Listing) -> Listing:
    """Look into each of its folders, to any depth, and give the listing back."""
    for folder in listing.folders:
        found, below, direct = _walk(os.path.join(listing.path, folder), listing.aside)
        if not found:
            listing.aside.empty.append(folder)
            continue
        listing.classes.setdefault(class_name(folder), []).extend(found)
        if not direct:
            listing.below[folder] = below
    return listing


def _walk(folder: str, aside: Aside) -> tuple[list[str], set[str], bool]:
    """List everything with an image's name below a folder; the names of its folders; whether it has images itself."""
    found: list[str] = []
    below: set[str] = set()
    direct = False
    seen: set[str] = set()
    stack = [folder]
    while stack:
        here = stack.pop()
        place = os.path.realpath(here)
        if place in seen:  # links may lead in a circle
            aside.links.append(here)
            continue
        seen.add(place)
        for entry in _entries(here):
            name = entry.name
            if _is_hidden(name):
                aside.hidden[name] += 1
            elif _extension(name) in IMAGE_EXTENSIONS:
                found.append(entry.path)
                direct = direct or here is folder
            elif _is_folder(entry):
                stack.append(entry.path)
                if here is folder:
                    below.add(name.casefold())
            else:
                aside.others[_extension(name)] += 1
    return found, below, direct


def _entries(path: str) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            yield from entries
    except PermissionError:
        raise SourceError(
            f"no permission to read folder '{path}'.", "Change its permissions, or move it out of the source."
        ) from None
    except OSError as error:
        raise SourceError(
            f"folder '{path}' cannot be read: {error.strerror}.", "Check the path and the disk."
        ) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_hidden(name: str) -> bool:
    return name[0] == "." or name.lower() in SYSTEM_NAMES


def _extension(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _nothing(path: Path, top: Listing) -> SourceError:
    """Say why a folder is no source, and which folder or file near it may be one."""
    tables = [
        entry.name for entry in _entries(top.path) if _extension(entry.name) in (".csv", ".tsv", ".parquet", ".npz")
    ]
    if tables:
        hint = f"Did you mean the file in it: '{path / sorted(tables)[0]}'?"
    else:
        hint = "Make one folder for each class and put its images there: cats/1.jpg, dogs/1.jpg."
    if top.beside:
        return SourceError(f"folder '{path}' has {_count(top.beside, 'image')} but no class folders.", hint)
    if top.folders:
        return SourceError(f"the folders in '{path}' hold no images: {listed(top.folders, 6)}.", hint)
    if top.aside.others or top.aside.hidden:
        return SourceError(f"folder '{path}' holds no images; {'; '.join(top.aside.told())}.", hint)
    return SourceError(f"folder '{path}' is empty.", hint)


def _look_like_splits(path: Path, top: Listing) -> None:
    """Refuse ``training_set/cat, test_set/cat`` read as classes; tell if the class folders only look like a level."""
    if len(top.classes) == 1:
        (name, below), *_ = top.below.items() or [("", set())]
        if len(below) > 1:
            raise SourceError(
                f"folder '{path}' holds the one folder '{name}', which holds others: {listed(sorted(below), 6)}.",
                f"If those are the classes or splits, give '{path / name}'.",
            )
    if len(top.below) < len(top.classes) or len(top.below) < 2:
        return
    common = set.intersection(*top.below.values())
    if len(common) < 2:
        return
    names = sorted(top.below, key=natural_key)
    words = {word for name in names for word in re.split(r"[^a-z]+", name.lower())}
    if len({SPLIT_NAMES[word] for word in words & SPLIT_NAMES.keys()}) > 1:
        raise SourceError(
            f"the folders {listed(names, 4)} in '{path}' hold the same folders ({listed(sorted(common), 4)}), "
            "so they look like splits, but their names are unknown.",
            "Call them train, valid and test (a link with that name will do), or list the files in a manifest.",
        )
    top.aside.sentences.append(
        f"every class folder holds the folders {listed(sorted(common), 4)}, which were not taken for classes"
    )


def _refuse_unwritable(classes: Iterable[str]) -> None:
    for name in classes:
        if not name or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            raise SourceError(
                f"class folder {name!r} has a name with control characters or broken Unicode.",
                "Rename it: the name is stored with the model and printed in every table.",
            )


def _count(number: int, thing: str) -> str:
    if number == 1:
        return f"1 {thing}"
    return f"{number:,} {thing[:-1]}ies" if thing.endswith("ry") else f"{number:,} {thing}s"


def _tally(counts: Counter[str], most: int = 5) -> str:
    told = [f"{name or 'no extension'}{f' {n:,}' if n > 1 else ''}" for name, n in counts.most_common(most)]
    return ", ".join(told) + (" ..." if len(counts) > most else "")
