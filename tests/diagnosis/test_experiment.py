"""Paired differences: intervals that hold for few seeds, and words that follow from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.diagnosis.experiment import MEASURES, Score, Word, contrast, spread

ACCURACY, LOSS, TIME, ERROR = (MEASURES[n] for n in ("test_accuracy", "valid_loss", "train_seconds", "train_error"))


def plain(*values: float) -> list[Score]:
    return [Score(value) for value in values]


def scored(right: NDArray[np.float64], trained: int = 0, own_rows: bool = False) -> list[Score]:
    """Right answers (seeds, examples) -> scores."""
    return [Score(float(r.mean()), r, f"rows{s * own_rows}", trained) for s, r in enumerate(right)]


def answers(
    generator: np.random.Generator, seeds: int, examples: int, mean: float, of_seeds: float, of_examples: float
) -> NDArray[np.float64]:
    """Draw right and wrong answers of trainings whose ability varies with seed and example."""
    ability = mean + generator.normal(0, of_seeds, (seeds, 1)) + generator.normal(0, of_examples, examples)
    return (generator.random((seeds, examples)) < ability.clip(0, 1)).astype(np.float64)


def test_students_interval_over_seeds() -> None:
    # Differences 1, 2, 3 hundredths: mean 2, standard error 1/sqrt(3), and 4.3027 of them with 2 degrees of freedom.
    found = contrast(plain(0.91, 0.93, 0.95), plain(0.90, 0.91, 0.92), ACCURACY)
    assert found.value == pytest.approx(0.02)
    assert found.high == pytest.approx(0.02 + 4.302653 * 0.01 / math.sqrt(3), abs=1e-7)
    assert found.low == pytest.approx(0.02 - 4.302653 * 0.01 / math.sqrt(3), abs=1e-7)
    assert (found.seeds, found.examples, found.word, found.better) == (3, 0, "may be luck", True)
    assert found.wanted is not None
    assert 4 <= found.wanted <= 6


def test_the_other_way_round_is_the_negative() -> None:
    generator = np.random.default_rng(0)
    a, b = (scored(answers(generator, 4, 200, mean, 0.02, 0.1)) for mean in (0.8, 0.7))
    there, back = contrast(a, b, ACCURACY), contrast(b, a, ACCURACY)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    assert (there.better, back.better) == (True, False)
    assert there.word == back.word


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ((0.030, 0.031, 0.032, 0.029, 0.030), "real"),
        ((0.001, 0.001, 0.002, 0.001, 0.001), "too small to matter"),
        ((0.000, 0.001, -0.001, 0.000, 0.001), "too small to matter"),
        ((0.030, -0.020, 0.050, -0.01, 0.000), "may be luck"),
        ((0.030,), "may be luck"),
    ],
)
def test_words(differences: tuple[float, ...], word: Word) -> None:
    found = contrast(plain(*(0.8 + d for d in differences)), plain(*(0.8 for _ in differences)), ACCURACY)
    assert found.word == word


def test_less_is_better_for_losses_errors_and_times() -> None:
    for measure in (LOSS, ERROR, TIME):
        assert contrast(plain(0.2, 0.21), plain(0.4, 0.41), measure).better is True
    assert contrast(plain(0.2, 0.2), plain(0.2, 0.2), LOSS).better is None


def test_what_matters_is_relative_for_losses_and_times() -> None:
    assert contrast(plain(1.002, 1.003, 1.001), plain(1, 1, 1), LOSS).word == "too small to matter"
    assert contrast(plain(0.112, 0.113, 0.111), plain(0.1, 0.1, 0.1), LOSS).word == "real"
    assert contrast(plain(102, 103, 101), plain(100, 100, 100), TIME).word == "too small to matter"
    assert contrast(plain(202, 203, 201), plain(100, 100, 100), TIME).value == pytest.approx(math.log(2.02), abs=1e-3)
    assert contrast(plain(0.82, 0.82, 0.83), plain(0.8, 0.8, 0.8), ACCURACY, matters=0.1).word == "too small to matter"


def test_more_comparisons_widen_every_interval() -> None:
    ours, theirs = plain(0.91, 0.93, 0.95), plain(0.90, 0.91, 0.92)
    one, six = (contrast(ours, theirs, ACCURACY, comparisons=n) for n in (1, 6))
    assert six.low is not None
    assert one.low is not None
    assert six.low < one.low
    # Bonferroni: two degrees of freedom, 1 - 0.05 / 12.
    assert six.value - six.low == pytest.approx(10.8859 * 0.01 / math.sqrt(3), rel=1e-4)


def test_one_seed_has_an_interval_over_examples_and_claims_nothing() -> None:
    ours, theirs = np.ones((1, 400)), np.ones((1, 400))
    theirs[0, :40] = 0
    found = contrast(scored(ours), scored(theirs), ACCURACY)
    assert found.value == pytest.approx(0.1)
    assert found.low is not None
    assert found.low > 0.05
    assert (found.word, found.seeds, found.examples) == ("may be luck", 1, 400)
    assert contrast(plain(0.9), plain(0.8), ACCURACY).low is None


def test_two_that_agree_on_every_example_are_not_held_to_agree_for_ever() -> None:
    same = np.ones((1, 100))
    found = contrast(scored(same), scored(same), ACCURACY)
    assert found.high is not None
    assert 0.01 < found.high < 0.04  # by the rule of three, 3 of 100
    many = contrast(scored(np.ones((5, 100))), scored(np.ones((5, 100))), ACCURACY)
    assert many.high is not None
    assert 0 < many.high < found.high


def test_examples_widen_the_interval_where_seeds_agree() -> None:
    generator = np.random.default_rng(3)
    ours, theirs = np.ones((5, 60)), np.ones((5, 60))
    theirs[:, generator.permutation(60)[:6]] = 0  # every seed fails on the same six
    found = contrast(scored(ours), scored(theirs), ACCURACY)
    assert found.low is not None
    assert 0.0 < found.low < 0.06
    apart = contrast(scored(ours, own_rows=True), scored(theirs, own_rows=True), ACCURACY)
    assert apart.low == pytest.approx(0.1)  # seeds with examples of their own: the spread of the seeds holds it all


def test_other_examples_are_not_paired_and_told() -> None:
    ours, theirs = scored(np.ones((2, 50))), [Score(0.9, np.ones(50), "other") for _ in range(2)]
    found = contrast(ours, theirs, ACCURACY)
    assert (found.apart, found.examples) == (True, 0)
    assert not contrast(ours, ours, ACCURACY).apart


def test_overlapping_training_sets_widen_the_interval() -> None:
    ours, theirs = np.ones((3, 100)), np.ones((3, 100))
    for seed, wrong in enumerate((5, 10, 15)):
        theirs[seed, :wrong] = 0
    new = contrast(scored(ours, 0, own_rows=True), scored(theirs, 0, own_rows=True), ACCURACY)
    again = contrast(scored(ours, 300, own_rows=True), scored(theirs, 300, own_rows=True), ACCURACY)
    assert new.low is not None
    assert again.low is not None
    assert (again.value - again.low) / (new.value - new.low) == pytest.approx(math.sqrt(1 + 3 * 100 / 300))


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("own_rows", [False, True])
def test_nothing_is_claimed_of_equals_more_than_it_may(seeds: int, own_rows: bool) -> None:
    """A/A: the same way of training twice; 400 experiments, of which 5 % may be called real."""
    generator = np.random.default_rng(seeds)
    claims = 0
    for _ in range(400):
        of_examples = generator.normal(0, 0.15, 300)
        a, b = (
            (generator.random((seeds, 300)) < (0.85 + generator.normal(0, 0.02, (seeds, 1)) + of_examples)).astype(
                float
            )
            for _ in range(2)
        )
        claims += contrast(scored(a, 1000, own_rows), scored(b, 1000, own_rows), ACCURACY).word == "real"
    assert claims <= 20 + 2 * math.sqrt(19)


def test_the_truth_is_inside() -> None:
    """B is two points better over all seeds and images; each experiment sees a few seeds and other images."""
    generator = np.random.default_rng(11)
    inside = found_it = 0
    for _ in range(300):
        gain = np.full(1000, 0.02) + generator.normal(0, 0.02, 1000)
        base = np.full(1000, 0.7) + generator.normal(0, 0.1, 1000)
        a = (generator.random((5, 1000)) < base + gain + generator.normal(0, 0.005, (5, 1))).astype(float)
        b = (generator.random((5, 1000)) < base + generator.normal(0, 0.005, (5, 1))).astype(float)
        found = contrast(scored(a), scored(b), ACCURACY)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0.02 <= found.high
        found_it += found.word == "real"
    assert inside >= 0.93 * 300
    assert found_it >= 0.3 * 300


def test_spread_of_an_arm() -> None:
    assert spread(plain(0.5)) == (0.5, None, None)
    mean, low, high = spread(plain(0.4, 0.5, 0.6))
    assert low is not None
    assert high is not None
    assert (mean, high - mean) == pytest.approx((0.5, 4.302653 * 0.1 / math.sqrt(3)), abs=1e-6)
