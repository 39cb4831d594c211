"""Images made for units: how natural they are, whether they tell what a unit does, how unlike each other they can be.

    python benches/likeness.py nature runs/NAME          # spectrum and roughness beside those of the data
    python benches/likeness.py frontier runs/NAME        # how strong images of a first layer are, by how natural
    python benches/likeness.py choice runs/A runs/B      # which of two images excites a unit of A? by features of B
    python benches/likeness.py diversity runs/NAME       # four images for a unit, pushed apart
    python benches/likeness.py probability runs/NAME     # how probable a class becomes
    python benches/likeness.py atlas runs/NAME           # neighbours on a map, and in the layer it is made of

Every line printed is JSON.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from seeing import chosen, rectified, say
from sightline import see
from sightline.making.surveys import atlas_of
from sightline.making.trained import Run
from sightline.progress import Progress
from sightline.seeing import finishing
from sightline.seeing import objectives as wish
from sightline.seeing.ascent import Dream
from sightline.seeing.dream import dream
from sightline.seeing.hearing import evaluate
from sightline.seeing.nature import falls, slope
from sightline.seeing.objectives import Objective
from sightline.seeing.subject import Subject
from sightline.seeing.taps import Taps

QUIET = Progress(quiet=True)

REFERENCES = 9
"""Images of either kind that stand for a unit, as in the study of Borowski et al. 2021."""


def made(subject: Subject, asked: list[Objective], arguments: argparse.Namespace, apart: float = 0.0) -> list[Dream]:
    return dream(
        subject.model, asked, subject.shape, nature=subject.nature, known=subject.layers,
        examples=subject.examples, steps=arguments.steps, diversity=apart,
    )  # fmt: skip


def roughness(x: Tensor) -> Tensor:
    """Give the mean absolute difference of neighbours, (N,)."""
    steps = [x.diff(dim=axis).abs().flatten(1).mean(1) for axis in range(2, x.ndim)]
    return torch.stack(steps).mean(0)


def nature(arguments: argparse.Namespace) -> None:
    """Compare how amplitudes fall with frequency, and the roughness, of images made for units with the data.

    The fall is measured in each image on its own, from the mean power of rings of frequency; what is even has none, and
    is counted. ``pooled`` is the fall of the mean power of all.
    """
    subject = see.subject(arguments.runs[0])
    rough_data, own_data = roughness(subject.examples).median(), subject.nature.fall
    for place in rectified(subject, arguments.layers):
        asked, most, _ = chosen(subject, place, arguments.units)
        found = made(subject, asked, arguments)
        x = torch.stack([one.image for one in found])
        own, rough = falls(x), roughness(x)
        varied = own[~own.isnan()]
        say(
            what="nature", layer=place.name, n=len(x), even=len(x) - len(varied), fall=float(varied.median()),
            least=float(varied.min()), fall_data=own_data, near=float((varied > own_data - 0.5).float().mean()),
            pooled=slope(x), pooled_data=subject.nature.exponent, rough=float(rough.median() / rough_data),
            above_twice=float((rough > 2 * rough_data).float().mean()),
            median=statistics.median(one.value / float(m) for one, m in zip(found, most, strict=True)),
        )  # fmt: skip


def frontier(arguments: argparse.Namespace) -> None:
    """Say what images of a first layer reach if their spectra may be flatter than the data's by so much."""
    subject = see.subject(arguments.runs[0])
    place = rectified(subject, 1)[0]
    asked, most, _ = chosen(subject, place, arguments.units)
    for flatter in (10.0, 1.0, 0.75, 0.5, 0.45, 0.25, 0.1):
        finishing.FLATTER, finishing.WORTH = flatter, 0.0
        found = made(subject, asked, arguments)
        own = falls(torch.stack([one.image for one in found]))
        ratios = [one.value / float(m) for one, m in zip(found, most, strict=True)]
        varied = own[~own.isnan()]
        say(
            what="frontier", layer=place.name, n=len(own), even=len(own) - len(varied), flatter=flatter,
            met=int((varied >= subject.nature.fall - flatter).sum()), fall=float(varied.median()),
            median=statistics.median(ratios), above=sum(r >= 1 for r in ratios) / len(ratios),
            median_varied=statistics.median(r for r, fall in zip(ratios, own.tolist(), strict=True) if fall == fall),
        )  # fmt: skip


def features(subject: Subject, x: Tensor, names: list[str]) -> list[Tensor]:
    """Give what layers make of images, flat and of length 1."""
    with Taps(subject.model, names, stop=True) as taps, torch.no_grad():
        taps.run(x)
        return [F.normalize(taps[name].flatten(1).float(), dim=1) for name in names]


def choice(arguments: argparse.Namespace) -> None:
    """Let another network say which of two held-out images excites a unit more, from images that stand for the unit.

    Made images and examples, up to nine that excite it most and as many that do least, stand for it. A question is a
    strong image among those held out, and a weak one or one of the middle: right if the strong one is more like what
    excites the unit, less like what does not. As a viewer would, the network goes by the one that is most alike: by the
    largest cosine of features, the mean over its rectified layers.
    """
    subject, judge = (see.subject(run) for run in arguments.runs[:2])
    held = Run.load(arguments.runs[0]).sights(QUIET).held_out().x
    names = [place.name for place in rectified(judge, 4)]
    of_held = features(judge, held, names)
    right: dict[tuple[str, int], dict[str, list[float]]] = {}
    for place in rectified(subject, arguments.layers):
        asked, _, _ = chosen(subject, place, arguments.units)
        with Taps(subject.model, [place.name], stop=True) as taps:
            known, new = (evaluate(taps, asked, x, subject.layers) for x in (subject.examples, held))
        layer: list[float] = []
        for one, own, answers in zip(asked, known, new, strict=True):
            strong, weak = (made(subject, [sign] * REFERENCES, arguments) for sign in (one, -one))
            order, queries = own.argsort(descending=True), answers.argsort(descending=True)
            few = max(len(queries) // 50, 5)
            middle = queries[(len(queries) - few) // 2 :][:few]
            likes = [
                [
                    [h @ f.T for h, f in zip(of_held, features(judge, images, names), strict=True)]
                    for images in (torch.stack([dream.image for dream in drawn]), subject.examples[rows])
                ]
                for drawn, rows in ((strong, order[:REFERENCES]), (weak, order.flip(0)[:REFERENCES]))
            ]
            for others, rows in (("weak", queries.flip(0)[:few]), ("middle", middle)):
                for count in (REFERENCES, 3, 1):
                    told = right.setdefault((others, count), {"made": [], "examples": [], "both": []})
                    for name in told:
                        score = nearest(likes[0], name, count) - nearest(likes[1], name, count)
                        told[name].append(float((score[queries[:few], None] > score[rows]).float().mean()))
            layer.append(right["weak", REFERENCES]["made"][-1])
        say(what="choice", layer=place.name, units=len(layer), made=statistics.mean(layer))
    for (others, count), told in right.items():
        more = [both - alone for both, alone in zip(told["both"], told["examples"], strict=True)]
        error = 1.96 * statistics.stdev(more) / len(more) ** 0.5
        say(
            what="choice", against=others, shown=count, units=len(more),
            **{name: statistics.mean(values) for name, values in told.items()},
            made_se=statistics.stdev(told["made"]) / len(more) ** 0.5,
            both_more=statistics.mean(more), low=statistics.mean(more) - error, high=statistics.mean(more) + error,
        )  # fmt: skip


def nearest(like: list[list[Tensor]], name: str, count: int) -> Tensor:
    """Say how much held-out images are like the one most alike of images made, examples, or both: (N,)."""
    drawn, examples = like
    sets = {"made": [drawn], "examples": [examples], "both": [drawn, examples]}[name]
    cut = [[each[:, : count if part is examples else REFERENCES] for each in part] for part in sets]
    return torch.stack([torch.cat(parts, dim=1).amax(1) for parts in zip(*cut, strict=True)]).mean(0)


def diversity(arguments: argparse.Namespace) -> None:
    """Make four images for a unit, apart and side by side: how alike they are to the network, how strong."""
    subject = see.subject(arguments.runs[0])
    for place in rectified(subject, arguments.layers):
        asked, _, _ = chosen(subject, place, arguments.units)
        four = [one for one in asked for _ in range(4)]
        found = {"restarts": made(subject, four, arguments), "diverse": made(subject, four, arguments, arguments.apart)}
        alike = {name: likeness(subject, place.name, images) for name, images in found.items()}
        single = [max(one.value for one in found["restarts"][k : k + 4]) for k in range(0, len(four), 4)]
        ratios = [one.value / single[k // 4] for k, one in enumerate(found["diverse"])]
        say(
            what="diversity", apart=arguments.apart, layer=place.name, units=len(asked),
            restarts=alike["restarts"], diverse=alike["diverse"],
            lower=1 - alike["diverse"] / alike["restarts"], strength=statistics.median(ratios),
            at_80=sum(r >= 0.8 for r in ratios) / len(ratios),
        )  # fmt: skip


def likeness(subject: Subject, name: str, found: list[Dream]) -> float:
    """Give the mean cosine of Gram matrices of a layer within each four images."""
    with Taps(subject.model, [name], stop=True) as taps, torch.no_grad():
        taps.run(torch.stack([one.image for one in found]))
        maps = taps[name].flatten(2).float()
    grams = F.normalize((maps @ maps.transpose(1, 2)).flatten(1), dim=1).view(-1, 4, maps.shape[1] ** 2)
    alike = grams @ grams.transpose(1, 2)
    return float((alike.sum((1, 2)) - 4).mean() / 12)


def probability(arguments: argparse.Namespace) -> None:
    """Make each class as probable as it can be, beside what its logit's image makes of it."""
    subject = see.subject(arguments.runs[0])
    classes = range(len(subject.classes))
    for name, kind in (("probability", wish.probability), ("logit", wish.logit)):
        found = made(subject, [kind(k) for k in classes], arguments)
        chances = [float(one.probabilities[k]) for k, one in zip(classes, found, strict=True)]
        evidence = [float(one.logits[k]) for k, one in zip(classes, found, strict=True)]
        say(
            what=name, classes=len(chances), least=min(chances), median=statistics.median(chances),
            above_99=sum(c > 0.99 for c in chances) / len(chances), logit=statistics.median(evidence),
        )  # fmt: skip


def atlas(arguments: argparse.Namespace) -> None:
    """Lay images out both ways: neighbours of an image's own class on the map and in the layer, images in cells."""
    run = Run.load(arguments.runs[0])
    for method in ("pca", "tsne"):
        began = time.process_time()
        found, _ = atlas_of(run, method=method, side=10, steps=arguments.steps if method == "tsne" else 0)
        regions = found.regions(10)
        say(
            what="atlas", method=method, images=len(found.labels), on_map=found.agreement(),
            in_layer=found.agreement(features=True), share=found.agreement() / found.agreement(features=True),
            cells=len(regions), inside=sum(len(region.members) for region in regions) / len(found.labels),
            cpu_s=time.process_time() - began,
        )  # fmt: skip


def main() -> None:
    ways = {
        "nature": nature,
        "frontier": frontier,
        "choice": choice,
        "diversity": diversity,
        "probability": probability,
        "atlas": atlas,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(ways))
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--units", type=int, default=16, help="Of each layer.")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--apart", type=float, default=0.2, help="Share of the strength that may be given up.")
    arguments = parser.parse_args()
    ways[arguments.what](arguments)


if __name__ == "__main__":
    main()
