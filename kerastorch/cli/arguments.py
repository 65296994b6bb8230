"""Making commands, and types of their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_command(
    commands: argparse._SubParsersAction,
    run: Callable[[argparse.Namespace], int | None],
    name: str,
    purpose: str,
    example: str,
    *parents: argparse.ArgumentParser,
    answers: bool = False,
) -> argparse.ArgumentParser:
    """Adds a command that has the arguments of `parents`, and `--json` as each.

    Args:
        commands: what it is added to.
        run: runs it with the parsed arguments and, if it `answers`, gives the exit code.
        name: its name.
        purpose: what it does, in a phrase.
        example: a whole line of its use.
        parents: parsers of arguments that it shares with others.
        answers: whether its exit code is an answer; see `main`.

    Returns:
        Its parser, which takes its own arguments.
    """
    command = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=parents,
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.set_defaults(run=run, answers=answers)
    return command


def positive(text: str) -> int:
    return _whole(text, least=1)


def not_negative(text: str) -> int:
    return _whole(text, least=0)


def _whole(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
    return int(text)


def part(text: str) -> float:
    """More than 0, and at most 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1")
    return number
