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
    """Adds a command that has the arguments of `parents`.

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
    command.set_defaults(run=run, answers=answers)
    return command


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)
