"""Units and targets: answers to the data, images with their controls, kept for the next time; photos dreamt into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sightline import see
from sightline.errors import ModelError, SettingsError
from sightline.seeing import made as room
from sightline.seeing.kept import Kept, key
from sightline.seeing.portraits import portraits
from sightline.seeing.subject import Subject
from sightline.seeing.targets import wanted
from sightline.seeing.units import BINS, unit


class Sides(nn.Module):
    """Class 0 where the left half is brighter, class 1 where the right half is; the third unit never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 4, stride=4, bias=True)
        self.act = nn.ReLU()
        self.head = nn.Linear(3, 2, bias=False)
        ramp = torch.tensor([-1.0, -1, 1, 1]).expand(4, 4)
        with torch.no_grad():
            self.conv.weight.copy_(torch.stack([-ramp, ramp, ramp * 0])[:, None] / 8)
            self.conv.bias.copy_(torch.tensor([0.0, 0, -1]))
            self.head.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 2, 0]]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.act(self.conv(x)).mean((2, 3))))


@pytest.fixture(scope="module")
def subject() -> Subject:
    numbers = torch.Generator().manual_seed(0)
    x = torch.rand(80, 1, 8, 8, generator=numbers) * 0.3
    labels = np.arange(80) % 2
    x[labels == 0, :, :, 0::4] += 0.6
    x[labels == 0, :, :, 1::4] += 0.6
    x[labels == 1, :, :, 2::4] += 0.6
    x[labels == 1, :, :, 3::4] += 0.6
    return Subject(Sides(), (1, 8, 8), x, labels, [f"number {i}" for i in range(80)], ("left", "right"))


def test_a_unit_is_shown_over_all_its_range(subject: Subject) -> None:
    found = unit(subject, "act:1", shown=5)
    exact = subject.model.act(subject.model.conv(subject.examples)).mean((2, 3))[:, 1].detach().numpy()  # type: ignore[operator,union-attr]
    assert np.allclose(found.answers, exact, atol=1e-6)
    assert found.answers[found.most].min() >= np.sort(exact)[-5] - 1e-6
    assert found.answers[found.least].max() <= np.sort(exact)[4] + 1e-6
    assert set(subject.labels[found.most]) == {1}
    assert found.counts.shape == (2, BINS)
    assert found.counts.sum(axis=1).tolist() == [40, 40]
    assert found.active == pytest.approx(float((exact > 0).mean()))
    assert not found.dead


def test_a_unit_feeds_the_classes_that_need_it(subject: Subject) -> None:
    found = unit(subject, "act:1")
    strongest = np.sort(found.answers)[-32:]
    assert found.feeds == pytest.approx([0, 2 * (strongest.mean() - found.answers.mean())], abs=1e-4)


def test_a_dead_unit_is_called_dead(subject: Subject) -> None:
    assert unit(subject, "act:2").dead
    assert portraits(subject, ["act:2"], steps=4)[0].sentence.startswith("Dead")
    with pytest.raises(ModelError, match="no unit 3"):
        unit(subject, "act:3")


def test_portraits_come_with_their_controls(subject: Subject) -> None:
    left, right = portraits(subject, ["logit:left", "logit:right"], steps=48)
    for one, label in ((left, 0), (right, 1)):
        assert one.dream.moved
        assert one.dream.probabilities.argmax() == label
        assert set(subject.labels[list(one.strongest)]) == {label}
        assert one.control is not None
        assert one.control.shape == one.dream.image.shape
        assert -1 <= one.likeness <= 1
        assert one.path > 0.5
        assert "largest natural value" in one.sentence


def test_what_falls_short_of_the_data_begins_at_the_best_example(subject: Subject) -> None:
    one, other = portraits(subject, ["head:0", "head:0"], steps=1)  # a step is not enough
    for found in (one, other):
        assert found.dream.woken == "an example"
        assert found.ratio > 0.9
        assert "its strongest example" in found.sentence
    assert not torch.equal(one.dream.image, other.dream.image)


@pytest.mark.parametrize(
    ("text", "fault"), [("act[9,9,0]", "no position 9,9"), ("logit:2", "no class"), ("nil:0", "nil")]
)
def test_what_is_not_there_is_refused_before_anything_is_measured(subject: Subject, text: str, fault: str) -> None:
    with pytest.raises(ModelError, match=fault):
        portraits(subject, [text], steps=1)


def test_what_was_made_is_kept_for_these_weights_and_this_question(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, targets = Kept(tmp_path / "kept"), ["head:0", "act:1", "head:0"]
    first = portraits(subject, targets, steps=8, kept=kept)
    assert not torch.equal(first[0].dream.image, first[2].dream.image)
    monkeypatch.setattr(room, "dream", None)  # nothing is made a second time
    again = portraits(subject, targets, steps=8, kept=kept)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.dream.image, other.dream.image)
        assert (one.sentence, one.strongest, one.dream.curve) == (other.sentence, other.strongest, other.dream.curve)
    with pytest.raises(TypeError):
        portraits(subject, targets, steps=9, kept=kept)
    for file in (tmp_path / "kept").iterdir():
        file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(TypeError):
        portraits(subject, targets, steps=8, kept=kept)


def test_more_images_for_a_target_are_other_images(subject: Subject, tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    [alone] = portraits(subject, ["head:0"], steps=4, kept=kept)
    first, second = portraits(subject, ["head:0", "head:0"], steps=4, kept=kept)
    assert torch.equal(alone.dream.image, first.dream.image)
    assert not torch.equal(first.dream.image, second.dream.image)


def test_an_interruption_costs_no_more_than_a_batch(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, done = Kept(tmp_path), []

    def stopping(*given: Any, **more: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return make(*given, **more)

    make = room.dream
    monkeypatch.setattr(room, "BATCH", 1)
    monkeypatch.setattr(room, "dream", stopping)
    with pytest.raises(KeyboardInterrupt):
        portraits(subject, ["act:0", "act:1"], steps=4, kept=kept)
    assert len(list(tmp_path.iterdir())) == 1


def test_other_weights_are_another_question(subject: Subject) -> None:
    other = Sides()
    assert Subject(other, (1, 8, 8), subject.examples, subject.labels, (), subject.classes).digest == subject.digest
    other.head.weight.data[0, 0] += 1e-3
    assert Subject(other, (1, 8, 8), subject.examples, subject.labels, (), subject.classes).digest != subject.digest
    assert key("a", steps=1) != key("a", steps=2) != key("b", steps=2)


def test_any_network_can_be_looked_at_from_python(subject: Subject) -> None:
    model = Sides()
    assert [p.name for p in see.layers(model, (1, 8, 8))] == ["conv", "act", "head"]
    made = see.dream(model, "act:0", "-act:0", examples=subject.examples, steps=8)
    assert made[0].dream.value > 0 >= made[1].dream.value
    assert see.unit(model, "act:0", examples=subject.examples).name == "act:0"
    with pytest.raises(SettingsError, match="without examples"):
        see.dream(model, "act:0")


def test_a_photo_of_any_size_is_dreamt_into(subject: Subject) -> None:
    photo = torch.rand(1, 30, 22, generator=torch.Generator().manual_seed(1))
    made = see.deepdream(subject, photo, "act^2", steps=6)
    before, after = (subject.model.act(subject.model.conv(x[None])).square().mean() for x in (photo, made))  # type: ignore[operator]
    assert made.shape == photo.shape
    assert after > 1.5 * before
    assert made.amin() >= subject.examples.amin()
    assert made.amax() <= subject.examples.amax()
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2))
    with pytest.raises(ModelError, match="does not reach 'logit:1'"):
        see.deepdream(model, photo, "logit:1", examples=subject.examples)


def test_the_opposite_of_a_sum_and_the_way_between_two_targets(subject: Subject) -> None:
    [(_, opposite)] = wanted(["act:0 + 0.5*act:1"], subject.layers, negative=True)
    assert opposite.name == "-act:0 - 0.5*act:1"
    way = wanted(["act:0", "logit:left"], subject.layers, subject.classes, between=3)
    assert [one.name for _, one in way] == ["act:0", "0.5*act:0 + 0.5*logit:left", "logit:left"]
    for texts, steps in ((["act:0"], 5), (["act:0", "act:1"], 2)):
        with pytest.raises(SettingsError, match="not possible"):
            wanted(texts, subject.layers, between=steps)
