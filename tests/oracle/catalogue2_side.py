"""What the applications would download that only Keras 2 has. Nothing is built, as for Keras 3."""

from collections.abc import Iterator
from functools import partial
from unittest.mock import MagicMock, patch

from tf_keras.src.applications import regnet, resnet, resnet_rs


class Keras:
    """Asks the constructors for their published weights and notes what they ask a server for."""

    def __init__(self):
        for module in (regnet, resnet, resnet_rs):
            for name in ("layers", "training", "layer_utils"):
                setattr(module, name, MagicMock())

    def published(self, name: str, arguments: dict) -> Iterator[dict]:
        """The file that a constructor asks for: its name in the cache, address and hash."""
        asked = []

        def get_file(fname, origin, cache_subdir, file_hash=None, **others):
            assert cache_subdir == "models"
            asked.append({"file": fname, "address": origin, "hash": file_hash})

        weights = "imagenet"
        if name.startswith("ResNetRS"):
            make, size = getattr(resnet_rs, name), arguments["input_shape"][0]
            weights = f"imagenet-i{size}"
        elif name.startswith("ResNeXt"):  # whose weights it knows, but exports no constructor
            make = partial(resnet.ResNet, lambda x: x, False, False, model_name=name.lower())
        else:
            make = getattr(regnet, name)
        with patch("tf_keras.src.utils.data_utils.get_file", get_file):
            make(weights=weights, **arguments)
        yield from asked
