"""To a hub and back: the same answers, nothing private, nothing half; whatever is strange there is refused."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load, save
from stand_in import Hub

import sightline
from sightline.errors import MissingExtraError, RunError
from sightline.hub import parcel
from sightline.hub.remote import pull, push
from sightline.making.trained import Run
from sightline.progress import Progress
from sightline.run import RunFolder

# What the package does inside itself when it uploads; its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

QUIET = Progress(quiet=True)
REPO = "jane/shapes"


def sent(run: Run, hub: Hub, **options: Any) -> dict[str, bytes]:
    push(run, REPO, progress=QUIET, **options)
    return hub.repositories[REPO].files


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_there_and_back(trained: Run, hub: Hub, tmp_path: Path) -> None:
    done = push(trained, REPO, progress=QUIET)
    assert (done.public, done.url) == (False, f"{hub.url}/{REPO}")
    assert done.commit == hub.repositories[REPO].head
    assert sum(call.startswith("POST") and "commit" in call for call in hub.asked) == 1, "all in one commit"
    assert hub.large, "the weights went through the protocol for large files"
    back = pull(REPO, progress=QUIET)
    assert back.path == Path("runs/shapes")
    assert back.headline == trained.headline
    assert back.classes == trained.classes
    pictures = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(back.predict(pictures).probabilities, trained.predict(pictures).probabilities)
    source = Path(json.loads(trained.folder.data.read_text())["source"])
    ours, theirs = (run.evaluate(source, progress=QUIET).accuracy for run in (trained, back))
    assert ours == theirs
    assert back.report(QUIET).is_file()
    assert back.folder.read_state()["pulled"]["commit"] == done.commit
    assert everything(tmp_path) == {"runs", "runs/shapes", *(f"runs/shapes/{n}" for n in everything(back.path))}


def test_what_is_private_stays(trained: Run, hub: Hub) -> None:
    told = sent(trained, hub)
    always = parcel.TRAVELS.keys() - {"split.csv", "positions.safetensors"}
    assert told.keys() == always | {"README.md", "config.json", ".gitattributes"}
    source = json.loads(trained.folder.data.read_text())["source"]
    for name, content in told.items():
        for secret in (b"secret-", b"patients", b"dr no", source.encode(), str(Path.home()).encode() + b"/"):
            assert secret not in content, f"{name} tells {secret!r}"


def test_the_report_travels_when_asked_for_and_is_never_taken_back(trained: Run, hub: Hub) -> None:
    assert b"<html" in sent(trained, hub, report=True)["report.html"]
    assert not pull(REPO, progress=QUIET).folder.report.exists()
    assert "report.html" not in sent(trained, hub), "the next push without it takes it away"


def test_looking_first_asks_nobody(trained: Run, hub: Hub, tmp_path: Path) -> None:
    done = push(trained, REPO, only_to=tmp_path / "look", licence="mit", progress=QUIET)
    assert hub.asked == []
    assert everything(tmp_path / "look") == set(done.names)
    with pytest.raises(RunError, match="exists already"):
        push(trained, REPO, only_to=tmp_path / "look", progress=QUIET)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("from /home/jane/weights/best.pth, 5 MB", "from best.pth, 5 MB"),
        (r"C:\Users\jane\photos\x.png is gone", "x.png is gone"),
        ("~/data/private/", "private"),
        ("see https://huggingface.co/jane/shapes", "see https://huggingface.co/jane/shapes"),
        ("bar/5.png, train/valid/test 80/10/10, and/or", "bar/5.png, train/valid/test 80/10/10, and/or"),
        ("'/srv/scans/a','/srv/scans/b'", "'a','b'"),
    ],
)
def test_paths_are_cut_down(text: str, bare: str) -> None:
    assert parcel.bare({"said": [text, 3]}) == {"said": [bare, 3]}


def test_settings_that_are_paths_are_cut_down() -> None:
    told = {"runs": "/x", "name": "n", "model": "mlp", "given": {"weights": "../private/w.pth"}, "trackers": ["a/b"]}
    assert parcel._settings(told) == {"model": "mlp", "given": {"weights": "w.pth"}, "trackers": ["b"]}


def test_known_data_can_be_scored_again_by_anybody(hub: Hub, tmp_path: Path) -> None:
    """With what normalising measured at each pixel."""
    run = sightline.train("digits", "logistic", epochs=1, normalise="pixel", runs=tmp_path / "own", progress=QUIET)
    assert sent(run, hub).keys() >= {"split.csv", "positions.safetensors"}
    back = pull(REPO, progress=QUIET)
    assert back.evaluate(progress=QUIET).accuracy == run.evaluate(progress=QUIET).accuracy


def test_images_of_ones_own_have_to_be_given(trained: Run, hub: Hub) -> None:
    sent(trained, hub)
    with pytest.raises(RunError, match="or it was pulled"):
        pull(REPO, progress=QUIET).evaluate(progress=QUIET)


def test_the_card(trained: Run, hub: Hub) -> None:
    text = sent(trained, hub, licence="cc-by-4.0")["README.md"].decode()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "cc-by-4.0"
    assert front["tags"] == ["image-classification", "sightline", "mlp"]
    result = front["model-index"][0]["results"][0]
    accuracy = json.loads(trained.folder.evaluation.read_text())["accuracy"]
    assert result["metrics"] == [{"type": "accuracy", "value": round(accuracy["value"], 4)}]
    for line in ("| bar | 2 |", "sightline pull jane/shapes", "48 to train on, 6 to validate, 6 to test"):
        assert line in text
    assert "95 % interval" in text
    assert "The figures come from only 6\N{NO-BREAK SPACE}images" in text


def test_names_in_a_card_are_only_text(trained: Run, tmp_path: Path) -> None:
    """Class names are whatever folders are called."""
    copy = Path(shutil.copytree(trained.path, tmp_path / "copy"))
    odd = "a | b <script>alert(1)</script> [x](http://y) `z`"
    for name in ("data.json", "evaluation.json"):
        path = copy / name
        path.write_text(path.read_text().replace('"disc"', json.dumps(odd)))
    (tmp_path / "out").mkdir()
    parcel.pack(Run.load(copy), tmp_path / "out", REPO)
    text = (tmp_path / "out" / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])
    assert "<script>" not in text
    assert "[x](" not in text
    (row,) = (line for line in text.splitlines() if line.startswith("| a "))
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    told = json.loads((tmp_path / "out" / "config.json").read_text())
    assert told["id2label"]["1"] == odd
    assert told["label2id"][odd] == 1


def test_private_unless_told_otherwise(trained: Run, hub: Hub) -> None:
    sent(trained, hub)
    assert hub.repositories[REPO].private
    assert not push(trained, REPO, public=True, progress=QUIET).public, "what is private there stays so"
    push(trained, "jane/open", public=True, progress=QUIET)
    assert not hub.repositories["jane/open"].private
    with pytest.raises(RunError, match="everybody would see") as caught:
        push(trained, "jane/open", progress=QUIET)
    assert "--public" in caught.value.hint
    push(trained, "jane/open", public=True, progress=QUIET)


def test_something_else_is_not_written_over(trained: Run, hub: Hub) -> None:
    hub.put(REPO, {"README.md": b"my thesis", "thesis.pdf": b"%PDF"}, private=True)
    with pytest.raises(RunError, match=r"holds something else: thesis\.pdf"):
        push(trained, REPO, progress=QUIET)
    assert hub.repositories[REPO].files == {"README.md": b"my thesis", "thesis.pdf": b"%PDF"}


def test_a_run_without_scores_is_not_pushed(trained: Run, hub: Hub, tmp_path: Path) -> None:
    copy = RunFolder(Path(shutil.copytree(trained.path, tmp_path / "copy")))
    copy.write_state(status="running")
    with pytest.raises(RunError, match="is running: it has no scores"):
        push(copy.path, REPO, progress=QUIET)
    assert hub.asked == []


def test_an_existing_folder_is_left_alone(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(RunError, match="exists already"):
        pull(REPO, tmp_path / "mine", progress=QUIET)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["shapes", "jane/", "/jane/shapes", "jane/../shapes", "jane/a--b", "ja ne/x", "a/b/c"])
def test_names_that_are_none(name: str, trained: Run, hub: Hub, tmp_path: Path) -> None:
    for call in (lambda: push(trained, name, progress=QUIET), lambda: pull(name, tmp_path / "x", progress=QUIET)):
        with pytest.raises(RunError, match="names no repository"):
            call()
    assert hub.asked == []


def json_of(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        told = json.loads(content)
        change(told)
        return json.dumps(told).encode()

    return changed


def other_weights(content: bytes) -> bytes:
    return save({name.replace("weight", "height"): value for name, value in load(content).items()})


def pickled() -> bytes:
    """Give an array file of objects, which only a pickle can hold."""
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


STRANGE: dict[str, tuple[str, Callable[[bytes], bytes] | bytes | None, str]] = {
    "no weights": ("model.safetensors", None, "it has no model.safetensors"),
    "no settings": ("settings.toml", None, "is no run of Sightline"),
    "a pickle": ("model.pkl", b"cos\nsystem\n(S'touch owned'\ntR.", "belong to no run: 'model.pkl'"),
    "code": ("model.py", b"import os", "belong to no run"),
    "a way out": ("../../owned", b"x", r"belong to no run: '\.\./\.\./owned'"),
    "a way out of Windows": ("..\\owned", b"x", "belong to no run"),
    "a folder": ("figures/inputs.png", b"x", "belong to no run"),
    "an absolute name": ("/tmp/owned", b"x", "belong to no run"),
    "another case": ("Run.json", b"{}", "belong to no run"),
    "no JSON": ("data.json", b"{", "is no whole run"),
    "no object": ("run.json", b"[]", "no JSON object"),
    "not finite": ("evaluation.json", b'{"temperature": NaN}', "is no whole run"),
    "no TOML": ("settings.toml", b"[settings", "no valid TOML"),
    "an unknown setting": ("settings.toml", b"[settings]\nmodle = 'mlp'\n", "unknown setting 'modle'"),
    "an unknown network": ("settings.toml", b"[settings]\nmodel = 'evil'\n", "there is no network 'evil'"),
    "a newer format": ("run.json", json_of(lambda told: told.update(format=99)), "has format 99"),
    "classes that are none": ("data.json", json_of(lambda told: told.update(classes=[1, 2, 3])), "different names"),
    "fewer classes": ("data.json", json_of(lambda told: told.update(classes=["a"])), "is no whole run"),
    "one class twice": ("data.json", json_of(lambda told: told.update(classes=["a", "a", "b"])), "different names"),
    "no preprocessing": ("data.json", json_of(lambda told: told.pop("preprocessing")), "KeyError: 'preprocessing'"),
    "odd preprocessing": ("data.json", json_of(lambda told: told["preprocessing"].update(x=1)), "is no whole run"),
    "other weights": ("model.safetensors", other_weights, "do not fit"),
    "no safetensors": ("model.safetensors", lambda content: b"\x80" * len(content), "no whole safetensors file"),
    "half the weights": ("model.safetensors", lambda content: content[: len(content) // 2], "by its other files"),
    "cut off": ("model.safetensors", lambda content: content[:-1], "no whole safetensors"),
    "too much": ("model.safetensors", lambda content: content + bytes(1_000_000), "by its other files"),
    "damaged history": ("history.jsonl", b"{]\n", "is no whole run"),
    "a pickle in an array": ("valid_losses.npy", pickled(), "valid_losses.npy' cannot be read"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_what_is_no_whole_run_is_refused(case: str, trained: Run, hub: Hub, tmp_path: Path) -> None:
    name, change, words = STRANGE[case]
    files = dict(sent(trained, hub))
    content = change(files[name]) if callable(change) else change
    hub.put(REPO, {**files, name: content} if content is not None else {n: c for n, c in files.items() if n != name})
    with pytest.raises(RunError, match=words) as caught:
        pull(REPO, progress=QUIET)
    assert REPO in caught.value.fault
    assert caught.value.hint
    assert everything(tmp_path) <= {"runs"}, "something was left behind"


def test_a_large_network_in_words_takes_no_memory(trained: Run, hub: Hub) -> None:
    """The settings of a stranger may ask for a network of any size; it is only planned."""
    files = dict(sent(trained, hub))
    files["settings.toml"] = b"[settings]\nmodel = 'mlp'\n[settings.options]\nhidden = [1000000, 1000000, 1000000]\n"
    hub.put(REPO, files)
    with pytest.raises(RunError, match="by its other files it has 8,"):
        pull(REPO, progress=QUIET)


@pytest.mark.parametrize("name", ["data.json", "model.safetensors"])
def test_what_arrives_otherwise_than_told_is_refused(name: str, trained: Run, hub: Hub, tmp_path: Path) -> None:
    files = sent(trained, hub)
    hub.lies[name] = bytes([files[name][0] ^ 1]) + files[name][1:]
    with pytest.raises(RunError, match=f"'{name}' of 'jane/shapes' did not arrive as the hub has it"):
        pull(REPO, progress=QUIET)
    assert everything(tmp_path) <= {"runs"}


def test_an_older_version_can_be_pulled(trained: Run, hub: Hub) -> None:
    first = push(trained, REPO, progress=QUIET).commit
    push(trained, REPO, licence="mit", progress=QUIET)
    assert pull(REPO, "old", revision=first, progress=QUIET).folder.read_state()["pulled"]["commit"] == first
    with pytest.raises(RunError, match="no such revision"):
        pull(REPO, "older", revision="v0", progress=QUIET)


def test_refusals_of_the_hub_are_told(trained: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no 'jane/nothing'") as caught:
        pull("jane/nothing", progress=QUIET)
    assert "hf auth login" in caught.value.hint
    with pytest.raises(RunError, match=r"refuses \(403\)"):
        push(trained, "joe/shapes", progress=QUIET)
    sent(trained, hub)
    for token in ("hf_of_joe", ""):
        monkeypatch.setenv("HF_TOKEN", token)
        for call in (lambda: push(trained, REPO, progress=QUIET), lambda: pull(REPO, progress=QUIET)):
            with pytest.raises(RunError) as caught:
                call()
            assert "hf auth login" in caught.value.hint, token
    assert everything(tmp_path) <= {"runs"}


def test_a_hub_that_cannot_be_reached(hub: Hub, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    for call in (lambda: pull(REPO, progress=QUIET), lambda: push(trained, REPO, progress=QUIET)):
        with pytest.raises(RunError, match=r"http://127\.0\.0\.1:9 cannot be asked") as caught:
            call()
        assert "connection" in caught.value.hint
    assert everything(tmp_path) <= {"runs"}


def test_a_full_disk_leaves_nothing(trained: Run, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent(trained, hub)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("sightline.files.os.fsync", full)
        with pytest.raises(RunError, match="disk is full"):
            pull(REPO, progress=QUIET)
    assert everything(tmp_path) <= {"runs"}
    assert pull(REPO, progress=QUIET).headline == trained.headline


def test_without_the_package(trained: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: pull(REPO, progress=QUIET), lambda: push(trained, REPO, progress=QUIET)):
        with pytest.raises(MissingExtraError, match="huggingface_hub"):
            call()
    assert push(trained, REPO, only_to=tmp_path / "look", progress=QUIET).names, "looking needs no package"


def test_by_command(trained: Run, hub: Hub, tmp_path: Path) -> None:
    """In a process of its own, as a user types it; nothing but results on stdout."""
    script = f"""
import sys
from sightline.cli import app
for line in (["push", {str(trained.path)!r}, "{REPO}", "--quiet"], ["pull", "{REPO}", "--to", "here", "--json", "-q"]):
    app(line, standalone_mode=False)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    pushed, _, told = done.stdout.partition("{")
    assert pushed.splitlines()[-2:] == [f"{_megabytes(hub)} MB, private", f"{hub.url}/{REPO}"]
    assert json.loads("{" + told)["run"] == "here"


def _megabytes(hub: Hub) -> str:
    files = hub.repositories[REPO].files
    return f"{sum(len(content) for name, content in files.items() if name != '.gitattributes') / 1e6:,.1f}"
