"""What a gallery shows: strongest examples, chosen images, images made, maps asked for; and its page in a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from reports.browser import OVERLAPS, PROGRAM, WIDE, Browser
from sightline.making.trained import Run
from sightline.models.plan import by
from sightline.progress import Progress
from sightline.reports import gallery
from sightline.seeing import exhibit
from sightline.seeing import made as room
from sightline.seeing.answers import answers
from sightline.seeing.exhibit import Chosen
from sightline.seeing.kept import Kept
from sightline.seeing.kernels import kernels
from sightline.seeing.layers import layers
from sightline.seeing.maps import maps
from sightline.seeing.subject import Subject

QUIET = Progress(quiet=True)


def tiny(shape: tuple[int, ...] = (1, 8, 8), count: int = 30) -> Subject:
    torch.manual_seed(0)
    conv = (nn.Conv1d, nn.Conv2d)[len(shape) - 2]
    relu, other = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
    model = nn.Sequential(conv(shape[0], 4, 3), relu, conv(4, 5, 3), other, nn.Flatten(), nn.LazyLinear(3))
    x = torch.randn(count, *shape)
    model(x)
    with torch.no_grad():
        model[0].bias[2] = -99.0
    labels = np.arange(count) % 3
    return Subject(model, shape, x, labels, [f"row {i}" for i in range(count)], ("cat", "dog", "owl"))


def chosen(subject: Subject) -> Chosen:
    with torch.no_grad():
        chances = subject.model(subject.examples).softmax(1).double().numpy()
    return Chosen(subject.examples, subject.labels, chances.argmax(1), chances.max(1), subject.names)


def test_answers_are_means_of_maps_and_dead_units_never_answer() -> None:
    subject = tiny()
    [said] = answers(subject.model, subject.examples, ["1"], known=subject.layers, batch=7)
    [whole] = maps(subject.model, subject.examples, ["1"])
    assert said.means == pytest.approx(whole.values.mean(axis=(2, 3)), abs=1e-6)
    assert said.dead.tolist() == whole.dead.tolist() == [2]
    assert said.order[-1] == 2
    best = said.strongest(0, 3)
    assert said.means[best, 0].tolist() == sorted(said.means[:, 0], reverse=True)[:3]


def test_units_that_answer_alike_are_named_once() -> None:
    subject, numbers = tiny(), np.random.default_rng(0)
    [said] = answers(subject.model, subject.examples, ["1"], known=subject.layers)
    one, other = numbers.standard_normal((2, 30)).astype(np.float32)
    means = np.stack([3 * one, 2.9 * one + 0.1 * other, other, np.zeros_like(one), 0.5 * one], axis=1)
    alike = replace(said, means=means, low=means.min(0), high=means.max(0))
    assert alike.order.tolist() == [0, 1, 2, 4, 3]
    assert alike.different(2) == [0, 2]
    assert alike.different(4) == [0, 2, 1, 4], "where no others are left, those that answer alike; never dead ones"


def test_answers_of_dense_layers() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    x = torch.randn(5, 1, 4)
    [said] = answers(model, x, ["2"], known=layers(model, x))
    assert said.means == pytest.approx(torch.tanh(model[1](x.flatten(1))).detach().numpy(), abs=1e-6)


def test_units_are_told_by_their_strongest_examples() -> None:
    subject = tiny()
    through = chosen(subject).mixed(2, 1)
    stages = exhibit.look(subject, through, units=2, shown=4, progress=QUIET)
    first = stages[0]
    assert [len(stage.units) for stage in stages] == [2, 2, 2, 2, 2]
    assert all(unit.number != 2 for unit in stages[1].units), "a dead unit is none of the strongest"
    unit = stages[1].units[0]
    assert unit.name == f"1:{unit.number}"
    assert unit.rows[0] == stages[1].answers.means[:, unit.number].argmax()
    assert unit.most == stages[1].answers.means[:, unit.number].max()
    order = np.argsort(-stages[1].answers.means[:, unit.number], kind="stable")[: exhibit.CLEAR]
    counts = np.bincount(subject.labels[order])
    assert unit.clear == (subject.classes[counts.argmax()], counts.max())
    assert first.maps.values.shape[0] == len(through)


def test_chosen_images_are_right_ones_of_different_classes_and_the_surest_wrong_ones() -> None:
    x = torch.zeros(6, 1, 2)
    labels, said = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 0, 1, 0])
    images = Chosen(x, labels, said, np.array([0.5, 0.6, 0.7, 0.8, 0.95, 0.9]), list("abcdef"))
    assert images.mixed(2, 2).names == ["a", "c", "e", "f"]
    assert images.take([0, 1, 2]).mixed(1, 1).names == ["a", "c"], "nothing was wrong: right ones take the places"
    assert images.mixed(3, 9).names == ["a", "c", "b", "e", "f", "d"]
    assert images.mixed(0, 0).names == []


def test_images_are_made_for_units_and_classes() -> None:
    subject = tiny()
    stages = exhibit.look(subject, chosen(subject).mixed(1, 1), units=1, progress=QUIET)[1:2]
    made, classes = exhibit.imagine(subject, stages, exhibit.classes(subject), steps=8, progress=QUIET)
    unit = made[0].units[0]
    assert unit.portrait is not None
    assert unit.portrait.ratio == pytest.approx(unit.portrait.dream.value / unit.most)
    assert unit.portrait.strongest[: len(unit.rows)] == tuple(unit.rows)
    assert unit.portrait.control is not None
    assert [each.name for each in classes] == ["cat", "dog", "owl"]
    portraits = [each.portrait for each in classes]
    assert all(one is not None and torch.isfinite(one.dream.image).all() for one in portraits)
    assert [one is not None and one.control is not None for one in portraits] == [True, True, True]


def test_images_of_a_gallery_are_made_once_and_kept_batch_by_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, kept = tiny(), Kept(tmp_path)
    stages = exhibit.look(subject, chosen(subject).mixed(1, 1), units=1, progress=QUIET)[1:3]
    logits, make, calls = exhibit.classes(subject), room.dream, list[int]()

    def stopping(*given: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return make(*given, **more)

    monkeypatch.setattr(room, "dream", stopping)
    with pytest.raises(KeyboardInterrupt):
        exhibit.imagine(subject, stages, logits, steps=2, kept=kept, progress=QUIET)
    assert len(list(tmp_path.iterdir())) == 1
    first = exhibit.imagine(subject, stages, logits, steps=2, kept=kept, progress=QUIET)
    monkeypatch.setattr(room, "dream", None)  # nothing is made a second time
    again = exhibit.imagine(subject, stages, logits, steps=2, kept=kept, progress=QUIET)
    for one, other in zip(first[1], again[1], strict=True):
        assert one.portrait is not None
        assert other.portrait is not None
        assert one.portrait.sentence == other.portrait.sentence
        assert torch.equal(one.portrait.dream.image, other.portrait.dream.image)


def test_a_way_that_does_not_fit_is_left_out_with_its_reason() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x = torch.randn(6, 1, 4, 4)
    subject = Subject(model, (1, 4, 4), x, np.arange(6) % 3, list("abcdef"), ("a", "b", "c"))
    asked, left = exhibit.ask(subject, chosen(subject).mixed(2, 2), progress=QUIET)
    assert [each.found.method for each in asked] == ["gradient", "smoothgrad", "integrated", "occlusion"]
    assert len(left) == 1
    assert "Grad-CAM" in left[0]


def test_small_pictures_are_enlarged_by_whole_numbers_and_large_ones_made_small() -> None:
    small = gallery.shown(np.zeros((8, 8), np.uint8), "a <b>")
    assert 'class="px"' in small
    assert 'width="64" height="64"' in small
    assert "a &lt;b&gt;" in small
    assert 'width="56" height="56"' in gallery.shown(np.zeros((28, 28), np.uint8), "")
    large = gallery.shown(np.zeros((224, 112, 3), np.uint8), "")
    assert "px" not in large.split("src")[0]
    assert 'width="32" height="64"' in large
    assert "data:image/jpeg" in large
    assert "data:image/png" in small


def test_a_gallery_without_data_shows_the_network_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.load(place / "runs/mine")
    monkeypatch.setattr(run, "_data_if_there", lambda progress: None)
    page = run.see(progress=QUIET).read_text(encoding="utf-8")
    assert "The network</h2>" in page
    assert "Kernels</h2>" in page
    assert "Classes</h2>" not in page


@pytest.mark.skipif(PROGRAM is None, reason="no chromium is installed")
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 36, 36), (2, 40)], ids=by)
def test_the_gallery_in_a_browser(browser: Browser, tmp_path: Path, shape: tuple[int, ...]) -> None:
    subject = tiny(shape, 15)
    images = chosen(subject)
    through, about = images.mixed(2, 1), images.mixed(1, 1)
    stages = exhibit.look(subject, through, units=2, progress=QUIET)
    stages, classes = exhibit.imagine(subject, stages, exhibit.classes(subject), steps=2, progress=QUIET)
    asked, left = exhibit.ask(subject, about, thrifty=True, progress=QUIET)
    found = exhibit.Exhibit(subject, through, tuple(stages), tuple(classes), about, tuple(asked), tuple(left))
    parts = gallery.exhibit(found, [], kernels(subject.model, shape))
    page = tmp_path / "gallery.html"
    page.write_text(gallery.render(title="x" * 90, kicker=["a", "b"], lede="", environment={}, **parts), "utf-8")
    for width, dark in ((1400, True), (400, False)):
        browser.open(page, width, dark=dark)
        assert browser.complaints() == []
        assert browser.requests() == []
        assert browser.ask(WIDE) == []
        assert browser.ask(OVERLAPS) == []
        browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("[...document.images].filter(i => !i.complete || !i.naturalWidth).length") == 0
    sizes = "[...document.querySelectorAll('img.px')].map(i => [i.naturalWidth, i.clientWidth])"
    strips = (160,)  # of a signal's positions, which are drawn to one width
    assert all(wide % own == 0 or wide in strips for own, wide in browser.ask(sizes))
