"""Averages of weights, moving and equal, and the statistics that belong to them and to nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tasks import network, same, weights
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sightline.errors import SettingsError
from sightline.run import RunFolder
from sightline.training import norms
from sightline.training.averaging import Average
from sightline.training.norms import Statistics, estimate
from sightline.training.trainer import Trainer

Make = Callable[..., Trainer]
CPU = torch.device("cpu")
STATISTICS = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def batches(count: int = 4, size: int = 32) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.rand(size, 1, 8, 8, generator=generator), torch.arange(size) % 10) for _ in range(count)]


def walk(model: nn.Module) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p))
        model[1].running_mean.add_(1.0)
        model[1].num_batches_tracked.add_(1)


def without_statistics(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in found.items() if name not in STATISTICS}


def fresh(model: nn.Module, loader: Any) -> dict[str, Tensor]:
    """Give the statistics that batches have with a model's weights, by torch's own function, without dropout."""
    twin = network()
    twin.load_state_dict(model.state_dict())
    twin[5].p = 0.0
    torch.optim.swa_utils.update_bn([(x,) for x, _ in loader], twin)
    return {name: twin.state_dict()[name] for name in ("1.running_mean", "1.running_var")}


def test_a_moving_average_by_hand() -> None:
    model = network()
    average = Average(model, 0.9, statistics=Statistics(batches(), CPU))
    wanted = weights(model)
    for number in range(1, 30):
        walk(model)
        average.step()
        decay = min(0.9, (1 + number) / (10 + number))
        wanted = {name: decay * wanted[name] + (1 - decay) * value for name, value in model.state_dict().items()}
    own = weights(model)
    with average.applied():
        torch.testing.assert_close(without_statistics(weights(model)), without_statistics(wanted))
        found = fresh(model, batches())
        torch.testing.assert_close({name: model.state_dict()[name] for name in found}, found)
        assert torch.equal(model[1].num_batches_tracked, own["1.num_batches_tracked"])
    assert same(weights(model), own)
    with pytest.raises(ValueError, match="boom"), average.applied():
        raise ValueError("boom")
    assert same(weights(model), own)
    twin = Average(model, 0.9, statistics=Statistics(batches(), CPU))
    twin.load_state_dict(average.state_dict())
    assert same(twin.weights, average.weights)
    assert twin.updates == 29


def test_an_equal_average_by_hand() -> None:
    model = network()
    average = Average(model, epochs=(2, 3, 5), statistics=Statistics(batches(), CPU))
    seen = []
    for number in range(1, 7):
        walk(model)
        average.step()  # for the moving one only
        average.epoch(number)
        if number in (2, 3, 5):
            seen.append(weights(model))
        own = weights(model)
        with average.applied():
            wanted = {n: torch.stack([w[n].double() for w in seen or [own]]).mean(0).float() for n in own}
            torch.testing.assert_close(without_statistics(weights(model)), without_statistics(wanted))
        assert same(weights(model), own)
    twin = Average(model, epochs=(2, 3, 5), statistics=Statistics(batches(), CPU))
    twin.load_state_dict(average.state_dict())
    with average.applied():
        wanted = weights(model)
    with twin.applied():
        assert same(weights(model), wanted)


def test_no_average_costs_nothing() -> None:
    model = network()
    for average in (Average(model), Average(model, epochs=(9,), statistics=Statistics(batches(), CPU))):
        average.step()
        average.epoch(1)
        own = weights(model)
        with average.applied():
            assert same(weights(model), own)
        assert average.weights == {}


def test_a_checkpoint_of_the_version_before_is_read() -> None:
    """It held averaged statistics, too; they are left out, and estimated like any others."""
    model = network()
    average = Average(model, 0.9, statistics=Statistics(batches(), CPU))
    average.load_state_dict({"updates": 3, "average": {n: v + 1 for n, v in weights(model).items()}})
    assert set(average.weights) == set(weights(model)) - STATISTICS
    with average.applied():
        torch.testing.assert_close(fresh(model, batches())["1.running_mean"], model[1].running_mean)


@pytest.mark.parametrize("values", [{"decay": -0.1}, {"decay": 1.0}, {"decay": 0.9, "epochs": (1,)}])
def test_what_is_no_average_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="'ema'"):
        Average(network(), **values, statistics=Statistics(batches(), CPU))


# Averaged weights with stale statistics are impossible.


def test_an_average_holds_no_statistics_and_nobody_gets_it_without_a_way_to_measure_them() -> None:
    model = network()
    for values in ({"decay": 0.9}, {"epochs": (1,)}):
        with pytest.raises(SettingsError, match="needs means and variances of its own"):
            Average(model, **values)  # type: ignore[arg-type]
        with pytest.raises(SettingsError, match="can be read only once"):
            Average(model, **values, statistics=Statistics(iter(batches()), CPU))  # type: ignore[arg-type]
        average = Average(model, **values, statistics=Statistics(batches(), CPU))  # type: ignore[arg-type]
        average.epoch(1)
        assert set(average.weights) == set(weights(model)) - STATISTICS
        assert STATISTICS.isdisjoint(average.state_dict()["average"])  # type: ignore[arg-type]
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LayerNorm(10))
    assert Average(plain, 0.9).weights, "without such norms there is nothing to measure"


@pytest.mark.parametrize("values", [{"ema": 0.9}, {"swa": (1, 2)}])
def test_what_a_training_evaluates_and_saves_has_statistics_of_its_own(
    make: Make, digits: Any, tmp_path: Path, values: dict[str, Any]
) -> None:
    """In validation, in the model afterwards, in best and last weights and in snapshots."""
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")
    measured = list(DataLoader(digits[0], batch_size=64, drop_last=True))
    checked = []

    class Watched(nn.CrossEntropyLoss):
        def forward(self, yhat: Tensor, y: Tensor) -> Tensor:
            if not model.training:
                for name, value in fresh(model, measured).items():
                    torch.testing.assert_close(model.state_dict()[name], value)
                checked.append(model[1].running_mean.clone())
            return super().forward(yhat, y)

    model = network()
    trainer = make(model=model, loss_fn=Watched(), statistics=measured, folder=folder, snapshots=(1, 2), **values)
    trainer.loop()
    assert len(checked) == 4
    assert not torch.equal(checked[0], checked[-1])
    files = [folder.best, folder.last, folder.snapshot(1), folder.snapshot(2)]
    for found in [weights(trainer.model), *map(load_file, files)]:
        twin = network()
        twin.load_state_dict(found)
        torch.testing.assert_close({n: found[n] for n in fresh(twin, measured)}, fresh(twin, measured))
    assert same(load_file(folder.last), load_file(folder.snapshot(2)))


def test_statistics_are_measured_anew_only_when_the_average_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = network(), []
    monkeypatch.setattr(Statistics, "estimate", lambda self, model: calls.append(1))
    average = Average(model, 0.9, statistics=Statistics(batches(), CPU))
    for changes in (0, 1, 1, 0):
        if changes:
            average.step()
        with average.applied():
            pass
        with average.applied():
            pass
    assert len(calls) == 3


# How they are measured.


def test_batches_count_by_their_examples() -> None:
    """Unequal batches: means as over all examples together; a lone example has no variance and is passed over."""
    x, y = (torch.cat(parts) for parts in zip(*batches(1, 50), strict=True))
    sizes = (30, 19, 1)
    model = network()
    modes = {name: part.training for name, part in model.eval().named_modules()}
    numbers = torch.get_rng_state()
    estimate(model, list(zip(x.split(sizes), y.split(sizes), strict=True)))
    values = model[0](x[:49]).detach()
    torch.testing.assert_close(model[1].running_mean, values.mean((0, 2, 3)))
    within = [part.var((0, 2, 3)) for part in values.split(sizes[:2])]
    torch.testing.assert_close(model[1].running_var, (30 * within[0] + 19 * within[1]) / 49)
    assert (model[1].momentum, int(model[1].num_batches_tracked)) == (0.1, 0)
    assert {name: part.training for name, part in model.named_modules()} == modes
    assert torch.equal(torch.get_rng_state(), numbers), "dropout is off, so nothing is drawn"


def test_frozen_norms_keep_what_they_have() -> None:
    """A frozen norm runs in evaluation mode while the rest learns, so its statistics are those it came with."""
    model = network()
    for p in model[:2].parameters():
        p.requires_grad_(False)
    walked = nn.Sequential(model, nn.BatchNorm1d(10))
    own = weights(model)
    average = Average(walked, 0.9, statistics=Statistics(batches(), CPU))
    average.step()
    with average.applied():
        assert torch.equal(model[1].running_mean, own["1.running_mean"])
        assert walked[1].running_mean.any()
    assert not walked[1].running_mean.any()


def test_no_more_batches_are_read_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "EXAMPLES", 64)
    read = []

    class Loader:
        def __iter__(self) -> Iterator[Any]:
            for batch in batches(9):
                read.append(1)
                yield batch

    Statistics(Loader(), CPU).estimate(network())
    assert len(read) == 2


def test_a_shuffling_loader_gives_the_same_batches_and_is_not_disturbed(make: Make, digits: Any) -> None:
    generator = torch.Generator().manual_seed(7)
    for loader in (DataLoader(digits[0], 64, shuffle=True), DataLoader(digits[0], 64, True, generator=generator)):
        statistics, found = Statistics(loader, CPU), []
        for _ in range(2):
            model = network()
            torch.rand(3)
            before, own = torch.get_rng_state(), generator.get_state()
            statistics.estimate(model)
            assert torch.equal(torch.get_rng_state(), before)
            assert torch.equal(generator.get_state(), own)
            found.append(weights(model))
        assert same(*found)


def test_measuring_changes_nothing_of_the_training_itself(make: Make, digits: Any) -> None:
    """An average only looks on: the model trains as it would without one."""
    rows = []
    for values in ({}, {"ema": 0.9}, {"swa": (2,)}):
        torch.manual_seed(3)
        trainer = make(model=network(), epochs=3, **values)
        trainer.loop()
        rows.append([row["train_loss"] for row in trainer.history])
    assert rows[0] == rows[1] == rows[2]
