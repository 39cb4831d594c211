"""Trained runs -> an ensemble: many predictors seen as one, with a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis.calibration import fit_temperature
from sightline.diagnosis.mistakes import Evaluation
from sightline.ensembles import filing
from sightline.ensembles.members import Judges, Member, gather, in_order, other_images, own_images
from sightline.errors import RunError, SettingsError, SightlineError
from sightline.making.trained import Run
from sightline.progress import Progress
from sightline.reports import vote as page
from sightline.reports.thumbnails import thumbnails
from sightline.run import RunFolder
from sightline.serving.predict import Predictions
from sightline.voting import votes
from sightline.voting.standing import judge


class Ensemble:
    """Several trained networks that vote.

    They may differ in architecture, input size, preprocessing and training data, but must know the same classes by
    name. Each speaks in calibrated probabilities: its logits divided by the temperature of its validation images.

    Args:
        members: runs or their folders; ``"runs/a:snapshots"`` stands for all snapshots of a run.
        vote: ``hard``, ``soft`` or ``weighted``; ``soft`` unless weights are given.
        weights: one number of 0 or more for each member, or ``"auto"``: fitted on the members' validation images.
        views: ``"flips"``, ``"shifts"`` or both: each run votes once more for every view of an image.

    Raises:
        SightlineError: the members cannot vote together, or there is no such vote or view; see ``members.gather``.
    """

    def __init__(
        self,
        members: Sequence[Run | Path | str | Member],
        *,
        vote: str | None = None,
        weights: Sequence[float] | str | None = None,
        views: str | Sequence[str] = (),
    ) -> None:
        self.members = gather(members, views)
        self.vote = votes.check(vote or ("soft" if weights is None else "weighted"))
        if self.vote != "weighted" and weights is not None:
            raise SettingsError(f"a {self.vote} vote has no weights.", "Leave the weights out, or vote weighted.")
        if isinstance(weights, str) and weights != "auto":
            raise SettingsError(f"weights are '{weights}'.", "Give auto, or one number for each member: 2,1,1.")
        self._weights: NDArray[np.float64] | None = None
        if weights is not None and not isinstance(weights, str):
            self._weights = votes.shares(weights, len(self.members))
        self._temperature: float | None = None
        self._folder: RunFolder | None = None
        self._own: Judges | SightlineError | None = None
        self._judged: Judges | None = None
        self._asked: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Open the folder of an ensemble.

        Raises:
            RunError: it is missing, holds no ensemble, is incomplete or damaged.
        """
        folder = RunFolder.open(path)
        told, members = filing.read(folder)
        ensemble = cls(members, vote=told["vote"], weights=told["weights"])
        ensemble._temperature = told["temperature"]
        ensemble._folder = folder
        return ensemble

    def __repr__(self) -> str:
        return f"Ensemble({[member.name for member in self.members]}, vote='{self.vote}')"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities: that of the first member."""
        return self.members[0].run.classes

    @property
    def folder(self) -> RunFolder:
        """Where it is saved.

        Raises:
            RunError: it is not.
        """
        if self._folder is None:
            raise RunError("this ensemble has no folder yet.", "Save it first: ensemble.save(runs, name).")
        return self._folder

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.folder.path

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        return str(self.folder.read_state().get("headline", "not evaluated yet"))

    # ---- what is fitted on validation images ----

    def weights(self, progress: Progress | None = None) -> NDArray[np.float64]:
        """Give each member's share of the vote, float64 (M,), fitting it first where it is to be fitted.

        Raises:
            RunError: there are no validation images to fit it on.
        """
        if self.vote == "weighted" and self._weights is None:
            self._settle(progress or Progress())
        return votes.shares(self._weights, len(self.members))

    def temperature(self, progress: Progress | None = None) -> float:
        """Give the vote's own temperature, fitted on validation images; 1 where there are none."""
        if self._temperature is None:
            self._settle(progress or Progress())
        return self._temperature or 1.0

    def _own_images(self, progress: Progress) -> Judges | SightlineError:
        """Open what the members were trained on, once; or give the reason why that cannot be."""
        if self._own is None:
            try:
                self._own = own_images(self.members, progress)
            except SightlineError as error:
                self._own = error
        return self._own

    def _valid(self, progress: Progress) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Ask the members about validation images, once: (M, n, K) and labels (n,); None where there are none."""
        own = self._own_images(progress)
        if self._asked is None and not isinstance(own, SightlineError) and len(own.valid):
            self.members = tuple(self._calibrated(member, own) for member in self.members)
            self._asked = own.ask(self.members, own.valid, progress), own.labels[own.valid]
        return self._asked

    def _settle(self, progress: Progress) -> None:
        """Fit what is open on validation images: weights, then the temperature of the vote."""
        valid = self._valid(progress)
        if self.vote == "weighted" and self._weights is None:
            if valid is None:
                own = self._own_images(progress)
                why = own.fault if isinstance(own, SightlineError) else "the members share no validation images."
                raise RunError(f"weights cannot be fitted: {why}", "Give them (--weights 2,1,1), or vote --soft.")
            self._weights = votes.fit_weights(*valid)
        self._temperature = 1.0
        if valid is not None:
            counted = votes.count(valid[0], self.vote, self._weights)
            self._temperature = fit_temperature(votes.logits(counted), valid[1])

    def _calibrated(self, member: Member, own: Judges) -> Member:
        """Fit the temperature of a snapshot; the weights of the best epoch have their run's."""
        if member.weights is None or member.temperature is not None:
            return member
        run = own.seen[member.run.path]
        logits = member.predictor.logits(run.pixels.array, own.valid)
        return replace(member, temperature=fit_temperature(logits, run.labels[own.valid]))

    # ---- using it ----

    def predict(self, images: Any) -> Predictions:
        """Recognise new images by vote; what any member refuses is refused. See ``Predictor.predict``."""
        temperature = self.temperature()
        groups: dict[Any, list[int]] = {}
        for number, member in enumerate(self.members):
            groups.setdefault((member.run.preprocessing, member.predictor.batch_size), []).append(number)
        found: dict[int, dict[tuple[str, int], NDArray[np.float32]]] = {}
        refused: dict[str, str] = {}
        for numbers in groups.values():  # members with the same input look at what was decoded once
            seen: dict[str, int] = {}
            found |= {number: {} for number in numbers}
            first = self.members[numbers[0]]
            for names, pixels, bad in first.predictor.read(images):
                refused = {**{name: f"{first.name}: {why}" for name, why in bad}, **refused}
                keys = []
                for name in names:
                    seen[name] = seen.get(name, 0) + 1
                    keys.append((name, seen[name]))
                for number in numbers:
                    member = self.members[number]
                    own = member.predictor.probabilities(member.predictor.logits(pixels))
                    found[number] |= dict(zip(keys, in_order(own, member.run.classes, self.classes), strict=True))
        kept = [key for key in found[0] if key[0] not in refused]
        asked = np.array([[found[m][key] for key in kept] for m in range(len(self.members))], np.float32)
        asked = asked.reshape(len(self.members), len(kept), len(self.classes))
        voted = self._tempered(votes.count(asked, self.vote, self.weights()), temperature)
        return Predictions(tuple(name for name, _ in kept), self.classes, voted, tuple(refused.items()))

    def _tempered(self, probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float32]:
        """Make the vote's probabilities (N, K) mean what they say; the class voted for stays the same."""
        raised = np.maximum(probabilities, votes.SMALLEST) ** (1 / temperature)
        shares: NDArray[np.float32] = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares

    def evaluate(self, source: Any = None, *, progress: Progress | None = None) -> Evaluation:
        """Score the vote.

        Args:
            source: other images with the same classes; those that a member was trained on are left out. None takes
                what all members held out of the images they were trained on.
            progress: shows long work.

        Raises:
            SightlineError: there are no images that may judge it.
        """
        return self.judge(source, progress=progress).evaluation

    def judge(self, source: Any = None, *, progress: Progress | None = None, timed: bool = False) -> filing.Outcome:
        """Score the vote and its members on the same images; see ``evaluate``.

        Args:
            source: as for ``evaluate``.
            progress: shows long work.
            timed: measure the time of each member, too.
        """
        progress = progress or Progress()
        if source is None:
            own = self._own_images(progress)
            if isinstance(own, SightlineError):
                raise own
            judges = own
        else:
            judges = other_images(self.members, source, progress)
        temperature, weights = self.temperature(progress), self.weights(progress)
        asked = judges.ask(self.members, judges.scored, progress)
        costs, parameters = None, None
        if timed:
            costs = [member.cost(judges.array(member)) for member in self.members]
            weights_of = [(member.run.path, member.weights) for member in self.members]  # views share them
            parameters = sum(cost.parameters for cost in dict(zip(weights_of, costs, strict=True)).values())
        evaluation, standing = judge(
            asked,
            judges.labels[judges.scored],
            self.classes,
            members=[member.name for member in self.members],
            vote=self.vote,
            weights=weights.tolist(),
            temperature=temperature,
            names=judges.names(judges.scored),
            valid=self._valid(progress),
            costs=costs,
            parameters=parameters,
            part=judges.part,
            notes=judges.notes,
        )
        voted = self._tempered(votes.count(asked, self.vote, weights), temperature)
        self._judged = judges
        return filing.Outcome(evaluation, standing, judges, voted)

    # ---- its folder ----

    def save(
        self,
        runs: Path | str = "runs",
        name: str | None = None,
        *,
        source: Any = None,
        progress: Progress | None = None,
    ) -> Path:
        """Score it, and write it into a folder of its own, with copies of its members, so that it can be moved.

        Args:
            runs: the folder of run folders.
            name: its name; None: ``vote-`` and the time.
            source: what to score it on, as for ``evaluate``.
            progress: shows long work.

        Returns:
            The folder.

        Raises:
            RunError: the name is taken, or the folder cannot be written; SightlineError: see ``evaluate``.
        """
        outcome = self.judge(source, progress=progress, timed=True)
        folder = RunFolder.create(Path(runs), name, prefix="vote-")
        try:
            self.write(folder, outcome)
        except BaseException:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
        return folder.path

    def write(self, folder: RunFolder, outcome: filing.Outcome) -> None:
        """Write it into a folder that is there already, as ``save`` does."""
        weights = None if self._weights is None else self._weights.tolist()
        filing.write(
            folder, self.members, outcome, vote=self.vote, weights=weights, temperature=self._temperature or 1.0
        )
        self._folder = folder

    def report(self, progress: Progress | None = None) -> Path:
        """Write the report page and give its path; an ensemble without a folder is saved into ``runs`` first.

        Without the images it was scored on, the page has no pictures of the mistakes.
        """
        progress = progress or Progress()
        if self._folder is None:
            self.save(progress=progress)
        judges = self._judged
        standing = page.read(self.folder)
        if judges is None and standing.part != "images":
            own = self._own_images(progress)
            judges = None if isinstance(own, SightlineError) else own
        if judges is None:
            progress.note("no pictures of the mistakes: the images it was scored on are not at hand.")
            return page.write(self.folder)
        rows = dict(zip(judges.names(judges.scored), judges.scored.tolist(), strict=True))
        worst = self.folder.read_json(self.folder.evaluation, "show its mistakes")["worst"]
        named = [mistake.name for mistake in standing.together] + [mistake["name"] for mistake in worst]
        names = [name for name in dict.fromkeys(named) if name in rows]
        array = judges.array(self.members[0])
        return page.write(self.folder, thumbnails=thumbnails(array, [rows[name] for name in names], names))
