"""Dense and the layers of the core group."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import get as get_activation
from ..engine.layer import Layer, native
from ..engine.layout import Shape, tensor_axis
from ..initializers import fill_
from .activation import DefaultActivation, activate
from .padding import positive


class Dense(Layer):
    """Fully connected layer along Keras's last axis (`keras.layers.Dense`).

    Takes (N, ..., features) and gives (N, ..., units); of an image the features are the channels.
    Its native class is an `nn.Linear`.

    Args:
        units: the number of output features.
        activation: a name of Keras's, a function or None.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: names or configs of Keras's initialisers.
        kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint: configs of Keras, carried along for Keras; weight decay is the torch
                optimiser's.
        name, trainable: see `Layer`.

    Raises:
        ValueError: the input has no features axis or another number of features.
    """

    built = False
    makes_new_tensor = True
    activation = DefaultActivation()
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: dict | None = None,
        bias_regularizer: dict | None = None,
        activity_regularizer: dict | None = None,
        kernel_constraint: dict | None = None,
        bias_constraint: dict | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        self.units = positive(units, "units")
        self.activation = get_activation(activation)
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self.activity_regularizer = activity_regularizer
        self.kernel_constraint = kernel_constraint
        self.bias_constraint = bias_constraint

    def build(self, shape: Shape) -> None:
        self._check_input(shape)
        self.become(Dense.Linear, shape[-1], self.units, self.use_bias)

    def compute_output_shape(self, shape: Shape) -> Shape:
        self._check_input(shape)
        return (*shape[:-1], self.units)

    def _check_input(self, shape: Shape) -> None:
        if len(shape) < 2 or shape[-1] is None:
            raise ValueError(f"Layer {self.name!r} needs a last axis of known size; got {shape}.")
        if self.built and shape[-1] != self.in_features:
            raise ValueError(
                f"Layer {self.name!r} takes {self.in_features} features; got {shape[-1]}."
            )


@native(of=Dense)
class Linear(Dense, nn.Linear):
    built = True
    __init__ = nn.Linear.__init__

    @property
    def use_bias(self) -> bool:
        return self.bias is not None

    def reset_parameters(self) -> None:
        shape = (self.in_features, self.out_features)
        fill_(self.weight, self.kernel_initializer, shape, torch.t)
        if self.bias is not None:
            fill_(self.bias, self.bias_initializer, (self.out_features,))

    def forward(self, x: Tensor) -> Tensor:
        axis = tensor_axis(-1, x.ndim, self.data_format)
        y = F.linear(x.movedim(axis, -1), self.weight, self.bias).movedim(-1, axis)
        return activate(self.activation, y, self.data_format)


class Identity(Layer, nn.Identity):
    """Gives what it takes (`keras.layers.Identity`): any shape or structure. An `nn.Identity`."""

    def __init__(self, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)

    def forward(self, x: Any) -> Any:
        return x
