"""Keras's summary of a model as text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from .layer import Layer

if TYPE_CHECKING:
    from .model import Model


class Row(NamedTuple):
    """A layer's line of the table, in Keras's columns."""

    layer: str
    output_shape: str
    params: str
    connected_to: str


def summarize(model: Model, expand_nested: bool = False) -> str:
    """The table of layers with Keras's columns, then the totals."""
    from rich.console import Console
    from rich.table import Table

    rows = list(_rows(model, expand_nested))
    table = Table(
        "Layer (type)", "Output Shape", title=f'Model: "{model.name}"', title_justify="left"
    )
    table.add_column("Param #", justify="right")
    columns = 3
    if not _is_chain(model):  # Keras shows the connections only where they are not evident
        table.add_column("Connected to")
        columns = 4
    for row in rows:
        table.add_row(*row[:columns])
    text = io.StringIO()
    # As wide as the content needs: no name is cut, so the text can be searched.
    width = sum(max(map(len, cells)) + 3 for cells in zip(*rows, Row._fields, strict=True)) + 20
    console = Console(file=text, width=width, no_color=True, highlight=False, markup=False)
    console.print(table)
    return text.getvalue() + _totals(model)


def _rows(model: Model, expand_nested: bool, indent: str = "") -> Iterator[Row]:
    listed = set(model.operations)  # a Sequential leaves its input out
    for name, key in model._keys.items():
        module, nodes = model._modules[key], model._calls[key]
        if module not in listed:
            continue
        yield Row(
            f"{indent}{name} ({type(module).__name__})",
            ", ".join(str(symbol.shape) for symbol in nodes[0].outputs),
            f"{_count(module):,}",
            ", ".join(symbol.node.name for node in nodes for symbol in node.inputs) or "-",
        )
        if expand_nested and hasattr(module, "_calls"):
            yield from _rows(module, expand_nested, indent + "  ")


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


def _totals(model: Model) -> str:
    total = model.count_params()
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    counts = {
        "Total params": total,
        "Trainable params": trainable,
        "Non-trainable params": total - trainable,
    }
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    lines = [f" {label}: {count:,}" for label, count in counts.items()]
    lines[0] += f" ({size / 2**20:.2f} MiB)"
    return "\n".join(lines)
