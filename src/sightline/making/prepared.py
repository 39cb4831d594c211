"""A source -> pixels, split, preprocessing and findings, ready to train on; and the same again from a run's record."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline import files
from sightline.data import corrections
from sightline.data.balance import Balance, Rows, draw, repeated_validation
from sightline.data.cache import FORMAT as PACKING
from sightline.data.corrections import Corrected
from sightline.data.health import check
from sightline.data.images import SPLITS, Images
from sightline.data.normalise import Positions
from sightline.data.pixels import Pixels, choose_size, pack
from sightline.data.preprocess import Preprocessing
from sightline.data.sources import load
from sightline.data.split import Split, split
from sightline.errors import RunError
from sightline.finding import Finding
from sightline.models.fitting import Fitted
from sightline.models.obtain import wanted
from sightline.models.pretrained import Pretrained, Recalled
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.settings import Settings

DATA = (
    "image_size", "resize", "normalise", "corrections", "valid_fraction", "test_fraction", "split_seed", "strict",
    "balance_valid", "weights",
)  # fmt: skip
"""Settings that ``prepare`` reads; ``seed`` is one where ``split_seed`` is None, ``model`` where there are weights."""


@dataclass(frozen=True)
class Prepared:
    """Everything about the data that a training needs; row i of ``pixels.array`` is row i of ``pixels.images``.

    Attributes:
        pixels: decoded once; unreadable files are left out.
        split: rows of each part.
        preprocessing: with mean and standard deviation of the training rows.
        findings: about the data.
        size_reason: why the pixels have the size they have.
        corrected: what a list of corrections changed; its dropped rows are in no part of the split.
        weights: what the network begins with; None: its weights are drawn.
        drawn: what an epoch goes through, for each way to balance that was asked for: worked out once. It belongs to
            this split: ``dataclasses.replace`` starts it anew.
        measured: the weights of whitening layers, by their shape: measured once, and of this split likewise.
    """

    pixels: Pixels
    split: Split
    preprocessing: Preprocessing
    findings: tuple[Finding, ...] = ()
    size_reason: str = ""
    corrected: Corrected | None = None
    weights: Pretrained | Recalled | None = None
    drawn: dict[str, Rows] = field(default_factory=dict, init=False, repr=False, compare=False)
    measured: dict[str, torch.Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def images(self) -> Images:
        """The readable images."""
        return self.pixels.images

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of each row, int64 (N,)."""
        return self.pixels.images.labels

    @property
    def counts(self) -> NDArray[np.int64]:
        """Training images of each class, int64 (K,)."""
        return np.bincount(self.labels[self.split.train], minlength=len(self.images.classes)).astype(np.int64)

    def training_rows(self, balance: Balance, seed: int, progress: Progress | None = None) -> Rows:
        """List what an epoch of training goes through; see ``balance.draw``."""
        key = f"{balance}, seed {seed}"
        if key not in self.drawn:
            rows, classes = self.split.train, self.images.classes
            drawn = draw(balance, self.pixels.array, self.labels, rows, seed=seed, classes=classes, progress=progress)
            self.drawn[key] = drawn
        return self.drawn[key]

    def inputs(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Give rows as the network gets them, without augmentation: float32 (N, C, *positions), on the processor."""
        return self.preprocessing.normalise(torch.from_numpy(np.ascontiguousarray(self.pixels.array[rows])))

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """Name rows as messages and tables do."""
        return [self.images.label_of(int(row)) for row in rows]

    def fingerprint(self) -> str:
        """Digest of pixels, labels and classes: two sources with the same one train the same."""
        digest = hashlib.sha256("\0".join(self.images.classes).encode())
        digest.update(self.labels.tobytes())
        digest.update(self.pixels.digests.tobytes())
        return digest.hexdigest()[:32]


def depends_on(settings: Settings) -> tuple[Any, ...]:
    """Give what ``prepare`` makes of the same images depends on: equal for settings whose data are the same."""
    seed = settings.seed if settings.split_seed is None else None
    return (seed, settings.model if settings.weights else None, *(getattr(settings, name) for name in DATA))


def prepare(images: Images, settings: Settings, progress: Progress) -> Prepared:
    """Decode, split, apply corrections, look for faults, and measure the training pixels; read weights, if any.

    The split is drawn from the labels as the source gives them: corrections move no image from one part to another.
    Size, mean and deviation are those that the weights know, unless the settings say another size.

    Raises:
        SourceError: the data cannot be used; the message says why.
        ModelError: the weights cannot be had or read, or are for another kind of data.
    """
    listed = None if settings.corrections is None else corrections.read(settings.corrections)
    weights = wanted(settings, progress)
    size: int | tuple[int, ...] | None = settings.image_size
    reason = "as set"
    if size is None and images.kind == "image":
        known = weights.preprocessing if weights else None
        if known and known.kind == "image":
            size, reason = known.size, "what the weights were trained at; a smaller --image-size is faster"
        else:
            size, reason = choose_size(images)
    pixels = pack(images, size, settings.resize, strict=settings.strict, progress=progress)
    readable = pixels.images
    parts = split(
        readable.labels,
        splits=readable.splits,
        groups=readable.groups,
        digests=pixels.digests,
        valid=settings.valid_fraction,
        test=settings.test_fraction,
        seed=settings.seed if settings.split_seed is None else settings.split_seed,
        classes=readable.classes,
    )
    corrected, told = None, []
    if listed is not None:
        corrected = corrections.apply(readable, listed)
        told = [corrected.finding(parts)]
        pixels, parts = replace(pixels, images=corrected.images), corrected.without_dropped(parts)
    if settings.balance_valid:
        validation = pixels.images.labels[parts.valid]
        told.append(repeated_validation(np.bincount(validation, minlength=len(readable.classes))))
    preprocessing, why = _measure(pixels, parts, settings, weights, progress)
    if weights is not None:
        weights = replace(weights, notes=(*weights.notes, why))
    findings = (*told, *check(images, pixels, parts))
    return Prepared(pixels, parts, preprocessing, findings, reason, corrected, weights=weights)


def divide(data: Prepared, parts: Split, settings: Settings, progress: Progress) -> Prepared:
    """Give the same images with other parts, measured on the training rows of these."""
    weights = data.weights if isinstance(data.weights, Pretrained) else None
    return replace(data, split=parts, preprocessing=_measure(data.pixels, parts, settings, weights, progress)[0])


def _measure(
    pixels: Pixels, parts: Split, settings: Settings, weights: Pretrained | None, progress: Progress
) -> tuple[Preprocessing, str]:
    """Measure what the normalisation needs on the training rows, or take what the weights know; and why."""
    normalise = weights.adopt(settings).normalise if weights else settings.normalise
    measured = pixels.preprocessing.fit(pixels.array, parts.train, normalise=normalise, progress=progress)
    return weights.prepare(measured) if weights else (measured, "")


def survey(images: Images, settings: Settings, progress: Progress) -> list[Finding]:
    """Look for faults in images that may not even be fit to split; what cannot be split is a finding, not an end."""
    pixels = pack(images, settings.image_size, settings.resize, progress=progress)
    readable = pixels.images
    parts = None
    if readable.splits is not None:
        parts = _parts(readable.splits)
    return check(images, pixels, parts)


def record(
    folder: RunFolder, data: Prepared, *, source: str | None, reasons: dict[str, str], fitted: Fitted | None = None
) -> None:
    """Write what the data were: ``data.json``, ``split.csv``, ``findings.json``, and what was measured or corrected."""
    images = data.images
    files.write_json(
        folder.data,
        {
            "source": source,
            "name": images.name,
            "layout": images.layout,
            "kind": images.kind,
            "classes": list(images.classes),
            "counts": {part: _counts(data, getattr(data.split, part)) for part in SPLITS},
            "preprocessing": data.preprocessing.as_dict(),
            "fingerprint": data.fingerprint(),
            "packing": PACKING,
            "reasons": reasons,
            "ignored": list(images.ignored),
            "notes": list(data.split.notes),
            **({"corrections": _corrections(data)} if data.corrected else {}),
            **({"weights": _weights(data.weights, fitted)} if isinstance(data.weights, Pretrained) and fitted else {}),
        },
    )
    if data.preprocessing.positions is not None:
        files.write_bytes(folder.positions, data.preprocessing.positions.as_bytes())
    if data.corrected is not None:
        files.write_text(folder.corrections, data.corrected.corrections.as_csv())
    part_of = np.full(len(images), "", dtype="U5")
    for part in SPLITS:
        part_of[getattr(data.split, part)] = part
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "class", "split", "digest"])
    names = data.names(np.arange(len(images)))
    digests = (f"{digest:016x}" for digest in data.pixels.digests.tolist())
    writer.writerows(zip(names, (images.classes[k] for k in images.labels), part_of, digests, strict=True))
    files.write_text(folder.split, text.getvalue())
    files.write_json(folder.findings, [finding.as_dict() for finding in data.findings])


def restore(folder: RunFolder, progress: Progress, source: Any = None) -> Prepared:
    """Open the data of a run again: the same images, the same split, the same preprocessing.

    Args:
        folder: the run.
        progress: shows the decoding, if the cache is gone.
        source: the data, where the run was trained on arrays in memory or the files have moved.

    Raises:
        RunError: the source is unknown or its content is not what was trained on.
    """
    told = folder.read_json(folder.data, "find its data")
    source = told["source"] if source is None else source
    if source is None:
        raise RunError(
            f"run '{folder.path}' does not know where its data are: they were arrays in memory, or it was pulled.",
            "Give them again: as SOURCE on the command line, as source=(x, y) in Python.",
        )
    settings = read_settings(folder)
    preprocessing = read_preprocessing(folder)
    images = load(source, data_dir=settings.data_dir, download=settings.download, progress=progress)
    pixels = pack(images, settings.image_size, settings.resize, progress=progress)
    rows = read_split(folder)
    names = [pixels.images.label_of(row) for row in range(len(pixels.images))]
    kept = {row["file"] for row in rows}
    if names != [row["file"] for row in rows] or tuple(told["classes"]) != pixels.images.classes:
        gone, new = len(kept - set(names)), len(set(names) - kept)
        raise RunError(
            f"the data of run '{folder.path}' have changed: {gone} images are gone, {new} are new.",
            f"Restore '{source}' as it was, or train a new run on it.",
        )
    corrected = None
    if told.get("corrections"):
        listed = corrections.read(folder.need(folder.corrections, "correct its labels again"))
        corrected = corrections.apply(pixels.images, listed)
        pixels = replace(pixels, images=corrected.images)
    part_of = np.array([row["split"] for row in rows])
    parts = _parts(part_of, tuple(told["notes"]))
    data = Prepared(pixels, parts, preprocessing, corrected=corrected)
    if data.fingerprint() == told["fingerprint"]:
        return data
    classes = [data.images.classes[label] for label in data.images.labels]
    if told.get("packing", 1) == PACKING or classes != [row["class"] for row in rows]:
        raise RunError(
            f"the data of run '{folder.path}' have changed: same names, but other pixels or labels.",
            f"Restore '{source}' as it was, or train a new run on it.",
        )
    progress.note(
        f"run '{folder.path}' is of an older version, which brought images to size with other roundings: its images "
        "are told by their names."
    )
    return data


def read_split(folder: RunFolder) -> list[dict[str, str]]:
    """Read which image served for what: one row per image with ``file``, ``class``, ``split`` and ``digest``.

    The digest is 16 hexadecimal digits, which equal images of one packed size share; older runs have none.
    """
    path = folder.need(folder.split, "find its split")
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def recall(folder: RunFolder, settings: Settings, progress: Progress) -> Pretrained | Recalled | None:
    """Give the weights a run began with: their file is needed only if it was cut off before its first checkpoint.

    Raises:
        ModelError: the file is needed and cannot be read any more. RunError: the run's record is damaged.
    """
    if settings.weights is None or not folder.checkpoint.is_file():
        return wanted(settings, progress)
    told = folder.read_json(folder.data, "know which layers are new").get("weights", {})
    return Recalled(frozenset(told.get("fresh", ())))


def read_settings(folder: RunFolder) -> Settings:
    """Read the resolved settings of a run; one from before classes could be balanced did not balance them."""
    settings = Settings.from_toml(folder.need(folder.settings, "know its settings"), table="settings")
    return settings if settings.balance else settings.model_copy(update={"balance": "none"})


def read_preprocessing(folder: RunFolder) -> Preprocessing:
    """Read what every image of a run goes through before the network."""
    told = folder.read_json(folder.data, "know its preprocessing")["preprocessing"]
    positions = None
    if told.get("normalisation") in ("pixel", "zca"):
        positions = Positions.read(folder.need(folder.positions, "normalise its inputs"))
    return Preprocessing.from_dict(told, positions)


def describe_source(source: Any) -> str | None:
    """Say where a source can be found again: an absolute path or a known name; None for arrays in memory."""
    if not isinstance(source, (str, Path)):
        return None
    path = Path(source)
    return str(path.resolve()) if path.exists() else str(source)


def _weights(weights: Pretrained, fitted: Fitted) -> dict[str, Any]:
    """Tell which weights a training begins with, what was changed to fit them, and what is new."""
    return {
        "name": weights.name,
        "file": str(weights.file),
        "sha256": weights.sha256,
        "changes": list(fitted.changes),
        "fresh": sorted(fitted.fresh),
    }


def _corrections(data: Prepared) -> Any:
    """Tell what was corrected: file, digest, counts by part and action."""
    return next(dict(finding.evidence) for finding in data.findings if finding.code == "data/corrections")


def _counts(data: Prepared, rows: NDArray[np.int64]) -> list[int]:
    counts: list[int] = np.bincount(data.labels[rows], minlength=len(data.images.classes)).tolist()
    return counts


def _parts(part_of: NDArray[np.str_], notes: tuple[str, ...] = ()) -> Split:
    train, valid, test = (np.flatnonzero(part_of == part).astype(np.int64) for part in SPLITS)
    return Split(train, valid, test, notes)
