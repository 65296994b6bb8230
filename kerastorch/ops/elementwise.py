"""Operations element by element: arithmetic, comparisons, functions of one value, activations."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import activations
from ..engine.dtype import float_type
from ..engine.layout import Shape, broadcast_shapes, keras_axis, tensor_axis, with_rank
from ..engine.naming import snake_case
from ..engine.operation import Operation, shape_of_operand
from ..layers.merging import first_where

# Of several values


class _Broadcasting(Operation):
    """Combines its operands element by element; ranks are aligned by NumPy's rules."""

    function: Callable

    def infer_shape(self, *operands: Any) -> Shape:
        return broadcast_shapes(*map(shape_of_operand, operands))

    def _aligned(self, *operands: Any) -> list:
        """The operands, tensors with the same rank."""
        rank = max(x.ndim for x in operands if isinstance(x, Tensor))
        return [
            with_rank(x, rank, self.data_format) if isinstance(x, Tensor) else x for x in operands
        ]


class _Arithmetic(_Broadcasting):
    """Of two operands, for a function that takes numbers too."""

    makes_new_tensor = True

    def compute(self, x1: Any, x2: Any) -> Tensor:
        return self.function(*self._aligned(x1, x2))


class _OfTensors(_Broadcasting):
    """Of two operands, for a function that takes tensors only."""

    def compute(self, x1: Any, x2: Any) -> Tensor:
        return self.function(*_as_tensors(*self._aligned(x1, x2)))


class _RoundingNumbers(_Broadcasting):
    """Of two operands, for a function before which TensorFlow takes numbers as float32."""

    def compute(self, x1: Any, x2: Any) -> Tensor:
        x1, x2 = (activations.float32(x) if isinstance(x, float) else x for x in (x1, x2))
        return self.function(*_as_tensors(*self._aligned(x1, x2)))


def _as_tensors(*operands: Any) -> list[Tensor]:
    """Numbers become tensors of the type that arithmetic with the tensors would give."""
    like = next(x for x in operands if isinstance(x, Tensor))
    return [
        x
        if isinstance(x, Tensor)
        else torch.as_tensor(x, dtype=torch.result_type(like, x), device=like.device)
        for x in operands
    ]


def _define(
    base: type[Operation], name: str, function: Callable, module: str = "keras.src.ops.numpy"
) -> type[Operation]:
    """The class of an operation that is one function."""
    content = {
        "__module__": __name__,
        "__doc__": f"`keras.ops.{snake_case(name)}`, element by element.",
        "function": staticmethod(function),
        "keras_module": module,
    }
    return type(name, (base,), content)


Add = _define(_Arithmetic, "Add", operator.add)
Subtract = _define(_Arithmetic, "Subtract", operator.sub)
Multiply = _define(_Arithmetic, "Multiply", operator.mul)
TrueDivide = _define(_Arithmetic, "TrueDivide", operator.truediv)
Divide = _define(_Arithmetic, "Divide", operator.truediv)
FloorDivide = _define(_Arithmetic, "FloorDivide", operator.floordiv)
Mod = _define(_RoundingNumbers, "Mod", torch.remainder)
Power = _define(_Arithmetic, "Power", operator.pow)


def _divide_no_nan(x1: Tensor, x2: Tensor) -> Tensor:
    safe = torch.where(x2 == 0, 1, x2)
    return torch.where(x2 == 0, 0, x1 / safe)


DivideNoNan = _define(_OfTensors, "DivideNoNan", _divide_no_nan)
# Of equal values the first takes the gradient, as in TensorFlow.
Maximum = _define(_OfTensors, "Maximum", lambda x, y: first_where(x >= y, x, y))
Minimum = _define(_OfTensors, "Minimum", lambda x, y: first_where(x <= y, x, y))

Equal = _define(_RoundingNumbers, "Equal", torch.eq)
NotEqual = _define(_RoundingNumbers, "NotEqual", torch.ne)
Less = _define(_RoundingNumbers, "Less", torch.lt)
LessEqual = _define(_RoundingNumbers, "LessEqual", torch.le)
Greater = _define(_RoundingNumbers, "Greater", torch.gt)
GreaterEqual = _define(_RoundingNumbers, "GreaterEqual", torch.ge)
LogicalAnd = _define(_OfTensors, "LogicalAnd", torch.logical_and)
LogicalOr = _define(_OfTensors, "LogicalOr", torch.logical_or)
LogicalXor = _define(_OfTensors, "LogicalXor", torch.logical_xor)


class Where(_Broadcasting):
    """`x1` where the condition holds, else `x2` (`keras.ops.where`)."""

    def compute(self, condition: Any, x1: Any, x2: Any) -> Tensor:
        condition, *values = self._aligned(condition, x1, x2)
        if isinstance(condition, Tensor):
            condition = condition.bool()
        return torch.where(*_as_tensors(condition), *values)


# Of one value


class _OfOne(Operation):
    function: Callable
    makes_new_tensor = True

    def compute(self, x: Tensor) -> Tensor:
        return self.function(x)


Absolute = _define(_OfOne, "Absolute", torch.abs)
Ceil = _define(_OfOne, "Ceil", torch.ceil)
Cos = _define(_OfOne, "Cos", torch.cos)
Exp = _define(_OfOne, "Exp", torch.exp)
Expm1 = _define(_OfOne, "Expm1", torch.expm1)
Floor = _define(_OfOne, "Floor", torch.floor)
Log = _define(_OfOne, "Log", torch.log)
Log10 = _define(_OfOne, "Log10", torch.log10)
Log1p = _define(_OfOne, "Log1p", torch.log1p)
Log2 = _define(_OfOne, "Log2", torch.log2)
LogicalNot = _define(_OfOne, "LogicalNot", torch.logical_not)
Negative = _define(_OfOne, "Negative", torch.neg)
OnesLike = _define(_OfOne, "OnesLike", torch.ones_like)
Reciprocal = _define(_OfOne, "Reciprocal", torch.reciprocal)
Sign = _define(_OfOne, "Sign", torch.sign)
Sin = _define(_OfOne, "Sin", torch.sin)
Sqrt = _define(_OfOne, "Sqrt", torch.sqrt)
Square = _define(_OfOne, "Square", torch.square)
Tan = _define(_OfOne, "Tan", torch.tan)
Tanh = _define(_OfOne, "Tanh", torch.tanh)
ZerosLike = _define(_OfOne, "ZerosLike", torch.zeros_like)
Erf = _define(_OfOne, "Erf", torch.erf, "keras.src.ops.math")
Rsqrt = _define(_OfOne, "Rsqrt", torch.rsqrt, "keras.src.ops.math")


class Clip(Operation):
    """Limits values to the range from `x_min` to `x_max`, two numbers (`keras.ops.clip`)."""

    makes_new_tensor = True

    def __init__(self, x_min: float, x_max: float, name: str | None = None):
        super().__init__(name=name)
        if not isinstance(x_min, int | float) or not isinstance(x_max, int | float):
            raise ValueError(f"The limits are numbers; got {x_min!r:.80} and {x_max!r:.80}.")
        self.x_min = x_min
        self.x_max = x_max

    def compute(self, x: Tensor) -> Tensor:
        return x.clamp(self.x_min, self.x_max)


class Cast(Operation):
    """Another type of numbers (`keras.ops.cast`).

    A floating-point type is what the file's model was made in. Here the model's parameters say what
    is computed in, so values that are floating-point keep their type.

    Args:
        dtype: a name of Keras's.
        name: see `Layer`.
    """

    keras_module = "keras.src.ops.core"

    def __init__(self, dtype: str, name: str | None = None):
        super().__init__(name=name)
        self._type = getattr(torch, dtype) if dtype in _TYPES else None
        if self._type is None:
            raise ValueError(f"dtype is one of {', '.join(_TYPES)}; got {dtype!r}.")
        self.dtype = dtype

    def compute(self, x: Tensor) -> Tensor:
        if self._type.is_floating_point:
            return x.to(float_type(x))
        return x.to(self._type)


_TYPES = ("float16", "bfloat16", "float32", "float64", "bool", "uint8")
_TYPES += ("int8", "int16", "int32", "int64")


class StopGradient(Operation):
    """Its input, with no gradient beyond (`keras.ops.stop_gradient`)."""

    keras_module = "keras.src.ops.core"

    def compute(self, variable: Tensor) -> Tensor:
        return variable.detach()


# Activations

_NN = "keras.src.ops.nn"

HardSigmoid = _define(_OfOne, "HardSigmoid", activations.hard_sigmoid, _NN)
HardSilu = _define(_OfOne, "HardSilu", activations.hard_silu, _NN)
HardTanh = _define(_OfOne, "HardTanh", activations.hard_tanh, _NN)
LogSigmoid = _define(_OfOne, "LogSigmoid", activations.log_sigmoid, _NN)
Relu = _define(_OfOne, "Relu", activations.relu, _NN)
Relu6 = _define(_OfOne, "Relu6", activations.relu6, _NN)
Selu = _define(_OfOne, "Selu", activations.selu, _NN)
Sigmoid = _define(_OfOne, "Sigmoid", activations.sigmoid, _NN)
Silu = _define(_OfOne, "Silu", activations.silu, _NN)
Softplus = _define(_OfOne, "Softplus", activations.softplus, _NN)
Softsign = _define(_OfOne, "Softsign", activations.softsign, _NN)
SparsePlus = _define(_OfOne, "SparsePlus", activations.sparse_plus, _NN)
SparseSigmoid = _define(_OfOne, "SparseSigmoid", activations.sparse_sigmoid, _NN)
TanhShrink = _define(_OfOne, "TanhShrink", activations.tanh_shrink, _NN)


class LeakyRelu(Operation):
    """`x` where positive, else `negative_slope * x` (`keras.ops.leaky_relu`)."""

    keras_module = _NN
    makes_new_tensor = True

    def __init__(self, negative_slope: float = 0.2, name: str | None = None):
        super().__init__(name=name)
        self.negative_slope = negative_slope

    def compute(self, x: Tensor) -> Tensor:
        return activations.leaky_relu(x, self.negative_slope)


class ReLU(Operation):
    """The general rectifier that `keras.activations.relu` records."""

    keras_module = "keras.src.activations.activations"
    makes_new_tensor = True

    def __init__(
        self,
        negative_slope: float = 0.0,
        max_value: float | None = None,
        threshold: float = 0.0,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.negative_slope = negative_slope
        self.max_value = max_value
        self.threshold = threshold

    def compute(self, x: Tensor) -> Tensor:
        return activations.relu(x, self.negative_slope, self.max_value, self.threshold)


class Elu(Operation):
    """`x` where positive, else `alpha * (exp(x) - 1)` (`keras.ops.elu`)."""

    keras_module = _NN
    makes_new_tensor = True

    def __init__(self, alpha: float = 1.0, name: str | None = None):
        super().__init__(name=name)
        self.alpha = alpha

    def compute(self, x: Tensor) -> Tensor:
        return activations.elu(x, self.alpha)


class Celu(Elu):
    """`x` where positive, else `alpha * (exp(x / alpha) - 1)` (`keras.ops.celu`)."""

    def compute(self, x: Tensor) -> Tensor:
        return activations.celu(x, self.alpha)


class Gelu(Operation):
    """`keras.ops.gelu`, by default its approximation."""

    keras_module = _NN
    makes_new_tensor = True

    def __init__(self, approximate: bool = True, name: str | None = None):
        super().__init__(name=name)
        self.approximate = approximate

    def compute(self, x: Tensor) -> Tensor:
        return activations.gelu(x, self.approximate)


class Softmax(Operation):
    """Softmax along an axis of Keras's layout (`keras.ops.softmax`)."""

    keras_module = _NN
    function = staticmethod(activations.softmax)

    def __init__(self, axis: int = -1, name: str | None = None):
        super().__init__(name=name)
        self.axis = axis

    def infer_shape(self, shape: Shape) -> Shape:
        keras_axis(self.axis, len(shape))
        return shape

    def compute(self, x: Tensor) -> Tensor:
        return self.function(x, axis=tensor_axis(self.axis, x.ndim, self.data_format))


class LogSoftmax(Softmax):
    """The logarithm of the softmax (`keras.ops.log_softmax`)."""

    function = staticmethod(activations.log_softmax)
