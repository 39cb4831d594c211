"""Does the audit's estimate hold the true share of wrong labels, also where networks have learnt little?

    python benches/noise_estimate.py                     digits, labels flipped evenly or always to the next class

Small networks, few images, few epochs: from networks that recognise a quarter of the digits to good ones. One line
each: how often they agree with the labels, the true share of wrong labels, the estimate with its interval, confident
learning's, and the AUROC of the three scores. Nothing is kept on disk.
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from sightline.auditing.audit import audit
from sightline.progress import Progress


def flipped(labels: np.ndarray, share: float, regular: bool, seed: int) -> np.ndarray:
    """Give labels with a share of them changed: to any other class, or always to the next."""
    random = np.random.default_rng(seed)
    rows = random.choice(len(labels), round(share * len(labels)), replace=False)
    changed = labels.copy()
    changed[rows] = (labels[rows] + (1 if regular else random.integers(1, 10, len(rows)))) % 10
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["logistic", "mlp"])
    parser.add_argument("--images", nargs="+", type=int, default=[300, 1000])
    parser.add_argument("--epochs", nargs="+", type=int, default=[3, 8, 20])
    parser.add_argument("--noise", nargs="+", type=float, default=[0.0, 0.1])
    parser.add_argument("--regular", action="store_true", help="a wrong label is always the next class")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
    inside = total = 0
    for model in args.models:
        for count in args.images:
            for epochs in args.epochs:
                for noise in args.noise:
                    rows = np.random.default_rng(args.seed).permutation(len(x))[:count]
                    true = y[rows]
                    labels = flipped(true, noise, args.regular, args.seed)
                    with tempfile.TemporaryDirectory() as folder:
                        found = audit(
                            (x[rows], labels), model, epochs=epochs, compile="off", runs=folder,
                            progress=Progress(quiet=True),
                        )  # fmt: skip
                        listed = found.suspects()
                    order = np.array([int(one["file"].split()[1]) for one in listed])
                    wrong = (labels != true)[order]
                    share, learning = found.noise, found.told["confident_learning"]["noise"]
                    inside, total = inside + (share.low <= wrong.mean() <= share.high), total + 1
                    ranks = ""
                    for name, sign in (("score", 1), ("self_confidence", -1), ("margin", -1)):
                        if wrong.any():
                            values = sign * np.array([float(one[name]) for one in listed])
                            ranks += f" {name} {roc_auc_score(wrong, values):.3f}"
                    print(
                        f"{model:8s} {count:5d} images {epochs:3d} epochs: agrees "
                        f"{found.told['agreement']['value']:.2f}, wrong {wrong.mean():.3f}, {found.told['verdict']}: "
                        f"{share.value:.3f} ({share.low:.3f} to {share.high:.3f}); confident learning "
                        f"{learning:.3f};{ranks}",
                        flush=True,
                    )
    print(f"{inside} of {total} intervals hold the true share")


if __name__ == "__main__":
    main()
