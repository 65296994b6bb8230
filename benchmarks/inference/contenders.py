"""What is compared. A contender makes a function that computes one batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

Call = Callable[[], object]
Contender = Callable[[str, int, int], Call]

TIMM = {
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
    *(f"efficientnet_b{size}" for size in range(8)),
    *("efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"),
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
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


def kerastorch_eager(model: str, batch: int, size: int) -> Call:
    import kerastorch

    return _of_torch(kerastorch.create_model(model), batch, size)


def kerastorch_optimized(
    model: str, batch: int, size: int, backend: str, dtype: str = "float32"
) -> Call:
    import torch

    import kerastorch

    made = kerastorch.create_model(model)
    made = kerastorch.optimize(made, dtype=getattr(torch, dtype), backend=backend)
    return _of_torch(made, batch, size)


def timm(model: str, batch: int, size: int) -> Call:
    import timm

    if model not in TIMM:
        raise NoTwinError(f"timm has no {model}")
    return _of_torch(timm.create_model(TIMM[model]), batch, size)


def torchvision(model: str, batch: int, size: int) -> Call:
    from torchvision import models

    if model not in TORCHVISION:
        raise NoTwinError(f"torchvision has no {model}")
    options = {"init_weights": False} if model == "inception_v3" else {}
    return _of_torch(models.get_model(model, **options), batch, size)


def keras(model: str, batch: int, size: int) -> Call:
    """Keras on the backend that `KERAS_BACKEND` names."""
    import keras

    from kerastorch.applications import get_record

    made = getattr(keras.applications, get_record(model).keras_name)(weights=None)
    x = images(batch, size)
    made.predict_on_batch(x)
    if keras.backend.backend() == "torch":
        import torch

        device_x = torch.from_numpy(x)

        @torch.inference_mode()
        def call():
            return made(device_x, training=False)

        return call
    return partial(made.predict_on_batch, x)


def _of_torch(model, batch: int, size: int) -> Call:
    import torch

    model = model.eval().to(memory_format=torch.channels_last)
    x = torch.from_numpy(images(batch, size)).movedim(-1, 1)

    @torch.inference_mode()
    def call():
        return model(x)

    return call


CONTENDERS: dict[str, Contender] = {
    "keras-tensorflow": keras,
    "keras-torch": keras,
    "timm": timm,
    "torchvision": torchvision,
    "eager": kerastorch_eager,
    "optimized": partial(kerastorch_optimized, backend="eager"),
    "inductor": partial(kerastorch_optimized, backend="inductor"),
    "onnxruntime": partial(kerastorch_optimized, backend="onnxruntime"),
    "openvino": partial(kerastorch_optimized, backend="openvino"),
    "auto": partial(kerastorch_optimized, backend="auto"),
    "optimized-bf16": partial(kerastorch_optimized, backend="eager", dtype="bfloat16"),
    "inductor-bf16": partial(kerastorch_optimized, backend="inductor", dtype="bfloat16"),
    "openvino-bf16": partial(kerastorch_optimized, backend="openvino", dtype="bfloat16"),
}
