"""Models with one image as input: its size, and the sizes of what becomes of it."""

from __future__ import annotations

from .layout import Shape, join_shape, split_shape
from .model import Model

SIZE = 512  # pixels, where a model leaves height or width open


def takes_one_image(model: Model) -> bool:
    return len(model.inputs) == 1 and len(model.input_shape) == 4


def input_image(model: Model) -> tuple[Shape, int | None]:
    """Height and width, and the channels, of the model's only input; None for what is open.

    Raises:
        ValueError: the model has other inputs than one image.
    """
    if not takes_one_image(model):
        raise ValueError(
            f"{model.name} does not have one image as input, but inputs of shape "
            f"{model.input_shape}."
        )
    return split_shape(model.input_shape, model.data_format)


def example_shape(model: Model, more: int = 0) -> Shape:
    """Keras's shape of an image that the model takes, with `more` pixels each way."""
    size, channels = input_image(model)
    size = tuple((given or SIZE) + more for given in size)
    return join_shape(None, size, channels, model.data_format)
