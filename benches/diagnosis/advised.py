"""Cases that are not well -> what the advice did to the oracle's loss, beside fixed habits and random advice.

``python benches/diagnosis/advised.py open --data DATA --runs RUNS --cases 30`` trains what is advised, and the habits.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from parts import PARTS
from runs import Case, cells, make
from truth import Told, case_of, gain, helps, judged, kept, read

from sightline.diagnosis import intervals
from sightline.diagnosis.evidence import of_run
from sightline.diagnosis.verdict import judge
from sightline.errors import SightlineError
from sightline.run import RunFolder

FIRST = 2
"""Pieces of advice that are tried."""
PATIENCE = 3
"""Epochs without a lower validation loss after which the habit of stopping early stops."""
HARM = 0.02
"""Rise of the oracle's loss, beyond chance, from which on a change did harm."""


def wanting(told: Told) -> bool:
    """Say whether the oracle knows that something is wrong with this run that a setting could mend.

    A rate beyond all that settings allow cannot be repeated with another setting changed.
    """
    return told.case.condition != "rate-wild" and told.kind in ("broken", "underfitted", "overfitted", "over-confident")


def habits(case: Case, folder: Path) -> dict[str, Case]:
    """Give what some people always do, as changes of this run."""
    epochs = of_run(RunFolder(folder)).settings["epochs"]
    return {
        "always twice the epochs": case.changed("epochs", 2 * epochs),
        "always augment": case.changed("augment", "light"),
        "always drop out": case.changed("dropout", 0.3),
    }


def advice(told: Told) -> list[list[Case]]:
    """Give the first pieces of advice, each as trainings: this run with a change, or with other seeds, to vote with it.

    A run's own seed draws its images, too, and stays; the seed that is changed is that of weights and order.
    """
    found = []
    for each in judge(told.evidence).advice[:FIRST]:
        if each.setting:
            found.append([told.case.changed(each.setting, each.value)])
        else:
            found.append([told.case.changed("seed", told.case.seed + 10_000 * n) for n in range(1, each.value)])
    return found


def ended(own: NDArray[np.float64], places: list[Path]) -> NDArray[np.float64] | None:
    """Give the oracle's losses after a change; of several trainings those of their vote with the run itself.

    The mean of the networks' probabilities of the right class is what a vote gives it.
    """
    each = [kept(place) for place in places]
    if any(losses is None for losses in each):
        return None
    if len(each) == 1:
        return each[0]
    return np.asarray(-np.log(np.mean([np.exp(-losses) for losses in (own, *each) if losses is not None], axis=0)))


def attempt(case: Case, data: Path, runs: Path) -> None:
    """Train a change; one that the network cannot have leaves a folder without a history, and counts as harm."""
    try:
        make(case, data, runs)
    except SightlineError as error:
        folder = runs / case.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "case.json").write_text(json.dumps({**asdict(case), "impossible": str(error)}))


def stopped(folder: Path) -> NDArray[np.float64] | None:
    """Give the oracle's losses if patience had stopped the training, with the weights of the best epoch until then."""
    examples, seen = of_run(RunFolder(folder)).examples, case_of(folder).seen
    if examples is None or not np.isfinite(examples).all():
        return None
    best = 0
    for epoch, mean in enumerate(examples[:, :seen].mean(axis=1)):
        if mean < examples[best, :seen].mean():
            best = epoch
        elif epoch - best >= PATIENCE:
            break
    return np.asarray(examples[best, seen:], dtype=np.float64)


def record(folder: Path) -> dict[str, Any] | None:
    """Give what each change did to a case that wants mending: the oracle's gain as a share, and whether it counts.

    None where nothing is wrong, or not everything was trained that has to be compared.
    """
    told = read(folder)
    if not wanting(told):
        return None
    own = kept(folder)
    with np.load(folder / "logits.npz", allow_pickle=False) as content:
        classes = int(content["labels"].max()) + 1
    if own is None:  # it broke: anything that ends better than guessing helps
        examples = of_run(RunFolder(folder)).examples
        count = len(content["labels"]) - told.case.seen if examples is None else examples.shape[1] - told.case.seen
        own = np.full(count, math.log(classes))
    tried = {f"advice {n}": cases for n, cases in enumerate(advice(told), 1)}
    tried |= {name: [case] for name, case in habits(told.case, folder).items()}
    done: dict[str, Any] = {}
    for name, cases in tried.items():
        places = [folder.with_name(case.name) for case in cases]
        if not all((place / "case.json").is_file() for place in places):
            return None
        after = ended(own, places)
        done[name] = _told(own, after, classes) if after is not None else {"gain": -1.0, "helps": False, "harms": True}
    early = stopped(folder)
    done["always stop early"] = (
        _told(own, early, classes) if early is not None else {"gain": 0.0, "helps": False, "harms": False}
    )
    named = {
        name: f"{cases[0].change}={cases[0].value}" if len(cases) == 1 else f"a vote of {len(cases) + 1}"
        for name, cases in tried.items()
        if name.startswith("advice")
    }
    return {"case": told.case.name, "truth": told.kind, "named": named, "did": done}


def _told(own: NDArray[np.float64], after: NDArray[np.float64], classes: int) -> dict[str, Any]:
    value, low = gain(own, after, classes)
    back, back_low = gain(after, own, classes)
    better = value > 0 and low > 0
    return {
        "gain": round(value, 3),
        "helps": bool(better),
        "much": helps(own, after, classes),
        "harms": bool(back > HARM and back_low > 0),
    }


def scores(folders: list[Path]) -> dict[str, Any]:
    """Score advice and habits over the cases that want mending and were tried."""
    records = [found for folder in folders if (found := record(folder)) is not None]
    if not records:
        return {"cases": 0}
    names = ["advice 1", "always twice the epochs", "always augment", "always drop out", "always stop early"]
    table = {
        name: {
            "helps": _share([r["did"].get(name, {}).get("helps", False) for r in records]),
            "harms": _share([r["did"].get(name, {}).get("harms", False) for r in records]),
        }
        for name in names
    }
    chance = [np.mean([r["did"][name]["helps"] for name in names[1:]]) for r in records]
    best = [
        max(r["did"].get(f"advice {n}", {}).get("gain", 0.0) for n in range(1, FIRST + 1))
        >= 0.9 * max(each["gain"] for each in r["did"].values())
        for r in records
    ]
    given = [r for r in records if "advice 1" in r["did"]]
    mendable = [r for r in records if any(each["helps"] for each in r["did"].values())]
    return {
        "cases": len(records),
        "given any": _share(["advice 1" in r["did"] for r in records]),
        "helps, where given": _share([r["did"]["advice 1"]["helps"] for r in given]),
        **table,
        "random habit helps": float(np.mean(chance)),
        "where anything that was tried helps": {
            name: _share([r["did"].get(name, {}).get("helps", False) for r in mendable]) for name in names
        },
        "the best of all tried is in the first two": _share(best),
        "records": records,
    }


def _share(values: list[bool]) -> dict[str, float | int | None]:
    return {**intervals.share(sum(values) / len(values), len(values)).as_dict(), "n": len(values)} if values else {
        "value": None, "low": None, "high": None, "n": 0
    }  # fmt: skip


def main() -> None:
    """Train what is advised and what the habits are, for the first cases of a part that want mending."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=30)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    left = asked.cases
    for healthy, spoilt in islice(cells(asked.part), 1000):
        for case in (*spoilt, healthy):
            folder = asked.runs / case.name
            if left <= 0 or not judged(folder) or not wanting(told := read(folder)):
                continue
            for each in (*chain(*advice(told)), *habits(case, folder).values()):
                attempt(each, asked.data, asked.runs)
                print(each.name, flush=True)
            left -= 1


if __name__ == "__main__":
    main()
