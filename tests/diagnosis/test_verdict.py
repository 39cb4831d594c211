"""Trainings whose truth is known -> the verdict, its words, its findings and its advice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import histories
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.diagnosis.advice import Advice
from sightline.diagnosis.evidence import Evidence, of_rows
from sightline.diagnosis.measures import Measures
from sightline.diagnosis.remedies import UNSTUCK
from sightline.diagnosis.terms import TERMS, page
from sightline.diagnosis.verdict import judge


@pytest.mark.parametrize("truth", histories.TRUTHS)
@pytest.mark.parametrize("seed", range(3))
def test_the_kinds_of_fit_are_told_apart(truth: str, seed: int) -> None:
    verdict = judge(histories.TRUTHS[truth](seed=seed))
    assert verdict.kind == truth, verdict.sentence
    assert verdict.problem == (truth != "well fitted")
    assert verdict.sentence[0].isupper()
    assert any(letter.isdigit() for letter in verdict.sentence)


def test_overfitting_is_dated() -> None:
    verdict = judge(histories.overfitted(noise=0.005))
    assert verdict.epoch is not None
    assert 8 <= verdict.epoch <= 18
    assert f"epoch {verdict.epoch}" in verdict.sentence
    assert verdict.findings[0].code == "fit/overfitted"
    rise = verdict.findings[0].evidence["rise"]
    assert rise["low"] <= rise["value"] <= rise["high"]


def test_causes_of_an_underfit() -> None:
    assert judge(histories.undertrained()).cause == "trained too short"
    assert judge(histories.flat()).cause == "too little capacity"
    held = histories.flat(train=histories.falling(40, 2.3, 2.15, 14))
    held = replace(held, settings={**held.settings, "dropout": 0.9})
    assert judge(held).cause == "over-regularised"


def test_broken_says_what_breaks() -> None:
    nan = histories.make([1.0, 0.9, np.nan, np.nan], [1.0, 0.8, np.nan, np.nan], images=None)
    assert judge(nan).kind == "broken"
    assert "epoch 3" in judge(nan).sentence
    up = histories.make(np.linspace(1, 3, 10), np.linspace(0.9, 2.8, 10))
    assert judge(up).cause == "the training diverged"
    stuck = histories.make(np.full(10, 2.303), np.full(10, 2.3026), accuracy=np.full(10, 0.1))
    assert judge(stuck).cause == "nothing was learnt"
    assert "ln 10" in judge(stuck).sentence


def test_a_failed_training_is_broken_even_after_one_good_epoch() -> None:
    failed = histories.make([1.0], [0.9], state={"status": "failed", "stopped": "the loss became NaN in epoch 2."})
    assert judge(failed).kind == "broken"


@pytest.mark.parametrize(
    ("evidence", "decides"),
    [
        (of_rows([{"epoch": 1, "train_loss": 1.0}]), "not trained on"),
        (of_rows([]), "not trained on"),
        (histories.healthy(2), "more epochs"),
    ],
)
def test_too_little_to_judge_by_is_said(evidence: Evidence, decides: str) -> None:
    verdict = judge(evidence)
    assert verdict.kind == "cannot tell"
    assert not verdict.problem
    assert decides in verdict.decides


def test_few_images_cannot_settle_a_small_rise() -> None:
    verdict = judge(histories.overfitted(rise=0.15, images=20, noise=0.01))
    assert verdict.kind == "cannot tell"
    assert "more validation images." in verdict.decides


def test_doubts_lower_the_confidence_in_words() -> None:
    plain = histories.overfitted()
    assert judge(plain).confidence == "sure"
    assert judge(plain).sentence.startswith("Overfitted")
    noisy = replace(plain, probes={"label_noise": {"value": 0.2, "low": 0.15, "high": 0.25}})
    assert judge(noisy).confidence == "likely"
    assert judge(noisy).sentence.startswith("Probably overfitted")
    assert "double descent" in " ".join(judge(noisy).caveats)
    curves = replace(plain, examples=None)
    assert judge(curves).kind == "overfitted"
    assert judge(curves).confidence != "sure"


@given(st.sampled_from(sorted(histories.TRUTHS)), st.floats(0.2, 5), st.integers(0, 100))
def test_the_verdict_does_not_depend_on_the_unit_of_the_loss(truth: str, scale: float, seed: int) -> None:
    """Bits instead of nats, or a sum instead of a mean, change no verdict where K is not known."""
    evidence = replace(histories.TRUTHS[truth](seed=seed), classes=None)
    assert evidence.examples is not None
    scaled = replace(
        evidence,
        rows=[{k: v * scale if k.endswith("loss") else v for k, v in row.items()} for row in evidence.rows],
        examples=evidence.examples * scale,
    )
    assert judge(scaled).kind == judge(evidence).kind


@given(st.sampled_from(["overfitted", "over-confident"]), st.integers(1, 4))
def test_standing_still_after_the_end_changes_no_rise(truth: str, more: int) -> None:
    evidence = histories.TRUTHS[truth]()
    assert evidence.examples is not None
    longer = replace(
        evidence,
        rows=[*evidence.rows, *[{**evidence.rows[-1], "epoch": len(evidence.rows) + i} for i in range(1, more + 1)]],
        examples=np.concatenate([evidence.examples, np.repeat(evidence.examples[-1:], more, axis=0)]),
    )
    assert judge(longer).kind == judge(evidence).kind
    assert judge(longer).epoch == judge(evidence).epoch


def test_every_finding_has_a_term_and_every_verdict_is_json() -> None:
    for make in (*histories.TRUTHS.values(), histories.flat):
        verdict = judge(make())
        assert all(finding.code in TERMS for finding in verdict.findings)
        assert all(finding.advice and finding.message.endswith(".") for finding in verdict.findings)
        json.dumps(verdict.as_dict(), allow_nan=False)


class TestAdvice:
    """One change at a time, never what is set already."""

    @staticmethod
    def first(evidence: Evidence, **settings: Any) -> Any:
        return judge(replace(evidence, settings={**evidence.settings, **settings})).advice[0]

    def test_names_setting_value_effect_and_cost(self) -> None:
        evidence = replace(histories.undertrained(), state={"seconds": {"training": 10.0}})
        advice = judge(evidence).advice[0]
        assert (advice.setting, advice.value, advice.now) == ("epochs", 40, 20)
        assert (advice.training, advice.validation) == ("falls", "falls")
        assert advice.seconds == pytest.approx(20)

    def test_is_a_command_where_the_run_can_be_repeated(self) -> None:
        evidence = replace(histories.undertrained(), where="runs/a b", source="photos")
        assert self.first(evidence).command == "sightline train photos --config 'runs/a b/settings.toml' --epochs 40"
        named = self.first(evidence, name="mine").command
        assert named.endswith("--epochs 40 --name mine-epochs")
        wider = replace(histories.flat(), where="runs/a", source="photos")
        assert self.first(wider).command.endswith("--option width=2")
        assert self.first(replace(evidence, source="")).command == ""

    def test_never_what_is_set_already(self) -> None:
        second = judge(histories.overconfident()).advice[1]
        assert second.setting == "ema"
        averaged = judge(replace(histories.overconfident(), settings={"ema": 0.9})).advice[1]
        assert averaged.setting == "dropout"
        assert averaged.instead == ("smooth the labels by 0.1",)
        dropped = replace(histories.overconfident(), settings={"ema": 0.9, "dropout": 0.5})
        assert judge(dropped).advice[1].setting == "label_smoothing"
        verdict = judge(
            replace(
                histories.overfitted(), settings={"augment": "strong,mixup=0.2", "dropout": 0.5, "weight_decay": 0.5}
            )
        )
        assert not {advice.setting for advice in verdict.advice} & {"augment", "dropout", "weight_decay"}

    def test_a_rise_whose_best_weights_are_kept_is_answered_by_a_vote_of_the_same_settings(self) -> None:
        evidence = replace(
            histories.overconfident(), where="runs/a b", source="photos", state={"seconds": {"training": 10.0}}
        )
        advice = self.first(evidence, model="mlp")
        assert (advice.setting, advice.value, advice.seconds) == ("", 5, 50.0)
        assert advice.command == "sightline vote 'runs/a b' --members 5"

    def test_augmentation_comes_early_where_there_is_none_and_the_network_can_follow(self) -> None:
        plain = replace(histories.overconfident(), settings={"augment": "none"})
        assert [each.value for each in judge(plain).advice][:2] == [5, "light"]
        linear = replace(plain, settings={"augment": "none", "model": "logistic"})
        assert judge(linear).advice[1].setting == "ema"

    def test_augmentation_comes_first_where_copies_promise_it_and_not_at_all_where_they_threaten(self) -> None:
        plain = replace(histories.overconfident(), settings={"augment": "none"})

        def told(low: float, high: float, now: str = "none") -> tuple[Advice, ...]:
            promise = {"now": now, "then": "light", "value": (low + high) / 2, "low": low, "high": high}
            return judge(replace(plain, probes={**plain.probes, "promise": promise})).advice

        first = told(0.05, 0.19)[0]
        assert (first.setting, first.value) == ("augment", "light")
        assert "by 12% (5% to 19%)" in first.sentence
        assert [each.value for each in told(-0.02, 0.1)][:2] == [5, "light"], "nobody knows"
        assert [each.value for each in told(0.05, 0.19, now="strong")][:2] == [5, "light"], "asked of another training"
        assert not any(each.setting == "augment" for each in told(-0.2, -0.05))

    def test_only_what_the_network_has(self) -> None:
        flat = histories.flat()
        assert self.first(flat, model="mlp").setting == "options.width"
        for advice in judge(replace(flat, settings={**flat.settings, "model": "logistic"})).advice:
            assert not advice.setting.startswith("options.")
        linear = self.first(flat, model="logistic")
        assert (linear.setting, linear.value, linear.now) == ("model", "mlp", "logistic")

    def test_equals_are_alternatives_and_no_setting_comes_twice(self) -> None:
        assert any(each.instead for each in judge(histories.flat()).advice)
        advice = judge(histories.overfitted()).advice
        settings = [each.setting for each in advice]
        assert len(settings) == len(set(settings))

    def test_stopping_early_only_where_the_best_weights_are_not_kept(self) -> None:
        assert all(each.setting != "epochs" for each in judge(histories.overfitted()).advice)
        foreign = replace(histories.overfitted(), best_kept=False)
        assert judge(foreign).advice[0].setting == "epochs"


@pytest.mark.parametrize("code", TERMS)
def test_every_finding_has_a_page_that_the_index_links(code: str) -> None:
    root = Path(__file__).parents[2]
    text = (root / page(code)).read_text(encoding="utf-8")
    assert f"`{code}`" in text
    assert TERMS[code].idea in text
    assert f"({Path(page(code)).name})" in (root / "docs" / "diagnosis" / "index.md").read_text(encoding="utf-8")


def test_a_steep_start_promises_no_more_than_trainings_twice_as_long_gave() -> None:
    """A loss that fell twentyfold in five epochs does not fall by another 98 %."""
    verdict = judge(histories.make([2.0, 1.2, 0.5, 0.2, 0.08], [1.98, 1.18, 0.48, 0.19, 0.078]))
    steep = [finding for finding in verdict.findings if finding.code == "fit/undertrained"]
    for gain in (finding.evidence["gain"] for finding in steep):
        assert gain["high"] < 0.85
        assert gain["high"] - gain["low"] > 0.2, "what a forecast misses by belongs to its interval"


def batch(own: float, usual: float) -> dict[str, Any]:
    """Make up what the probes say of a batch: the loss that is left with the run's own rate, and with a usual one."""

    def tried(left: float) -> dict[str, Any]:
        verdict = "fitted" if left < 0.2 else "falling" if left < 0.97 else "unmoved"
        return {"verdict": verdict, "first": 2.3, "last": 2.3 * left, "steps": 40, "images": 16}

    return {"one_batch": {"own": tried(own), "reference": tried(usual)}}


def test_a_network_without_room_for_one_batch_is_too_small_though_it_creeps() -> None:
    creeping = histories.make(np.linspace(2.25, 2.0, 30), np.linspace(2.24, 1.95, 30))
    looks = [{"epoch": 1.0, "lr": 1e-3, "update/dense1": 0.02}]
    verdict = judge(replace(creeping, instruments=looks, probes=batch(0.8, 0.9)))
    assert verdict.cause == "too little capacity"
    assert verdict.findings[0].evidence["squeezed"] == pytest.approx(0.8)
    roomy, short = batch(0.1, 0.9), [{**looks[0], "update/dense1": 1e-4}]
    for other in (replace(creeping, instruments=looks, probes=roomy), replace(creeping, instruments=short)):
        assert not any("squeezed" in finding.evidence for finding in judge(other).findings)


def test_what_was_learnt_by_heart_in_the_end_is_not_called_unfitted() -> None:
    """Validation is best early, when little is fitted, and its rise is uncertain; what came after it counts, too."""
    valid = np.concatenate([np.linspace(2.3, 1.6, 8), np.linspace(1.6, 1.7, 22)])
    for end in (0.003, 1.0):
        fitted = np.concatenate([np.linspace(2.3, 1.5, 8), np.geomspace(1.4, end, 22)])
        assert judge(histories.make(valid, fitted, images=40, noise=0.05)).kind != "underfitted"


def test_long_steps_that_lead_straight_down_are_not_too_long() -> None:
    """The weights of a linear classifier may begin at zero: any first step is long beside them."""
    curve = np.geomspace(3.0, 1.3, 30)
    looks = [{"epoch": 1.0, "lr": 1e-3, "update/linear": 0.3}]
    steady = replace(histories.make(curve * 1.02, curve), instruments=looks)
    assert not any(finding.code == "training/rate-too-high" for finding in judge(steady).findings)
    rough = curve * np.where(np.arange(30) % 2, 1.2, 1.0)
    shaken = replace(histories.make(rough * 1.02, rough), instruments=looks)
    assert any(finding.code == "training/rate-too-high" for finding in judge(shaken).findings)
    better = {"reference": {"name": "a nearest-neighbour classifier", "accuracy": 0.9, "images": 400}}
    astray = replace(steady, probes=better)
    assert any(finding.code == "training/rate-too-high" for finding in judge(astray).findings)


@pytest.mark.parametrize(("update", "value"), [(1e-4, 0.03), (0.3, 1e-5), (2e-3, None), (None, 1e-4)])
def test_a_rate_that_learnt_nothing_is_turned_towards_usual_steps(update: float | None, value: float | None) -> None:
    still = histories.make(np.full(12, 2.31), np.full(12, 2.305))
    looks = [] if update is None else [{"epoch": 1.0, "lr": 1e-3, "update/dense1": update}]
    found = UNSTUCK.value(Measures(replace(still, instruments=looks)))
    assert found == (value if value is None else pytest.approx(value))


def test_large_first_weights_are_the_cause_of_what_was_learnt_slowly() -> None:
    slow, layers = histories.falling(30, 2.3, 0.8, 3), {"dense1": 11.3, "head": 8.0}
    evidence = replace(histories.make(slow, slow * 0.9), probes={"first_weights": {"scale": 9.6, "layers": layers}})
    assert judge(evidence).cause == "the first weights are too large"
    usual = {"first_weights": {"scale": 1.4, "layers": {"dense1": 1.4}}}
    assert judge(replace(evidence, probes=usual)).cause != "the first weights are too large"


def test_large_first_weights_are_the_cause_of_what_training_images_still_cost() -> None:
    """A norm hides them from the loss, and most was learnt; but validation costs no more than training does."""
    fell = histories.falling(30, 2.3, 0.2)
    evidence = histories.make(fell * 1.01, fell, probes={"first_weights": {"scale": 9.6, "layers": {"dense1": 9.6}}})
    assert judge(evidence).cause == "the first weights are too large"
    overlearnt = replace(histories.healthy(), probes=evidence.probes)
    assert judge(overlearnt).cause != "the first weights are too large"


def test_what_is_used_is_not_what_was_trained() -> None:
    still, falls = np.full(10, 2.3), histories.falling(10, 2.3, 0.3)
    looks = [{"epoch": 10.0, "train_mode_loss": 0.4, "eval_mode_loss": 2.3}]
    evidence = histories.make(still, still, train=falls, instruments=looks)
    verdict = judge(evidence)
    assert (verdict.kind, verdict.cause) == ("broken", "training and evaluation differ")
    assert (verdict.advice[0].setting, verdict.advice[0].value) == ("options.norm", "group")
    small = judge(replace(evidence, settings={**evidence.settings, "batch_size": 4})).advice[0]
    assert (small.setting, small.value) == ("batch_size", 32)
    mild = replace(histories.healthy(), instruments=[{**looks[0], "train_mode_loss": 0.4, "eval_mode_loss": 0.7}])
    assert judge(mild).kind != "broken"


def test_dead_units_are_the_cause_of_a_batch_that_cannot_be_fitted() -> None:
    stuck = histories.make(np.full(10, 2.303), np.full(10, 2.3026), accuracy=np.full(10, 0.1))
    looks = [{"epoch": 1.0, "lr": 1e-3, "dead/act1": 1.0}]
    assert judge(replace(stuck, instruments=looks, probes=batch(0.99, 0.99))).cause == "units are dead"
    assert judge(replace(stuck, probes=batch(0.99, 0.99))).cause == "it cannot fit even one batch"


def test_what_is_gap_is_not_promised() -> None:
    """Two runs fall alike; in one the training images have nothing left to teach."""
    valid = histories.falling(20, 2.3, 1.0, 1.5)
    common = judge(histories.make(valid, valid * 0.9))
    apart = judge(histories.make(valid, valid * np.linspace(0.9, 0.1, 20)))
    assert common.cause == "trained too short"
    assert apart.cause != "trained too short"


def test_a_loss_far_above_guessing_is_not_called_what_guessing_costs() -> None:
    wild = histories.make(np.geomspace(300, 4500, 8), np.geomspace(300, 4500, 8))
    said = {finding.code: finding.message for finding in judge(wild).findings}
    assert "never fell below 300 nats, where guessing costs less (ln 10 = 2.3)" in said["training/learnt-nothing"]
    assert "to 4,950 nats" in said["training/diverged"]
    still = histories.make(np.full(8, 2.31), np.full(8, 2.305), accuracy=np.full(8, 0.1))
    assert any("which is what guessing costs" in finding.message for finding in judge(still).findings)
