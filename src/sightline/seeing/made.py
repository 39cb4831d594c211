"""Objectives and a recipe -> images, those of a layer at a time; what is finished is kept and never made twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.progress import Progress
from sightline.seeing.ascent import Dream
from sightline.seeing.dream import dream
from sightline.seeing.kept import Kept, key
from sightline.seeing.objectives import Objective
from sightline.seeing.subject import Subject
from sightline.seeing.trust import shuffled

BATCH = 16
"""Images that are made at once: what is finished is kept, so an interruption costs at most so many."""

VERSION = 7
"""Of the recipe: what another one made is not taken for this one's."""


@dataclass(frozen=True)
class Recipe:
    """How images are made.

    Attributes:
        steps: at most.
        seed: of noise and movements.
        diversity: see ``dream``.
    """

    steps: int = 256
    seed: int = 0
    diversity: float = 0.0


def made(
    subject: Subject,
    wanted: Sequence[tuple[str, Objective]],
    recipe: Recipe,
    *,
    learnt: bool = True,
    scores: torch.Tensor | None = None,
    kept: Kept | None = None,
    progress: Progress | None = None,
) -> list[Dream]:
    """Make an image for each objective, or recall it.

    Args:
        subject: the network and examples.
        wanted: objectives, each with the text that names it; a text that comes twice gives two images.
        recipe: how.
        learnt: False makes them for the same network with its weights shuffled.
        scores: float (targets, N), each objective on every example of the subject: where noise finds less than the
            examples hold, the image begins at the best of these; None: it stays with noise.
        kept: where images are looked up and kept.
        progress: shows the work.

    Raises:
        ModelError: an objective cannot be asked for.
    """
    kept, progress = kept or Kept(None), progress or Progress(quiet=True)
    texts = [text for text, _ in wanted]
    repeats = [texts[:i].count(text) for i, text in enumerate(texts)]

    def name(i: int) -> str:
        beside = texts.count(texts[i]) if recipe.diversity else 0  # what stands beside matters if they are to differ
        return key(
            subject.digest, what="image", version=VERSION, target=texts[i], repeat=repeats[i], beside=beside,
            learnt=learnt, **asdict(recipe),
        )  # fmt: skip

    found: dict[int, Dream] = {}
    for i, (_, objective) in enumerate(wanted):
        recalled = _recalled(kept.read(name(i)), objective)
        if recalled is not None:
            found[i] = recalled
    # the noise that an image begins at follows from those before it for the same text: all of a text are made together
    missing = [i for i, text in enumerate(texts) if any(text == texts[k] and k not in found for k in range(len(texts)))]
    what = "making images" if learnt else "making images where nothing was learnt"
    with progress.task(what, len(texts)) as task:
        task.advance(len(texts) - len(missing))
        model = subject.model if learnt or not missing else shuffled(subject.model, recipe.seed)
        for group in _groups(missing, wanted):
            images = dream(
                model, [wanted[i][1] for i in group], subject.shape, nature=subject.nature, known=subject.layers,
                examples=None if scores is None else subject.examples,
                scores=None if scores is None else scores[group], progress=progress, **asdict(recipe),
            )  # fmt: skip
            for i, one in zip(group, images, strict=True):
                found[i] = one
                kept.write(name(i), _arrays(one))
            task.advance(len(group))
    return [found[i] for i in range(len(texts))]


def _groups(rows: Sequence[int], wanted: Sequence[tuple[str, Objective]]) -> list[list[int]]:
    """Put together what hears the same layers, so that nothing behind them is computed; all of a text in one group."""
    groups: dict[tuple[str, ...], list[list[int]]] = {}
    for i in rows:
        text, objective = wanted[i]
        own = groups.setdefault(objective.layers, [[]])
        same = next((group for group in own if any(wanted[k][0] == text for k in group)), None)
        if same is None and len(own[-1]) >= BATCH:
            own.append([])
        (own[-1] if same is None else same).append(i)
    return [group for own in groups.values() for group in own]


def _arrays(one: Dream) -> dict[str, NDArray[np.generic]]:
    return {
        "image": one.image.numpy(), "logits": one.logits.numpy(), "curve": np.array(one.curve, np.float64),
        "numbers": np.array([one.start, one.value, one.steps], np.float64), "woken": np.array(one.woken),
        "pixelwise": np.array(one.pixelwise),
    }  # fmt: skip


def _recalled(found: Mapping[str, NDArray[np.generic]] | None, objective: Objective) -> Dream | None:
    if found is None or set(found) != {"image", "logits", "curve", "numbers", "woken", "pixelwise"}:
        return None
    start, value, steps = found["numbers"].tolist()
    image, logits = (torch.from_numpy(found[part]) for part in ("image", "logits"))
    return Dream(
        objective.name, image, start, value, tuple(found["curve"].tolist()), int(steps), str(found["woken"]),
        bool(found["pixelwise"]), logits,
    )  # fmt: skip
