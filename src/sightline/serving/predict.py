"""A trained network -> class probabilities for new images, through the preprocessing it was trained with."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.data.ahead import ahead
from sightline.data.arrays import read_shape
from sightline.data.decode import Coloured, Unreadable, decode, decode_image
from sightline.data.folders import IMAGE_EXTENSIONS
from sightline.data.images import natural_key
from sightline.data.preprocess import Preprocessing
from sightline.data.resize import resize_pixels
from sightline.errors import SourceError
from sightline.progress import Progress
from sightline.serving import engines
from sightline.training.precision import Precision

if TYPE_CHECKING:
    from PIL.Image import Image

    One = str | os.PathLike[str] | Image | NDArray[Any]


BATCH = 256 * 96 * 96
"""Pixels in a batch: more are not faster, but need memory that grows with them."""

_CHUNK = 8  # images that one thread decodes at a time


@dataclass(frozen=True)
class Predictions:
    """Probabilities for N images.

    Attributes:
        names: file or row, N.
        classes: K class names.
        probabilities: float32 (N, K), calibrated with the temperature fitted on the validation images; rows sum to 1.
        refused: what could not be served, with the reason.
        engine: how the logits were computed, where that was chosen; see ``engines.Choice``.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    refused: tuple[tuple[str, str], ...] = field(default=())
    engine: engines.Choice | None = None

    @property
    def labels(self) -> list[str]:
        """The most probable class of each image."""
        return [self.classes[k] for k in self.probabilities.argmax(axis=1)]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of that class, float32 (N,), 0..1."""
        top: NDArray[np.float32] = self.probabilities.max(axis=1, initial=0.0)
        return top

    def rows(self) -> list[dict[str, Any]]:
        """Give one plain dict per image: file, label, confidence, probabilities by class."""
        return [
            {
                "file": name,
                "label": label,
                "confidence": float(probability.max()),
                "probabilities": dict(zip(self.classes, map(float, probability), strict=True)),
            }
            for name, label, probability in zip(self.names, self.labels, self.probabilities, strict=True)
        ]

    def as_csv(self) -> str:
        """Give CSV: file, label, confidence, then one column per class."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file", "label", "confidence", *self.classes])
        for name, label, p in zip(self.names, self.labels, self.probabilities, strict=True):
            writer.writerow([name, label, f"{p.max():.6f}", *(f"{value:.6f}" for value in p)])
        return text.getvalue()


class Predictor:
    """A network with all it needs to serve: classes, preprocessing, device, precision, temperature.

    Args:
        model: returns logits (B, K).
        classes: K names, in the order of the logits.
        preprocessing: as fitted in training.
        device: where to compute; the model is moved there.
        precision: fp32 unless told otherwise.
        temperature: the logits are divided by it before the softmax (Guo et al. 2017).
        batch_size: images at a time; None: 256, fewer where they are larger than 96 x 96, down to 16.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        *,
        device: torch.device | None = None,
        precision: Precision | None = None,
        temperature: float = 1.0,
        batch_size: int | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.model = model.to(self.device)
        self.classes = tuple(classes)
        self.preprocessing = preprocessing
        self.precision = precision or Precision("fp32", self.device)
        self.temperature = temperature
        self.precision.arrange(self.model)
        self.batch_size = batch_size or max(16, min(256, BATCH // math.prod(preprocessing.size)))

    def logits(self, array: NDArray[Any], rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Run the network over rows of a pixel store, in evaluation mode.

        Args:
            array: images N,H,W,C, signals N,C,L, volumes N,C,D,H,W, as ``Pixels.array`` holds them.
            rows: which, in which order; None takes all.

        Returns:
            float32 (N, K), not yet divided by the temperature.
        """
        rows = np.arange(len(array)) if rows is None else rows
        out = np.empty((len(rows), len(self.classes)), np.float32)
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                for start in range(0, len(rows), self.batch_size):
                    part = array[rows[start : start + self.batch_size]]
                    with self.precision.forward():
                        out[start : start + len(part)] = self.model(self._inputs(part)).float().cpu().numpy()
        finally:
            self.model.train(was_training)
        return out

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn logits (N, K) into calibrated probabilities, float32 (N, K)."""
        z = logits.astype(np.float64) / self.temperature
        z = np.exp(z - z.max(axis=1, keepdims=True, initial=-np.inf)) if len(z) else z
        shares: NDArray[np.float32] = (z / z.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares

    def predict(
        self, images: One | Sequence[One], *, engine: str = "auto", progress: Progress | None = None
    ) -> Predictions:
        """Recognise new images. They are decoded by threads while the network computes; few are in memory at a time.

        Args:
            images: a file, a folder, an ``.npz``/``.npy`` file, an array (one image H,W[,C] or many N,H,W[,C];
                signals N,L or N,C,L; volumes N,C,D,H,W), a PIL image, or a list of these.
            engine: a key of ``engines.ENGINES``. ``auto`` begins with ``plain``; where the rest would take more than
                ``engines.FIRST_S`` seconds it goes on with the fastest that agrees with the network in fp32.
            progress: shows how far it is, and which engine was chosen and how well it agrees.

        Returns:
            Probabilities of what could be served; ``refused`` names the rest with the reason.

        Raises:
            SourceError: there is nothing there, or an array has a shape or type this model does not take.
            SettingsError, MissingExtraError: the engine cannot be used; see ``engines.choose``.
        """
        engines.check(engine)
        was_training = self.model.training
        given = list(self._each(images))
        choice: engines.Choice | None = None
        names: list[str] = []
        refused: list[tuple[str, str]] = []
        found = [np.empty((0, len(self.classes)), np.float32)]
        taken: list[float] = []
        with (
            progress.task("Predicting", total=len(given)) if progress and given else nullcontext() as task,
            closing(self._decode(given)) as batches,
        ):
            for served, pixels, bad in batches:
                work_s = math.inf if engine != "auto" else 0.0
                if engine == "auto" and len(taken) == 2:
                    work_s = taken[1] / self.batch_size * (len(given) - len(names))
                if choice is None and engine != "plain" and served and work_s >= engines.FIRST_S:
                    choice = self._choose(pixels, engine, work_s)
                    if progress:
                        progress.note(f"engine = {choice.sentence}")
                began = time.perf_counter()
                found.append(self.logits(pixels) if choice is None else self._by(choice, pixels))
                taken.append(time.perf_counter() - began)
                names += served
                refused += bad
                if task:
                    task.advance(len(served) + len(bad))
        self.model.train(was_training)
        return Predictions(
            tuple(names), self.classes, self.probabilities(np.concatenate(found)), tuple(refused), choice
        )

    def _choose(self, pixels: NDArray[Any], engine: str, work_s: float) -> engines.Choice:
        self.model.eval()
        return engines.choose(self.model, self._inputs(pixels), self.precision, engine=engine, work_s=work_s)

    @torch.inference_mode()
    def _by(self, choice: engines.Choice, pixels: NDArray[Any]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = choice.logits(self._inputs(pixels)).cpu().numpy()
        return logits

    def _inputs(self, pixels: NDArray[Any]) -> torch.Tensor:
        """Bring rows of a pixel store to the device, as the network takes them."""
        return self.preprocessing.normalise(torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device))

    def read(self, images: One | Sequence[One]) -> Iterator[tuple[list[str], NDArray[Any], list[tuple[str, str]]]]:
        """Decode new images, ``batch_size`` at a time: names, rows as ``logits`` takes them, and what was refused.

        The arguments and faults are those of ``predict``.
        """
        yield from self._decode(self._each(images))

    def _decode(
        self, given: Iterable[tuple[str, One]]
    ) -> Generator[tuple[list[str], NDArray[Any], list[tuple[str, str]]], None, None]:
        names: list[str] = []
        pixels: list[NDArray[Any]] = []
        refused: list[tuple[str, str]] = []
        for name, image in ahead(self._tried, given, most=self.batch_size + 2 * _CHUNK, chunk=_CHUNK):
            if isinstance(image, Unreadable):
                refused.append((name, str(image)))
                continue
            names.append(name)
            pixels.append(image)
            if len(pixels) == self.batch_size:
                yield names, np.stack(pixels), refused
                names, pixels, refused = [], [], []
        if pixels:
            yield names, np.stack(pixels), refused
        elif refused:
            yield [], np.empty((0, *self._stored_shape)), refused

    def _tried(self, given: tuple[str, One]) -> tuple[str, NDArray[Any] | Unreadable]:
        """Decode one image, or say why not."""
        name, image = given
        try:
            return name, self._decoded(image)
        except Unreadable as fault:
            return name, fault

    @property
    def _stored_shape(self) -> tuple[int, ...]:
        spec = self.preprocessing
        return (*spec.size, spec.channels) if spec.kind == "image" else spec.shape

    def _each(self, images: One | Sequence[One]) -> Iterator[tuple[str, One]]:
        """List what was given as (name, one image)."""
        if isinstance(images, np.ndarray):
            array = self._fitting(images)
            yield from ((f"row {i}", image) for i, image in enumerate(array))
        elif isinstance(images, (str, os.PathLike)):
            yield from self._found(Path(images))
        elif isinstance(images, Sequence):
            for i, image in enumerate(images):
                for name, one in self._each(image):
                    yield name if isinstance(image, (str, os.PathLike)) else f"item {i}", one
        else:
            yield "image", images

    def _found(self, path: Path) -> Iterator[tuple[str, One]]:
        if path.is_dir():
            files = [p for p in path.rglob("*") if p.suffix.lower() in IMAGE_EXTENSIONS and not p.name.startswith(".")]
            if not files:
                raise SourceError(f"folder '{path}' holds no images.", "Give image files, or a folder with some.")
            yield from ((str(p), p) for p in sorted(files, key=lambda p: natural_key(str(p))))
        elif path.suffix.lower() in {".npz", ".npy"} and path.is_file():
            yield from ((f"{path}:{i}", image) for i, image in enumerate(self._fitting(_array_in(path))))
        elif not path.exists() and not path.is_symlink():
            raise SourceError(f"'{path}' does not exist.", "Check the path.")
        else:
            yield str(path), path

    def _fitting(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring an array to N images in the pixel store's layout, or say what does not fit."""
        spec = self.preprocessing
        given = array.shape
        if spec.kind == "image" and (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == spec.channels > 1)):
            array = array[None]
        kind, array, _ = read_shape(array, "the array")
        channels = array.shape[spec.axis]
        if kind != spec.kind or channels != spec.channels or (kind != "image" and array.shape[1:] != spec.shape):
            raise SourceError(
                f"an array of shape {given} cannot be served.",
                f"This model takes {spec.kind}s of shape N,{','.join(map(str, self._stored_shape))}; bring it to that "
                "shape.",
            )
        if spec.stored == "uint8" and array.dtype != np.uint8:
            raise SourceError(
                f"an array of type {array.dtype} cannot be served: this model was trained on uint8 pixels.",
                "Give uint8, 0..255: for values in 0..1, (x * 255).round().astype('uint8').",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise SourceError("the array holds NaN or infinite values.", "Replace them before predicting.")
        return array if spec.stored == "uint8" else array.astype(np.float32)

    def _decoded(self, image: One) -> NDArray[Any]:
        """Give one image in the pixel store's layout and size, or refuse it."""
        spec = self.preprocessing
        if isinstance(image, np.ndarray):
            if spec.kind != "image" or image.shape[:2] == spec.size:
                return image
            return resize_pixels(image, (spec.size[0], spec.size[1]), spec.resize)
        if spec.kind != "image" or spec.stored != "uint8":
            raise Unreadable(f"an image file; this model was trained on {spec.kind}s stored as {spec.stored} arrays")
        size = (spec.size[0], spec.size[1])
        channels = 1 if spec.channels == 1 else 3
        try:
            if isinstance(image, (str, os.PathLike)):
                return decode(os.fspath(image), size, spec.resize, channels).pixels
            return decode_image(image, size, spec.resize, channels).pixels
        except Coloured:
            raise Unreadable("in colour; this model was trained on greyscale images") from None


def _array_in(path: Path) -> NDArray[Any]:
    """Read the images of an ``.npy``, or of an ``.npz`` whose array is called x or X, or is alone."""
    try:
        content = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SourceError(f"'{path}' cannot be read: {error}.", "Write it with numpy.save or numpy.savez.") from None
    if isinstance(content, np.ndarray):
        return content
    with content:
        named = [name for name in content.files if name.lower() in {"x", "images"}] or content.files
        if len(named) != 1:
            raise SourceError(
                f"'{path}' holds several arrays ({', '.join(content.files)}).",
                "Call the images 'x', or save them alone.",
            )
        array: NDArray[Any] = content[named[0]]
        return array
