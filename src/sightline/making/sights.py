"""A run's network and images -> its gallery page, and pages of single parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline import files
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
from sightline.seeing.exhibit import Chosen, Exhibit
from sightline.seeing.kernels import Kernels
from sightline.seeing.kernels import kernels as read_kernels
from sightline.seeing.subject import Subject
from sightline.serving.predict import Predictor

LOOKS = 30e9
"""Multiply-adds that looking at examples may take: a second or so of one core."""
DREAMS = 1e12
"""Multiply-adds, forward, that making images may take: a minute or two of one core."""
DEAR = 2e8
"""Multiply-adds for one image from which on fewer images are explained, in fewer steps."""


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

    def inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Give images as the network gets them, float32 (N, C, *positions)."""
        assert self.data is not None
        batch = torch.from_numpy(np.ascontiguousarray(self.data.pixels.array[rows]))
        return self.predictor.preprocessing.normalise(batch).contiguous()

    def subject(self, most: int | None = None) -> Subject:
        """Give the network with training images, spread evenly over their rows; without data there are none."""
        shape = self.predictor.preprocessing.shape
        if self.data is None:
            nothing = torch.empty(0, *shape)
            return Subject(self.model, shape, nothing, np.empty(0, np.int64), (), self.predictor.classes)
        train = self.data.split.train
        most = most or int(np.clip(LOOKS / self.work, 64, 1024))
        rows = train[np.unique(np.linspace(0, len(train) - 1, most).astype(np.int64))]
        return Subject(
            self.model, shape, self.inputs(rows), self.data.labels[rows], self.data.names(rows),
            self.predictor.classes, self.predictor.preprocessing,
        )  # fmt: skip

    def held_out(self) -> Chosen:
        """Give images kept apart, at most 1,000, with what the network says of them."""
        assert self.data is not None
        rows = self.data.split.test if len(self.data.split.test) else self.data.split.valid
        rows = rows[: int(np.clip(LOOKS / self.work, 64, 1000))]
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
            steps: of making images; None: as many as a minute or two allow, at most 128; 0: none are made.
            progress: shows what is done.
        """
        weights = read_kernels(self.model, self.model.plan.shape)
        rows = arithmetic.table(self.model.plan)
        parts: dict[str, Any] = {
            "network": drawing(draw(self.model.plan)),
            "table": [_row(row) for row in rows],
            "kernels": gallery.kernels(weights),
        }
        if self.data is not None:
            parts |= gallery.exhibit(self.exhibit(units=units, steps=steps, progress=progress), rows, weights)
        return self._write(self.folder.gallery, "What this network looks for", report=self.folder.report.name, **parts)

    def exhibit(self, *, units: int, steps: int | None, progress: Progress) -> Exhibit:
        """Look at everything that the gallery shows."""
        subject, images, thrifty = self.subject(), self.held_out(), self.work > DEAR
        through, about = images.mixed(3, 1), images.mixed(*(2, 2) if thrifty else (3, 3))
        stages = exhibit.look(subject, through, units=units, progress=progress)
        classes = exhibit.classes(subject)
        asked, left = exhibit.ask(subject, about, thrifty=thrifty, progress=progress)
        count = sum(len(part.units) for part in stages) + len(classes)
        if steps is None:
            steps = min(128, int(DREAMS / (self.work * max(count, 1))))
            if steps < 16:
                left.append("No images were made: it would take this network too long. `--steps 64` makes them.")
                steps = 0
        if steps:
            stages, classes = exhibit.imagine(subject, stages, classes, steps=steps, progress=progress)
        return Exhibit(subject, through, tuple(stages), tuple(classes), about, tuple(asked), tuple(left))

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


def _row(row: arithmetic.Row) -> dict[str, Any]:
    sizes = {"gives": by(row.shape_out).replace("x", "×"), "sees": by(row.field).replace("x", "×")}
    return {"name": row.name, "kind": row.kind, **sizes, "weights": row.parameters, "work": row.multiply_adds}
