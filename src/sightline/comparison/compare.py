"""A source and arms -> a Comparison: every arm trained with every seed, compared in pairs, told in words."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sightline import files
from sightline.comparison import arms, budget, dropping, fitted, match, outcome, running, workers
from sightline.comparison.arms import Design, Pairs
from sightline.comparison.outcome import Outcome
from sightline.data.balance import skewed
from sightline.diagnosis import experiment
from sightline.diagnosis.experiment import MEASURES, Contrast
from sightline.errors import SettingsError, did_you_mean
from sightline.making import recipe
from sightline.making.prepared import Prepared, describe_source
from sightline.progress import Progress
from sightline.reports import compared
from sightline.run import RunFolder
from sightline.settings import Settings
from sightline.tracking import hparams
from sightline.tracking.tracker import plain
from sightline.training import device as devices

Split = Literal["same", "seed"]
SPLITS: tuple[Split, ...] = ("same", "seed")

FORMAT = 1
"""Version of ``comparison.json``."""


@dataclass(frozen=True)
class Comparison:
    """What came of a controlled experiment.

    Attributes:
        path: its folder.
        design: the arms and which of them are compared.
        outcomes: for each arm's label, one per seed, in the order of the seeds.
        contrasts: for each measure, what each pair of labels (ours, theirs) differs by.
        decides: the measure that decides.
        stopped: why not all of it was trained; empty if it was.
        told: how it was made, for the page: source, seeds, split, settings.
    """

    path: Path
    design: Design
    outcomes: dict[str, list[Outcome]]
    contrasts: dict[str, dict[tuple[str, str], Contrast]]
    decides: str
    stopped: str
    told: dict[str, Any]

    @property
    def json(self) -> Path:
        """``comparison.json``: all of it, as plain values."""
        return self.path / "comparison.json"

    @property
    def report(self) -> Path:
        """The self-contained page."""
        return self.path / "comparison.html"

    def finished(self, label: str) -> list[Outcome]:
        """Give the outcomes of an arm that are finished."""
        return [found for found in self.outcomes[label] if found.status == "finished"]

    def trials(self) -> list[hparams.Trial]:
        """List the finished trainings with what sets them apart, for trackers."""
        return [
            hparams.Trial(
                one.folder.path,
                {"arm": arm.label, "seed": one.seed, **arm.levels},
                {name: score.value for name, score in one.scores.items()},
            )
            for arm in self.design.arms
            for one in self.finished(arm.label)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values: the layout of ``comparison.json``."""
        return {
            "format": FORMAT,
            **self.told,
            "decides": self.decides,
            "stopped": self.stopped,
            "kind": self.design.kind,
            "factors": plain(self.design.factors),
            "reference": self.design.reference,
            "arms": [self._arm(arm) for arm in self.design.arms],
            "differences": {
                name: [
                    {"arm": ours, "against": theirs, **contrast.as_dict()} for (ours, theirs), contrast in found.items()
                ]
                for name, found in self.contrasts.items()
            },
        }

    def _arm(self, arm: arms.Arm) -> dict[str, Any]:
        done = self.finished(arm.label)
        figures = {}
        for name in MEASURES:
            scores = [found.scores[name] for found in done if name in found.scores]
            if scores:
                mean, low, high = experiment.spread(scores)
                figures[name] = {"value": mean, "low": low, "high": high, "seeds": len(scores)}
        return {
            "label": arm.label,
            "levels": plain(arm.levels),
            "figures": figures,
            "runs": [
                {
                    "seed": found.seed,
                    "folder": str(found.folder.path.relative_to(self.path)),
                    "status": found.status,
                    "reason": found.reason,
                    "figures": {name: score.value for name, score in found.scores.items()},
                    "curves": {name: [_finite(v) for v in column] for name, column in found.curves.items()},
                }
                for found in self.outcomes[arm.label]
            ],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def compare(
    source: Any,
    *models: str,
    base: Settings | Path | str | None = None,
    vary: Mapping[str, Sequence[Any]] | None = None,
    grid: bool = False,
    seeds: int = 5,
    split: Split = "same",
    pairs: Pairs | None = None,
    decides: str | None = None,
    matters: float | None = None,
    drop_hopeless: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
    **changes: Any,
) -> Comparison:
    """Compare networks, or settings, by training each with the same seeds on the same images.

    Args:
        source: as for ``train``.
        models: two networks or more; or one, or none, with ``vary``.
        base: settings that all arms share: ``Settings``, or a TOML file such as a run's ``settings.toml``.
        vary: setting -> its values; ``option.NAME`` for an option of the network.
        grid: every combination of the values, instead of one change at a time.
        seeds: how many trainings of each arm, with the seeds ``seed``, ``seed + 1``, ...
        split: ``same``: one split for all, so that every pair is scored on the same images. ``seed``: each seed draws
            its own, as trainings one by one do; within a seed all arms share it.
        pairs: ``all``: each arm with each; ``first``: each with the base, or with the first network; or a list of
            labels (ours, theirs): the fewer, the narrower the intervals. None: all for networks, else first.
        decides: the measure that decides, of ``diagnosis.experiment.MEASURES``; None: test accuracy, balanced where
            the training's classes are skewed; or validation accuracy where there is no test part.
        matters: the difference in it from which on it matters.
        drop_hopeless: train no further seeds of an arm that is worse beyond doubt after three or more.
        jobs: how many runs go on at a time, each in a process of its own if more than one; from a script that needs
            ``if __name__ == "__main__":`` around the call.
        progress: shows what happens.
        **changes: settings that all arms share. ``name`` and ``runs`` say where: the folder is
            ``runs/compare/name``; its run folders are in ``runs`` below it. ``minutes`` is the time for all runs
            together: arms that leave their epochs open get the same number, as many as fit.

    Returns:
        The comparison, with as many of its runs as are finished. The same call goes on with it.

    Raises:
        SightlineError: anything that would go wrong, before the first training.
    """
    progress = progress or Progress()
    shared = _shared(base, models, changes)
    _refuse(seeds, jobs, split, decides, matters)
    stock = running.Stock(source, shared, progress)
    design = _design(shared, models, vary or {}, grid, pairs, stock)
    path = shared.runs / "compare" / (changes.get("name") or _name(source, stock, shared, design))
    numbers = range(shared.seed, shared.seed + seeds)
    drawn = (shared.seed if shared.split_seed is None else shared.split_seed) if split == "same" else None

    def plan(epochs: int | None) -> tuple[list[running.Job], dict[str, Settings]]:
        listed = running.jobs(design, numbers, path / "runs", drawn, epochs)
        return listed, running.check(listed, stock)

    planned, resolved = plan(_epochs_before(path))
    decider = decides or _decider(stock.data(planned[0].settings))
    todo = [job for job in planned if job.status in ("missing", "begun")]
    jobs = min(jobs, max(len(todo), 1))
    allowed = None
    if shared.minutes is not None and todo:
        allowed = budget.divide(shared.minutes, todo, resolved, stock, jobs, progress)
        planned, resolved = plan(allowed.epochs or _epochs_before(path))
    told = {
        "name": path.name,
        "source": describe_source(source) or stock.images.name,
        "seeds": list(numbers),
        "split": split,
        "matters": matters,
        "settings": {k: v for k, v in shared.as_toml().items() if k in shared.changed() and k not in match.HOW},
        **_about(stock.data(planned[0].settings), planned, resolved),
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "environment": recipe.environment(devices.choose(shared.device)[0]),
    }
    files.make_folder(path / "runs")
    begun = Comparison(path, design, {arm.label: [] for arm in design.arms}, {}, decider, "", told)
    files.write_json(begun.json, begun.as_dict())

    def dropped(job: running.Job) -> str:
        return dropping.hopeless(job, planned, design, decider) if drop_hopeless else ""

    stopped = workers.carry_out(planned, resolved, stock, progress, jobs=jobs, budget=allowed, dropped=dropped)
    errors = fitted.train_errors(path, planned, stock, progress) if decider == "train_error" else {}
    outcomes: dict[str, list[Outcome]] = {arm.label: [] for arm in design.arms}
    for job in planned:
        why = dropped(job) if job.status == "missing" else ""
        outcomes[job.arm.label].append(
            outcome.read(job.folder, job.settings.seed, why, errors.get(job.folder.path.name))
        )
    found = conclude(path, design, outcomes, decides=decider, matters=matters, stopped=stopped, told=told)
    files.write_json(found.json, found.as_dict())
    compared.write(path, found.as_dict())
    hparams.log(shared.trackers, path, found.trials())
    return found


def _refuse(seeds: int, jobs: int, split: str, decides: str | None, matters: float | None) -> None:
    """Refuse what is out of range, before anything is read."""
    for name, value in (("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise SettingsError(f"'{name}' is {value}.", "Use 1 or more; with 5 seeds small differences can be told.")
    if split not in SPLITS:
        raise SettingsError(f"'split' is '{split}'.", f"Use {' or '.join(SPLITS)}.")
    if matters is not None and not 0 <= matters < math.inf:
        raise SettingsError(f"'matters' is {matters}.", "Use 0 or more: 0.005 is half a point of accuracy.")
    if decides is not None and decides not in MEASURES:
        raise SettingsError(
            f"there is no measure '{decides}' to decide by.{did_you_mean(decides, MEASURES)}",
            f"Choose one of: {', '.join(MEASURES)}.",
        )


def _design(
    shared: Settings,
    models: Sequence[str],
    vary: Mapping[str, Sequence[Any]],
    grid: bool,
    pairs: Pairs | None,
    stock: running.Stock,
) -> Design:
    """Make the arms, or say why they cannot be."""
    checked = arms.factors(shared, vary)
    pairs = ("all" if len(models) > 1 else "first") if pairs is None else pairs
    if not checked:
        if grid:
            raise SettingsError("a grid needs factors.", "Name them: --vary dropout=0,0.3 --vary lr=0.001,0.01 --grid.")
        return arms.networks(shared, models, pairs=pairs)
    if len(models) > 1:
        raise SettingsError(
            f"networks are named ({', '.join(models)}) and settings varied ({', '.join(checked)}).",
            f"To vary both, vary the network, too: --vary model={','.join(models)} --grid.",
        )
    if models and "model" in checked:
        raise SettingsError(f"the network is named ({models[0]}) and varied.", "Name it, or vary 'model'.")
    start = shared.model_copy(update={"minutes": None, "name": "-"})
    resolved = running.check([running.Job(arms.Arm("base", start), start)], stock)["base"]
    levels = arms.base_levels(shared, checked, resolved, stock.same)
    return (arms.grid if grid else arms.around)(shared, checked, levels, pairs=pairs)


def _about(data: Prepared, planned: Sequence[running.Job], resolved: Mapping[str, Settings]) -> dict[str, Any]:
    """Say what is trained on, and for how long: chosen epochs are kept for the next call."""
    lengths = {settings.epochs for settings in resolved.values()}
    chosen = [job.settings.epochs for job in planned if job.arm.settings.epochs is None]
    return {
        "epochs": chosen[0] if chosen else None,
        "data": data.images.name,
        "images": {part: len(getattr(data.split, part)) for part in ("train", "valid", "test")},
        "length": lengths.pop() if len(lengths) == 1 else None,
    }


def _decider(data: Prepared) -> str:
    """Choose the measure that decides: accuracy, where it misleads the balanced one."""
    if not len(data.split.test):
        return "valid_accuracy"
    return "test_balanced_accuracy" if skewed(data.counts) else "test_accuracy"


def _epochs_before(path: Path) -> int | None:
    """Give the epochs that an earlier call of the same comparison chose for arms that leave them open."""
    told = RunFolder(path).read_json(path / "comparison.json") if (path / "comparison.json").is_file() else {}
    epochs = told.get("epochs")
    return epochs if isinstance(epochs, int) else None


def conclude(
    path: Path,
    design: Design,
    outcomes: dict[str, list[Outcome]],
    *,
    decides: str,
    matters: float | None,
    stopped: str,
    told: dict[str, Any],
) -> Comparison:
    """Compare what came of the runs, pair by pair over the seeds that both arms have."""
    return Comparison(path, design, outcomes, contrasts(design, outcomes, decides, matters), decides, stopped, told)


def contrasts(
    design: Design, outcomes: Mapping[str, Sequence[Outcome]], decides: str, matters: float | None
) -> dict[str, dict[tuple[str, str], Contrast]]:
    """Compare the arms in every measure, pair by pair, over the seeds of which both have a score."""
    found: dict[str, dict[tuple[str, str], Contrast]] = {}
    for name, measure in MEASURES.items():
        for ours, theirs in design.pairs:
            pair = [
                (a.scores[name], b.scores[name])
                for a, b in zip(outcomes[ours], outcomes[theirs], strict=True)
                if name in a.scores and name in b.scores
            ]
            if pair:
                found.setdefault(name, {})[ours, theirs] = experiment.contrast(
                    [a for a, _ in pair],
                    [b for _, b in pair],
                    measure,
                    comparisons=len(design.pairs),
                    matters=matters if name == decides else None,
                )
    return found


def _shared(base: Settings | Path | str | None, models: Sequence[str], changes: Mapping[str, Any]) -> Settings:
    """Bring together what all arms share; a base's own place and time budget are its own."""
    given = Settings.from_toml(Path(base)) if isinstance(base, str | Path) else base or Settings()
    values = {k: v for k, v in given.changed().items() if k not in ("runs", "name", "minutes")}
    values |= {k: v for k, v in changes.items() if k != "name"}
    Settings(name=changes.get("name"))  # refuses what no folder can be called
    return Settings(**values, **({"model": models[0]} if models else {}))


def _name(source: Any, stock: running.Stock, shared: Settings, design: Design) -> str:
    """Make a name that the same command makes again, and another one does not."""
    what = "-".join(design.factors) if design.factors else "-".join(arm.label for arm in design.arms)
    matter = {k: v for k, v in shared.model_dump(mode="json").items() if k not in match.HOW}
    whole = [describe_source(source), matter, [(arm.label, arm.levels) for arm in design.arms]]
    code = hashlib.sha256(json.dumps(whole, default=str).encode()).hexdigest()[:6]
    readable = re.sub(r"[^\w.+-]+", "_", f"{stock.images.name}-{what}").strip("_.-+")
    return f"{readable[:60].rstrip('_.-+')}-{code}"
