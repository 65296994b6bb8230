"""Sequential: a model that is a stack of layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import nn

from .input import Input, InputLayer
from .layer import Layer
from .layout import Shape
from .model import Model
from .symbol import Symbol


class Sequential(Model):
    """A stack of layers, each called on the output of the one before.

    Args:
        layers: the layers, in order; an `Input` may come first. Without it the first call gives the
            input's shape.
        name: the model's name; None for Keras's default, `sequential`.
        trainable: False freezes all layers.

    `layers` leaves the input layer out, as in Keras.
    """

    def __init__(
        self,
        layers: Iterable[Layer | Symbol] | None = None,
        name: str | None = None,
        trainable: bool | None = None,
    ):
        Layer.__init__(self, name=name)
        self.built = False
        self._input_layer: list[InputLayer] = []
        self._stack: list[nn.Module] = []
        for layer in layers or ():
            self._push(layer)
        self._build_if_possible()
        if trainable is not None:
            self.trainable = trainable

    @property
    def operations(self) -> list[nn.Module]:
        if not self.built:
            return list(self._stack)
        return [layer for layer in super().operations if not isinstance(layer, InputLayer)]

    def add(self, layer: Layer | Symbol) -> None:
        """Puts a layer on top of the stack."""
        self._stack = self.layers
        self._push(layer)
        self._build_if_possible()

    def _push(self, layer: Layer | Symbol) -> None:
        if isinstance(layer, Symbol):
            layer = layer.node.module
        if not isinstance(layer, Layer):
            raise ValueError(f"A Sequential takes layers, not {type(layer).__name__}.")
        if not isinstance(layer, InputLayer):
            self._stack.append(layer)
        elif self._stack or self._input_layer:
            raise ValueError("The input of a Sequential comes first, and once.")
        else:
            self._input_layer.append(layer)

    def _build_if_possible(self) -> None:
        if not self._input_layer and self._stack and isinstance(self._stack[0], Model):
            first = self._stack[0]
            if first.built:
                self._input_layer.append(Input(batch_shape=first.inputs[0].shape).node.module)
        if self._input_layer and self._stack:
            self._connect(self._input_layer[0].output)

    def build(self, *shapes: Shape) -> None:
        if self.built:
            return
        self._input_layer.append(Input(batch_shape=(None, *shapes[0][1:])).node.module)
        self._connect(self._input_layer[0].output)

    def predict(self, x: Any, batch_size: int | None = None, verbose: int | str = 0) -> Any:
        if not self.built:
            self._build_once([np.shape(x)])
        return super().predict(x, batch_size, verbose)

    def _connect(self, x: Any) -> None:
        inputs = x
        for layer in self._stack:
            x = layer(x)
        self._take_graph(inputs, x)
        self.built = True
        self._stack = []  # the children hold the layers from now on
        self._pass_on(self.training)

    def __setstate__(self, state: dict[str, Any]) -> None:
        nn.Module.__setstate__(self, state)
        if self.built:
            self._link()

    def get_config(self) -> dict[str, Any]:
        from ..convert.config import sequential_config

        return sequential_config(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        from ..convert.config import sequential_from_config

        return sequential_from_config(config)
