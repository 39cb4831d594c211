"""Weights by what a user calls them: public files, own files, runs; fetched when allowed, checked, kept safe."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from server import Server
from sightline.download import File
from sightline.errors import ModelError, RunError
from sightline.models import arithmetic, obtain, senet, zoo
from sightline.models.obtain import public_network
from sightline.models.public import PUBLIC, Public

NAME = "resnet20"  # small, and with a variant; that nobody publishes weights of it is what the table below changes
FILE = "resnet20-public.pth"


def state(name: str = NAME, size: int = 32, classes: int = 10, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(1)
    network = zoo.build(name, in_channels=3, num_classes=classes, image_size=size, **options)
    return {key: value.clone() for key, value in network.state_dict().items()}


def saved(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


@pytest.fixture
def published(server: Server, tmp_path: Path) -> dict[str, Public]:
    """A table with one file, which a server of this machine has; its checksum is published by eight digits."""
    content = saved(tmp_path / "made" / FILE, state()).read_bytes()
    server.files[FILE] = content
    file = File(FILE, (server.url(FILE),), hashlib.sha256(content).hexdigest()[:8], len(content) + 40, 100)
    return {NAME: Public(file, "torchvision", "BSD-3-Clause", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1), size=32, classes=10)}


def inside(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# public files


def test_a_public_file_is_fetched_once_and_kept_as_safetensors(
    server: Server, published: dict[str, Public], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    network, preprocessing = public_network(NAME, download=True, cache=cache, public=published)
    assert inside(cache) == [f"weights/{NAME}/resnet20-public.safetensors"]
    assert all(torch.equal(value, state()[key]) for key, value in network.state_dict().items())
    assert (preprocessing.size, preprocessing.mean, preprocessing.std) == ((32, 32), (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    again, _ = public_network(NAME, cache=cache, public=published)
    assert len(server.asked) == 1
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(x), again(x))
    assert again.state_dict().keys() == state().keys()


def test_offline_the_message_names_file_address_and_place(
    server: Server, published: dict[str, Public], tmp_path: Path
) -> None:
    with pytest.raises(ModelError) as error:
        obtain.obtain("imagenet", NAME, cache=tmp_path / "cache", public=published)
    for words in (FILE, "MB", server.url(FILE), str(tmp_path / "cache" / "weights" / NAME), "--download", "PATH"):
        assert words in str(error.value)
    assert server.asked == []
    assert not (tmp_path / "cache").exists()


def test_a_file_put_where_the_message_says_is_taken_and_left_there(
    server: Server, published: dict[str, Public], tmp_path: Path
) -> None:
    place = saved(tmp_path / "cache" / "weights" / NAME / FILE, state())
    public_network(NAME, cache=tmp_path / "cache", public=published)
    assert place.is_file()
    assert server.asked == []


def test_what_torchvision_has_fetched_is_found(
    server: Server, published: dict[str, Public], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    theirs = saved(tmp_path / "torch" / "hub" / "checkpoints" / FILE, state())
    public_network(NAME, cache=tmp_path / "cache", public=published)
    assert theirs.is_file()
    assert server.asked == []
    assert inside(tmp_path / "cache") == [f"weights/{NAME}/resnet20-public.safetensors"]


def test_another_content_is_refused_and_nothing_kept(
    server: Server, published: dict[str, Public], tmp_path: Path
) -> None:
    server.files[FILE] = server.files[FILE][:-1] + b"?"
    with pytest.raises(ModelError, match="wrong SHA-256"):
        obtain.obtain("imagenet", NAME, download=True, cache=tmp_path / "cache", public=published)
    assert inside(tmp_path / "cache") == []
    place = saved(tmp_path / "cache" / "weights" / NAME / FILE, state(classes=11))
    with pytest.raises(ModelError, match="not the file that was published: its SHA-256 begins with") as error:
        obtain.obtain("imagenet", NAME, cache=tmp_path / "cache", public=published)
    assert server.url(FILE) in error.value.hint
    assert inside(tmp_path / "cache") == [str(place.relative_to(tmp_path / "cache"))]


def test_an_interrupted_download_goes_on(server: Server, published: dict[str, Public], tmp_path: Path) -> None:
    server.stop_after = 300_000
    with pytest.raises(ModelError, match=r"stopped after|IncompleteRead") as error:
        obtain.obtain("imagenet", NAME, download=True, cache=tmp_path, public=published)
    assert "it goes on after" in error.value.hint
    server.stop_after = None
    public_network(NAME, download=True, cache=tmp_path, public=published)
    assert server.asked[1] == (FILE, "bytes=300000-")


def test_a_network_without_public_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no public ImageNet weights for 'plain20'") as error:
        obtain.obtain("imagenet", "plain20", cache=tmp_path)
    assert "resnet18" in error.value.hint


@pytest.mark.parametrize("weights", ["imagnet", "no/such/file.pth", "Imagenet"])
def test_what_is_neither_is_told(weights: str) -> None:
    with pytest.raises(ModelError, match=f"there are no weights '{weights}'") as error:
        obtain.obtain(weights, "resnet18")
    assert ("Did you mean 'imagenet'" in error.value.fault) == (weights != "no/such/file.pth")


# the table


def test_every_public_file_is_described() -> None:
    for name, public in PUBLIC.items():
        assert name in zoo.ZOO
        digits = re.fullmatch(r".+-([0-9a-f]{8})\.pth", public.file.name)
        assert digits, "the publishers put the checksum's first eight digits into the name"
        assert re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", public.file.sha256)
        assert public.file.sha256.startswith(digits[1])
        (url,) = public.file.urls
        assert url.startswith("https://")
        assert url.endswith(f"/{public.file.name}")
        assert public.licence in {"BSD-3-Clause", "Apache-2.0"}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_file_is_as_large_as_its_network(name: str) -> None:
    """Four bytes for every weight and running statistic, and little beside: 1 % and 0.1 MB for names and zip."""
    plan = zoo.plan(name, in_channels=3, num_classes=1000, image_size=224, **obtain.built(name))
    rows = arithmetic.table(plan)
    floats = arithmetic.parameters(rows) + sum(row.parameters for row in rows if row.kind == "batch norm")
    if name == "googlenet":  # its file has the two auxiliary heads, which are as large again
        floats *= 2
    assert PUBLIC[name].file.size == pytest.approx(4 * floats, rel=0.07 if name == "googlenet" else 0.01, abs=1e5)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_variant_is_chosen(name: str) -> None:
    chosen = obtain.built(name)
    assert chosen.get("variant") == ("public" if "variant" in zoo.entry(name).own else None)
    assert chosen.get("stem") == ("paper" if "stem" in zoo.entry(name).own else None)


def test_googlenet_sees_pixels_from_minus_one_to_one() -> None:
    """torchvision's ``transform_input`` undoes ImageNet's normalisation and puts (x - 0.5) / 0.5 in its place."""
    public = PUBLIC["googlenet"]
    theirs = PUBLIC["resnet18"]
    x = torch.rand(3)
    mean, std = torch.tensor(theirs.mean), torch.tensor(theirs.std)
    transformed = (x - mean) / std * (std / 0.5) + (mean - 0.5) / 0.5
    torch.testing.assert_close(transformed, (x - torch.tensor(public.mean)) / torch.tensor(public.std))


# own files


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_a_file_is_read_by_its_kind_and_kept_once_it_fits(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state(), path)
    cache = tmp_path / "cache"
    weights = obtain.obtain(str(path), NAME, cache=cache)
    assert weights.preprocessing is None
    assert weights.options == {"variant": "public", "stem": "paper"}
    assert not cache.exists()
    network = zoo.build(NAME, in_channels=3, num_classes=4, image_size=16, **weights.options)
    assert weights.fit(network, tuple("abcd")).fresh == {"fc.weight", "fc.bias"}
    weights.keep()
    digits = hashlib.sha256(path.read_bytes()).hexdigest()
    kept = [] if suffix == ".safetensors" else [f"weights/{NAME}/mine-{digits[:16]}.safetensors"]
    assert inside(cache) == kept
    again = obtain.obtain(str(path), NAME, cache=cache)
    assert all(torch.equal(again.tensors[name], value) for name, value in state().items())
    assert path.is_file()


def test_what_is_kept_is_not_read_as_a_pickle_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "mine.pth", state())
    obtain.obtain(str(path), NAME, cache=tmp_path / "cache").keep()
    monkeypatch.setattr(torch, "load", lambda *given, **options: pytest.fail("read again"))
    obtain.obtain(str(path), NAME, cache=tmp_path / "cache")


def test_a_public_file_is_known_wherever_it_lies(published: dict[str, Public], tmp_path: Path) -> None:
    path = saved(tmp_path / "renamed.pth", state())
    digits = hashlib.sha256(path.read_bytes()).hexdigest()
    table = {NAME: replace(published[NAME], file=replace(published[NAME].file, sha256=digits))}
    weights = obtain.obtain(str(path), "resnet18", cache=tmp_path / "cache", public=table)
    assert weights.model == NAME, "the default network gives way to the one the file is for"
    assert weights.preprocessing is not None
    assert weights.origin == str(path)
    with pytest.raises(ModelError, match=f"are for '{NAME}', not 'vgg11'"):
        obtain.obtain(str(path), "vgg11", cache=tmp_path / "cache", public=table)


def test_names_of_timm_are_ours_in_the_end(tmp_path: Path) -> None:
    own = state("se_resnet18", width=0.1, variant="public", stem="paper")
    path = saved(tmp_path / "timm.pth", {senet.to_timm(name): value for name, value in own.items()})
    weights = obtain.obtain(str(path), "se_resnet18", cache=tmp_path / "cache")
    assert weights.tensors.keys() == own.keys()
    assert "its names are timm's" in weights.notes


@pytest.mark.parametrize(("name", "size", "stem"), [("resnet18", 224, "paper"), ("resnet18", 32, "small")])
def test_the_stem_is_the_one_the_file_has(tmp_path: Path, name: str, size: int, stem: str) -> None:
    path = saved(tmp_path / "mine.pth", state(name, size, width=0.1))
    assert obtain.obtain(str(path), name, cache=tmp_path / "cache").options["stem"] == stem


def test_a_file_of_ours_is_of_the_papers_variant(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "best.safetensors", metadata={"sightline": json.dumps({"epoch": 3})})
    weights = obtain.obtain(str(tmp_path / "best.safetensors"), NAME, cache=tmp_path / "cache")
    assert "variant" not in weights.options


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "text": b"hello",
    "header longer than the file": (10**6).to_bytes(8, "little") + b"{}",
    "header of exabytes": (2**63).to_bytes(8, "little") + b"{}",
    "no JSON": (4).to_bytes(8, "little") + b"{{{{",
    "a tensor beyond the end": (lambda head: len(head).to_bytes(8, "little") + head)(
        json.dumps({"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}).encode()
    ),
    "shape and bytes differ": (lambda head: len(head).to_bytes(8, "little") + head + bytes(8))(
        json.dumps({"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 8]}}).encode()
    ),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_safetensors_file_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.safetensors' is no whole safetensors file"):
        obtain.obtain(str(tmp_path / "w.safetensors"), NAME, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_truncated_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[:-1])
    with pytest.raises(ModelError, match="no whole safetensors file"):
        obtain.obtain(str(tmp_path / "w.safetensors"), NAME, cache=tmp_path / "cache")


def test_a_pickle_called_safetensors_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "w.safetensors", state())
    with pytest.raises(ModelError, match="no whole safetensors file"):
        obtain.obtain(str(tmp_path / "w.safetensors"), NAME, cache=tmp_path / "cache")


def test_another_kind_of_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF")
    with pytest.raises(ModelError, match=r"is called '\.h5'") as error:
        obtain.obtain(str(tmp_path / "weights.h5"), NAME)
    assert "state_dict" in error.value.hint


def test_code_in_a_file_leaves_nothing_behind(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'proof'}",)

    path = saved(tmp_path / "w.pth", {**state(), "fc.weight": Evil()})
    with pytest.raises(ModelError, match="holds more than tensors"):
        obtain.obtain(str(path), NAME, cache=tmp_path / "cache")
    assert not (tmp_path / "proof").exists()
    assert not (tmp_path / "cache").exists()


# runs


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        obtain.obtain(str(tmp_path), NAME)


def test_what_is_kept_says_where_it_is_from(published: dict[str, Public], tmp_path: Path) -> None:
    from safetensors import safe_open

    public_network(NAME, download=True, cache=tmp_path, public=published)
    path = tmp_path / "weights" / NAME / "resnet20-public.safetensors"
    with safe_open(path, "pt") as file:
        told = json.loads(file.metadata()["kept"])
    assert told["source"] == FILE
    assert told["sha256"].startswith(published[NAME].file.sha256)
    assert load_file(path).keys() == state().keys()
