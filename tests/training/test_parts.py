"""The parts that know no trainer: stopping, schedules, history, moving averages, progress of an epoch."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tasks import same, weights
from torch import nn

from sightline.errors import RunError, SettingsError
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.training.examples import ExampleLosses
from sightline.training.history import History
from sightline.training.rate import Rate
from sightline.training.schedule import SCHEDULES, Plateau, Schedule, averaged_epochs, build, cycle_ends
from sightline.training.stopping import EarlyStopping, Patience, better
from sightline.training.tally import Tally

NUMBERS = st.lists(st.floats(-10, 10) | st.just(math.nan), max_size=30)


@pytest.mark.parametrize(
    ("losses", "patience", "delta", "stops_at"),
    [
        ([3, 2, 1, 1, 1], 2, 0.0, 5),  # equal is no improvement
        ([3, 2, 1, 0, 1], 2, 0.0, None),
        ([1.0, 0.95, 0.91, 0.85], 2, 0.1, 3),  # must fall below best - delta
        ([1.0, 0.95, 0.89, 0.85], 2, 0.1, None),
        ([math.nan, math.nan, 1.0], 2, 0.0, 2),
        ([1.0, math.nan, 0.5, math.nan, math.nan], 2, 0.0, 5),
        ([math.inf, 5.0], 1, 0.0, None),
        ([], 1, 0.0, None),
    ],
)
def test_patience(losses: list[float], patience: int, delta: float, stops_at: int | None) -> None:
    machine = Patience(patience, delta)
    found = None
    for number, loss in enumerate(losses, start=1):
        machine.see(loss)
        if machine.exhausted and found is None:
            found = number
    assert found == stops_at


@given(NUMBERS, st.integers(1, 5), st.floats(0, 2), st.booleans())
def test_patience_counts_what_lies_behind_the_best(
    values: list[float], patience: int, delta: float, lower: bool
) -> None:
    machine = Patience(patience, delta, lower)
    mirror = Patience(patience, delta, not lower)
    for value in values:
        before = machine.best
        improved = machine.see(value)
        assert improved == mirror.see(-value)
        assert machine.waited == mirror.waited
        assert machine.exhausted == (machine.waited >= patience)
        if improved:
            assert machine.best == value
            assert machine.waited == 0
            assert before is None or abs(value - before) > 0
        else:
            assert machine.best is before or machine.best == before
    numbers = [value for value in values if not math.isnan(value)]
    assert (machine.best is None) == (not numbers)
    if numbers and delta == 0:
        assert machine.best == (min if lower else max)(numbers)


@pytest.mark.parametrize(
    "values", [{"patience": 0}, {"patience": 1, "delta": -1.0}, {"patience": 1, "delta": math.nan}]
)
def test_patience_refuses(values: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="early stopping cannot have"):
        Patience(**values)  # type: ignore[arg-type]


def test_a_nan_is_never_better() -> None:
    assert not better(math.nan, None)
    assert not better(math.nan, 5.0)
    assert better(math.inf, None)


def test_early_stopping_saves_and_gives_back_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    stopping = EarlyStopping(tmp_path / "new", patience=2, verbose=True, save=True, progress=Progress(quiet=True))
    assert stopping.best_loss is None
    stopping(1.0, model)
    best = weights(model)
    model(torch.ones(1, 2)).sum().backward()
    for loss in (2.0, 3.0):
        optimizer.step()
        stopping(loss, model)
    assert (stopping.early_stop, stopping.counter, stopping.best_loss) == (True, 2, 1.0)
    assert stopping.path == RunFolder(tmp_path / "new").best
    assert stopping.get_best() is model
    assert same(weights(model), best)
    assert optimizer.param_groups[0]["params"][0] is model.weight
    EarlyStopping(tmp_path, verbose=True)(math.nan, model)
    assert "no improvement for 1 of 7 epochs (best none yet)" in capsys.readouterr().err


def test_early_stopping_goes_on_where_it_was(tmp_path: Path) -> None:
    one, other = EarlyStopping(tmp_path, patience=3), EarlyStopping(tmp_path, patience=3)
    model = nn.Linear(1, 1)
    for loss in (2.0, 1.0, 1.5):
        one(loss, model)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for loss in (1.4, 1.3):
        one(loss, model)
        other(loss, model)
    assert one.state_dict() == other.state_dict()
    assert other.early_stop


def test_early_stopping_without_saving_has_nothing_to_give(tmp_path: Path) -> None:
    stopping = EarlyStopping(tmp_path / "never")
    stopping(1.0, nn.Linear(1, 1))
    with pytest.raises(RunError, match="has saved no weights"):
        stopping.get_best()
    assert not (tmp_path / "never").exists()
    with pytest.raises(SettingsError, match="Did you mean 'patience'"):
        EarlyStopping.of({"patients": 3}, log_dir=tmp_path)


@given(
    st.sampled_from([name for name in SCHEDULES if name != "plateau"]),
    st.integers(1, 500),
    st.floats(0, 0.99),
    st.floats(1e-6, 10),
)
def test_every_schedule_rises_then_falls_and_is_never_negative(name: str, steps: int, warmup: float, lr: float) -> None:
    plan = build(name, lr=lr, steps=steps, warmup=warmup)
    assert isinstance(plan, Schedule)
    rates = [plan(step) for step in range(steps + 10)]
    assert all(0 <= rate <= lr * (1 + 1e-12) for rate in rates)
    assert all(rate > 0 for rate in rates[:steps])
    peak = plan.warmup_steps
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    if peak < steps:
        assert rates[peak] == pytest.approx(lr)
    assert rates == [plan(step) for step in range(steps + 10)]


def test_what_schedules_are() -> None:
    def rates(name: str, **options: float) -> list[float]:
        plan = build(name, lr=1.0, steps=8, **options)  # type: ignore[arg-type]
        return [round(plan(step), 6) for step in range(9)]

    assert rates("constant", warmup=0) == [1.0] * 9
    assert rates("step", warmup=0) == [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01]
    assert rates("triangular", warmup=0.5) == [0.2, 0.4, 0.6, 0.8, 1.0, 0.75, 0.5, 0.25, 0.0]
    cosine = rates("cosine", warmup=0)
    assert cosine[0] == 1
    assert cosine[4] == 0.5
    assert cosine[8] == 0
    cycle = rates("onecycle", warmup=0.5)
    assert 1 / 25 < cycle[0] < 0.2
    assert cycle[4] == 1
    assert cycle[8] == 4e-6


def test_cycles_begin_anew_from_the_peak() -> None:
    plan = build("cyclic", lr=2.0, steps=12, warmup=0.5, ends=(4, 8, 12))
    assert [round(plan(step) / 2, 6) for step in range(13)] == [
        0.333333, 0.666667, 1, 0.5, 1, 0.853553, 0.5, 0.146447, 1, 0.853553, 0.5, 0.146447, 0,
    ]  # fmt: skip
    one = build("cyclic", lr=2.0, steps=12)
    assert [one(step) for step in range(13)] == [build("cosine", lr=2.0, steps=12)(step) for step in range(13)]


@given(st.integers(1, 200), st.integers(1, 20))
def test_epochs_are_divided_evenly_among_cycles(epochs: int, cycles: int) -> None:
    if cycles > epochs:
        with pytest.raises(SettingsError, match=f"{cycles} cycles do not fit into {epochs} epochs"):
            cycle_ends(epochs, cycles)
        return
    ends = cycle_ends(epochs, cycles)
    lengths = [end - begin for begin, end in pairwise((0, *ends))]
    assert (len(ends), ends[-1]) == (cycles, epochs)
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 1


def test_a_rate_that_is_held_stays_where_it_was() -> None:
    free, held = (build("onecycle", lr=1.0, steps=20, hold=hold) for hold in (None, 12))
    assert [held(step) for step in range(13)] == [free(step) for step in range(13)]
    assert {held(step) for step in range(12, 25)} == {free(12)}


@pytest.mark.parametrize(
    ("epochs", "share", "ends", "wanted"),
    [(8, 0.25, (), (7, 8)), (3, 0.01, (), (3,)), (10, 0.5, (2, 4, 6, 8, 10), (6, 8, 10)), (4, 0.99, (), (1, 2, 3, 4))],
)
def test_the_epochs_whose_weights_are_averaged(epochs: int, share: float, ends: Any, wanted: Any) -> None:
    assert averaged_epochs(epochs, share, ends) == wanted


@pytest.mark.parametrize("ends", [(4, 8), (0, 12), (8, 4, 12), (4, 4, 12), (13,)])
def test_cycles_that_cannot_be_are_refused(ends: Any) -> None:
    with pytest.raises(SettingsError, match="cycles that end after"):
        build("cyclic", lr=1.0, steps=12, ends=ends)


def test_a_plateau_falls_when_the_loss_stands() -> None:
    plan = build("plateau", lr=1.0, steps=100, warmup=0.02)
    assert isinstance(plan, Plateau)
    assert [plan(step) for step in range(3)] == pytest.approx([1 / 3, 2 / 3, 1])
    plan.patience = 1
    seen = []
    for loss in (3.0, 2.0, 2.0, math.nan, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        plan.see(loss)
        seen.append(plan(50))
    assert seen == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, *[0.001] * 7])
    twin = Plateau(1.0)
    twin.load_state_dict(plan.state_dict())
    assert (twin.best, twin.waited, twin.share) == (plan.best, plan.waited, plan.share)


@pytest.mark.parametrize(
    "values", [{"name": "cosin"}, {"steps": 0}, {"warmup": 1.0}, {"warmup": -0.1}, {"lr": 0.0}, {"lr": math.nan}]
)
def test_schedules_refuse(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"Did you mean 'cosine'|cannot be"):
        build(**{"name": "cosine", "lr": 1.0, "steps": 10, **values})  # type: ignore[arg-type]


def test_a_rate_multiplies_what_each_group_began_with() -> None:
    p, q = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [p], "lr": 0.5}, {"params": [q], "lr": 2.0}], lr=1.0)
    rate = Rate(build("triangular", lr=9.0, steps=4, warmup=0), optimizer)
    rate.before(2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 1.0]
    assert rate.now == 0.25
    assert rate.state_dict() == {}


def test_history_is_rows_and_a_file_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    history.append({"epoch": 1, "train_loss": 0.1 + 0.2, "valid_loss": math.nan})
    history.append({"epoch": 2, "train_loss": 1e-300, "valid_loss": 2.0, "lr": 1.0})
    assert path.read_text().splitlines()[0] == '{"epoch": 1, "train_loss": 0.30000000000000004, "valid_loss": null}'
    again = History.read(path)
    assert again.rows[1] == history.rows[1]
    assert math.isnan(again[0]["valid_loss"])
    assert isinstance(again[0]["epoch"], int)
    assert again.column("train_loss") == [0.1 + 0.2, 1e-300]
    assert [math.isnan(value) for value in again.column("lr")] == [True, False]
    assert len(History.read(path, 1)) == 1
    assert len(path.read_text().splitlines()) == 1
    assert [row["epoch"] for row in History.read(path)] == [1]
    assert len(History.read(tmp_path / "none", 0)) == 0
    with pytest.raises(RunError, match="has 1 rows, but the checkpoint knows of 2"):
        History.read(path, 2)
    with pytest.raises(RunError, match="cannot be read"):
        History.read(tmp_path / "none")
    path.write_text('{"epoch": 1}\n[2]\n')
    with pytest.raises(RunError, match="damaged in line 2"):
        History.read(path)


def test_large_losses_fit_and_none_are_kept_without_a_folder(tmp_path: Path) -> None:
    table = ExampleLosses(tmp_path / "losses.npy")
    table.append(torch.tensor([1e9, 2.0, torch.nan]).numpy())
    other = ExampleLosses(tmp_path / "losses.npy")
    other.read(1)
    assert other.rows[0][:2].tolist() == [65504.0, 2.0]
    assert math.isnan(other.rows[0][2])
    memory = ExampleLosses()
    memory.append(torch.ones(2).numpy())
    memory.read(1)
    assert memory.rows == []


def test_a_tally_divides_once() -> None:
    often, seldom = Tally(1), Tally(100)
    for loss, count in ((1.0, 10), (4.0, 2), (2.5, 4)):
        for tally in (often, seldom):
            tally.batch(torch.tensor(loss), torch.tensor(loss / 2), count)
            tally.norm(torch.tensor(3.0))
            tally.norm(torch.tensor(torch.inf))
    assert seldom.text() == ""
    assert often.text() == "loss 1.7500"
    assert often.mean() == seldom.mean() == 28 / 16
    assert often.mean("penalty") == seldom.mean("penalty") == 1.25
    assert often.mean("grad_norm") == seldom.mean("grad_norm") == 3
    again = Tally()
    again.load_state_dict(json.loads(json.dumps(often.state_dict())))
    assert again.state_dict() == often.state_dict()
    assert math.isnan(Tally().mean())
    seldom.batch(torch.tensor(torch.nan), 0.0, 1)
    seldom.batch(torch.tensor(torch.nan), 0.0, 1)
    assert seldom.bad == 0
    seldom.settle()
    assert seldom.bad == 4
