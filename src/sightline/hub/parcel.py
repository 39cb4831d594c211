"""A run -> the files of it that travel, without what is private; and files that arrived -> a run, checked."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w
import torch

from sightline import __version__, files
from sightline.data.known import KNOWN
from sightline.diagnosis import evidence
from sightline.errors import RunError, SightlineError
from sightline.hub import card
from sightline.making.trained import Run, network_of
from sightline.reports import facts
from sightline.reports.facts import Facts
from sightline.run import RunFolder
from sightline.settings import read_toml

TRAVELS = {
    "run.json": "state",
    "settings.toml": "settings",
    "data.json": "data",
    "environment.json": "environment",
    "evaluation.json": "evaluation",
    "history.jsonl": "history",
    "timing.jsonl": "timing",
    "instruments.jsonl": "instruments",
    "valid_losses.npy": "valid_losses",
    "split.csv": "split",
    "positions.safetensors": "positions",
    "model.safetensors": "best",
}
"""Name on a hub -> the file of a run, small ones first. The weights have the name that hubs look for.

``split.csv`` travels only where the data are a known public set: elsewhere it names the user's images.
"""

STAYS = {
    "predictions": "names images",
    "findings": "names images",
    "probes": "what was tried before and after the training; nothing that uses the network needs it",
    "figures": "drawn again from the numbers; one of them shows training images",
    "report": "names and shows images; travels if asked for, to be looked at, and is never taken back",
    **dict.fromkeys(("gallery", "seeing"), "show images; made again from the weights and the images"),
    "last": "weights after the last epoch, which are not the best",
    "snapshots": "weights of the ends of cycles; to vote with, where they were made",
    "checkpoint": "needed only to go on training, which needs the images, too",
    "corrections": "names images",
    **dict.fromkeys(("journal", "rounds"), "about other runs, which stay where they are"),
    **dict.fromkeys(("recipe", "ensemble", "members", "vote"), "of an ensemble; its members are runs that can travel"),
}
"""Every other file of a run, and why it stays where it is."""

WEIGHTS, CARD, CONFIG, REPORT = "model.safetensors", "README.md", "config.json", "report.html"
NEEDED = ("run.json", "settings.toml", "data.json", WEIGHTS)
BESIDE = frozenset({CARD, CONFIG, REPORT, ".gitattributes", "LICENSE", "LICENSE.md", "LICENSE.txt"})
"""May lie beside a run on a hub; none of it is fetched."""

LIMIT = 100_000_000
"""Bytes of any file of a run but its weights, at most: the largest whitening matrix takes 38 million."""

DATA = ("name", "layout", "kind", "classes", "counts", "preprocessing", "fingerprint", "reasons", "notes")
STATE = ("format", "status", "headline", "stopped", "started", "best_epoch", "epochs", "seconds")
ENVIRONMENT = ("sightline", "python", "device", "threads", "cores", "packages")
UNSAID = ("runs", "name", "data_dir", "download")
"""Settings that speak of the user's machine alone."""

ABSOLUTE = re.compile(r"(?<![\w:/.])(?:~|[A-Za-z]:)?(?:[/\\][^/\\\s'\",;:]+){2,}[/\\]?")


def pack(run: Run, folder: Path, repo: str, *, report: bool = False, licence: str | None = None) -> list[str]:
    """Write the files that travel, with a card in front.

    Names and pictures of images are left out, and paths are cut down to their last part wherever they stand. The names
    of the classes and of the data set stay: without them nobody could use it.

    Args:
        run: scored, so finished or stopped early.
        folder: exists and is empty.
        repo: ``OWNER/NAME``, for the card's examples.
        report: also the report page, with the names and pictures in it.
        licence: for the card, as hubs spell it: ``mit``, ``cc-by-4.0``.

    Returns:
        The names of the files.

    Raises:
        RunError: the run has no scores yet, or lacks a file.
    """
    own = run.folder
    status = own.read_state().get("status")
    if status not in ("finished", "stopped") or not own.evaluation.is_file():
        raise RunError(
            f"run '{own.path}' is {status}: it has no scores to tell of yet.",
            f"Finish it first: sightline resume {own.path}",
        )
    for name, attribute in TRAVELS.items():
        path: Path = getattr(own, attribute)
        if name in NEEDED:
            own.need(path, "push it")
        if path.is_file() and (name != "split.csv" or public(own.read_json(own.data))):
            _copy(path, folder / name)
    if report:
        shutil.copyfile(own.need(own.report, "push its report"), folder / REPORT)
    # from here on only what travels is read, so that the card cannot tell more
    found = facts.read(RunFolder(folder))
    files.write_json(folder / CONFIG, config(run, found))
    text = card.write(found, repo, parameters=_learnt(run), report=report, licence=licence)
    files.write_text(folder / CARD, text)
    return sorted(path.name for path in folder.iterdir())


def _copy(path: Path, to: Path) -> None:
    """Copy one file of a run without what is private."""
    if to.name in CLEAN:
        told = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        files.write_json(to, bare(CLEAN[to.name](told)))
    elif to.suffix == ".toml":
        files.write_text(to, tomli_w.dumps({table: _settings(told) for table, told in read_toml(path).items()}))
    else:
        shutil.copyfile(path, to)


def _state(told: dict[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in STATE if name in told}


def _data(told: dict[str, Any]) -> dict[str, Any]:
    return {"source": told["source"] if public(told) else None, **{name: told[name] for name in DATA if name in told}}


def public(data: dict[str, Any]) -> bool:
    """Tell whether a run's images are a known public set, as everybody can have it."""
    return data.get("source") in KNOWN and "corrections" not in data


def _environment(told: dict[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in ENVIRONMENT if name in told}


def _evaluation(told: dict[str, Any]) -> dict[str, Any]:
    return {**told, "worst": [{**mistake, "name": f"row {mistake['row']}"} for mistake in told["worst"]]}


def _settings(told: dict[str, Any]) -> dict[str, Any]:
    """Leave out what speaks of the machine; a setting with a slash or a backslash in it is a path."""
    return {name: _last(value) for name, value in told.items() if name not in UNSAID}


def _last(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _last(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_last(inner) for inner in value]
    return re.split(r"[/\\]", value)[-1] if isinstance(value, str) else value


CLEAN = {"run.json": _state, "data.json": _data, "environment.json": _environment, "evaluation.json": _evaluation}


def bare(value: Any) -> Any:
    """Cut every absolute path inside texts down to its last part, through lists and mappings."""
    if isinstance(value, str):
        return ABSOLUTE.sub(lambda found: re.split(r"[/\\]", found[0].rstrip("/\\"))[-1], value)
    if isinstance(value, dict):
        return {name: bare(inner) for name, inner in value.items()}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def config(run: Run, found: Facts) -> dict[str, Any]:
    """Say what the network is and takes, in the words that hubs know (``id2label``) and in ours."""
    return {
        "library_name": "sightline",
        "sightline_version": found.environment.get("sightline", __version__),
        "architecture": found.settings["model"],
        "options": found.settings.get("options", {}),
        "num_classes": len(run.classes),
        "id2label": {str(number): name for number, name in enumerate(run.classes)},
        "label2id": {name: number for number, name in enumerate(run.classes)},
        "preprocessing": run.preprocessing.as_dict(),
        "temperature": found.evaluation.temperature if found.evaluation else 1.0,
        "parameters": _learnt(run),
    }


def _learnt(run: Run) -> int:
    return sum(parameter.numel() for parameter in run.model.parameters())


def choose(listed: Iterable[str], repo: str) -> list[str]:
    """Choose what to fetch from the names that a hub lists, in the order of fetching.

    Raises:
        RunError: it is no run, or there are files that belong to none; nothing of it is then fetched.
    """
    there = set(listed)
    strange = sorted(there - TRAVELS.keys() - BESIDE)
    missing = [name for name in NEEDED if name not in there]
    if missing:
        raise RunError(
            f"'{repo}' is no run of Sightline: it has no {', '.join(missing)}.",
            "Pull what `sightline push` has put there.",
        )
    if strange:
        raise RunError(
            f"'{repo}' holds files that belong to no run: {', '.join(map(repr, strange[:5]))}"
            f"{' ...' if len(strange) > 5 else ''}.",
            "Nothing was fetched. Ask its owner what they are for.",
        )
    return [name for name in TRAVELS if name in there]


def bounds(name: str, folder: RunFolder, repo: str) -> tuple[int, int]:
    """Give the least and the most bytes that a file may have.

    Those of the weights follow from the other files, which are there by then: a stranger's settings may describe a
    network of any size, and it is built only if he sends weights for it.

    Raises:
        RunError: the other files describe no network.
    """
    least, most = 0, LIMIT
    if name == WEIGHTS:
        with reading(repo), torch.device("meta"):  # which takes no memory
            run = Run(folder)
            network = network_of(run.settings, run.preprocessing, len(run.classes))
            tensors = network.state_dict().values()
            least = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            most = least + 1000 * (len(tensors) + 1)  # a name and a shape take some 200
    return least, most


def check(folder: RunFolder, repo: str) -> None:
    """Read everything that arrived as it is read in use, so that a run that passes can predict.

    Raises:
        RunError: a file is damaged, from a newer version, or does not belong to the others.
    """
    with reading(repo):
        run = Run(RunFolder.open(folder.path))
        if not all(isinstance(name, str) for name in run.classes) or len(set(run.classes)) < len(run.classes):
            raise ValueError("its classes are no list of different names")
        facts.read(folder)
        if folder.history.is_file():
            evidence.of_run(folder)
        assert run.predictor


@contextmanager
def reading(repo: str) -> Iterator[None]:
    """Read foreign files inside the block; whatever is wrong with them is told as one fault: this is no whole run."""
    try:
        yield
    except SightlineError as error:
        raise _unfit(repo, error.fault) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise _unfit(repo, f"{type(error).__name__}: {error}") from None


def _unfit(repo: str, why: str) -> RunError:
    return RunError(f"'{repo}' is no whole run: {why}", "Nothing was kept. Ask its owner to push it again.")
