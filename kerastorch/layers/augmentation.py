"""Layers that change images at random in training and pass them on in inference.

All take and give (N, C, H, W), and draw for each image anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..engine.layer import Layer
from ..engine.layout import Shape
from .padding import positive
from .preprocessing import check_image, image_shape
from .resizing import (
    FILL_MODES,
    affine_transform,
    in_layout_of,
    resize,
    smart_resize,
    window_of_ratio,
)

Factor = float | Sequence[float]
Range = tuple[float, float]


class _Augmentation(Layer):
    """What augments images in training."""

    takes_training = True

    def __init__(
        self, seed: int | None, data_format: str | None, name: str | None, trainable: bool
    ):
        super().__init__(name=name, trainable=trainable, data_format=data_format)
        self.seed = seed

    def compute_output_shape(self, shape: Shape) -> Shape:
        check_image(self, shape)
        return shape

    def forward(self, x: Tensor, training: bool | None = None) -> Tensor:
        training = self.training if training is None else training
        return self._augment(x) if training else x

    def _augment(self, x: Tensor) -> Tensor:
        raise NotImplementedError


def _range(factor: Factor, what: str, least: float = -math.inf, most: float = math.inf) -> Range:
    """The bounds that Keras draws between: (-f, f) for a number f, as far as they are allowed."""
    is_pair = isinstance(factor, list | tuple)
    bounds = tuple(factor) if is_pair else (factor,)
    are_numbers = all(isinstance(bound, int | float) for bound in bounds)
    if not are_numbers or (is_pair and len(bounds) != 2):
        raise ValueError(f"{what} is a number or two, not {factor!r}.")
    lower, upper = sorted(bounds) if is_pair else (max(-abs(factor), least), abs(factor))
    if lower > most or upper < least or (not is_pair and not least <= factor <= most):
        raise ValueError(f"{what} lies from {least} to {most}; got {factor!r}.")
    return lower, upper


def _check_within(factor: Factor, what: str, least: float, most: float) -> Range:
    lower, upper = _range(factor, what)
    if not least <= lower <= upper <= most:
        raise ValueError(f"{what} lies from {least} to {most}; got {factor!r}.")
    return lower, upper


def _draw(x: Tensor, bounds: Range) -> Tensor:
    """(N,) numbers in float32, one for each image."""
    lower, upper = bounds
    share = torch.rand(x.shape[0], dtype=torch.float32, device=x.device)
    return lower + (upper - lower) * share


class RandomFlip(_Augmentation):
    """Mirrors half of the images in training (`keras.layers.RandomFlip`).

    Args:
        mode: `"horizontal"`, `"vertical"`, or `"horizontal_and_vertical"`, which turns what it
            changes upside down: one draw decides on both.
        seed: kept for Keras's config; torch's generator makes the choice.
        data_format, name, trainable: see `Layer`.

    Raises:
        ValueError: the mode is another, or the input is no image.
    """

    _AXES = {"horizontal": (3,), "vertical": (2,), "horizontal_and_vertical": (2, 3)}

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(seed, data_format, name, trainable)
        if mode not in self._AXES:
            raise ValueError(f"mode is one of {', '.join(self._AXES)}, not {mode!r}.")
        self.mode = mode

    def _augment(self, x: Tensor) -> Tensor:
        is_flipped = torch.rand(x.shape[0], 1, 1, 1, device=x.device) <= 0.5
        return torch.where(is_flipped, x.flip(self._AXES[self.mode]), x)


class _Movement(_Augmentation):
    """What moves the pixels of an image by an affine map."""

    def __init__(
        self,
        fill_mode: str,
        interpolation: str,
        seed: int | None,
        fill_value: float,
        data_format: str | None,
        name: str | None,
        trainable: bool,
    ):
        super().__init__(seed, data_format, name, trainable)
        if fill_mode not in FILL_MODES:
            raise ValueError(f"fill_mode is one of {', '.join(FILL_MODES)}, not {fill_mode!r}.")
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"interpolation is 'nearest' or 'bilinear', not {interpolation!r}.")
        self.fill_mode = fill_mode
        self.interpolation = interpolation
        self.fill_value = fill_value

    def _augment(self, x: Tensor) -> Tensor:
        rows = [torch.stack(row, 1) for row in self._map(x)]
        return affine_transform(
            x, torch.stack(rows, 1), self.interpolation, self.fill_mode, self.fill_value
        )

    def _map(self, x: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """The rows of the matrices from the output's (x, y, 1) to the input's (x, y)."""
        raise NotImplementedError


class RandomRotation(_Movement):
    """Turns images about their centre in training (`keras.layers.RandomRotation`).

    Args:
        factor: the largest turn either way, or the least and the largest anticlockwise, as shares
            of a whole turn.
        fill_mode: what appears at the border: `"reflect"`, the mirrored image, edge pixels twice;
            `"wrap"`, the opposite side; `"nearest"`, the edge pixels; `"constant"`, `fill_value`.
        interpolation: `"bilinear"` or `"nearest"`.
        seed: kept for Keras's config; torch's generator makes the choice.
        fill_value: see `fill_mode`.
        data_format, name, trainable: see `Layer`.

    Raises:
        ValueError: an argument is another, or the input is no image.
    """

    def __init__(
        self,
        factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, name, trainable)
        self.factor = _range(factor, "factor")

    def _map(self, x: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        lower, upper = self.factor
        angle = math.pi / 180 * _draw(x, (360 * lower, 360 * upper))
        cosine, sine = angle.cos(), angle.sin()
        middle_y, middle_x = ((size - 1) / 2 for size in x.shape[2:])
        offset_x = middle_x - middle_x * cosine + middle_y * sine
        offset_y = middle_y - middle_x * sine - middle_y * cosine
        return (cosine, -sine, offset_x), (sine, cosine, offset_y)


class RandomZoom(_Movement):
    """Enlarges or shrinks what images show in training (`keras.layers.RandomZoom`).

    Args:
        height_factor: by what share of its height an image shows more: the largest share more or
            less, or the least and the largest, negative for less.
        width_factor: the same for the width; None for the height's, which keeps the proportions.
        fill_mode, interpolation, seed, fill_value: see `RandomRotation`.
        data_format, name, trainable: see `Layer`.

    Raises:
        ValueError: a factor is below -1, another argument is not allowed, or the input is no image.
    """

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, name, trainable)
        self.height_factor = height_factor
        self.width_factor = width_factor
        self._height_range = _check_within(height_factor, "height_factor", -1, math.inf)
        self._width_range = (
            None
            if width_factor is None
            else _check_within(width_factor, "width_factor", -1, math.inf)
        )

    def _map(self, x: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        vertical = 1 + _draw(x, self._height_range)
        horizontal = vertical if self._width_range is None else 1 + _draw(x, self._width_range)
        middle_y, middle_x = ((size - 1) / 2 for size in x.shape[2:])
        zero = torch.zeros_like(vertical)
        return (
            (horizontal, zero, middle_x * (1 - horizontal)),
            (zero, vertical, middle_y * (1 - vertical)),
        )


class RandomTranslation(_Movement):
    """Shifts images in training (`keras.layers.RandomTranslation`).

    Args:
        height_factor: the largest shift up or down, or the least and the largest down, as shares of
            the height from -1 to 1.
        width_factor: the same to the left or right, and of the width.
        fill_mode, interpolation, seed, fill_value: see `RandomRotation`.
        data_format, name, trainable: see `Layer`.

    Raises:
        ValueError: an argument is another, or the input is no image.
    """

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, name, trainable)
        self.height_factor = height_factor
        self.width_factor = width_factor
        self._height_range = _check_within(height_factor, "height_factor", -1, 1)
        self._width_range = _check_within(width_factor, "width_factor", -1, 1)

    def _map(self, x: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        height, width = x.shape[2:]
        down, right = height * _draw(x, self._height_range), width * _draw(x, self._width_range)
        zero, one = torch.zeros_like(down), torch.ones_like(down)
        return (one, zero, -right), (zero, one, -down)


class RandomContrast(_Augmentation):
    """Strengthens or weakens the contrast of images in training (`keras.layers.RandomContrast`).

    Each channel's distance from its mean is multiplied with a number from 1 - lower to 1 + upper;
    values are cut to the range.

    Args:
        factor: (lower, upper), or upper alone with a lower of 0, from 0 to 1.
        value_range: the least and the largest value of an image.
        seed, data_format, name, trainable: see `RandomFlip`.

    Raises:
        ValueError: an argument is another, or the input is no image.
    """

    def __init__(
        self,
        factor: Factor,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(seed, data_format, name, trainable)
        self.factor = _range(factor, "factor", 0, 1)
        self.value_range = _values(value_range)

    def _augment(self, x: Tensor) -> Tensor:
        lower, upper = self.factor
        factor = _draw(x, (1 - lower, 1 + upper))[:, None, None, None].to(x.dtype)
        mean = x.mean((2, 3), keepdim=True)
        return ((x - mean) * factor + mean).clamp(*self.value_range)


class RandomBrightness(_Augmentation):
    """Makes images lighter or darker in training (`keras.layers.RandomBrightness`).

    A share of the range is added to a whole image; values are cut to the range.

    Args:
        factor: the largest share more or less, or the least and the largest, from -1 to 1.
        value_range: the least and the largest value of an image.
        seed, data_format, name, trainable: see `RandomFlip`.

    Raises:
        ValueError: an argument is another, or the input is no image.
    """

    def __init__(
        self,
        factor: Factor,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(seed, data_format, name, trainable)
        self.factor = _range(factor, "factor", -1, 1)
        self.value_range = sorted(_values(value_range))

    def _augment(self, x: Tensor) -> Tensor:
        least, largest = self.value_range
        change = (largest - least) * _draw(x, self.factor)[:, None, None, None]
        return (x + change.to(x.dtype)).clamp(least, largest)


def _values(value_range: Sequence[float]) -> list[float]:
    if not isinstance(value_range, list | tuple) or len(value_range) != 2:
        raise ValueError(f"value_range is two numbers, not {value_range!r}.")
    return list(value_range)


class RandomCrop(_Augmentation):
    """Cuts a window of one size out of images in training (`keras.layers.RandomCrop`).

    The window is the same for the whole batch. What images that are smaller leave of it, in the
    middle, is enlarged to its size. In inference images stay as they are, whatever their size.

    Args:
        height, width: the window's size in pixels.
        seed, data_format, name, trainable: see `RandomFlip`.

    Raises:
        ValueError: a size is not positive, or the input is no image.
    """

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(seed, data_format, name, trainable)
        self.height = positive(height, "height")
        self.width = positive(width, "width")

    def compute_output_shape(self, shape: Shape) -> Shape:
        return image_shape(self, shape, self.height, self.width)

    def _augment(self, x: Tensor) -> Tensor:
        size = (self.height, self.width)
        if x.shape[2] > self.height and x.shape[3] > self.width:
            return _random_window(x, size)
        top, left, _, _ = window_of_ratio(x, size)
        window = x[:, :, top : top + self.height, left : left + self.width]
        return window if window.shape[2:] == size else resize(window, size)


class ResizedRandomCrop(RandomCrop):
    """Keras 2's `RandomCrop`, which gives images of one size in inference too.

    There, and where images are smaller, it is the largest window in the middle with the aspect
    ratio of the size, enlarged or reduced.
    """

    def forward(self, x: Tensor, training: bool | None = None) -> Tensor:
        training = self.training if training is None else training
        size = (self.height, self.width)
        if training and x.shape[2] >= self.height and x.shape[3] >= self.width:
            return _random_window(x, size)
        return smart_resize(x, size)


def _random_window(x: Tensor, size: tuple[int, int]) -> Tensor:
    window = x
    for axis, length in zip((2, 3), size, strict=True):
        # No number leaves the device, so that compilers see one graph.
        start = (torch.rand((), device=x.device) * (x.shape[axis] - length + 1)).long()
        window = window.index_select(axis, start + torch.arange(length, device=x.device))
    return in_layout_of(window, x)
