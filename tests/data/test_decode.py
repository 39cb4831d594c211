"""One file -> pixels, or the reason why not: every mode, every oddity, every kind of damage."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from sightline.data.decode import (
    EXTENSIONS,
    ODDITIES,
    Coloured,
    Unreadable,
    decode,
    decode_image,
    quiet,
    read_size,
    resize_pixels,
)
from sightline.errors import SettingsError

RESIZES = ("pad", "crop", "squash")


def photo(height: int = 48, width: int = 64, seed: int = 0) -> Image.Image:
    """A smooth coloured picture with some noise: compresses like a photo, and every corner differs."""
    rows, columns = np.mgrid[:height, :width]
    colours = np.stack([columns * 255 / width, rows * 255 / height, (rows + columns) * 127 / (width + height)], axis=2)
    noise = np.random.default_rng(seed).normal(0, 4, colours.shape)
    return Image.fromarray((colours + noise).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    memory = io.BytesIO()
    image.save(memory, format_, **options)
    return memory.getvalue()


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


Put = Callable[[str, bytes], Path]


# ---- pixels ----


@given(pixels=hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from((1, 3)))))
def test_what_was_stored_comes_back(pixels: NDArray[np.uint8]) -> None:
    channels = pixels.shape[2]
    found = decode_image(Image.fromarray(pixels[..., 0] if channels == 1 else pixels), channels=channels)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert (found.height, found.width) == pixels.shape[:2]
    assert found.pixels.flags.writeable


def test_a_file_and_its_image_in_memory_give_the_same(put: Put) -> None:
    image = photo()
    path = put("a.png", encoded(image))
    for size in (None, (20, 30)):
        np.testing.assert_array_equal(decode(path, size).pixels, decode_image(image, size).pixels)
    assert image.size == (64, 48)


@pytest.mark.parametrize("size", [(12, 12), (20, 9), (7, 40)])
@pytest.mark.parametrize("resize", RESIZES)
def test_files_and_arrays_are_resized_alike(put: Put, resize: Any, size: tuple[int, int]) -> None:
    image = photo()
    found = decode(put("a.png", encoded(image)), size, resize).pixels
    np.testing.assert_array_equal(found, resize_pixels(np.asarray(image), size, resize))
    floats = resize_pixels(np.asarray(image, np.float32), size, resize)
    assert floats.dtype == np.float32
    assert np.abs(floats - found).max() <= 1.5  # three roundings


def test_a_large_photo_decoded_at_an_eighth_looks_like_the_whole_one(put: Put) -> None:
    path = put("large.jpg", encoded(photo(1200, 1600), "JPEG", quality=95))
    for resize in RESIZES:
        small = decode(path, (64, 64), resize).pixels.astype(float)  # type: ignore[arg-type]
        whole = resize_pixels(decode(path).pixels, (64, 64), resize)  # type: ignore[arg-type]
        assert np.abs(small - whole).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("name", "format_"), [("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.tif", "TIFF"), ("a.webp", "WEBP")]
)
def test_images_are_turned_upright(put: Put, orientation: int, name: str, format_: str) -> None:
    image = photo()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format_ == "WEBP" else {"quality": 95} if format_ == "JPEG" else {}
    path = put(name, encoded(image, format_, exif=exif, **options))
    image.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(image)
    found = decode(path)
    assert (found.width, found.height) == upright.size
    assert read_size(path) == (found.height, found.width)
    assert np.abs(found.pixels.astype(int) - np.asarray(upright)).mean() < (5 if format_ == "JPEG" else 0.1)
    assert ("EXIF-rotated" in found.oddities) == (orientation != 1)
    assert decode(path, (30, 20)).pixels.shape == (30, 20, 3)


def test_a_wide_photo_turned_upright_is_reduced_as_tall(put: Put) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = photo(400, 1600)
    path = put("a.jpg", encoded(image, "JPEG", exif=exif, quality=95))
    whole = resize_pixels(decode(path).pixels, (64, 16), "squash")
    assert np.abs(decode(path, (64, 16), "squash").pixels.astype(int) - whole).mean() < 1.5


# ---- modes ----


def ramp(top: int, dtype: Any = np.uint16) -> NDArray[Any]:
    return np.linspace(0, top, 256).astype(dtype).reshape(16, 16)


@pytest.mark.parametrize(
    ("values", "name", "oddity", "expected"),
    [
        (ramp(65535), "a.png", "16-bit", lambda v: v / 257),
        (ramp(65535), "a.tif", "16-bit", lambda v: v / 257),
        (ramp(4095), "a.png", "12-bit in 16", lambda v: v * 255 / 4095),
        (ramp(255), "a.png", "8-bit in 16", lambda v: v),
        (ramp(1, np.float32), "a.tif", "float", lambda v: v * 255),
        (ramp(4000, np.float32), "a.tif", "float", lambda v: v * 255 / 4095),
        (ramp(500, np.float32) - 100, "a.tif", "stretched", lambda v: (v + 100) * 255 / 500),
        (ramp(1_000_000, np.int32), "a.tif", "stretched", lambda v: v * 255 / 1_000_000),
    ],
)
def test_deep_samples_are_scaled_not_clipped(
    put: Put, values: NDArray[Any], name: str, oddity: str, expected: Callable[[Any], Any]
) -> None:
    found = decode(put(name, encoded(Image.fromarray(values), "PNG" if name.endswith("png") else "TIFF")))
    assert oddity in found.oddities
    assert found.pixels.shape == (16, 16, 1)
    assert np.abs(found.pixels[..., 0] - expected(values.astype(float))).max() <= 0.51


def test_nan_pixels_are_refused(put: Put) -> None:
    values = ramp(1, np.float32)
    values[3, 3] = np.nan
    with pytest.raises(Unreadable, match="NaN"):
        decode(put("a.tif", encoded(Image.fromarray(values), "TIFF")))


def test_what_is_transparent_becomes_white(put: Put) -> None:
    colour = Image.new("RGBA", (4, 4), (255, 0, 0, 255))
    colour.putpixel((0, 0), (255, 0, 0, 0))
    colour.putpixel((1, 0), (255, 0, 0, 128))
    found = decode(put("a.png", encoded(colour)))
    assert found.oddities == ("transparent",)
    assert found.pixels[0, 0].tolist() == [255, 255, 255]
    assert found.pixels[0, 1].tolist() == pytest.approx([255, 127, 127], abs=1)
    assert found.pixels[2, 2].tolist() == [255, 0, 0]
    grey = Image.new("LA", (4, 4), (10, 255))
    grey.putpixel((0, 0), (10, 0))
    found = decode(put("b.png", encoded(grey)))
    assert found.pixels.shape == (4, 4, 1)
    assert found.pixels[:2, 0, 0].tolist() == [255, 10]


def test_an_opaque_alpha_channel_is_not_odd(put: Put) -> None:
    assert decode(put("a.png", encoded(photo().convert("RGBA")))).oddities == ()


def test_palettes_become_their_colours(put: Put) -> None:
    image = photo().quantize(16)
    expected = np.asarray(image.convert("RGB"))
    found = decode(put("a.png", encoded(image)))
    assert found.oddities == ("palette",)
    np.testing.assert_array_equal(found.pixels, expected)
    found = decode(put("b.gif", encoded(image, "GIF", transparency=int(image.getpixel((0, 0))))))  # type: ignore[arg-type]
    assert found.oddities == ("palette with transparency",)
    assert found.pixels[0, 0].tolist() == [255, 255, 255]
    bytes_ = bytes([0] + [255] * 15)  # transparency of each colour, about which Pillow likes to warn
    assert "palette with transparency" in decode(put("c.png", encoded(image, transparency=bytes_))).oddities


def test_cmyk_and_one_bit_become_colour_and_grey(put: Put) -> None:
    found = decode(put("a.jpg", encoded(photo().convert("CMYK"), "JPEG", quality=95)))
    assert (found.mode, found.oddities) == ("CMYK", ("CMYK",))
    assert np.abs(found.pixels.astype(int) - np.asarray(photo())).mean() < 6
    found = decode(put("b.png", encoded(photo().convert("1"))))
    assert found.oddities == ("1-bit",)
    assert found.pixels.shape[2] == 1
    assert set(np.unique(found.pixels)) == {0, 255}


def test_sixteen_bits_in_colour_are_told(put: Put) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">6H", 0, 65535, 32768, 65535, 0, 256)))
    found = decode(put("a.png", b"\x89PNG\r\n\x1a\n" + head + rows + chunk(b"IEND", b"")))
    assert "16-bit" in found.oddities
    assert found.pixels[0].tolist() == [[0, 255, 128], [255, 0, 1]]


@pytest.mark.parametrize(
    ("name", "format_"), [("a.gif", "GIF"), ("a.png", "PNG"), ("a.webp", "WEBP"), ("a.tif", "TIFF")]
)
def test_of_several_pictures_the_first_is_taken(put: Put, name: str, format_: str) -> None:
    first, second = Image.new("RGB", (8, 8), (200, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 200))
    path = put(name, encoded(first, format_, save_all=True, append_images=[second]))
    found = decode(path)
    assert ("several pictures" if format_ == "TIFF" else "animated") in found.oddities
    assert np.abs(found.pixels[0, 0].astype(int) - [200, 0, 0]).max() <= 3


@pytest.mark.parametrize(
    ("name", "image", "oddity"),
    [
        ("a.png", Image.new("L", (1, 1)), "tiny"),
        ("a.png", Image.new("L", (400, 4)), "extreme aspect"),
        ("a.tif", Image.new("L", (5, 60)), "extreme aspect"),
    ],
)
def test_odd_shapes_are_told_and_resized(put: Put, name: str, image: Image.Image, oddity: str) -> None:
    path = put(name, encoded(image, "PNG" if name.endswith("png") else "TIFF"))
    for resize in RESIZES:
        found = decode(path, (16, 24), resize)  # type: ignore[arg-type]
        assert oddity in found.oddities
        assert found.pixels.shape == (16, 24, 1)


def test_files_are_read_by_content(put: Put) -> None:
    jpeg = encoded(photo(), "JPEG")
    assert decode(put("a.png", jpeg)).oddities == ("wrong extension",)
    assert decode(put("a.JPEG", jpeg)).oddities == ()
    assert decode(put("no extension", jpeg)).oddities == ()


def test_every_oddity_says_what_is_done() -> None:
    assert all(text and not text.endswith(".") for text in ODDITIES.values())
    assert {".jpg", ".png", ".tif", ".webp", ".avif"} <= EXTENSIONS


# ---- channels ----


def test_grey_is_what_shows_no_colour(put: Put) -> None:
    grey = put("grey.png", encoded(photo().convert("L").convert("RGB")))
    colour = put("colour.png", encoded(photo()))
    assert decode(grey).pixels.shape[2] == decode(grey, channels=1).pixels.shape[2] == 1
    assert decode(grey, channels=3).pixels.shape[2] == decode(colour).pixels.shape[2] == 3
    with pytest.raises(Coloured):
        decode(colour, channels=1)


# ---- resizing ----


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.integers(1, 4),
    resize=st.sampled_from(RESIZES),
    dtype=st.sampled_from((np.uint8, np.float32)),
)
def test_resizing_keeps_a_flat_image_flat_and_never_overshoots(
    size: tuple[int, int], target: tuple[int, int], channels: int, resize: Any, dtype: Any
) -> None:
    flat = np.full((*size, channels), 77, dtype)
    np.testing.assert_allclose(resize_pixels(flat, target, resize), np.full((*target, channels), 77), rtol=1e-5)
    noise = np.random.default_rng(0).integers(10, 200, (*size, channels)).astype(dtype)
    found = resize_pixels(noise, target, resize)
    assert found.shape == (*target, channels)
    assert found.dtype == dtype
    assert found.min() >= noise.min() - 0.5
    assert found.max() <= noise.max() + 0.5


def test_resizing_hangs_on_no_layout_in_memory() -> None:
    random = np.random.default_rng(0)
    for dtype, channels in ((np.uint8, 3), (np.uint8, 1), (np.float32, 2)):
        part = random.integers(0, 256, (50, 61, channels)).astype(dtype)[3:41, 5:]
        planes = torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)))[None]
        plain = torch.nn.functional.interpolate(planes, (24, 70), mode="bilinear", antialias=True)[0]
        found = resize_pixels(part, (24, 70), "squash")
        assert np.allclose(found, plain.permute(1, 2, 0).numpy(), atol=1e-4 if dtype == np.float32 else 0)
        assert found.flags.c_contiguous


def test_pad_keeps_all_and_fills_with_the_mean_colour_of_the_border() -> None:
    image = np.full((10, 20, 3), (200, 100, 50), np.uint8)
    image[3:7, 5:15] = 0  # what is inside does not colour the border
    found = resize_pixels(image, (20, 20), "pad")
    np.testing.assert_array_equal(found[5:15], image)
    assert (found[:5] == (200, 100, 50)).all()
    assert (found[15:] == (200, 100, 50)).all()


@given(st.integers(1, 600), st.integers(1, 600), st.integers(1, 256))
def test_every_shape_can_be_cropped(height: int, width: int, side: int) -> None:
    """The part that is kept never reaches outside by a rounding: a twelfth of all photos would else be refused."""
    assert (resize_pixels(np.full((height, width, 3), 128, np.uint8), (side, side), "crop") == 128).all()


def test_crop_takes_the_middle_and_squash_all() -> None:
    image = np.zeros((10, 30, 1), np.uint8)
    image[:, 10:20] = 255
    assert (resize_pixels(image, (10, 10), "crop") == 255).all()
    squashed = resize_pixels(image, (10, 10), "squash")[0, :, 0]
    assert squashed[0] == squashed[-1] == 0
    assert squashed[5] == 255


# ---- what is no image ----


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


GIT_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        (b"just some words\n", "not an image (text)"),
        ("Grüße, 图像\n".encode() * 800, "not an image (text)"),
        ("\ufeffGrüße".encode("utf-16"), "not an image (text)"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "not an image (HTML)"),
        (b'<?xml version="1.0"?><svg></svg>', "not an image (SVG drawing)"),
        (b'{"error": "not found"}', "not an image (JSON)"),
        (GIT_LFS, "Git LFS pointer"),
        (b"\x00\x05\x16\x07" + bytes(100), "not an image (AppleDouble side file of macOS)"),
        (bytes(10_000), "not an image (all zero bytes)"),
        (bytes(10_000) + b"x", "not an image (random or unknown bytes)"),
        (np.random.default_rng(0).bytes(4096), "not an image (random or unknown bytes)"),
        (b"%PDF-1.7 ...", "not an image (PDF document)"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "not an image Pillow reads (HEIC photo)"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"\x89PNG\n\x1a\n" + bytes(200), "damaged"),
        (b"\xff\xd8\xff\xe0", "truncated"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "not an image (sound or video)"),
    ],
)
def test_what_is_no_image_is_named(put: Put, content: bytes, reason: str) -> None:
    path = put("a.jpg", content)
    for read in (decode, read_size):
        with pytest.raises(Unreadable) as caught:
            read(path)
        assert caught.value.reason == reason
        assert str(caught.value).startswith(reason)


FORMATS: list[tuple[str, str, dict[str, Any]]] = [
    ("a.jpg", "JPEG", {}),
    ("progressive.jpg", "JPEG", {"progressive": True}),
    ("a.png", "PNG", {}),
    ("a.gif", "GIF", {}),
    ("a.bmp", "BMP", {}),
    ("a.tif", "TIFF", {}),
    ("a.webp", "WEBP", {}),
    ("lossless.webp", "WEBP", {"lossless": True}),
    ("a.ppm", "PPM", {}),
    ("a.ico", "ICO", {"sizes": [(48, 48)]}),
    ("a.tga", "TGA", {}),
    ("a.pcx", "PCX", {}),
    ("a.avif", "AVIF", {}),
    ("a.jp2", "JPEG2000", {}),
]


@pytest.mark.parametrize(("name", "format_", "options"), FORMATS)
def test_a_cut_off_file_is_refused_or_whole_all_the_same(
    put: Put, name: str, format_: str, options: dict[str, Any]
) -> None:
    content = encoded(photo(), format_, **options)
    whole = decode(put(name, content)).pixels
    reasons = set()
    for cut in {*range(1, len(content), max(1, len(content) // 40)), *range(len(content) - 12, len(content))}:
        try:
            np.testing.assert_array_equal(decode(put(name, content[:cut])).pixels, whole)
        except Unreadable as fault:
            reasons.add(fault.reason.split(" (")[0])
    assert reasons & {"truncated", "damaged"}
    assert reasons <= {"truncated", "damaged", "not an image", "not an image Pillow reads"}


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.avif", "a.bmp", "a.gif"])
def test_half_a_file_is_called_truncated(put: Put, name: str) -> None:
    format_ = {"jpg": "JPEG"}.get(name[2:], name[2:].upper())
    content = encoded(photo(200, 200), format_)
    with pytest.raises(Unreadable) as caught:
        decode(put(name, content[: len(content) // 2]))
    assert caught.value.reason == "truncated"


def test_damage_in_the_middle_is_told_with_the_reader_s_words(put: Put) -> None:
    content = bytearray(encoded(photo(100, 100)))
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    with pytest.raises(Unreadable) as caught:
        decode(put("a.png", bytes(content)))
    assert caught.value.reason == "damaged"
    assert caught.value.detail


def header(width: int, height: int, more: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_decompression_bombs_are_refused_unopened(put: Put) -> None:
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))
    for content in (header(30_000, 30_000), header(8, 8, text)):
        with pytest.raises(Unreadable) as caught:
            decode(put("a.png", content))
        assert caught.value.reason == "decompression bomb"


def test_a_lifted_limit_of_pillow_lifts_none_of_ours(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(Unreadable, match="decompression bomb: 30000x30000"):
        decode(put("a.png", header(30_000, 30_000)))


def test_names_of_images_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    found = {}
    for name in ("folder.jpg", "dangling.jpg", "loop.jpg", "missing.jpg"):
        with pytest.raises(Unreadable) as caught:
            decode(tmp_path / name)
        found[name] = caught.value.reason
    assert found == {
        "folder.jpg": "a directory",
        "dangling.jpg": "a broken link",
        "loop.jpg": "a broken link",
        "missing.jpg": "missing",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(Unreadable, match="not a regular file"):
        decode(tmp_path / "pipe.jpg")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_one_may_not_read(put: Put) -> None:
    path = put("a.png", encoded(photo()))
    path.chmod(0)
    with pytest.raises(Unreadable, match="no permission"):
        decode(path)


# ---- Pillow's manners ----


def test_no_warning_of_pillow_leaks_and_all_filters_come_back(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put("a.png", encoded(photo()))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # 48 x 64 is more, but not twice as much
    filters = warnings.filters[:]
    assert decode(path).pixels.shape == (48, 64, 3)
    threads = [threading.Thread(target=lambda: [decode(path) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == filters
    with quiet, pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", UserWarning, stacklevel=1)


def test_a_program_that_accepts_truncated_files_is_refused(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put("a.jpg", encoded(photo(), "JPEG")[:-20])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(SettingsError, match="LOAD_TRUNCATED_IMAGES"):
        decode(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES
