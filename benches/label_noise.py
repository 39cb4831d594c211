"""Labels flipped on purpose: does the audit find them, and does a training without the most doubtful recognise more?

    python benches/label_noise.py photos/ --out noise          a folder of class folders without a split, such as photos
    python benches/label_noise.py photos/ --out clean --noise 0

A part of the images, drawn once, is the test: its labels stay as they are and no training sees it. Of the others a
share is given another label, at random; which ones is in ``flipped.csv``. The rest goes through public functions: an
audit, which gives the AUROC of its scores against the flips, and a comparison of trainings with and without the most
doubtful, over seeds, in pairs, scored on the test part. What is cut off goes on when the same command is run again.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

import sightline
from asked import probabilities, truth
from sightline.auditing.audit import Audit
from sightline.comparison.compare import Comparison
from sightline.data.images import Images
from told import over_seeds


def spoil(source: str, share: float, test: float, seed: int) -> tuple[Images, np.ndarray]:
    """Give the images with a test part and wrong labels outside of it, and the rows that were flipped."""
    images = sightline.load(source)
    rows = np.arange(len(images))
    train, held = train_test_split(rows, test_size=test, stratify=images.labels, random_state=seed)
    random = np.random.default_rng(seed)
    flipped = np.sort(random.choice(train, round(share * len(train)), replace=False))
    labels = images.labels.copy()
    labels[flipped] = (labels[flipped] + random.integers(1, len(images.classes), len(flipped))) % len(images.classes)
    splits = np.where(np.isin(rows, held), "test", "train")
    return replace(images, labels=labels, splits=splits), flipped


def ranked(found: Audit, images: Images, flipped: np.ndarray) -> None:
    """Print how well each score ranks the flipped labels first."""
    wrong = {images.label_of(int(row)) for row in flipped}
    listed = [one for one in found.suspects() if one["part"] != "test"]
    truth = np.array([one["file"] in wrong for one in listed])
    share = found.noise
    print(
        f"estimate {share.value:.1%} ({share.low:.1%} to {share.high:.1%}); flipped {truth.mean():.1%}, n {len(truth)}"
    )
    print(f"confident learning {found.told['confident_learning']['noise']:.1%}; agreement {found.told['agreement']}")
    if truth.any():
        for name, sign in (("score", 1), ("self_confidence", -1), ("margin", -1)):
            values = sign * np.array([float(one[name]) for one in listed])
            draws = np.random.default_rng(0).integers(0, len(truth), (500, len(truth)))
            spread = np.quantile([roc_auc_score(truth[draw], values[draw]) for draw in draws], (0.025, 0.975))
            print(f"AUROC of {name}: {roc_auc_score(truth, values):.4f} ({spread[0]:.4f} to {spread[1]:.4f})")
        worst = truth[: round(0.08 * len(truth))]
        print(f"of the worst 8 % {worst.mean():.1%} are flipped: {worst.sum() / truth.sum():.1%} of all flipped")


def at_the_end(compared: Comparison, images: Images) -> None:
    """Print what dropping gains with the weights of the last epoch, which have had the time to learn mistakes by heart.

    The comparison scores the weights of the epoch with the lowest validation loss; with few validation images, some of
    them labelled wrongly, which epoch that is depends on luck.
    """
    rights = []
    for arm in compared.design.arms:
        runs = [sightline.Run.load(one.folder.path) for one in compared.finished(arm.label)]
        answers = [probabilities(run, run.network(run.folder.last), images).argmax(axis=1) for run in runs]
        rights.append([float((answer == truth(run, images)).mean()) for run, answer in zip(runs, answers, strict=True)])
    before, after = rights
    mean, low, high = over_seeds([b - a for a, b in zip(before, after, strict=True)])
    print(f"last epoch: {np.mean(before):.1%} with all, {np.mean(after):.1%} without the most doubtful")
    print(f"last epoch, difference: {mean:+.1%} (95 % interval {low:+.1%} to {high:+.1%} over {len(before)} seeds)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--test", type=float, default=0.3)
    parser.add_argument("--drop", default="8%")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=10, help="trainings with and without; 0: only the audit")
    parser.add_argument("--seed", type=int, default=0, help="of the test part and the flips")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--audit-epochs", type=int, help="of the audit's folds, if others than those of the trainings")
    args = parser.parse_args()
    images, flipped = spoil(args.source, args.noise, args.test, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "flipped.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label"])
        writer.writerows((images.label_of(int(row)), images.classes[images.labels[row]]) for row in flipped)
    settings = {
        "image_size": args.image_size,
        "epochs": args.epochs,
        "options": {"width": args.width},
        "batch_size": 64,
        "compile": "off",
        "runs": args.out,
    }
    began = time.process_time()
    found = sightline.audit(
        images,
        args.model,
        folds=args.folds,
        repeats=args.repeats,
        drop=args.drop,
        name="audit",
        **{**settings, "epochs": args.audit_epochs or args.epochs},
    )
    print(found.headline, f"({time.process_time() - began:.0f} s of CPU in this process)", flush=True)
    ranked(found, images, flipped)
    if args.seeds:
        began = time.process_time()
        compared = sightline.compare(
            images,
            args.model,
            vary={"corrections": [None, found.labels]},
            seeds=args.seeds,
            name="with-and-without",
            **settings,
        )
        print(f"trainings: {time.process_time() - began:.0f} s of CPU in this process")
        for measure in ("test_accuracy", "test_balanced_accuracy"):
            for pair, contrast in compared.contrasts.get(measure, {}).items():
                print(measure, pair, contrast.as_dict())
        at_the_end(compared, images)


if __name__ == "__main__":
    main()
