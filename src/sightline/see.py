"""A run or any network -> what its layers, units and classes look for, as plain results; ``sightline.see.dream`` ...

Every function takes a ``Run``, the path of its folder, or any ``torch.nn.Module`` with examples of its inputs, and
leaves the network exactly as it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline import files
from sightline.errors import SettingsError
from sightline.making.trained import Run
from sightline.models.plan import Shape
from sightline.progress import Progress
from sightline.reports import dreams, facts
from sightline.seeing import kernels as weights
from sightline.seeing import layers as listing
from sightline.seeing import maps as features
from sightline.seeing import octaves, portraits, units
from sightline.seeing import saliency as looking
from sightline.seeing.kept import Kept
from sightline.seeing.kernels import Kernels
from sightline.seeing.layers import Layers
from sightline.seeing.maps import Maps
from sightline.seeing.portraits import Portrait
from sightline.seeing.saliency import Saliency
from sightline.seeing.subject import Subject
from sightline.seeing.targets import target, wanted
from sightline.seeing.units import Unit

Seen = Run | nn.Module | Path | str
"""What can be looked at: a run, its folder, or any network."""


def layers(what: Seen, example: Tensor | Shape | None = None) -> Layers:
    """List the layers of a network as torch names them, with kinds, shapes, units and weights; ``print`` shows a table.

    Args:
        what: a run, its folder, or a network.
        example: of a network that is not from the zoo: inputs (B, C, *positions), or the shape of one.

    Raises:
        ModelError: the network cannot be looked into, or the example does not pass through it.
    """
    if isinstance(what, nn.Module):
        return listing.layers(what, example)
    run = _run(what)
    return listing.layers(run.model, run.preprocessing.shape)


def subject(
    what: Seen,
    examples: Tensor | None = None,
    *,
    labels: NDArray[np.int64] | None = None,
    classes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Subject:
    """Bring a network together with examples of its inputs.

    Args:
        what: a run, its folder, or a network.
        examples: float (N, C, *positions), as the network gets them; needed for a network, and a run's own if None.
        labels: int64 (N,), of ``examples``; -1 where unknown.
        classes: names of the classes of a network, in the order of its logits.
        progress: shows the opening of a run's data.

    Raises:
        SettingsError: a network comes without examples.
    """
    if isinstance(what, nn.Module):
        examples = None if examples is None else torch.as_tensor(examples)  # an array will do
        if examples is None or examples.ndim < 3:
            raise SettingsError(
                "what a network knows is not known without examples.",
                "Give some of its inputs: examples=tensor of shape (N, C, *positions).",
            )
        labels = np.full(len(examples), -1) if labels is None else np.asarray(labels, np.int64)
        return Subject(what, tuple(examples.shape[1:]), examples.float(), labels, (), tuple(classes))
    run = _run(what)
    return run.sights(progress).subject()


def dream(
    what: Seen | Subject,
    *targets: str,
    examples: Tensor | None = None,
    steps: int = 256,
    seed: int = 0,
    diversity: float = 0.0,
    negative: bool = False,
    between: int = 0,
    progress: Progress | None = None,
) -> list[Portrait]:
    """Make the image that each target likes best: units, layers, classes, directions, sums of these.

    What was made once for these weights is kept, in the run's folder or in the cache, and given again at once.

    Args:
        what: a run, its folder, a network with ``examples``, or what ``subject`` gave.
        targets: ``"conv1:3"``, ``"conv1[4,5,3]"``, ``"conv1^2"``, ``"logit:cat"``, ``"probability:cat"``,
            ``"conv1~1"``, sums; see ``sightline.seeing.targets``.
        examples: see ``subject``.
        steps: at most; an image that gains no more is finished earlier.
        seed: of noise and movements.
        diversity: above 0, images for a target that is named several times are pushed apart, and give up at most this
            share, 0..1, of what the strongest of them reaches; 0.2 is enough to see differences.
        negative: make what each target likes least.
        between: above 0, so many images from the first of two targets to the second.
        progress: shows the work.

    Raises:
        ModelError: a target cannot be read, or names what is not there; nothing has been done then.
        SettingsError: no target is named, or there are not two to go between.
    """
    seen = what if isinstance(what, Subject) else subject(what, examples, progress=progress)
    asked = wanted(targets, seen.layers, seen.classes, negative=negative, between=between)
    return portraits.portraits(
        seen, asked, steps=steps, seed=seed, diversity=diversity, kept=_kept(what), progress=progress
    )


def unit(what: Seen | Subject, name: str, *, examples: Tensor | None = None, shown: int = 9) -> Unit:
    """Look at what a unit answers to the data: examples from most to least, answers by class, the classes it feeds.

    Args:
        what: a run, its folder, a network with ``examples``, or what ``subject`` gave.
        name: layer and number, ``"stages.2.0.conv1:17"``; ``layers`` lists the layers.
        examples: see ``subject``.
        shown: examples for each part of the range.

    Raises:
        ModelError: there is no such layer or unit.
    """
    return units.unit(what if isinstance(what, Subject) else subject(what, examples), name, shown=shown)


def deepdream(
    what: Seen | Subject,
    photo: Tensor,
    liked: str,
    *,
    examples: Tensor | None = None,
    steps: int = 20,
    octaves_: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Let a network see more into a photo of what it sees already (DeepDream), coarse structure first.

    Args:
        what: a run, its folder, a network with ``examples``, or what ``subject`` gave.
        photo: float (C, *positions), as the network gets them; of any size, where the layer comes before the first
            dense one.
        liked: a target, usually a layer: ``"layer3^2"``.
        examples: see ``subject``.
        steps: for each octave.
        octaves_: sizes that the photo is looked at in, each 1.4 times the one before; 1: its own alone.
        seed: of the movements.
        progress: shows the steps.

    Returns:
        float32 (C, *positions), the photo changed, within the range of the data.

    Raises:
        ModelError: the target cannot be read, or images of this size do not reach it.
    """
    seen = what if isinstance(what, Subject) else subject(what, examples, progress=progress)
    objective = target(liked, seen.layers, seen.classes)
    return octaves.deepdream(seen, photo, objective, steps=steps, octaves=octaves_, seed=seed, progress=progress)


def page(
    what: Run | Path | str, found: Sequence[Portrait], looked: Unit | None = None, *, progress: Progress | None = None
) -> Path:
    """Write a page of images that were made, or of one unit, into the run's folder ``seeing``; give its path.

    Args:
        what: the run.
        found: of ``dream``.
        looked: of ``unit``: the page is then the unit's own.
        progress: shows the opening of the data.
    """
    run = _run(what)
    name = "dreams" if looked is None else "unit-" + re.sub(r"[^A-Za-z0-9._-]", "-", looked.name)
    text = dreams.page(
        subject(run, progress=progress),
        found,
        looked,
        kicker=["Sightline", run.path.resolve().name, run.settings.model],
        environment=facts.read(run.folder).environment,
    )
    path = files.make_folder(run.folder.seeing) / f"{name}.html"
    files.write_text(path, text)
    return path


def kernels(what: Seen) -> list[Kernels]:
    """Read the weights of every convolution and dense layer, with norms and pictures; see ``seeing.kernels``.

    Args:
        what: a run, its folder, or a network.

    Raises:
        ModelError: it has no such layer.
    """
    if isinstance(what, nn.Module):
        return weights.kernels(what)
    run = _run(what)
    return weights.kernels(run.model, run.preprocessing.shape)


def maps(what: Seen, x: Tensor, names: Sequence[str] | None = None) -> list[Maps]:
    """Give what layers make of images, and which of their units are dead on them.

    Args:
        what: a run, its folder, or a network.
        x: float (N, C, *positions), as the network gets them.
        names: layers by dotted name; None takes the end of every stage.

    Raises:
        ModelError: there is no such layer, or the images do not pass through.
    """
    return features.maps(_network(what), x, names)


def saliency(
    what: Seen,
    x: Tensor,
    targets: Tensor | NDArray[np.int64] | None = None,
    method: str = "integrated",
    *,
    baseline: Tensor | str = "zero",
    layer: str | None = None,
) -> Saliency:
    """Ask which positions of images speak for a class; ``seeing.saliency`` has more to set, ``seeing.trust`` tests it.

    Args:
        what: a run, its folder, or a network.
        x: float (N, C, *positions), as the network gets them.
        targets: int64 (N,), the class to ask about; None takes each image's most probable one.
        method: ``gradient``, ``smoothgrad``, ``integrated``, ``gradcam`` or ``occlusion``.
        baseline: what nothing looks like: ``zero``, ``mean``, ``blurred``, or a tensor that can be expanded to ``x``.
        layer: for ``gradcam``.

    Raises:
        SettingsError: an unknown method or baseline.
        ModelError: the network cannot be asked like this.
    """
    return looking.saliency(_network(what), x, targets, method, baseline=baseline, layer=layer)


def _run(what: Run | Path | str) -> Run:
    return what if isinstance(what, Run) else Run.load(what)


def _network(what: Seen) -> nn.Module:
    if isinstance(what, nn.Module):
        return what
    return _run(what).model


def _kept(what: Seen | Subject) -> Kept:
    """Choose where answers are kept: beside a run, else in the cache."""
    if isinstance(what, nn.Module | Subject):
        return Kept(files.cache_folder() / "seeing")
    run = _run(what)
    return Kept(run.folder.seeing / "kept")
