"""An ensemble and what came of judging it <-> the files of its folder, with copies of its members."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline import files
from sightline.diagnosis.mistakes import Evaluation
from sightline.ensembles.members import Judges, Member
from sightline.errors import RunError
from sightline.making.recipe import environment, write_predictions
from sightline.making.trained import Run
from sightline.run import RunFolder
from sightline.training import device as devices
from sightline.voting.standing import Standing
from sightline.voting.views import View

LEFT = ("checkpoint", "last", "valid_losses", "report")
"""Files of a member that are not kept: what only resuming it takes, and what can be drawn again."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of judging an ensemble.

    Attributes:
        evaluation: the scores of the vote.
        standing: members and vote side by side.
        judges: the images.
        voted: probabilities of the scored images, calibrated, float32 (n, K).
    """

    evaluation: Evaluation
    standing: Standing
    judges: Judges
    voted: NDArray[np.float32]

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        best = self.standing.members[self.standing.reference]
        gain, score = best.gain[self.standing.lead], self.standing.led(best)
        return (
            f"{self.evaluation.sentence('' if self.standing.part == 'images' else self.standing.part)}, by a "
            f"{self.standing.vote} vote of {len(self.standing.members)}; best member {best.name} {score.value:.1%}, "
            f"gain {gain.value:+.1%} ({gain.low:+.1%} to {gain.high:+.1%})"
        )


def write(
    folder: RunFolder,
    members: Sequence[Member],
    outcome: Outcome,
    *,
    vote: str,
    weights: list[float] | None,
    temperature: float,
) -> None:
    """Fill the folder of an ensemble; ``ensemble.json`` and the state are written last.

    Args:
        folder: made already; members that are not inside are copied into it.
        members: of the ensemble.
        outcome: of judging it.
        vote: how they vote.
        weights: of a weighted vote.
        temperature: of the vote.

    Raises:
        RunError: it cannot be written.
    """
    entries = _keep(members, folder)
    if not folder.data.is_file():
        first = members[0].run.folder
        files.write_json(folder.data, first.read_json(first.data))
    files.write_json(folder.environment, environment(devices.choose("auto")[0]))
    files.write_json(folder.vote, outcome.standing.as_dict())
    files.write_json(folder.evaluation, {"part": outcome.standing.part, **outcome.evaluation.as_dict()})
    rows, classes = outcome.judges.scored, outcome.judges.classes
    write_predictions(folder, outcome.judges.names(rows), outcome.judges.labels[rows], classes, outcome.voted)
    told = {"vote": vote, "weights": weights, "temperature": temperature, "members": entries}
    files.write_json(folder.ensemble, told)
    folder.write_state(status="finished", headline=outcome.headline)


def _keep(members: Sequence[Member], folder: RunFolder) -> list[dict[str, Any]]:
    """Copy each run into the folder once, with the weights its members need; say what ``ensemble.json`` is to hold."""
    places: dict[Path, Path] = {}
    entries: list[dict[str, Any]] = []
    for member in members:
        own = member.run.folder
        if own.path not in places:
            inside = own.path.resolve().is_relative_to(folder.members.resolve())
            places[own.path] = own.path if inside else _free(folder.members / own.path.resolve().name, places)
        place = places[own.path]
        if place != own.path:
            _copy(own, place, member.weights)
        entries.append(
            {
                "name": member.name,
                "folder": str(place.resolve().relative_to(folder.path.resolve())),
                "weights": None if member.weights is None else str(member.weights.relative_to(own.path)),
                "view": None if member.view is None else asdict(member.view),
                "temperature": member.temperature,
                "from": str(own.path.resolve()),
            }
        )
    return entries


def _free(place: Path, places: dict[Path, Path]) -> Path:
    """Give a place in the folder that no other member has."""
    taken = set(places.values())
    return next(p for p in (place, *(place.with_name(f"{place.name}-{n}") for n in range(2, 1000))) if p not in taken)


def _copy(run: RunFolder, place: Path, weights: Path | None) -> None:
    """Copy what using and judging a run takes; what is there already stays."""
    named = [name for name, kind in vars(RunFolder).items() if isinstance(kind, property) and name not in LEFT]
    for source in (*(getattr(run, name) for name in named), *([weights] if weights else [])):
        copy = place / source.relative_to(run.path)
        if source.is_file() and not copy.exists():
            files.make_folder(copy.parent)
            with files.whole(copy) as temporary:
                shutil.copyfile(source, temporary)


def read(folder: RunFolder) -> tuple[dict[str, Any], list[Member]]:
    """Read ``ensemble.json``: vote, weights and temperature, and the members.

    Raises:
        RunError: the folder holds no ensemble, is incomplete, or damaged.
    """
    if not folder.ensemble.is_file():
        raise RunError(f"'{folder.path}' holds no ensemble.", "Make one: sightline vote RUN RUN")
    told = folder.read_json(folder.ensemble)
    try:
        runs = {entry["folder"]: Run.load(folder.path / entry["folder"]) for entry in told["members"]}
        members = []
        for entry in told["members"]:
            run = runs[entry["folder"]]
            weights = None if entry["weights"] is None else run.path / entry["weights"]
            view = None if entry["view"] is None else View(**entry["view"])
            members.append(Member(entry["name"], run, weights, view, entry["temperature"]))
        return {name: told[name] for name in ("vote", "weights", "temperature")}, members
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"'{folder.ensemble}' is damaged: {error!r}.", "Restore it, or vote again.") from None
