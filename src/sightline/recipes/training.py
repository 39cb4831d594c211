"""A source and a recipe -> an ensemble: members trained in turn on one split, their vote, one report; resumable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from sightline import files
from sightline.data.images import SPLITS, Images
from sightline.data.sources import load
from sightline.data.summary import describe
from sightline.ensembles.ensemble import Ensemble
from sightline.errors import RunError, SettingsError, SightlineError, TrainingError
from sightline.making.choices import resolve
from sightline.making.prepared import DATA, Prepared, describe_source, prepare, record, restore
from sightline.making.recipe import environment, make
from sightline.making.trained import Run
from sightline.progress import Muted, Progress
from sightline.recipes.reading import Recipe, read
from sightline.run import RunFolder
from sightline.settings import Settings
from sightline.training import device as devices


def train_ensemble(
    source: Any, recipe: Recipe | Path | str, *, progress: Progress | None = None, **changes: Any
) -> Ensemble:
    """Train the members of a recipe in turn, and let them vote.

    Called again with the same arguments it goes on where it stopped; what is finished is kept.

    Args:
        source: labelled images, as for ``train``.
        recipe: a TOML file, or the name of a bundled recipe.
        progress: shows what happens; on stderr by default.
        **changes: settings that win over the recipe's, for every member: ``epochs=10``; ``runs`` and ``name`` say where
            the ensemble's folder is made, which is called by recipe and source if no name is given.

    Returns:
        The ensemble, in a folder of its own that holds its members as runs.

    Raises:
        SettingsError, ModelError, SourceError: recipe or source cannot be used; nothing was trained.
        RunError: the folder holds another ensemble, or the training was interrupted; called again, it goes on.
        TrainingError: a member's loss became NaN.
    """
    progress = progress or Progress()
    wanted = recipe if isinstance(recipe, Recipe) else read(recipe)
    if not wanted.members:
        raise SettingsError(
            f"recipe '{wanted.name}' has no members: it is for a single run.",
            f"Train it with: sightline train SOURCE --recipe {recipe}",
        )
    places = {name: changes.pop(name) for name in ("runs", "name") if changes.get(name) is not None}
    wanted = wanted.with_flags(changes)
    runs = Path(places.get("runs", wanted.settings().runs))
    folder = RunFolder(runs / str(places.get("name") or _name(wanted, source)))
    if folder.recipe.is_file():
        _same(folder, wanted, source)
        return _go_on(folder, wanted, source, progress)
    base = wanted.settings()
    planned = wanted.runs(folder.members)
    images = load(source, data_dir=base.data_dir, download=base.download, progress=progress)
    progress.show(describe(images))
    data = prepare(images, base, progress)
    for finding in data.findings:
        if finding.severity != "note":
            progress.note(f"{finding.severity}: {finding.message} {finding.advice}")
    stock = _stock(images, data, progress)
    _check(planned, stock)
    folder = RunFolder.create(runs, folder.path.name)
    record(folder, data, source=describe_source(source), reasons={})
    files.write_text(folder.settings, tomli_w.dumps({"settings": base.as_toml()}))
    files.write_json(folder.environment, environment(devices.choose(base.device)[0]))
    files.write_text(folder.recipe, tomli_w.dumps(wanted.as_toml()))
    return _carry_out(folder, wanted, planned, stock, source, progress)


def resume(path: Path | str, *, source: Any = None, progress: Progress | None = None) -> Ensemble:
    """Go on with an ensemble that was cut off.

    Args:
        path: its folder.
        source: the images, where they were arrays in memory or have moved.
        progress: shows what happens.

    Raises:
        As ``train_ensemble`` does.
    """
    folder = RunFolder.open(path)
    wanted = read(folder.need(folder.recipe, "go on with it"))
    return _go_on(folder, wanted, source, progress or Progress())


def _go_on(folder: RunFolder, recipe: Recipe, source: Any, progress: Progress) -> Ensemble:
    if folder.ensemble.is_file():
        progress.note(f"ensemble '{folder.path}' is finished; there is nothing to train.")
        return Ensemble.load(folder.path)
    base, planned = recipe.settings(), recipe.runs(folder.members)
    given = folder.read_json(folder.data, "find its data")["source"] if source is None else source
    data = restore(folder, progress, given)
    images = load(given, data_dir=base.data_dir, download=base.download, progress=progress)
    return _carry_out(folder, recipe, planned, _stock(images, data, progress), given, progress)


def _carry_out(
    folder: RunFolder,
    recipe: Recipe,
    planned: dict[str, Settings],
    stock: Callable[[Settings], Prepared],
    source: Any,
    progress: Progress,
) -> Ensemble:
    """Train what is not finished, then vote; whatever happens, the folder says how it ended."""
    folder.write_state(status="running")
    members: list[Run] = []
    try:
        with progress.task("Members", total=len(planned)) as task:
            for number, (name, settings) in enumerate(planned.items(), 1):
                task.describe(f"member {number} of {len(planned)}: {name}")
                begun = RunFolder(folder.members / name)
                if begun.how_far() == "failed":
                    raise TrainingError(str(begun.read_state()["stopped"]), "Change the recipe; choose another --name.")
                kept = begun.how_far() == "finished"
                run = make(settings, partial(stock, settings), source=source, progress=Muted(progress))
                if run.folder.how_far() != "finished":
                    raise KeyboardInterrupt
                progress.note(f"{name}: {'kept; ' if kept else ''}{run.headline}")
                members.append(run)
                task.advance()
    except TrainingError as error:
        folder.write_state(status="failed", stopped=error.fault)
        raise type(error)(f"member '{name}': {error.fault}", error.hint) from None
    except KeyboardInterrupt:
        folder.write_state(status="stopped", stopped=f"interrupted; {len(members)} of {len(planned)} members are ready")
        raise RunError(
            f"interrupted: {len(members)} of {len(planned)} members are ready, so there is no vote yet.",
            f"Go on with: sightline resume {folder.path}",
        ) from None
    ensemble = Ensemble(members, vote=recipe.vote, weights=recipe.weights, views=recipe.views)
    ensemble.write(folder, ensemble.judge(progress=progress, timed=True))
    ensemble.report(progress)
    return ensemble


def _stock(images: Images, data: Prepared, progress: Progress) -> Callable[[Settings], Prepared]:
    """Give what prepares the images for each member: at its size, in its way, but always with the same split."""
    splits = np.full(len(images), "train", dtype="U5")
    for part in SPLITS:
        splits[data.pixels.rows[getattr(data.split, part)]] = part
    shared = replace(images, splits=splits)
    ready: dict[tuple[Any, ...], Prepared] = {}

    def prepared(settings: Settings) -> Prepared:
        key = tuple(getattr(settings, name) for name in DATA)
        if key not in ready:
            ready.clear()  # members of one kind follow each other, and the images of all need not fit into memory
            ready[key] = prepare(shared, settings, Muted(progress))
        return ready[key]

    return prepared


def _check(planned: dict[str, Settings], stock: Callable[[Settings], Prepared]) -> None:
    """Refuse what cannot be trained before anything is: a batch that is too large, a network that does not fit."""
    for name, settings in planned.items():
        device, _ = devices.choose(settings.device)
        tried = settings.model_copy(update={"compile": "off", "minutes": None})
        try:
            resolve(tried, stock(settings), device, Progress(quiet=True))
        except SightlineError as error:
            raise type(error)(f"member '{name}': {error.fault}", error.hint) from None


def _name(recipe: Recipe, source: Any) -> str:
    """Call the folder by recipe and source, so that the same command finds it again."""
    where = describe_source(source)
    return recipe.name if where is None else f"{recipe.name}-{Path(where).stem}"


def _same(folder: RunFolder, wanted: Recipe, source: Any) -> None:
    """Refuse to go on with an ensemble of another recipe or source."""
    has, want = read(folder.recipe), wanted
    told = folder.read_json(folder.data)["source"] if folder.data.is_file() else None
    hint = f"Choose another --name, or go on with that one: sightline resume {folder.path}"
    if told != describe_source(source):
        raise RunError(f"'{folder.path}' holds an ensemble trained on '{told}'.", hint)
    if has.as_toml() != want.as_toml():
        raise RunError(f"'{folder.path}' holds an ensemble of another recipe, or with other settings.", hint)
