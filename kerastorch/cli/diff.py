"""`kerastorch diff`."""

from __future__ import annotations

import argparse

from ..verification import diff
from .arguments import add_command
from .tables import new_table, print_json, print_table


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "diff",
        "compare two files, layer by layer: structure, arguments, weights",
        "kerastorch diff before.keras after.keras",
        answers=True,
    )
    for name in ("a", "b"):
        command.add_argument(
            name, metavar=name.upper(), help="a file that holds a whole model, or weights alone"
        )


def run(options: argparse.Namespace) -> int:
    """Prints what differs between two files."""
    difference = diff(options.a, options.b)
    if options.json:
        print_json(difference.to_json())
    else:
        print(difference.heading)
        if not difference.is_equal:
            print()
            _print_rows(difference.rows())
    return 0 if difference.is_equal else 1


def _print_rows(rows: list[tuple[str, str, str]]) -> None:
    table = new_table("layer", "class", "difference")
    for row in rows:
        table.add_row(*row)
    print_table(table)
