"""Making commands, and types of their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_command(
    commands: argparse._SubParsersAction,
    run: Callable[[argparse.Namespace], None],
    name: str,
    purpose: str,
    example: str,
    *parents: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Adds a command that runs `run` and has the arguments of `parents`; gives its parser."""
    command = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=parents,
    )
    command.set_defaults(run=run)
    return command


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)
