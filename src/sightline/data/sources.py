"""Whatever the user names (a folder, a manifest, arrays, a known data set) -> Images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline.data.arrays import assemble, from_pair, read_npz
from sightline.data.folders import IMAGE_EXTENSIONS, read_folder
from sightline.data.idx import is_idx, read_idx_files
from sightline.data.images import Images
from sightline.data.known import KNOWN, load_known
from sightline.data.labels import listed
from sightline.data.manifest import read_manifest
from sightline.data.objects import is_data_set, read_data_sets, read_splits
from sightline.errors import SourceError, did_you_mean
from sightline.progress import Progress

MANIFESTS = (".csv", ".tsv", ".tab", ".parquet", ".pq")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")


def load(
    source: Any,
    *,
    data_dir: Path | str | None = None,
    download: bool = False,
    training: bool = True,
    progress: Progress | None = None,
) -> Images:
    """Read labelled images, signals or volumes from wherever they are. Nothing is decoded, nothing is changed.

    Args:
        source: one of

            - a folder of class folders (``cats/1.jpg``), or of ``train|training``, ``val|valid|validation|dev`` and
              ``test|holdout`` folders that hold class folders; any subset of the three;
            - a manifest (``.csv``, ``.tsv``, ``.parquet``) with ``file_name`` or ``path``, ``label``, and optionally
              ``split`` and ``group``;
            - an ``.npz`` with ``x, y`` or ``x_train, y_train, ...`` and optionally ``classes``;
            - IDX files: a folder with them, or one file of images;
            - a known name: ``digits``, ``mnist``, ``fashion-mnist``, ``cifar10``, ``cifar100`` (a folder or file of
              that name in the working folder comes first);
            - in Python: ``(x, y)``, a dict of splits, a Hugging Face or torch data set or loader, or ``Images``.

            How the shape of an array is read is written in ``sightline.data.arrays``.
        data_dir: folder with the files of a known data set.
        download: fetch the files of a known data set if they are missing.
        training: refuse what cannot be trained on: a single class, or a class with a single image. False takes them,
            for evaluation.
        progress: shows a download, and the reading of a data set in Python.

    Returns:
        Images with classes in natural order ('2' before '10'); a class needs no image in each split.

    Raises:
        SourceError: there is nothing there, it is not understood, or it cannot be used; says why and what to do.
    """
    if isinstance(source, Images):
        images = source
    elif isinstance(source, (str, os.PathLike)):
        images = _read_named(os.fspath(source), None if data_dir is None else Path(data_dir), download, progress)
    elif isinstance(source, tuple) and len(source) == 2:
        images = assemble([from_pair(*source)], name="arrays", layout="arrays (x, y)")
    elif isinstance(source, Mapping):
        images = read_splits(source, progress=progress)
    elif is_data_set(source):
        images = read_data_sets({None: source}, progress=progress)
    else:
        size = f" of {len(source)}" if isinstance(source, (tuple, list)) else ""
        raise SourceError(
            f"a source cannot be a {type(source).__name__}{size}.",
            "Give a path, a known name, a pair (x, y), a dict of splits, or a data set of pairs.",
        )
    if training:
        refuse_untrainable(images)
    return images


def refuse_untrainable(images: Images) -> None:
    """Refuse what no network can be trained on and measured with.

    A class needs two images, so that one can be learnt from and one be used to measure.

    Raises:
        SourceError: there are no images, there is one class, or a class has one image.
    """
    where = f"'{images.name}'"
    if len(images.classes) < 2:
        only = f"one class, '{images.classes[0]}'" if images.classes else "no images"
        raise SourceError(
            f"{where} has {only}; to tell things apart takes at least two.",
            "Give images of another class too: a folder for each class, or a label for each row.",
        )
    rows = images.counts()
    single = [name for name, count in zip(images.classes, rows, strict=True) if count == 1]
    if len(single) == len(images) or len(single) > max(20, len(images.classes) // 2):
        raise SourceError(
            f"{where} has {len(images.classes):,} classes for {len(images):,} images; "
            f"{len(single):,} classes have one each: {listed(single, 4)}.",
            "Labels must name classes, not single images or measurements; give at least two images of each class.",
        )
    if single:
        raise SourceError(
            f"{where} has only one image of {'class' if len(single) == 1 else 'the classes'} {listed(single)}.",
            "Training and measuring take at least two of each class: add images, or remove the class.",
        )


def _read_named(name: str, data_dir: Path | None, download: bool, progress: Progress | None) -> Images:
    if not name.strip():
        raise SourceError("the source is an empty text.", "Give a path or a known name; '.' is the working folder.")
    path = Path(name).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        is_folder = is_file = False
    known = name.lower()
    if is_folder or is_file:
        images = _read_folder(path) if is_folder else _read_file(path)
        if known not in KNOWN:
            return images
        told = f"the known data set '{known}': a {'folder' if is_folder else 'file'} of that name is here"
        return _with_ignored(images, told)
    if known in KNOWN:
        return load_known(known, data_dir=data_dir, download=download, progress=progress)
    raise _missing(name, path)


def _read_folder(path: Path) -> Images:
    try:
        names = [entry for entry in os.listdir(path) if is_idx(entry)]
    except OSError:
        names = []  # said better by whoever reads the folder
    return read_idx_files(path, names) if names else read_folder(path)


def _read_file(path: Path) -> Images:
    extension = path.suffix.lower()
    if is_idx(path.name):
        return read_idx_files(path)
    if extension in MANIFESTS:
        return read_manifest(path)
    if extension == ".npz":
        return read_npz(path)
    hint = (
        "A source is a folder, a manifest (.csv, .tsv, .parquet), an .npz, IDX files (...-idx3-ubyte), or a known name."
    )
    if extension in ARCHIVES:
        hint = "Unpack the archive, and give the folder."
    elif extension in IMAGE_EXTENSIONS:
        hint = f"Give the folder that holds the class folders. To label one image: sightline predict RUN '{path}'"
    elif extension == ".npy":
        hint = "Put pixels and labels into one file: numpy.savez('data.npz', x=x, y=y)."
    elif extension in (".pkl", ".pickle", ".pt", ".pth"):
        hint = "Such a file can run code when it is read, so Sightline never does. Save arrays with numpy.savez."
    raise SourceError(f"'{path}' is a file of a kind that is not understood ('{extension or path.name}').", hint)


def _missing(name: str, path: Path) -> SourceError:
    """Say that nothing is there, and what may have been meant."""
    parent = path.parent
    try:
        near = [entry for entry in os.listdir(parent) if not entry.startswith(".")]
    except (OSError, ValueError):
        near = None
    sets = f"Known data sets are: {', '.join(KNOWN)}."
    if near is None:
        place = parent
        while not place.is_dir() and place != place.parent:
            place = place.parent
        return SourceError(f"source '{name}' does not exist: there is no folder '{parent}'.", f"'{place}' does. {sets}")
    guess = "" if os.sep in name else did_you_mean(name.lower(), KNOWN)
    if not guess:
        plain = did_you_mean(path.name, near) or did_you_mean(path.name.lower(), [entry.lower() for entry in near])
        guess = plain.replace("'", f"'{parent}{os.sep}", 1) if plain and str(parent) != "." else plain
    return SourceError(
        f"source '{name}' is neither a folder or file nor a known data set.{guess}", f"Check the path. {sets}"
    )


def _with_ignored(images: Images, sentence: str) -> Images:
    return replace(images, ignored=(sentence, *images.ignored))
