"""A run's network and images -> its gallery page, and pages of single parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline import files
from sightline.errors import ModelError, SettingsError, SourceError, did_you_mean
from sightline.making.prepared import Prepared
from sightline.models import arithmetic
from sightline.models.network import Network
from sightline.models.plan import by
from sightline.progress import Progress
from sightline.reports import facts, gallery
from sightline.reports.network import draw
from sightline.reports.words import drawing
from sightline.run import RunFolder
from sightline.seeing import exhibit
from sightline.seeing.exhibit import Asked, Chosen, Exhibit, Stage
from sightline.seeing.kept import Kept
from sightline.seeing.kernels import Kernels
from sightline.seeing.kernels import kernels as read_kernels
from sightline.seeing.octaves import deepdream
from sightline.seeing.picture import natural, png, sheet
from sightline.seeing.saliency import METHODS
from sightline.seeing.subject import Subject
from sightline.seeing.targets import wanted
from sightline.serving.predict import Predictor

LOOKS = 30e9
"""Multiply-adds that looking at examples may take: a second or so of one core."""
DREAMS = 5e11
"""Multiply-adds, forward, that making images may take: about a minute of one core."""
STEPS = 48
"""Of making images, unless more are asked for: most of what 256 find."""
DEAR = 2e7
"""Multiply-adds for one image from which on fewer images are explained, in fewer steps."""
ROUGH = 0.05
"""Share that integrated gradients may miss on the gallery, which says how much they did."""
MOST_MAPS = 64
"""Maps of a layer on the page of maps, at most, for each image."""


@dataclass(frozen=True, eq=False)
class Sights:
    """What can be shown of a run.

    Attributes:
        folder: of the run.
        predictor: its network, with the best weights, ready to serve.
        data: what it was trained on; None shows the network alone.
    """

    folder: RunFolder
    predictor: Predictor
    data: Prepared | None = None

    @property
    def model(self) -> Network:
        """The network."""
        assert isinstance(self.predictor.model, Network)
        return self.predictor.model

    @property
    def work(self) -> int:
        """Multiply-adds for one image."""
        return arithmetic.multiply_adds(arithmetic.table(self.model.plan))

    @property
    def thrifty(self) -> bool:
        """Whether an image takes so much work that fewer are explained, in fewer steps."""
        return self.work > DEAR

    def inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Give images as the network gets them, float32 (N, C, *positions)."""
        assert self.data is not None
        return self.data.inputs(rows).contiguous()

    def subject(self, most: int | None = None) -> Subject:
        """Give the network with training images, spread evenly over their rows; without data there are none."""
        shape = self.predictor.preprocessing.shape
        if self.data is None:
            nothing = torch.empty(0, *shape)
            return Subject(self.model, shape, nothing, np.empty(0, np.int64), (), self.predictor.classes)
        train = self.data.split.train
        most = most or int(np.clip(LOOKS / self.work, 64, 1024))
        rows = _spread(train, most)
        return Subject(
            self.model, shape, self.inputs(rows), self.data.labels[rows], self.data.names(rows),
            self.predictor.classes, self.predictor.preprocessing,
        )  # fmt: skip

    def held_out(self) -> Chosen:
        """Give images kept apart, at most 1,000, with what the network says of them."""
        assert self.data is not None
        rows = self.data.split.test if len(self.data.split.test) else self.data.split.valid
        rows = _spread(rows, int(np.clip(LOOKS / self.work, 64, 1000)))
        return self.chosen(self.inputs(rows), self.data.labels[rows], self.data.names(rows))

    def chosen(self, x: Tensor, labels: NDArray[np.int64], names: Sequence[str]) -> Chosen:
        """Add to images what the network says of them."""
        with torch.no_grad():
            said = [self.model(part.to(self.predictor.device)).float().cpu() for part in torch.split(x, 256)]
        chances = (torch.cat(said) / self.predictor.temperature).double().softmax(1).numpy()
        return Chosen(x, labels, chances.argmax(1), chances.max(1), names)

    def gallery(self, *, units: int = 6, steps: int | None = None, progress: Progress) -> Path:
        """Write ``gallery.html`` and give its path.

        Args:
            units: of each stage.
            steps: of making images; None: as many as about a minute allows, at most ``STEPS``; 0: none are made.
            progress: shows what is done.
        """
        weights = read_kernels(self.model, self.model.plan.shape)
        rows = arithmetic.table(self.model.plan)
        parts: dict[str, Any] = {
            "network": drawing(draw(self.model.plan)),
            "table": [_row(row) for row in rows],
        }
        if self.data is None:
            parts["kernels"] = gallery.kernels(weights)
        else:
            parts |= gallery.exhibit(self.exhibit(units=units, steps=steps, progress=progress), rows, weights)
        return self._write(self.folder.gallery, "What this network looks for", report=self.folder.report.name, **parts)

    def exhibit(self, *, units: int, steps: int | None, progress: Progress) -> Exhibit:
        """Look at everything that the gallery shows."""
        subject, images, thrifty = self.subject(), self.held_out(), self.thrifty
        through, about = images.mixed(3, 1), images.mixed(*(2, 2) if thrifty else (3, 3))
        stages = exhibit.look(subject, through, units=units, progress=progress)
        classes = exhibit.classes(subject)
        asked, left = exhibit.ask(subject, about, exact=ROUGH, thrifty=thrifty, progress=progress)
        count = sum(len(part.units) for part in stages) + len(classes)
        if steps is None:
            steps = min(STEPS, int(DREAMS / (self.work * max(count, 1))))
            if steps < 16:
                left.append(f"No images were made: it would take this network too long. `--steps {STEPS}` makes them.")
                steps = 0
        if steps:
            kept = Kept(self.folder.seeing / "kept")
            stages, classes = exhibit.imagine(subject, stages, classes, steps=steps, kept=kept, progress=progress)
        return Exhibit(subject, through, tuple(stages), tuple(classes), about, tuple(asked), tuple(left))

    def given(self, images: Sequence[str]) -> tuple[Chosen, list[tuple[str, str]]]:
        """Read image files or folders, whose classes are not known; and name those that cannot be read.

        Raises:
            SourceError: there is nothing that could be read.
        """
        names, parts, refused = list[str](), list[Tensor](), list[tuple[str, str]]()
        for served, pixels, bad in self.predictor.read(list(images)):
            names += served
            refused += bad
            if served:
                parts.append(self.predictor.preprocessing.normalise(torch.from_numpy(pixels)).contiguous())
        if not parts:
            raise SourceError(
                f"none of the {len(refused)} images can be read: '{refused[0][0]}' is {refused[0][1]}.",
                "Give images such as the network was trained on.",
            )
        return self.chosen(torch.cat(parts), np.full(len(names), -1), names), refused

    def maps(self, through: Chosen, layer: str | None, progress: Progress) -> tuple[Path, list[Stage]]:
        """Write the page of feature maps, of every stage or of one layer, and give its path and what is on it."""
        subject = self.subject()
        if not len(subject.examples):
            subject = replace(subject, examples=through.x, labels=through.labels, names=through.names)
        found = exhibit.look(subject, through, layer, units=0, progress=progress)
        rows = arithmetic.table(self.model.plan)
        shown = [{**gallery.stage(subject, through, part, rows, MOST_MAPS), "kernels": []} for part in found]
        return self._write(self.folder.seeing / "maps.html", "Feature maps", stages=shown), found

    def saliency(
        self, about: Chosen, methods: Sequence[str], target: str | None, progress: Progress
    ) -> tuple[Path, list[Asked]]:
        """Write the page of where the network looks, and give its path and what is on it.

        Args:
            about: images.
            methods: ways of asking.
            target: the class to ask about; None takes the one predicted for each image.
            progress: shows the ways.

        Raises:
            SettingsError: there is no such class or way.
            ModelError: the network cannot be asked in any of these ways.
        """
        classes = self.predictor.classes
        if target is not None and target not in classes:
            raise SettingsError(
                f"there is no class '{target}'.{did_you_mean(target, classes)}", f"Classes: {', '.join(classes[:20])}."
            )
        targets = None if target is None else np.full(len(about), classes.index(target))
        subject = self.subject(1)
        found, left = exhibit.ask(
            subject, about, methods, targets=targets, exact=ROUGH if self.thrifty else 0.01, thrifty=self.thrifty,
            progress=progress,
        )  # fmt: skip
        if not found:
            raise ModelError(left[0], f"Take another way: {', '.join(m for m in METHODS if m not in methods)}.")
        page = self.folder.seeing / "saliency.html"
        return self._write(page, "Where it looks", saliency=gallery.asked(subject, about, found), left=left), found

    def deepdream(
        self, photo: Path, liked: Sequence[str], steps: int, octaves: int, seed: int, progress: Progress
    ) -> Path:
        """Dream into a photo, at the size that the network takes, and write it beside what came of it for each target.

        Raises:
            SourceError: the photo cannot be read.
            ModelError: a target cannot be read, or cannot be reached.
        """
        subject = self.subject()
        asked = [objective for _, objective in wanted(liked, subject.layers, subject.classes)]
        x = self.given([str(photo)])[0].x
        if x.ndim != 4 or len(x) != 1:
            raise SourceError(f"'{photo}' is not one image.", "Give an image file, and a run on images.")
        made = [
            deepdream(subject, x[0], each, steps=steps, octaves=octaves, seed=seed, progress=progress) for each in asked
        ]
        drawn = [natural(one) for one in subject.drawable(torch.stack([x[0], *made]))]
        factor = max(1, 224 // max(drawn[0].shape[:2]))
        path = files.make_folder(self.folder.seeing) / f"deepdream-{photo.stem}.png"
        files.write_bytes(path, png(sheet(drawn, 4, factor=factor, gap=8)))
        return path

    def kernels(self, layers: Sequence[Kernels]) -> Path:
        """Write the page of some layers' weights and give its path."""
        return self._write(self.folder.seeing / "kernels.html", "Kernels", kernels=gallery.kernels(layers))

    def _write(self, page: Path, title: str, **parts: Any) -> Path:
        told = facts.read(self.folder)
        files.make_folder(page.parent)
        kicker = ["Sightline gallery", self.folder.path.resolve().name]
        if told.data.get("name"):
            kicker.append(f"{told.settings.get('model', '')} on {told.data['name']}")
        text = gallery.render(
            title=title, kicker=kicker, lede=told.state.get("headline", ""), environment=told.environment,
            things=told.things, **parts,
        )  # fmt: skip
        files.write_text(page, text)
        return page


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Take at most so many rows, evenly: sources are often sorted by class."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))]


def _row(row: arithmetic.Row) -> dict[str, Any]:
    sizes = {"gives": by(row.shape_out).replace("x", "×"), "sees": by(row.field).replace("x", "×")}
    return {"name": row.name, "kind": row.kind, **sizes, "weights": row.parameters, "work": row.multiply_adds}
