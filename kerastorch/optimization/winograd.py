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

# Measured, in the time of a multiplication in the products.
CHANGING = 5  # for a multiplication in changing to values and back
READING = 20  # times the products of a tile, to have the weights from memory
LEAST_GAIN = 6 / 5  # how many times as fast it has to be, for weights of four times the memory
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
    time = (tiles + READING) * products + CHANGING * tiles * changes
    direct_time = pixels * WINDOW**2 * channels * features
    return direct_time >= LEAST_GAIN * time


def _tiles(margins: Margins, shape: torch.Size) -> tuple[int, int]:
    """How many tiles the result has in height and width."""
    rows, columns = (-(-extent // TILE) for extent in _output_sizes(margins, shape))
    return rows, columns


def _output_sizes(margins: Margins, shape: torch.Size) -> tuple[int, int]:
    height, width = (
        extent + sum(margin) - WINDOW + 1 for extent, margin in zip(shape[2:], margins, strict=True)
    )
    return height, width


def values_of(weight: Tensor) -> Tensor:
    """The values of windows, (36, channels, features), of a weight of `F.conv2d`."""
    features, channels = weight.shape[:2]
    values = OF_WINDOW @ weight.double().flatten(2).permute(2, 1, 0).flatten(1)
    return values.float().view(VALUES, channels, features)


class Winograd:
    """Such a convolution, for images of one shape.

    Args:
        weight: from `values_of`.
        bias: that of `F.conv2d`.
        margins, shape: see `saves_time`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, margins: Margins, shape: torch.Size):
        _, channels, features = weight.shape
        self._weight = weight
        self._bias = weight.new_zeros(features) if bias is None else bias
        self._to_values, self._to_tiles = OF_PIXELS.float(), TO_TILE.float()
        self._margins = margins
        self._size = _output_sizes(margins, shape)
        rows, self._columns = _tiles(margins, shape)
        row_size = self._columns * VALUES * max(channels, features) * 4
        rows_at_a_time = _at_a_time(rows, row_size)
        images_at_a_time = _at_a_time(shape[0], rows * row_size)
        self._parts = [
            (slice(image, image + images_at_a_time), range(row, min(row + rows_at_a_time, rows)))
            for image in range(0, shape[0], images_at_a_time)
            for row in range(0, rows, rows_at_a_time)
        ]

    def __call__(self, x: Tensor, activation: Callable) -> Tensor:
        """The convolution of images in `channels_last`, with an activation."""
        images = x.permute(0, 2, 3, 1)
        result = x.new_empty(len(x), *self._size, len(self._bias))
        for some, rows in self._parts:
            part = result[some, TILE * rows.start : TILE * rows.stop]
            self._join(self._convolve(images[some], rows), in_place(activation), part)
        return result.permute(0, 3, 1, 2)

    def plus(self, x: Tensor, addend: Tensor, activation: Callable) -> Tensor:
        """The sum with another tensor, with an activation."""
        return in_place(activation)(self(x, linear).add_(addend))

    def onto(self, x: Tensor, addend: Tensor, activation: Callable) -> Tensor:
        """The same in the place of the other tensor."""
        return in_place(activation)(addend.add_(self(x, linear)))

    def _convolve(self, images: Tensor, rows: range) -> Tensor:
        """Some rows of tiles, (16, tiles * features), of images, (N, H, W, C)."""
        pixels = self._take_apart(self._pad(images, rows), len(rows))
        values = torch.mm(self._to_values, pixels.flatten(1))
        products = torch.bmm(values.view(pixels.shape), self._weight)
        return torch.mm(self._to_tiles, products.flatten(1))

    def _pad(self, images: Tensor, rows: range) -> Tensor:
        """What some rows of tiles take of images, with the zeros around them."""
        (top, _), (left, _) = self._margins
        start, stop = TILE * rows.start - top, TILE * rows.stop + WINDOW - 1 - top
        images = images[:, max(start, 0) : max(stop, 0)]
        above = min(max(-start, 0), stop - start)  # all of them, where the images begin below
        below = stop - start - above - images.shape[1]
        right = TILE * self._columns + WINDOW - 1 - left - images.shape[2]
        return F.pad(images, (0, 0, left, right, above, below)).contiguous()

    def _take_apart(self, images: Tensor, rows: int) -> Tensor:
        """The pixels that each tile takes, (36, tiles, C)."""
        batch, _, _, channels = images.shape
        image, row, column, channel = images.stride()
        size = (EXTENT, EXTENT, batch, rows, self._columns, channels)
        strides = (row, column, image, TILE * row, TILE * column, channel)
        return images.as_strided(size, strides).reshape(VALUES, -1, channels)

    def _join(self, tiles: Tensor, activation: Callable, result: Tensor) -> None:
        """Writes the activation of tiles into the result, (N, H, W, features)."""
        batch, height, width, features = result.shape
        rows, columns = -(-height // TILE), self._columns
        tiles = tiles.view(TILE, TILE, batch, rows, columns, features)
        tiles = activation(tiles.add_(self._bias)).movedim((0, 1), (2, 4))
        if (height, width) == (TILE * rows, TILE * columns):
            result.view(tiles.shape).copy_(tiles)
        else:
            whole = tiles.reshape(batch, TILE * rows, TILE * columns, features)
            result.copy_(whole[:, :height, :width])


def _at_a_time(count: int, size: int) -> int:
    """How many of rows or images, whose values have a size in bytes, are a chunk in even parts."""
    parts = math.ceil(count / max(1, CHUNK // size))
    return math.ceil(count / parts)
