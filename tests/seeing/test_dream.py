"""Feature visualisation: images are found for every objective, in the range of the data, and the same ones again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import sightline
from sightline import see
from sightline.errors import ModelError, SettingsError
from sightline.models import zoo
from sightline.models.plan import Shape, by
from sightline.seeing import objectives as wish
from sightline.seeing.ascent import Dream
from sightline.seeing.canvas import Canvas
from sightline.seeing.dream import dream
from sightline.seeing.finishing import FLATTER, calmed, evened, first, softened
from sightline.seeing.hearing import evaluate
from sightline.seeing.layers import layers
from sightline.seeing.nature import falls, frequencies, hartley, measure, slope, usual
from sightline.seeing.objectives import LOGITS
from sightline.seeing.redirect import Redirected
from sightline.seeing.taps import Taps
from sightline.seeing.targets import target
from sightline.seeing.transforms import shifted, transform


class Edges(nn.Module):
    """Two units with known tastes, light left and light right; a third that can never wake up."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, (1, 2), bias=True)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(3, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, -1], [-1, 1], [0, 0]]).view(3, 1, 1, 2))
            self.conv.bias.copy_(torch.tensor([0.0, 0, -1]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.act(self.conv(x)).mean((2, 3))))


def photos(count: int, shape: Shape, exponent: float, seed: int = 0) -> Tensor:
    """Draw random images whose amplitude falls as frequency ** -exponent."""
    x = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
    x = x * frequencies(shape[1:]).clamp(min=1 / max(shape)) ** -exponent
    for axis, size in enumerate(shape[1:], start=2):
        x = torch.tensordot(x, hartley(size), dims=([axis], [0])).movedim(-1, axis)
    return x


@given(st.integers(1, 40))
def test_waves_are_their_own_inverse(size: int) -> None:
    assert torch.allclose(hartley(size) @ hartley(size), torch.eye(size), atol=1e-5)


def test_waves_hold_the_power_that_a_fourier_transform_finds() -> None:
    x = torch.randn(1, 12, generator=torch.Generator().manual_seed(0))
    mine, theirs = (x @ hartley(12)).square(), torch.fft.fft(x, norm="ortho").abs().square()
    assert torch.allclose(mine[0, 1:] + mine[0, 1:].flip(0), 2 * theirs[0, 1:], atol=1e-5)


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 32, 24), (1, 200)], ids=by)
def test_the_spectrum_of_the_data_is_found(shape: Shape, exponent: float) -> None:
    assert slope(photos(64, shape, exponent)) == pytest.approx(exponent, abs=0.1)


@pytest.mark.parametrize(
    ("shape", "exponent"), [((1, 28, 28), 1.3), ((3, 16, 24), 0.4), ((2, 140), 0.9), ((1, 8, 8, 8), 1.0)]
)
def test_the_spectrum_of_a_single_image_is_found(shape: Shape, exponent: float) -> None:
    found = falls(photos(30, shape, exponent))
    assert found.median() == pytest.approx(exponent, abs=0.2)
    scaled = falls(3 * photos(30, shape, exponent) - 7)
    assert torch.allclose(scaled, found, atol=1e-3)


def test_even_images_have_no_spectrum() -> None:
    x = torch.full((2, 1, 28, 28), 1.5321)
    x[1, 0, 3, 3] = -1
    assert falls(x).isnan().tolist() == [True, False]
    assert falls(photos(3, (1, 4, 4), 1.0)).isnan().all()  # two rings


def test_nature_is_that_of_the_data() -> None:
    grey = photos(50, (1, 16, 16), 1.0).repeat(1, 3, 1, 1) * torch.tensor([1.0, 2.0, 2.0]).view(1, 3, 1, 1)
    found = measure(grey)
    assert torch.equal(found.low, grey.amin((0, 2, 3)))
    assert torch.equal(found.high, grey.amax((0, 2, 3)))
    colours = found.colours @ found.colours.T
    assert torch.allclose(colours, torch.ones(3, 3), atol=0.02)  # grey images: all channels go together
    with pytest.raises(SettingsError, match="nothing can be measured"):
        measure(torch.full((3, 1, 4, 4), torch.nan))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (2, 50), (1, 5, 6, 4)], ids=by)
def test_what_is_painted_can_be_read(shape: Shape) -> None:
    data = photos(20, shape, 1.0)
    canvas = Canvas(shape, measure(data))
    coefficients = canvas.noise(3, seed=1, spread=0.15)
    images = canvas.paint(coefficients)
    assert torch.allclose(canvas.read(images), coefficients, atol=2e-3)
    assert images.amin() >= data.amin()
    assert images.amax() <= data.amax()
    assert torch.equal(canvas.noise(2, seed=1), canvas.noise(5, seed=1)[:2])


def test_shifts_mirror_what_is_inside() -> None:
    x = torch.arange(5.0).view(1, 1, 5)
    assert shifted(x, 2, 2).flatten().tolist() == [2, 1, 0, 1, 2]
    assert shifted(x, -1, 2).flatten().tolist() == [1, 2, 3, 4, 3]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 20), (2, 50), (1, 4, 4, 4), (1, 1, 9)], ids=by)
def test_movements_are_small_and_drawn_from_the_generator_alone(shape: Shape) -> None:
    x = photos(2, shape, 2.0)
    one, other = (transform(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert one.shape == x.shape
    assert one.amin() >= x.amin() - 1e-5
    assert one.amax() <= x.amax() + 1e-5
    if len(shape) == 3 and min(shape[1:]) > 16:
        likeness = F.cosine_similarity(one.flatten(1), x.flatten(1)).mean()
        assert likeness > 0.5


@pytest.mark.parametrize("way", [nn.ReLU(), nn.ReLU(inplace=True), F.relu, torch.relu, torch.relu_, Tensor.relu_])
def test_silent_rectifiers_let_gradients_pass(way: Any) -> None:
    x = torch.tensor([[-1.0, -2.0], [-1.0, 3.0]], requires_grad=True)
    with Redirected():
        y = way(x * 1.0)
        score = y.sum()
    (gradient,) = torch.autograd.grad(score, x)
    assert y.tolist() == [[0, 0], [0, 3]]
    assert gradient.tolist() == [[1, 1], [0, 1]]


FIVE = ("act[3,2,1]", "act:0", "act^2", "logit:1", "probability:1")


def test_units_get_what_they_are_known_to_like() -> None:
    model, data = Edges(), photos(40, (1, 8, 8), 1.0)
    known = layers(model, (1, 8, 8))
    asked = [wish.channel("conv", 0), wish.channel("conv", 1), -wish.channel("conv", 0)]
    left, right, negative = dream(model, asked, (1, 8, 8), nature=measure(data), known=known, steps=64)
    ramp = torch.linspace(1, -1, 8).expand(8, 8)
    assert F.cosine_similarity(left.image.flatten() - left.image.mean(), ramp.flatten(), dim=0) > 0.4
    assert F.cosine_similarity(right.image.flatten() - right.image.mean(), -ramp.flatten(), dim=0) > 0.4
    assert negative.value == pytest.approx(right.value, rel=0.1)
    with Taps(model, ["conv"]) as taps:
        natural = evaluate(taps, asked, data, known)
    assert left.value > 1.5 * natural[0].amax()


def test_what_a_first_layer_likes_best_is_found_to_the_pixel() -> None:
    asked = [wish.channel("act", 0), wish.channel("conv", 0), -wish.channel("act", 1)]
    rectified, plain, silent = dream(Edges(), asked, (1, 8, 8), steps=16)
    assert rectified.pixelwise
    assert rectified.value > 1.2 * max(rectified.curve)
    sides = plain.image[0, :, [0, -1]]  # the sum of differences along a row is that of its ends
    assert torch.equal(sides, torch.tensor([2.0, -2.0]).expand(8, 2))
    assert plain.value == pytest.approx(4 / 7, rel=1e-4)
    assert silent.value == 0
    assert not dream(Edges(), asked[:1], (1, 64, 64), steps=1)[0].pixelwise  # nobody looks at single pixels there


def test_fine_structure_that_brings_nothing_is_left_out() -> None:
    canvas, generator = Canvas((1, 16, 16), usual(1)), torch.Generator().manual_seed(0)
    wave = (torch.arange(16) * torch.pi / 8).cos().expand(1, 1, 16, 16)
    images = torch.cat([wave + 0.2 * torch.randn(1, 1, 16, 16, generator=generator), torch.zeros_like(wave)])

    def measure(x: Tensor) -> Tensor:
        return (x * wave).mean((1, 2, 3))

    before = measure(images)
    found, after = calmed(measure, canvas, images, before, torch.zeros(2))
    assert after[0] >= 0.97 * before[0]
    assert found[0].diff(dim=1).abs().mean() < 0.5 * images[0].diff(dim=1).abs().mean()
    assert torch.equal(found[1], images[1])


def test_one_colour_is_taken_where_it_is_as_good() -> None:
    images = torch.full((2, 3, 8, 8), 2.0)
    images[:, 1] = -2.0
    images[:, :, 2, 2] = 0.0
    before = images[:, 0].mean((1, 2))
    likes = [lambda x: x[0, 0].mean(), lambda x: x[1, 0].mean() - 2 * x[1, 1, 2, 2]]

    def measure(x: Tensor) -> Tensor:
        return torch.stack([like(x) for like in likes])

    found, after = evened(measure, images, measure(images), torch.zeros(2))
    assert after[0] == 2.0
    assert torch.equal(found[0], torch.tensor([2.0, -2, 2]).view(3, 1, 1).expand(3, 8, 8))
    assert before[0] < 2.0
    again, value = evened(measure, found, after + torch.tensor([0.0, 10]), torch.zeros(2))
    assert torch.equal(again[1], found[1])
    assert value[1] == after[1] + 10


def test_black_and_white_is_softened_until_its_spectrum_is_like_that_of_the_data() -> None:
    data = photos(40, (1, 16, 16), 1.3)
    canvas, generator = Canvas((1, 16, 16), measure(data)), torch.Generator().manual_seed(0)
    weights = (torch.arange(16) * torch.pi / 2).cos().expand(1, 1, 16, 16)  # stripes, four pixels wide
    stripes = torch.where(weights + 0.3 * torch.randn(1, 1, 16, 16, generator=generator) > 0, canvas.high, canvas.low)
    finest = torch.where((torch.arange(16) + torch.arange(16)[:, None]) % 2 == 0, canvas.high, canvas.low)
    images = torch.cat([stripes, canvas.high.expand(1, 1, 16, 16), finest])
    liked = torch.cat([weights, torch.ones_like(weights), 1e3 * finest])

    def score(x: Tensor) -> Tensor:
        return (x * liked).mean((1, 2, 3))

    before = score(images)
    found, after = softened(score, canvas, images, before, torch.zeros(3))
    assert falls(images)[0] < canvas.fall - FLATTER <= falls(found)[0]
    assert after[0] >= 0.5 * before[0]
    assert torch.allclose(score(found), after, rtol=1e-4)
    assert torch.equal(found[1:], images[1:])  # even; nothing but the finest structure
    assert found.amin() >= canvas.low
    assert found.amax() <= canvas.high


@pytest.mark.parametrize(
    ("name", "is_first"), [("0", True), ("1", True), ("2", True), ("3", False), ("4", False), ("5", False)]
)
def test_what_a_first_layer_is(name: str, is_first: bool) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Tanh(), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(32, 2)
    )
    known = layers(net, (1, 8, 8))
    assert first(wish.channel(name, 0), known) == is_first
    assert not first(wish.channel(name, 0) + wish.logit(0), known)


def test_the_ends_of_the_range_can_be_reached() -> None:
    canvas = Canvas((1, 4, 4), measure(torch.tensor([-3.0, 5.0]).repeat(8).view(1, 1, 4, 4)))
    drawn = torch.tensor([-3.0, 5.0]).repeat_interleave(8).view(1, 1, 4, 4)
    assert torch.allclose(canvas.paint(canvas.read(drawn)), drawn, atol=1e-4)


def test_silent_units_may_let_a_share_pass() -> None:
    x = torch.tensor([[-1.0, 3.0]], requires_grad=True)
    with Redirected(0.25):
        loss = (nn.functional.relu(x) * torch.tensor([2.0, 2.0])).sum()
    (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.tolist() == [[0.5, 2.0]]


def test_a_unit_that_noise_leaves_silent_is_woken_beside_classes_too() -> None:
    model = Edges()
    with torch.no_grad():
        model.conv.bias.fill_(-0.5)
    found = dream(model, [wish.channel("act", 0), wish.logit(0)], (1, 8, 8), steps=32)[0]
    assert found.start == 0
    assert found.woken == "noise"
    assert found.value > 0.1


def test_a_unit_that_cannot_wake_up_is_not_moved() -> None:
    found = dream(Edges(), [wish.channel("act", 2)], (1, 8, 8), examples=photos(5, (1, 8, 8), 1.0), steps=6)
    assert not found[0].moved
    assert found[0].value == 0


def test_an_image_depends_on_its_objective_and_the_seed_alone() -> None:
    model, asked = Edges(), [wish.channel("conv", 0), wish.logit(1)]
    one = dream(model, asked, (1, 8, 8), steps=32)
    again = dream(model, asked, (1, 8, 8), steps=32)
    alone = dream(model, asked[1:], (1, 8, 8), steps=32)
    other = dream(model, asked[1:], (1, 8, 8), steps=32, seed=1)
    assert all(torch.equal(a.image, b.image) for a, b in zip(one, again, strict=True))
    assert torch.allclose(one[1].image, alone[0].image, atol=1e-3)
    assert not torch.allclose(alone[0].image, other[0].image, atol=1e-3)


def test_diversity_pushes_images_for_one_objective_apart() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3))
    one = wish.channel("2", 1)
    plain = dream(model, [one] * 3, (1, 12, 12), steps=64)
    apart = dream(model, [one] * 3, (1, 12, 12), steps=64, diversity=2.0)

    def likeness(found: list[Dream]) -> float:
        x = F.normalize(torch.stack([d.image for d in found]).flatten(1), dim=1)
        return float((x @ x.T).triu(1).sum())

    assert likeness(apart) < likeness(plain)
    assert not torch.equal(plain[0].image, plain[1].image)


def test_a_photo_can_be_the_beginning() -> None:
    photo = photos(1, (1, 8, 8), 1.0)[0]
    model = Edges()
    found = dream(model, [wish.layer("conv")], (1, 8, 8), nature=measure(photo[None]), begin=photo, steps=16)[0]
    assert found.woken == "a photo"
    assert F.cosine_similarity(found.image.flatten(), photo.flatten(), dim=0) > 0.5
    with Taps(model, ["conv"]) as taps:
        assert found.start == pytest.approx(
            float(evaluate(taps, [wish.layer("conv")], photo[None], layers(model, (1, 8, 8)))), rel=0.1
        )


LITTLE = {"width": 0.25, "depth": 0.3, "hidden": 64}
CASES = [
    ("logistic", (1, 8, 8)), ("mlp", (1, 28, 28)), ("lenet5", (1, 28, 28)), ("cnn", (1, 28, 28)), ("cnn", (2, 60)),
    ("cnn", (1, 8, 8, 8)), ("resnet20", (3, 32, 32)), ("bigru", (1, 28, 28)), ("transformer", (3, 32, 32)),
    ("transformer", (2, 64)),
]  # fmt: skip


def five(known: Any) -> list[wish.Objective]:
    """All five objectives of the lecture, on a layer in the middle that has units."""
    place = [p for p in known if p.units > 1][len(known) // 2]
    at = [n // 2 for n in place.positions][::-1]
    one = wish.neuron(place.name, 1, at) if at else wish.channel(place.name, 1)
    return [one, wish.channel(place.name, 0), wish.layer(place.name), wish.logit(1), wish.probability(2)]


@pytest.mark.parametrize(("name", "shape"), CASES, ids=lambda case: case if isinstance(case, str) else by(case))
def test_all_five_objectives_on_networks_of_every_kind(name: str, shape: Shape) -> None:
    entry = zoo.entry(name)
    options = {k: v for k, v in LITTLE.items() if k in entry.shared or (k in entry.own and k != "depth")}
    torch.manual_seed(0)
    model = sightline.build(name, in_channels=shape[0], num_classes=3, image_size=shape[1:], **options)
    for p in model.parameters():
        if p.ndim == 1:  # without offsets, a deep network gives every image the same answer, and grey is the best one
            nn.init.normal_(p.data, p.mean().item(), 0.3)
    known = layers(model)
    found = dream(model, five(known), shape, known=known, steps=24, examples=photos(4, shape, 1.0))
    for one in found:
        assert one.image.shape == shape
        assert one.image.isfinite().all()
        assert one.value > one.start, one.name
        assert one.logits.shape == (3,)


def test_targets_are_read_as_the_lecture_writes_them() -> None:
    known, classes = layers(Edges(), (1, 8, 8)), ("cat", "t-shirt - blue")
    names = {
        "conv:1": "conv:1",
        "conv[:,:,1]": "conv:1",
        "conv[4,5,1]": "conv[4,5,1]",
        "conv[:,:,:]^2": "conv^2",
        "conv^2": "conv^2",
        "conv": "conv^2",
        "head:1": "head:1",
        "pre_softmax[0]": "logit:cat",
        "class:cat": "logit:cat",
        "softmax[1]": "probability:t-shirt - blue",
        "logit:t-shirt - blue": "logit:t-shirt - blue",
        "-conv:1": "-conv:1",
        "conv:1 + 0.5*act:0 - logit:cat": "conv:1 + 0.5*act:0 - logit:cat",
        "conv~7": "conv~7",
    }
    assert {text: target(text, known, classes).name for text in names} == names


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("conf:1", "Did you mean 'conv'"),
        ("conv:3", "has no unit 3"),
        ("conv[1,2]", "does not fit"),
        ("conv[:,2,1]", "no objective known"),
        ("logit:dog", "no class 'dog'"),
        ("softmax[2]", "no class '2'"),
        ("conv 1", "names nothing"),
        ("", "names nothing"),
    ],
)
def test_what_is_no_target_is_said(text: str, fault: str) -> None:
    with pytest.raises(ModelError, match=fault):
        target(text, layers(Edges(), (1, 8, 8)), ("cat", "cow"))


def test_what_cannot_be_asked_is_said() -> None:
    for asked, fault in [
        (wish.neuron("conv", 0, (7, 7)), "no position 7,7"),
        (wish.channel("conv", 9), "no unit 9"),
        (wish.logit(2), "no class 2"),
        (wish.channel("nowhere", 0), "no layer 'nowhere'"),
    ]:
        with pytest.raises(ModelError, match=fault):
            dream(Edges(), [asked], (1, 8, 8), steps=1)


def test_no_target_is_no_wish_and_arrays_are_examples() -> None:
    x = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    with pytest.raises(SettingsError, match="no target"):
        see.dream(Edges(), examples=torch.from_numpy(x))
    seen: Any = x
    assert torch.equal(see.subject(Edges(), seen).examples, torch.from_numpy(x))


def test_objectives_add_and_scale() -> None:
    heard = {"a": torch.rand(4, 3, 5, 5), LOGITS: torch.rand(4, 2)}
    one, other = wish.channel("a", 1), wish.logit(0)
    assert torch.allclose((one + 0.5 * other)(heard), heard["a"][:, 1].mean((1, 2)) + 0.5 * heard[LOGITS][:, 0])
    assert torch.allclose(wish.between(one, other, 1.0)(heard), other(heard))
    assert torch.allclose(wish.neuron("a", 2, (4, 3))(heard), heard["a"][:, 2, 3, 4])
    assert torch.allclose(wish.layer("a")(heard), heard["a"].square().mean((1, 2, 3)))
    assert torch.allclose(wish.probability(1)(heard).sigmoid(), heard[LOGITS].softmax(1)[:, 1])
    assert torch.allclose(wish.direction("a", [0, 2, 0])(heard), one(heard))
    assert (one - other * 2).name == "a:1 - 2*logit:0"


def test_without_data_usual_values_are_taken() -> None:
    nature = usual(2)
    assert nature.measured == 0
    assert np.isclose(nature.exponent, 1.0)
