"""Histories as other tools write them are read, diagnosed, and told with less confidence."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import histories
import numpy as np
import pytest

import sightline
from sightline.diagnosis import eventfile
from sightline.diagnosis.evidence import Evidence
from sightline.diagnosis.foreign import of_path
from sightline.errors import RunError

Write = Callable[[Path, Evidence], Path]


def columns(evidence: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return evidence.column("train_loss"), evidence.valid, evidence.column("valid_accuracy")


def keras_json(folder: Path, evidence: Evidence) -> Path:
    """``json.dump(history.history, file)``."""
    train, valid, accuracy = columns(evidence)
    content = {
        "accuracy": np.exp(-train).tolist(), "loss": train.tolist(), "val_accuracy": accuracy.tolist(),
        "val_loss": valid.tolist(), "learning_rate": [1e-3] * len(train),
    }  # fmt: skip
    (folder / "history.json").write_text(json.dumps(content))
    return folder / "history.json"


def keras_csv(folder: Path, evidence: Evidence) -> Path:
    """``CSVLogger("training.csv")``: epochs from 0, columns in alphabetical order."""
    train, valid, accuracy = columns(evidence)
    lines = ["epoch,accuracy,loss,val_accuracy,val_loss"]
    lines += [f"{i},{np.exp(-a)},{a},{c},{b}" for i, (a, b, c) in enumerate(zip(train, valid, accuracy, strict=True))]
    (folder / "training.csv").write_text("\n".join(lines) + "\n")
    return folder / "training.csv"


def lightning(folder: Path, evidence: Evidence) -> Path:
    """``CSVLogger``'s ``metrics.csv``: training every 50 steps, validation in rows of its own, gaps in between."""
    train, valid, accuracy = columns(evidence)
    lines = ["epoch,lr-AdamW,step,train_loss_epoch,train_loss_step,val_acc,val_loss"]
    for i, (a, b, c) in enumerate(zip(train, valid, accuracy, strict=True)):
        lines += [f"{i},,{100 * i + 49},,{a * 1.02},,", f"{i},,{100 * i + 99},,{a * 0.98},,"]
        lines += [f"{i},,{100 * i + 99},,,{c},{b}", f"{i},,{100 * i + 99},{a},,,", f",0.001,{100 * i + 99},,,,"]
    path = folder / "lightning_logs" / "version_0" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def fastai(folder: Path, evidence: Evidence) -> Path:
    """``CSVLogger()`` of fastai: ``history.csv``, with the time of each epoch."""
    train, valid, accuracy = columns(evidence)
    lines = ["epoch,train_loss,valid_loss,accuracy,time"]
    lines += [
        f"{i},{a:.6f},{b:.6f},{c:.6f},00:04" for i, (a, b, c) in enumerate(zip(train, valid, accuracy, strict=True))
    ]
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    return folder / "history.csv"


def mltrainer(folder: Path, evidence: Evidence) -> Path:
    """What mltrainer's trainer adds to its ``SummaryWriter``, by the real writer."""
    from torch.utils.tensorboard import SummaryWriter

    train, valid, accuracy = columns(evidence)
    path = folder / "modellogs" / "20261122-141530"
    with SummaryWriter(log_dir=str(path)) as writer:
        for epoch, (a, b, c) in enumerate(zip(train, valid, accuracy, strict=True)):
            writer.add_scalar("Loss/train", a, epoch)
            writer.add_scalar("Loss/test", b, epoch)
            writer.add_scalar("metric/Accuracy", c, epoch)
            writer.add_scalar("learning_rate", 1e-3, epoch)
        writer.add_text("note", "texts are passed over")
    return path


def mlflow_files(folder: Path, evidence: Evidence) -> Path:
    """A file store: ``mlruns/<experiment>/<run>/metrics/<name>``, a line for each value."""
    train, valid, accuracy = columns(evidence)
    metrics = folder / "mlruns" / "0" / "5f1c" / "metrics"
    for name, values in {"Loss/train": train, "Loss/test": valid, "metric/Accuracy": accuracy}.items():
        (metrics / name).parent.mkdir(parents=True, exist_ok=True)
        (metrics / name).write_text("".join(f"{1700000000000 + i} {v} {i}\n" for i, v in enumerate(values)))
    return folder / "mlruns"


def hugging_face(folder: Path, evidence: Evidence) -> Path:
    """``trainer_state.json``: training every half epoch, evaluation after each."""
    train, valid, accuracy = columns(evidence)
    log: list[dict[str, float]] = []
    for i, (a, b, c) in enumerate(zip(train, valid, accuracy, strict=True)):
        log += [{"epoch": i + 0.5, "loss": a, "grad_norm": 1.0, "learning_rate": 1e-4, "step": 10 * i + 5}]
        log += [{"epoch": i + 1.0, "loss": a, "learning_rate": 1e-4, "step": 10 * i + 10}]
        log += [{"epoch": i + 1.0, "eval_loss": b, "eval_accuracy": c, "eval_runtime": 2.0, "step": 10 * i + 10}]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log, "global_step": 10}))
    return folder / "trainer_state.json"


def ultralytics(folder: Path, evidence: Evidence) -> Path:
    train, valid, accuracy = columns(evidence)
    lines = ["                  epoch,             time,       train/loss, metrics/accuracy_top1,  val/loss,   lr/pg0"]
    lines += [
        f"{i + 1}, {i * 3.1}, {a}, {c}, {b}, 0.0007"
        for i, (a, b, c) in enumerate(zip(train, valid, accuracy, strict=True))
    ]
    (folder / "results.csv").write_text("\n".join(lines) + "\n")
    return folder / "results.csv"


def timm(folder: Path, evidence: Evidence) -> Path:
    train, valid, accuracy = columns(evidence)
    lines = ["epoch,train_loss,eval_loss,eval_top1,eval_top5,lr"]
    lines += [
        f"{i},{a},{b},{100 * c},99.0,0.05" for i, (a, b, c) in enumerate(zip(train, valid, accuracy, strict=True))
    ]
    (folder / "summary.csv").write_text("\n".join(lines) + "\n")
    return folder / "summary.csv"


WRITERS: dict[str, tuple[Write, str]] = {
    "keras history": (keras_json, "Keras"),
    "keras csv": (keras_csv, "Keras"),
    "lightning": (lightning, "Lightning"),
    "fastai": (fastai, "fastai"),
    "mltrainer": (mltrainer, "TensorBoard"),
    "mlflow files": (mlflow_files, "MLflow"),
    "hugging face": (hugging_face, "Hugging Face"),
    "ultralytics": (ultralytics, "Ultralytics"),
    "timm": (timm, "a CSV file"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_number_arrives_under_its_name(name: str, tmp_path: Path) -> None:
    write, origin = WRITERS[name]
    meant = histories.overfitted(20)
    read = of_path(write(tmp_path, meant))
    assert read.origin == origin
    assert len(read.rows) == 20
    assert read.valid == pytest.approx(meant.valid, rel=1e-4)
    assert read.column("train_loss") == pytest.approx(meant.column("train_loss"), rel=1e-4)
    assert read.column("valid_accuracy") == pytest.approx(meant.column("valid_accuracy"), rel=1e-4)
    assert not any("Not understood" in note and "top5" not in note for note in read.notes), read.notes


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("truth", ["well fitted", "overfitted", "over-confident", "underfitted"])
def test_it_is_diagnosed_with_less_confidence(name: str, truth: str, tmp_path: Path) -> None:
    path = WRITERS[name][0](tmp_path, histories.TRUTHS[truth](images=None))
    verdict = sightline.diagnose(path)
    assert verdict.kind == truth
    assert verdict.confidence != "sure"
    assert any("Read as a history of" in caveat for caveat in verdict.caveats)
    assert all(not advice.command for advice in verdict.advice)


def test_stopping_at_the_minimum_is_the_first_advice_for_what_keeps_no_best_weights(tmp_path: Path) -> None:
    verdict = sightline.diagnose(keras_csv(tmp_path, histories.overfitted()))
    assert verdict.advice[0].setting == "epochs"
    assert verdict.advice[0].value == verdict.epoch


def test_knowing_classes_and_images_tells_more(tmp_path: Path) -> None:
    stuck = histories.make(np.full(12, 2.303), np.full(12, 2.303), accuracy=np.full(12, 0.1), images=None)
    path = keras_csv(tmp_path, stuck)
    assert sightline.diagnose(path, classes=10, images=500).cause == "nothing was learnt"


def test_a_database_of_mlflow_gives_the_run_begun_last(tmp_path: Path) -> None:
    """The tables are those of MLflow's own store, as far as they are read."""
    train, valid, _ = columns(histories.overfitted(12))
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as base, base:
        base.execute("CREATE TABLE runs (run_uuid VARCHAR(32), name VARCHAR(250), start_time BIGINT)")
        base.execute(
            "CREATE TABLE metrics (key VARCHAR(250), value FLOAT, timestamp BIGINT, run_uuid VARCHAR(32), step BIGINT)"
        )
        base.executemany("INSERT INTO runs VALUES (?, ?, ?)", [("old", "a", 1), ("new", "b", 2)])
        for i, (a, b) in enumerate(zip(train, valid, strict=True)):
            rows = [("Loss/train", float(a), i, "new", i), ("Loss/test", float(b), i, "new", i)]
            base.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?)", [*rows, ("Loss/test", 9.0, i, "old", i)])
    read = of_path(tmp_path / "mlflow.db")
    assert read.valid == pytest.approx(valid)
    assert of_path(tmp_path).origin == "MLflow"


def test_the_tensors_that_keras_writes_to_event_files_are_read(tmp_path: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    train, valid, _ = columns(histories.overfitted(8))
    for part, values in (("train", train), ("validation", valid)):
        writer = EventFileWriter(str(tmp_path / part))
        for i, value in enumerate(values):
            tensor = TensorProto(dtype=1, tensor_content=np.float32(value).tobytes())
            summary = Summary(value=[Summary.Value(tag="epoch_loss", tensor=tensor)])
            writer.add_event(Event(step=i, summary=summary))
        writer.close()
    read = of_path(tmp_path)
    assert read.valid == pytest.approx(valid, rel=1e-5)
    assert read.column("train_loss") == pytest.approx(train, rel=1e-5)


def test_columns_that_nobody_knows_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "epoch,train_loss,val_loss,perplexity\n" + "".join(f"{i},1.0,{2 / (i + 1)},7\n" for i in range(5))
    )
    assert any("perplexity" in caveat for caveat in sightline.diagnose(tmp_path / "a.csv").caveats)


def test_a_training_that_was_continued_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("epoch,train_loss,val_loss\n0,3,3\n1,2,2.5\n1,2,2\n2,1,1\n")
    assert of_path(tmp_path / "a.csv").valid.tolist() == [3, 2, 1]


def test_a_cut_event_file_ends_where_it_was_cut(tmp_path: Path) -> None:
    path = next(mltrainer(tmp_path, histories.healthy(6)).glob("*tfevents*"))
    whole = eventfile.read(path)
    path.write_bytes(path.read_bytes()[:-90])
    assert 0 < len(eventfile.read(path)["Loss/train"]) <= len(whole["Loss/train"])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "", "no rows"),
        ("a.csv", "when,what\n1,2\n", "no loss that is known"),
        ("a.json", "{", "no JSON"),
        ("a.json", '{"a": 1}', "no history"),
        ("a.csv", b"\xff\xfe\x00\x01" * 20, "no text"),
        ("events.out.tfevents.1", b"nonsense" * 9, "no event file"),
        ("mlflow.db", b"SQLite format 3\x00 broken", "no store of MLflow"),
    ],
)
def test_what_is_no_history_is_refused_in_words(name: str, content: str | bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(RunError, match=says):
        sightline.diagnose(tmp_path / name)


def test_a_folder_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        sightline.diagnose(tmp_path)
    with pytest.raises(RunError, match="does not exist"):
        sightline.diagnose(tmp_path / "nowhere")


def test_rows_in_memory_are_enough() -> None:
    assert sightline.diagnose(histories.overfitted().rows, classes=10, images=400).kind == "overfitted"
