"""Cases with their truth -> the score table: the diagnosis beside simple rules, advice beside habits, with intervals.

``python benches/diagnosis/score.py open --runs RUNS --save benches/diagnosis/open.json``
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import advised
import numpy as np
from conditions import CONDITIONS
from parts import PARTS
from runs import cells
from truth import Told, judged, read

from sightline.diagnosis import intervals
from sightline.diagnosis.evidence import Evidence
from sightline.diagnosis.measures import Measures
from sightline.diagnosis.verdict import judge

KINDS = ("broken", "underfitted", "well fitted", "over-confident", "overfitted")
RISES = ("overfitted", "over-confident")


def patience(evidence: Evidence) -> bool:
    """Call overfitted what has not improved for a fifth of its epochs."""
    losses = evidence.valid
    return bool(np.isfinite(losses).all()) and len(losses) - 1 - int(np.argmin(losses)) >= max(3, len(losses) // 5)


def sagemaker(evidence: Evidence) -> bool:
    """(validation - training) / training above 0.1 in two checks running: the rule Overfit, with its defaults."""
    train, valid = evidence.column("train_loss"), evidence.valid
    over = (valid - train) / np.maximum(train, 1e-9) > 0.1
    return bool((over[1:] & over[:-1]).any())


def umlaut(evidence: Evidence) -> bool:
    """One epoch in which the validation loss rises and the training loss does not."""
    train, valid = evidence.column("train_loss"), evidence.valid
    return bool(((np.diff(valid) > 0) & (np.diff(train) <= 0)).any())


def gap(evidence: Evidence) -> bool:
    """Training accuracy ten points above validation: the usual advice."""
    gaps = evidence.column("probe_accuracy") - evidence.column("valid_accuracy")
    return bool(gaps[-1] > 0.1)


RULES: dict[str, Callable[[Evidence], bool]] = {
    "patience": patience,
    "SageMaker Overfit": sagemaker,
    "UMLAUT overfit": umlaut,
    "gap > 10 points": gap,
}


def record(told: Told) -> dict[str, Any]:
    """Give what is stored of a case: its truth, the verdict, the numbers, what the simple rules say."""
    verdict = judge(told.evidence)
    m = Measures(told.evidence)
    numbers: dict[str, Any] = {"level": m.level, "gap_share": m.gap_share, "update": m.update}
    for name in ("rise", "gain", "error_change", "tempered"):
        found = getattr(m, name)
        numbers[name] = None if found is None else [_short(v) for v in (found.value, found.low, found.high)]
    return {
        "case": told.case.name,
        "condition": told.case.condition,
        "truth": told.kind,
        "why": told.why,
        "harmed": told.harmed,
        "verdict": verdict.kind,
        "cause": verdict.cause,
        "confidence": verdict.confidence,
        "findings": [finding.code for finding in verdict.findings if finding.severity != "note"],
        "rules": {name: rule(told.evidence) for name, rule in RULES.items()} if told.evidence.rows else {},
        "numbers": {k: _short(v) if isinstance(v, float) else v for k, v in numbers.items()},
    }


def _short(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.3g}")


def share(count: int, of: int) -> dict[str, float | int | None]:
    """Give a share with its Wilson interval."""
    if not of:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {**intervals.share(count / of, of).as_dict(), "n": of}


def scores(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Score the verdicts."""
    known = [r for r in records if r["truth"]]
    well = [r for r in known if r["truth"] == "well fitted"]
    untouched = [r for r in records if r["condition"] == "healthy"]
    decided = [r for r in known if r["verdict"] != "cannot tell"]
    f1 = {}
    for kind in KINDS:
        hit = sum(r["truth"] == r["verdict"] == kind for r in decided)
        of, called = sum(r["truth"] == kind for r in decided), sum(r["verdict"] == kind for r in decided)
        if of:
            f1[kind] = {"f1": 2 * hit / (of + called) if of + called else 0.0, "of": of, "called": called, "right": hit}
    return {
        "runs": len(records),
        "untouched": len(untouched),
        "truths": dict(Counter(r["truth"] or "unknown" for r in records)),
        "false alarms on healthy": share(sum(_alarm(r) for r in well), len(well)),
        "by verdict of it": dict(Counter(r["verdict"] for r in well)),
        "coverage": share(len(decided), len(known)),
        "right where decided": share(sum(r["truth"] == r["verdict"] for r in decided), len(decided)),
        "macro-F1": float(np.mean([each["f1"] for each in f1.values()])) if f1 else None,
        "by verdict": f1,
        "a rise": _rises(known),
        "cause of an underfit": _causes(known),
        "hard failures": _hard(records, well),
        "findings": _findings(records, untouched),
        "right, by word": {
            word: share(
                sum(r["truth"] == r["verdict"] for r in decided if r["confidence"] == word),
                sum(r["confidence"] == word for r in decided),
            )
            for word in ("sure", "likely", "unsure")
        },
    }


def _alarm(r: dict[str, Any]) -> bool:
    return r["verdict"] not in ("well fitted", "cannot tell")


def _rises(known: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare what calls a rise with simple rules, where there is one and where there is none."""
    calm = [r for r in known if r["truth"] in ("well fitted", "underfitted")]
    risen = [r for r in known if r["truth"] in RISES]

    def says(r: dict[str, Any], name: str) -> bool:
        return bool(r["verdict"] in RISES if name == "Sightline" else r["rules"].get(name, False))

    return {
        name: {
            "found": share(sum(says(r, name) for r in risen), len(risen)),
            "false": share(sum(says(r, name) for r in calm), len(calm)),
        }
        for name in ("Sightline", *RULES)
    }


def _causes(known: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for condition, told in CONDITIONS.items():
        with_it = [r for r in known if r["condition"] == condition and told.cause]
        if with_it:
            found[condition] = share(sum(r["cause"].endswith(told.cause) for r in with_it), len(with_it))
    return found


def _hard(records: list[dict[str, Any]], well: list[dict[str, Any]]) -> dict[str, Any]:
    """Score hard failures: those whose condition did harm have to be named; none may be named on a healthy run."""
    codes = {code for told in CONDITIONS.values() if told.hard for code in told.findings}
    failed = [r for r in records if CONDITIONS[r["condition"]].hard and r["harmed"]]
    named = [r for r in failed if codes & set(r["findings"])]
    wrong = [r for r in well if codes & set(r["findings"])]
    return {
        "recall": share(len(named), len(failed)),
        "and the verdict is not a good fit": share(sum(_alarm(r) for r in named), len(failed)),
        "precision": share(len(named), len(named) + len(wrong)),
        "by condition": {
            condition: share(
                sum(r["condition"] == condition for r in named), sum(r["condition"] == condition for r in failed)
            )
            for condition, told in CONDITIONS.items()
            if told.hard
        },
    }


def _findings(records: list[dict[str, Any]], untouched: list[dict[str, Any]]) -> dict[str, Any]:
    """Say of each condition that data can have how often it was found, and how often where it was not."""
    found: dict[str, Any] = {}
    for condition, told in CONDITIONS.items():
        with_it = [r for r in records if r["condition"] == condition]
        if told.findings and not told.hard and with_it:
            found[condition] = {
                "found": share(sum(bool(set(told.findings) & set(r["findings"])) for r in with_it), len(with_it)),
                "on untouched": share(
                    sum(bool(set(told.findings) & set(r["findings"])) for r in untouched), len(untouched)
                ),
            }
    return found


def stability(folders: list[Path]) -> dict[str, Any]:
    """Judge each run by two disjoint draws of up to 360 validation images: how often do two sure verdicts differ?"""
    flips, pairs, sizes, decided = 0, 0, Counter[int](), 0
    for folder in folders:
        told = json.loads((folder / "case.json").read_text())
        each = min(360, (told["seen"] + told["oracle"]) // 2)
        first, second = (judge(read(folder, part).evidence) for part in (slice(0, each), slice(each, 2 * each)))
        pairs += 1
        sizes[each] += 1
        if "cannot tell" in (first.kind, second.kind) or "unsure" in (first.confidence, second.confidence):
            continue
        decided += 1
        flips += first.kind != second.kind
    return {"contradict": share(flips, pairs), "both confident": decided, "images": dict(sizes)}


def show(found: Mapping[str, Any], indent: str = "") -> None:
    """Print scores as lines."""
    for name, value in found.items():
        if isinstance(value, Mapping) and {"value", "low", "high", "n"} <= value.keys():
            said = (
                "-" if value["value"] is None else f"{value['value']:.1%} ({value['low']:.1%} to {value['high']:.1%})"
            )
            print(f"{indent}{name}: {said}, n = {value['n']}")
        elif isinstance(value, Mapping):
            print(f"{indent}{name}:")
            show(value, indent + "  ")
        else:
            print(f"{indent}{name}: {value:.3f}" if isinstance(value, float) else f"{indent}{name}: {value}")


def trained(part: str, runs: Path) -> list[Path]:
    """Give the run folders of a part that are there, without those that only try a change."""
    wanted = [runs / case.name for healthy, spoilt in islice(cells(part), 1000) for case in (healthy, *spoilt)]
    return [folder for folder in wanted if judged(folder)]


def main() -> None:
    """Score a part and store its records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--save", type=Path, help="JSON of scores and records")
    parser.add_argument("--stability", type=int, default=1000, help="runs, at most, that are judged by two draws")
    parser.add_argument("--wrong", action="store_true", help="list the cases that were judged wrongly")
    asked = parser.parse_args()
    folders = trained(asked.part, asked.runs)
    records = [record(read(folder)) for folder in folders]
    found = {**scores(records), "stability": stability(folders[: asked.stability]), "advice": advised.scores(folders)}
    show(found)
    if asked.wrong:
        for r in records:
            if r["truth"] and r["truth"] != r["verdict"]:
                said = f"{r['verdict']} {r['cause']} {r['confidence']}"
                print(f"{r['case']:42s} {r['truth']} ({r['why']}) <- {said} {r['numbers']}")
    if asked.save:
        lines = ",\n".join(json.dumps(r, separators=(",", ":")) for r in records)
        scored = json.dumps(found, indent=1)
        asked.save.write_text(f'{{"part": "{asked.part}",\n"scores": {scored},\n"records": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
