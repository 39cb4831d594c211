"""A trained case -> what the diagnosis may see of it, and what the oracle knows: the truth it is scored by."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from conditions import CONDITIONS
from numpy.typing import NDArray
from runs import Case, longer

from sightline.diagnosis import ends, probes, trend
from sightline.diagnosis.evidence import Evidence, of_run
from sightline.run import RunFolder

HELPS = 0.10
"""Fall of the oracle's loss, beyond chance, from which on a change helps."""
LEAST = 0.02
"""Share of the loss of guessing below which a difference counts as nothing."""
RISEN = 0.04
"""Rise of the oracle's loss: with its lower end above this a run got worse, with its value above it nobody knows."""
BROKEN = 0.95
"""The best loss as a share of guessing, the oracle's and that of training images, from which on nothing was learnt."""


@dataclass(frozen=True)
class Told:
    """A case with its truth.

    Attributes:
        case: what was made.
        evidence: what the diagnosis sees: the images shown to it, and no others.
        kind: the right verdict, or "" where the oracle cannot say.
        why: in words.
        harmed: whether its condition made it worse than its healthy twin; None where there is none to compare with.
    """

    case: Case
    evidence: Evidence
    kind: str
    why: str
    harmed: bool | None


def case_of(folder: Path) -> Case:
    """Read which case a run folder holds."""
    told = json.loads((folder / "case.json").read_text())
    return Case(**{name: told[name] for name in Case.__dataclass_fields__ if name in told})


def judged(folder: Path) -> bool:
    """Say whether a case was made, and has images that only the oracle sees."""
    told = folder / "case.json"
    return told.is_file() and json.loads(told.read_text()).get("oracle", 0) > 0


def read(folder: Path, images: slice | None = None) -> Told:
    """Read a case.

    Args:
        folder: of its run.
        images: which of the images the diagnosis sees, to try other draws; all that were shown by default.
    """
    case = case_of(folder)
    logits = np.load(folder / "logits.npz", allow_pickle=False)
    whole = of_run(RunFolder(folder))
    kind, why, harmed = truth(case, folder, whole, logits)
    return Told(case, narrowed(whole, logits, images or slice(0, case.seen)), kind, why, harmed)


def narrowed(whole: Evidence, logits: Any, shown: slice) -> Evidence:
    """Leave of a run what a validation part with only those images would have given."""
    examples = whole.examples
    if examples is None:
        return whole
    rows = []
    for row, losses in zip(whole.rows, examples, strict=True):
        right = trend.right(losses, row["valid_accuracy"])[shown]
        seen = {"valid_loss": float(losses[shown].mean()), "valid_accuracy": float(right.mean())}
        rows.append({**row, **seen})
    labels = logits["labels"][shown]
    found = {name: value for name, value in whole.probes.items() if name not in ("after", "label_noise", "calibration")}
    confusion = None
    if "best" in logits:
        best, last = logits["best"][shown], logits["last"][shown]
        found |= probes.after(best, None if np.array_equal(best, last) else last, labels)
        k = best.shape[1]
        confusion = np.bincount(labels * k + best.argmax(axis=1), minlength=k * k).reshape(k, k)
    return replace(
        whole,
        rows=rows,
        examples=examples[:, shown],
        images={**whole.images, "valid": len(labels)},
        probes=found,
        confusion=confusion,
        source=whole.source or "photos",
    )


def kept(folder: Path) -> NDArray[np.float64] | None:
    """Give the oracle's loss of each of its images, for the weights that remain; None if there is nothing to compare.

    What remains are the weights of the epoch in which the validation images that were seen cost least.
    """
    if not (folder / "case.json").is_file():
        return None
    found = of_run(RunFolder(folder)) if (folder / "history.jsonl").is_file() else None
    if found is None or found.examples is None:
        return None
    each, seen = np.asarray(found.examples, dtype=np.float64), case_of(folder).seen
    if not np.isfinite(each).all():
        return None
    return np.asarray(each[each[:, :seen].mean(axis=1).argmin(), seen:])


def gain(before: NDArray[np.float64], after: NDArray[np.float64], classes: int) -> tuple[float, float]:
    """Give the fall of the oracle's loss as a share of what it was, and the lower end of its 95 % interval."""
    change = trend.difference(before, after)
    assert change.low is not None
    base = max(float(before.mean()), LEAST * math.log(classes) / HELPS)
    return change.value / base, change.low / base


def helps(before: NDArray[np.float64], after: NDArray[np.float64], classes: int) -> bool:
    """Say whether a change lowers the oracle's loss by a tenth or more, beyond chance over its images."""
    value, low = gain(before, after, classes)
    return value > HELPS and low > 0


def truth(case: Case, folder: Path, whole: Evidence, logits: Any) -> tuple[str, str, bool | None]:
    """Ask the oracle: its images, the healthy twin, and what twice the epochs do."""
    condition = CONDITIONS[case.condition]
    if whole.state.get("status") == "failed":
        return "broken", "the loss became NaN", True
    assert whole.examples is not None
    classes = int(logits["best"].shape[1])
    oracle, own = np.asarray(whole.examples[:, case.seen :], dtype=np.float64), kept(folder)
    if own is None or not np.isfinite(own).all():
        return "broken", "the loss became infinite", True
    healthy = replace(case, condition="healthy")
    twin = kept(folder.with_name(healthy.name))
    harmed = None if twin is None or case.condition == "healthy" else helps(own, twin, classes)
    level = float(oracle.mean(axis=1).min()) / math.log(classes)
    fitted = float(whole.fitted.min()) / math.log(classes)
    nothing = min(level, fitted) > BROKEN
    if case.condition == "small" and nothing:
        return "", "whether it is too narrow, or its few units died, cannot be told apart", harmed
    if condition.cause:
        return ("underfitted", condition.cause, harmed) if harmed else ("", "its condition did no harm", harmed)
    if "data/validation-differs" in condition.findings:
        return "", "the oracle is of another kind, too", None
    if nothing:  # where training images were learnt, and nothing else, it is the gravest overfit
        return "broken", f"the loss never fell below {min(level, fitted):.0%} of guessing", harmed
    if condition.hard and harmed:
        return "", "it learnt something all the same", harmed
    rise = trend.rise(oracle.mean(axis=1), oracle, least=LEAST * math.log(classes))
    if rise.low > RISEN:
        changed = ends.compare(logits["best"][case.seen :], logits["last"][case.seen :], logits["labels"][case.seen :])
        error, tempered = changed["error"]["low"], changed["tempered"]["low"]
        assert error is not None
        assert tempered is not None
        worse = error > 0 or tempered > LEAST
        return ("overfitted" if worse else "over-confident"), f"the oracle's loss rose by {rise.value:.0%}", harmed
    if rise.value > RISEN:
        return "", "whether the oracle's loss rose may be chance", harmed
    if case.condition != "healthy":
        return "", "no rise, and what helps was not tried", harmed
    other = kept(folder.with_name(longer(case).name))
    if other is None:
        return "", "twice the epochs were not tried", None
    value, low = gain(own, other, classes)
    if low > HELPS:
        return "underfitted", "trained too short", None
    if value > HELPS:
        return "", "whether twice the epochs help by a tenth may be chance", None
    if "simple" in logits:
        wrong = logits["best"][case.seen :].argmax(axis=1) != logits["labels"][case.seen :]
        worse = trend.difference(wrong, ~logits["simple"])
        if worse.low is not None and worse.low > 0:
            return "", "a simple classifier on pixels does better, and why was not tried", None
    return "well fitted", "twice the epochs do not help", None
