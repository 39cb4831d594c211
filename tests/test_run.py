"""The run folder: never used twice, told when it is missing, incomplete, damaged or from a newer version."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import RunError
from sightline.run import FORMAT, RunFolder


def test_a_new_run_has_a_folder_and_a_state(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "runs", "first")
    assert folder.path == tmp_path / "runs" / "first"
    state = RunFolder.open(folder.path).read_state()
    assert (state["format"], state["status"]) == (FORMAT, "running")


def test_a_name_is_used_once(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "first")
    before = folder.state.read_bytes()
    with pytest.raises(RunError, match=r"first' exists already") as caught:
        RunFolder.create(tmp_path, "first")
    assert "sightline resume" in caught.value.hint
    assert folder.state.read_bytes() == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("words")
    with pytest.raises(RunError, match="exists already"):
        RunFolder.create(tmp_path, "thesis")
    assert os.listdir(tmp_path / "thesis") == ["chapter.txt"]


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(lambda _: RunFolder.create(tmp_path), range(24)))
    assert len({folder.path for folder in folders}) == 24


def test_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunError, match="could not be written"):
        RunFolder.create(tmp_path / "runs", "first")


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        RunFolder.open(tmp_path / "nothing")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run folder: it has no 'run\.json'"):
        RunFolder.open(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "first")
    folder.write_state(format=FORMAT + 1)
    with pytest.raises(RunError, match=f"has format {FORMAT + 1}; this version reads up to {FORMAT}") as caught:
        RunFolder.open(folder.path)
    assert "Upgrade" in caught.value.hint


def test_an_incomplete_run_says_what_is_missing_and_what_for(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "first")
    with pytest.raises(RunError, match=r"it has no 'best\.safetensors', which is needed to predict") as caught:
        folder.need(folder.best, "predict")
    assert f"sightline resume {folder.path}" in caught.value.hint
    folder.best.write_bytes(b"weights")
    assert folder.need(folder.best, "predict") == folder.best


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'format': 1}"])
def test_a_damaged_state_is_told(tmp_path: Path, content: bytes) -> None:
    folder = RunFolder.create(tmp_path, "first")
    folder.state.write_bytes(content)
    with pytest.raises(RunError, match=r"run\.json' is damaged"):
        RunFolder.open(folder.path)


def test_state_keeps_what_is_not_changed(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "first")
    started = folder.read_state()["started"]
    folder.write_state(status="finished", best_epoch=3)
    state = folder.read_state()
    assert (state["status"], state["best_epoch"], state["started"]) == ("finished", 3, started)


def test_no_two_files_of_a_run_share_a_name(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    paths = [getattr(folder, name) for name, kind in vars(RunFolder).items() if isinstance(kind, property)]
    assert len(paths) == len(set(paths))
    assert all(path.parent == tmp_path for path in paths)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["format", "status", "x"]), inner),
    max_leaves=5,
)


@given(content=JSON)
def test_any_state_is_read_or_told(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.state.write_text(json.dumps(content))
    if isinstance(content, dict) and type(content.get("format")) is int and content["format"] <= FORMAT:
        assert RunFolder.open(folder.path).read_state() == content
    else:
        with pytest.raises(RunError, match=re.escape(str(folder.path))):
            RunFolder.open(folder.path)
