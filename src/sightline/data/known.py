"""The name of a well-known data set -> Images: from the package, from files already there, or downloaded when allowed.

SHA-256 sums and sizes are those that TensorFlow Datasets publishes (``tensorflow_datasets/url_checksums``, files
``mnist.txt``, ``fashion_mnist.txt``, ``cifar10.txt``, ``cifar100.txt``). CIFAR is read in its binary version: the
better known Python version is a pickle, and Sightline reads no pickles.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.data import cache, idx
from sightline.data.arrays import Part, assemble
from sightline.data.images import Images, Split
from sightline.data.labels import name_labels
from sightline.download import File, fetch, sha256_of
from sightline.errors import RunError, SourceError
from sightline.files import cache_folder
from sightline.progress import Progress


@dataclass(frozen=True)
class Known:
    """A data set that has a name.

    Attributes:
        description: one line: what it shows, how much of it, who made it.
        files: what it consists of; nothing for a set that comes with a package.
        read: file name to path -> the images.
        size: images in all; another number means that a file is not what it should be.
        folders: where other programs put these files below their data folder.
        unpacked: a file that is there when the archive was unpacked.
        pickled: the name of a pickled version that people may have instead.
    """

    description: str
    files: tuple[File, ...]
    read: Callable[[Mapping[str, Path]], Images]
    size: int
    folders: tuple[str, ...] = ()
    unpacked: str = ""
    pickled: str = ""


def load_known(
    name: str,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    progress: Progress | None = None,
    known: Mapping[str, Known] | None = None,
) -> Images:
    """Load a data set by its name.

    Args:
        name: a key of ``KNOWN``.
        data_dir: a folder that has the files, or has a folder with them, packed (then their sums are checked) or
            unpacked (then only their shape can be); nothing is written there.
        download: fetch what is missing into the user's cache.
        progress: shows the download.
        known: the table to look in; ``KNOWN`` by default.

    Raises:
        SourceError: files are missing and may not be fetched (says which, from where, and where they may be put), could
            not be fetched, or are not those of this data set.
    """
    entry = (KNOWN if known is None else known)[name]
    store = cache_folder() / "datasets" / name
    paths = {file.name: _find(file, name, entry, data_dir, store) for file in entry.files}
    missing = [file for file in entry.files if paths[file.name] is None]
    if missing and not download:
        raise _absent(name, entry, missing, data_dir, store)
    for file in missing:
        paths[file.name] = fetch(file, store, progress=progress)
    images = entry.read({key: path for key, path in paths.items() if path is not None})
    if len(images) != entry.size:
        raise SourceError(
            f"data set '{name}' has {entry.size:,} images, but its files hold {len(images):,}.",
            "A file is missing or belongs to another set: fetch them again, or give their folder itself as source.",
        )
    return replace(images, name=name, root=None)


def kept() -> list[cache.Cached]:
    """List the downloaded data sets and weights, pictures of data sets in Python, and images made for networks.

    Each is a folder that may be deleted when nothing is running: it comes back when it is needed.
    """
    found = []
    for room in ("datasets", "objects", "weights", "seeing"):
        whole = [path for path in [cache_folder() / room] if path.is_dir()]
        for place in whole if room == "seeing" else sorted((cache_folder() / room).glob("[!.]*")):
            sizes = [entry.stat() for entry in os.scandir(place)]
            used = datetime.fromtimestamp(max((size.st_mtime for size in sizes), default=0.0)).astimezone()
            name = {
                "datasets": place.name,
                "objects": "pictures of a data set in Python",
                "weights": f"weights of {place.name}",
                "seeing": "images made for networks",
            }[room]
            found.append(cache.Cached(place, name, sum(size.st_size for size in sizes), used))
    return found


def drop(place: Path) -> None:
    """Delete one folder that ``kept`` lists.

    Raises:
        RunError: it cannot be deleted.
    """
    try:
        shutil.rmtree(place)
    except OSError as error:
        raise RunError(f"'{place}' could not be deleted: {error.strerror or error}.", "Delete it by hand.") from error


def _find(file: File, name: str, entry: Known, data_dir: Path | None, store: Path) -> Path | None:
    """Look for a file, also unpacked, in the user's folder and then in the cache."""
    plain = file.name.removesuffix(".gz")
    for place in [] if data_dir is None else [data_dir, *(data_dir / below for below in (name, *entry.folders))]:
        path = place / file.name
        if path.is_file():
            if path.stat().st_size != file.size or sha256_of(path) != file.sha256:
                raise SourceError(
                    f"'{path}' is not the file of data set '{name}' (another SHA-256).",
                    f"Fetch it again from {file.urls[0]}, or give its folder itself as source.",
                )
            return path
        if (place / plain).is_file():
            return place / plain
        if entry.unpacked and (place / entry.unpacked).is_file():
            return place
    path = store / file.name
    return path if path.is_file() and path.stat().st_size == file.size else None


def _absent(name: str, entry: Known, missing: list[File], data_dir: Path | None, store: Path) -> SourceError:
    megabytes = sum(file.size for file in missing) / 1e6
    where = f"neither in '{data_dir}' nor in the cache" if data_dir else "not on this machine"
    pickled = ""
    if data_dir and entry.pickled and (data_dir / entry.pickled).exists():
        pickled = f" ('{data_dir / entry.pickled}' is the Python version, a pickle, which is never read.)"
    names = ", ".join(file.name for file in missing)
    sources = f"Or fetch {missing[0].urls[0]}" + (" and the others beside it" if len(missing) > 1 else "")
    return SourceError(
        f"the files of data set '{name}' are {where}: {names} ({megabytes:,.1f} MB).{pickled}",
        f"Add --download (in Python download=True) to fetch them. {sources}, put it into a folder, and name that "
        f"folder with --data-dir (data_dir=...); without it, files in '{store}' are found too.",
    )


def _read_digits(paths: Mapping[str, Path]) -> Images:
    table = _digits_table()
    pixels = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return assemble(
        [Part(pixels, name_labels(table[:, -1].astype(np.int64)))], name="digits", layout="scikit-learn's digits"
    )


def _digits_table() -> NDArray[np.float64]:
    """Read the 64 values and the label of each digit, (1797, 65), beside scikit-learn, whose import takes a second."""
    spec = find_spec("sklearn")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            return np.loadtxt(path, delimiter=",")
    from sklearn.datasets import load_digits  # type: ignore[import-untyped, unused-ignore]

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])


def _mnist_reader(classes: tuple[str, ...]) -> Callable[[Mapping[str, Path]], Images]:
    def read(paths: Mapping[str, Path]) -> Images:
        train_x, train_y, test_x, test_y = (paths[f"{name}.gz"] for name in _MNIST_FILES)
        pairs: dict[Split | None, tuple[Path, Path]] = {"train": (train_x, train_y), "test": (test_x, test_y)}
        return idx.join(pairs, name="", layout="IDX files", root=train_x.parent, classes=classes)

    return read


_CIFAR10: dict[str, Split] = {
    **{f"data_batch_{number}.bin": "train" for number in range(1, 6)},
    "test_batch.bin": "test",
}
_CIFAR100: dict[str, Split] = {"train.bin": "train", "test.bin": "test"}


def _cifar_reader(members: Mapping[str, Split], table: str, labels: int) -> Callable[[Mapping[str, Path]], Images]:
    """Make a reader of the binary version.

    A record is one byte for each of its labels, of which the last counts (CIFAR-100 has the coarse class before the
    fine one), then 3,072 bytes: the red, green and blue planes, each by rows.

    Args:
        members: the files with records, and the split of each.
        table: the file that names the classes, one a line.
        labels: labels in a record.
    """

    def read(paths: Mapping[str, Path]) -> Images:
        (path,) = paths.values()
        contents = _unpack(path, {*members, table})
        if table not in contents:
            raise SourceError(f"'{path}' has no '{table}', which names the classes.", "Fetch the archive again.")
        classes = tuple(line.strip() for line in contents[table].decode().splitlines() if line.strip())
        parts = []
        for name in [name for name in members if name in contents]:
            records = np.frombuffer(contents[name], np.uint8)
            if not len(records) or len(records) % (labels + 3072):
                raise SourceError(f"'{name}' in '{path}' is cut off.", "Fetch the archive again.")
            records = records.reshape(-1, labels + 3072)
            pixels = records[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            names = name_labels(records[:, labels - 1], classes=classes, what=f"the labels in '{name}'")
            parts.append(Part(pixels, names, members[name], f"'{name}'"))
        if not parts:
            raise SourceError(f"'{path}' has no records.", "Fetch the archive again.")
        return assemble(parts, name="", layout="CIFAR's binary files")

    return read


def _unpack(path: Path, wanted: set[str]) -> dict[str, bytes]:
    """Read the wanted files from a folder, or from an archive without unpacking it to disk."""
    contents: dict[str, bytes] = {}
    try:
        if path.is_dir():
            return {name: (path / name).read_bytes() for name in wanted if (path / name).is_file()}
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in wanted and (content := archive.extractfile(member)) is not None:
                    contents[name] = content.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise SourceError(f"'{path}' cannot be read: {error}.", "Fetch it again.") from None
    return contents


_MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _mnist_files(mirrors: tuple[str, ...], sums: tuple[tuple[str, int], ...]) -> tuple[File, ...]:
    return tuple(
        File(f"{name}.gz", tuple(f"{mirror}{name}.gz" for mirror in mirrors), sha256, size)
        for name, (sha256, size) in zip(_MNIST_FILES, sums, strict=True)
    )


def _cifar_file(name: str, sha256: str, size: int) -> tuple[File, ...]:
    mirrors = (
        "https://www.cs.toronto.edu/~kriz/",
        "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
    )
    return (File(name, tuple(f"{mirror}{name}" for mirror in mirrors), sha256, size),)


KNOWN: dict[str, Known] = {
    "digits": Known(
        "handwritten digits, 1,797 grey images of 8x8 (scikit-learn, from UCI; no download)", (), _read_digits, 1797
    ),
    "mnist": Known(
        "handwritten digits, 60,000 + 10,000 grey images of 28x28 (LeCun, Cortes, Burges)",
        _mnist_files(
            ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
            (
                ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),
                ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
                ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),
                ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
            ),
        ),
        _mnist_reader(tuple("0123456789")),
        70_000,
        ("MNIST/raw", "raw"),
    ),
    "fashion-mnist": Known(
        "pieces of clothing, 60,000 + 10,000 grey images of 28x28 (Xiao, Rasul, Vollgraf 2017)",
        _mnist_files(
            (
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ),
            (
                ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880),
                ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29_515),
                ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102),
                ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5_148),
            ),
        ),
        _mnist_reader(
            ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
        ),
        70_000,
        ("FashionMNIST/raw", "raw"),
    ),
    "cifar10": Known(
        "animals and vehicles, 10 classes, 50,000 + 10,000 colour images of 32x32 (Krizhevsky 2009)",
        _cifar_file(
            "cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", 170_052_171
        ),
        _cifar_reader(_CIFAR10, "batches.meta.txt", 1),
        60_000,
        ("cifar-10-batches-bin",),
        "test_batch.bin",
        "cifar-10-batches-py",
    ),
    "cifar100": Known(
        "things and beings, 100 classes, 50,000 + 10,000 colour images of 32x32 (Krizhevsky 2009)",
        _cifar_file(
            "cifar-100-binary.tar.gz", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", 168_513_733
        ),
        _cifar_reader(_CIFAR100, "fine_label_names.txt", 2),
        60_000,
        ("cifar-100-binary",),
        "test.bin",
        "cifar-100-python",
    ),
}
"""Every data set that has a name; the command line's list is read from here."""
