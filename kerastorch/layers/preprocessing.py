"""Preprocessing as part of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.dtype import float_type
from ..engine.layer import Layer
from ..engine.layout import Shape, from_keras_layout, join_shape, keras_axes, split_shape
from .padding import positive
from .resizing import check_resizing, resize_in_ratio, smart_resize


class Rescaling(Layer):
    """`x * scale + offset` (`keras.layers.Rescaling`). Takes and gives any shape.

    Args:
        scale, offset: numbers, or arrays or lists of them that fit an input in Keras's layout by
            NumPy's rules. In a channels-first model the numbers of `scale`, as in Keras, are for an
            image's channels.
        name, trainable: see `Layer`.

    Raises:
        TypeError, ValueError: these are no numbers.
    """

    def __init__(
        self,
        scale: float | Sequence[float],
        offset: float | Sequence[float] = 0.0,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        for value in (scale, offset):
            _as_read_by_tensorflow(value)  # or it raises
        self.scale = scale
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        by_channel = self.data_format == "channels_first" and x.ndim > 2
        return x * self._fitted(self.scale, x, by_channel) + self._fitted(self.offset, x)

    def _fitted(self, value: Any, x: Tensor, by_channel: bool = False) -> float | Tensor:
        """A number, or a tensor that is combined with an input as Keras combines the two."""
        if isinstance(value, int | float):
            return _as_read_by_tensorflow(value).item()
        numbers = _as_read_by_tensorflow(value).to(x.device, float_type(x))
        shape = (*numbers.shape, *[1] * (3 - numbers.ndim if by_channel and numbers.ndim else 0))
        numbers = numbers.view((*[1] * (x.ndim - len(shape)), *shape))
        return from_keras_layout(numbers, self.data_format)

    def get_config(self) -> dict[str, Any]:
        from ..convert.call_values import encode

        return {**super().get_config(), "scale": encode(self.scale), "offset": encode(self.offset)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Rescaling:
        from ..convert.call_values import decode

        given = {key: decode(config[key]) for key in ("scale", "offset") if key in config}
        return super().from_config({**config, **given})


class Normalization(Layer):
    """`(x - mean) / sqrt(variance)` with fixed statistics (`keras.layers.Normalization`).

    The statistics are the buffers `mean` and `variance` (and `count`, Keras's number of samples
    seen) unless they are given, in which case the layer has no weights.

    Args:
        axis: the axes of Keras's layout that have statistics of their own; None for one pair for
            all.
        mean, variance: the statistics; both or neither.
        invert: do the opposite, `mean + x * sqrt(variance)`.
        name, trainable: see `Layer`.

    Raises:
        ValueError: only one statistic is given, or a size along `axis` is unknown.
    """

    built = False

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        if (mean is None) != (variance is None):
            raise ValueError("Normalization takes both a mean and a variance, or neither.")
        # As Keras keeps it and writes it into files.
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.input_mean = mean
        self.input_variance = variance
        self.invert = invert

    def build(self, shape: Shape) -> None:
        rank = len(shape)
        axes = self._axes(rank)
        if any(shape[axis] is None for axis in axes):
            raise ValueError(
                f"Layer {self.name!r} needs to know the sizes of axes {axes}; got {shape}."
            )
        self._rank, self._sizes = rank, [shape[axis] for axis in axes]
        if self.input_mean is None:
            self.register_buffer("mean", torch.zeros(self._sizes))
            self.register_buffer("variance", torch.ones(self._sizes))
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        else:
            for name in ("mean", "variance"):
                given = _as_read_by_tensorflow(getattr(self, f"input_{name}"))
                given.expand(self._sizes)  # or it raises; but one number stays one
                self.register_buffer(name, _placed(given), persistent=False)
        self.built = True

    def _axes(self, rank: int) -> list[int]:
        """The axes that have statistics of their own, counted from the first."""
        return sorted(keras_axes(self.axis, rank))

    def compute_output_shape(self, shape: Shape) -> Shape:
        sizes = [shape[axis] for axis in self._axes(len(shape))]
        if len(shape) != self._rank or sizes != self._sizes:
            raise ValueError(
                f"Layer {self.name!r} has statistics of the shape {tuple(self._sizes)} along "
                f"the axes {self.axis} of rank {self._rank}; got {shape}."
            )
        return shape

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "axis": self.axis,
            "invert": self.invert,
            "mean": _plain(self.input_mean),
            "variance": _plain(self.input_variance),
        }

    def forward(self, x: Tensor) -> Tensor:
        dtype = float_type(x)
        mean = self._fitted(self.mean.to(dtype))
        # Keras keeps the divisor away from zero by its epsilon.
        deviation = self._fitted(self.variance.to(dtype).sqrt().clamp(min=1e-7))
        return mean + x * deviation if self.invert else (x - mean) / deviation

    def _fitted(self, statistic: Tensor) -> Tensor:
        """A view of a statistic that is combined with inputs along its axes."""
        axes, shape = self._axes(self._rank), [1] * self._rank
        for axis, size in zip(reversed(axes), reversed(statistic.shape), strict=False):
            shape[axis] = size
        return from_keras_layout(statistic.view(shape), self.data_format)


def check_image(layer: Layer, shape: Shape) -> None:
    """Raises `ValueError` for a shape that is not of images."""
    if len(shape) != 4:
        raise ValueError(f"Layer {layer.name!r} takes inputs of rank 4; got the shape {shape}.")


def image_shape(layer: Layer, shape: Shape, height: int, width: int) -> Shape:
    """Keras's shape of images like these with another height and width."""
    check_image(layer, shape)
    _, channels = split_shape(shape, layer.data_format)
    return join_shape(shape[0], (height, width), channels, layer.data_format)


class CenterCrop(Layer):
    """The middle of images (`keras.layers.CenterCrop`).

    Takes (N, C, H, W) and gives (N, C, height, width). Of images that are smaller in one direction
    it is the largest window of the same aspect ratio, enlarged or reduced (bilinear); TensorFlow
    does that in float32, here it has the input's precision.

    Args:
        height, width: the size in pixels.
        data_format, name, trainable: see `Layer`.

    Raises:
        ValueError: a size is not positive, or the input is no image.
    """

    def __init__(
        self,
        height: int,
        width: int,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, data_format=data_format)
        self.height = positive(height, "height")
        self.width = positive(width, "width")

    def compute_output_shape(self, shape: Shape) -> Shape:
        return image_shape(self, shape, self.height, self.width)

    def forward(self, x: Tensor) -> Tensor:
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        if top < 0 or left < 0:
            return smart_resize(x, (self.height, self.width))
        return x[:, :, top : top + self.height, left : left + self.width]


class Resizing(Layer):
    """Images in another size (`keras.layers.Resizing`).

    Takes (N, C, H, W) and gives (N, C, height, width). Integers come back rounded. TensorFlow
    computes all but `"nearest"` in float32; here it has the input's precision.

    Args:
        height, width: the size in pixels.
        interpolation: `"nearest"`, `"bilinear"`, `"bicubic"`, `"area"`, `"lanczos3"` or
            `"lanczos5"`; also Keras 2's `"gaussian"` and `"mitchellcubic"`.
        crop_to_aspect_ratio: cut images to the aspect ratio of the size before.
        pad_to_aspect_ratio: pad images to the aspect ratio of the size before.
        fill_mode: `"constant"`.
        fill_value: what to pad with.
        antialias: let every pixel count where images shrink; `"nearest"` and `"area"` ignore it.
        data_format, name, trainable: see `Layer`.

    Raises:
        ValueError: an argument is another, images would be both cropped and padded, or the input is
            no image.
    """

    makes_new_tensor = True

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, data_format=data_format)
        self.height = positive(height, "height")
        self.width = positive(width, "width")
        self.interpolation = str(interpolation).lower()
        check_resizing(self.interpolation, crop_to_aspect_ratio, pad_to_aspect_ratio, fill_mode)
        self.crop_to_aspect_ratio = crop_to_aspect_ratio
        self.pad_to_aspect_ratio = pad_to_aspect_ratio
        self.fill_mode = fill_mode
        self.fill_value = fill_value
        self.antialias = bool(antialias)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return image_shape(self, shape, self.height, self.width)

    def forward(self, x: Tensor) -> Tensor:
        return resize_in_ratio(
            x,
            (self.height, self.width),
            self.interpolation,
            self.antialias,
            self.crop_to_aspect_ratio,
            self.pad_to_aspect_ratio,
            self.fill_value,
        )


def _as_read_by_tensorflow(value: Any) -> Tensor:
    """Numbers of a config: TensorFlow takes them as float32, whatever it computes in.

    Only arrays it takes as they are.
    """
    dtype = None if isinstance(value, np.ndarray) else torch.float32
    return torch.as_tensor(value, dtype=dtype, device="cpu")


def _placed(constant: Tensor) -> Tensor:
    """A constant in the default type on the default device; never on meta, as no file fills it."""
    device = torch.get_default_device()
    constant = constant.to(torch.get_default_dtype(), copy=True)
    return constant if device.type == "meta" else constant.to(device)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
