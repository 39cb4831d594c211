"""A run folder -> the training seen as one object: its model, history, scores, predictions and report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.data.images import Images
from sightline.data.pixels import Pixels, pack
from sightline.data.preprocess import Preprocessing
from sightline.data.sources import load
from sightline.diagnosis.evidence import of_run
from sightline.diagnosis.mistakes import Evaluation
from sightline.diagnosis.mistakes import evaluate as score
from sightline.diagnosis.verdict import Verdict, judge
from sightline.errors import RunError, SightlineError, SourceError, did_you_mean
from sightline.making.prepared import Prepared, read_preprocessing, read_settings, restore
from sightline.models import zoo
from sightline.models.network import Network
from sightline.models.plan import Plan
from sightline.models.weights import read_weights
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.serving.predict import Predictions, Predictor
from sightline.settings import Settings
from sightline.training import device as devices
from sightline.training.history import History
from sightline.training.precision import Precision

if TYPE_CHECKING:
    from sightline.making.sights import Sights


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled images as a run sees them.

    Attributes:
        pixels: at the run's size, labelled with the numbers of the run's classes.
        scored: int64, the rows that an evaluation scores.
    """

    pixels: Pixels
    scored: NDArray[np.int64]

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of each row, int64 (N,)."""
        return self.pixels.images.labels

    @property
    def digests(self) -> NDArray[np.uint64]:
        """A number for each row that equal images share, uint64 (N,)."""
        return self.pixels.digests

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """Name rows as messages and tables do: by file or number."""
        return [self.pixels.images.label_of(int(row)) for row in rows]


class Run:
    """What ``train`` returns and ``Run.load`` opens.

    Nothing is read before it is asked for; the weights used are those of the best epoch.
    """

    def __init__(self, folder: RunFolder, data: Prepared | None = None) -> None:
        self.folder = folder
        self._data = data

    @classmethod
    def load(cls, path: Path | str) -> Run:
        """Open a run folder.

        Raises:
            RunError: it is missing, incomplete, from a newer version, or an ensemble's.
        """
        folder = RunFolder.open(path)
        if folder.ensemble.is_file():
            raise RunError(f"'{path}' holds an ensemble, not a single run.", "Open it with sightline.Ensemble.load.")
        return cls(folder)

    def __repr__(self) -> str:
        return f"Run('{self.folder.path}')"

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @cached_property
    def settings(self) -> Settings:
        """The settings as resolved."""
        return read_settings(self.folder)

    @cached_property
    def _told(self) -> dict[str, Any]:
        return dict(self.folder.read_json(self.folder.data, "know its classes"))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""
        return tuple(self._told["classes"])

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """What every image goes through before the network."""
        return read_preprocessing(self.folder)

    @property
    def history(self) -> History:
        """One row of plain numbers per epoch."""
        return History.read(self.folder.need(self.folder.history, "read its history"))

    def snapshots(self) -> list[tuple[str, Path]]:
        """Give what ``schedule=cyclic`` kept: a name (``"cycle 1"``) and a file of weights for each cycle's end.

        Each is a network of this run's settings and could vote with the others (Huang et al. 2017). None are there
        after other schedules.
        """
        kept = sorted(int(path.stem) for path in self.folder.snapshots.glob("[0-9]*.safetensors"))
        return [(f"cycle {cycle}", self.folder.snapshot(cycle)) for cycle in kept]

    @property
    def verdict(self) -> Verdict:
        """What is wrong with the training, if anything, and what to change; read anew from the run's files."""
        return judge(of_run(self.folder))

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        return str(self.folder.read_state().get("headline", "not evaluated yet"))

    @cached_property
    def model(self) -> torch.nn.Module:
        """The network with its best weights, in evaluation mode, on the processor."""
        return self.network(self.folder.best)

    def network(self, weights: Path) -> torch.nn.Module:
        """Build its network with the weights of one of its files, in evaluation mode, on the processor."""
        network = network_of(self.settings, self.preprocessing, len(self.classes))
        read_weights(network, self.folder.need(weights, "use its weights"))
        return network.eval()

    @cached_property
    def predictor(self) -> Predictor:
        """The network ready to serve."""
        return self.serve(self.model)

    def serve(self, model: torch.nn.Module) -> Predictor:
        """Make a network of this run, with these or other weights, ready to serve as the run itself does."""
        place, _ = devices.choose("auto")
        return Predictor(
            model,
            self.classes,
            self.preprocessing,
            device=place,
            precision=Precision.of(self.settings.precision, place),
            temperature=self._temperature(),
        )

    def _temperature(self) -> float:
        if not self.folder.evaluation.is_file():
            return 1.0
        return float(self.folder.read_json(self.folder.evaluation)["temperature"])

    def data(self, source: Any = None, progress: Progress | None = None) -> Prepared:
        """Open the data it was trained on; give ``source`` if they were arrays in memory or have moved."""
        if self._data is None or source is not None:
            self._data = restore(self.folder, progress or Progress(), source)
        return self._data

    def evaluate(self, source: Any = None, *, progress: Progress | None = None) -> Evaluation:
        """Score the best weights.

        Args:
            source: other images with the same classes: their test part if they have one, else all of
                them. None takes the run's own test part (its validation part if it has no test part).
            progress: shows long work.

        Raises:
            SourceError: the source has a class the model does not know, or other channels.
        """
        found = self.labelled(source, progress=progress)
        return score(
            self.predictor.logits(found.pixels.array, found.scored),
            found.labels[found.scored],
            self.classes,
            names=found.names(found.scored),
            temperature=self.predictor.temperature,
        )

    def labelled(self, source: Any = None, *, progress: Progress | None = None) -> Labelled:
        """Open labelled images as this run sees them: at its size, with its numbers for the classes.

        Args:
            source: as for ``evaluate``.
            progress: shows long work.

        Raises:
            SourceError: the source has a class the model does not know, or other channels.
        """
        progress = progress or Progress()
        if source is None:
            data = self.data(progress=progress)
            rows = data.split.test if len(data.split.test) else data.split.valid
            return Labelled(data.pixels, rows)
        images = self._same_classes(
            load(source, data_dir=self.settings.data_dir, download=self.settings.download, training=False)
        )
        size = self.preprocessing.size if self.preprocessing.kind == "image" else None
        pixels = pack(images, size, self.preprocessing.resize, progress=progress)
        self._servable(pixels.preprocessing)
        readable = pixels.images
        rows = np.arange(len(readable))
        if readable.splits is not None and (readable.splits == "test").any():
            rows = np.flatnonzero(readable.splits == "test")
        return Labelled(pixels, rows)

    def _same_classes(self, images: Images) -> Images:
        """Number another source's labels as this model does, or refuse classes it does not know."""
        unknown = [name for name in images.classes if name not in self.classes]
        if unknown:
            raise SourceError(
                f"'{images.name}' has classes this model was not trained on: {', '.join(unknown[:5])}"
                f"{' ...' if len(unknown) > 5 else ''}.{did_you_mean(unknown[0], self.classes)}",
                f"It knows: {', '.join(self.classes[:20])}{' ...' if len(self.classes) > 20 else ''}.",
            )
        numbers = np.array([self.classes.index(name) for name in images.classes])
        return images.relabel(numbers[images.labels], self.classes)

    def _servable(self, other: Preprocessing) -> None:
        mine = self.preprocessing
        grey_to_colour = mine.kind == other.kind == "image" and (mine.channels, other.channels) == (3, 1)
        if (
            other.kind != mine.kind
            or other.size != mine.size
            or (other.channels != mine.channels and not grey_to_colour)
        ):
            raise SourceError(
                f"this source holds {other.kind}s of shape {other.shape}; the model takes {mine.kind}s {mine.shape}.",
                "Evaluate on images of the kind it was trained on.",
            )
        if other.stored != mine.stored:
            raise SourceError(
                f"this source holds {other.stored} pixels, the model was trained on {mine.stored}.",
                "Bring the array to that type and range.",
            )

    def predict(self, images: Any, *, engine: str = "auto", progress: Progress | None = None) -> Predictions:
        """Recognise new images: files, folders, arrays or PIL images. See ``Predictor.predict``."""
        return self.predictor.predict(images, engine=engine, progress=progress)

    def sights(self, progress: Progress | None = None) -> Sights:
        """Give what can be shown of the network: the gallery and its parts; without the data, the network alone."""
        from sightline.making.sights import Sights

        return Sights(self.folder, self.predictor, self._data_if_there(progress or Progress()))

    def see(self, *, units: int = 6, steps: int | None = None, progress: Progress | None = None) -> Path:
        """Write the gallery page, ``gallery.html``, and give its path: what the network looks for and looks at.

        Args:
            units: how many units of each stage are shown.
            steps: of making images; None: as many as about a minute allows, at most 48; 0: none are made.
            progress: shows long work.
        """
        progress = progress or Progress()
        sights = self.sights(progress)
        page = sights.gallery(units=units, steps=steps, progress=progress)
        if self.folder.evaluation.is_file():
            write_report(self.folder, sights.data)  # it now leads to the gallery
        return page

    def report(self, progress: Progress | None = None) -> Path:
        """Write the report page again and give its path; without the data it has no pictures of the mistakes."""
        return write_report(self.folder, self._data_if_there(progress or Progress()))

    def _data_if_there(self, progress: Progress) -> Prepared | None:
        """Open the data, or say why there will be no pictures of them."""
        try:
            return self.data(progress=progress)
        except SightlineError as error:
            progress.note(f"no pictures of the images: {error.fault}")
            return None


def network_of(settings: Settings, preprocessing: Preprocessing, num_classes: int) -> Network:
    """Build the network that the settings describe, with fresh weights from torch's generator."""
    return Network(plan_of(settings, preprocessing, num_classes))


def plan_of(settings: Settings, preprocessing: Preprocessing, num_classes: int) -> Plan:
    """Plan the network that the settings describe: its layers as plain data."""
    dropout = {} if settings.dropout is None else {"dropout": settings.dropout}
    return zoo.plan(
        settings.model,
        in_channels=preprocessing.channels,
        num_classes=num_classes,
        image_size=preprocessing.size,
        **{**settings.options, **dropout},
    )


def write_report(folder: RunFolder, data: Prepared | None = None) -> Path:
    """Write the page and its drawings from the run's files, with pictures of the mistakes if the data are given."""
    from sightline.reports import page
    from sightline.reports.thumbnails import thumbnails

    shown: dict[str, bytes] = {}
    if folder.evaluation.is_file() and data is not None:
        worst = json.loads(folder.evaluation.read_text(encoding="utf-8", errors="surrogateescape"))["worst"]
        rows = {name: row for row, name in enumerate(data.names(np.arange(len(data.images))))}
        wanted = [mistake["name"] for mistake in worst if mistake["name"] in rows]
        shown = thumbnails(data.pixels.array, [rows[name] for name in wanted], wanted)
    page.draw(folder)
    return page.write(folder, thumbnails=shown)
