"""Downloads: fetched once, checked, gone on with after a break, never believed without the right checksum."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from server import Server, record
from sightline.download import File, fetch
from sightline.errors import SourceError
from sightline.progress import Progress

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 700_000, dtype=np.uint8))


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT
    stream = io.StringIO()
    path = fetch(record(server.url("a"), content=CONTENT), tmp_path / "new", progress=Progress(stream=stream))
    assert path == tmp_path / "new" / "data.bin"
    assert path.read_bytes() == CONTENT
    assert inside(tmp_path / "new") == ["data.bin"]
    fetch(record(server.url("a"), content=CONTENT), tmp_path / "new")
    assert len(server.asked) == 1


def test_a_wrong_checksum_keeps_nothing(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT[:-1] + b"?"
    with pytest.raises(SourceError, match="wrong SHA-256") as error:
        fetch(record(server.url("a"), content=CONTENT), tmp_path)
    assert server.url("a") in str(error.value)
    assert inside(tmp_path) == []


def test_too_much_is_not_taken(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT + b"more"
    assert fetch(record(server.url("a"), content=CONTENT), tmp_path).read_bytes() == CONTENT


def test_the_second_mirror_serves_when_the_first_is_down(server: Server, tmp_path: Path) -> None:
    server.files["b"] = CONTENT
    closed = "http://127.0.0.1:9/a"
    assert fetch(record(closed, server.url("b"), content=CONTENT), tmp_path).read_bytes() == CONTENT
    assert fetch(record(server.url("no"), server.url("b"), content=CONTENT), tmp_path / "x").read_bytes() == CONTENT


def test_the_second_mirror_serves_when_the_first_is_wrong(server: Server, tmp_path: Path) -> None:
    server.files |= {"a": b"<html>moved</html>", "b": CONTENT}
    assert fetch(record(server.url("a"), server.url("b"), content=CONTENT), tmp_path).read_bytes() == CONTENT


def test_all_mirrors_down_names_each(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as error:
        fetch(record(server.url("a"), "http://127.0.0.1:9/b", content=CONTENT), tmp_path)
    assert f"{server.url('a')}: it answered 404" in str(error.value)
    assert "http://127.0.0.1:9/b: " in str(error.value)
    assert str(tmp_path) in error.value.hint


@pytest.mark.parametrize("stop", [1, 300_000, 699_999])
def test_an_interrupted_download_goes_on(server: Server, tmp_path: Path, stop: int) -> None:
    server.files["a"] = CONTENT
    server.stop_after = stop
    with pytest.raises(SourceError, match=r"stopped after|IncompleteRead") as error:
        fetch(record(server.url("a"), content=CONTENT), tmp_path)
    assert "it goes on after" in error.value.hint
    assert inside(tmp_path) == ["data.bin.part"]
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:stop]
    server.stop_after = None
    assert fetch(record(server.url("a"), content=CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("a", None), ("a", f"bytes={stop}-")]
    assert inside(tmp_path) == ["data.bin"]


def test_another_mirror_goes_on_where_the_first_stopped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1000])
    server.files["b"] = CONTENT
    assert fetch(record(server.url("no"), server.url("b"), content=CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == ("b", "bytes=1000-")


def test_a_server_that_cannot_go_on_starts_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1000])
    server.files["a"] = CONTENT
    server.ranges = False
    assert fetch(record(server.url("a"), content=CONTENT), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1), CONTENT])
def test_what_was_left_is_never_believed(server: Server, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "data.bin.part").write_bytes(left)
    server.files["a"] = CONTENT
    assert fetch(record(server.url("a"), content=CONTENT), tmp_path).read_bytes() == CONTENT
    assert inside(tmp_path) == ["data.bin"]


def test_a_place_beyond_the_end_starts_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1000])
    server.files["a"] = CONTENT[:1000]  # it answers 416, and then it has too little
    with pytest.raises(SourceError):
        fetch(record(server.url("a"), content=CONTENT), tmp_path)
    assert server.asked == [("a", "bytes=1000-"), ("a", None)]


# published in part: a rounded size, the first digits of the checksum


def about(url: str, content: bytes = CONTENT, off: int = 0) -> File:
    return File("data.bin", (url,), hashlib.sha256(content).hexdigest()[:8], len(content) + off, rounded=500)


@pytest.mark.parametrize("off", [-500, 0, 499])
def test_a_rounded_size_and_eight_digits_are_enough(server: Server, tmp_path: Path, off: int) -> None:
    server.files["a"] = CONTENT
    file = about(server.url("a"), off=off)
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_other_digits_keep_nothing(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT[::-1]
    with pytest.raises(SourceError, match="wrong SHA-256"):
        fetch(about(server.url("a")), tmp_path)
    assert inside(tmp_path) == []


def test_an_endless_answer_is_not_taken(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT * 5
    with pytest.raises(SourceError, match="wrong SHA-256"):
        fetch(about(server.url("a")), tmp_path)
    assert inside(tmp_path) == []


@pytest.mark.parametrize("kept", [300_000, len(CONTENT) - 100, len(CONTENT)])
def test_it_goes_on_although_the_size_is_rounded(server: Server, tmp_path: Path, kept: int) -> None:
    server.files["a"] = CONTENT
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:kept])
    assert fetch(about(server.url("a"), off=200), tmp_path).read_bytes() == CONTENT
    assert server.asked == ([] if kept == len(CONTENT) else [("a", f"bytes={kept}-")])
