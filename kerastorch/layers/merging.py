"""Layers with several inputs."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.layer import Layer
from ..engine.layout import (
    Shape,
    concatenated_shape,
    from_keras_layout,
    keras_axis,
    tensor_axis,
    to_keras_layout,
)


class _Merge(Layer):
    """Combines inputs element by element; like Keras it adds missing axes behind the batch."""

    def __init__(self, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        _check_several(self, shapes)
        rank = max(map(len, shapes))
        aligned = [(shape[0], *[1] * (rank - len(shape)), *shape[1:]) for shape in shapes]
        return tuple(_broadcast(self, sizes) for sizes in zip(*aligned, strict=True))

    def _align(self, inputs: list[Tensor]) -> list[Tensor]:
        """The inputs, all of the same rank."""
        rank = max(x.ndim for x in inputs)
        return [_with_rank(x, rank, self.data_format) for x in inputs]


def _check_several(layer: Layer, shapes: list[Shape]) -> None:
    if not isinstance(shapes, list | tuple) or not shapes or isinstance(shapes[0], int | None):
        raise ValueError(f"Layer {layer.name!r} takes a list of inputs.")


def _check_two(layer: Layer, inputs: Any) -> None:
    if not isinstance(inputs, list | tuple) or len(inputs) != 2:
        raise ValueError(f"Layer {layer.name!r} takes a list of two inputs.")


def _broadcast(layer: Layer, sizes: tuple[int | None, ...]) -> int | None:
    wider = {size for size in sizes if size != 1}
    known = wider - {None}
    if len(known) > 1:
        raise ValueError(f"Layer {layer.name!r} cannot combine inputs of sizes {sizes}.")
    return next(iter(known or wider or {1}))


def _with_rank(x: Tensor, rank: int, data_format: str) -> Tensor:
    if x.ndim == rank:
        return x
    x = x[(slice(None), *[None] * (rank - x.ndim))]
    return from_keras_layout(x, data_format)


class Add(_Merge):
    """Sum of its inputs (`keras.layers.Add`), a list of tensors that broadcast."""

    makes_new_tensor = True
    backward_takes_output = False
    takes_overwrite = True

    def forward(self, inputs: list[Tensor], overwrite: int | None = None) -> Tensor:
        first, *others = self._align(inputs)
        if not others:
            return first.clone()
        second, *others = others
        is_like = first.shape == second.shape and first.dtype == second.dtype
        if overwrite == 0 and is_like:
            total = first.add_(second)
        elif overwrite == 1 and is_like:
            total = second.add_(first)
        else:
            total = first + second
        for x in others:
            total = total + x
        return total


class Multiply(_Merge):
    """Product of its inputs (`keras.layers.Multiply`), a list of tensors that broadcast."""

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return functools.reduce(operator.mul, self._align(inputs))


class Subtract(_Merge):
    """The first of two inputs less the second (`keras.layers.Subtract`); they broadcast.

    Raises:
        ValueError: there are not two inputs.
    """

    makes_new_tensor = True

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        _check_two(self, shapes)
        return super().compute_output_shape(shapes)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        _check_two(self, inputs)
        x, y = self._align(inputs)
        return x - y


class Average(_Merge):
    """Mean of its inputs (`keras.layers.Average`), a list of tensors that broadcast."""

    makes_new_tensor = True

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return functools.reduce(operator.add, self._align(inputs)) / len(inputs)


class Maximum(_Merge):
    """Largest of its inputs (`keras.layers.Maximum`), a list of tensors that broadcast.

    Of equal values the first takes the gradient, as in TensorFlow.
    """

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return functools.reduce(lambda x, y: first_where(x >= y, x, y), self._align(inputs))


class Minimum(_Merge):
    """Smallest of its inputs (`keras.layers.Minimum`), a list of tensors that broadcast.

    Of equal values the first takes the gradient, as in TensorFlow.
    """

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return functools.reduce(lambda x, y: first_where(x <= y, x, y), self._align(inputs))


def first_where(is_first: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """`x` where it is chosen, else `y`; nan where either is.

    `torch.maximum` would share the gradient of equal values out between them.
    """
    return torch.where(is_first | x.isnan(), x, y)


class Dot(Layer):
    """Dot products of two inputs, sample by sample (`keras.layers.Dot`).

    Takes [x, y] and gives, in Keras's layout, (N, the other axes of x, the other axes of y), or
    (N, 1) where there are none.

    Args:
        axes: the axis of Keras's layout that is summed over; two if that of y is another.
        normalize: whether vectors along these axes are first scaled to length 1, which gives the
            cosine of their angle.
        name, trainable: see `Layer`.

    Raises:
        ValueError: there are not two inputs, they lack the axis, or its sizes differ.
    """

    makes_new_tensor = True

    def __init__(
        self,
        axes: int | Sequence[int],
        normalize: bool = False,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        pair = [axes, axes] if isinstance(axes, int) else axes
        if not isinstance(pair, list | tuple) or [*map(type, pair)] != [int, int]:
            raise ValueError(f"axes is an axis or two of them; got {axes!r}.")
        self.axes = axes
        self.normalize = normalize

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        _check_two(self, shapes)
        x, y = map(list, shapes)
        of_x, of_y = self._axes(len(x), len(y))
        if len({x.pop(of_x), y.pop(of_y)} - {None}) > 1:
            raise ValueError(
                f"Layer {self.name!r} sums over axes {(of_x, of_y)}, whose sizes differ: {shapes}."
            )
        return (*x, *y[1:]) if len(x) + len(y) > 2 else (x[0], 1)

    def _axes(self, *ranks: int) -> list[int]:
        """The axis of each input, not negative."""
        given = [self.axes, self.axes] if isinstance(self.axes, int) else self.axes
        axes = [keras_axis(axis, rank) for axis, rank in zip(given, ranks, strict=True)]
        if 0 in axes:
            raise ValueError(f"Layer {self.name!r} cannot sum over the batch: axes {self.axes}.")
        return axes

    def forward(self, inputs: list[Tensor]) -> Tensor:
        _check_two(self, inputs)
        x, y = (to_keras_layout(value, self.data_format) for value in inputs)
        of_x, of_y = self._axes(x.ndim, y.ndim)
        if self.normalize:
            x, y = F.normalize(x, dim=of_x, eps=1e-7), F.normalize(y, dim=of_y, eps=1e-7)
        x, y = x.movedim(of_x, -1), y.movedim(of_y, 1)
        sizes = (*x.shape[1:-1], *y.shape[2:]) or (1,)
        x = x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])
        y = y.reshape(*y.shape[:2], math.prod(y.shape[2:]))
        products = torch.bmm(x, y).reshape(x.shape[0], *sizes)
        return from_keras_layout(products, self.data_format)


class Concatenate(Layer):
    """Its inputs one after another along an axis (`keras.layers.Concatenate`).

    Args:
        axis: an axis of Keras's layout.
        name, trainable: see `Layer`.

    Raises:
        ValueError: the other axes differ.
    """

    makes_new_tensor = True

    def __init__(self, axis: int = -1, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        self.axis = axis

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        _check_several(self, shapes)
        return concatenated_shape(shapes, self.axis, self.name)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return torch.cat(inputs, tensor_axis(self.axis, inputs[0].ndim, self.data_format))


class CustomScaleLayer(Layer):
    """`x + scale * y` for the inputs [x, y]: the residual step of InceptionResNetV2.

    Args:
        scale: what the second input is multiplied with.
        name, trainable: see `Layer`.
    """

    def __init__(self, scale: float, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        self.scale = scale

    makes_new_tensor = True

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        _check_several(self, shapes)
        return shapes[0]

    def forward(self, inputs: list[Tensor]) -> Tensor:
        x, y = inputs
        return x + y * self.scale
