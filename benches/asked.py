"""A run, or other weights of its network, and its images -> what it answers about the test part."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

import sightline
from sightline.data.images import Images
from sightline.progress import Progress

QUIET = Progress(quiet=True)


def probabilities(run: sightline.Run, network: torch.nn.Module, images: Images) -> NDArray[np.float64]:
    """Ask a network of a run about its test images, (n, K)."""
    data = run.data(images, QUIET)
    logits = run.serve(network).logits(data.pixels.array, data.split.test)
    return np.asarray(torch.from_numpy(logits).double().softmax(dim=1).numpy())


def truth(run: sightline.Run, images: Images) -> NDArray[np.int64]:
    """Give the classes of a run's test images, (n,)."""
    data = run.data(images, QUIET)
    return data.labels[data.split.test]
