"""What Keras's applications would download. Nothing is built: layers and models are stand-ins."""

import importlib
import pkgutil
from collections.abc import Iterator
from unittest.mock import MagicMock, patch

import keras
import keras.src.applications as applications
from keras.src.utils import file_utils


class Keras:
    """Asks the constructors for their published weights and notes what they ask a server for."""

    def __init__(self):
        for module in pkgutil.iter_modules(applications.__path__):
            if not module.name.endswith("_test"):
                self._replace_layers(
                    importlib.import_module(f"{applications.__name__}.{module.name}")
                )

    def _replace_layers(self, module) -> None:
        for name in (
            *("layers", "Functional", "Sequential", "operation_utils"),
            *("CustomScaleLayer", "LayerScale", "StochasticDepth", "_depth"),
        ):
            if hasattr(module, name):
                setattr(module, name, MagicMock())

    def published(self, name: str, arguments: dict) -> Iterator[dict]:
        """The file that a constructor asks for: its name in the cache, address and hash."""
        asked = []

        def get_file(fname, origin, cache_subdir, file_hash=None, **others):
            assert cache_subdir == "models"
            asked.append({"file": fname, "address": origin, "hash": file_hash})

        with patch.object(file_utils, "get_file", get_file):
            getattr(keras.applications, name)(weights="imagenet", **arguments)
        yield from asked
