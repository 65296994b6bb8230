"""Operation: a function of Keras's as a layer, as Keras records it when it meets a Symbol."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .layer import Layer
from .layout import Shape, from_keras_layout, to_keras_layout
from .symbol import contains_symbol


class Operation(Layer):
    """A pure function of tensors and constants (`keras.Operation`).

    Its arguments in Keras are those of `compute`. A call on Symbols keeps the constants among them:
    numbers as they are, arrays as buffers that no file of weights holds, in the tensors' layout.
    Afterwards the layer is called with tensors alone, so hooks and compilers see tensors only.
    """

    # Where Keras keeps the class, for its configs.
    keras_module = "keras.src.ops.numpy"
    # The arguments that are no operands but settings, taken as they are given.
    settings: tuple[str, ...] = ()

    def __init__(self, *, name: str | None = None):
        super().__init__(name=name)
        self._constants: dict[int, Any] = {}  # by position; None where a buffer holds it

    def compute(self, *operands: Any) -> Any:
        """The function itself."""
        raise NotImplementedError

    def infer_shape(self, *operands: Any) -> Any:
        """Keras's shape of the result, for operands that are shapes where they are tensors."""
        return operands[0]

    # Calls

    def _bind(self, arguments: tuple, keywords: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        parameters = inspect.signature(self.compute)
        values = parameters.bind(*arguments, **keywords).args
        settings = [name in self.settings for name in parameters.parameters]
        constants = {
            position: value if any(settings[position : position + 1]) else self._as_operand(value)
            for position, value in enumerate(values)
            if not contains_symbol(value)
        }
        if not self._nodes:
            self._keep_constants(constants)
        elif not self._holds(constants):
            raise ValueError(
                f"Operation {self.name!r} already holds other constants: make one for each call."
            )
        return tuple(value for value in values if contains_symbol(value)), {}

    def _holds(self, constants: dict[int, Any]) -> bool:
        """Whether these are the constants of the calls before; arrays are not compared."""
        has_arrays = any(isinstance(value, Tensor) for value in constants.values())
        return not has_arrays and not self._buffers and constants == self._constants

    def _as_operand(self, value: Any) -> Any:
        """A constant as a number, or as a tensor of Keras's layout."""
        if isinstance(value, bool | int | float):
            return value
        try:
            array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
            if array.ndim == 0:
                return self._as_operand(array.item())
            exact = torch.tensor(array, device="cpu")
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"Operation {self.name!r} takes numbers and arrays, not {value!r:.80}."
            ) from error
        # As wide as needed: not every device knows float64.
        narrow = exact.float()
        is_wide = exact.is_floating_point() and bool((narrow.to(exact.dtype) != exact).any())
        return exact if is_wide or not exact.is_floating_point() else narrow

    def _keep_constants(self, constants: dict[int, Any]) -> None:
        """Takes these in the place of those of calls that are no part of anything any more."""
        for position in self._constants:
            self._buffers.pop(_buffer(position), None)
        self._constants = {}
        for position, value in constants.items():
            self._keep_constant(position, value)

    def _keep_constant(self, position: int, value: Any) -> None:
        if not isinstance(value, Tensor):
            self._constants[position] = value
            return
        self._constants[position] = None
        value = from_keras_layout(value, self.data_format)
        device = torch.get_default_device()  # but for meta, as no file fills it
        value = value if device.type == "meta" else value.to(device)
        self.register_buffer(_buffer(position), value, persistent=False)

    def _with_constants(self, given: tuple, of_tensor: Callable[[Tensor], Any]) -> list:
        """All operands in order: those given, and between them the constants."""
        operands = list(given)
        for position, value in self._constants.items():
            buffer = self._buffers.get(_buffer(position))
            operands.insert(position, value if buffer is None else of_tensor(buffer))
        return operands

    def forward(self, *tensors: Any) -> Any:
        like = next((x for x in tensors if isinstance(x, Tensor) and x.is_floating_point()), None)

        def fitting(constant: Tensor) -> Tensor:
            if like is None or not constant.is_floating_point():
                return constant
            return constant.to(like.dtype)

        return self.compute(*self._with_constants(tensors, fitting))

    def compute_output_shape(self, *shapes: Any) -> Any:
        def shape_of(constant: Tensor) -> Shape:
            return tuple(to_keras_layout(constant, self.data_format).shape)

        return self.infer_shape(*self._with_constants(shapes, shape_of))

    def keras_arguments(self, given: list) -> list:
        """The arguments of Keras's call, for its configs: those given, and the constants."""

        def array(constant: Tensor) -> np.ndarray:
            return to_keras_layout(constant, self.data_format).cpu().numpy()

        return self._with_constants(tuple(given), array)


def _buffer(position: int) -> str:
    return f"constant_{position}"


def shape_of_operand(operand: Any) -> Shape:
    """The shape of what stands for an operand in `infer_shape`: a shape, or a number."""
    return () if isinstance(operand, bool | int | float) else operand


def size_of(shape: Shape) -> int | None:
    """The number of elements, None where a size is unknown."""
    return None if None in shape else math.prod(shape)
