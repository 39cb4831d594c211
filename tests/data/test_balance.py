"""Balancing: the figures are those of the papers; what is drawn is even, seeded, and drawn from the training rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

from sightline.data.balance import METHODS, SKEWED, Balance, decide, draw, ratio, repeated_validation, repeats, skewed
from sightline.data.preprocess import Preprocessing
from sightline.data.stream import Stream
from sightline.errors import SettingsError

LABELS = np.repeat([0, 1, 2], [60, 12, 3])
IMAGES = np.random.default_rng(0).integers(0, 256, (len(LABELS), 6, 6, 1), dtype=np.uint8)
ROWS = np.arange(len(LABELS))
COUNTS = np.bincount(LABELS)

counts = st.lists(st.integers(1, 400), min_size=2, max_size=6).map(np.array)


def stream(balance: str, seed: int = 0, **changes: Any) -> Stream:
    drawn = draw(Balance.parse(balance), IMAGES, LABELS, ROWS, seed=seed, classes=["a", "b", "c"])
    preprocessing = Preprocessing("image", 1, (6, 6)).fit(IMAGES, ROWS)
    how = {"batch_size": 16, "seed": seed, "chances": drawn.chances, "invented": drawn.invented}
    return Stream(IMAGES, LABELS, drawn.rows, preprocessing, **{**how, **changes})


@given(counts)
def test_inverse_frequency_is_what_scikit_learn_calls_balanced(counts: NDArray[np.int64]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    assert Balance("weights").class_weights(counts) == pytest.approx(expected)


@given(counts, st.floats(0, 1))
def test_weights_have_mean_one_over_the_examples_and_never_favour_the_larger(
    counts: NDArray[np.int64], beta: float
) -> None:
    weights = np.array(Balance("weights", beta=beta).class_weights(counts))
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)
    order = np.argsort(counts)
    assert (np.diff(weights[order]) <= 1e-9 * weights.max()).all()


def test_the_effective_number_of_images() -> None:
    """Cui et al. 2019, eq. 2: (1 - beta^n) / (1 - beta)."""
    weights = np.array(Balance("weights", beta=0.9).class_weights(np.array([1, 2, 10])))
    effective = np.array([1, 1.9, (1 - 0.9**10) / 0.1])
    assert weights * effective == pytest.approx(weights[0])
    assert Balance("weights", beta=0).class_weights(np.array([7, 70])) == [1, 1]


def test_a_class_without_training_images_weighs_nothing_and_shifts_no_other() -> None:
    assert Balance("weights").class_weights(np.array([4, 0, 2])) == pytest.approx([0.75, 0, 1.5])
    assert Balance("logits").offsets(np.array([4, 0, 4])) == pytest.approx(
        [math.log(share) for share in (0.5, 0.125, 0.5)]
    )


@given(counts, st.floats(0, 3))
def test_offsets_are_the_log_of_the_shares(counts: NDArray[np.int64], tau: float) -> None:
    assert Balance("logits", tau=tau).offsets(counts) == pytest.approx(tau * np.log(counts / counts.sum()))


@pytest.mark.parametrize("method", METHODS)
def test_each_method_acts_at_one_place(method: str) -> None:
    balance = Balance(method)
    drawn = draw(balance, IMAGES, LABELS, ROWS, seed=0, classes=["a", "b", "c"])
    acts = [
        balance.class_weights(COUNTS) is not None,
        balance.offsets(COUNTS) is not None,
        drawn.chances is not None,
        len(drawn.rows) != len(ROWS),
        drawn.invented is not None,
    ]
    assert sum(acts) == (method != "none")
    assert balance.epoch_length(COUNTS) == len(drawn.rows) + (len(drawn.invented.first) if drawn.invented else 0)
    assert METHODS[method].description


@given(counts, st.integers(0, 5))
def test_repeats_make_classes_even_and_turn_by_turn(counts: NDArray[np.int64], seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)[::-1]
    rows = np.arange(len(labels))[::2]
    if len(np.unique(labels[rows])) == 0:
        return
    both = np.concatenate([rows, repeats(labels, rows, seed)])
    after = np.bincount(labels[both], minlength=len(counts))
    assert set(after) <= {0, np.bincount(labels[rows]).max()}
    times = np.bincount(both, minlength=len(labels))[rows]
    for k in np.unique(labels[rows]):
        assert np.ptp(times[labels[rows] == k]) <= 1
    assert set(both) == set(rows)


def test_repeats_differ_by_augmentation() -> None:
    from sightline.data.augment import Augment

    batches = list(stream("oversample", augment=Augment(noise=0.1), shuffle=False))
    x, y = (torch.cat(column) for column in zip(*batches, strict=True))
    assert torch.bincount(y).tolist() == [60, 60, 60]
    rare = x[y == 2].flatten(1)
    assert len(torch.unique(rare, dim=0)) == 60  # three images, each twenty times, never the same


def test_the_sampler_draws_classes_evenly_and_anew_each_epoch() -> None:
    batches = stream("sampler")
    epochs = [torch.cat([y for _, y in batches]) for _ in range(40)]
    shares = torch.bincount(torch.cat(epochs)) / (40 * len(LABELS))
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=4 * math.sqrt(2 / 9 / (40 * len(LABELS))))
    assert not torch.equal(epochs[0], epochs[1])


@given(st.integers(0, 3), st.integers(0, 4), st.integers(0, 99))
def test_the_sampler_continues_where_it_was(epoch: int, step: int, seed: int) -> None:
    whole, late = stream("sampler", seed), stream("sampler", seed)
    for _ in range(epoch):
        list(whole)
    expected = list(whole)
    late.load_state_dict({"epoch": epoch, "step": step})
    for (x, y), (x_late, y_late) in zip(expected[step:], late, strict=True):
        assert torch.equal(x, x_late)
        assert torch.equal(y, y_late)


def test_a_row_drawn_twice_in_an_epoch_is_augmented_twice() -> None:
    from sightline.data.augment import Augment

    x, y = (torch.cat(column) for column in zip(*stream("sampler", augment=Augment(noise=0.1)), strict=True))
    rare = x[y == 2].flatten(1)
    assert len(rare) > 3
    assert len(torch.unique(rare, dim=0)) == len(rare)


def test_a_row_without_a_chance_is_never_drawn() -> None:
    chances = np.where(np.arange(len(ROWS)) % 2, 1.0, 0.0)
    preprocessing = Preprocessing("image", 1, (6, 6)).fit(IMAGES, ROWS)
    batches = Stream(IMAGES, ROWS, ROWS, preprocessing, batch_size=16, chances=chances)
    for _ in range(20):
        assert all((y % 2 == 1).all() for _, y in batches)


@pytest.mark.parametrize("chances", [[1.0], [-1.0] * 75, [0.0] * 75, [math.nan] * 75, [[1.0]] * 75])
def test_impossible_chances_are_refused(chances: list[float]) -> None:
    preprocessing = Preprocessing("image", 1, (6, 6)).fit(IMAGES, ROWS)
    with pytest.raises(SettingsError, match="chances"):
        Stream(IMAGES, LABELS, ROWS, preprocessing, batch_size=16, chances=np.array(chances))


@given(counts)
def test_auto_leaves_even_classes_alone_and_says_why(counts: NDArray[np.int64]) -> None:
    chosen, reason = decide(None, counts, "image")
    assert (chosen.method == "none") == (not skewed(counts))
    assert f"{ratio(counts):.1f}" in reason
    assert decide("auto", counts, "image") == (chosen, reason)
    assert decide("sampler", counts, "image") == (Balance("sampler"), "")


def test_skew_is_told_from_the_classes_that_have_images() -> None:
    assert not skewed(np.array([50, 0, 11]))
    assert skewed(np.array([50, 0, 10]))
    assert ratio(np.array([50, 0, 10])) == SKEWED


@pytest.mark.parametrize("text", ["none", "weights,beta=0.999", "logits,tau=1.5", "smote,space=values,neighbours=3"])
def test_what_is_written_is_read_again(text: str) -> None:
    assert str(Balance.parse(text)) == text
    assert Balance.parse(str(Balance.parse(text))) == Balance.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wieghts", "Did you mean 'weights'"),
        ("", "no way to balance"),
        ("weights,bta=0.9", "Did you mean 'beta'"),
        ("weights,tau=1", "has no knob 'tau'"),
        ("none,beta=1", "Leave it out"),
        ("auto,beta=1", "Leave it out"),
        ("weights,beta=much", "Give a number"),
        ("weights,beta", "Give a number"),
        ("weights,beta=2", "0 to 1"),
        ("weights,beta=nan", "0 to 1"),
        ("logits,tau=-1", "0 to 10"),
        ("smote,neighbours=0", "1 or more"),
        ("smote,neighbours=2.5", "a whole number"),
        ("smote,space=moon", "Use one of: auto, values"),
        ("smote,single=drop", "Use one of: refuse, repeat"),
    ],
)
def test_wrong_words_are_told(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Balance.parse(text)
    assert words in str(caught.value)


def test_repeated_validation_is_told_with_numbers() -> None:
    finding = repeated_validation(np.array([60, 12, 3]))
    assert finding.severity == "warning"
    assert "75 become 180" in finding.message
