"""Keras files <-> Model: reading, matching, transposing, rebuilding.

Imported as `kerastorch.convert`. A file is read into plain data (`keras_files`), a model is rebuilt
from its config (`config`), the stored layers are matched to the model's (`matching`),
and each array is turned by the rule of its layer's class (`rules`).
"""

from .errors import MissingFileError, UnsupportedLayersError, WeightsError
from .loading import describe_file, load_model, load_weights
from .safetensors_files import save_safetensors

__all__ = [
    "MissingFileError",
    "UnsupportedLayersError",
    "WeightsError",
    "describe_file",
    "load_model",
    "load_weights",
    "save_safetensors",
]
