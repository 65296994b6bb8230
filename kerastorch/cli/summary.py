"""`kerastorch summary`."""

from __future__ import annotations

import argparse

from ..engine.summary import describe
from .arguments import add_command
from .opening import add_model_or_file, open_model, weights_options
from .tables import print_json


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "summary",
        "show a model's layers, output shapes and parameters",
        "kerastorch summary xception",
        weights_options(),
    )
    add_model_or_file(command)
    command.add_argument(
        "--expand-nested", action="store_true", help="show the layers of nested models too"
    )


def run(options: argparse.Namespace) -> None:
    """Prints Keras's table of a model's layers."""
    model = open_model(options.model_or_file, options, with_weights=False)
    if options.json:
        print_json(describe(model, options.expand_nested))
    else:
        model.summary(expand_nested=options.expand_nested)
