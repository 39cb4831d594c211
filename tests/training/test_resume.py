"""The law of twins inside one process: whatever remembers something, stopped and resumed, gives the same files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tasks import network, same, weights
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from sightline import losses
from sightline.data.augment import Augment
from sightline.data.preprocess import Preprocessing
from sightline.data.stream import Stream
from sightline.errors import ModelError, RunError, TrainingError
from sightline.metrics import Accuracy
from sightline.models.zoo import build
from sightline.penalties import Penalty
from sightline.run import RunFolder
from sightline.training import optim, schedule
from sightline.training.freezing import Freezing
from sightline.training.precision import Precision
from sightline.training.trainer import Trainer

Make = Callable[..., Trainer]
COMPARED = ("best", "last", "history", "valid_losses")


class Killed(BaseException):
    """Stands for the end of the process."""


class Mortal(Trainer):
    """Ends at a checkpoint: just before it is written, or just after."""

    ends_at = 10**9
    written = True

    def save(self) -> None:
        self.saves = getattr(self, "saves", 0) + 1
        if self.saves >= self.ends_at and not self.written:
            raise Killed
        super().save()
        if self.saves >= self.ends_at:
            raise Killed


def stream(part: Any, **options: Any) -> Stream:
    x, y = part.tensors
    array = (x * 15).to(torch.uint8).movedim(1, -1).numpy()
    rows = np.arange(len(x))
    preprocessing = Preprocessing("image", 1, (8, 8)).fit(array, rows)
    return Stream(array, y.numpy(), rows, preprocessing, batch_size=64, num_classes=10, **options)


def loader(part: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(part, batch_size=64, **options)


def by_recipe(digits: Any) -> dict[str, Any]:
    model = network()
    return {
        "model": model,
        "optimizer": optim.build("adamw", model, lr=3e-3, weight_decay=0.05),
        "scheduler": schedule.build("onecycle", lr=3e-3, steps=9),
        "loss_fn": losses.loss("cross-entropy", label_smoothing=0.1),
        "traindataloader": stream(digits[0], augment=Augment(shift=0.1, mixup=0.2)),
        "validdataloader": stream(digits[1], shuffle=False),
        "probe": stream(digits[0], shuffle=False),
        "precision": Precision("fp32"),
        "clip_norm": 1.0,
        "accumulate": 2,
        "ema": 0.9,
        "earlystop_kwargs": {"patience": 2, "verbose": False},
    }


def with_auxiliary_heads(digits: Any) -> dict[str, Any]:
    """Heads with dropout of their own, asked for their logits by the loss."""
    model = build("googlenet", in_channels=1, num_classes=10, image_size=8, width=0.1, depth=0.3, auxiliary=True)
    return {**by_recipe(digits), "model": model, "optimizer": optim.build("adamw", model, lr=3e-3), "loss_fn":
            losses.with_auxiliary(losses.loss("cross-entropy", label_smoothing=0.1), model)}  # fmt: skip


def in_bf16(digits: Any) -> dict[str, Any]:
    return {**by_recipe(digits), "precision": Precision("bf16"), "ema": 0.0}


def in_fp16(digits: Any) -> dict[str, Any]:
    """With a loss so large that gradients overflow and the scaler has to find its scale."""
    return {
        "loss_fn": lambda yhat, y: 1e4 * nn.functional.cross_entropy(yhat, y),
        "precision": Precision("fp16"), "optimizer": torch.optim.Adam, "optimizer_kwargs": {"lr": 1e-3},
        "clip_norm": 1.0,
    }  # fmt: skip


def by_the_lecture(digits: Any) -> dict[str, Any]:
    return {
        "scheduler": lr_scheduler.ReduceLROnPlateau, "scheduler_kwargs": {"factor": 0.5, "patience": 0},
        "train_steps": 3, "valid_steps": 1, "optimizer_kwargs": {"lr": 0.05, "momentum": 0.9},
        "traindataloader": loader(digits[0], shuffle=True), "validdataloader": loader(digits[1], shuffle=True),
        "earlystop_kwargs": {"patience": 2, "verbose": False},
    }  # fmt: skip


def with_a_generator_of_its_own(digits: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(8)
    return {"traindataloader": loader(digits[0], shuffle=True, generator=generator), "penalty": losses.l2}


def from_a_generator(digits: Any) -> dict[str, Any]:
    def forever() -> Iterator[Any]:
        numbers = np.random.default_rng(4)
        while True:
            rows = numbers.integers(0, 200, 32)
            yield tuple(part[rows] for part in digits[0].tensors)

    return {"traindataloader": forever(), "train_steps": 3}


def with_plateau(digits: Any) -> dict[str, Any]:
    return {"scheduler": schedule.Plateau(0.05, warmup_steps=3, patience=0, drop=0.5), "monitor": "valid_accuracy"}


def with_patience(digits: Any) -> dict[str, Any]:
    """A loss that stands still: it ends after the second epoch, if the first is remembered."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.ones_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    return {"model": model, "optimizer_kwargs": {"lr": 0.0}, "earlystop_kwargs": {"patience": 1}}


def with_scheduler(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]) -> Callable[..., dict[str, Any]]:
    return lambda digits: {"scheduler": make}


def with_swa_over_cycles(digits: Any) -> dict[str, Any]:
    """Everything that remembers something for the sake of regularisation."""
    model = network()
    return {
        **by_recipe(digits), "ema": 0.0, "swa": (2, 3), "snapshots": (1, 3), "accumulate": 1,
        "scheduler": schedule.build("cyclic", lr=3e-3, steps=15, ends=(5, 15)),
        "loss_fn": losses.Trimmed(losses.loss("cross-entropy"), 0.1, 7),
        "penalty": Penalty({"l1": 1e-3}), "max_norm": 1.0,
        "model": model, "optimizer": optim.build("sgd", model, lr=3e-3, weight_decay=0.1, decoupled=True),
    }  # fmt: skip


def with_an_average_of_the_lecture(digits: Any) -> dict[str, Any]:
    return {**by_the_lecture(digits), "swa": (1, 2, 3)}


OLD = ("0.weight", "0.bias", "1.weight", "1.bias")


def with_a_thaw(digits: Any) -> dict[str, Any]:
    """The first layers, slower ones, are frozen for an epoch; their batch norm is in evaluation mode till then."""
    model = network()
    optimizer = optim.build("adamw", model, lr=3e-3, weight_decay=0.05, factors=dict.fromkeys(OLD, 0.1))
    return {**by_recipe(digits), "model": model, "optimizer": optimizer, "freezing": Freezing(OLD, thaw_epoch=2)}


def with_features_frozen(digits: Any) -> dict[str, Any]:
    return {**with_swa_over_cycles(digits), "freezing": Freezing(OLD)}


def with_kernels_of_fixed_length(digits: Any) -> dict[str, Any]:
    parts = with_what_makes_it_fast(digits)
    optimizer = optim.build("muonsgd", parts["model"], lr=0.1, weight_decay=0.004, momentum=0.6, bias_lr=40)
    return {**parts, "optimizer": optimizer, "accumulate": 2}


def with_what_makes_it_fast(digits: Any) -> dict[str, Any]:
    """Optimizer states of our own, small images first, mirrored in every other epoch."""
    model = build("fastnet", in_channels=1, num_classes=10, image_size=8, width=0.05)
    flips = Augment(flip=True, alternate=True)
    return {
        **by_recipe(digits), "model": model,
        "optimizer": optim.build("muon", model, lr=3e-3, weight_decay=0.05, bias_lr=4, lookahead=3, rising=20),
        "traindataloader": stream(digits[0], augment=flips, sizes=((6, 6), (7, 7))),
    }  # fmt: skip


CASES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "recipe": by_recipe,
    "fast": with_what_makes_it_fast,
    "fixed length": with_kernels_of_fixed_length,
    "auxiliary heads": with_auxiliary_heads,
    "bf16": in_bf16,
    "fp16": in_fp16,
    "lecture": by_the_lecture,
    "own generator": with_a_generator_of_its_own,
    "endless generator": from_a_generator,
    "plateau": with_plateau,
    "patience": with_patience,
    "equal average over cycles": with_swa_over_cycles,
    "equal average from a loader": with_an_average_of_the_lecture,
    "thaw": with_a_thaw,
    "frozen": with_features_frozen,
    "one cycle of torch": with_scheduler(lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20)),
    "milestones": with_scheduler(lambda o: lr_scheduler.MultiStepLR(o, [1, 2])),
    "function": with_scheduler(lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.5**epoch)),
    "sequence": with_scheduler(
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 0.1, 1), lr_scheduler.ExponentialLR(o, 0.5)], [1]
        )
    ),
}


def run(make: Make, folder: RunFolder, case: Callable[[Any], dict[str, Any]], digits: Any, **mortal: Any) -> Trainer:
    folder.path.mkdir(exist_ok=True)
    torch.manual_seed(21)
    trainer = make(Mortal, **case(digits), folder=folder, checkpoint_minutes=1e-9, epochs=3)
    trainer.ends_at, trainer.written = mortal.get("ends_at", 10**9), mortal.get("written", True)
    trainer.resume()
    trainer.loop()
    return trainer


@pytest.fixture
def in_peace(make: Make, digits: Any, tmp_path: Path) -> Callable[[str], Path]:
    def trained(name: str) -> Path:
        run(make, RunFolder(tmp_path / "peace"), CASES[name], digits)
        return tmp_path / "peace"

    return trained


@pytest.mark.parametrize("name", CASES)
def test_twins(name: str, make: Make, digits: Any, in_peace: Callable[[str], Path], tmp_path: Path) -> None:
    """Interrupted at a checkpoint (before it is written, after it, at an epoch's end) and resumed = uninterrupted."""
    peace = RunFolder(in_peace(name))
    cut = RunFolder(tmp_path / "cut")
    deaths = 0
    for ends_at, written in [(1, False), (2, True), (4, False), (3, True), (5, True), (2, False), (10**9, True)]:
        try:
            run(make, cut, CASES[name], digits, ends_at=ends_at, written=written)
        except Killed:
            deaths += 1
    assert deaths >= 4
    for file in COMPARED:
        one, other = getattr(peace, file), getattr(cut, file)
        assert one.exists() == other.exists(), file
        assert not one.exists() or one.read_bytes() == other.read_bytes(), file
    kept = [{path.name: path.read_bytes() for path in folder.snapshots.glob("*")} for folder in (peace, cut)]
    assert kept[0] == kept[1]
    assert len(cut.timing.read_text().splitlines()) == len(cut.history.read_text().splitlines())


@pytest.mark.parametrize(("share", "saves"), [(1e-9, 2), (1e9, 5)])
def test_short_epochs_share_a_checkpoint(
    share: float, saves: int, make: Make, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at the beginning and one at the end there always are; between them as many as are cheap."""
    monkeypatch.setattr("sightline.training.record.SHARE", share)
    ends: list[list[bytes]] = []
    for name in ("peace", "cut"):
        (tmp_path / name).mkdir()
        folder = RunFolder(tmp_path / name)
        torch.manual_seed(21)
        trainer = make(Mortal, folder=folder, epochs=4)
        trainer.ends_at, trainer.written = saves if name == "cut" else 99, False
        try:
            trainer.loop()
        except Killed:
            assert trainer.last_epoch == 4
            trainer = make(Mortal, folder=folder, epochs=4)
            assert trainer.resume()
            assert trainer.last_epoch == (0 if saves == 2 else 3)
            trainer.loop()
        else:
            assert trainer.saves == saves
        ends.append([path.read_bytes() for path in (folder.best, folder.last, folder.history)])
    assert ends[0] == ends[1]


def test_a_torn_epoch_is_forgotten(make: Make, digits: Any, in_peace: Callable[[str], Path], tmp_path: Path) -> None:
    """History, losses and best weights of an epoch that no checkpoint knows of are made again."""
    peace = RunFolder(in_peace("recipe"))
    cut = RunFolder(tmp_path / "cut")

    class Torn(Mortal):
        def save(self) -> None:
            if self.last_epoch == 2:
                raise Killed
            super().save()

    cut.path.mkdir()
    torch.manual_seed(21)
    with pytest.raises(Killed):
        make(Torn, **by_recipe(digits), folder=cut, checkpoint_minutes=1e-9, epochs=3).loop()
    assert len(cut.history.read_text().splitlines()) == 2
    assert len(np.load(cut.valid_losses)) == 2
    run(make, cut, by_recipe, digits)
    assert all(getattr(peace, n).read_bytes() == getattr(cut, n).read_bytes() for n in COMPARED)


def test_what_was_being_written_when_it_was_killed_is_swept_away(make: Make, digits: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(Killed):
        run(make, folder, by_the_lecture, digits, ends_at=3)
    (folder.path / f".{folder.checkpoint.name}.x1y2z3.part").write_bytes(b"half")
    run(make, folder, by_the_lecture, digits)
    assert not list(folder.path.glob(".*"))


def test_a_stream_may_serve_training_validation_and_probe(make: Make, digits: Any) -> None:
    """Each pass over held-out batches is whole and leaves the stream where the training was."""
    apart, shared = stream(digits[0]), stream(digits[0])
    histories = []
    for train, valid, probe in ((apart, stream(digits[0]), stream(digits[0])), (shared, shared, shared)):
        next(iter(valid))  # somebody looks at the first batch
        train.rewind()
        trainer = make(traindataloader=train, validdataloader=valid, probe=probe, epochs=3)
        torch.manual_seed(1)
        trainer.loop()
        histories.append(trainer.history.rows)
    assert histories[0] == histories[1]


def test_a_finished_training_has_nothing_to_go_on_with(make: Make, digits: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    first = run(make, folder, by_the_lecture, digits)
    before = {path: path.read_bytes() for path in folder.path.iterdir()}
    again = run(make, folder, by_the_lecture, digits)
    assert {path: path.read_bytes() for path in folder.path.iterdir()} == before
    assert again.stopped == first.stopped
    assert again.best_epoch == first.best_epoch
    assert same(weights(again.model), weights(first.model))


def test_what_a_run_folder_holds(make: Make, digits: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    trainer = run(make, folder, by_recipe, digits)
    rows = [json.loads(line) for line in folder.history.read_text().splitlines()]
    assert rows == trainer.history.rows
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert list(rows[0]) == [
        "epoch", "train_loss", "valid_loss", "probe_loss", "lr", "step", "grad_norm", "valid_accuracy", "probe_accuracy"
    ]  # fmt: skip
    table = np.load(folder.valid_losses)
    assert table.shape == (3, 100)
    assert table.dtype == np.float16
    np.testing.assert_allclose(table.astype(float).mean(axis=1), [row["valid_loss"] for row in rows], rtol=1e-3)
    seconds = [json.loads(line) for line in folder.timing.read_text().splitlines()]
    assert set(seconds[0]) == {"epoch", "train_s", "valid_s", "probe_s", "checkpoint_s", "images_per_s"}
    assert same(load_file(folder.best), weights(trainer.model))
    assert not list(folder.path.glob(".*"))


def test_losses_are_in_the_order_of_the_validation_set(make: Make, digits: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    trainer = run(make, folder, by_recipe, digits)
    x, y = next(iter(stream(digits[1], shuffle=False)))
    with torch.no_grad():
        wanted = losses.loss("cross-entropy").per_example(trainer.model(x), y)
    found = np.load(folder.valid_losses)[trainer.best_epoch - 1, : len(y)]
    np.testing.assert_allclose(found, wanted.numpy(), rtol=2e-3, atol=1e-3)


def test_resuming_needs_a_folder_and_a_new_training_an_empty_one(make: Make, digits: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        make().resume()
    folder = RunFolder(tmp_path / "run")
    run(make, folder, by_the_lecture, digits)
    with pytest.raises(RunError, match="holds a training already"):
        make(**by_the_lecture(digits), folder=folder).loop()
    (tmp_path / "empty").mkdir()
    assert not make(folder=RunFolder(tmp_path / "empty")).resume()


def test_a_checkpoint_of_something_else_is_refused(make: Make, digits: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run(make, folder, by_the_lecture, digits)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(ModelError, match="do not fit Sequential"):
        make(**by_the_lecture(digits), model=other, folder=folder).resume()
    model = network()
    groups = [{"params": [p]} for p in model.parameters()]
    with pytest.raises(RunError, match="another optimizer"):
        make(model=model, optimizer=torch.optim.SGD(groups, lr=0.1), folder=folder).resume()


@pytest.mark.parametrize("file", ["checkpoint", "history", "timing"])
def test_damage_is_told(file: str, make: Make, digits: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run(make, folder, by_recipe, digits)
    path: Path = getattr(folder, file)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(RunError, match=path.name):
        make(**by_recipe(digits), folder=folder).resume()
    path.write_bytes(b"")
    with pytest.raises(RunError, match=path.name):
        make(**by_recipe(digits), folder=folder).resume()


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damaged_losses_are_told(damage: bytes | None, make: Make, digits: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run(make, folder, by_recipe, digits)
    if damage is None:
        folder.valid_losses.unlink()
    else:
        folder.valid_losses.write_bytes(damage)
    with pytest.raises(RunError, match="valid_losses"):
        make(**by_recipe(digits), folder=folder).resume()


def test_a_loader_that_has_shrunk_is_told(make: Make, digits: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(Killed):
        run(make, folder, by_the_lecture, digits, ends_at=3)
    fewer = {**by_the_lecture(digits), "traindataloader": [tuple(part[:9] for part in digits[0].tensors)]}
    with pytest.raises(TrainingError, match="has only 1 batches, but 2 were taken"):
        make(**fewer, folder=folder).resume()


def test_a_full_disk_ends_the_training_in_words(
    make: Make, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint before stays whole, and from it the training can go on."""
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(Killed):
        run(make, folder, by_the_lecture, digits, ends_at=3)
    before = folder.checkpoint.read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("sightline.files.os.fsync", full)
        with pytest.raises(RunError, match="disk is full"):
            run(make, folder, by_the_lecture, digits)
    assert folder.checkpoint.read_bytes() == before
    assert not list(folder.path.glob(".*"))
    assert run(make, folder, by_the_lecture, digits).last_epoch == 3


def test_a_loader_whose_state_is_no_plain_value_is_refused(make: Make, digits: Any, tmp_path: Path) -> None:
    class Odd(list):  # type: ignore[type-arg]
        def state_dict(self) -> dict[str, object]:
            return {"generator": object()}

        def load_state_dict(self, state: object) -> None: ...

    (tmp_path / "run").mkdir()
    batches = Odd([tuple(part[:32] for part in digits[0].tensors)])
    with pytest.raises(TrainingError, match=r"'train.loader.generator' is a object"):
        make(traindataloader=batches, folder=RunFolder(tmp_path / "run")).loop()
    make(traindataloader=batches, metrics=[Accuracy()]).loop()
