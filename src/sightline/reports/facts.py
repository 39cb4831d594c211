"""The files of a run folder -> plain values for the page; what is missing is empty, what is damaged is told.

The layouts of the JSON files, all keys optional for the reader:

``run.json``
    ``status`` (``running | finished | stopped | failed``), ``stopped`` (why it ended, a sentence), ``started``
    (ISO 8601), ``epochs`` (how many were run), ``best_epoch`` (from 1), ``headline``, ``seconds`` {phase: seconds};
    the phase ``training`` is told apart by ``timing.jsonl``. ``weights`` (``penalties.Sparsity``) and ``noise``
    (``training.noise.Noise``) of the best weights; ``last_layer`` (what was done to it after the training, a phrase).
``settings.toml``
    ``[settings]`` as resolved, ``[given]`` as the user gave them.
``data.json``
    ``source`` (path, known name or null), ``name``, ``layout`` (one phrase), ``kind`` (``image | signal | volume``),
    ``classes`` [K names], ``counts`` {``train``, ``valid``, ``test``: [K integers]}, ``preprocessing``
    (``Preprocessing.as_dict``), ``fingerprint`` (hex), ``reasons`` {setting: why it was chosen}, ``ignored`` and
    ``notes`` [sentences].
``environment.json``
    Names and values, in reading order; a value may be a mapping or a list. ``command`` is ``sys.argv``.
``findings.json``
    [``Finding.as_dict``].
``evaluation.json``
    ``part`` (``test`` or ``validation``) and all of ``Evaluation.as_dict``.
``history.jsonl``
    One row an epoch: ``epoch``, ``train_loss``, ``valid_loss``, ``probe_loss``, ``lr``, ``valid_<metric>``, ...
``timing.jsonl``
    One row an epoch: ``epoch``, ``train_s``, ``valid_s``, ``probe_s``, ``checkpoint_s``, ``images_per_s``.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.diagnosis.mistakes import Evaluation
from sightline.errors import RunError
from sightline.run import RunFolder


@dataclass(frozen=True)
class Facts:
    """What a run folder holds, read once.

    Attributes:
        path: of the folder.
        state: ``run.json``.
        settings: as resolved.
        given: as the user gave them.
        data: ``data.json``.
        environment: ``environment.json``.
        findings: ``findings.json``.
        history: one row per finished epoch.
        timing: one row per finished epoch.
        evaluation: None if nothing was scored.
        part: ``"test"`` or ``"validation"``: which images were scored.
        inputs: PNG of training inputs as the network gets them, or None.
        invented: PNG of what SMOTE invented between its parents, or None.
    """

    path: Path
    state: dict[str, Any]
    settings: dict[str, Any]
    given: dict[str, Any]
    data: dict[str, Any]
    environment: dict[str, Any]
    findings: list[dict[str, Any]]
    history: list[dict[str, Any]]
    timing: list[dict[str, Any]]
    evaluation: Evaluation | None
    part: str
    inputs: bytes | None
    invented: bytes | None

    @property
    def things(self) -> str:
        """What the run recognises: images, signals or volumes."""
        return str(self.data.get("kind", "image")) + "s"

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        return list(self.data.get("classes") or (self.evaluation.classes if self.evaluation else ()))

    def count(self, part: str) -> int | None:
        """Give the number of images in ``train``, ``valid`` or ``test``; None if it is not known."""
        counts = self.data.get("counts", {}).get(part)
        return None if counts is None else sum(counts)


def read(folder: RunFolder) -> Facts:
    """Read what there is.

    Raises:
        RunError: a file is damaged.
    """
    scores = _json(folder, folder.evaluation, {})
    tables = _toml(folder.settings)
    inputs, invented = folder.figures / "inputs.png", folder.figures / "smote.png"
    return Facts(
        path=folder.path,
        state=folder.read_state(),
        settings=tables.get("settings", {}),
        given=tables.get("given", {}),
        data=_json(folder, folder.data, {}),
        environment=_json(folder, folder.environment, {}),
        findings=_json(folder, folder.findings, []),
        history=_rows(folder.history),
        timing=_rows(folder.timing),
        evaluation=Evaluation.from_dict(scores) if scores else None,
        part=scores.get("part", "test"),
        inputs=inputs.read_bytes() if inputs.is_file() else None,
        invented=invented.read_bytes() if invented.is_file() else None,
    )


def _json(folder: RunFolder, path: Path, missing: Any) -> Any:
    return folder.read_json(path) if path.is_file() else missing


def _toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"'{path}' is damaged: {error}.", "Restore it from a copy, or train again.") from None


def _rows(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; a last line without its end is what a killed training leaves, and is not yet a row."""
    if not path.is_file():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except json.JSONDecodeError as error:
        raise RunError(f"'{path}' is damaged: {error}.", "Restore it from a copy, or train again.") from None
