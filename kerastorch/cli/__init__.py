"""The `kerastorch` command, thin layers over the library.

A module here is a command, with `add_to`, which adds the command and its arguments to the parser,
and `run`, which runs it. What commands share: `arguments` makes them, `opening` finds the model
that a name or file stands for, `pictures` turns pictures into a model's input, `scores` its output
into labels, and `tables` prints.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .. import __version__
from . import cache, convert, diff, download, listing, predict, summary, verify

COMMANDS = (convert, predict, verify, diff, summary, listing, download, cache)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with `arguments`, by default the process's own, and gives its exit code.

    It is 0 when the command has done what it should, 1 for an error and 2 for wrong usage. That of
    a command that `answers` is its answer, 0 for yes and 1 for no, and 2 if there is none.
    """
    options = parser().parse_args(arguments)
    code = 2 if options.answers else 0
    try:
        code = options.run(options) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"kerastorch: {_describe(error)}", file=sys.stderr)
        return 2 if options.answers else 1
    return code


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands, which the documentation prints too."""
    parser = argparse.ArgumentParser(
        prog="kerastorch",
        description="Keras's application models and Keras files as native PyTorch modules.",
    )
    parser.add_argument("--version", action="version", version=f"kerastorch {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return parser
