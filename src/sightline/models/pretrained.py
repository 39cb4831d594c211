"""Weights that were found, with the classes and the preprocessing they know: fitted to a network, and kept safe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from sightline import files
from sightline.data.preprocess import Preprocessing
from sightline.errors import ModelError
from sightline.models.fitting import Fitted, fitted
from sightline.models.network import Network
from sightline.models.plan import Plan
from sightline.settings import Settings

PUBLIC_PACE = 0.1, "features of a million photos serve most photos as they are"
OWN_PACE = 1.0, "features of few images have to change for others: as fast as new layers was best where it was measured"


@dataclass(frozen=True)
class Pretrained:
    """Weights that were found, and what belongs to them.

    Attributes:
        name: what they are, for messages.
        origin: what a user would call them: ``imagenet``, or the absolute path.
        model: the network they are for.
        options: with which it has to be built, as far as it is known.
        tensors: by our names.
        file: where they were found.
        sha256: of that file.
        classes: what the logits stand for; empty if nobody knows.
        preprocessing: what the images went through; None if nobody knows.
        plan: of the network they are from; None if its input is not known.
        public: whether they are public ImageNet weights.
        notes: sentences on how they were read.
        place: where they are kept as safetensors once they have been found to fit; None if they are safe already.
        fetched: a file that was downloaded just now, and is not needed once they are kept.
    """

    name: str
    origin: str
    model: str
    options: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(repr=False)
    file: Path
    sha256: str
    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    plan: Plan | None = field(default=None, repr=False)
    public: bool = False
    notes: tuple[str, ...] = ()
    place: Path | None = None
    fetched: Path | None = None

    @property
    def pace(self) -> tuple[float, str]:
        """How fast they should learn beside new layers: a factor on the learning rate, and why (docs/weights.md)."""
        return PUBLIC_PACE if self.public else OWN_PACE

    def adopt(self, settings: Settings) -> Settings:
        """Give settings the network these weights are for, and the normalisation; what the user set wins.

        Raises:
            ModelError: the user asks for another variant of the network.
        """
        asked, needed = settings.options.get("variant"), self.options.get("variant")
        if asked and needed and asked != needed:
            raise ModelError(f"{self.name} are for variant={needed}, not {asked}.", "Leave the option variant out.")
        update = {"model": self.model, "options": {**self.options, **settings.options}, "weights": self.origin}
        open_to = settings.normalise == type(settings).model_fields["normalise"].default
        if self.preprocessing and open_to:
            update["normalise"] = self.preprocessing.normalisation
        return settings.model_copy(update=update)

    def fit(self, network: Network, classes: tuple[str, ...] = ()) -> Fitted:
        """Fit them to a network, which is left as it is; see ``fitting.fitted``."""
        found = fitted(
            network,
            self.tensors,
            self.name,
            classes=classes,
            their_classes=self.classes,
            their_plan=self.plan,
        )
        return replace(found, changes=(*self.notes, *found.changes))

    def keep(self) -> None:
        """Keep them as safetensors in the cache, if they came as a pickle; call it once they have been found to fit.

        Raises:
            RunError: the cache cannot be written, or the disk is full.
        """
        if self.place is None or self.place.is_file():
            return
        files.make_folder(self.place.parent)
        with files.whole(self.place) as path:
            told = json.dumps({"source": self.file.name, "sha256": self.sha256})
            own = {name: value.contiguous().clone() for name, value in self.tensors.items()}
            save_file(own, path, metadata={"kept": told})
        if self.fetched is not None:
            self.fetched.unlink(missing_ok=True)

    def prepare(self, measured: Preprocessing) -> tuple[Preprocessing, str]:
        """Choose mean and deviation: those the weights know, where they mean something for these images.

        Args:
            measured: of the images, with mean and deviation of the training pixels.

        Returns:
            The preprocessing, and a sentence.

        Raises:
            ModelError: the weights are for images and these are signals, or the other way round.
        """
        theirs = self.preprocessing
        if theirs is None:
            return (
                measured,
                "mean and deviation are those of these images: the file does not say what it was trained with",
            )
        if theirs.kind != measured.kind:
            raise ModelError(
                f"{self.name} are for {theirs.kind}s, and these are {measured.kind}s.", "Train without weights."
            )
        if measured.normalisation != "channel" or theirs.normalisation != "channel":
            return measured, f"inputs are normalised anew, by {measured.normalisation}"
        if theirs.stored != measured.stored:
            return measured, f"mean and deviation are those of these images: the weights know {theirs.stored} pixels"
        mean, std = theirs.mean, theirs.std
        if measured.channels == 1 < theirs.channels:
            mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
        elif measured.channels != theirs.channels:
            return measured, f"mean and deviation are those of these images: they have {measured.channels} channels"
        said = f"mean {_list(mean)} and deviation {_list(std)} are those of the weights"
        return replace(measured, mean=mean, std=std), said


@dataclass(frozen=True)
class Recalled:
    """Weights that a training began with and whose file is not needed any more: a checkpoint has what became of them.

    Attributes:
        fresh: the parameters that did not come with them.
    """

    fresh: frozenset[str]
    pace: tuple[float, str] = (1.0, "as it was")

    def fit(self, network: Network, classes: tuple[str, ...] = ()) -> Fitted:
        """Leave the network's weights as they are: the checkpoint brings others."""
        return Fitted(dict(network.state_dict()), self.fresh, ())


def _list(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
