"""Keras's application models, and any Keras CNN file, as native PyTorch modules.

    import kerastorch
    model = kerastorch.load_model("my_model.keras")         # a user's file
    model = kerastorch.applications.Xception(weights=path)  # Keras's door, with its defaults
    model = kerastorch.create_model("xception")             # the torch door: gives logits

`import kerastorch` costs little more than `import torch`: what needs torchvision or PIL loads
when used, and so do `diff`, `optimize` and `verify`.
"""

from importlib import import_module as _import_module
from pathlib import Path as _Path
from typing import Any as _Any

# `convert/` and `hub/` stand beside `kerastorch/` in a checkout, and inside it in a wheel. In a
# checkout (also an editable install, or under torch.hub), which `hubconf.py` tells, submodules are
# therefore looked for in the parent folder too.
if (_Path(__file__).parents[1] / "hubconf.py").is_file():
    __path__.append(str(_Path(__file__).parents[1]))

from . import (
    activations,
    applications,
    backend,
    config,
    initializers,
    layers,
    models,
    ops,
    preprocessing,
)
from .applications import (
    VGG16,
    VGG19,
    ConvNeXtBase,
    ConvNeXtLarge,
    ConvNeXtSmall,
    ConvNeXtTiny,
    ConvNeXtXLarge,
    DenseNet121,
    DenseNet169,
    DenseNet201,
    EfficientNetB0,
    EfficientNetB1,
    EfficientNetB2,
    EfficientNetB3,
    EfficientNetB4,
    EfficientNetB5,
    EfficientNetB6,
    EfficientNetB7,
    EfficientNetV2B0,
    EfficientNetV2B1,
    EfficientNetV2B2,
    EfficientNetV2B3,
    EfficientNetV2L,
    EfficientNetV2M,
    EfficientNetV2S,
    InceptionResNetV2,
    InceptionV3,
    MobileNet,
    MobileNetV2,
    MobileNetV3Large,
    MobileNetV3Small,
    NASNetLarge,
    NASNetMobile,
    RegNetX002,
    RegNetX004,
    RegNetX006,
    RegNetX008,
    RegNetX016,
    RegNetX032,
    RegNetX040,
    RegNetX064,
    RegNetX080,
    RegNetX120,
    RegNetX160,
    RegNetX320,
    RegNetY002,
    RegNetY004,
    RegNetY006,
    RegNetY008,
    RegNetY016,
    RegNetY032,
    RegNetY040,
    RegNetY064,
    RegNetY080,
    RegNetY120,
    RegNetY160,
    RegNetY320,
    ResNet50,
    ResNet50V2,
    ResNet101,
    ResNet101V2,
    ResNet152,
    ResNet152V2,
    ResNetRS50,
    ResNetRS101,
    ResNetRS152,
    ResNetRS200,
    ResNetRS270,
    ResNetRS350,
    ResNetRS420,
    ResNeXt50,
    ResNeXt101,
    Xception,
    create_model,
    list_models,
)
from .config import image_data_format, set_image_data_format
from .engine import Input, Layer, Model, Sequential, Symbol
from .fine_tuning import freeze, unfreeze
from .models import load_model, save_model
from .registration import register_layer

__all__ = [
    "ConvNeXtBase",
    "ConvNeXtLarge",
    "ConvNeXtSmall",
    "ConvNeXtTiny",
    "ConvNeXtXLarge",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "EfficientNetB0",
    "EfficientNetB1",
    "EfficientNetB2",
    "EfficientNetB3",
    "EfficientNetB4",
    "EfficientNetB5",
    "EfficientNetB6",
    "EfficientNetB7",
    "EfficientNetV2B0",
    "EfficientNetV2B1",
    "EfficientNetV2B2",
    "EfficientNetV2B3",
    "EfficientNetV2L",
    "EfficientNetV2M",
    "EfficientNetV2S",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "NASNetLarge",
    "NASNetMobile",
    "RegNetX002",
    "RegNetX004",
    "RegNetX006",
    "RegNetX008",
    "RegNetX016",
    "RegNetX032",
    "RegNetX040",
    "RegNetX064",
    "RegNetX080",
    "RegNetX120",
    "RegNetX160",
    "RegNetX320",
    "RegNetY002",
    "RegNetY004",
    "RegNetY006",
    "RegNetY008",
    "RegNetY016",
    "RegNetY032",
    "RegNetY040",
    "RegNetY064",
    "RegNetY080",
    "RegNetY120",
    "RegNetY160",
    "RegNetY320",
    "ResNeXt101",
    "ResNeXt50",
    "ResNet101",
    "ResNet101V2",
    "ResNet152",
    "ResNet152V2",
    "ResNet50",
    "ResNet50V2",
    "ResNetRS101",
    "ResNetRS152",
    "ResNetRS200",
    "ResNetRS270",
    "ResNetRS350",
    "ResNetRS420",
    "ResNetRS50",
    "VGG16",
    "VGG19",
    "Xception",
    "Input",
    "Layer",
    "Model",
    "Sequential",
    "Symbol",
    "activations",
    "applications",
    "backend",
    "config",
    "create_model",
    "diff",
    "freeze",
    "image_data_format",
    "initializers",
    "layers",
    "list_models",
    "load_model",
    "models",
    "ops",
    "optimize",
    "preprocessing",
    "register_layer",
    "save_model",
    "set_image_data_format",
    "unfreeze",
    "verify",
]
__version__ = "0.1.0"


# What loads when it is first asked for: submodules, and functions with the submodules they are in.
_SUBMODULES = ("cam", "embedding", "evaluation", "optimization", "verification")
_FUNCTIONS = {"diff": "verification", "optimize": "optimization", "verify": "verification"}


def __getattr__(name: str) -> _Any:
    if name in _SUBMODULES:
        return _import_module(f".{name}", __name__)
    if name in _FUNCTIONS:
        return getattr(_import_module(f".{_FUNCTIONS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
