"""Random numbers: the same for ever, uniform, and independent of each other along every axis."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sightline.data.randomness import Purpose, bits, normals, shuffled, uniforms

ROWS = np.arange(20_000)


def test_known_values_never_change() -> None:
    """Runs in the wild resume by these numbers: a change here breaks them."""
    assert [hex(v) for v in bits(0, 0, np.array([0, 1]), 2, purpose="order").ravel().tolist()] == [
        "0x78ae5a9a6b5fd45e", "0xb9895a2b68592df1", "0xc81c5515e3584727", "0x313bc59404eea29e",
    ]  # fmt: skip
    assert uniforms(7, 3, np.array([123456789]), 2, purpose="flip").tolist() == [
        [0.6757138158766052, 0.46964809176984346]
    ]
    assert shuffled(1, 2, np.arange(8)).tolist() == [4, 1, 3, 2, 6, 7, 5, 0]
    assert normals(0, 0, np.array([5]), 3, purpose="noise").tolist()[0] == pytest.approx(
        [-1.02688897, -0.67914784, -1.76825786], rel=1e-5
    )


def test_splitmix_is_the_published_generator() -> None:
    """The first outputs of SplitMix64 from state 0, as its reference implementation prints them."""
    from sightline.data.randomness import _GOLDEN, _mix

    states = np.arange(1, 4, dtype=np.uint64) * np.uint64(_GOLDEN)
    assert _mix(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize("purpose", get_args(Purpose))
def test_uniform_for_every_purpose(purpose: Purpose) -> None:
    drawn = uniforms(0, 0, ROWS, 2, purpose=purpose)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-4
    counts = np.histogram(drawn, bins=64, range=(0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-4


def test_every_bit_is_fair() -> None:
    ones = ((bits(3, 1, ROWS, 1, purpose="crop") >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).mean(axis=0)
    assert abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(len(ROWS))


def test_draws_rows_epochs_seeds_and_purposes_are_independent() -> None:
    base = uniforms(0, 0, ROWS, 3, purpose="shift")
    others = [
        base[:, 1],  # the next draw
        np.roll(base[:, 0], 1),  # the next row
        uniforms(0, 1, ROWS, 1, purpose="shift")[:, 0],
        uniforms(1, 0, ROWS, 1, purpose="shift")[:, 0],
        uniforms(0, 0, ROWS, 1, purpose="crop")[:, 0],
        uniforms(0, 0, ROWS + (1 << 40), 1, purpose="shift")[:, 0],  # the second time a row is listed
    ]
    for other in others:
        pairs = np.histogram2d(base[:, 0], other, bins=8, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(pairs.ravel()).pvalue > 1e-4
        assert abs(np.corrcoef(base[:, 0], other)[0, 1]) < 5 / np.sqrt(len(ROWS))


def test_one_flipped_bit_of_the_input_flips_half_of_the_output() -> None:
    rows = np.arange(500)
    base = bits(0, 0, rows, 1, purpose="order")
    for shift in range(0, 62, 5):
        changed = base ^ bits(0, 0, rows ^ (1 << shift), 1, purpose="order")
        flipped = ((changed >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).mean()
        assert 0.48 < flipped < 0.52


@given(st.integers(0, 2**31), st.integers(0, 1000), st.permutations(range(12)), st.integers(1, 12))
def test_a_row_has_its_numbers_in_any_company(seed: int, epoch: int, order: list[int], count: int) -> None:
    rows = np.array(order)
    whole = uniforms(seed, epoch, np.arange(12), 3, purpose="scale")
    assert (uniforms(seed, epoch, rows[:count], 3, purpose="scale") == whole[rows[:count]]).all()
    assert (uniforms(seed, epoch, rows[:count], 2, purpose="scale") == whole[rows[:count], :2]).all()


def test_normals_are_normal_and_match_whatever_the_company() -> None:
    drawn = normals(0, 0, np.arange(64), 501, purpose="noise")
    assert drawn.shape == (64, 501)
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-4
    alone = normals(0, 0, np.array([7]), 501, purpose="noise")
    assert alone.flatten().tolist() == pytest.approx(drawn[7].tolist(), abs=1e-5)


@given(st.integers(0, 2**31), st.integers(0, 99), st.integers(0, 200))
def test_a_shuffle_is_a_permutation(seed: int, epoch: int, count: int) -> None:
    assert sorted(shuffled(seed, epoch, np.arange(count))) == list(range(count))


def test_every_place_is_as_likely() -> None:
    first = [int(shuffled(0, epoch, np.arange(10))[0]) for epoch in range(2000)]
    assert stats.chisquare(np.bincount(first, minlength=10)).pvalue > 1e-4


def test_leaving_rows_out_keeps_the_order_of_the_others() -> None:
    rows = np.arange(100)
    some = rows[rows % 3 > 0]
    whole = rows[shuffled(4, 2, rows)]
    assert (some[shuffled(4, 2, some)] == whole[whole % 3 > 0]).all()
