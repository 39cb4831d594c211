"""Probes: what they find where the truth is known, and that they leave no trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sightline
from sightline import losses
from sightline.diagnosis import ends, pixels, probes, setup
from sightline.progress import Progress
from sightline.training.precision import Precision

LOSS = losses.CrossEntropy()
PLAIN = Precision("fp32", torch.device("cpu"), channels_last=False)
QUIET = Progress(quiet=True)


def batch(n: int = 16, k: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 6, 6, generator=generator), torch.arange(n) % k


def network(k: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(128, k)
    )


class TestSetup:
    def test_a_network_that_knows_nothing_costs_ln_k(self) -> None:
        model = network()
        nn.init.zeros_(model[-1].weight)
        nn.init.zeros_(model[-1].bias)
        found = setup.first_loss(model, *batch(), LOSS, PLAIN, 4)
        assert found["loss"] == pytest.approx(np.log(4))
        assert found["chance"] == pytest.approx(np.log(4))

    def test_one_batch_is_learnt_by_what_can_learn(self) -> None:
        found = setup.one_batch(network(), *batch(), LOSS, PLAIN)
        assert found["verdict"] in ("fitted", "falling")
        assert found["last"] < found["first"]

    def test_a_network_that_does_not_look_cannot_learn_one_batch(self) -> None:
        class Blind(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.answer = nn.Parameter(torch.zeros(4))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.answer.expand(len(x), 4)

        model = Blind()
        assert setup.one_batch(model, *batch(), LOSS, PLAIN)["verdict"] == "unmoved"
        assert setup.zero_input(model, batch()[0], PLAIN)["spread"] == 0
        found = probes.told({"zero_input": setup.zero_input(model, batch()[0], PLAIN)}, {}, 4)
        assert [finding.code for finding in found] == ["setup/ignores-input"]

    @pytest.mark.parametrize(("lr", "verdict"), [(1e4, "diverged"), (1e-9, "unmoved")])
    def test_a_rate_that_fails_on_one_batch_is_told_before_the_first_epoch(self, lr: float, verdict: str) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        own = setup.one_batch(model, *batch(), LOSS, PLAIN, optimizer)
        usual = {"verdict": "fitted", "first": 1.4, "last": 0.1, "steps": 20, "images": 16}
        assert own["verdict"] == verdict
        found = probes.told({"one_batch": {"own": own, "reference": usual}}, {"lr": lr}, 4)
        assert [finding.code for finding in found] == ["setup/rate"]
        assert f"{lr:g}" in found[0].message

    def test_nothing_is_left_behind(self) -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        numbers = torch.get_rng_state()
        x, y = batch(64)
        found = probes.before(
            model,
            optimizer,
            LOSS,
            PLAIN,
            plain=[(x, y)],
            valid=[(x, y)],
            augmented=(x, y),
            classes=("a", "b", "c", "d"),
        )
        json.dumps(found, allow_nan=False)
        assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
        assert torch.equal(numbers, torch.get_rng_state())
        assert not optimizer.state
        assert optimizer.param_groups[0]["lr"] == 0.1
        assert model.training
        assert all(p.grad is None for p in model.parameters())


class TestPixels:
    def test_area_under_the_curve(self) -> None:
        scores = np.array([0.1, 0.4, 0.35, 0.8])
        assert pixels.area(scores, np.array([False, False, True, True])) == pytest.approx(0.75)

    def test_a_simple_classifier_recognises_what_is_simple(self) -> None:
        random = np.random.default_rng(0)
        y = random.integers(0, 3, 200)
        x = np.eye(3)[y] + 0.1 * random.standard_normal((200, 3))
        found = pixels.reference(x[:150], y[:150], x[150:], y[150:])
        assert found["accuracy"] == 1.0
        assert found["images"] == 50

    def test_neighbours_are_those_that_sorting_all_distances_finds_first(self) -> None:
        random = np.random.default_rng(3)
        x = random.integers(0, 3, (80, 4)).astype(np.float64)  # so few values that many rows are equally near
        y = random.integers(0, 6, 80)
        order = np.argsort(((x[None] - x[:, None]) ** 2).sum(axis=2), axis=1, kind="stable")[:, : pixels.NEIGHBOURS]
        votes = np.zeros((80, 6))
        for rank in range(pixels.NEIGHBOURS):
            votes[np.arange(80), y[order[:, rank]]] += 1 + 0.1 / (1 + rank)
        assert np.array_equal(pixels.neighbours(x, y, x), votes.argmax(axis=1))

    @pytest.mark.parametrize("change", ["none", "brighter", "flatter"])
    def test_another_kind_of_validation_is_told_from_chance(self, change: str) -> None:
        random = np.random.default_rng(1)
        x, held = random.standard_normal((400, 50)), random.standard_normal((200, 50))
        held = {"none": held, "brighter": held + 0.5, "flatter": 0.7 * held}[change]
        found = pixels.domain(x, held)
        assert found is not None
        assert (found["low"] > 0.55) == (change != "none")

    def test_labels_that_mean_something_else_are_told_where_no_pixel_is(self) -> None:
        random = np.random.default_rng(2)
        y = random.integers(0, 3, 400)
        x = np.eye(3)[y] + 0.2 * random.standard_normal((400, 3))
        train, held = slice(0, 250), slice(250, 400)
        same = pixels.meaning(x[train], y[train], x[held], y[held])
        other = pixels.meaning(x[train], y[train], x[held], (y[held] + 1) % 3)
        assert same is not None
        assert other is not None
        assert abs(same["value"]) < 0.05
        assert other["low"] > 0.9
        assert pixels.domain(x[train], x[held])["low"] < 0.55, "the images themselves are alike"  # type: ignore[index]
        assert pixels.meaning(x[:39], y[:39], x[held], y[held]) is None

    def test_same_kinds_are_hardly_ever_told_apart(self) -> None:
        claims = 0
        for seed in range(40):
            random = np.random.default_rng(seed)
            found = pixels.domain(random.standard_normal((300, 80)), random.standard_normal((100, 80)))
            claims += found is not None and found["low"] > 0.55
        assert claims <= 2

    def test_shares_of_classes_differ_beyond_chance_or_not(self) -> None:
        random = np.random.default_rng(0)
        even, skewed = random.integers(0, 4, 400), random.choice(4, 400, p=[0.7, 0.1, 0.1, 0.1])
        names = ("a", "b", "c", "d")
        assert not pixels.class_shares(even, random.integers(0, 4, 100), names)["differs"]
        found = pixels.class_shares(even, skewed, names)
        assert found["differs"]
        assert found["worst"] == "a"

    def test_augmentation_that_leaves_nothing_is_found(self) -> None:
        random = np.random.default_rng(0)
        y = random.integers(0, 4, 300)
        x = np.repeat(np.eye(4)[y], 8, axis=1) + 0.3 * random.standard_normal((300, 32))
        assert pixels.damage(x, y, x + 0.1, y)["destroys"] is False  # type: ignore[index]
        assert pixels.damage(x, y, random.standard_normal(x.shape), y)["destroys"] is True  # type: ignore[index]
        assert pixels.damage(random.standard_normal(x.shape), y, x, y) is None

    @pytest.mark.parametrize("shape", [(3, 2, 100), (3, 1, 40, 30), (3, 1, 9, 9, 9), (3, 3, 5, 5)])
    def test_inputs_of_any_kind_become_a_few_hundred_numbers(self, shape: tuple[int, ...]) -> None:
        small = pixels.shrunk(torch.ones(shape))
        assert small.shape[0] == 3
        assert small.shape[1] <= 432
        assert small == pytest.approx(1.0)


class TestEnds:
    @staticmethod
    def logits(n: int = 400, strength: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(0)
        labels = np.arange(n) % 5
        found = random.standard_normal((n, 5)) * 1.5
        found[np.arange(n), labels] += strength
        return found, labels

    def test_louder_logits_are_no_worse_decisions(self) -> None:
        best, labels = self.logits()
        found = ends.compare(best, 5 * best, labels)
        assert found["error"]["value"] == 0
        assert found["tempered"]["value"] == pytest.approx(0, abs=0.01)

    def test_worse_decisions_are_seen_through_any_temperature(self) -> None:
        best, labels = self.logits()
        last, _ = self.logits(strength=1.5)
        found = ends.compare(best, last, labels)
        assert found["error"]["low"] is not None
        assert found["tempered"]["low"] is not None
        assert found["error"]["low"] > 0
        assert found["tempered"]["low"] > 0.1

    def test_wrong_labels_are_counted(self) -> None:
        best, labels = self.logits(strength=6)
        wrong = labels.copy()
        wrong[:80] = (wrong[:80] + 1 + np.arange(80) % 4) % 5
        clean, noisy = ends.noise(best, labels), ends.noise(best, wrong)
        assert clean is not None
        assert noisy is not None
        assert clean["low"] < 0.02
        assert noisy["low"] > 0.1
        assert noisy["value"] == pytest.approx(0.2, abs=0.06)


def test_a_training_with_probes_ends_with_the_same_bits(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 2, "runs": tmp_path, "progress": QUIET, "device": "cpu", "dropout": 0.2}
    runs = [sightline.train("digits", "mlp", probes=on, name=f"p{on}", **options) for on in (True, False)]
    for name in ("last", "history", "valid_losses", "evaluation"):
        assert getattr(runs[0].folder, name).read_bytes() == getattr(runs[1].folder, name).read_bytes()
    told = [json.loads(run.folder.probes.read_text()) for run in runs]
    assert {"first_loss", "one_batch", "reference", "domain", "meaning", "label_noise"} <= set(told[0])
    assert set(told[1]) == {"label_noise", "calibration"}
