"""Keras files <-> Model: reading, matching, transposing, rebuilding.

Imported as `kerastorch.convert`. A file is parsed in a process of its own (`unverified`, `parser`)
into plain data (`keras_files`), a model is rebuilt from its config (`config`), the stored layers
are matched to the model's (`matching`), and each array is turned by the rule of its layer's class
(`rules`). On the way back a model is put in Keras's terms (`keras_terms`) and written
(`keras_writing`, `hdf5_writing`).
"""

from .errors import KerasFileError, MissingFileError, UnsupportedLayersError
from .keras_writing import save_model, save_weights
from .loading import convert_file, describe_file, load_model, load_weights
from .report import LoadReport
from .safetensors_files import save_safetensors

__all__ = [
    "KerasFileError",
    "LoadReport",
    "MissingFileError",
    "UnsupportedLayersError",
    "convert_file",
    "describe_file",
    "load_model",
    "load_weights",
    "save_model",
    "save_safetensors",
    "save_weights",
]
