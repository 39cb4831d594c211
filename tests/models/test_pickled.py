"""Files that torch.save wrote: tensors come out, code never runs, and what is broken or a bomb is one clear error."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sightline.errors import ModelError
from sightline.models.pickled import read_pickled

STATE = OrderedDict({"conv.weight": torch.arange(24.0).view(2, 3, 2, 2), "conv.bias": torch.ones(2)})


class Evil:
    """Unpickled the usual way, it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def saved(path: Path, content: Any, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def bytes_of(content: Any, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "old format"])
@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3, "optimizer": {"lr": 0.1}},
        {"model": STATE},
        {f"module.{name}": value for name, value in STATE.items()},
        {"state_dict": {f"module.{name}": nn.Parameter(value) for name, value in STATE.items()}},
    ],
    ids=["plain", "wrapped", "model", "parallel", "parallel parameters"],
)
def test_the_tensors_of_a_state_dict_come_out(tmp_path: Path, content: Any, legacy: bool) -> None:
    found = read_pickled(saved(tmp_path / "w.pth", content, legacy))
    assert list(found) == list(STATE)
    assert all(torch.equal(found[name], STATE[name]) and not found[name].requires_grad for name in STATE)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "old format"])
@pytest.mark.parametrize("where", ["beside", "inside", "alone"])
def test_code_in_a_file_is_never_run(tmp_path: Path, where: str, legacy: bool) -> None:
    evil = Evil(tmp_path / "proof")
    content = {"beside": {**STATE, "evil": evil}, "inside": {"state_dict": {"a": evil}}, "alone": evil}[where]
    with pytest.raises(ModelError, match=r"holds more than tensors: loading it would call 'posix.system'") as error:
        read_pickled(saved(tmp_path / "w.pth", content, legacy))
    assert "None of its code was run" in error.value.hint
    assert "weights_only" not in str(error.value), "nobody shall be told how to run it after all"
    assert not evil.proof.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle_is_refused(tmp_path: Path, protocol: int) -> None:
    evil = Evil(tmp_path / "proof")
    (tmp_path / "w.pth").write_bytes(pickle.dumps(evil, protocol))
    with pytest.raises(ModelError, match=r"w\.pth"):
        read_pickled(tmp_path / "w.pth")
    assert not evil.proof.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"torch\.nn\.modules\.linear\.Linear") as error:
        read_pickled(saved(tmp_path / "w.pth", nn.Linear(2, 2)))
    assert "state_dict" in error.value.hint


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"<html>not found</html>", b"PK\x03\x04", bytes(1000), b"\x80\x02", b"GIF89a" * 50],
    ids=["empty", "text", "html", "zip's first bytes", "zeros", "pickle's first bytes", "picture"],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"'.*w\.pth' is no whole file of weights"):
        read_pickled(tmp_path / "w.pth")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        read_pickled(tmp_path / "w.pth")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "old format"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float, legacy: bool) -> None:
    whole = bytes_of({"a": torch.ones(5000)}, legacy)
    (tmp_path / "w.pth").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match="no whole file of weights"):
        read_pickled(tmp_path / "w.pth")


WHOLE = {legacy: bytes_of(STATE, legacy) for legacy in (False, True)}


@settings(max_examples=25)
@given(
    st.booleans(), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_a_damaged_file_gives_tensors_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, legacy: bool, flips: list[tuple[float, int]]
) -> None:
    damaged = bytearray(WHOLE[legacy])
    for place, value in flips:
        damaged[int(place * len(damaged))] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(damaged)
    with suppress(ModelError):
        assert all(isinstance(value, torch.Tensor) for value in read_pickled(path).values())


def rezipped(path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(io.BytesIO(bytes_of(STATE))) as old, zipfile.ZipFile(path, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)), compression)
    return path


def test_a_zip_bomb_is_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rezipped(
        tmp_path / "w.pth", lambda name, own: bytes(10**7) if name.endswith("/0") else own, zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 10**6
    monkeypatch.setattr(torch, "load", lambda *given, **options: pytest.fail("torch has opened it"))
    with pytest.raises(ModelError, match=r"compressed or overlap \(0\.0 MB outside, 10\.0 MB inside\)"):
        read_pickled(path)


def test_parts_that_overlap_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of this archive is stored, but a hundred names share the bytes of one."""
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data/0", bytes(10**5))
        first = archive.infolist()[0]
        for number in range(1, 100):
            entry = zipfile.ZipInfo(f"archive/data/{number}")
            for name in ("header_offset", "file_size", "compress_size", "CRC", "compress_type"):
                setattr(entry, name, getattr(first, name))
            archive.filelist.append(entry)
            archive._didModify = True
    monkeypatch.setattr(torch, "load", lambda *given, **options: pytest.fail("torch has opened it"))
    with pytest.raises(ModelError, match="compressed or overlap"):
        read_pickled(path)


def test_a_huge_pickle_is_refused(tmp_path: Path) -> None:
    path = rezipped(tmp_path / "w.pth", lambda name, own: own + bytes(1 << 25) if name.endswith(".pkl") else own)
    with pytest.raises(ModelError, match="not written by torch"):
        read_pickled(path)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.ones(1).expand(10**9), "tensor without plain data"),
        (torch.eye(3).to_sparse(), "tensor without plain data"),
        (torch.empty(3, device="meta"), "tensor without plain data"),
        (3, "int"),
        ("text", "str"),
        ({"a": torch.ones(1)}, "dict"),
    ],
    ids=["huge view of one number", "sparse", "meta", "number", "text", "nested"],
)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_what_is_no_plain_tensor_is_named(tmp_path: Path, value: Any, kind: str) -> None:
    with pytest.raises(ModelError, match=f"'odd' in the weights file .* is a {kind}"):
        read_pickled(saved(tmp_path / "w.pth", {**STATE, "odd": value}))


@pytest.mark.parametrize("content", [[1, 2], torch.ones(3), {}, {1: torch.ones(2)}, "text", {"epoch": 3}])
def test_what_holds_no_names_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ModelError, match=r"'epoch' in|holds no tensors by name"):
        read_pickled(saved(tmp_path / "w.pth", content))


def test_numbers_of_numpy_are_not_tensors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="numpy"):
        read_pickled(saved(tmp_path / "w.pth", {**STATE, "score": np.float64(0.9)}))


def test_the_environment_cannot_switch_the_safety_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    evil = Evil(tmp_path / "proof")
    with pytest.raises(ModelError, match="holds more than tensors"):
        read_pickled(saved(tmp_path / "w.pth", {"a": evil}))
    assert not evil.proof.exists()
