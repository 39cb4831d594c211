"""Losses against torch's own and against their definitions; penalties; refusals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from sightline.errors import SettingsError, SourceError
from sightline.losses import LOSSES, Trimmed, loss


def batch(seed: int, size: int = 7, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, classes, generator=generator), torch.randint(classes, (size,), generator=generator)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
def test_soft_and_hard_targets_agree_with_torch(seed: int, smoothing: float, weighted: bool) -> None:
    yhat, y = batch(seed)
    weights = torch.rand(5, generator=torch.Generator().manual_seed(seed)) + 0.1 if weighted else None
    mine = loss("cross-entropy", label_smoothing=smoothing, class_weights=weights)
    wanted = F.cross_entropy(yhat, y, weight=weights, label_smoothing=smoothing)
    torch.testing.assert_close(mine(yhat, y), wanted)
    torch.testing.assert_close(mine(yhat, F.one_hot(y, 5).float()), wanted)


def test_mixed_targets_are_the_mixture_of_losses() -> None:
    yhat, y = batch(0)
    other = y.roll(1)
    soft = 0.3 * F.one_hot(y, 5) + 0.7 * F.one_hot(other, 5)
    mine = loss("cross-entropy")
    torch.testing.assert_close(mine(yhat, soft), 0.3 * mine(yhat, y) + 0.7 * mine(yhat, other))


def test_validation_is_plain_whatever_the_training_is_regularised_with() -> None:
    yhat, y = batch(1)
    plain = F.cross_entropy(yhat, y, reduction="none")
    for mine in (loss("cross-entropy"), loss("cross-entropy", label_smoothing=0.2, class_weights=[1, 2, 3, 4, 5])):
        torch.testing.assert_close(mine.per_example(yhat, y), plain)
        torch.testing.assert_close(mine.per_example(yhat, F.one_hot(y, 5).float()), plain)


def test_an_untrained_network_loses_ln_k() -> None:
    assert float(loss("cross-entropy")(torch.zeros(3, 10), torch.tensor([0, 4, 9]))) == pytest.approx(math.log(10))


def test_a_network_that_gives_a_map_is_averaged_over_its_places() -> None:
    yhat, y = torch.randn(2, 5, 4, 4), torch.randint(5, (2, 4, 4))
    mine = loss("cross-entropy")
    torch.testing.assert_close(mine(yhat, y), F.cross_entropy(yhat, y))
    assert mine.per_example(yhat, y).shape == (2,)


def test_several_labels() -> None:
    yhat, _ = batch(2)
    y = torch.randint(2, (7, 5))
    torch.testing.assert_close(loss("bce")(yhat, y), F.binary_cross_entropy_with_logits(yhat, y.float()))
    smooth = loss("bce", label_smoothing=0.2)
    torch.testing.assert_close(smooth(yhat, y), F.binary_cross_entropy_with_logits(yhat, y * 0.8 + 0.1))
    weighted = loss("bce", class_weights=[1.0, 2.0, 3.0, 4.0, 5.0])
    wanted = F.binary_cross_entropy_with_logits(yhat, y.float(), pos_weight=torch.arange(1.0, 6.0))
    torch.testing.assert_close(weighted(yhat, y), wanted)
    torch.testing.assert_close(weighted.per_example(yhat, y).mean(), loss("bce")(yhat, y))
    assert loss("bce").per_example(yhat[:, 0], y[:, 0]).shape == (7,)


def test_numbers() -> None:
    yhat, y = torch.randn(6, 3), torch.randn(6, 3)
    torch.testing.assert_close(loss("mse")(yhat, y), F.mse_loss(yhat, y))
    assert loss("mse").per_example(yhat, y).shape == (6,)
    torch.testing.assert_close(loss("mse")(yhat[:, :1], y[:, 0]), F.mse_loss(yhat[:, 0], y[:, 0]))


def test_gaussian_likelihood() -> None:
    mean, log_variance, y = torch.randn(3, 6, 2)
    wanted = -torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(y).mean()
    mine = loss("gaussian-nll")
    torch.testing.assert_close(mine(torch.cat([mean, log_variance], dim=1), y), wanted)
    torch.testing.assert_close(mine((mean, log_variance), y), wanted)
    assert mine.per_example(torch.randn(6, 2), torch.randn(6)).shape == (6,)
    assert torch.isfinite(mine(torch.tensor([[0.0, -1e9]]), torch.zeros(1)))


@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_out_of_range_is_named(label: int) -> None:
    yhat, y = batch(3)
    y[2] = label
    with pytest.raises(SourceError, match=f"label {label} is out of range: the network gives 5 logits"):
        loss("cross-entropy")(yhat, y)


@pytest.mark.parametrize(
    "y", [torch.zeros(7), torch.zeros(7, 1, dtype=torch.long), torch.zeros(6, dtype=torch.long), torch.zeros(7, 4)]
)
def test_targets_that_do_not_fit_are_refused(y: torch.Tensor) -> None:
    with pytest.raises(SourceError, match=r"logits of shape \(7, 5\)"):
        loss("cross-entropy")(batch(0)[0], y)


def test_all_against_all_is_refused() -> None:
    with pytest.raises(SourceError, match="all would be compared with all"):
        loss("mse")(torch.zeros(5, 2), torch.zeros(5))


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("cross_entropy", {}, "Did you mean 'cross-entropy'"),
        ("mse", {"label_smoothing": 0.1}, "has no classes"),
        ("gaussian-nll", {"class_weights": [1.0]}, "has no classes"),
        ("cross-entropy", {"label_smoothing": 1.0}, "'label_smoothing' is 1.0"),
        ("cross-entropy", {"class_weights": [1.0, -1.0]}, "'class_weights' are"),
        ("bce", {"class_weights": [float("nan")]}, "'class_weights' are"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict[str, float], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        loss(name, **options)


def test_as_many_weights_as_classes() -> None:
    with pytest.raises(SettingsError, match="2 class weights, but the network gives 5 logits"):
        loss("cross-entropy", class_weights=[1.0, 2.0])(*batch(0))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_words_and_no_state_to_save(name: str) -> None:
    entry = LOSSES[name]
    assert entry.description
    assert entry.distribution
    mine = entry.builder(0.1, [1.0, 2.0]) if entry.for_classes else entry.builder()
    assert mine.state_dict() == {}


def hardest(yhat: torch.Tensor, y: torch.Tensor, count: int) -> torch.Tensor:
    return F.cross_entropy(yhat, y, reduction="none").argsort(descending=True)[:count]


@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9]), st.booleans())
def test_the_hardest_get_no_gradient(seed: int, size: int, share: float, soft: bool) -> None:
    yhat, y = batch(seed, size)
    yhat.requires_grad_()
    target = F.one_hot(y, 5).float() if soft else y
    mine = Trimmed(loss("cross-entropy", label_smoothing=0.1), share)
    mine(yhat, target).backward()
    count = int(share * size)
    out = set(hardest(yhat.detach(), y, count).tolist())
    assert {row for row in range(size) if not yhat.grad[row].any()} == out  # type: ignore[index]
    kept = [row for row in range(size) if row not in out]
    wanted = loss("cross-entropy", label_smoothing=0.1)(yhat[kept], y[kept])
    torch.testing.assert_close(mine(yhat, target), wanted)
    torch.testing.assert_close(mine.per_example(yhat, y), F.cross_entropy(yhat, y, reduction="none"))


def test_trimming_begins_late_and_goes_on_where_it_was() -> None:
    yhat, y = batch(3, 10)
    plain, mine = loss("cross-entropy"), Trimmed(loss("cross-entropy"), 0.2, begins=3)
    values = [mine(yhat, y).item() for _ in range(3)]
    assert values == [plain(yhat, y).item()] * 3
    other = Trimmed(loss("cross-entropy"), 0.2, begins=3)
    other.load_state_dict(mine.state_dict())
    assert mine(yhat, y).item() == other(yhat, y).item() < values[0]


def test_trimming_hides_no_nan() -> None:
    yhat, y = batch(3, 10)
    yhat[4] = math.nan
    assert Trimmed(loss("cross-entropy"), 0.2)(yhat, y).isnan()
    yhat, y = torch.randn(10, 4), torch.randn(10, 2)
    assert Trimmed(loss("gaussian-nll"), 0.2)(tuple(yhat.chunk(2, dim=1)), y).isfinite()


@pytest.mark.parametrize(("share", "begins"), [(-0.1, 0), (1.0, 0), (math.nan, 0), (0.1, -1)])
def test_what_cannot_be_trimmed_is_refused(share: float, begins: int) -> None:
    with pytest.raises(SettingsError, match="cannot be trimmed"):
        Trimmed(loss("cross-entropy"), share, begins)
