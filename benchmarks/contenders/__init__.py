"""What is compared. A contender makes a function that computes one batch.

`inference` and `training` have a dictionary of contenders each; a contender takes the name of a
model, the size of the batch, and height and width of the images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Call = Callable[[], object]
Contender = Callable[[str, int, int], Call]

TIMM = {
    "densenet121": "densenet121",
    "densenet169": "densenet169",
    "densenet201": "densenet201",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "mobilenet": "mobilenetv1_100",
    "mobilenet_v2": "mobilenetv2_100",
    "nasnet_large": "nasnetalarge",
    "resnet101": "resnet101",
    "resnet101_v2": "resnetv2_101",
    "resnet152": "resnet152",
    "resnet152_v2": "resnetv2_152",
    "resnet50": "resnet50",
    "resnet50_v2": "resnetv2_50",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "xception": "legacy_xception",
}
"""timm's twin of each model that has one: the same layers, or nearly so."""

TORCHVISION = {
    "densenet121",
    "densenet169",
    "densenet201",
    "inception_v3",
    "mobilenet_v2",
    "resnet101",
    "resnet152",
    "resnet50",
    "vgg16",
    "vgg19",
}


class NoTwinError(LookupError):
    """A contender does not have the model."""


def images(batch: int, size: int) -> np.ndarray:
    """Random pixels, channels last, as Keras takes them."""
    return np.random.default_rng(0).standard_normal((batch, size, size, 3), dtype=np.float32)


def timm_twin(model: str):
    """timm's model with the same layers, or nearly so.

    Raises:
        NoTwinError: there is none.
    """
    import timm

    if model not in TIMM:
        raise NoTwinError(f"timm has no {model}")
    return timm.create_model(TIMM[model])


def torchvision_twin(model: str):
    """torchvision's model with the same layers, or nearly so.

    Raises:
        NoTwinError: there is none.
    """
    from torchvision import models

    if model not in TORCHVISION:
        raise NoTwinError(f"torchvision has no {model}")
    options = {"init_weights": False} if model == "inception_v3" else {}
    return models.get_model(model, **options)


def keras_model(model: str):
    """Keras's model, on the backend that `KERAS_BACKEND` names."""
    import keras

    from kerastorch.applications import get_record

    return getattr(keras.applications, get_record(model).keras_name)(weights=None)
