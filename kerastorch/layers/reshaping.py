"""Layers that move, add or cut elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.layer import Layer
from ..engine.layout import Shape, from_keras_layout, join_shape, split_shape, to_keras_layout
from .padding import Margins, pad_images, per_axis, positive


def margins(value: int | Sequence, what: str) -> Margins:
    """((top, bottom), (left, right)) from Keras's one number, two, or two pairs."""
    parts = (value, value) if isinstance(value, int) else tuple(value)
    pairs = tuple((part, part) if isinstance(part, int) else tuple(part) for part in parts)
    if len(pairs) != 2 or not all(
        len(p) == 2 and all(isinstance(n, int) and n >= 0 for n in p) for p in pairs
    ):
        raise ValueError(f"{what} is a number, two, or two pairs, none negative; got {value!r}.")
    return pairs


class ZeroPadding2D(Layer):
    """Zeros around images (`keras.layers.ZeroPadding2D`). Takes (N, C, H, W).

    Args:
        padding: a number of pixels for all sides, (vertical, horizontal), or ((top, bottom), (left,
            right)).
        data_format, name, trainable: see `Layer`.
    """

    takes_postpone = True

    def __init__(
        self,
        padding: int | Sequence = (1, 1),
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, data_format=data_format)
        self.padding = margins(padding, "padding")

    def compute_output_shape(self, shape: Shape) -> Shape:
        return _resized(self, shape, +1, self.padding)

    def forward(self, x: Tensor, postpone: bool = False) -> Tensor:
        if postpone:
            return x
        vertical, horizontal = self.padding
        return pad_images(x, (*horizontal, *vertical))


class Cropping2D(Layer):
    """Cuts the borders off images (`keras.layers.Cropping2D`). Takes (N, C, H, W).

    Args:
        cropping: a number of pixels for all sides, (vertical, horizontal), or ((top, bottom),
            (left, right)).
        data_format, name, trainable: see `Layer`.

    Raises:
        ValueError: nothing would be left.
    """

    def __init__(
        self,
        cropping: int | Sequence = ((0, 0), (0, 0)),
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, data_format=data_format)
        self.cropping = margins(cropping, "cropping")

    def compute_output_shape(self, shape: Shape) -> Shape:
        return _resized(self, shape, -1, self.cropping)

    def forward(self, x: Tensor) -> Tensor:
        (top, bottom), (left, right) = self.cropping
        return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def _resized(layer: Layer, shape: Shape, sign: int, amounts: Margins) -> Shape:
    if len(shape) != 4:
        raise ValueError(f"Layer {layer.name!r} takes inputs of rank 4; got the shape {shape}.")
    spatial, channels = split_shape(shape, layer.data_format)
    sizes = tuple(
        None if size is None else size + sign * sum(amount)
        for size, amount in zip(spatial, amounts, strict=True)
    )
    if any(size is not None and size <= 0 for size in sizes):
        raise ValueError(f"Layer {layer.name!r} would leave nothing of an input of shape {shape}.")
    return join_shape(shape[0], sizes, channels, layer.data_format)


class _SequenceLayer(Layer):
    """What changes the length of sequences, rank 3."""

    def __init__(self, data_format: str | None, name: str | None, trainable: bool):
        super().__init__(name=name, trainable=trainable, data_format=data_format)

    def compute_output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise ValueError(f"Layer {self.name!r} takes inputs of rank 3; got the shape {shape}.")
        (length,), channels = split_shape(shape, self.data_format)
        length = None if length is None else self._output_length(length)
        if length is not None and length <= 0:
            raise ValueError(f"Layer {self.name!r} would leave nothing of a shape {shape}.")
        return join_shape(shape[0], (length,), channels, self.data_format)

    def _output_length(self, length: int) -> int:
        raise NotImplementedError


class ZeroPadding1D(_SequenceLayer):
    """Zeros around sequences (`keras.layers.ZeroPadding1D`).

    Takes (N, steps, features), or channels first (N, features, steps).

    Args:
        padding: a number of steps for both ends, or (start, end).
        data_format, name, trainable: see `Layer`.
    """

    def __init__(
        self,
        padding: int | Sequence[int] = 1,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(data_format, name, trainable)
        self.padding = per_axis(padding, 2, "padding", least=0)

    def _output_length(self, length: int) -> int:
        return length + sum(self.padding)

    def forward(self, x: Tensor) -> Tensor:
        is_last = self.data_format == "channels_last"
        return F.pad(x, (0, 0, *self.padding) if is_last else self.padding)


class Cropping1D(_SequenceLayer):
    """Cuts the ends off sequences (`keras.layers.Cropping1D`). Takes (N, steps, features).

    Args:
        cropping: a number of steps for both ends, or (start, end).
        name, trainable: see `Layer`.

    Raises:
        ValueError: nothing would be left.
    """

    def __init__(
        self,
        cropping: int | Sequence[int] = (1, 1),
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__("channels_last", name, trainable)
        self.cropping = per_axis(cropping, 2, "cropping", least=0)

    def _output_length(self, length: int) -> int:
        return length - sum(self.cropping)

    def forward(self, x: Tensor) -> Tensor:
        start, end = self.cropping
        return x[:, start : x.shape[1] - end]


class UpSampling1D(_SequenceLayer):
    """Repeats each step of sequences (`keras.layers.UpSampling1D`). Takes (N, steps, features).

    Args:
        size: how many times.
        name, trainable: see `Layer`.
    """

    makes_new_tensor = True

    def __init__(self, size: int = 2, name: str | None = None, trainable: bool = True):
        super().__init__("channels_last", name, trainable)
        self.size = positive(size, "size")

    def _output_length(self, length: int) -> int:
        return length * self.size

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.size, 1)


class UpSampling2D(Layer):
    """Enlarges images by whole factors (`keras.layers.UpSampling2D`).

    Takes (N, C, H, W) and gives (N, C, H * rows, W * columns). TensorFlow computes `bilinear` in
    float32 whatever it takes; here it has the input's precision.

    Args:
        size: the factor, or one for rows and one for columns.
        data_format: see `Layer`.
        interpolation: `"nearest"`, which repeats pixels, or `"bilinear"`, between pixel centres.
        name, trainable: see `Layer`.

    Raises:
        ValueError: a factor or the interpolation is another, or the input is no image.
    """

    makes_new_tensor = True

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, data_format=data_format)
        self.size = per_axis(size, 2, "size")
        self.interpolation = str(interpolation).lower()
        if self.interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"interpolation is 'nearest' or 'bilinear', not {interpolation!r}.")

    def compute_output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 4:
            raise ValueError(f"Layer {self.name!r} takes inputs of rank 4; got the shape {shape}.")
        spatial, channels = split_shape(shape, self.data_format)
        spatial = tuple(
            None if extent is None else extent * factor
            for extent, factor in zip(spatial, self.size, strict=True)
        )
        return join_shape(shape[0], spatial, channels, self.data_format)

    def forward(self, x: Tensor) -> Tensor:
        size = [x.shape[2] * self.size[0], x.shape[3] * self.size[1]]
        # Torch's "nearest" looks from the corner of a pixel, where a rounded scale may miss it.
        mode = "nearest-exact" if self.interpolation == "nearest" else "bilinear"
        return F.interpolate(x, size, mode=mode)


class Permute(Layer):
    """Axes in another order (`keras.layers.Permute`); takes and gives ranks of len(dims) + 1.

    Args:
        dims: for each axis of the output, in Keras's layout, the axis of the input, from 1; the
            batch stays.
        name, trainable: see `Layer`.

    Raises:
        ValueError: `dims` is no order of 1, 2, ..., or the input has another rank.
    """

    def __init__(self, dims: Sequence[int], name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"dims orders the axes from 1 to their number; got {self.dims}.")

    def compute_output_shape(self, shape: Shape) -> Shape:
        if len(shape) != len(self.dims) + 1:
            raise ValueError(
                f"Layer {self.name!r} orders {len(self.dims)} axes and the batch; got {shape}."
            )
        return (shape[0], *(shape[axis] for axis in self.dims))

    def forward(self, x: Tensor) -> Tensor:
        y = to_keras_layout(x, self.data_format).permute(0, *self.dims)
        y = from_keras_layout(y, self.data_format)
        if y.ndim == 4 and x.stride(1) == 1 and y.stride(1) != 1:
            return y.contiguous(memory_format=torch.channels_last)
        return y


class RepeatVector(Layer):
    """Repeats vectors as the steps of a sequence (`keras.layers.RepeatVector`).

    Takes (N, features) and gives (N, n, features).

    Args:
        n: how many times.
        name, trainable: see `Layer`.
    """

    makes_new_tensor = True

    def __init__(self, n: int, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        self.n = positive(n, "n")

    def compute_output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            raise ValueError(f"Layer {self.name!r} takes inputs of rank 2; got the shape {shape}.")
        return (shape[0], self.n, shape[1])

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1).repeat(1, self.n, 1)


class Flatten(Layer):
    """One axis in place of all but the batch (`keras.layers.Flatten`).

    Takes any rank and gives (N, features). An image's elements come in Keras's order, row by row
    with the channels innermost, for either data format.
    """

    def __init__(
        self, data_format: str | None = None, name: str | None = None, trainable: bool = True
    ):
        super().__init__(name=name, trainable=trainable, data_format=data_format)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (shape[0], None if None in shape[1:] else math.prod(shape[1:]))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim >= 4 or (x.ndim == 3 and self.data_format == "channels_first"):
            x = x.movedim(1, -1)
        return x.flatten(1) if x.ndim > 1 else x[:, None]


class Reshape(Layer):
    """Another shape for the same elements (`keras.layers.Reshape`), in Keras's order of elements.

    Args:
        target_shape: the new shape in Keras's layout, without the batch; one size may be -1.
        name, trainable: see `Layer`.

    Raises:
        ValueError: the number of elements differs.
    """

    def __init__(
        self, target_shape: Sequence[int], name: str | None = None, trainable: bool = True
    ):
        super().__init__(name=name, trainable=trainable)
        self.target_shape = tuple(target_shape)

    def compute_output_shape(self, shape: Shape) -> Shape:
        if None in shape[1:]:
            return (shape[0], *(None if size == -1 else size for size in self.target_shape))
        elements = math.prod(shape[1:])
        target = self._sizes(elements)
        if math.prod(target) != elements:
            raise ValueError(
                f"Layer {self.name!r} cannot reshape {shape[1:]} to {self.target_shape}."
            )
        return (shape[0], *target)

    def _sizes(self, elements: int) -> list[int]:
        known = math.prod([size for size in self.target_shape if size != -1])
        return [elements // known if size == -1 else size for size in self.target_shape]

    def forward(self, x: Tensor) -> Tensor:
        x = to_keras_layout(x, self.data_format)
        sizes = self._sizes(math.prod(x.shape[1:]))  # an empty batch would leave -1 open
        x = x.reshape(x.shape[0], *sizes)
        return from_keras_layout(x, self.data_format)
