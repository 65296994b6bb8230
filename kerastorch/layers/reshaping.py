"""Layers that move, add or cut elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ..engine.layer import Layer
from ..engine.layout import Shape, from_keras_layout, join_shape, split_shape, to_keras_layout
from .padding import Margins


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
        return F.pad(x, (*horizontal, *vertical))


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
        if x.ndim >= 4:
            x = x.movedim(1, -1)
        return x.reshape(x.shape[0], -1)


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
        known = math.prod(size for size in self.target_shape if size != -1)
        target = tuple(elements // known if size == -1 else size for size in self.target_shape)
        if math.prod(target) != elements:
            raise ValueError(
                f"Layer {self.name!r} cannot reshape {shape[1:]} to {self.target_shape}."
            )
        return (shape[0], *target)

    def forward(self, x: Tensor) -> Tensor:
        x = to_keras_layout(x, self.data_format)
        x = x.reshape(x.shape[0], *self.target_shape)
        return from_keras_layout(x, self.data_format)
