"""Convolutions by windows of 3 x 3 with a quarter of the multiplications.

Winograd's minimal filtering as Lavin and Gray use it (Fast Algorithms for Convolutional Neural
Networks, 2016): 4 x 4 pixels of the result, a tile, come from the 6 x 6 pixels around them. Both
those and the window are taken for the coefficients of polynomials in two variables, and multiplied
by their values at 36 points.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..activations import in_place, linear
from ..layers.padding import Margins

WINDOW, TILE = 3, 4
EXTENT = WINDOW + TILE - 1  # of the pixels that a tile takes
VALUES = EXTENT**2
# Beside infinity. The usual ones, of 0, 1 and 2, give ten times the rounding error.
POINTS = (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2)

READING = 20  # tiles in whose products' time the weights come from memory
LEAST_GAIN = 4 / 3  # how many times as fast it has to be, for weights of four times the memory
CHUNK = 8 << 20  # bytes of values at a time, which the processor's cache holds


def _powers(count: int) -> np.ndarray:
    """What takes `count` coefficients of a polynomial to its values at the points, the last one
    at infinity."""
    at_infinity = np.eye(count)[-1:]
    return np.concatenate([np.array(POINTS)[:, None] ** np.arange(count), at_infinity])


def _of_both_axes(matrix: np.ndarray) -> Tensor:
    return torch.from_numpy(np.kron(matrix, matrix))  # on the CPU, whatever the default device


OF_WINDOW = _of_both_axes(_powers(WINDOW))  # (36, 9)
OF_PIXELS = _of_both_axes(np.linalg.inv(_powers(EXTENT)).T)  # (36, 36)
TO_TILE = _of_both_axes(_powers(TILE).T)  # (16, 36)
# (36,): values that become a tile of ones
OF_ONES = torch.from_numpy(np.linalg.pinv(TO_TILE.numpy()).sum(1))


def saves_time(weight: Tensor, margins: Margins, shape: torch.Size) -> bool:
    """Whether a convolution with strides of 1 is faster in this way, and as exact.

    Args:
        weight: that of `F.conv2d`, for one group.
        margins: the zeros around each image.
        shape: that of the images, (N, C, H, W).
    """
    if weight.shape[2:] != (WINDOW, WINDOW) or weight.dtype != torch.float32:
        return False
    features, channels = weight.shape[:2]
    pixels = shape[0] * math.prod(_output_sizes(margins, shape))
    tiles = shape[0] * math.prod(_tiles(margins, shape))
    products = VALUES * channels * features
    changes = VALUES**2 * channels + TILE**2 * VALUES * features
    time = (tiles + READING) * products + _time_of_changes() * tiles * changes
    direct_time = pixels * WINDOW**2 * channels * features
    return direct_time >= LEAST_GAIN * time


def _time_of_changes() -> int:
    """How long a multiplication takes in changing to values and back, beside one in the products.

    Measured; AVX-512 is mostly of use to the products.
    """
    return 7 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 5


def _tiles(margins: Margins, shape: torch.Size) -> tuple[int, int]:
    """How many tiles the result has in height and width."""
    rows, columns = (-(-extent // TILE) for extent in _output_sizes(margins, shape))
    return rows, columns


def _output_sizes(margins: Margins, shape: torch.Size) -> tuple[int, int]:
    height, width = (
        extent + sum(margin) - WINDOW + 1 for extent, margin in zip(shape[2:], margins, strict=True)
    )
    return height, width


class Winograd:
    """Such a convolution, for images of one shape.

    Args:
        weight, bias, margins, shape: see `saves_time`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, margins: Margins, shape: torch.Size):
        batch, channels = shape[:2]
        self._features = len(weight)
        self._size = _output_sizes(margins, shape)
        self._tiles = rows, columns = _tiles(margins, shape)
        (top, _), (left, _) = margins
        height, width = (TILE * count + WINDOW - 1 for count in self._tiles)
        self._pad = (0, 0, left, width - shape[3] - left, top, height - shape[2] - top)
        self._images = _images_at_a_time(batch, rows * columns * VALUES * channels * 4)
        self._count = self._images * rows * columns  # of tiles at a time
        self._to_values = OF_PIXELS.float().expand(self._count, -1, -1)
        self._to_tiles = TO_TILE.float().expand(self._count, -1, -1)
        values = OF_WINDOW @ weight.double().flatten(2).permute(2, 0, 1).flatten(1)
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(
            values.float().view(-1, channels, 1, 1), (0, 0), (1, 1), (1, 1), VALUES,
            [1, VALUES * channels, 1, self._count],
        )  # fmt: skip
        self._bias = None if bias is None else torch.outer(OF_ONES, bias.double()).flatten().float()

    def __call__(self, x: Tensor, activation: Callable) -> Tensor:
        """The convolution of images in `channels_last`, with an activation."""
        result = x.new_empty(len(x), *self._size, self._features)
        images = x.permute(0, 2, 3, 1)
        for start in range(0, len(x), self._images):
            # As many each time, as oneDNN lays weights out for one number: some twice at the end.
            start = min(start, len(x) - self._images)
            some = slice(start, start + self._images)
            self._join(in_place(activation)(self._convolve(images[some])), result[some])
        return result.permute(0, 3, 1, 2)

    def plus(self, x: Tensor, addend: Tensor, activation: Callable) -> Tensor:
        """The sum with another tensor, with an activation."""
        return in_place(activation)(self(x, linear).add_(addend))

    def onto(self, x: Tensor, addend: Tensor, activation: Callable) -> Tensor:
        """The same in the place of the other tensor."""
        return in_place(activation)(addend.add_(self(x, linear)))

    def _convolve(self, images: Tensor) -> Tensor:
        """The tiles, (tiles, 16, features), of images, (N, H, W, C)."""
        pixels = self._take_apart(images)
        values = torch.bmm(self._to_values, pixels).view(1, 1, self._count, -1)
        products = torch.ops.mkldnn._convolution_pointwise(
            values.permute(0, 3, 1, 2), self._weight, self._bias, (0, 0), (1, 1), (1, 1), VALUES,
            "none", [], "",
        )  # fmt: skip
        products = products.permute(0, 2, 3, 1).reshape(self._count, VALUES, -1)
        return torch.bmm(self._to_tiles, products)

    def _take_apart(self, images: Tensor) -> Tensor:
        """The pixels that each tile takes, (tiles, 36, C)."""
        images = F.pad(images, self._pad).contiguous()
        batch, rows, columns, channels = images.stride()
        size = (len(images), *self._tiles, EXTENT, EXTENT, images.shape[3])
        strides = (batch, TILE * rows, TILE * columns, rows, columns, channels)
        return images.as_strided(size, strides).reshape(self._count, VALUES, -1)

    def _join(self, tiles: Tensor, result: Tensor) -> None:
        """Writes the tiles into the result, (N, H, W, features)."""
        rows, columns = self._tiles
        tiles = tiles.view(-1, rows, columns, TILE, TILE, self._features).transpose(2, 3)
        if self._size == (TILE * rows, TILE * columns):
            result.view(tiles.shape).copy_(tiles)
        else:
            height, width = self._size
            whole = tiles.reshape(len(result), TILE * rows, TILE * columns, -1)
            result.copy_(whole[:, :height, :width])


def _images_at_a_time(batch: int, size: int) -> int:
    """In how many images, whose values have a size in bytes, even parts of a batch are chunks."""
    parts = math.ceil(batch / max(1, CHUNK // size))
    return math.ceil(batch / parts)
