"""Finding the model that a name or a file stands for."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .. import create_model, load_model
from ..applications.imagenet_utils import CLASSES
from ..applications.registry import get_record
from ..engine import Model
from .arguments import positive


def add_model_or_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model_or_file",
        metavar="MODEL_OR_FILE",
        help="a name from `kerastorch list`, a .keras or .safetensors file, or a file of weights",
    )


def weights_options() -> argparse.ArgumentParser:
    """The options that say which architecture a file of bare weights belongs to."""
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("for a file that holds only weights")
    group.add_argument("--model", metavar="NAME", help="the architecture they belong to")
    _add_architecture_options(group)
    return parent


def model_options() -> argparse.ArgumentParser:
    """The options that name a model where the argument is something else."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        "--model",
        dest="model_or_file",
        metavar="MODEL_OR_FILE",
        required=True,
        help="a name from `kerastorch list`, or a .keras or .safetensors file",
    )
    group = parent.add_argument_group("for a file that holds only weights")
    group.add_argument(
        "--weights", metavar="FILE", help="the file; --model then names the architecture"
    )
    _add_architecture_options(group)
    return parent


def _add_architecture_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--classes",
        metavar="N",
        type=positive,
        help=f"how many classes they tell apart (default {CLASSES})",
    )
    group.add_argument("--no-top", action="store_true", help="they are of a model without its top")
    group.add_argument("--alpha", metavar="X", type=float, help="a MobileNet's width multiplier")


def open_model(source: str, options: argparse.Namespace, with_weights: bool = True) -> Model:
    """The model that a name or file stands for, beside the options of `weights_options`."""
    if options.model is not None:
        return named_model(options.model, options, weights=source)
    check_no_options_of_named_models(options)
    if is_file_name(source):
        return load_model(source)
    get_record(source)  # or it raises, before anything is loaded
    if not with_weights:
        with torch.device("meta"):  # nothing will be computed
            return create_model(source)
    return create_model(source, pretrained=True, classifier_activation="softmax")


def open_named_model(options: argparse.Namespace) -> Model:
    """The model that the options of `model_options` stand for."""
    if options.weights is not None:
        return named_model(options.model_or_file, options, weights=options.weights)
    options.model = None
    return open_model(options.model_or_file, options)


def is_file_name(source: str) -> bool:
    path = Path(source)
    return bool(path.suffix) or path.is_file() or (path / "model.json").is_file()


def named_model(name: str, options: argparse.Namespace, weights: str | None) -> Model:
    return create_model(
        name,
        weights=weights,
        classes=options.classes or CLASSES,
        include_top=not options.no_top,
        classifier_activation="softmax",
        alpha=options.alpha,
    )


def check_no_options_of_named_models(options: argparse.Namespace) -> None:
    if options.classes is not None or options.alpha is not None or options.no_top:
        raise ValueError("--classes, --no-top and --alpha go with --model and a file of weights")
