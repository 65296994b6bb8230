"""`kerastorch convert`."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

import torch

from ..convert import convert_file
from ..convert.keras_writing import save_converted
from ..hub import checkpoints
from .arguments import add_command
from .opening import (
    check_no_options_of_named_models,
    is_file_name,
    named_model,
    open_model,
    weights_options,
)
from .tables import print_json


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "convert",
        "write a Keras file's model as safetensors, or in another of Keras's formats",
        "kerastorch convert my_model.keras -o my_model.safetensors",
        weights_options(),
    )
    command.add_argument(
        "source", metavar="SRC", nargs="?", help="a .keras file, or a file of weights"
    )
    command.add_argument(
        "-o",
        "--output",
        "--out",
        metavar="OUT",
        required=True,
        help="a .safetensors, .keras or .h5 file; with --all a folder",
    )
    command.add_argument(
        "--all",
        action="store_true",
        help="every published checkpoint, as safetensors with a manifest: a mirror for "
        "KERASTORCH_WEIGHTS_URL; what is interrupted goes on when it is started again",
    )


def run(options: argparse.Namespace) -> None:
    """Writes a model in the format that the output's name asks for, or all checkpoints."""
    if options.all == bool(options.source):
        raise ValueError("say what to convert: a file or a model's name, or --all")
    if options.all:
        _convert_all(Path(options.output), options.json)
    else:
        _convert_one(options)


def _convert_all(folder: Path, as_json: bool) -> None:
    from ..hub.release import write_release  # which brings Keras's side along

    written = []
    for file, is_new in write_release(folder, checkpoints()):
        written.append({**asdict(file), "is_new": is_new})
        if not as_json:
            parity = "not measured" if file.parity is None else f"{file.parity:.1e}"
            state = "written" if is_new else "there already"
            print(f"{file.name}: {file.model}, {file.size / 1e6:.1f} MB, parity {parity}, {state}")
    if as_json:
        print_json(written)


def _convert_one(options: argparse.Namespace) -> None:
    if options.model is not None:
        with torch.device("meta"):  # The file's weights take the places of its own.
            model = named_model(options.model, options, weights=None)
        convert_file(options.source, options.output, model)
    elif is_file_name(options.source):
        check_no_options_of_named_models(options)
        model = convert_file(options.source, options.output)
    else:
        model = open_model(options.source, options)
        save_converted(model, options.output)
    size = os.path.getsize(options.output)
    if options.json:
        print_json(
            {
                "file": options.output,
                "model": model.name,
                "layers": len(model.layers),
                "parameters": model.count_params(),
                "bytes": size,
            }
        )
        return
    print(
        f"{options.output}: {model.name}, {len(model.layers)} layers, "
        f"{model.count_params():,} parameters, {size / 1e6:.1f} MB"
    )
