"""`kerastorch download`."""

from __future__ import annotations

import argparse
import sys

from ..hub import Checkpoint, PublishedWeightsError, checkpoints, checkpoints_of, fill_cache
from .arguments import add_command, positive
from .tables import print_json


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "download",
        "put published weights into the cache, ready for machines without a network",
        "kerastorch download xception resnet50 --no-top",
    )
    command.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="a name from `kerastorch list`, or of a published file",
    )
    command.add_argument("--no-top", action="store_true", help="those without the classifier")
    command.add_argument(
        "--alpha", metavar="X", type=float, default=1.0, help="a MobileNet's width (default 1.0)"
    )
    command.add_argument(
        "--size",
        metavar="PIXELS",
        type=positive,
        help="the images a MobileNet or ResNetRS was trained on (default: as for pretrained=True)",
    )
    command.add_argument(
        "--minimalistic", action="store_true", help="a MobileNetV3 of the minimalistic kind"
    )
    command.add_argument("--variants", action="store_true", help="all files of each model")
    command.add_argument(
        "--all",
        action="store_true",
        help="every published file: 31 GB, and as much again converted",
    )


def _chosen(name: str, options: argparse.Namespace) -> list[Checkpoint]:
    """The published files that a name and the options stand for."""
    found = checkpoints_of(name)
    if options.variants or len(found) == 1:
        return found
    record = found[0].record
    size = options.size or record.weights_names["imagenet"] or record.default_size
    chosen = [
        checkpoint
        for checkpoint in found
        if checkpoint.weights.include_top != options.no_top
        and checkpoint.weights.alpha in (None, options.alpha)
        and checkpoint.weights.size in (None, size)
        and checkpoint.weights.minimalistic == options.minimalistic
    ]
    if not chosen:
        raise ValueError(
            f"nothing is published for {'minimalistic ' if options.minimalistic else ''}{name} "
            f"with alpha {options.alpha}, size {size}"
        )
    return chosen


def run(options: argparse.Namespace) -> int:
    """Fills the cache, goes on where a file cannot be had, and gives 1 if there was one."""
    if options.all == bool(options.names):
        raise ValueError("say which weights: names, or --all")
    named = [found for name in options.names for found in _chosen(name, options)]
    code, filled = 0, []
    for checkpoint in checkpoints() if options.all else named:
        try:
            path = fill_cache(checkpoint)
            size = path.stat().st_size
            filled.append({"file": str(path), "model": checkpoint.title, "bytes": size})
            if not options.json:
                print(f"{path}: {checkpoint.title}, {size / 1e6:.1f} MB")
        except PublishedWeightsError as error:
            print(f"kerastorch: {checkpoint.title}: {error}", file=sys.stderr)
            code = 1
    if options.json:
        print_json(filled)
    return code
