"""The page of an ensemble: what it claims is what was measured; any names and any number of members fit."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from reports.runs import picture
from reports.test_page import NASTY, Reader
from sightline import files
from sightline.reports import vote
from sightline.reports.facts import read
from sightline.run import RunFolder
from sightline.voting.standing import Cost, Standing, judge


def ensemble(
    place: Path,
    *,
    members: int = 3,
    images: int = 120,
    classes: list[str] | None = None,
    names: list[str] | None = None,
    kind: str = "soft",
    skewed: bool = False,
    sure: float = 3.0,
) -> RunFolder:
    """Write what voting leaves in a folder, of members that are right more often than not."""
    classes = classes or ["bar", "disc", "grid"]
    random = np.random.default_rng(0)
    labels = random.choice(len(classes), images, p=[0.9] + [0.1 / (len(classes) - 1)] * (len(classes) - 1)) * skewed
    labels += random.integers(0, len(classes), images) * (not skewed)
    labels[: len(classes)] = np.arange(len(classes))
    logits = random.normal(size=(members, 2 * images, len(classes)))
    logits[:, np.arange(2 * images), np.tile(labels, 2)] += sure * random.random((members, 2 * images))
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    evaluation, standing = judge(
        p[:, :images].astype(np.float32),
        labels,
        classes,
        members=names or [f"member {m}" for m in range(members)],
        vote=kind,
        weights=list(range(1, members + 1)) if kind == "weighted" else None,
        names=[f"{row}.png" for row in range(images)],
        valid=(p[:, images:].astype(np.float32), labels),
        costs=[Cost(12_345, 6_789_012, 0.0612)] * members,
        notes=["Some were left out."],
    )
    folder = RunFolder(files.make_folder(place / "vote-1"))
    folder.write_state(status="finished", started="2026-11-22T10:00:00+0000")
    files.write_json(folder.evaluation, {"part": "test", **evaluation.as_dict()})
    files.write_json(folder.vote, standing.as_dict())
    files.write_json(folder.data, {"name": "shapes", "kind": "image", "classes": classes, "counts": {}})
    return folder


def shown(folder: RunFolder) -> Reader:
    names = [mistake.name for mistake in vote.read(folder).together]
    return Reader(vote.write(folder, thumbnails=dict.fromkeys(names, picture(0))).read_text(encoding="utf-8"))


def test_the_page_says_what_the_vote_is_worth(tmp_path: Path) -> None:
    folder = ensemble(tmp_path)
    seen, standing, found = shown(folder), vote.read(folder), read(folder).evaluation
    assert found is not None
    assert f"A vote of 3 gets {100 * found.accuracy.value:.1f} % of 120 held-out images right" in seen.text
    best = standing.members[standing.reference]
    gain = best.gain["accuracy"]
    assert f"‘{best.name}’, the best on validation images, gets {100 * best.accuracy.value:.1f} % alone" in seen.text
    assert f"The vote gains {100 * gain.value:+.1f} points on it" in seen.text.replace("−", "-")
    for seat in standing.members:
        assert seat.name in seen.text
    assert "12.3 k" in seen.text
    assert "61 µs" in seen.text
    assert "Some were left out." in seen.text
    together = round(standing.diversity.same_wrong * standing.count)
    assert f"{together} image" in seen.text
    assert len([image for image in seen.all("img") if "taken for" in str(image["alt"])]) >= min(together, 24)


def test_what_is_written_is_read_as_the_same(tmp_path: Path) -> None:
    standing = vote.read(ensemble(tmp_path, kind="weighted"))
    assert Standing.from_dict(standing.as_dict()) == standing


@pytest.mark.parametrize("kind", ["hard", "soft", "weighted"])
def test_each_vote_is_explained(kind: str, tmp_path: Path) -> None:
    seen = shown(ensemble(tmp_path, kind=kind))
    assert vote.KINDS[kind].format(things="images") in seen.text
    assert ("Share of the vote" in seen.text) == (kind == "weighted")


def test_balanced_accuracy_leads_where_classes_are_skewed(tmp_path: Path) -> None:
    folder = ensemble(tmp_path, skewed=True)
    assert vote.read(folder).lead == "balanced_accuracy"
    seen = shown(folder)
    assert "balanced accuracy on 120 held-out images" in seen.text
    assert "points of balanced accuracy" in seen.text


@pytest.mark.parametrize("members", [2, 13, 40])
def test_any_number_of_members_fits_the_drawings(members: int, tmp_path: Path) -> None:
    folder = ensemble(tmp_path, members=members, images=40)
    run, standing = read(folder), vote.read(folder)
    for name, drawing in vote.drawings(run, standing).items():
        root = ElementTree.fromstring(str(drawing))
        width, height = (float(root.attrib[side]) for side in ("width", "height"))
        limits = {"x": width, "x1": width, "x2": width, "y": height, "y1": height, "cy": height}
        for element in (e for e in root.iter() if e.text or not e.tag.endswith("text")):
            for key, limit in limits.items():
                if key in element.attrib and not element.attrib[key].endswith("%"):
                    assert -0.01 <= float(element.attrib[key]) <= limit + 0.01, (name, element.attrib)
    assert shown(folder).text.count("member 1") >= 1


def test_members_that_are_never_wrong_and_names_of_any_kind(tmp_path: Path) -> None:
    folder = ensemble(tmp_path, members=6, names=NASTY, classes=NASTY[:3], sure=60.0)
    seen = shown(folder)
    assert "Nowhere: whatever one member gets wrong" in seen.text or "taken for" in seen.text
    assert not seen.all("script")
    for name in NASTY[:4]:
        assert name in seen.text


def test_the_page_asks_for_nothing(tmp_path: Path) -> None:
    folder = ensemble(tmp_path)
    seen = shown(folder)
    assert not seen.all("script")
    assert not [tag for tag, attributes in seen.tags if str(attributes.get("src", "data:"))[:5] != "data:"]
    assert {path.name for path in folder.figures.iterdir()} == {
        "members.svg", "gain.svg", "gain-macro-f1.svg", "agreement.svg", "confusion.svg", "reliability.svg",
    }  # fmt: skip
