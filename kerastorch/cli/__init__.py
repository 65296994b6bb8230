"""The `kerastorch` command, thin layers over the library.

A module here is a command, with `add_to`, which adds the command and its arguments to the parser,
and `run`, which runs it. What commands share: `arguments` makes them, `opening` finds the model
that a name or file stands for, `pictures` turns pictures into a model's input, `computing` says
where and how many at once, `scores` turns its output into labels, `progress` shows how far it is,
and `tables` prints.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import torch

from .. import __version__
from ..extras import MissingExtraError
from ..picture_files import shown
from . import (
    cache,
    convert,
    diff,
    download,
    embed,
    evaluate,
    info,
    listing,
    predict,
    summary,
    verify,
)

COMMANDS = (
    *(predict, embed, evaluate, info, listing, summary),
    *(convert, verify, diff, download, cache),
)
INTERRUPTED = 130  # the exit code that a shell expects of what Ctrl-C has ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with `arguments`, by default the process's own, and gives its exit code.

    It is 0 when the command has done what it should, 1 for an error, 2 for wrong usage and 130 when
    it was interrupted. That of a command that `answers` is its answer, 0 for yes and 1 for no, and
    2 if there is none.
    """
    options = parser().parse_args(arguments)
    code = 2 if options.answers else 0
    try:
        code = options.run(options) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("kerastorch: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, MissingExtraError, torch.OutOfMemoryError) as error:
        print(f"kerastorch: {_describe(error)}", file=sys.stderr)
        return 2 if options.answers else 1
    return code


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{shown(error.filename)}: {error.strerror}"
    if isinstance(error, torch.OutOfMemoryError):
        return "the device has too little memory for so much at once: try a smaller --batch"
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
