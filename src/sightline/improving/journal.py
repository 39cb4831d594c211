"""The rounds of an improvement <-> ``journal.json``; and the same in plain words, ``journal.md``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sightline import files
from sightline.diagnosis.experiment import MEASURES
from sightline.errors import RunError
from sightline.reports import improved
from sightline.run import RunFolder
from sightline.tracking.tracker import plain

FORMAT = 1
"""Version of ``journal.json``."""


@dataclass(frozen=True)
class Round:
    """One experiment: what was believed, done, came out.

    Attributes:
        base: label of the arm that was to be improved.
        arm: label of the arm with the change.
        verdict: what was believed about the base, a sentence.
        kind: of that verdict.
        finding: what the change answers, its code.
        setting: that was changed, as in an advice.
        value: that it was set to.
        now: that it had.
        change: the change in words.
        expected: what the losses should do, ``training`` and ``validation``.
        instead: changes that should do as well, in words.
        status: as in ``trial.Trial``; ``impossible`` where it could not be trained at all; ``begun`` while it goes on.
        said: the conclusion in a few words.
        seeds: pairs of trainings that are finished.
        difference: change less base in the measure that decides, ``Contrast.as_dict``; None without any pair.
        figures: for ``base`` and ``arm``, the means of some measures over the seeds that both have.
        seconds: that its trainings took.
    """

    base: str
    arm: str
    verdict: str
    kind: str
    finding: str
    setting: str
    value: Any
    now: Any
    change: str
    expected: dict[str, str]
    instead: list[str]
    status: str = "begun"
    said: str = ""
    seeds: int = 0
    difference: dict[str, Any] | None = None
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Journal:
    """All of an improvement, as it is written down after every step.

    Attributes:
        run: the path of the run that is to be improved.
        name: what people call what it was trained on, and its network.
        runs: the folder of the new runs.
        seeds: of the trainings.
        counts: images in ``train``, ``valid`` and ``test``.
        seconds: of one training.
        rounds: in order; the last may have begun only.
        before: seconds of training that were spent before this sitting.
        had: rounds that were finished before this sitting.
        end: how it ended: ``why`` (``well fitted``, ``nothing helps``, ``time``, ``rounds``), ``said`` (a sentence),
            ``verdict`` (about the best), ``label`` and ``best`` (its arm and run), ``valid`` and ``test`` (best less
            first, ``Contrast.as_dict``), ``figures`` (means of both); empty while it goes on.
    """

    run: str
    name: str
    runs: str
    seeds: list[int]
    counts: dict[str, int]
    seconds: float
    rounds: list[Round] = field(default_factory=list)
    before: float = 0.0
    had: int = 0
    end: dict[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> list[Round]:
        """The rounds whose change was kept."""
        return [one for one in self.rounds if one.status == "kept"]

    @property
    def best(self) -> str:
        """The label of the best arm so far."""
        return self.kept[-1].arm if self.kept else BASE

    @property
    def concluded(self) -> list[Round]:
        """The rounds that are finished."""
        return [one for one in self.rounds if one.status != "begun"]

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values: the layout of ``journal.json``."""
        found = plain({"format": FORMAT, "decides": "valid_loss", **asdict(self)})
        assert isinstance(found, dict)
        return found

    def write(self, folder: RunFolder) -> None:
        """Write both files into a run folder, each whole or not at all.

        Raises:
            RunError: the disk is full, or there is no permission.
        """
        told = self.as_dict()
        files.write_json(folder.rounds, told)
        files.write_text(folder.journal, improved.markdown(told))

    @classmethod
    def read(cls, folder: RunFolder) -> Journal | None:
        """Read what a run folder holds; None if nobody has tried to improve it.

        Raises:
            RunError: the file is damaged, or from a newer version.
        """
        if not folder.rounds.is_file():
            return None
        told = folder.read_json(folder.rounds)
        try:
            if told.pop("format") > FORMAT:
                raise RunError(f"'{folder.rounds}' is from a newer version.", "Upgrade: pip install -U sightline")
            told.pop("decides")
            return cls(**{**told, "rounds": [Round(**one) for one in told["rounds"]]})
        except (AttributeError, KeyError, TypeError) as error:
            raise RunError(
                f"'{folder.rounds}' is damaged: {error!r}.", "Delete it to begin anew; what is trained is taken over."
            ) from None


BASE = "base"
"""The label of the run as it was."""


def means(ours: Mapping[str, list[float]]) -> dict[str, float]:
    """Average each measure, in the order in which measures are told."""
    return {name: sum(ours[name]) / len(ours[name]) for name in MEASURES if ours.get(name)}
