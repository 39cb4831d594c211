"""Fast ways to read say what the plain ones say: JPEG files by simplejpeg, pixel stores larger than memory."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from threadpoolctl import threadpool_info, threadpool_limits

from sightline.data import decode as decoding
from sightline.data import paging
from sightline.data.decode import Decoded, Unreadable, decode
from sightline.data.packing import blocks
from sightline.data.preprocess import Preprocessing
from sightline.data.stream import Stream

pytest.importorskip("simplejpeg")


def by_pillow(path: Path, size: tuple[int, int] | None) -> Decoded:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_simplejpeg", lambda: None)
        return decode(path, size)


def written(path: Path, height: int, width: int, mode: str, quality: int, progressive: bool, subsampling: int) -> Path:
    random = np.random.default_rng(height * 7919 + width)
    coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if mode == "L" else {"subsampling": subsampling}
    image.save(path, quality=quality, progressive=progressive, exif=exif, **options)
    return path


@settings(max_examples=40)
@given(
    height=st.integers(1, 150), width=st.integers(1, 150), mode=st.sampled_from(["RGB", "L", "CMYK"]),
    quality=st.integers(20, 98), progressive=st.booleans(), subsampling=st.sampled_from([0, 1, 2]),
    size=st.sampled_from([None, (8, 8), (16, 24), (64, 64)]),
)  # fmt: skip
def test_a_jpeg_has_the_same_pixels_whoever_decodes_it(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, mode: str, quality: int, progressive: bool,
    subsampling: int, size: tuple[int, int] | None,
) -> None:  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "one.jpg"
    written(path, height, width, mode, quality, progressive, subsampling)
    fast, plain = decode(path, size), by_pillow(path, size)
    assert np.array_equal(fast.pixels, plain.pixels)
    assert (fast.width, fast.height, fast.mode, fast.format, fast.oddities) == (
        plain.width, plain.height, plain.mode, plain.format, plain.oddities,
    )  # fmt: skip


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_jpeg_is_refused_as_by_pillow(tmp_path: Path, share: float) -> None:
    whole = written(tmp_path / "whole.jpg", 90, 120, "RGB", 90, False, 2).read_bytes()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(Unreadable, match="truncated"):
        decode(cut, (32, 32))


def test_simplejpeg_is_what_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.open(io.BytesIO(written(tmp_path / "x.jpg", 20, 30, "RGB", 90, False, 2).read_bytes()))
    found = decoding._jpeg(image)
    assert found is not None
    assert found.shape == (20, 30, 3)
    monkeypatch.setattr(decoding, "_simplejpeg", lambda: None)
    assert decoding._jpeg(image) is None


def test_a_mapped_store_is_found_behind_views_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    store = np.asarray(np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    assert paging.mapping(store) is not None
    assert paging.mapping(pixels) is None
    assert paging.mapping(np.asarray(np.load(tmp_path / "pixels.npy", mmap_mode="r+"))) is None
    monkeypatch.setattr(paging, "MOST", 500)  # bytes, so that it happens with every batch
    given_back = []
    rows = np.arange(40)
    spec = Preprocessing("image", 3, (8, 8)).fit(pixels, rows)
    stream = Stream(store, rows % 2, rows, spec, batch_size=8)
    assert stream._pages._map is not None
    read = stream._pages.read
    monkeypatch.setattr(stream._pages, "read", lambda *given: (read(*given), given_back.append(stream._pages._read)))
    plain = Stream(pixels, rows % 2, rows, spec, batch_size=8)
    for (x, _), (y, _) in zip(stream, plain, strict=True):
        assert np.array_equal(x, y)
    assert given_back == [0] * 5


def test_decoding_threads_hash_without_helpers_and_others_keep_theirs(tmp_path: Path) -> None:
    def helpers() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    path = written(tmp_path / "a.jpg", 20, 20, "RGB", 90, False, 0)
    with threadpool_limits(2, user_api="blas"):
        before = helpers()
        decoded = blocks(np.array([str(path)]), np.array([9999]), (8, 8), "pad", 3)
        next(decoded)
        assert helpers() == [1] * len(before)
        decoded.close()
        assert helpers() == before
