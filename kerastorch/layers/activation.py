"""Activations as layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import activations
from ..engine.layer import Layer
from ..engine.layout import Shape, from_keras_layout, keras_axis, keras_shape, tensor_axis
from ..initializers import fill_


def activate(function: Callable, x: Tensor, data_format: str) -> Tensor:
    """Applies an activation, along Keras's last axis if it works along one."""
    if function in activations.AXISWISE:
        return function(x, axis=tensor_axis(-1, x.ndim, data_format))
    return function(x)


def activate_own(function: Callable, x: Tensor, data_format: str) -> Tensor:
    """The same, in place where it can be, for a tensor that only the caller has.

    Nor may the backward pass need it.
    """
    return activate(activations.in_place(function), x, data_format)


class DefaultActivation:
    """`linear`, for layers that were given no activation; one that is a module is their child."""

    def __get__(self, layer: Layer | None, owner: type[Layer]) -> Callable:
        modules = {} if layer is None else layer._modules
        return modules.get("activation", activations.linear)


class Activation(Layer):
    """Applies an activation function (`keras.layers.Activation`). Takes and gives any shape.

    Args:
        activation: a name of Keras's or a function.
        name, trainable: see `Layer`.
    """

    def __init__(self, activation: Any, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        self.activation = activations.get(activation)

    @property
    def takes_overwrite(self) -> bool:
        return self.activation in activations.IN_PLACE

    @property
    def makes_new_tensor(self) -> bool:
        return self.activation in activations.IN_PLACE

    def compute_output_shape(self, shape: Shape) -> Shape:
        if self.activation is activations.glu:
            return (*shape[:-1], shape[-1] and shape[-1] // 2)
        return shape

    def forward(self, x: Tensor, overwrite: int | None = None) -> Tensor:
        if overwrite is not None:
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
    makes_new_tensor = True

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

    def forward(self, x: Tensor, overwrite: int | None = None) -> Tensor:
        if overwrite is not None and not self.negative_slope and not self.threshold:
            return torch.relu_(x) if self.max_value is None else F.hardtanh_(x, 0, self.max_value)
        return activations.relu(x, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(Layer, nn.LeakyReLU):
    """`x` where positive, else `negative_slope * x` (`keras.layers.LeakyReLU`).

    Takes and gives any shape. An `nn.LeakyReLU`.

    Args:
        negative_slope: the slope below zero.
        name, trainable: see `Layer`.
    """

    def __init__(
        self, negative_slope: float = 0.3, name: str | None = None, trainable: bool = True
    ):
        if negative_slope is None or negative_slope < 0:
            raise ValueError(f"negative_slope is not negative; got {negative_slope}.")
        nn.LeakyReLU.__init__(self, negative_slope)
        super().__init__(name=name, trainable=trainable)

    def forward(self, x: Tensor) -> Tensor:
        return activations.leaky_relu(x, self.negative_slope)


class ThresholdedReLU(Layer):
    """`x` where it is above a threshold, else 0 (Keras 2's `ThresholdedReLU`).

    Takes and gives any shape. Keras 3 has no such layer.

    Args:
        theta: the threshold, not negative.
        name, trainable: see `Layer`.
    """

    def __init__(self, theta: float = 1.0, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        if theta is None or theta < 0:
            raise ValueError(f"theta is not negative; got {theta}.")
        self.theta = theta

    def forward(self, x: Tensor) -> Tensor:
        return x * (x > self.theta)


class ELU(Layer, nn.ELU):
    """`x` where positive, else `alpha * (exp(x) - 1)` (`keras.layers.ELU`).

    Takes and gives any shape. An `nn.ELU`.

    Args:
        alpha: what values far below zero come close to, but for the sign.
        name, trainable: see `Layer`.
    """

    def __init__(self, alpha: float = 1.0, name: str | None = None, trainable: bool = True):
        nn.ELU.__init__(self, alpha)
        super().__init__(name=name, trainable=trainable)

    def forward(self, x: Tensor) -> Tensor:
        return activations.elu(x, self.alpha)


class PReLU(Layer):
    """`x` where positive, else `alpha * x` with learned slopes (`keras.layers.PReLU`).

    Takes and gives any shape. The parameter `alpha` has the shape of a sample, with size 1 along
    the shared axes; an image's has its channels first.

    Args:
        alpha_initializer: name or config of Keras's initialiser.
        alpha_regularizer, alpha_constraint: configs of Keras, carried along for Keras.
        shared_axes: the axes of Keras's layout, from 1, whose positions share a slope: `[1, 2]`
            gives each channel of an image one.
        name, trainable: see `Layer`.

    Raises:
        ValueError: an axis is out of range, or the size of one that is not shared is unknown or
            another than that of `alpha`.
    """

    built = False

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: dict | None = None,
        alpha_constraint: dict | None = None,
        shared_axes: int | Sequence[int] | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        self.alpha_initializer = alpha_initializer
        self.alpha_regularizer = alpha_regularizer
        self.alpha_constraint = alpha_constraint
        if isinstance(shared_axes, int):
            shared_axes = [shared_axes]
        self.shared_axes = None if shared_axes is None else list(shared_axes)

    def build(self, shape: Shape) -> None:
        sizes = self._slopes(shape)
        if None in sizes:
            raise ValueError(
                f"Layer {self.name!r} needs to know the sizes of axes that are not shared; "
                f"got {shape}."
            )
        alpha = torch.empty((1, *sizes))
        fill_(alpha[0], self.alpha_initializer, sizes)
        self.alpha = nn.Parameter(from_keras_layout(alpha, self.data_format)[0].contiguous())
        self.built = True

    def compute_output_shape(self, shape: Shape) -> Shape:
        sizes = self._slopes(shape)
        if self.built:
            own = keras_shape((1, *self.alpha.shape), self.data_format)[1:]
            if len(sizes) != len(own) or not all(map(_may_equal, sizes, own)):
                raise ValueError(f"Layer {self.name!r} has slopes for {own}; got {shape}.")
        return shape

    def _slopes(self, shape: Shape) -> Shape:
        """The shape of `alpha` in Keras's layout for inputs of this shape."""
        axes = self.shared_axes or ()
        if not all(0 < axis < len(shape) for axis in axes):
            raise ValueError(
                f"shared_axes of layer {self.name!r} are from 1 to {len(shape) - 1}; got {axes}."
            )
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape) if axis)

    def forward(self, x: Tensor) -> Tensor:
        # In Keras's terms, whose gradient is 0 at 0.
        return x.relu() - (-x).relu() * self.alpha.to(x.dtype)


def _may_equal(size: int | None, own: int) -> bool:
    return size is None or size == own


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
