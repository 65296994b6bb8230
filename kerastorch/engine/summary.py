"""Keras's summary of a model as text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from .layer import Layer

if TYPE_CHECKING:
    from .model import Model


class Row(NamedTuple):
    """A layer's line of the table, in Keras's columns.

    Attributes:
        depth: in how many nested models it stands.
        name: its name.
        class_name: of its class.
        output_shapes: Keras's shapes of its outputs.
        params: the number of its parameters.
        connected_to: the names of the layers that it takes the outputs of.
    """

    depth: int
    name: str
    class_name: str
    output_shapes: list[tuple]
    params: int
    connected_to: list[str]

    def cells(self) -> tuple[str, str, str, str]:
        return (
            f"{'  ' * self.depth}{self.name} ({self.class_name})",
            ", ".join(map(str, self.output_shapes)),
            f"{self.params:,}",
            ", ".join(self.connected_to) or "-",
        )


def describe(model: Model, expand_nested: bool = False) -> dict[str, Any]:
    """What `summarize` says as plain data."""
    return {
        "model": model.name,
        "layers": [row._asdict() for row in _rows(model, expand_nested)],
        **_counts(model),
    }


def summarize(model: Model, expand_nested: bool = False) -> str:
    """The table of layers with Keras's columns, then the totals."""
    from rich.console import Console
    from rich.table import Table

    rows = [row.cells() for row in _rows(model, expand_nested)]
    table = Table(title=f'Model: "{model.name}"', title_justify="left")
    # Keras shows the connections only where they are not evident.
    columns = 3 if _is_chain(model) else 4
    for heading in _HEADINGS[:columns]:
        table.add_column(heading, justify="right" if heading == "Param #" else "left")
    for row in rows:
        table.add_row(*row[:columns])
    text = io.StringIO()
    # As wide as the content needs: no name is cut, so the text can be searched.
    width = sum(max(map(len, cells)) + 3 for cells in zip(*rows, _HEADINGS, strict=True)) + 20
    console = Console(file=text, width=width, no_color=True, highlight=False, markup=False)
    console.print(table)
    return text.getvalue() + _totals(model)


_HEADINGS = ("Layer (type)", "Output Shape", "Param #", "Connected to")


def _rows(model: Model, expand_nested: bool, depth: int = 0) -> Iterator[Row]:
    listed = set(model.operations)  # a Sequential leaves its input out
    for name, key in model._keys.items():
        module, nodes = model._modules[key], model._calls[key]
        if module not in listed:
            continue
        yield Row(
            depth,
            name,
            type(module).__name__,
            [symbol.shape for symbol in nodes[0].outputs],
            _count(module),
            [symbol.node.name for node in nodes for symbol in node.inputs],
        )
        if expand_nested and hasattr(module, "_calls"):
            yield from _rows(module, expand_nested, depth + 1)


def _is_chain(model: Model) -> bool:
    """Whether each layer is called once, on the output of the one before."""
    symbols = [node.inputs for nodes in model._calls.values() for node in nodes]
    previous = [nodes[0].outputs for nodes in model._calls.values()]
    return len(symbols) == len(previous) and all(
        taken == given for taken, given in zip(symbols[1:], previous[:-1], strict=True)
    )


def _count(module: nn.Module) -> int:
    if isinstance(module, Layer):
        return module.count_params()
    return sum(parameter.numel() for parameter in module.parameters())


def _counts(model: Model) -> dict[str, int]:
    total = model.count_params()
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "params": total,
        "trainable_params": trainable,
        "non_trainable_params": total - trainable,
        "bytes": sum(t.numel() * t.element_size() for t in model.state_dict().values()),
    }


def _totals(model: Model) -> str:
    counts = _counts(model)
    return (
        f" Total params: {counts['params']:,} ({counts['bytes'] / 2**20:.2f} MiB)\n"
        f" Trainable params: {counts['trainable_params']:,}\n"
        f" Non-trainable params: {counts['non_trainable_params']:,}"
    )
