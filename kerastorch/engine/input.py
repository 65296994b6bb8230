"""Input: where values enter a graph."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from torch import Tensor

from .layer import Layer
from .symbol import Node, Symbol


class InputLayer(Layer):
    """The layer behind an input Symbol; on tensors it is the identity.

    Args:
        shape: Keras's shape without the batch; sizes that vary are None.
        batch_size: the size of the batch where it is fixed.
        dtype: the type of the values, kept for Keras's config.
        batch_shape: the shape with the batch, in place of `shape` and `batch_size`.
        name: see `Layer`.
    """

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: str | None = None,
        batch_shape: Sequence[int | None] | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if (shape is None) == (batch_shape is None):
            raise ValueError("An input takes either a shape or a batch_shape.")
        if batch_shape is None:
            batch_shape = (batch_size, *shape)
        known = [size for size in batch_shape if size is not None]
        if not all(isinstance(size, Integral) and size >= 0 for size in known):
            raise ValueError(f"The sizes of an input are counts or None; got {tuple(batch_shape)}.")
        self.batch_shape = tuple(size if size is None else int(size) for size in batch_shape)
        self.dtype = dtype or "float32"

    @property
    def input(self) -> Symbol:
        return self.output

    def _first_node(self, attribute: str) -> Node:
        node = self._nodes.first
        if node is None:
            node = Node(self, (), [self.batch_shape])
            self._nodes.add(node)
        return node

    def get_config(self) -> dict:
        return {"name": self.name, "batch_shape": self.batch_shape, "dtype": self.dtype}

    def forward(self, x: Tensor) -> Tensor:
        return x


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
) -> Symbol:
    """The Symbol of a new input; see `InputLayer` for the arguments."""
    return InputLayer(shape, batch_size, dtype, batch_shape, name).output
