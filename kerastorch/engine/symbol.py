"""Symbols and nodes: what a call of a layer on a symbol leaves behind.

Nodes hold what is before them, the layer and the symbols that it takes, and are themselves held by
symbols and models alone: so a base never holds the heads that were put on it, and the weights of a
model go with its last user. Copies and files have none: a Model makes new ones from its flat plan.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakValueDictionary, ref

from .structure import flatten, map_structure

if TYPE_CHECKING:
    from torch import nn

    from .layout import Shape


class Symbol:
    """A value that a model will compute.

    Attributes:
        node: the layer call that makes the value.
        index: which of the call's outputs it is.
    """

    __slots__ = ("__weakref__", "index", "node")

    def __init__(self, node: Node, index: int):
        self.node, self.index = node, index

    @property
    def shape(self) -> Shape:
        """Keras's shape, batch first, in the configured data format; `None` where unknown."""
        return self.node.shapes[self.index]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<Symbol shape={self.shape} of {self.node.name!r}>"

    # Arithmetic records the operations that Keras 3 records; `==` and `hash` stay those of objects.

    __array_ufunc__ = None  # NumPy leaves `array * symbol` to the Symbol

    def __add__(self, other: Any) -> Symbol:
        return _operations().Add()(self, other)

    def __radd__(self, other: Any) -> Symbol:
        return _operations().Add()(other, self)

    def __sub__(self, other: Any) -> Symbol:
        return _operations().Subtract()(self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return _operations().Subtract()(other, self)

    def __mul__(self, other: Any) -> Symbol:
        return _operations().Multiply()(self, other)

    def __rmul__(self, other: Any) -> Symbol:
        return _operations().Multiply()(other, self)

    def __truediv__(self, other: Any) -> Symbol:
        return _operations().TrueDivide()(self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return _operations().TrueDivide()(other, self)

    def __floordiv__(self, other: Any) -> Symbol:
        return _operations().FloorDivide()(self, other)

    def __rfloordiv__(self, other: Any) -> Symbol:
        return _operations().FloorDivide()(other, self)

    def __mod__(self, other: Any) -> Symbol:
        return _operations().Mod()(self, other)

    def __rmod__(self, other: Any) -> Symbol:
        return _operations().Mod()(other, self)

    def __pow__(self, other: Any) -> Symbol:
        return _operations().Power()(self, other)

    def __rpow__(self, other: Any) -> Symbol:
        return _operations().Power()(other, self)

    def __matmul__(self, other: Any) -> Symbol:
        return _operations().Matmul()(self, other)

    def __rmatmul__(self, other: Any) -> Symbol:
        return _operations().Matmul()(other, self)

    def __neg__(self) -> Symbol:
        return _operations().Negative()(self)

    def __abs__(self) -> Symbol:
        return _operations().Absolute()(self)

    def __lt__(self, other: Any) -> Symbol:
        return _operations().Less()(self, other)

    def __le__(self, other: Any) -> Symbol:
        return _operations().LessEqual()(self, other)

    def __gt__(self, other: Any) -> Symbol:
        return _operations().Greater()(self, other)

    def __ge__(self, other: Any) -> Symbol:
        return _operations().GreaterEqual()(self, other)

    def __getitem__(self, key: Any) -> Symbol:
        return _operations().GetItem()(self, key)

    def __iter__(self):
        raise TypeError("A Symbol stands for a value to come: its items cannot be counted.")

    def __bool__(self):
        raise TypeError("A Symbol stands for a value to come: it is neither true nor false.")

    def __reduce__(self):
        raise TypeError(
            "A Symbol is a place in a live graph and cannot be copied or saved: "
            "copy or save the Model instead."
        )


class Node:
    """One call of a layer on symbols.

    Attributes:
        module: what runs: the layer, or the module that has taken its place in a model.
        arguments: the positional arguments, each a Symbol or a structure of Symbols; none for an
            input.
        shapes: Keras's shape of each value that the call makes.
        training: the mode that the call asked for, None where it follows the model's.
        options: other keyword arguments, plain data.
    """

    __slots__ = (
        "__weakref__",
        "_name",
        "_symbols",
        "arguments",
        "module",
        "options",
        "shapes",
        "training",
    )

    def __init__(
        self,
        module: nn.Module,
        arguments: tuple[Any, ...],
        shapes: Sequence[Shape],
        training: bool | None = None,
        options: dict[str, Any] | None = None,
    ):
        self.module = module
        self.arguments = arguments
        self.shapes = [tuple(shape) for shape in shapes]
        self.training = training
        self.options = options or {}
        self._name: str | None = None
        self._symbols: WeakValueDictionary[int, Symbol] = WeakValueDictionary()

    @property
    def outputs(self) -> list[Symbol]:
        """The symbols made by the call, the same ones as long as somebody has them."""
        indices = range(len(self.shapes))
        return [self._symbols.setdefault(index, Symbol(self, index)) for index in indices]

    @property
    def name(self) -> str:
        """The layer's name in its model; it stays when another module takes the layer's place."""
        return self._name if self._name is not None else self.module.name

    def replace_module(self, module: nn.Module, name: str) -> None:
        """Lets `module` run in the place of the layer called `name`."""
        self.module, self._name = module, name

    @property
    def is_input(self) -> bool:
        return not self.arguments

    @property
    def inputs(self) -> list[Symbol]:
        """The symbols that the call takes, flat."""
        return flatten(list(self.arguments))


class Calls:
    """The calls of a layer of which there are symbols or models.

    Copies and files, whoever makes them, leave the calls behind; a Model makes new ones for its
    layers from its plan.
    """

    def __init__(self):
        self._references: list[ReferenceType[Node]] = []

    def __iter__(self) -> Iterator[Node]:
        return (node for reference in self._references if (node := reference()) is not None)

    def __bool__(self) -> bool:
        return self.first is not None

    @property
    def first(self) -> Node | None:
        return next(iter(self), None)

    def add(self, node: Node) -> None:
        self._keep([*(other for other in self if other is not node), node])

    def discard(self, nodes: Container[Node]) -> None:
        self._keep([node for node in self if node not in nodes])

    def _keep(self, nodes: list[Node]) -> None:
        self._references = list(map(ref, nodes))

    def __reduce__(self):
        return Calls, ()


def shapes_of(structure: Any) -> Any:
    """The Keras shapes of a structure of symbols.

    Raises:
        ValueError: there is something else among them.
    """
    strangers = [leaf for leaf in flatten(structure) if not isinstance(leaf, Symbol)]
    if strangers:
        raise ValueError(f"A list of Symbols holds nothing else; found {strangers[0]!r:.80}.")
    return map_structure(lambda symbol: symbol.shape, structure)


def contains_symbol(structure: Any) -> bool:
    """Whether there is a symbol among the leaves."""
    if isinstance(structure, list | tuple):
        return any(contains_symbol(item) for item in structure)
    if isinstance(structure, dict):
        return any(contains_symbol(item) for item in structure.values())
    return isinstance(structure, Symbol)


def _operations():
    """The classes of operations, which are layers and so know of Symbols themselves."""
    from .. import ops

    return ops
