"""Arms and seeds -> their run folders: taken over where they are made already, continued, or trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline import files
from sightline.comparison import match
from sightline.comparison.arms import Arm, Design
from sightline.data.images import Images
from sightline.data.sources import load
from sightline.errors import RunError, TrainingError
from sightline.making import recipe
from sightline.making.assembly import augmentation
from sightline.making.choices import resolve
from sightline.making.prepared import Prepared, depends_on, prepare
from sightline.making.trained import Run, plan_of
from sightline.models.plan import Plan
from sightline.progress import Muted, Progress
from sightline.run import RunFolder
from sightline.settings import Settings
from sightline.training import device as devices


@dataclass
class Stock:
    """The source, loaded once, and its images prepared once for each way in which arms want them.

    Attributes:
        source: as the user gave it.
        base: says where files are and whether a download is allowed.
        progress: shows the decoding.
    """

    source: Any
    base: Settings
    progress: Progress
    _images: Images | None = None
    _prepared: dict[tuple[Any, ...], Prepared] = field(default_factory=dict)

    @property
    def images(self) -> Images:
        """The images before decoding."""
        if self._images is None:
            self._images = load(
                self.source, data_dir=self.base.data_dir, download=self.base.download, progress=self.progress
            )
        return self._images

    def data(self, settings: Settings) -> Prepared:
        """Give the images as these settings want them."""
        key = depends_on(settings)
        if key not in self._prepared:
            self._prepared[key] = prepare(self.images, settings, Muted(self.progress))
        return self._prepared[key]

    def plan(self, settings: Settings) -> Plan:
        """Plan the network of these settings, as ``trained.network_of`` builds it: its layers as plain data."""
        return plan_of(settings, self.data(settings).preprocessing, len(self.images.classes))

    def same(self, one: Settings, other: Settings) -> bool:
        """Whether two settings, alike but for what is left to the network or to ``auto``, make the same training."""
        specs = [augmentation(self.data(settings), settings)[0] for settings in (one, other)]
        return specs[0] == specs[1] and self.plan(one) == self.plan(other)


@dataclass(frozen=True)
class Job:
    """One training of the experiment.

    Attributes:
        arm: what is trained.
        settings: complete: with seed, split, and the place of the run.
    """

    arm: Arm
    settings: Settings

    @property
    def folder(self) -> RunFolder:
        """The run folder, made or not."""
        return RunFolder(self.settings.runs / str(self.settings.name))

    @property
    def said(self) -> str:
        """What people call it: ``resnet20, seed 3``."""
        return f"{self.arm.label}, seed {self.settings.seed}"

    @property
    def status(self) -> str:
        """``finished``, ``failed``, ``begun`` or ``missing``."""
        return self.folder.how_far()


def jobs(design: Design, seeds: Sequence[int], runs: Path, split_seed: int | None, epochs: int | None) -> list[Job]:
    """List the trainings seed by seed, so that whatever is finished when time runs out can be compared in pairs.

    Args:
        design: the arms.
        seeds: of the trainings; the same for every arm.
        runs: the folder of run folders.
        split_seed: draws one split for all; None lets each seed draw its own.
        epochs: for those arms that leave them open; None leaves them open.
    """
    found = []
    for seed in seeds:
        for arm in design.arms:
            settings = arm.settings.model_copy(
                update={
                    "seed": seed,
                    "split_seed": split_seed,
                    "runs": runs,
                    "name": f"{arm.slug}-seed{seed}",
                    "minutes": None,
                    "probes": False,  # what they say is about one training, not about a difference
                    "epochs": arm.settings.epochs or epochs,
                }
            )
            found.append(Job(arm, settings))
    return found


def again(run: Run, settings: Settings, source: Any, progress: Progress, call: str) -> tuple[Stock, Settings]:
    """Make ready to train a run again on the images and the split it was trained on.

    Args:
        run: finished.
        settings: its own, but for what a repetition leaves out.
        source: the data, where they were arrays in memory or have moved; else None.
        progress: shows the decoding.
        call: how the user would give arrays again, for the message.

    Returns:
        the images, and the settings with the split's seed and the run's place filled in.

    Raises:
        RunError: the images are not at hand, or no longer those of the run.
    """
    given = source if source is not None else run.folder.read_json(run.folder.data).get("source")
    if given is None:
        raise RunError(f"run '{run.path}' was trained on arrays in memory.", f"Give them again: {call}.")
    split_seed = settings.seed if settings.split_seed is None else settings.split_seed
    own = settings.model_copy(update={"split_seed": split_seed, "runs": run.path.parent, "name": run.path.name})
    stock = Stock(given, settings, progress)
    other = match.differences(run.folder, own, own, stock.data(own))
    if other:
        raise RunError(
            f"run '{run.path}' cannot be trained again as it was: {'; '.join(other)}.",
            "Restore the images, or train again on what they are now.",
        )
    return stock, own


def check(planned: Sequence[Job], stock: Stock) -> dict[str, Settings]:
    """Refuse what cannot work before anything is trained: settings that do not fit, run folders that hold others.

    Returns:
        For each arm's label, its settings with what is left open decided.

    Raises:
        RunError: a folder holds a run that is not the one wanted.
        SightlineError: an arm cannot be trained; the message names what is wrong with it.
    """
    device, _ = devices.choose(stock.base.device)
    resolved: dict[str, Settings] = {}
    for job in planned:
        if job.arm.label not in resolved:
            tried = job.settings.model_copy(update={"compile": "off"})
            resolved[job.arm.label] = resolve(tried, stock.data(job.settings), device, Progress(quiet=True)).settings
    for job in planned:
        if job.status == "missing":
            continue
        other = match.differences(job.folder, job.settings, resolved[job.arm.label], stock.data(job.settings))
        if other:
            hint = "Choose another --name, or move that run away."
            if len(other) == 1 and "split" in other[0] and job.settings.split_seed is not None:
                hint = "If each seed shall have a split of its own, as in runs made one by one, say --split seed."
            raise RunError(f"run '{job.folder.path}' is not the one wanted: {'; '.join(other)}.", hint)
    return resolved


def lock(job: Job) -> Path:
    """Give the file that is locked while a run is made, outside of its experiment's folder; the folder is made.

    Experiments that lie side by side, as those of ``improve`` do, give their runs the same names.
    """
    runs = job.settings.runs
    return files.make_folder(runs.parent / ".locks") / f"{runs.name}-{job.settings.name}"


def make(job: Job, stock: Stock, progress: Progress) -> str:
    """Make one run, or continue it.

    Returns:
        Its headline; or ``failed: ...`` where the training could not go on, as the run folder says, too.

    Raises:
        RunError: another process is making it, or it cannot be written.
    """
    with files.held(lock(job), f"run '{job.folder.path}' is being trained already."):
        try:
            return recipe.make(
                job.settings, lambda: stock.data(job.settings), source=stock.source, progress=progress
            ).headline
        except TrainingError as error:
            return f"failed: {error.fault}"
