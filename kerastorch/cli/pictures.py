"""Picture files to a model's input."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

import torch

from ..applications.recognition import application_in
from ..applications.transforms import COLOR_MODES, Preprocessing, preprocessing_of, transforms
from ..engine import Model
from ..engine.images import input_image
from ..picture_files import find_pictures
from ..preprocessing.image import INTERPOLATIONS, read_img
from .arguments import positive

PREPROCESSING = ("tf", "caffe", "torch", "unit", "none")


def add_picture_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--size",
        metavar=("HEIGHT", "WIDTH"),
        type=positive,
        nargs=2,
        help="pixels, for a model that takes pictures of any size; by default those that the "
        "application in the model has by default",
    )
    command.add_argument(
        "--preprocess",
        choices=PREPROCESSING,
        help="how pixels are scaled; by default as the application in the model was trained",
    )
    command.add_argument(
        "--interpolation",
        choices=INTERPOLATIONS,
        default="nearest",
        help="how pictures are resized; nearest, Keras's own default, by default",
    )


def preprocessing_for(model: Model, options: argparse.Namespace) -> Preprocessing:
    """How a model's pictures are prepared, as the options of `add_picture_options` and it say."""
    size, channels = input_image(model)
    if None in size and options.size is None and application_in(model) is None:
        raise ValueError(f"{model.name} takes pictures of any size: choose one with --size")
    if options.size is not None and not _fits(options.size, size):
        raise ValueError(f"{model.name} takes pictures of {_in_words(size)}, as --size must say")
    if channels not in COLOR_MODES:
        raise ValueError(f"{model.name} takes {channels} channels; pictures have 1, 3 or 4")
    if options.preprocess is None and preprocessing_of(model) is None:
        raise ValueError(
            f"how pictures were prepared for {model.name} cannot be told from the file: "
            f"say --preprocess {'|'.join(PREPROCESSING)}"
        )
    return transforms(
        model, size=options.size, mode=options.preprocess, interpolation=options.interpolation
    )


def _fits(size: Sequence[int], known: Sequence[int | None]) -> bool:
    return all(right in (None, given) for given, right in zip(size, known, strict=True))


def _in_words(size: Sequence[int | None]) -> str:
    return " x ".join("any" if pixels is None else str(pixels) for pixels in size)


def listed(arguments: Sequence[str]) -> list[str]:
    """The pictures that files and folders stand for, a folder's in the order of their paths."""
    paths = []
    for argument in arguments:
        if os.path.isdir(argument):
            paths += [os.path.join(argument, path) for path in find_pictures(argument)]
        else:
            paths.append(argument)
    return paths


def read_batch(paths: Sequence[str], preprocessing: Preprocessing) -> torch.Tensor:
    """The prepared pictures; one that cannot be read raises `ValueError` or `OSError`."""
    return preprocessing([read_img(path) for path in paths])


def describe(preprocessing: Preprocessing, model: Model, options: argparse.Namespace) -> str:
    """A sentence on how pictures were read."""
    reason = "" if options.preprocess else f", {preprocessing_of(model)[1]}"
    return (
        f"Read at {_in_words(preprocessing.size)} ({preprocessing.interpolation}), "
        f"preprocessing {preprocessing.mode}{reason}."
    )


def preprocessing_as_json(preprocessing: Preprocessing) -> dict[str, Any]:
    return {
        "size": list(preprocessing.size),
        "interpolation": preprocessing.interpolation,
        "mode": preprocessing.mode,
    }
