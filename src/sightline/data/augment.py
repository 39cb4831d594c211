"""A batch -> the batch as the network should meet it this time: moved, warped, recoloured, erased, noised, mixed.

What happens to sample i in epoch e depends on (seed, e, i) alone, whatever batch it is in; only the partner of mixup
and cutmix is another sample of the same batch, the one before it. Each knob draws its own random numbers, so
switching one on or off leaves the others as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sightline.data import geometry
from sightline.data.cropping import crop
from sightline.data.geometry import Border
from sightline.data.preprocess import Preprocessing
from sightline.data.randomness import normals, uniforms
from sightline.errors import SettingsError, did_you_mean

Draw = Callable[..., NDArray[np.float64]]

_MOST = {
    "shift": 0.9, "crop": 0.99, "rotate": 180, "scale": 4, "shear": 60, "brightness": 1, "contrast": 1,
    "saturation": 1, "erase": 0.9, "noise": 10, "mixup": 100, "cutmix": 100, "fill": math.inf,
}  # fmt: skip
_NEEDS_IMAGE = ("rotate", "shear", "saturation")
_NO_VOLUME = ("crop", "scale")


@dataclass(frozen=True)
class Augment:
    """How much a batch is changed at random; 0 or False switches a knob off. Amounts are drawn uniformly.

    Attributes:
        shift: farthest move along each axis, share of the side, 0..0.9, rounded to whole pixels.
        crop: largest share of the area (of the length, for signals) that is cut off, 0..0.99; what is left is
            stretched back to size; sides change by 3/4 to 4/3 relative to each other (random resized crop,
            C. Szegedy et al., "Going deeper with convolutions", 2015, section 6). Of an image that is neither
            rotated, scaled nor sheared, a box of whole pixels is left, and values are rounded as they are stored.
        flip: mirror left and right in half of the cases.
        alternate: an image that is mirrored in one epoch is not in the next, and so on: two epochs show both, where
            chance would show half of the images twice the same way (K. Jordan 2024, arXiv 2404.00498, section 3.6).
            Only with ``flip``.
        rotate: largest turn either way, degrees, 0..180.
        scale: zoom between 1 / (1 + scale) and 1 + scale, uniform in its logarithm, 0..4; signals: a stretch in time.
        shear: largest lean of verticals either way, degrees, 0..60.
        brightness: values are multiplied by 1 - brightness .. 1 + brightness, 0..1; signals: the amplitude.
        contrast: likewise the distance of values from the sample's mean, 0..1.
        saturation: likewise the distance of colours from their grey, 0..1.
        erase: largest share of the area that one box covers with the sample's mean, 0..0.9 (random erasing, Z. Zhong
            et al., 2017; cutout, T. DeVries and G. W. Taylor, 2017).
        noise: standard deviation of added Gaussian noise, in standard deviations of the sample itself, 0..10.
        mixup: alpha of Beta(alpha, alpha), from which the share of the own image is drawn, 0..100; images and labels
            are mixed in that share (H. Zhang et al., "mixup", 2018).
        cutmix: the same for the share of the area that a box of the partner covers (S. Yun et al., "CutMix", 2019).
            With both, each sample gets one or the other.
        border: what comes in from outside: ``reflect``, ``edge`` or ``constant``.
        fill: the value that comes in if ``border`` is constant, in stored units: 0..255 for uint8.

    Raises:
        SettingsError: a knob is out of its range.
    """

    shift: float = 0.0
    crop: float = 0.0
    flip: bool = False
    alternate: bool = False
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erase: float = 0.0
    noise: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    border: Border = "reflect"
    fill: float = 0.0

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            least = -math.inf if name == "fill" else 0
            if not least <= value <= most or math.isinf(value):
                raise SettingsError(
                    f"augmentation '{name}' is {value:g}, outside its range.",
                    f"Use a value from {least:g} to {most:g}.",
                )
        if self.alternate and not self.flip:
            raise SettingsError(
                "augmentation 'alternate' is about mirror images, but 'flip' is off.", "Switch flip on, too: flip=on."
            )
        if self.border not in get_args(Border):
            raise SettingsError(
                f"augmentation 'border' is '{self.border}', which is none.",
                f"Use one of: {', '.join(get_args(Border))}.",
            )

    def __str__(self) -> str:
        """Name what is on: ``shift 0.125, flip``."""
        on = {name: value for name, value in self.as_dict().items() if value and name not in ("border", "fill")}
        return ", ".join(name if value is True else f"{name} {value:g}" for name, value in on.items()) or "none"

    @property
    def mixes(self) -> bool:
        """Whether labels come out as shares of classes, float (B, K)."""
        return bool(self.mixup or self.cutmix)

    def check(self, preprocessing: Preprocessing) -> None:
        """Refuse what makes no sense for such data.

        Raises:
            SettingsError: a signal cannot be rotated, sheared or coloured, a volume not cropped or scaled either, and
                only three channels have colours.
        """
        kind = preprocessing.kind
        bad = [name for name in _NEEDS_IMAGE if getattr(self, name) and kind != "image"]
        bad += [name for name in _NO_VOLUME if getattr(self, name) and kind == "volume"]
        if bad:
            raise SettingsError(
                f"augmentation '{bad[0]}' is not defined for a {kind}.", f"Leave it out: {', '.join(bad)} = 0."
            )
        if self.saturation and preprocessing.channels != 3:
            raise SettingsError(
                f"augmentation 'saturation' needs 3 channels, these images have {preprocessing.channels}.",
                "Leave it out: saturation = 0.",
            )

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Augment:
        """Read what ``as_dict`` gave; absent knobs are off.

        Raises:
            SettingsError: there is no such knob.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise SettingsError(
                    f"unknown augmentation '{name}'.{did_you_mean(name, known)}", f"There are: {', '.join(known)}."
                )
        return cls(**values)


def augment(
    x: Tensor, y: Tensor, rows: NDArray[np.int64], spec: Augment, *, seed: int, epoch: int, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Change a batch at random, as whole tensors on its own device.

    Args:
        x: (B, C, *size), uint8 (0..255) or float32 (any unit), not yet normalised; for images channels_last memory is
            fastest.
        y: labels, int64 (B,) 0..K-1, or targets, float (B, K).
        rows: int64 (B,): which samples these are; decides what happens to each.
        spec: what to do; ``spec.check`` has accepted it for this kind of data.
        seed: another seed, other changes.
        epoch: another epoch, other changes.
        num_classes: K.

    Returns:
        x, shaped as before, in its units: uint8 if pixels were only moved, erased or cut, or cropped, else float32 (and
        within 0..255 if it was uint8); y as it was, or float32 (B, K), each row the shares of the classes, with
        mixup or cutmix.
    """
    draw = partial(uniforms, seed, epoch, rows)
    mirror = np.zeros(len(x), bool)
    if spec.alternate:
        mirror = (uniforms(seed, 0, rows, 1, purpose="flip")[:, 0] < 0.5) ^ bool(epoch % 2)
    elif spec.flip:
        mirror = draw(1, purpose="flip")[:, 0] < 0.5
    bounded = x.dtype == torch.uint8
    x = _moved(x, spec, draw, mirror)
    if spec.brightness or spec.contrast or spec.saturation:
        x = _recoloured(x.to(torch.float32), spec, draw)
    if spec.noise:
        x = x.to(torch.float32)
        noise = normals(seed, epoch, rows, x[0].numel(), purpose="noise", device=x.device)
        noise = noise.view(len(x), *x.shape[2:], -1).movedim(-1, 1) if x.ndim == 4 else noise.view(x.shape)
        spread = _per_sample((x - _per_sample(x, torch.mean)).square_(), torch.mean).sqrt_()
        x = noise.mul_(spec.noise * spread).add_(x)
    if bounded and x.dtype != torch.uint8:
        x = x.clamp_(0, 255)  # a float copy, made here
    if spec.erase:
        mask, _ = _boxes(spec.erase * draw(1, purpose="erase")[:, 0], x, draw, "erase")
        x = torch.where(mask, _per_sample(x.to(torch.float32), torch.mean).to(x.dtype), x)
    return _mixed(x, y, spec, draw, num_classes) if spec.mixes else (x, y)


def _moved(x: Tensor, spec: Augment, draw: Draw, mirror: NDArray[np.bool_]) -> Tensor:
    """Shift, mirror, crop, rotate, zoom and shear: by whole pixels if these suffice, by boxes, or by one warp."""
    size = tuple(x.shape[2:])
    farthest = np.rint(spec.shift * np.array(size))
    shift = np.zeros((len(x), len(size)))
    if farthest.any():
        shift = np.floor(draw(len(size), purpose="shift") * (2 * farthest + 1)) - farthest
    if not (spec.crop or spec.rotate or spec.scale or spec.shear):
        if not (farthest.any() or spec.flip):
            return x
        return geometry.move(x, shift.astype(np.int64), mirror, spec.border, spec.fill)

    if spec.crop and len(size) == 2 and not (spec.rotate or spec.scale or spec.shear):
        return crop(x, _crops(size, spec, draw, shift, mirror), mirror, spec.border, spec.fill)

    def either_way(purpose: str) -> NDArray[np.float64]:
        return 2 * draw(1, purpose=purpose)[:, 0] - 1

    angle = math.radians(spec.rotate) * either_way("rotate")
    zoom = (1 + spec.scale) ** either_way("scale")
    shear = np.tan(math.radians(spec.shear) * either_way("shear"))
    area, turn, *place = draw(4, purpose="crop").T
    shares = geometry.crop_shares(1 - spec.crop * area, turn, len(size))
    sides = np.array([size[-1], size[-2] if len(size) > 1 else 1])
    matrix = shares[:, :, None] * geometry.affine(angle, zoom, shear, mirror)
    offset = (np.stack(place, 1) - 0.5) * (1 - shares) * sides
    back = np.zeros((len(x), 2))
    back[:, : len(size)] = shift[:, ::-1]  # (x, y)
    offset -= np.einsum("bij,bj->bi", matrix, back)
    return geometry.warp(x, matrix, offset, spec.border, spec.fill)


def _crops(
    size: tuple[int, ...], spec: Augment, draw: Draw, shift: NDArray[np.float64], mirror: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Draw the boxes that are cut out, int64 (B, 4), moved so that their content moves by the shift."""
    area, turn, *place = draw(4, purpose="crop").T
    shares = geometry.crop_shares(1 - spec.crop * area, turn, 2)[:, ::-1]
    sides = np.maximum(1, np.rint(shares * size))
    corner = np.floor(np.stack(place, 1)[:, ::-1] * (np.array(size) - sides + 1))
    moved = shift * shares * np.stack([np.ones(len(mirror)), np.where(mirror, -1, 1)], 1)
    return np.concatenate([corner - np.rint(moved), sides], 1).astype(np.int64)


def _recoloured(x: Tensor, spec: Augment, draw: Draw) -> Tensor:
    """Scale values, their distance from the sample's mean, and from the pixel's grey, in one affine map per sample."""

    def factor(purpose: str, most: float) -> Tensor:
        return _column(1 + most * (2 * draw(1, purpose=purpose)[:, 0] - 1), x)

    brightness, contrast = factor("brightness", spec.brightness), factor("contrast", spec.contrast)
    level = (1 - contrast) * brightness * _per_sample(x, torch.mean)
    gain = contrast * brightness
    if not spec.saturation:
        return (x * gain).add_(level)
    saturation = factor("saturation", spec.saturation)[:, 0]
    luma = torch.tensor([0.299, 0.587, 0.114], device=x.device)  # ITU-R BT.601; the sum is 1, so level stays
    colours = saturation * torch.eye(3, device=x.device) + (1 - saturation) * luma[:, None]
    pixels = x.movedim(1, -1)
    mapped = torch.bmm(pixels.reshape(len(x), -1, 3), gain[:, 0] * colours)
    return mapped.view(pixels.shape).movedim(-1, 1).add_(level)


def _mixed(x: Tensor, y: Tensor, spec: Augment, draw: Draw, num_classes: int) -> tuple[Tensor, Tensor]:
    """Blend or paste each sample with the one before it in the batch, and the targets in the same shares."""
    target = y.to(torch.float32) if y.is_floating_point() else F.one_hot(y, num_classes).to(torch.float32)
    which, *u = draw(4, purpose="mix").T
    cut = which < (0.5 if spec.mixup and spec.cutmix else float(bool(spec.cutmix)))
    own = symmetric_beta(np.where(cut, spec.cutmix, spec.mixup), *u)
    partner = x.roll(1, 0)
    if spec.cutmix:
        mask, covered = _boxes(np.where(cut, 1 - own, 0), x, draw, "cutmix", aspects=False)
        own = np.where(cut, 1 - covered, own)
        x = torch.where(mask, partner, x)
    if spec.mixup:
        x = torch.lerp(partner.to(torch.float32), x.to(torch.float32), _column(np.where(cut, 1, own), x))
    return x, torch.lerp(target.roll(1, 0), target, _column(own, target))


def symmetric_beta(
    alpha: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64], sign: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turn three uniform numbers into one from Beta(alpha, alpha), without rejection.

    L. Devroye, "Random variate generation in one line of code", 1996, section 4.

    Args:
        alpha: (B,), above 0: small gives values near 0 and 1, 1 is uniform, large gives values near 1/2.
        u: (B,), in [0, 1).
        v: (B,), in [0, 1).
        sign: (B,), in [0, 1).

    Returns:
        float64 (B,), 0..1.
    """
    with np.errstate(over="ignore", divide="ignore"):
        spread = np.expm1(-np.log1p(-u) / alpha) * np.cos(2 * np.pi * v) ** 2
        share: NDArray[np.float64] = 0.5 + np.where(sign < 0.5, -0.5, 0.5) / np.sqrt(1 + 1 / spread)
    return share


def _boxes(
    share: NDArray[np.float64], x: Tensor, draw: Draw, purpose: str, *, aspects: bool = True
) -> tuple[Tensor, NDArray[np.float64]]:
    """Place a box of each share at random; sides up to 1:3.3 and 3.3:1 with ``aspects``, else like the image's."""
    turn, *place = draw(x.ndim, purpose=purpose).T[1:]
    aspect = np.exp((2 * turn - 1) * math.log(3.3)) if aspects else np.ones_like(share)
    mask, covered = geometry.box(share, aspect, np.stack(place, 1), tuple(x.shape[1:]))
    return mask.to(x.device), covered


def _per_sample(x: Tensor, statistic: Callable[..., Tensor]) -> Tensor:
    """Reduce all but the batch, keeping the axes: (B, 1, ...)."""
    dense = x if x.is_contiguous() else x.movedim(1, -1)  # channels_last memory, read in its own order
    return statistic(dense.reshape(len(x), -1), dim=1).view((-1,) + (1,) * (x.ndim - 1))


def _column(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """Bring one value per sample to the device, float32 (B, 1, ...)."""
    return torch.from_numpy(values.astype(np.float32)).to(like.device).view((-1,) + (1,) * (like.ndim - 1))
