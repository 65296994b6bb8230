"""Activations as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .. import activations
from ..engine.layer import Layer
from ..engine.layout import Shape, keras_axis, tensor_axis


def activate(function: Callable, x: Tensor, data_format: str) -> Tensor:
    """Applies an activation, along Keras's last axis if it works along one."""
    if function in activations.AXISWISE:
        return function(x, axis=tensor_axis(-1, x.ndim, data_format))
    return function(x)


class Activation(Layer):
    """Applies an activation function (`keras.layers.Activation`). Takes and gives any shape.

    Args:
        activation: a name of Keras's or a function.
        name, trainable: see `Layer`.
    """

    takes_overwrite = True

    def __init__(self, activation: Any, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        self.activation = activations.get(activation)

    def compute_output_shape(self, shape: Shape) -> Shape:
        if self.activation is activations.glu:
            return (*shape[:-1], shape[-1] and shape[-1] // 2)
        return shape

    def forward(self, x: Tensor, overwrite: bool = False) -> Tensor:
        if overwrite and self.activation in activations.IN_PLACE:
            return activations.IN_PLACE[self.activation](x)
        return activate(self.activation, x, self.data_format)


class ReLU(Layer):
    """Rectifier (`keras.layers.ReLU`). Takes and gives any shape.

    Args:
        max_value: the upper bound; None for none.
        negative_slope: the slope below the threshold.
        threshold: where the slope changes.
        name, trainable: see `Layer`.
    """

    takes_overwrite = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        if max_value is not None and max_value < 0:
            raise ValueError(f"max_value is not negative; got {max_value}.")
        if negative_slope is None or negative_slope < 0:
            raise ValueError(f"negative_slope is not negative; got {negative_slope}.")
        if threshold is None or threshold < 0:
            raise ValueError(f"threshold is not negative; got {threshold}.")
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold

    def forward(self, x: Tensor, overwrite: bool = False) -> Tensor:
        if overwrite and not self.negative_slope and not self.threshold:
            return x.clamp_(0, self.max_value)
        return activations.relu(x, self.negative_slope, self.max_value, self.threshold)


class Softmax(Layer):
    """Softmax along an axis (`keras.layers.Softmax`). Takes and gives any shape.

    Args:
        axis: an axis of Keras's layout, or several that are normalised together.
        name, trainable: see `Layer`.
    """

    def __init__(self, axis: int | list[int] = -1, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        self.axis = axis

    def compute_output_shape(self, shape: Shape) -> Shape:
        for axis in self._axes():
            keras_axis(axis, len(shape))
        return shape

    def _axes(self) -> list[int]:
        return [self.axis] if isinstance(self.axis, int) else list(self.axis)

    def forward(self, x: Tensor) -> Tensor:
        axes = [tensor_axis(axis, x.ndim, self.data_format) for axis in self._axes()]
        if len(axes) == 1:
            return activations.softmax(x, axis=axes[0])
        return (x - x.logsumexp(axes, keepdim=True)).exp()
