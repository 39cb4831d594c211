"""A run's network and images -> its gallery page, and pages of single parts of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sightline import files
from sightline.data.preprocess import Preprocessing
from sightline.models.network import Network
from sightline.reports import gallery
from sightline.reports.network import draw
from sightline.reports.words import drawing
from sightline.run import RunFolder
from sightline.seeing.kernels import Kernels
from sightline.seeing.kernels import kernels as read_kernels


@dataclass(frozen=True, eq=False)
class Sights:
    """What can be shown of a run.

    Attributes:
        folder: of the run.
        model: its network, with the best weights.
        classes: K names, in the order of the logits.
        preprocessing: what images go through before it.
    """

    folder: RunFolder
    model: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    def gallery(self) -> Path:
        """Write ``gallery.html`` and give its path."""
        found = read_kernels(self.model, self.preprocessing.shape)
        network = drawing(draw(self.model.plan)) if isinstance(self.model, Network) else None
        return self._write(
            self.folder.gallery, "What this network looks for", network=network, kernels=gallery.kernels(found)
        )

    def kernels(self, layers: Sequence[Kernels]) -> Path:
        """Write the page of some layers' weights and give its path."""
        page = self.folder.seeing / "kernels.html"
        return self._write(page, "Kernels", kernels=gallery.kernels(layers))

    def _write(self, page: Path, title: str, **parts: Any) -> Path:
        environment: dict[str, Any] = {}
        if self.folder.environment.is_file():
            environment = json.loads(self.folder.environment.read_text(encoding="utf-8", errors="surrogateescape"))
        files.make_folder(page.parent)
        kicker = ["Sightline gallery", self.folder.path.resolve().name]
        text = gallery.render(title=title, kicker=kicker, lede="", environment=environment, **parts)
        files.write_text(page, text)
        return page
