"""Convolutions by single pixels as products of matrices.

oneDNN takes some 40 us to prepare each call, a product of matrices under 10. Small images of few
channels, as in NASNet's cells, take no longer to compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..activations import in_place, linear
from ..layers.padding import Margins

# Measured: beyond them, passing over the result for a bias and an activation takes longer.
MOST_PRODUCTS = 4 << 20
MOST_NUMBERS = 1 << 17  # of the result


def saves_time(weight: Tensor, margins: Margins, shape: torch.Size) -> bool:
    """Whether a convolution with strides of 1 can be done and is faster in this way.

    Args:
        weight: that of `F.conv2d`, for one group.
        margins: the zeros around each image.
        shape: that of the images, (N, C, H, W).
    """
    if weight.shape[2:] != (1, 1) or any(map(any, margins)) or weight.dtype != torch.float32:
        return False
    features, channels = weight.shape[:2]
    numbers = shape[0] * math.prod(shape[2:]) * features
    return numbers <= MOST_NUMBERS and numbers * channels <= MOST_PRODUCTS


class Gemm:
    """Such a convolution, for images of any size.

    Args:
        weight, bias: see `F.conv2d`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None):
        self._matrix = weight.flatten(1).t().contiguous()
        self._bias = bias

    def __call__(self, x: Tensor, activation: Callable) -> Tensor:
        """The convolution of images in `channels_last`, with an activation."""
        return self._finish(torch.mm(_pixels(x), self._matrix), x, activation)

    def plus(self, x: Tensor, addend: Tensor, activation: Callable) -> Tensor:
        """The sum with another tensor, with an activation."""
        sums = torch.addmm(_pixels(addend), _pixels(x), self._matrix)
        return self._finish(sums, x, activation)

    def onto(self, x: Tensor, addend: Tensor, activation: Callable) -> Tensor:
        """The same in the place of the other tensor, where that is in `channels_last`."""
        sums = _pixels(addend).addmm_(_pixels(x), self._matrix)
        return self._finish(sums, x, activation)

    def _finish(self, products: Tensor, x: Tensor, activation: Callable) -> Tensor:
        if self._bias is not None:
            products.add_(self._bias)
        if activation is not linear:
            products = in_place(activation)(products)
        batch, _, height, width = x.shape
        features = products.shape[1]
        return products.view(batch, height, width, features).permute(0, 3, 1, 2)


def _pixels(images: Tensor) -> Tensor:
    """(N, C, H, W) as (pixels, C)."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
