"""Native sizes and the resize policy -> findings about what resizing costs: area cut off, border, stretching, blur."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from sightline.data.pixels import Pixels
from sightline.finding import Finding

CROP_WARNING, PAD_WARNING, STRETCH_WARNING = 0.15, 0.4, 1.5
"""Mean share cut off, mean share of border, and median stretching, from which the resize policy is questioned."""


def odd_aspect(pixels: Pixels) -> list[Finding]:
    """Say what the resize policy costs images of another shape: share cut off, share of border, stretching."""
    width, height = _native(pixels)
    wanted = pixels.preprocessing
    if wanted.kind != "image" or not len(width):
        return []
    aspect = (width / height) / (wanted.size[1] / wanted.size[0])
    stretch = np.maximum(aspect, 1 / aspect)
    lost = 1 - 1 / stretch  # cropping cuts this share of the image; padding makes this share of the result border
    if lost.mean() < 0.02 and np.quantile(lost, 0.95) < CROP_WARNING:
        return []
    mean, worst = float(lost.mean()), int(lost.argmax())
    bad = {
        "crop": mean > CROP_WARNING,
        "pad": mean > PAD_WARNING,
        "squash": bool(np.median(stretch) > STRETCH_WARNING),
    }[wanted.resize]
    costs = {
        "crop": f"cropping cuts off {mean:.0%} of an image on average",
        "pad": f"padding makes {mean:.0%} of an input border on average",
        "squash": f"squashing stretches one side {np.median(stretch):.2f} times (median)",
    }
    typical, area = float(np.median(width / height)), wanted.size[0] * wanted.size[1]
    tall, wide = (8 * round(sqrt(side) / 8) for side in (area / typical, area * typical))
    better = min(tall, wide) >= 16 and abs(np.log(typical * tall / wide)) < abs(np.log(np.median(aspect)))
    others = "; ".join(cost for policy, cost in costs.items() if policy != wanted.resize)
    return [
        Finding(
            "data/odd-aspect",
            "warning" if bad else "note",
            f"images of other shapes than {wanted.size[0]} x {wanted.size[1]}: {costs[wanted.resize]}, worst is "
            f"{pixels.images.label_of(worst)} with {lost[worst]:.0%} ({others}).",
            "Look at the preview, then choose `--resize` pad, crop or squash"
            + (f"; `--image-size {tall}x{wide}` fits most of them better." if better else "."),
            {
                "resize": wanted.resize,
                "mean_share": round(mean, 4),
                "share_95th": round(float(np.quantile(lost, 0.95)), 4),
                "median_stretch": round(float(np.median(stretch)), 4),
                "images_over_15_percent": int((lost > CROP_WARNING).sum()),
                "thresholds": {"crop": CROP_WARNING, "pad": PAD_WARNING, "squash": STRETCH_WARNING},
                "files": [pixels.images.label_of(int(row)) for row in np.argsort(-lost)[:20]],
            },
        )
    ]


def enlarged(pixels: Pixels) -> list[Finding]:
    """Count the images that are smaller than the input, so that resizing makes pixels without detail."""
    width, height = _native(pixels)
    wanted = pixels.preprocessing
    if wanted.kind != "image" or not len(width):
        return []
    ratios = np.stack([wanted.size[0] / height, wanted.size[1] / width])
    scale = ratios.max(axis=0) if wanted.resize == "crop" else ratios.min(axis=0)
    larger = scale > 1.0
    if larger.mean() < 0.05:
        return []
    return [
        Finding(
            "data/enlarged",
            "warning" if np.median(scale) > 2 else "note",
            f"{int(larger.sum()):,} of {len(scale):,} images ({larger.mean():.0%}) are smaller than the input of "
            f"{wanted.size[0]} x {wanted.size[1]} and are enlarged, up to {scale.max():.1f} times: smooth, without new "
            "detail.",
            "A smaller `--image-size` trains faster and loses nothing."
            if larger.mean() > 0.5
            else "Nothing has to be done, unless they are all of one class: then sharpness gives it away.",
            {
                "count": int(larger.sum()),
                "largest": round(float(scale.max()), 3),
                "median": round(float(np.median(scale)), 3),
            },
        )
    ]


def _native(pixels: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give native width and height of the packed images, in pixels."""
    records, rows = pixels.records, pixels.rows
    return records.width[rows].astype(np.float64), records.height[rows].astype(np.float64)
