"""A source -> an audit of its labels: a folder with the list to review, the estimate and the page."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline import files
from sightline.auditing import outoffold, suspects
from sightline.auditing.outoffold import Scored
from sightline.auditing.suspects import Suspect
from sightline.data.sources import load
from sightline.data.summary import describe
from sightline.diagnosis import intervals
from sightline.diagnosis.confident import confident
from sightline.diagnosis.intervals import Figure
from sightline.diagnosis.label_noise import LabelNoise, estimate
from sightline.errors import RunError, SettingsError
from sightline.making.prepared import Prepared, describe_source, prepare, read_settings
from sightline.models import zoo
from sightline.progress import Progress
from sightline.reports import audits
from sightline.reports.thumbnails import thumbnails
from sightline.settings import Settings

FORMAT = 1
"""Version of ``audit.json``."""

ASIDE = {"runs", "name", "trackers", "checkpoint_minutes", "data_dir", "download", "keep_memory", "device", "compile"}
"""Settings that an audit which is gone on with may have differently: its results do not depend on them."""


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        path: its folder.
        told: ``audit.json``, as plain values.
    """

    path: Path
    told: dict[str, Any]

    @classmethod
    def load(cls, path: Path | str) -> Audit:
        """Open a finished audit.

        Raises:
            RunError: there is none, or it is not finished.
        """
        place = Path(path) / "audit.json"
        if not place.is_file():
            raise RunError(f"'{path}' holds no audit: it has no 'audit.json'.", "Make one: sightline audit SOURCE")
        told = _read(place)
        if told.get("status") != "finished":
            raise RunError(f"the audit in '{path}' is not finished.", "Run the same `sightline audit` command again.")
        return cls(Path(path), told)

    @property
    def labels(self) -> Path:
        """``labels.csv``: the list to review, which ``corrections`` takes."""
        return self.path / "labels.csv"

    @property
    def report(self) -> Path:
        """``audit.html``: the page."""
        return self.path / "audit.html"

    @property
    def json(self) -> Path:
        """``audit.json``: the estimate and how it was made."""
        return self.path / "audit.json"

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        return str(self.told["headline"])

    @property
    def noise(self) -> Figure:
        """The share of labels that are wrong, with its 95 % interval."""
        return Figure.from_dict(self.told["noise"])

    def suspects(self, most: int | None = None) -> list[dict[str, str]]:
        """Read the list, the most doubtful first: one dict per image, with the columns of ``labels.csv``."""
        with self.labels.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
        return rows[:most]


def audit(
    source: Any,
    model: str | None = None,
    *,
    folds: int = 5,
    repeats: int = 1,
    drop: float | str = 0.0,
    settings: Settings | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Audit:
    """Look for wrong labels: score every image by networks that never saw it, and list what they doubt.

    The folder is ``runs/audit/NAME``; each fold is an ordinary run in ``folds`` below it. The same call goes on with an
    audit that was cut off. A part of the source called test is audited by networks trained on the rest.

    Args:
        source: as for ``train``.
        model: name of the network; ``resnet18`` unless settings say otherwise.
        folds: K: each image is scored by a network trained on the other K - 1 of K folds.
        repeats: how often to deal into folds anew and train, with seeds ``seed``, ``seed + 1``, ...; scores are
            averaged.
        drop: the share of most doubtful images whose action in the list is ``drop`` instead of ``keep``, such as 0.08
            or "8%"; images of a given test part are never among them.
        settings: where to start from; the defaults otherwise.
        progress: shows what happens; on stderr by default.
        **changes: any field of ``Settings``; ``minutes`` is the time for all folds together.

    Returns:
        The finished audit.

    Raises:
        SightlineError: anything that would go wrong, before the first training where it can be known.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    progress = progress or Progress()
    wanted = {**(settings.changed() if settings else {}), **changes, **({"model": model} if model else {})}
    given = Settings(**wanted)
    zoo.entry(given.model)
    share = _share(drop)
    if repeats < 1:
        raise SettingsError(f"'repeats' is {repeats}.", "Use 1 or more.")
    images = load(source, data_dir=given.data_dir, download=given.download, progress=progress)
    progress.show(describe(images))
    data = prepare(images, given, progress)
    seeds = range(given.seed, given.seed + repeats)
    identity = {
        "format": FORMAT,
        "source": describe_source(source),
        "fingerprint": data.fingerprint(),
        "folds": folds,
        "seeds": list(seeds),
        "settings": {k: v for k, v in given.as_toml().items() if k in given.changed() and k not in ASIDE},
    }
    path = given.runs / "audit" / (given.name or _name(images.name, identity))
    planned = outoffold.deal(data, folds, seeds, path / "folds")
    before = _open(path, identity)
    if before.get("status") != "finished":
        files.write_json(path / "audit.json", {**identity, "status": "running", "seconds": before.get("seconds", 0.0)})
        begun = time.perf_counter()
        done = outoffold.train(planned, data, given, source, progress)
        seconds = before.get("seconds", 0.0) + time.perf_counter() - begun
        files.write_json(path / "audit.json", {**identity, "status": "running", "seconds": seconds})
        if not done:
            progress.note(f"stopped early; the rest can follow: the same command again, or with --name {path.name}")
            raise KeyboardInterrupt
        before = {"seconds": seconds}
    elif _edited(path, before):
        progress.note(f"this audit is finished; '{path / 'labels.csv'}' was edited since and stays as it is")
        return Audit.load(path)
    return conclude(path, {**identity, "seconds": before["seconds"]}, data, planned, share, progress)


def conclude(
    path: Path,
    identity: dict[str, Any],
    data: Prepared,
    planned: list[outoffold.Fold],
    share: float,
    progress: Progress,
) -> Audit:
    """Judge the labels by the finished folds, and write list, estimate and page."""
    scored, test = outoffold.collect(planned, data, progress)
    noise = _estimate(data, scored)
    listed = suspects.prefill(suspects.judge(data, scored, noise), share)
    if len(test.rows):
        listed += suspects.judge(data, test, _estimate(data, test))
        listed.sort(key=lambda one: -(one.score or 0.0))
    listed += suspects.dropped(data)
    content = suspects.as_csv(listed)
    told = {
        **identity,
        "status": "finished",
        "name": data.images.name,
        "things": f"{data.images.kind}s",
        "classes": list(data.images.classes),
        "images": len(scored.rows) + len(test.rows),
        **_findings(data, scored, noise),
        "test": _findings(data, test, _estimate(data, test)) if len(test.rows) else None,
        "network": _network(planned[0]),
        "notes": _notes(data, test),
        "list": hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()[:32],
    }
    told["headline"] = audits.headline(told)
    scores = [one.score for one in listed if one.score is not None]
    found = Audit(path, told)
    files.write_text(found.labels, content)
    shown = [asdict(one) for one in listed[: audits.SHOWN]]
    files.write_text(found.report, audits.render(told, shown, scores, _thumbnails(data, listed[: audits.SHOWN]), path))
    files.write_json(found.json, told)
    return found


def _estimate(data: Prepared, scored: Scored) -> LabelNoise:
    return estimate(scored.probabilities, data.labels[scored.rows])


def _findings(data: Prepared, scored: Scored, noise: LabelNoise) -> dict[str, Any]:
    """Tell what was found about some rows, as plain values."""
    labels, p = data.labels[scored.rows], scored.probabilities
    found = confident(p, labels)
    right = intervals.share(float((p.argmax(axis=1) == labels).mean()), len(labels))
    score, suggested = noise.judge(p, labels)
    expected = np.zeros_like(found.joint)
    np.add.at(expected, (labels, suggested), score)
    return {
        "noise": noise.share.as_dict(),
        "verdict": noise.verdict,
        "model": {
            "kind": noise.kind,
            "gain": noise.gain,
            "dispersion": noise.dispersion,
            "exponent": noise.exponent,
            "favour": noise.favour.tolist(),
            "matrix": noise.matrix.tolist(),
        },
        "expected": expected.round(3).tolist(),
        "counts": np.bincount(labels, minlength=len(expected)).tolist(),
        "agreement": right.as_dict(),
        "confident_learning": {
            "thresholds": [None if np.isnan(t) else float(t) for t in found.thresholds],
            "confident_joint": found.counts.tolist(),
            "joint": found.joint.tolist(),
            "noise": float(1 - np.trace(found.joint)),
            "doubted": int(found.doubted.sum()),
        },
    }


def _network(fold: outoffold.Fold) -> dict[str, Any]:
    settings = read_settings(fold.folder)
    return {name: settings.as_toml().get(name) for name in ("model", "image_size", "epochs", "augment", "options")}


def _notes(data: Prepared, test: Scored) -> list[str]:
    notes = []
    if len(test.rows):
        notes.append(
            f"The {len(test.rows):,} images of the test part are scored by all networks, none of which was trained on "
            "any of them; no line of theirs is prefilled."
        )
    if data.images.splits is not None and (data.images.splits == "valid").any():
        notes.append("The validation part was dealt into the folds with the training part.")
    if data.images.groups is not None:
        notes.append("Images of one group are in one fold, so that none is scored by a network that saw its group.")
    if data.weights is not None:
        notes.append(
            "The networks began with weights from elsewhere: where those were trained on these very images and labels, "
            "no network here is a witness that never saw them."
        )
    if data.corrected is not None:
        notes.append(f"Labels as corrected by '{data.corrected.corrections.path}'; the list here starts from that one.")
    return notes


def _thumbnails(data: Prepared, listed: list[Suspect]) -> dict[str, bytes]:
    rows: dict[str, int] = {}
    wanted = {one.file for one in listed}
    for row in range(len(data.images)):
        if data.images.label_of(row) in wanted:
            rows[data.images.label_of(row)] = row
    return thumbnails(data.pixels.array, list(rows.values()), list(rows))


def _share(drop: float | str) -> float:
    """Read ``8%`` or 0.08.

    Raises:
        SettingsError: it is no share below one half.
    """
    text = str(drop).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 0.5:
        raise SettingsError(f"'drop' is {drop}.", "Give a share of the images below a half, such as 8% or 0.08.")
    return share


def _open(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Make the folder of an audit, or read what is there of the same one.

    Raises:
        RunError: the folder holds another audit, or something else.
    """
    if not path.exists() or not any(path.iterdir()):
        files.make_folder(path)
        return {}
    if not (path / "audit.json").is_file():
        raise RunError(f"'{path}' exists and holds no audit.", "Choose another --name.")
    before = _read(path / "audit.json")
    if before.get("format", 0) > FORMAT:
        raise RunError(f"'{path}' has format {before['format']}, this version reads {FORMAT}.", "Upgrade Sightline.")
    other = [name for name, value in json.loads(json.dumps(identity)).items() if before.get(name) != value]
    if other:
        said = {"fingerprint": "images or labels", "source": "source", "seeds": "seed or repeats"}
        raise RunError(
            f"'{path}' holds an audit with other {', '.join(said.get(name, name) for name in other)}.",
            "Choose another --name, or give what that audit was given.",
        )
    return before


def _edited(path: Path, before: dict[str, Any]) -> bool:
    place = path / "labels.csv"
    return place.is_file() and hashlib.sha256(place.read_bytes()).hexdigest()[:32] != before.get("list")


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError) as error:
        raise RunError(f"'{path}' is damaged: {error}.", "Restore it from a copy, or audit again.") from None
    if not isinstance(told, dict):
        raise RunError(f"'{path}' is damaged: it is no JSON object.", "Restore it from a copy, or audit again.")
    return told


def _name(source: str, identity: dict[str, Any]) -> str:
    """Make a name that the same command makes again, and another one does not."""
    code = hashlib.sha256(json.dumps(identity, default=str).encode()).hexdigest()[:6]
    readable = re.sub(r"[^\w.+-]+", "_", source).strip("_.-+")
    return f"{readable[:50].rstrip('_.-+')}-{code}"
