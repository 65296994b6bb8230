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
    "convnext_base": "convnext_base",
    "convnext_large": "convnext_large",
    "convnext_small": "convnext_small",
    "convnext_tiny": "convnext_tiny",
    "convnext_xlarge": "convnext_xlarge",
    "densenet121": "densenet121",
    "densenet169": "densenet169",
    "densenet201": "densenet201",
    **{f"efficientnet_b{size}": f"tf_efficientnet_b{size}" for size in range(8)},
    **{
        f"efficientnet_v2_{size}": f"tf_efficientnetv2_{size}"
        for size in ("b0", "b1", "b2", "b3", "s", "m", "l")
    },
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "mobilenet": "mobilenetv1_100",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "tf_mobilenetv3_large_100",
    "mobilenet_v3_small": "tf_mobilenetv3_small_100",
    "nasnet_large": "nasnetalarge",
    "regnet_x002": "regnetx_002",
    "regnet_x004": "regnetx_004",
    "regnet_x006": "regnetx_006",
    "regnet_x008": "regnetx_008",
    "regnet_x016": "regnetx_016",
    "regnet_x032": "regnetx_032",
    "regnet_x040": "regnetx_040",
    "regnet_x064": "regnetx_064",
    "regnet_x080": "regnetx_080",
    "regnet_x120": "regnetx_120",
    "regnet_x160": "regnetx_160",
    "regnet_x320": "regnetx_320",
    "regnet_y002": "regnety_002",
    "regnet_y004": "regnety_004",
    "regnet_y006": "regnety_006",
    "regnet_y008": "regnety_008",
    "regnet_y016": "regnety_016",
    "regnet_y032": "regnety_032",
    "regnet_y040": "regnety_040",
    "regnet_y064": "regnety_064",
    "regnet_y080": "regnety_080",
    "regnet_y120": "regnety_120",
    "regnet_y160": "regnety_160",
    "regnet_y320": "regnety_320",
    "resnet101": "resnet101",
    "resnet101_v2": "resnetv2_101",
    "resnet152": "resnet152",
    "resnet152_v2": "resnetv2_152",
    "resnet50": "resnet50",
    "resnet50_v2": "resnetv2_50",
    "resnet_rs101": "resnetrs101",
    "resnet_rs152": "resnetrs152",
    "resnet_rs200": "resnetrs200",
    "resnet_rs270": "resnetrs270",
    "resnet_rs350": "resnetrs350",
    "resnet_rs420": "resnetrs420",
    "resnet_rs50": "resnetrs50",
    "resnext101": "resnext101_32x4d",
    "resnext50": "resnext50_32x4d",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "xception": "legacy_xception",
}
"""timm's twin of each model that has one: the same layers, or nearly so."""

TORCHVISION = {
    "convnext_base": "convnext_base",
    "convnext_large": "convnext_large",
    "convnext_small": "convnext_small",
    "convnext_tiny": "convnext_tiny",
    "densenet121": "densenet121",
    "densenet169": "densenet169",
    "densenet201": "densenet201",
    **{f"efficientnet_b{size}": f"efficientnet_b{size}" for size in range(8)},
    **{f"efficientnet_v2_{size}": f"efficientnet_v2_{size}" for size in ("s", "m", "l")},
    "inception_v3": "inception_v3",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3_large": "mobilenet_v3_large",
    "mobilenet_v3_small": "mobilenet_v3_small",
    "regnet_x008": "regnet_x_800mf",
    "regnet_x016": "regnet_x_1_6gf",
    "regnet_x032": "regnet_x_3_2gf",
    "regnet_x080": "regnet_x_8gf",
    "regnet_x160": "regnet_x_16gf",
    "regnet_x320": "regnet_x_32gf",
    "regnet_y004": "regnet_y_400mf",
    "regnet_y016": "regnet_y_1_6gf",
    "regnet_y032": "regnet_y_3_2gf",
    "regnet_y160": "regnet_y_16gf",
    "regnet_y320": "regnet_y_32gf",
    "resnet101": "resnet101",
    "resnet152": "resnet152",
    "resnet50": "resnet50",
    "resnext50": "resnext50_32x4d",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
}
"""The same of torchvision."""


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
    return models.get_model(TORCHVISION[model], **options)


def keras_model(model: str):
    """Keras's model, on the backend that `KERAS_BACKEND` names.

    Raises:
        NoTwinError: Keras 3 does not have it.
    """
    import keras

    from kerastorch.applications import get_record

    name = get_record(model).keras_name
    if not hasattr(keras.applications, name):
        raise NoTwinError(f"Keras 3 has no {name}")
    return getattr(keras.applications, name)(weights=None)
