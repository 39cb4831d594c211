"""How often does `sightline improve` keep a change that does nothing (A/A), and how often one that lowers the loss?

    python benches/claims.py losses.npz             200 A/A pairs, and a true gain of 10 %, 5 seeds, 1,000 images

The losses are made up from real ones: ``losses.npz`` is what ``benches/luck.py train`` leaves, the validation loss of
each image after many trainings that differ in the seed alone. From it are measured how much the mean shakes from seed
to seed, how much images differ, and how much an image's loss shakes; then pairs of five trainings on 1,000 images are
drawn with these spreads, and with others from seed to seed, and each pair is concluded as a round of ``improve`` is.
Nothing is shared by the two trainings of a pair but the images: that real pairs share a seed makes gains easier to
find.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.comparison.outcome import Outcome
from sightline.diagnosis.experiment import Score
from sightline.diagnosis.intervals import share
from sightline.improving.trial import conclude
from sightline.run import RunFolder

NOWHERE = RunFolder(Path("nowhere"))


@dataclass(frozen=True)
class Spreads:
    """How losses of images vary: gamma distributions, so that they are positive and skewed as real ones are.

    Attributes:
        mean: nats.
        seed: standard deviation of the mean from seed to seed, as a share of it.
        image: shape of what images have in common in all trainings; smaller is more skewed.
        cell: shape of what is left.
    """

    mean: float
    seed: float
    image: float
    cell: float

    @classmethod
    def of(cls, losses: NDArray[np.float64]) -> Spreads:
        """Measure them from losses (trainings, images)."""
        mean = float(losses.mean())
        by_image = losses.mean(axis=0)
        rest = losses / np.maximum(losses.mean(axis=1, keepdims=True), 1e-9) * mean / np.maximum(by_image, 1e-9)
        heavy = by_image > np.median(by_image)  # images that are never mistaken have no loss to shake
        seed = float(losses.mean(axis=1).std(ddof=1)) / mean
        within = float((rest[:, heavy].std(axis=0, ddof=1) ** 2).mean())
        return cls(mean, seed, mean**2 / float(by_image.var(ddof=1)), 1 / within)

    def draw(self, random: np.random.Generator, seeds: int, images: int, gain: float) -> list[Outcome]:
        """Draw a pair of arms: outcomes of the first ``seeds`` are the base's, of the others the change's."""
        hard = random.gamma(self.image, 1 / self.image, images)
        found = []
        for arm in (0, 1):
            for seed in range(seeds):
                level = self.mean * (1 - gain * arm) * max(0.1, 1 + self.seed * random.normal())
                losses = level * hard * random.gamma(self.cell, 1 / self.cell, images)
                scores = {"valid_loss": Score(float(losses.mean()), losses, "rows")}
                found.append(Outcome(seed, NOWHERE, "finished", scores=scores))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("losses", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=10, help="as many times 200 pairs")
    args = parser.parse_args()
    kept = np.load(args.losses)
    spreads = Spreads.of(np.asarray(kept["a.losses"], dtype=np.float64))
    print(
        f"{args.losses}: {len(kept['a.losses'])} trainings, mean {spreads.mean:.3f} nats, from seed to seed "
        f"{spreads.seed:.1%}, images: gamma of shape {spreads.image:.2f}, the rest: {spreads.cell:.2f}"
    )
    random = np.random.default_rng(0)
    for seed_spread in (spreads.seed, 0.02, 0.03, 0.04):
        drawn = Spreads(spreads.mean, seed_spread, spreads.image, spreads.cell)
        for gain in (0.0, 0.1):
            said = []
            for _ in range(args.pairs * args.repeats):
                both = drawn.draw(random, args.seeds, args.images, gain)
                found = conclude(both[args.seeds :], both[: args.seeds], "", "")
                assert found.contrast is not None
                said.append("kept" if found.status == "kept" else "hurt" if found.said == "it hurt" else "")
            total = len(said)
            helped, hurt = said.count("kept"), said.count("hurt")
            either = share((helped + hurt) / total, total)
            print(
                f"  seeds shake {seed_spread:5.1%}, true gain {gain:4.0%}: helped {helped / total:.1%}, hurt "
                f"{hurt / total:.1%} of {total}; claimed {either.value:.1%} ({either.low:.1%} to {either.high:.1%})",
                flush=True,
            )


if __name__ == "__main__":
    main()
