"""`kerastorch list`."""

from __future__ import annotations

import argparse
from typing import Any

from .. import list_models
from ..applications.registry import ModelRecord, get_record
from .arguments import add_command
from .tables import markdown_table, new_table, print_json, print_table

_FIGURES = ("Pixels", "Size", "Top-1", "Top-5", "Parameters", "Depth")


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "list",
        "list the built-in models with their published figures",
        "kerastorch list",
    )
    command.add_argument("--markdown", action="store_true", help="as a Markdown table")


def run(options: argparse.Namespace) -> None:
    """Prints the table of the built-in models with their published figures."""
    if options.json:
        print_json([record_as_json(record) for record in _records()])
        return
    rows = published_rows()
    if options.markdown:
        print(markdown_table(rows))
        return
    header, *rows = rows
    table = new_table(*(f">{column}" if column in _FIGURES else column for column in header))
    for row in rows:
        table.add_row(*row)
    print_table(table)


def published_rows() -> list[tuple[str, ...]]:
    """The header, and what is published of each built-in model."""
    header = ("Name", "Keras", "Licence", *_FIGURES)
    return [header, *map(_published_row, _records())]


def _records() -> list[ModelRecord]:
    return sorted(map(get_record, list_models()), key=lambda record: record.name)


def record_as_json(record: ModelRecord) -> dict[str, Any]:
    """What is published of a model."""
    return {
        "name": record.name,
        "keras_name": record.keras_name,
        "licence": record.weights_licence,
        "pixels": record.default_size,
        "megabytes": record.size_mb,
        "top1": record.top1,
        "top5": record.top5,
        "parameters": record.params,
        "depth": record.depth,
        "paper": record.paper,
    }


def _published_row(record: ModelRecord) -> tuple[str, ...]:
    return (
        record.name,
        record.keras_name,
        record.weights_licence.partition(" (")[0],
        f"{record.default_size}",
        f"{record.size_mb} MB",
        _figure(record.top1, ".3f"),
        _figure(record.top5, ".3f"),
        f"{record.params:,}",
        _figure(record.depth, "d"),
    )


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
