"""The benchmark in small: 24 runs on digits -> truths, verdicts and the score table."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "benches" / "diagnosis"
SPOILT = ("rate-low", "small", "rate-high", "dead", "overfit", "noise-40", "duplicates-20", "bright")


@pytest.fixture(scope="module")
def bench() -> dict[str, Any]:
    sys.path.insert(0, str(BENCH))
    try:
        return {name: importlib.import_module(name) for name in ("conditions", "runs", "truth", "advised", "score")}
    finally:
        sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def folders(bench: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Train eight healthy runs, each with a spoilt twin and with twice its epochs."""
    place, runs = tmp_path_factory.mktemp("bench"), bench["runs"]
    made = {}
    for seed, condition in enumerate(SPOILT):
        healthy = runs.Case("digits", "mlp", "healthy", seed, 100)
        for case in (healthy, replace(healthy, condition=condition), runs.longer(healthy)):
            made[case.name] = runs.make(case, place, place)
    return made


def test_it_trains_what_it_says(bench: dict[str, Any], folders: dict[str, Path]) -> None:
    assert len(folders) == 24
    for name, folder in folders.items():
        case = bench["truth"].case_of(folder)
        assert case.name == name == folder.name
        assert not list(folder.glob("*.safetensors")), "weights are not kept: there are hundreds of runs"


def test_what_is_there_is_not_trained_again(bench: dict[str, Any], folders: dict[str, Path]) -> None:
    folder = folders["digits-mlp-healthy-0"]
    before = (folder / "history.jsonl").stat().st_mtime_ns
    assert bench["runs"].make(bench["truth"].case_of(folder), folder.parent, folder.parent) == folder
    assert (folder / "history.jsonl").stat().st_mtime_ns == before


def test_the_diagnosis_never_sees_the_oracles_images(bench: dict[str, Any], folders: dict[str, Path]) -> None:
    told = bench["truth"].read(folders["digits-mlp-healthy-0"])
    assert told.evidence.examples.shape == (bench["conditions"].EPOCHS, 100)
    assert told.evidence.number == 100
    assert len(bench["truth"].kept(folders["digits-mlp-healthy-0"])) == 640


def test_the_score_table(bench: dict[str, Any], folders: dict[str, Path]) -> None:
    judged = [folder for name, folder in folders.items() if "+" not in name]
    records = {r["case"]: r for r in (bench["score"].record(bench["truth"].read(folder)) for folder in judged)}
    for condition, seed, verdict in (("rate-high", 2, "underfitted"), ("dead", 3, "broken")):
        found = records[f"digits-mlp-{condition}-{seed}"]
        assert found["harmed"]
        assert found["verdict"] == verdict
    for condition, seed, code in (
        ("noise-40", 5, "data/label-noise"),
        ("duplicates-20", 6, "data/leak"),
        ("bright", 7, "data/validation-differs"),
    ):
        assert code in records[f"digits-mlp-{condition}-{seed}"]["findings"]
    scores = bench["score"].scores(list(records.values()))
    assert scores["runs"] == 16
    assert scores["untouched"] == 8
    assert scores["false alarms on healthy"]["n"] >= 4
    assert scores["false alarms on healthy"]["value"] <= 0.25
    assert scores["hard failures"]["recall"]["value"] == 1.0
    assert bench["score"].stability(judged[:2])["contradict"]["n"] == 2


def test_a_change_that_helps_is_told_from_one_that_does_not(bench: dict[str, Any], folders: dict[str, Path]) -> None:
    kept, helps, gain = bench["truth"].kept, bench["truth"].helps, bench["truth"].gain
    slow, well = (kept(folders[f"digits-mlp-{name}-0"]) for name in ("rate-low", "healthy"))
    assert helps(slow, well, 10)
    assert not helps(well, slow, 10)
    assert gain(well, well, 10) == (0.0, 0.0)
