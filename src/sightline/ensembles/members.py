"""Runs, their snapshots and views -> members that can vote, and the images that may judge them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.mirror import keeps_label
from sightline.data.preprocess import Preprocessing
from sightline.errors import RunError, SettingsError, SightlineError, SourceError
from sightline.making.prepared import read_split
from sightline.making.trained import Labelled, Run
from sightline.models import arithmetic
from sightline.progress import Progress
from sightline.serving.predict import Predictor
from sightline.voting import views as looks
from sightline.voting.standing import Cost
from sightline.voting.views import View, Viewed

TIMED = 256
"""Images, at most, on which the time of a member is measured."""


@dataclass(frozen=True, eq=False)
class Member:
    """One voice of an ensemble.

    Attributes:
        name: what tables call it.
        run: the run it comes from.
        weights: which of the run's files holds its weights; None: those of the best epoch.
        view: how it looks at images; None: as they are.
        temperature: by which its logits are divided; None: the run's own.
    """

    name: str
    run: Run
    weights: Path | None = None
    view: View | None = None
    temperature: float | None = None

    @cached_property
    def predictor(self) -> Predictor:
        """The network ready to serve, through its view."""
        model = self.run.model if self.weights is None else self.run.network(self.weights)
        predictor = self.run.serve(model if self.view is None else Viewed(model, self.view))
        predictor.temperature = self.temperature or predictor.temperature
        return predictor

    def cost(self, array: NDArray[Any]) -> Cost:
        """Count its numbers, and measure its time on up to ``TIMED`` rows of a pixel store."""
        rows = np.arange(min(len(array), TIMED))
        self.predictor.logits(array, rows)
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            self.predictor.logits(array, rows)
            seconds.append(time.perf_counter() - begun)
        plan = getattr(self.run.model, "plan", None)
        return Cost(
            parameters=sum(p.numel() for p in self.run.model.parameters()),
            multiply_adds=None if plan is None else arithmetic.multiply_adds(arithmetic.table(plan)),
            ms=1000 * statistics.median(seconds) / max(1, len(rows)),
        )


def gather(given: Sequence[Run | Path | str | Member], views: str | Sequence[str] = ()) -> tuple[Member, ...]:
    """Make members of runs.

    Args:
        given: runs, their folders, ``FOLDER:snapshots`` for all snapshots of a run, or members.
        views: kinds of views, names of ``VIEWS``; each run then votes once more for every view, and for every two.

    Raises:
        SettingsError: fewer than two members, one twice, or a view that these images do not allow.
        RunError: a folder is no run.
        SourceError: the members know different classes, or take different kinds of data.
    """
    wanted = looks.names(views)
    members: list[Member] = []
    for one in given:
        for member in _members(one):
            members.append(member)
            members += [
                Member(f"{member.name}, {view.words}", member.run, member.weights, view, member.temperature)
                for view in looks.combined([view for kind in wanted for view in _allowed(kind, member.run)])
            ]
    check(members)
    return _renamed(members)


def _members(one: Run | Path | str | Member) -> list[Member]:
    if isinstance(one, Member):
        return [one]
    if isinstance(one, Run):
        return [Member(_scored(one).path.resolve().name, one)]
    path, colon, what = str(one).rpartition(":")
    if colon and what == "snapshots" and not Path(one).exists():
        run = _scored(Run.load(path))
        snapshots = run.snapshots()
        if not snapshots:
            raise RunError(f"run '{path}' has kept no snapshots.", "Train with --schedule cyclic --cycles 5.")
        return [Member(f"{run.path.resolve().name}, {name}", run, weights) for name, weights in snapshots]
    return _members(Run.load(one))


def _scored(run: Run) -> Run:
    """Refuse a run whose training was cut off: its weights are not the best ones yet, nor is it calibrated."""
    if not run.folder.evaluation.is_file():
        raise RunError(
            f"run '{run.path}' is not finished: it has not been scored.",
            f"Continue it: sightline resume {run.path}",
        )
    return run


def _allowed(kind: str, run: Run) -> tuple[View, ...]:
    """Make the views of a kind for a run's input, or say why there are none."""
    found = looks.VIEWS[kind].make(run.preprocessing)
    allowed, why = True, f"{run.preprocessing.kind}s of this size have none"
    if kind == "flips" and "flip=on" not in run.settings.augment:
        allowed, why = keeps_label(run.classes, run.preprocessing)
        try:
            data = run.data(progress=Progress(quiet=True))
        except SightlineError:
            data = None  # the names must do
        if allowed and data is not None:
            array, labels = data.pixels.array, data.labels
            allowed, why = keeps_label(run.classes, run.preprocessing, array, labels, data.split.train)
    if not found or not allowed:
        raise SettingsError(
            f"the view '{kind}' cannot be used with '{run.path}': {why}.",
            "Leave it out; a run trained with --augment auto,flip=on allows flips.",
        )
    return found


def _renamed(members: list[Member]) -> tuple[Member, ...]:
    """Give every member a name of its own."""
    seen: dict[str, int] = {}
    named = []
    for member in members:
        seen[member.name] = seen.get(member.name, 0) + 1
        number = seen[member.name]
        name = member.name if number == 1 else f"{member.name} ({number})"
        named.append(Member(name, member.run, member.weights, member.view, member.temperature))
    return tuple(named)


def check(members: Sequence[Member]) -> None:
    """Refuse members that cannot vote together; see ``gather``."""
    if len(members) < 2:
        raise SettingsError(
            f"an ensemble of {'one member' if members else 'no members'} has nothing to vote on.",
            "Give two runs or more, or one with --views shifts.",
        )
    keys = [(member.run.path.resolve(), member.weights, member.view) for member in members]
    twice = next((member for i, member in enumerate(members) if keys[i] in keys[:i]), None)
    if twice is not None:
        raise SettingsError(
            f"'{twice.name}' is a member twice ('{twice.run.path}').",
            "Name each run once; weights give one a larger share: --weights 2,1.",
        )
    first = members[0]
    for member in members[1:]:
        _same_classes(first, member)
        _same_kind(first, member)


def _same_classes(first: Member, other: Member) -> None:
    one, two = first.run.classes, other.run.classes
    if set(one) == set(two):
        return
    parts = [
        f"only '{member.name}' knows {_some([name for name in mine if name not in theirs])}"
        for member, mine, theirs in ((first, one, two), (other, two, one))
        if set(mine) - set(theirs)
    ]
    raise SourceError(
        f"'{first.name}' and '{other.name}' know different classes: {'; '.join(parts)}.",
        "Members must know the same classes by name (in any order): train them on the same class folders.",
    )


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(f"'{name}'" for name in names[:most]) + (f" and {len(names) - most} more" * (len(names) > most))


def _same_kind(first: Member, other: Member) -> None:
    one, two = first.run.preprocessing, other.run.preprocessing
    same = (one.kind, one.stored) == (two.kind, two.stored) and (one.kind == "image" or one.shape == two.shape)
    if not same:
        raise SourceError(
            f"'{first.name}' takes {_input(one)}, '{other.name}' takes {_input(two)}.",
            "Members must take the same data; images may differ in size and preprocessing, not in kind.",
        )


def _input(spec: Preprocessing) -> str:
    shape = "" if spec.kind == "image" else f" of {' x '.join(map(str, spec.shape))} values"
    return f"{spec.kind}s{shape} ({spec.stored})"


@dataclass(frozen=True, eq=False)
class Judges:
    """The same labelled images as each run sees them, and which of them may judge the members.

    Attributes:
        seen: for each run, by its folder.
        classes: the ensemble's.
        labels: int64 (N,), numbers of these classes.
        scored: int64, rows that no member was trained or validated on (validation rows where there are no others).
        valid: int64, rows that no member was trained on, to fit weights on; may be empty.
        part: ``test``, ``validation`` or ``images``: what the scored rows are.
        notes: sentences on how the rows were chosen.
    """

    seen: dict[Path, Labelled]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    scored: NDArray[np.int64]
    valid: NDArray[np.int64]
    part: str
    notes: tuple[str, ...] = ()

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """Name rows."""
        return next(iter(self.seen.values())).names(rows)

    def array(self, member: Member) -> NDArray[Any]:
        """Give the pixel store as a member takes it."""
        return self.seen[member.run.path].pixels.array

    def ask(self, members: Sequence[Member], rows: NDArray[np.int64], progress: Progress) -> NDArray[np.float32]:
        """Give the calibrated probabilities of rows, float32 (M, n, K), in the order of ``classes``."""
        found = np.empty((len(members), len(rows), len(self.classes)), np.float32)
        with progress.task("Asking members", total=len(members)) as task:
            for number, member in enumerate(members):
                task.describe(member.name)
                logits = member.predictor.logits(self.array(member), rows)
                found[number] = in_order(member.predictor.probabilities(logits), member.run.classes, self.classes)
                task.advance()
        return found


def in_order(values: NDArray[Any], given: Sequence[str], wanted: Sequence[str]) -> NDArray[Any]:
    """Sort the columns of (N, K), which are for the classes ``given``, into the order of ``wanted``."""
    return values[:, [list(given).index(name) for name in wanted]]


def own_images(members: Sequence[Member], progress: Progress) -> Judges:
    """Open what the members were trained on, and keep for judging what none of them has learnt from.

    Raises:
        RunError: the data have moved or changed, the members had different ones, or nothing is left to judge by.
    """
    runs = _runs(members)
    seen = {run.path: run.labelled(progress=progress) for run in runs}
    labels, _ = _aligned(runs, seen)
    parts = np.array([[row["split"] for row in read_split(run.folder)] for run in runs])
    train, valid, test = ((parts == part).any(axis=0) for part in ("train", "valid", "test"))
    classes = runs[0].classes
    if (parts == parts[0]).all():
        rows, part = (np.flatnonzero(test), "test") if test.any() else (np.flatnonzero(valid), "validation")
        note = "" if part == "test" else "No images were held out for a test; these also chose the members' epochs."
        held = np.flatnonzero(valid) if part == "test" else rows[:0]
        return Judges(seen, classes, labels, rows, held, part, (note,) if note else ())
    clean = test & ~train & ~valid
    for own, run in zip(parts, runs, strict=True):
        used = np.isin(own, ("train", "valid"))
        clean &= ~np.isin(seen[run.path].digests, seen[run.path].digests[used])
    if not clean.any():
        raise RunError(
            "the members' splits differ, and no image is left that none of them was trained or validated on.",
            "Score them on other images: --on SOURCE; or train them with one split (the same --seed).",
        )
    note = (
        f"The members' splits differ: of {int(test.sum()):,} images held out by one of them, {int(clean.sum()):,} were "
        "used by no other, and only these are scored."
    )
    held = np.flatnonzero(valid & ~train & ~clean)
    return Judges(seen, classes, labels, np.flatnonzero(clean), held, "test", (note,))


def other_images(members: Sequence[Member], source: Any, progress: Progress) -> Judges:
    """Open other images, and leave out those that a member has learnt from.

    Images are told by the digest of their pixels, as each member packs them, and by their names where the source is the
    member's own.

    Raises:
        SourceError: a class is unknown, or nothing is left.
    """
    runs = _runs(members)
    seen = {run.path: run.labelled(source, progress=progress) for run in runs}
    labels, names = _aligned(runs, seen)
    scored = seen[runs[0].path].scored
    known, unsure = np.zeros(len(names), bool), []
    where = str(Path(source).resolve()) if isinstance(source, (str, Path)) and Path(source).exists() else source
    for run in runs:
        used = [row for row in read_split(run.folder) if row["split"] in ("train", "valid")]
        digests = [int(row["digest"], 16) for row in used if row.get("digest")]
        known |= np.isin(seen[run.path].digests, np.array(digests, np.uint64))
        if isinstance(where, str) and run.folder.read_json(run.folder.data)["source"] == where:
            known |= np.isin(names, [row["file"] for row in used])
        elif not digests:
            unsure.append(run.path.name)
    kept = scored[~known[scored]]
    notes = []
    if len(kept) < len(scored):
        notes.append(
            f"{len(scored) - len(kept):,} of {len(scored):,} images were left out, because a member was trained or "
            f"validated on them; {len(kept):,} remain."
        )
    if unsure:
        notes.append(f"Whether {', '.join(unsure)} learnt from some of these images is not known: the run is too old.")
    if not len(kept):
        raise SourceError(
            f"each of the {len(scored):,} images was used in the training of a member, so none can judge them.",
            "Score on images that no member has seen.",
        )
    return Judges(seen, runs[0].classes, labels, kept, kept[:0], "images", tuple(notes))


def _runs(members: Sequence[Member]) -> list[Run]:
    """List the runs behind the members, each once."""
    return list({member.run.path: member.run for member in members}.values())


def _aligned(runs: Sequence[Run], seen: dict[Path, Labelled]) -> tuple[NDArray[np.int64], list[str]]:
    """Make sure that row i is the same image, with the same label, for every run; give labels and names."""
    first, *others = runs
    mine = seen[first.path]
    names = mine.names(np.arange(len(mine.labels)))
    classes = np.array(first.classes)
    for run in others:
        theirs = seen[run.path]
        if theirs.names(np.arange(len(theirs.labels))) != names:
            raise RunError(
                f"'{first.path}' and '{run.path}' were trained on different images.",
                "Name the images to score them on: --on SOURCE.",
            )
        if (np.array(run.classes)[theirs.labels] != classes[mine.labels]).any():
            raise RunError(
                f"'{first.path}' and '{run.path}' were trained with different labels for the same images.",
                "Name the images to score them on, with the labels that hold: --on SOURCE.",
            )
    return mine.labels, names
