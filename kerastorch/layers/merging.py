"""Layers with several inputs."""

from __future__ import annotations

import functools
import operator

import torch
from torch import Tensor

from ..engine.layer import Layer
from ..engine.layout import Shape, from_keras_layout, keras_axis, tensor_axis


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
    takes_overwrite = True

    def forward(self, inputs: list[Tensor], overwrite: bool = False) -> Tensor:
        first, *others = self._align(inputs)
        if not others:
            return first.clone()
        is_like_all = all(x.shape == first.shape and x.dtype == first.dtype for x in others)
        total = first.add_(others[0]) if overwrite and is_like_all else first + others[0]
        for x in others[1:]:
            total = total + x
        return total


class Multiply(_Merge):
    """Product of its inputs (`keras.layers.Multiply`), a list of tensors that broadcast."""

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return functools.reduce(operator.mul, self._align(inputs))


class Concatenate(Layer):
    """Its inputs one after another along an axis (`keras.layers.Concatenate`).

    Args:
        axis: an axis of Keras's layout.
        name, trainable: see `Layer`.

    Raises:
        ValueError: the other axes differ.
    """

    def __init__(self, axis: int = -1, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        self.axis = axis

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        _check_several(self, shapes)
        if len({len(shape) for shape in shapes}) > 1:
            raise ValueError(
                f"Layer {self.name!r} cannot join inputs of different ranks: {shapes}."
            )
        axis = keras_axis(self.axis, len(shapes[0]))
        result = []
        for position, sizes in enumerate(zip(*shapes, strict=True)):
            known = {size for size in sizes if size is not None}
            if position == axis:
                result.append(None if None in sizes else sum(sizes))
            elif len(known) > 1:
                raise ValueError(f"Layer {self.name!r} joins along axis {axis}; got {shapes}.")
            else:
                result.append(next(iter(known), None))
        return tuple(result)

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
