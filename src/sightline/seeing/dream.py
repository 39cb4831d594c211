"""A network and objectives -> the image that each of them likes best, found by gradient ascent, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from sightline.models.plan import Shape
from sightline.progress import Progress
from sightline.seeing.ascent import Ascent, Dream
from sightline.seeing.canvas import Canvas
from sightline.seeing.finishing import FINE, calmed, evened, finished, first, softened
from sightline.seeing.hearing import differentiable, evaluate, hear, logits, values
from sightline.seeing.layers import Layers, layers
from sightline.seeing.nature import Nature, usual
from sightline.seeing.objectives import LOGITS, Objective, check
from sightline.seeing.taps import Taps


def dream(
    model: nn.Module,
    objectives: Sequence[Objective],
    shape: Shape,
    *,
    nature: Nature | None = None,
    known: Layers | None = None,
    examples: Tensor | None = None,
    scores: Tensor | None = None,
    begin: Tensor | None = None,
    steps: int = 256,
    diversity: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Dream]:
    """Make an image for each objective; all of them in one batch.

    The recipe is that of Olah et al. 2017 (Feature Visualization), at the network's own size and in the range, the
    colours and the spectrum of its data. Each image depends on its objective and the seed, not on the others in the
    batch (unless they are to be diverse, or some are classes), up to the rounding of sums.

    Args:
        model: any module; it is left exactly as it was.
        objectives: what to excite, see ``sightline.seeing.objectives``; the same one twice starts at different noise.
        shape: (C, *positions) of an image.
        nature: what the data are like; None: usual values.
        known: the model's layers, if they are known already.
        examples: float (N, C, *positions): where an objective stays silent, or is excited less than by one of these,
            it starts again at the one that excites it most.
        scores: float (objectives, N), every objective on every example, if they are known.
        begin: float (C, *positions), a photo to start at instead of noise.
        steps: at most; an image without gain for long is finished earlier.
        diversity: above 0, images for the same objective are then pushed apart: by the cosine of Gram matrices of
            the layer they are made for, as far as each keeps all but this share of what the strongest reaches.
        seed: of noise and movements.
        progress: shows the steps.

    Raises:
        ModelError: the model cannot be looked into, or has no such layer, unit or class.
    """
    known = known or layers(model, shape)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    canvas = Canvas(shape, nature or usual(shape[0]), device)
    wanted = tuple(dict.fromkeys(name for objective in objectives for name in objective.layers if name != LOGITS))
    outside = any(LOGITS in objective.layers for objective in objectives)
    classes = logits(model, canvas.paint(canvas.noise(1, seed=seed))).shape[1] if outside else 0
    for objective in objectives:
        check(objective, known, classes)
    repeats = [_before(objectives, i) for i in range(len(objectives))]
    stop = not outside and all(known[name].calls == 1 for name in wanted)
    with Taps(model, wanted, stop=stop) as taps, differentiable(model):
        ascent = Ascent(taps, canvas, known, seed, progress or Progress(quiet=True))
        if begin is not None:
            photos = canvas.read(begin[None]).repeat(len(objectives), *[1] * len(shape))
            found = ascent.run(objectives, photos, "a photo", steps)
        else:
            noise = canvas.noise(max(repeats) + 1, seed=seed)[repeats]
            # not for classes: there, what passes silent rectifiers made images that other networks knew less often
            found = ascent.run(objectives, noise, "noise", steps, opening=not outside)
            found = _again(ascent, objectives, found, steps, examples, scores)
            found = _finished(ascent, objectives, found)
            if diversity and max(repeats):
                found = _apart(ascent, objectives, found, steps, diversity)
    said = logits(model, torch.stack([one.image for one in found]))
    return [replace(one, logits=said[i]) for i, one in enumerate(found)]


def _again(
    ascent: Ascent,
    objectives: Sequence[Objective],
    found: list[Dream],
    steps: int,
    examples: Tensor | None,
    scores: Tensor | None,
) -> list[Dream]:
    """Begin again where nothing moved: at strong noise, at the example that excites it most, held still, with care.

    What moved, but not as far as the data get, begins again at an example, too, with care if that adds nothing.
    Movements make images robust. Where what excites a unit is destroyed by any of them, as in deep networks that have
    learnt nothing, only an image that is held still finds it, or one that goes by steps that can be taken back.
    """
    found, canvas = list(found), ascent.canvas

    def tried(way: str, rows: list[int], begin: Tensor) -> None:
        asked = [objectives[i] for i in rows]
        if way.endswith("with care"):
            made = ascent.careful(asked, begin, way, steps)
        else:  # an example has what excites the unit already: half the steps add what there is to add
            count = max(steps // 2, 1) if way == "an example" else steps
            made = ascent.run(asked, begin, way, count, still=way.endswith("held still"))
        for i, one in zip(rows, made, strict=True):
            if one.value > found[i].value:
                found[i] = replace(one, start=found[i].start)

    if rows := [i for i, one in enumerate(found) if not one.moved]:
        tried("strong noise", rows, canvas.noise(len(rows), seed=ascent.seed + 1, spread=1.0))
    if examples is not None and len(examples):
        if scores is None:
            scores = evaluate(ascent.taps, objectives, examples, ascent.known)
        order = scores.argsort(dim=1, descending=True)
        natural = scores.amax(1).tolist()

        def best(rows: list[int]) -> Tensor:  # each repeat has an example of its own
            places = [min(_before(objectives, i), len(examples) - 1) for i in rows]
            return canvas.read(examples[order[rows, places]])

        if rows := [i for i, one in enumerate(found) if not one.moved or _gain(one, natural[i]) < -1e-3]:
            tried("an example", rows, best(rows))
        if rows := [i for i, one in enumerate(found) if one.woken == "an example" and _gain(one, natural[i]) < 1e-3]:
            tried("an example, with care", rows, best(rows))
    for way in ("noise, held still", "noise, with care"):
        if rows := [i for i, one in enumerate(found) if not one.moved]:
            tried(way, rows, canvas.noise(len(rows), seed=ascent.seed))
    return found


def _gain(one: Dream, natural: float) -> float:
    """Say how much further than the best example an image gets, as a share of the way from its start to that."""
    return (one.value - natural) / (abs(natural - one.start) or 1.0)


def _finished(ascent: Ascent, objectives: Sequence[Objective], found: list[Dream]) -> list[Dream]:
    """Finish what moved: what was made for a first layer pixel by pixel, for other units without idle fine structure.

    The former is then one colour, if that is as good, or softened. Images for classes stay as they are.
    """
    found, canvas = list(found), ascent.canvas
    moved = [i for i, one in enumerate(found) if one.moved and LOGITS not in objectives[i].layers]
    small = min(canvas.shape[1:]) < FINE
    sharp = [i for i in moved if small and first(objectives[i], ascent.known)]
    for rows in (sharp, [i for i in moved if i not in sharp]):
        if not rows:
            continue
        images = torch.stack([found[i].image for i in rows]).to(canvas.device)
        before, starts = (
            torch.tensor([getattr(found[i], name) for i in rows], device=images.device) for name in ("value", "start")
        )
        asked = [objectives[i] for i in rows]

        def measure(x: Tensor, asked: Sequence[Objective] = tuple(asked)) -> Tensor:
            return values(asked, hear(ascent.taps, x, ascent.known))

        if rows is sharp:
            numbers = torch.Generator().manual_seed(ascent.seed)
            images, after = finished(measure, images, before, canvas.low, canvas.high, numbers)
            images, after = evened(measure, images, after, starts)
            images, after = softened(measure, canvas, images, after, starts)
        else:
            images, after = calmed(measure, canvas, images, before, starts)
        for k, i in enumerate(rows):
            if after[k] != before[k]:
                found[i] = replace(found[i], image=images[k].cpu(), value=float(after[k]), pixelwise=rows is sharp)
    return found


def _apart(
    ascent: Ascent, objectives: Sequence[Objective], found: list[Dream], steps: int, share: float
) -> list[Dream]:
    """Push images for the same objective apart; none gives up more than a share of what the strongest reaches."""
    tops = [max(other.value for k, other in enumerate(found) if objectives[k] is one) for one in objectives]
    floors = torch.tensor([top - share * abs(top) for top in tops])
    begin = ascent.canvas.read(torch.stack([one.image for one in found]))
    images, after = ascent.apart(objectives, begin, floors.to(begin), steps)
    return [
        replace(one, image=image, value=value, pixelwise=False)
        for one, image, value in zip(found, images.cpu(), after.tolist(), strict=True)
    ]


def _before(objectives: Sequence[Objective], i: int) -> int:
    """Count how many before the i-th are the same."""
    return sum(other is objectives[i] for other in objectives[:i])
