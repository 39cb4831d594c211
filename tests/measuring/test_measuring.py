"""Ratios are taken within rounds, and every way that is measured does its work. Nothing here depends on a clock."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sightline.measuring import machine
from sightline.measuring.turns import in_turns

CPU = torch.device("cpu")


def test_a_ratio_is_taken_within_a_round_whatever_the_machine_does() -> None:
    now, slow, order = [0.0], [1.0], []

    def way(name: str, seconds: float) -> int:
        order.append(name)
        now[0] += seconds * slow[0]
        return 10

    def slower() -> None:
        slow[0] *= 3

    ways = {"slow": lambda: way("slow", 4.0), "fast": lambda: way("fast", 2.0)}
    one, two = in_turns(ways, rounds=3, clock=lambda: now[0], round_done=slower)
    assert two.ratio == pytest.approx((2, 2, 2))
    assert one.ratio == (1, 1, 1)
    assert one.per_s == pytest.approx([10 / 12, 10 / 36, 10 / 108])  # the first round does not count
    assert order == ["slow", "fast", "fast", "slow"] * 2
    assert "2.00 times as fast (2.00 to 2.00, n=3)" in two.sentence
    assert two.as_dict() == {"way": "fast", "per_s": 0.6, "ratio": [2.0, 2.0, 2.0], "n": 3}


def test_every_way_of_the_machine_bench_does_its_work(tmp_path: Path) -> None:
    assert {way() for way in machine.training(CPU, batch=4, width=0.05).values()} == {4}
    assert {way() for way in machine.augmenting(CPU).values()} == {machine.IMAGES}
    assert {way() for way in machine.predicting(CPU, batch=2, size=32, width=0.05).values()} == {2}
    files = machine.photos(tmp_path, count=3, size=(64, 96))
    assert {way() for way in machine.decoding(files, (32, 32)).values()} == {3}
