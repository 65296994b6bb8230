"""Operations that sum up along axes of Keras's layout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..engine.dtype import float_type
from ..engine.layout import Shape, from_keras_layout, keras_axes, to_keras_layout
from ..engine.operation import Operation


class _Reduction(Operation):
    """Reduces axes to one value, or to size 1.

    Args:
        axis: an axis of Keras's layout, several, or None for all.
        keepdims: whether the axes stay, with size 1.
        name: see `Layer`.
    """

    makes_new_tensor = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = None,
        keepdims: bool = False,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.axis = axis
        self.keepdims = keepdims

    def infer_shape(self, shape: Shape) -> Shape:
        axes = keras_axes(self.axis, len(shape))
        if self.keepdims:
            return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        return tuple(size for axis, size in enumerate(shape) if axis not in axes)

    def compute(self, x: Tensor) -> Tensor:
        axes = keras_axes(self.axis, x.ndim)
        if not axes:
            return x.clone()
        y = self.reduce(to_keras_layout(x, self.data_format), axes)
        return from_keras_layout(y, self.data_format)

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        """The result for a value in Keras's layout."""
        raise NotImplementedError


class Mean(_Reduction):
    """Mean (`keras.ops.mean`)."""

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        return x.to(float_type(x)).mean(axes, keepdim=self.keepdims)


class Sum(_Reduction):
    """Sum (`keras.ops.sum`)."""

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        return x.sum(axes, keepdim=self.keepdims)


class Prod(_Reduction):
    """Product (`keras.ops.prod`); the type of the numbers stays."""

    def __init__(
        self,
        axis: int | Sequence[int] | None = None,
        keepdims: bool = False,
        dtype: None = None,
        name: str | None = None,
    ):
        super().__init__(axis, keepdims, name)
        if dtype is not None:
            raise ValueError(f"A product keeps its type of numbers; got the dtype {dtype!r}.")
        self.dtype = dtype

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        for axis in sorted(axes, reverse=True):
            x = x.prod(axis, keepdim=self.keepdims)
        return x


class _Extreme(_Reduction):
    def __init__(
        self,
        axis: int | Sequence[int] | None = None,
        keepdims: bool = False,
        initial: float | None = None,
        name: str | None = None,
    ):
        super().__init__(axis, keepdims, name)
        self.initial = initial


class Max(_Extreme):
    """Largest value, at least `initial` (`keras.ops.max`)."""

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        largest = x.amax(axes, keepdim=self.keepdims)
        return largest if self.initial is None else largest.clamp(min=self.initial)


class Min(_Extreme):
    """Smallest value, at most `initial` (`keras.ops.min`)."""

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        smallest = x.amin(axes, keepdim=self.keepdims)
        return smallest if self.initial is None else smallest.clamp(max=self.initial)


class Var(_Reduction):
    """Mean squared distance from the mean (`keras.ops.var`)."""

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        return x.var(axes, correction=0, keepdim=self.keepdims)


class Std(_Reduction):
    """Square root of the variance (`keras.ops.std`)."""

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        return x.std(axes, correction=0, keepdim=self.keepdims)


class Logsumexp(_Reduction):
    """Logarithm of the sum of exponentials (`keras.ops.logsumexp`)."""

    keras_module = "keras.src.ops.math"

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        return x.logsumexp(axes, keepdim=self.keepdims)


class _Position(_Reduction):
    def __init__(self, axis: int | None = None, keepdims: bool = False, name: str | None = None):
        super().__init__(axis, keepdims, name)

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        # Torch may give any of equal values, Keras the first: find it among booleans.
        wanted = self.extreme(x, axes)
        flat = (x == wanted).flatten() if self.axis is None else x == wanted
        position = flat.to(torch.int8).argmax(0 if self.axis is None else axes[0])
        if not self.keepdims:
            return position.to(torch.int32)
        shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        return position.to(torch.int32).reshape(shape)


class Argmax(_Position):
    """Position of the largest value along one axis, or in all (`keras.ops.argmax`)."""

    def extreme(self, x: Tensor, axes: list[int]) -> Tensor:
        return x.amax(axes, keepdim=True)


class Argmin(_Position):
    """Position of the smallest value along one axis, or in all (`keras.ops.argmin`)."""

    def extreme(self, x: Tensor, axes: list[int]) -> Tensor:
        return x.amin(axes, keepdim=True)


class Norm(_Reduction):
    """Length of vectors (`keras.ops.norm`).

    Args:
        ord: None or 2 for the Euclidean length, or with one axis 1 or another number.
        axis, keepdims, name: as above; without `ord` also several axes or all.

    Raises:
        ValueError: `ord` asks for a norm of matrices.
    """

    keras_module = "keras.src.ops.linalg"

    def __init__(
        self,
        ord: float | str | None = None,
        axis: int | Sequence[int] | None = None,
        keepdims: bool = False,
        name: str | None = None,
    ):
        super().__init__(axis, keepdims, name)
        one_axis = isinstance(axis, int) or (axis is not None and len(axis) == 1)
        if not (ord is None or (one_axis and isinstance(ord, int | float) and ord > 0)):
            raise ValueError(f"Norm takes a positive ord and one axis; got {ord!r}, {axis!r}.")
        self.ord = ord

    def reduce(self, x: Tensor, axes: list[int]) -> Tensor:
        order = 2 if self.ord is None else self.ord
        return torch.linalg.vector_norm(x, order, axes, keepdim=self.keepdims)


class Normalize(Operation):
    """Scales vectors along axes to length 1 (`keras.ops.normalize`).

    Args:
        axis: an axis of Keras's layout, several, or None for all.
        order: which length; 2 is the Euclidean one.
        epsilon: the smallest length that is divided by; None for Keras's 1e-7.
        name: see `Layer`.
    """

    keras_module = "keras.src.ops.nn"
    makes_new_tensor = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        order: int = 2,
        epsilon: float | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if not isinstance(order, int) or order < 1:
            raise ValueError(f"order is a whole number from 1; got {order!r}.")
        self.axis = axis
        self.order = order
        self.epsilon = epsilon

    def infer_shape(self, shape: Shape) -> Shape:
        keras_axes(self.axis, len(shape))
        return shape

    def compute(self, x: Tensor) -> Tensor:
        y = to_keras_layout(x, self.data_format)
        axes = keras_axes(self.axis, x.ndim)
        epsilon = 1e-7 if self.epsilon is None else self.epsilon
        if self.order == 2:  # as Keras writes it, for its gradient
            y = y * y.square().sum(axes, keepdim=True).rsqrt().clamp(max=1 / epsilon)
        else:
            y = y / torch.linalg.vector_norm(y, self.order, axes, keepdim=True).clamp(min=epsilon)
        return from_keras_layout(y, self.data_format)
