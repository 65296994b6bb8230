"""Printing tables, and JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def markdown_table(rows: list[tuple[str, ...]]) -> str:
    """The rows, header first, as a Markdown table; after the first three columns to the right."""
    header, *rows = rows
    ruler = ["---"] * 3 + ["---:"] * (len(header) - 3)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ruler, *rows))


def new_table(*columns: str) -> Table:
    """An empty table; a column that begins with `>` is set to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        justify = "right" if column.startswith(">") else "left"
        table.add_column(column.lstrip(">"), justify=justify, overflow="fold")
    return table


def print_table(table: Table) -> None:
    from rich.console import Console

    # In a pipe or a file lines may be as long as they are. What looks like markup is a name.
    width = None if sys.stdout.isatty() else 1000
    Console(width=width, highlight=False, markup=False, emoji=False).print(table)


def print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))
