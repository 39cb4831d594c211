"""The run folder: everything that came of one training, and the only file that knows the names inside it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline import files
from sightline.errors import RunError

FORMAT = 1
"""Version of the folder's layout; a folder with a higher number is refused."""


@dataclass(frozen=True)
class RunFolder:
    """A folder such as ``runs/20261122-141530`` and the paths inside it."""

    path: Path

    @property
    def state(self) -> Path:
        """JSON: format, status (``running | finished | stopped | failed``), why it ended, best epoch, times."""
        return self.path / "run.json"

    @property
    def settings(self) -> Path:
        """TOML: ``[settings]`` as resolved, ``[given]`` as the user gave them."""
        return self.path / "settings.toml"

    @property
    def data(self) -> Path:
        """JSON: source, classes, counts, preprocessing, fingerprint of the data, why each derived setting."""
        return self.path / "data.json"

    @property
    def positions(self) -> Path:
        """Safetensors: what normalising by pixel or by whitening measured; absent for other normalisations."""
        return self.path / "positions.safetensors"

    @property
    def corrections(self) -> Path:
        """CSV: the lines of the list of corrections that dropped an image or changed its label; absent without one."""
        return self.path / "corrections.csv"

    @property
    def split(self) -> Path:
        """CSV: one line per image: file or row, class, split, digest of its pixels. Never redrawn."""
        return self.path / "split.csv"

    @property
    def environment(self) -> Path:
        """JSON: versions, device, threads, command."""
        return self.path / "environment.json"

    @property
    def history(self) -> Path:
        """JSON lines: one row of plain numbers per epoch; the same for the same seed, so no clock is in it."""
        return self.path / "history.jsonl"

    @property
    def timing(self) -> Path:
        """JSON lines: seconds spent per epoch, by phase, and images per second."""
        return self.path / "timing.jsonl"

    @property
    def valid_losses(self) -> Path:
        """NPY, float16 (epochs, validation images): each image's loss after each epoch."""
        return self.path / "valid_losses.npy"

    @property
    def instruments(self) -> Path:
        """JSON lines: gradients, updates, dead units by layer, in the epochs where they were measured; no clock."""
        return self.path / "instruments.jsonl"

    @property
    def probes(self) -> Path:
        """JSON: what was tried before the first epoch and after the last, see ``diagnosis.probes``."""
        return self.path / "probes.json"

    @property
    def best(self) -> Path:
        """Safetensors: the weights of the best epoch."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """Safetensors: the weights after the last epoch."""
        return self.path / "last.safetensors"

    @property
    def snapshots(self) -> Path:
        """Folder of the weights at the end of each cycle of the learning rate: ``1.safetensors``, ..."""
        return self.path / "snapshots"

    def snapshot(self, cycle: int) -> Path:
        """Safetensors: the weights at the end of a cycle, numbered from 1."""
        return self.snapshots / f"{cycle}.safetensors"

    @property
    def checkpoint(self) -> Path:
        """Safetensors with JSON inside: all that an exact continuation needs."""
        return self.path / "checkpoint.safetensors"

    @property
    def findings(self) -> Path:
        """JSON: findings about the data."""
        return self.path / "findings.json"

    @property
    def evaluation(self) -> Path:
        """JSON: the scores on the held-out part, each with its interval."""
        return self.path / "evaluation.json"

    @property
    def predictions(self) -> Path:
        """CSV: held-out images with label, prediction and probabilities."""
        return self.path / "predictions.csv"

    @property
    def figures(self) -> Path:
        """Folder of pictures."""
        return self.path / "figures"

    @property
    def gallery(self) -> Path:
        """The self-contained HTML page of what the network looks for and at, once ``sightline see`` has made it."""
        return self.path / "gallery.html"

    @property
    def seeing(self) -> Path:
        """Folder of the pictures that the parts of ``sightline see`` made, and of what is kept for the next time."""
        return self.path / "seeing"

    @property
    def recipe(self) -> Path:
        """TOML, of an ensemble trained by a recipe: that recipe, with what flags changed."""
        return self.path / "recipe.toml"

    @property
    def ensemble(self) -> Path:
        """JSON, in the folder of an ensemble only: its members, how they vote, with which weights and temperature."""
        return self.path / "ensemble.json"

    @property
    def members(self) -> Path:
        """Folder of the members of an ensemble, each a run folder."""
        return self.path / "members"

    @property
    def vote(self) -> Path:
        """JSON, of an ensemble: members and vote side by side: scores, gains, agreement, best subset, cost."""
        return self.path / "vote.json"

    @property
    def journal(self) -> Path:
        """Markdown: what was tried to improve the run, round by round, in words; absent if nobody tried."""
        return self.path / "journal.md"

    @property
    def rounds(self) -> Path:
        """JSON: the same as plain values, from which an improvement that was cut off goes on."""
        return self.path / "journal.json"

    @property
    def report(self) -> Path:
        """The self-contained HTML page."""
        return self.path / "report.html"

    @classmethod
    def create(cls, runs: Path, name: str | None = None, prefix: str = "") -> RunFolder:
        """Make a new folder; an existing one is never used again.

        Args:
            runs: the folder of run folders.
            name: its name; None takes the time, and a number behind it if that second is taken.
            prefix: stands before the time.

        Raises:
            RunError: the name is taken, or the folder cannot be made.
        """
        stem = name or prefix + time.strftime("%Y%m%d-%H%M%S")
        for attempt in range(1, 1000):
            path = runs / (stem if attempt == 1 else f"{stem}-{attempt}")
            try:
                folder = cls(files.make_folder(path, exist_ok=False))
            except FileExistsError:
                if name is not None:
                    raise RunError(
                        f"run folder '{path}' exists already.",
                        f"Choose another --name, or go on with it: sightline resume {path}",
                    ) from None
                continue
            folder.write_state(status="running", started=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
            return folder
        raise RunError(f"no free name for a run in '{runs}'.", "Give one with --name.")

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Open an existing run folder.

        Raises:
            RunError: it is missing, is no run folder, or is from a newer version.
        """
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise RunError(f"run folder '{path}' does not exist.", "Check the path; `ls runs` shows the runs.")
        if not folder.state.is_file():
            raise RunError(
                f"'{path}' is not a run folder: it has no '{folder.state.name}'.",
                "Give the folder that `sightline train` printed last.",
            )
        version = folder.read_state().get("format")
        if type(version) is not int:
            raise RunError(
                f"'{folder.state}' is damaged: it names no format.", "Restore it from a copy, or train again."
            )
        if version > FORMAT:
            raise RunError(
                f"run '{path}' has format {version}; this version reads up to {FORMAT}.",
                "Upgrade: pip install -U sightline",
            )
        return folder

    def how_far(self) -> str:
        """Say how far it has come: ``missing``, ``begun``, ``failed`` or ``finished``.

        What was cut off while it was set up, before anything was trained, is missing, too.

        Raises:
            RunError: what is there is no run, or not a whole one.
        """
        if all(path.is_file() for path in (self.state, self.settings, self.data)):
            status = str(RunFolder.open(self.path).read_state().get("status"))
            return status if status in ("finished", "failed") else "begun"
        trained = any(path.exists() for path in (self.history, self.checkpoint, self.best))
        if self.path.exists() and (trained or not self.state.is_file()):
            raise RunError(f"'{self.path}' is no whole run.", "Move it away, or choose another name.")
        return "missing"

    def need(self, path: Path, to: str) -> Path:
        """Give ``path`` if it exists, else say what is missing.

        Args:
            path: a file of this run.
            to: what it is needed for: ``"predict"``.
        """
        if not path.exists():
            raise RunError(
                f"run '{self.path}' is incomplete: it has no '{path.name}', which is needed to {to}.",
                f"If the training was cut off, continue it: sightline resume {self.path}",
            )
        return path

    def read_json(self, path: Path, to: str = "go on") -> Any:
        """Read one of the run's JSON files."""
        try:
            return json.loads(self.need(path, to).read_text(encoding="utf-8", errors="surrogateescape"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"'{path}' is damaged: {error}.", "Restore it from a copy, or train again.") from None

    def read_state(self) -> dict[str, Any]:
        """Read ``run.json``."""
        state = self.read_json(self.state)
        if not isinstance(state, dict):
            raise RunError(
                f"'{self.state}' is damaged: it is no JSON object.", "Restore it from a copy, or train again."
            )
        return state

    def write_state(self, **values: Any) -> None:
        """Change some values of ``run.json``, keeping the others."""
        state = self.read_state() if self.state.is_file() else {"format": FORMAT}
        files.write_json(self.state, {**state, **values})
