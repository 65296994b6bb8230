"""Products of matrices and their kin, along axes of Keras's layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.layout import Shape, broadcast_shapes, from_keras_layout, to_keras_layout
from ..engine.operation import Operation


class Matmul(Operation):
    """Product of matrices, those of the last two axes (`keras.ops.matmul`)."""

    makes_new_tensor = True

    def infer_shape(self, x1: Shape, x2: Shape) -> Shape:
        if not x1 or not x2:
            raise ValueError(f"Operation {self.name!r} multiplies matrices, not numbers.")
        rows, columns = x1[-2:-1], x2[-1:] if len(x2) > 1 else ()
        inner = {x1[-1], x2[-2] if len(x2) > 1 else x2[-1]} - {None}
        if len(inner) > 1:
            raise ValueError(f"Operation {self.name!r} cannot multiply {x1} with {x2}.")
        return (*broadcast_shapes(x1[:-2], x2[:-2]), *rows, *columns)

    def compute(self, x1: Tensor, x2: Tensor) -> Tensor:
        y = to_keras_layout(x1, self.data_format) @ to_keras_layout(x2, self.data_format)
        return from_keras_layout(y, self.data_format)


class Dot(Operation):
    """Products summed over the last axis of `x1` and the last but one of `x2` (`keras.ops.dot`)."""

    makes_new_tensor = True

    def infer_shape(self, x1: Shape, x2: Shape) -> Shape:
        if not x1 or not x2:
            raise ValueError(f"Operation {self.name!r} takes two arrays, not numbers.")
        if len({x1[-1], x2[-2:][0]} - {None}) > 1:
            raise ValueError(f"Operation {self.name!r} cannot multiply {x1} with {x2}.")
        return (*x1[:-1], *x2[:-2], *x2[-1:][: len(x2) - 1])

    def compute(self, x1: Tensor, x2: Tensor) -> Tensor:
        x1, x2 = (to_keras_layout(x, self.data_format) for x in (x1, x2))
        y = torch.tensordot(x1, x2, dims=([-1], [max(x2.ndim - 2, 0)]))
        return from_keras_layout(y, self.data_format)


class Einsum(Operation):
    """Sums of products by Einstein's notation (`keras.ops.einsum`).

    Args:
        subscripts: a letter for each axis of Keras's layout, as in `"bij,bkj->bik"`.
        name: see `Layer`.

    Raises:
        ValueError: there is no `->`, or an ellipsis, or the letters do not fit.
    """

    def __init__(self, subscripts: str, name: str | None = None):
        super().__init__(name=name)
        self.subscripts = subscripts
        terms, arrow, result = subscripts.replace(" ", "").partition("->")
        if not arrow or not all(letter.isalpha() or letter == "," for letter in terms + result):
            raise ValueError(f"Subscripts are letters and an arrow; got {subscripts!r}.")
        self._terms, self._result = terms.split(","), result

    def infer_shape(self, *operands: Shape) -> Shape:
        if [*map(len, self._terms)] != [*map(len, operands)]:
            raise ValueError(f"{self.subscripts!r} does not fit the shapes {operands}.")
        sizes: dict[str, Any] = {}
        for letters, shape in zip(self._terms, operands, strict=True):
            for letter, size in zip(letters, shape, strict=True):
                sizes.setdefault(letter, size)
        return tuple(sizes[letter] for letter in self._result)

    def compute(self, *operands: Tensor) -> Tensor:
        values = [to_keras_layout(x, self.data_format) for x in operands]
        return from_keras_layout(torch.einsum(self.subscripts, *values), self.data_format)
