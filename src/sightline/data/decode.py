"""One image file -> uint8 H,W,C at the wanted size with what was odd about it, or the reason why not.

Every image goes through the same steps, for training as for prediction: read by content (not by extension), first
frame only, deep and float samples scaled to 0..255, transparency laid over white, turned upright by its EXIF
orientation, resized. Files are only ever read. A truncated file is refused, never filled up with grey.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import stat
import threading
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError, features

from sightline.data.flatten import flatten, to_channels
from sightline.data.preprocess import Resize
from sightline.data.resize import GAP, scaled
from sightline.data.resize import resize_pixels as resize_pixels
from sightline.data.sniff import Coloured as Coloured
from sightline.data.sniff import Unreadable as Unreadable
from sightline.data.sniff import cut_off, sniff
from sightline.errors import SettingsError

FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    "MPO": (".mpo", ".jpg", ".jpeg", ".jpe"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "ICO": (".ico",),
    "TGA": (".tga",),
    "PCX": (".pcx",),
    "SGI": (".sgi", ".rgb", ".bw"),
    "QOI": (".qoi",),
}
"""The formats read, by Pillow's names, with their extensions. EPS is left out on purpose: it would start a program."""

EXTENSIONS: frozenset[str] = frozenset(extension for extensions in FORMATS.values() for extension in extensions)
"""What the name of an image file ends with, lower case."""

_READERS = tuple(name for name in FORMATS if name != "MPO")  # several JPEGs in one file: the JPEG reader finds them

ODDITIES: dict[str, str] = {
    "animated": "only the first frame is used",
    "several pictures": "only the first is used",
    "16-bit": "scaled from 0..65535 to 0..255",
    "12-bit in 16": "no value is above 4095, so scaled from 0..4095 to 0..255",
    "8-bit in 16": "no value is above 255, so taken as it is",
    "float": "scaled to 0..255 from the smallest of 0..1, 0..255, 0..4095 and 0..65535 that holds its values",
    "stretched": "values below 0 or above 65535, so scaled from their own minimum and maximum to 0..255",
    "CMYK": "converted to RGB without its colour profile",
    "1-bit": "black and white become 0 and 255",
    "palette": "converted to its colours",
    "palette with transparency": "converted to its colours and laid over white",
    "transparent": "laid over white",
    "EXIF-rotated": "turned upright as its orientation tag says",
    "damaged EXIF": "its orientation cannot be read, so it is taken as it is",
    "wrong extension": "read by its content",
    "extreme aspect": "one side is more than 10 times the other",
    "tiny": "a side is shorter than 4 pixels",
    "very large": "more than 89 million pixels",
}
"""Everything that can be odd about an image that is readable all the same, and what is done about it."""

LARGE = 89_478_485
"""Pixels above which Pillow warns of a decompression bomb; such an image is read, and told as ``very large``."""
LIMIT = 2 * LARGE
"""Pixels above which an image is refused as a decompression bomb, as Pillow does."""

AT_ONCE = 16 << 20
"""Bytes up to which a file is read at once: each small read would let another thread take the interpreter's lock."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_HEAVY = 1 << 24  # pixels; images above are decoded one at a time, so that threads do not multiply their memory
_one_heavy = threading.Lock()


@dataclass(frozen=True, eq=False)
class Decoded:
    """One readable image.

    Attributes:
        pixels: uint8 H,W,C, C = 1 (grey) or 3 (RGB), 0..255.
        width: native width in pixels, upright.
        height: native height in pixels, upright.
        mode: Pillow's name for the file's pixels: ``L``, ``RGB``, ``P``, ``CMYK``, ``I;16``, ...
        format: Pillow's name for the file's format, a key of ``FORMATS``; empty for an image in memory.
        oddities: keys of ``ODDITIES``.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    mode: str
    format: str
    oddities: tuple[str, ...]


class _Quiet:
    """Hold Pillow's warnings back while any thread is inside; what they tell is told as a reason or an oddity.

    The filters of ``warnings`` belong to the whole process, so the first thread in sets them and the last one out
    puts them back; only warnings issued by Pillow itself are affected. The same for its log, which Python prints to
    stderr as long as nobody handles it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()
        self._silence = logging.NullHandler()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
                logging.getLogger("PIL").addHandler(self._silence)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                logging.getLogger("PIL").removeHandler(self._silence)
                self._caught.__exit__(None, None, None)


quiet = _Quiet()
"""``with quiet:`` around many calls of ``decode`` saves it the trouble of doing so for each."""


class _Opened:
    """A file opened for reading; whatever stands in the way becomes an ``Unreadable``."""

    def __init__(self, path: Path | str) -> None:
        try:
            kind = os.stat(path).st_mode
            if stat.S_ISDIR(kind):
                raise Unreadable("a directory", "with an image's name")
            if not stat.S_ISREG(kind):  # opening a named pipe would wait for ever
                raise Unreadable("not a regular file")
            self.file: BinaryIO = open(path, "rb")  # noqa: SIM115 - this class closes it
        except OSError as error:
            if isinstance(error, PermissionError):
                raise Unreadable("no permission to read it") from None
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                raise Unreadable("a broken link" if os.path.islink(path) else "missing") from None
            raise Unreadable("cannot be opened", error.strerror or str(error)) from None

    def __enter__(self) -> BinaryIO:
        return self.file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()


def decode(
    path: Path | str, size: tuple[int, int] | None = None, resize: Resize = "pad", channels: int | None = None
) -> Decoded:
    """Read one image file.

    Args:
        path: the file.
        size: wanted (height, width) in pixels; None keeps the native size.
        resize: what to do with another shape, see ``resize_pixels``.
        channels: 1, 3, or None: 1 if the three channels are equal at every pixel, whatever the file's mode, else 3.

    Raises:
        Unreadable: there is no image in it; ``Coloured`` if ``channels`` is 1 and it is not grey.
        SettingsError: this process has told Pillow to accept truncated files.
    """
    refuse_lenient()
    with quiet, _Opened(path) as opened:
        file: BinaryIO = opened
        try:
            if os.fstat(opened.fileno()).st_size <= AT_ONCE:
                file = io.BytesIO(opened.read())
            image = Image.open(file, formats=_READERS)
            decoded = decode_image(image, size, resize, channels, reduce=True)
        except Unreadable:
            raise
        except UnidentifiedImageError:
            raise Unreadable(*sniff(file)) from None
        except Exception as error:  # decoders raise whatever damaged bytes make them stumble over
            raise _reason(error, file) from None
    extension = os.path.splitext(path)[1].lower()
    if extension in EXTENSIONS and extension not in FORMATS.get(decoded.format, ()):
        return replace(decoded, oddities=(*decoded.oddities, "wrong extension"))
    return decoded


def read_size(path: Path | str) -> tuple[int, int]:
    """Read the native (height, width) in pixels, upright, from the header alone.

    Raises:
        Unreadable: the header gives none; a damaged body is not noticed.
    """
    with quiet, _Opened(path) as file:
        try:
            image = Image.open(file, formats=_READERS)
            turned = image.format != "TIFF" and (_orientation(image) or 1) >= 5  # a TIFF gives its size upright
            return (image.width, image.height) if turned else (image.height, image.width)
        except UnidentifiedImageError:
            raise Unreadable(*sniff(file)) from None
        except Exception as error:
            raise _reason(error, file) from None


def refuse_lenient() -> None:
    """Refuse to work while the program has switched Pillow to filling truncated files with grey.

    Raises:
        SettingsError: ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is on.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise SettingsError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True in this program: truncated files would be filled up silently.",
            "Set it to False; truncated files are then left out and named.",
        )


def decode_image(
    image: Image.Image,
    size: tuple[int, int] | None = None,
    resize: Resize = "pad",
    channels: int | None = None,
    *,
    reduce: bool = False,
) -> Decoded:
    """Bring an image that Pillow has opened, or holds in memory, to pixels: the steps that files go through.

    Args:
        image: of any mode; loaded if it is not yet.
        size: wanted (height, width) in pixels; None keeps the native size.
        resize: what to do with another shape, see ``resize_pixels``.
        channels: as in ``decode``.
        reduce: an image that is not loaded yet may be decoded at a lower resolution, and stays so.

    Raises:
        Unreadable: a decompression bomb, NaN pixels, or a colour image where ``channels`` is 1; what Pillow raises for
            a damaged file is passed on.
    """
    width, height = image.size
    if width * height > LIMIT:
        raise Unreadable("decompression bomb", f"{width}x{height} pixels")
    mode, format_ = image.mode, image.format or ""
    odd: list[str] = []
    if getattr(image, "is_animated", False):
        odd.append("animated" if format_ in ("GIF", "PNG", "WEBP", "AVIF") else "several pictures")
    deep = any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
    if deep and mode != "F" and not mode.startswith("I"):
        odd.append("16-bit")  # colour or with alpha: Pillow itself takes the upper byte of each sample
    turn = _orientation(image)
    if reduce and size is not None and format_ in ("JPEG", "MPO"):
        _draft(image, size, resize, turn)
    with _one_heavy if image.width * image.height > _HEAVY else nullcontext():
        pixels = _jpeg(image) if reduce else None
        if pixels is None:
            image.load()
        # PNG may tell it only now; TIFF has been turned by Pillow, and now says 1.
        later = turn if format_ == "JPEG" else _orientation(image)
        if turn is None or later is None:
            odd.append("damaged EXIF")
        elif turn != 1 or later != 1:
            odd.append("EXIF-rotated")
        if pixels is None:
            pixels = np.array(_turned(flatten(image, odd), later))
        elif later in _TURNS:
            pixels = np.array(_turned(Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]), later))
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        array = resize_pixels(pixels, size or (pixels.shape[0], pixels.shape[1]), resize)
    if (later or 1) >= 5:
        width, height = height, width
    if max(width, height) > 10 * min(width, height):
        odd.append("extreme aspect")
    if min(width, height) < 4:
        odd.append("tiny")
    if width * height > LARGE:
        odd.append("very large")
    return Decoded(to_channels(array, channels), width, height, mode, format_, tuple(odd))


def _draft(image: Image.Image, size: tuple[int, int], resize: Resize, turn: int | None) -> None:
    """Tell the JPEG decoder to decode at 1/2, 1/4 or 1/8, where that still leaves ``GAP`` times the wanted size."""
    sideways = (turn or 1) >= 5
    height, width = scaled(image.size if sideways else image.size[::-1], size, resize)
    wanted = (height, width) if sideways else (width, height)
    cast(Any, image).draft(None, tuple(max(1, int(side * GAP)) for side in wanted))


def _turned(image: Image.Image, orientation: int | None) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _jpeg(image: Image.Image) -> NDArray[np.uint8] | None:
    """Decode a JPEG file by simplejpeg, if that is installed: the same pixels H,W,C as Pillow's, in half the time.

    Both use libjpeg-turbo, with the same arithmetic; at the resolution that ``_draft`` has set. Whatever the file has
    that is odd is left to Pillow, which then decides whether that is a fault.
    """
    decoder = _simplejpeg()
    if decoder is None or image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return None
    file = cast(Any, image).fp
    file.seek(0)
    try:
        pixels: NDArray[np.uint8] = decoder.decode_jpeg(
            file.read(),
            "RGB" if image.mode == "RGB" else "GRAY",
            fastdct=False,
            fastupsample=False,
            min_height=image.height,
            min_width=image.width,
        )
    except ValueError:
        return None
    return pixels if pixels.shape[:2] == image.size[::-1] else None


@cache
def _simplejpeg() -> Any:
    """Give the module, or None where it is missing, or where Pillow was built on another library than it has."""
    if not features.check_feature("libjpeg_turbo"):
        return None
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def _orientation(image: Image.Image) -> int | None:
    """Give the EXIF orientation 1..8 (1 if there is none), or None if the tags cannot be read."""
    if image.format == "PNG" and "exif" not in image.info and getattr(image, "tile", None):
        return 1  # Pillow would decode the whole image to look behind the pixels, and swallow what is wrong with it
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return None
    return turn if turn in _TURNS else 1


def _reason(error: Exception, file: BinaryIO) -> Unreadable:
    """Turn what a decoder stumbled over into a reason in plain words."""
    words = str(error) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError) or "Decompressed data too large" in words:
        return Unreadable("decompression bomb", words.split(", could be")[0].rstrip("."))
    if isinstance(error, MemoryError):
        return Unreadable("too large for the memory")
    if isinstance(error, OSError) and error.errno is not None:
        return Unreadable("cannot be read", error.strerror or words)
    cut = isinstance(error, EOFError) or "truncated" in words.lower() or cut_off(file)
    return Unreadable("truncated" if cut else "damaged", words)
