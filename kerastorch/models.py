"""Models: making them from graphs, and files that hold whole ones."""

from __future__ import annotations

from os import PathLike

from .engine import Model, Sequential
from .registration import register_layer

__all__ = ["Model", "Sequential", "load_model", "register_layer", "save_model"]


def load_model(filepath: str | PathLike) -> Model:
    """Opens a file that holds a whole model: `.keras`, legacy `.h5`, or our own `.safetensors`.

    Returns:
        A `Model` (or `Sequential`) with the file's layers, names and weights, its parameters of the
        types in the file.

    Raises:
        ValueError: the file is missing or broken, holds only weights, or uses layers that are not
            supported, which are then listed all at once; see `register_layer`.
    """
    from .convert import load_model

    return load_model(filepath)


def save_model(model: Model, filepath: str | PathLike) -> None:
    """Saves a whole model, as `model.save` does."""
    model.save(filepath)
