"""Pictures to arrays: how a picture becomes a model's input."""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np

from ..applications.imagenet_utils import preprocess_input
from ..applications.registry import ModelRecord
from ..engine import Model
from ..engine.layout import join_shape, split_shape
from ..preprocessing.image import INTERPOLATIONS, img_to_array, load_img
from .arguments import positive

PREPROCESSING = ("tf", "caffe", "torch", "none")


def add_picture_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--size",
        metavar=("HEIGHT", "WIDTH"),
        type=positive,
        nargs=2,
        help="pixels, for a model that takes pictures of any size",
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


class Recipe(NamedTuple):
    """How a picture becomes a model's input."""

    size: tuple[int, int]  # height and width in pixels
    color_mode: str
    data_format: str
    interpolation: str
    preprocessing: str
    reason: str

    def read(self, path: str) -> np.ndarray:
        """The picture as an array in Keras's layout; an unreadable one raises `ValueError`."""
        from PIL import Image, UnidentifiedImageError

        try:
            img = load_img(path, self.color_mode, self.size, self.interpolation)
        except UnidentifiedImageError:
            raise ValueError(f"{path}: not a picture in a format that Pillow reads") from None
        except Image.DecompressionBombError as error:
            raise ValueError(f"{path}: {error}") from None
        except OSError as error:
            if error.filename is None:  # Pillow's, about a truncated picture
                raise ValueError(f"{path}: {error}") from None
            raise
        x = img_to_array(img, self.data_format)
        if self.preprocessing == "none":
            return x
        return preprocess_input(x, self.data_format, self.preprocessing)

    def describe(self) -> str:
        height, width = self.size
        return (
            f"Read at {height} x {width} ({self.interpolation}), "
            f"preprocessing {self.preprocessing}{self.reason}."
        )


def recipe_for(model: Model, record: ModelRecord | None, options: argparse.Namespace) -> Recipe:
    """How a model's pictures are read, as the options of `add_picture_options` and it say."""
    if len(model.inputs) != 1 or len(model.input_shape) != 4:
        raise ValueError(f"predict takes models with one image as input, not {model.input_shape}")
    size, channels = split_shape(model.input_shape, model.data_format)
    if options.size is not None:
        size = tuple(options.size)
    if None in size:
        raise ValueError(f"{model.name} takes pictures of any size: choose one with --size")
    model.compute_output_shape(join_shape(None, size, channels, model.data_format))  # or it raises
    color_modes = {1: "grayscale", 3: "rgb", 4: "rgba"}
    if channels not in color_modes:
        raise ValueError(f"{model.name} takes {channels} channels; pictures have 1, 3 or 4")
    preprocessing, reason = _preprocessing(model, record, options)
    return Recipe(
        size,
        color_modes[channels],
        model.data_format,
        options.interpolation,
        preprocessing,
        reason,
    )


def _preprocessing(
    model: Model, record: ModelRecord | None, options: argparse.Namespace
) -> tuple[str, str]:
    """The preprocessing mode and, where nobody chose it, why it is this one."""
    if options.preprocess is not None:
        return options.preprocess, ""
    inside = [layer.name for layer in model.layers if type(layer).__name__ in _PREPROCESSING_LAYERS]
    if inside:
        return "none", f", as the model's own layer {inside[0]} does it"
    if record is not None:
        return record.preprocessing, f", as {record.keras_name} was trained with"
    raise ValueError(
        f"how pictures were prepared for {model.name} cannot be told from the file: "
        f"say --preprocess {'|'.join(PREPROCESSING)}"
    )


_PREPROCESSING_LAYERS = ("Rescaling", "Normalization")
