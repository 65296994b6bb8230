"""Symbols and nodes: what a call of a layer on a symbol leaves behind.

Nodes link backwards only, so a base never holds the heads that were put on it. They live as long as
the process: a Model carries its own flat plan into copies and files and makes new nodes from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .structure import flatten, map_structure

if TYPE_CHECKING:
    from torch import nn

    from .layout import Shape


class Symbol:
    """A value that a model will compute.

    Attributes:
        shape: Keras's shape, batch first, in the configured data format; `None` where unknown.
        node: the layer call that makes the value.
        index: which of the call's outputs it is.
    """

    __slots__ = ("index", "node", "shape")

    node: Node

    def __init__(self, shape: Shape):
        self.shape = tuple(shape)
        self.index = 0

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<Symbol shape={self.shape} of {self.node.name!r}>"

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
        training: the mode that the call asked for, None where it follows the model's.
        outputs: the symbols made by the call.
    """

    __slots__ = ("_name", "arguments", "module", "outputs", "training")

    def __init__(
        self,
        module: nn.Module,
        arguments: tuple[Any, ...],
        outputs: list[Symbol],
        training: bool | None = None,
    ):
        self.module = module
        self.arguments = arguments
        self.outputs = outputs
        self.training = training
        self._name: str | None = None
        for index, symbol in enumerate(outputs):
            symbol.node, symbol.index = self, index

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


class Calls(list[Node]):
    """The calls of a layer.

    Copies and files, whoever makes them, leave the calls behind; a Model makes new ones for its
    layers from its plan.
    """

    def __reduce__(self):
        return Calls, ()


def shapes_of(structure: Any) -> Any:
    """The Keras shapes of a structure of symbols."""
    return map_structure(lambda symbol: symbol.shape, structure)


def contains_symbol(structure: Any) -> bool:
    """Whether there is a symbol among the leaves."""
    if isinstance(structure, list | tuple):
        return any(contains_symbol(item) for item in structure)
    if isinstance(structure, dict):
        return any(contains_symbol(item) for item in structure.values())
    return isinstance(structure, Symbol)
