"""Targets -> the images made for them, each beside what keeps it honest: data, a network that learnt nothing, paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.progress import Progress
from sightline.seeing.dream import Dream, dream, evaluate
from sightline.seeing.kept import Kept, key
from sightline.seeing.objectives import LOGITS, Objective
from sightline.seeing.subject import Subject
from sightline.seeing.taps import Taps
from sightline.seeing.targets import target
from sightline.seeing.trust import shuffled

BATCH = 16
"""Images that are made at once: what is finished is kept, so an interruption costs at most so many."""

STRONGEST = 8
"""Examples that stand for those an objective likes."""

VERSION = 2
"""Of the recipe: what another one made is not taken for this one's."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """An image made for a target, and what it is worth.

    Attributes:
        dream: the image, and how it was found.
        natural: the objective's largest value among the examples; NaN without any.
        dead: whether the objective is the same for all examples: nothing in the data moves it.
        strongest: int64, rows of the examples it likes best, best first.
        control: float32 (C, *positions), what the same recipe makes of the same network with its weights shuffled.
        likeness: correlation of the two images, -1..1: near 1, the image shows the architecture, not what was learnt.
        path: how much the network treats the image as it treats the strongest examples, mean over the layers on the
            way: 1 as these treat each other, 0 as images taken at random (after Geirhos et al. 2024); NaN where that
            cannot be told.
    """

    dream: Dream
    natural: float
    dead: bool
    strongest: tuple[int, ...]
    control: Tensor
    likeness: float
    path: float

    @property
    def ratio(self) -> float:
        """The objective on the image over its largest natural value; NaN where that is not above 0."""
        return self.dream.value / self.natural if self.natural > 0 else float("nan")

    @property
    def sentence(self) -> str:
        """What to make of it."""
        if self.dead and not self.dream.moved:
            return "Dead: the same for all examples, and no image was found that wakes it."
        if self.dead:
            return "Dead on the data: the same for all examples; only an image made for it moves it."
        if not self.dream.moved:
            return "No image was found that it likes better than noise."
        parts = [f"{self.ratio:.2f} times the largest natural value" if self.ratio == self.ratio else "above noise"]
        if self.likeness > 0.7:
            parts.append("but much the same without anything learnt")
        if self.path == self.path:
            told = "as" if self.path > 0.7 else "not quite as" if self.path > 0.3 else "unlike"
            parts.append(f"processed {told} natural images ({self.path:.2f})")
        return ", ".join(parts).capitalize() + "."


def portraits(
    subject: Subject,
    targets: Sequence[str],
    *,
    steps: int = 256,
    seed: int = 0,
    diversity: float = 0.0,
    kept: Kept | None = None,
    progress: Progress | None = None,
) -> list[Portrait]:
    """Make an image for each target, with its controls.

    Args:
        subject: the network and examples.
        targets: texts, see ``sightline.seeing.targets``; a text that comes twice gives two images.
        steps: at most, for the image and for its control.
        seed: of noise and movements.
        diversity: see ``dream``.
        kept: where answers are looked up and kept.
        progress: shows the work.

    Raises:
        ModelError: a target cannot be read or asked for; nothing has been done then.
    """
    kept = kept or Kept(None)
    progress = progress or Progress(quiet=True)
    read = {text: target(text, subject.layers, subject.classes) for text in targets}
    made: dict[int, Portrait] = {}
    groups: list[list[int]] = [[]]
    for i, text in enumerate(targets):
        repeat = list(targets[:i]).count(text)
        found = _recalled(kept, _key(subject, text, repeat, steps, seed, diversity, targets), read[text])
        if found is not None:
            made[i] = found
            continue
        if len(groups[-1]) >= BATCH and text not in targets[:i]:  # images for one target stay together
            groups.append([])
        groups[-1].append(i)
    with progress.task("Images", total=len(targets)) as task:
        task.advance(len(made))
        for group in filter(None, groups):
            asked = [read[targets[i]] for i in group]
            for i, one in zip(group, _make(subject, asked, steps, seed, diversity, progress), strict=True):
                made[i] = one
                repeat = list(targets[:i]).count(targets[i])
                kept.write(_key(subject, targets[i], repeat, steps, seed, diversity, targets), _arrays(one))
            task.advance(len(group))
    return [made[i] for i in range(len(targets))]


def _make(
    subject: Subject, asked: list[Objective], steps: int, seed: int, diversity: float, progress: Progress
) -> list[Portrait]:
    examples = subject.examples if len(subject.examples) else None

    def images(model: nn.Module, examples: Tensor | None) -> list[Dream]:
        return dream(
            model, asked, subject.shape, nature=subject.nature, known=subject.layers, examples=examples, steps=steps,
            diversity=diversity, seed=seed, progress=progress,
        )  # fmt: skip

    made = images(subject.model, examples)
    controls = images(shuffled(subject.model, seed), None)
    if examples is None:
        scores = torch.full((len(asked), 1), torch.nan)
    else:
        with Taps(subject.model, [name for name in _layers(asked) if name != LOGITS]) as taps:
            scores = evaluate(taps, asked, examples, subject.layers)
    strongest = scores.argsort(dim=1, descending=True)[:, :STRONGEST]
    paths = [
        path_similarity(subject, objective, one.image, strongest[i]) if examples is not None else float("nan")
        for i, (objective, one) in enumerate(zip(asked, made, strict=True))
    ]
    return [
        Portrait(
            one, float(scores[i].amax()), bool(scores[i].amax() - scores[i].amin() <= 1e-6 * scores[i].abs().amax()),
            tuple(strongest[i].tolist()) if examples is not None else (), controls[i].image,
            correlation(one.image, controls[i].image), paths[i],
        )
        for i, one in enumerate(made)
    ]  # fmt: skip


def path_similarity(subject: Subject, objective: Objective, image: Tensor, strongest: Tensor) -> float:
    """Say whether an image takes the way through a network that natural images take which the objective likes.

    In every layer up to the objective's, units are averaged over their maps and compared by the cosine of their
    deviations from the mean example. How alike the image and the strongest examples are is placed between how alike
    random examples are to these (0) and how alike these are to each other (1); within -1..2, averaged over layers.

    Args:
        subject: network and examples.
        objective: of one layer.
        image: (C, *positions), made for it.
        strongest: rows of the examples it likes best.

    Returns:
        The mean; NaN where examples are too few or too equal to tell.
    """
    count = len(strongest)
    if count < 4 or len(subject.examples) < 4 * count:
        return float("nan")
    leaves = [place for place in subject.layers if place.leaf and place.parameters and place.units > 1]
    if objective.layers[0] != LOGITS:
        order = [place.name for place in subject.layers]
        end = order.index(objective.layers[0])
        leaves = [place for place in leaves if order.index(place.name) <= end] or [subject.layers[objective.layers[0]]]
    spread = torch.linspace(0, len(subject.examples) - 1, min(64, len(subject.examples))).long()
    x = torch.cat([image[None], subject.examples[strongest], subject.examples[spread]])
    device = next((p.device for p in subject.model.parameters()), x.device)
    values = []
    with Taps(subject.model, [place.name for place in leaves]) as taps, torch.no_grad():
        taps.run(x.to(device))
        for place in leaves:
            maps = place.maps(taps[place.name]).float().cpu()
            features = maps.flatten(2).mean(2) if maps.ndim > 2 else maps
            features = F.normalize(features - features[1 + count :].mean(0), dim=1)
            own, best, others = features[0], features[1 : 1 + count], features[1 + count :]
            each = float(((best @ best.T).sum() - count) / (count * (count - 1)))
            base = float((others @ best.T).mean())
            if each - base > 0.05:
                values.append(float(np.clip((float((best @ own).mean()) - base) / (each - base), -1, 2)))
    return float(np.mean(values)) if values else float("nan")


def correlation(one: Tensor, other: Tensor) -> float:
    """Compare two images: the correlation of their values, 0 where one of them is even."""
    a, b = one.flatten() - one.mean(), other.flatten() - other.mean()
    return float(F.cosine_similarity(a, b, dim=0))


def _layers(objectives: Sequence[Objective]) -> list[str]:
    return list(dict.fromkeys(name for objective in objectives for name in objective.layers))


def _key(
    subject: Subject, text: str, repeat: int, steps: int, seed: int, diversity: float, targets: Sequence[str]
) -> str:
    beside = list(targets).count(text) if diversity else 0  # what stands beside an image matters if they are to differ
    return key(
        subject.digest, what="portrait", version=VERSION, target=text, repeat=repeat, beside=beside, steps=steps,
        seed=seed, diversity=diversity,
    )  # fmt: skip


def _arrays(one: Portrait) -> dict[str, np.ndarray]:
    numbers = [one.dream.start, one.dream.value, one.natural, one.dead, one.likeness, one.path, one.dream.steps]
    return {
        "image": one.dream.image.numpy(), "control": one.control.numpy(), "logits": one.dream.logits.numpy(),
        "curve": np.array(one.dream.curve), "strongest": np.array(one.strongest, np.int64),
        "numbers": np.array(numbers, np.float64), "woken": np.array(one.dream.woken),
    }  # fmt: skip


def _recalled(kept: Kept, name: str, objective: Objective) -> Portrait | None:
    found = kept.read(name)
    if found is None or set(found) != {"image", "control", "logits", "curve", "strongest", "numbers", "woken"}:
        return None
    start, value, natural, dead, likeness, path, steps = found["numbers"].tolist()
    image, control, logits = (torch.from_numpy(found[part]) for part in ("image", "control", "logits"))
    made = Dream(
        objective.name, image, start, value, tuple(found["curve"].tolist()), int(steps), str(found["woken"]), logits
    )
    strongest = tuple(found["strongest"].tolist())
    return Portrait(made, natural, bool(dead), strongest, control, likeness, path)
