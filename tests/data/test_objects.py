"""Data sets in Python: torch's and Hugging Face's, tensors, arrays and pictures of one or many sizes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pictures
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from sightline.data.known import kept
from sightline.data.sources import load
from sightline.errors import SourceError
from sightline.files import cache_folder


class Listed(Dataset[Any]):
    """A torch data set of given samples."""

    def __init__(self, *samples: Any, classes: Any = None) -> None:
        self.samples = samples
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int) -> Any:
        return self.samples[row]


class Image:
    """Named as the type of a Hugging Face column is."""

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class ClassLabel:
    def __init__(self, names: list[str]) -> None:
        self.names = names


class Columns:
    """What is used of a Hugging Face data set."""

    def __init__(self, features: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        self.features = features
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        return {name: self.decoded(name, value) for name, value in self.rows[row].items()}

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))

    def decoded(self, name: str, value: Any) -> Any:
        """Open what is stored as bytes or path, unless the column says not to."""
        if not isinstance(value, dict) or not self.features[name].decode:
            return value
        with Pictures.open(value["path"] if value["bytes"] is None else io.BytesIO(value["bytes"])) as x:
            return x.copy()

    def cast_column(self, name: str, kind: Any) -> Columns:
        return Columns({**self.features, name: kind}, self.rows)

    def select_columns(self, names: list[str]) -> Columns:
        return Columns(
            {name: self.features[name] for name in names}, [{name: row[name] for name in names} for row in self.rows]
        )


def picture(mode: str = "RGB", size: tuple[int, int] = (12, 10), seed: int = 0) -> Pictures.Image:
    random = np.random.default_rng(seed)
    return Pictures.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def refused(source: Any) -> str:
    with pytest.raises(SourceError) as error:
        load(source)
    assert error.value.hint
    return str(error.value)


def tensors(count: int = 6) -> TensorDataset:
    return TensorDataset(torch.arange(count * 3 * 8 * 10).reshape(count, 3, 8, 10) / 7, torch.arange(count) % 2)


# torch


def test_a_data_set_of_tensors() -> None:
    data = tensors()
    images = load(data)
    assert images.array is not None
    assert images.array.shape == (6, 8, 10, 3)
    assert images.array.dtype == np.float32
    np.testing.assert_array_equal(images.array[2, 4, 5], data[2][0][:, 4, 5].numpy())
    assert images.classes == ("0", "1")
    assert images.layout.startswith("data set of (x, y)")


@pytest.mark.parametrize(
    ("x", "kind", "shape"),
    [
        (torch.zeros(60), "signal", (1, 60)),
        (torch.zeros(3, 60), "signal", (3, 60)),
        (torch.zeros(28, 28), "image", (28, 28, 1)),
        (torch.zeros(1, 28, 28, dtype=torch.uint8), "image", (28, 28, 1)),
        (torch.zeros(3, 2, 2), "image", (2, 2, 3)),
        (torch.zeros(13, 32, 32), "image", (32, 32, 13)),
        (torch.zeros(28, 30, 3), "image", (28, 30, 3)),
        (torch.zeros(1, 8, 8, 8), "volume", (1, 8, 8, 8)),
        (np.zeros((28, 30, 3), np.uint8), "image", (28, 30, 3)),
        (np.zeros((28, 30)), "image", (28, 30, 1)),
    ],
)
def test_what_a_sample_may_be(x: Any, kind: str, shape: tuple[int, ...]) -> None:
    images = load(Listed((x, 0), (x, 1), (x, 0), (x, 1)))
    assert images.kind == kind
    assert images.array is not None
    assert images.array.shape == (4, *shape)


@pytest.mark.parametrize("y", [torch.tensor(1), torch.tensor([1]), np.int64(1), np.array(1), 1, "1", 1.0, True])
def test_what_a_label_may_be(y: Any) -> None:
    x = torch.zeros(1, 8, 8)
    zero = "0" if isinstance(y, str) else 0
    assert load(Listed((x, y), (x, zero), (x, y), (x, zero))).labels.tolist() == [1, 0, 1, 0]


def test_class_names_are_found_also_through_a_subset() -> None:
    x = torch.zeros(1, 8, 8)
    whole = Listed((x, 0), (x, 1), (x, 2), (x, 0), (x, 1), (x, 2), classes=["pear", "apple", "fig"])
    assert load(whole).classes == ("apple", "fig", "pear")
    part = load(Subset(Subset(whole, [0, 1, 3, 4]), [0, 1, 2, 3]))
    assert part.classes == ("apple", "pear")
    assert part.labels.tolist() == [1, 0, 1, 0]


def test_a_loader_gives_the_order_of_its_data_set() -> None:
    data = tensors(7)
    images = load(DataLoader(data, batch_size=2, shuffle=True, drop_last=True))
    plain = load(data)
    np.testing.assert_array_equal(images.array, plain.array)  # type: ignore[arg-type]
    assert images.labels.tolist() == plain.labels.tolist()
    assert any("its data set was read" in sentence for sentence in images.ignored)


class Streamed(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([(torch.full((1, 8, 8), float(k)), k % 2) for k in range(5)])


def test_data_sets_without_a_length() -> None:
    for source in (Streamed(), DataLoader(Streamed(), batch_size=2)):
        images = load(source)
        assert images.array is not None
        assert images.array[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
        assert images.labels.tolist() == [0, 1, 0, 1, 0]


def test_a_loader_with_its_own_collate_is_read_by_batches() -> None:
    def doubled(samples: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.stack([x * 2 for x, _ in samples]), torch.tensor([y for _, y in samples])

    images = load(DataLoader(tensors(5), batch_size=2, collate_fn=doubled))
    assert images.array is not None
    np.testing.assert_allclose(images.array, load(tensors(5)).array * 2)  # type: ignore[operator]


def test_a_dict_of_data_sets() -> None:
    images = load({"train": tensors(6), "validation": tensors(4)})
    assert images.splits is not None
    assert images.splits.tolist() == ["train"] * 6 + ["valid"] * 4


@pytest.mark.parametrize(
    ("samples", "word"),
    [
        ([], "is empty"),
        ([torch.zeros(1, 8, 8)], "sample 0 is a Tensor, not a pair"),
        ([(1, 2, 3)], "sample 0 is 3 things"),
        ([{"x": 1, "y": 2}], "sample 0 is a dict"),
        (
            [(torch.zeros(1, 8, 8), 0), (torch.zeros(1, 9, 8), 0)],
            "sample 1 has shape (9, 8, 1), sample 0 has (8, 8, 1)",
        ),
        ([(torch.zeros(1, 8, 8), 0), (picture(), 0)], "sample 1 is a Image, those before are not"),
        ([(torch.zeros(1, 8, 8), torch.eye(3)[0])], "sample 0 has one of shape (3,)"),
        ([("a.jpg", 0)], "of no numbers"),
        ([(torch.full((1, 8, 8), torch.nan), 0)], "row 0 has NaN pixels"),
    ],
)
def test_samples_that_are_refused(samples: list[Any], word: str) -> None:
    assert word in refused(Listed(*samples))


def test_a_label_beyond_the_classes() -> None:
    x = torch.zeros(1, 8, 8)
    message = refused(Listed((x, 0), (x, 2), classes=["a", "b"]))
    assert "the labels: row 1 has 2, out of range" in message
    assert "the labels are 0 to 1" in message


def test_an_error_in_the_users_own_code_is_the_users() -> None:
    class Broken(Listed):
        def __getitem__(self, row: int) -> Any:
            raise KeyError("theirs")

    with pytest.raises(KeyError, match="theirs"):
        load(Broken(1, 2))


def test_a_generator_is_no_source() -> None:
    assert "a source cannot be a generator" in refused(pair for pair in [(1, 2)])


# pictures


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_small_pictures_of_one_size_stay_in_memory(mode: str, channels: int) -> None:
    shown = [picture(mode, seed=seed) for seed in range(4)]
    images = load(Listed(*((x, k % 2) for k, x in enumerate(shown))))
    assert images.array is not None
    assert images.array.shape == (4, 10, 12, channels)
    assert images.array.dtype == np.uint8
    np.testing.assert_array_equal(images.array[1].squeeze(), np.asarray(shown[1]))


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    return cache_folder()


@pytest.mark.parametrize(
    "shown",
    [
        [picture(size=(12, 10)), picture(size=(12, 10)), picture(size=(13, 10)), picture(size=(12, 10), seed=1)],
        [picture(size=(300, 200), seed=seed) for seed in range(4)],
        [picture("RGB"), picture("L"), picture("RGB"), picture("L")],
        [picture(mode) for mode in ("RGBA", "P", "1", "LA")],
        [picture(mode) for mode in ("CMYK", "YCbCr", "I;16", "F")],
    ],
    ids=["sizes", "large", "grey and colour", "alpha", "odd modes"],
)
def test_other_pictures_are_kept_as_files_without_loss(own_cache: Path, shown: list[Pictures.Image]) -> None:
    images = load(Listed(*((x, "ab"[k % 2]) for k, x in enumerate(shown))))
    assert images.array is None
    assert images.paths is not None
    assert images.classes == ("a", "b")
    for path, x in zip(images.paths, shown, strict=True):
        with Pictures.open(path) as found:
            assert found.mode == x.mode
            np.testing.assert_array_equal(np.asarray(found), np.asarray(x))
    assert images.root is not None
    assert images.root.parent == own_cache / "objects"
    assert "kept as files in the cache" in images.layout


def test_kept_files_are_found_again_and_listed(own_cache: Path) -> None:
    source = Listed(*((picture(size=(100 + k, 100)), k % 2) for k in range(4)))
    first, second = load(source), load(source)
    assert first.paths is not None
    assert second.paths is not None
    assert first.paths.tolist() == second.paths.tolist()
    assert [path.name for path in (own_cache / "objects").iterdir()] == [first.root.name]  # type: ignore[union-attr]
    (one,) = kept()
    assert one.bytes == sum(Path(path).stat().st_size for path in first.paths)


def test_a_failure_leaves_nothing_in_the_cache(own_cache: Path) -> None:
    refused(Listed((picture(size=(100, 100)), 0), (picture(size=(101, 100)), 0, 0)))
    assert list((own_cache / "objects").iterdir()) == []


def test_a_picture_is_not_turned_a_second_time(own_cache: Path, tmp_path: Path) -> None:
    exif = Pictures.Exif()
    exif[0x0112] = 6
    picture(size=(200, 100)).save(tmp_path / "turned.jpg", exif=exif)
    with Pictures.open(tmp_path / "turned.jpg") as x:
        images = load(Listed((x, 0), (x, 1), (x, 0), (x, 1)))
    assert images.paths is not None
    with Pictures.open(images.paths[0]) as found:
        assert found.size == (200, 100)
        assert found.getexif().get(0x0112, 1) == 1


# Hugging Face


def test_columns_are_found_by_their_type() -> None:
    rows = [{"id": k, "photo": picture(seed=k), "animal": k % 2} for k in range(4)]
    features = {"id": int, "photo": Image(), "animal": ClassLabel(["zebra", "ant"])}
    images = load(Columns(features, rows))
    assert images.classes == ("ant", "zebra")
    assert images.labels.tolist() == [1, 0, 1, 0]
    assert images.array is not None
    np.testing.assert_array_equal(images.array[3], np.asarray(rows[3]["photo"]))
    assert images.layout.startswith("Hugging Face data set")


def test_the_fine_label_is_taken_of_two() -> None:
    features = {"img": Image(), "coarse_label": ClassLabel(["x"]), "fine_label": ClassLabel(["b", "a"])}
    rows = [{"img": picture(), "coarse_label": 0, "fine_label": k % 2} for k in range(4)]
    assert load(Columns(features, rows)).classes == ("a", "b")


def test_plain_columns_are_found_by_their_name() -> None:
    rows = [{"image": np.full((8, 8), k).tolist(), "label": f"c{k % 2}"} for k in range(4)]
    images = load(Columns({"image": list, "label": str}, rows))
    assert images.classes == ("c0", "c1")
    assert images.array is not None
    assert images.array.shape == (4, 8, 8, 1)


def test_a_dict_of_them_with_a_part_that_is_no_split() -> None:
    features = {"image": Image(), "label": ClassLabel(["a", "b"])}
    part = Columns(features, [{"image": picture(), "label": k % 2} for k in range(4)])
    images = load({"train": part, "validation": part, "test": part, "unsupervised": part})
    assert images.splits is not None
    assert images.splits.tolist() == ["train"] * 4 + ["valid"] * 4 + ["test"] * 4
    assert images.ignored == ("parts that are no split: 'unsupervised'",)


@pytest.mark.parametrize(
    "features",
    [
        {"text": str, "label": ClassLabel(["a"])},
        {"a": Image(), "b": Image(), "label": ClassLabel(["a"])},
        {"image": Image(), "caption": str},
        {"image": Image(), "colour": ClassLabel(["a"]), "shape": ClassLabel(["a"])},
    ],
)
def test_columns_that_are_not_clear(features: dict[str, Any]) -> None:
    message = refused(Columns(features, []))
    assert all(f"'{name}'" in message for name in features)
    assert "rename_column" in message


def test_no_label_marked_by_minus_one() -> None:
    features = {"image": Image(), "label": ClassLabel(["a", "b"])}
    rows = [{"image": picture(), "label": label} for label in (0, 1, -1, -1)]
    assert "row 2 has -1, out of range (and 1 more rows)" in refused(Columns(features, rows))


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    class Opened(Listed):
        def __getitem__(self, row: int) -> Any:
            with Pictures.open(self.samples[row]) as x:
                return x.copy(), row % 2

    picture().save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    message = refused(Opened(tmp_path / "good.png", tmp_path / "bad.png"))
    assert "sample 1 of the data set of (x, y) cannot be read" in message


def encoded(kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture(**options).save(content, kind)
    return content.getvalue()


def test_large_encoded_images_keep_their_bytes(own_cache: Path) -> None:
    broken = encoded("jpeg", size=(300, 200))[:500]
    stored = [
        {"bytes": encoded("jpeg", size=(300, 200)), "path": None},
        {"bytes": encoded("png", size=(300, 200)), "path": "x/named.PNG"},
        {"bytes": encoded("webp", size=(301, 200)), "path": "no extension"},
        {"bytes": broken, "path": "broken.jpg"},
        {"bytes": b"nothing", "path": ""},
    ]
    rows = [{"image": value, "label": k % 2} for k, value in enumerate(stored)]
    images = load(Columns({"image": Image(), "label": ClassLabel(["a", "b"])}, rows))
    assert images.paths is not None
    assert [Path(path).read_bytes() for path in images.paths] == [value["bytes"] for value in stored]
    assert [Path(path).suffix for path in images.paths] == [".jpeg", ".png", ".webp", ".jpg", ".img"]
    assert images.root is not None
    assert images.root.parent == own_cache / "objects"


def test_large_images_in_local_files_stay_where_they_are(own_cache: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.jpg" for k in range(4)]
    for path in paths[:3]:
        path.write_bytes(encoded("jpeg", size=(300, 200)))
    rows = [{"image": {"bytes": None, "path": str(path)}, "label": k % 2} for k, path in enumerate(paths)]
    images = load(Columns({"image": Image(), "label": ClassLabel(["a", "b"])}, rows))
    assert images.paths is not None
    assert images.paths.tolist() == [str(path) for path in paths], "the missing one is for the decoder to report"
    assert not own_cache.exists()


def test_small_encoded_images_become_an_array() -> None:
    rows = [{"image": {"bytes": encoded("png", seed=k), "path": None}, "label": k % 2} for k in range(4)]
    images = load(Columns({"image": Image(), "label": ClassLabel(["a", "b"])}, rows))
    assert images.array is not None
    np.testing.assert_array_equal(images.array[2], np.asarray(picture(seed=2)))


def test_a_broken_first_image_does_not_stop_the_others(own_cache: Path) -> None:
    stored = [b"broken", *(encoded("png", seed=k) for k in range(3))]
    rows = [{"image": {"bytes": value, "path": None}, "label": k % 2} for k, value in enumerate(stored)]
    images = load(Columns({"image": Image(), "label": ClassLabel(["a", "b"])}, rows))
    assert images.paths is not None
    assert len(images) == 4


def test_a_part_of_small_images_and_one_of_large_ones(own_cache: Path) -> None:
    features = {"image": Image(), "label": ClassLabel(["a", "b"])}
    parts = {
        split: Columns(
            features,
            [{"image": {"bytes": encoded("png", size=size), "path": None}, "label": k % 2} for k in range(3)],
        )
        for split, size in (("train", (20, 10)), ("test", (200, 100)))
    }
    images = load(parts)
    assert images.paths is not None
    sizes = [Pictures.open(io.BytesIO(Path(path).read_bytes())).size for path in images.paths]
    assert sizes == [(20, 10)] * 3 + [(200, 100)] * 3
