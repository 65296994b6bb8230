"""What `torch.hub` sees: a function for each model, and what goes with them.

    model = torch.hub.load("org/kerastorch", "xception", pretrained=True)

A model's function and its documentation are made from its record in the registry.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

from kerastorch.applications.creation import create_model
from kerastorch.applications.imagenet_utils import class_names
from kerastorch.applications.registry import ModelRecord, figures_in_words, get_record
from kerastorch.applications.registry import list_models as list_models
from kerastorch.applications.transforms import MODES_IN_WORDS, Preprocessing
from kerastorch.engine import Model

_DOCUMENTATION = """{summary}

    model = torch.hub.load("org/kerastorch", "{name}", pretrained=True).eval()
    preprocess = torch.hub.load("org/kerastorch", "preprocess", "{name}")
    logits = model(preprocess(picture))  # (1, 1000)

Input: tensor `(batch, 3, height, width)`, {default_size} x {default_size} pixels by default and
at least {min_size} x {min_size}, of pixels that `preprocess` has prepared:
{pixels}.

Output: logits `(batch, classes)`. Without the classifier `(batch, features, rows, columns)`, or
`(batch, features)` with `pooling`.

Args:
{arguments}

Returns:
    A `kerastorch.Model`, an `nn.Module` whose children have the names of Keras's layers.

Raises:
    ValueError: for arguments that do not go together, or not with the published weights.
    PublishedWeightsError: the published weights can neither be found nor downloaded.

Published weights: {figures}.{variants}
Paper: {paper}
Source: {source}.{keras_name}
"""


def preprocess(
    name: str, *, size: int | tuple[int, int] | None = None, interpolation: str = "nearest"
) -> Preprocessing:
    """What turns pictures into a model's input, to the bit as Keras does.

        preprocess = torch.hub.load("org/kerastorch", "preprocess", "xception")
        batch = preprocess(PIL.Image.open("elephant.jpg"))  # (1, 3, 299, 299)

    Args:
        name: one of `list_models()`, or Keras's name for it.
        size: height and width in pixels, or one number for both; the model's default size by
            default.
        interpolation: how pictures are resized: `"nearest"`, as in Keras by default,
            `"bilinear"`, `"bicubic"`, `"hamming"`, `"box"` or `"lanczos"`.

    Returns:
        An `nn.Module`. It takes a PIL image, a tensor `(3, height, width)` of RGB values in
        [0, 255], uint8 or floating, a list of such pictures of any sizes, or a tensor
        `(batch, 3, height, width)`; it gives a float32 tensor `(batch, 3, *size)`.

    Raises:
        ValueError: for an unknown name or interpolation.
    """
    record = get_record(name)
    size = size or record.default_size
    size = (size, size) if isinstance(size, int) else size
    return Preprocessing(size, record.preprocessing, interpolation)


def labels() -> list[str]:
    """The names of ImageNet's 1000 classes in the order of the models' outputs.

        labels = torch.hub.load("org/kerastorch", "labels")
        labels[logits[0].argmax()]  # "African_elephant"

    "crane" and "maillot" are there twice.
    """
    return class_names()


def _entry_point(name: str) -> Callable[..., Model]:
    """`create_model` for one model, with the arguments that this model has."""
    record = get_record(name)
    signature = _signature(record)

    def entry_point(*args, **kwargs) -> Model:
        arguments = signature.bind(*args, **kwargs)
        return create_model(name, *arguments.args, **arguments.kwargs)

    entry_point.__name__ = entry_point.__qualname__ = name
    entry_point.__signature__ = signature
    entry_point.__doc__ = _documentation(record, signature)
    return entry_point


def _signature(record: ModelRecord) -> inspect.Signature:
    own = inspect.signature(record.constructor).parameters
    known = {"pretrained", "in_channels", *own} - {"name"}
    parameters = inspect.signature(create_model).parameters.values()
    return inspect.Signature([parameter for parameter in parameters if parameter.name in known])


def _documentation(record: ModelRecord, signature: inspect.Signature) -> str:
    return _DOCUMENTATION.format(
        summary=inspect.cleandoc(record.constructor.__doc__).partition("\n")[0],
        pixels=MODES_IN_WORDS[record.preprocessing],
        arguments=_arguments_in_words(signature),
        figures=figures_in_words(record),
        variants=_variants_in_words(record),
        source=record.module.replace("kerastorch", "keras", 1),
        **vars(record),
    )


def _arguments_in_words(signature: inspect.Signature) -> str:
    """What the documentation of `create_model` says of the arguments in a signature."""
    documentation = inspect.cleandoc(create_model.__doc__)
    section = documentation.partition("\nArgs:\n")[2].partition("\n\n")[0]
    arguments = re.split(r"\n(?= {4}\w)", section)
    return "\n".join(
        argument
        for argument in arguments
        if argument.strip().partition(":")[0] in signature.parameters
    )


def _variants_in_words(record: ModelRecord) -> str:
    """For which widths and sizes there are weights, where these are several."""
    alphas = sorted({weights.alpha for weights in record.weights} - {None})
    images = f"images of {', '.join(map(str, record.weights_sizes))} pixels"
    if record.weights_of_any_size:
        by_default = ", by default the largest" if len(record.weights_sizes) > 1 else ""
        return f"\nThey were trained on {images.replace(', ', ' or ')}{by_default}."
    if not alphas:
        return ""
    widths = f"\nThere are others for alpha {', '.join(map(str, alphas))}"
    if any(weights.minimalistic for weights in record.weights):
        return f"{widths} and for minimalistic models."
    return f"{widths}\nand {images}."


convnext_base = _entry_point("convnext_base")
convnext_large = _entry_point("convnext_large")
convnext_small = _entry_point("convnext_small")
convnext_tiny = _entry_point("convnext_tiny")
convnext_xlarge = _entry_point("convnext_xlarge")
densenet121 = _entry_point("densenet121")
densenet169 = _entry_point("densenet169")
densenet201 = _entry_point("densenet201")
efficientnet_b0 = _entry_point("efficientnet_b0")
efficientnet_b1 = _entry_point("efficientnet_b1")
efficientnet_b2 = _entry_point("efficientnet_b2")
efficientnet_b3 = _entry_point("efficientnet_b3")
efficientnet_b4 = _entry_point("efficientnet_b4")
efficientnet_b5 = _entry_point("efficientnet_b5")
efficientnet_b6 = _entry_point("efficientnet_b6")
efficientnet_b7 = _entry_point("efficientnet_b7")
efficientnet_v2_b0 = _entry_point("efficientnet_v2_b0")
efficientnet_v2_b1 = _entry_point("efficientnet_v2_b1")
efficientnet_v2_b2 = _entry_point("efficientnet_v2_b2")
efficientnet_v2_b3 = _entry_point("efficientnet_v2_b3")
efficientnet_v2_l = _entry_point("efficientnet_v2_l")
efficientnet_v2_m = _entry_point("efficientnet_v2_m")
efficientnet_v2_s = _entry_point("efficientnet_v2_s")
inception_resnet_v2 = _entry_point("inception_resnet_v2")
inception_v3 = _entry_point("inception_v3")
mobilenet = _entry_point("mobilenet")
mobilenet_v2 = _entry_point("mobilenet_v2")
mobilenet_v3_large = _entry_point("mobilenet_v3_large")
mobilenet_v3_small = _entry_point("mobilenet_v3_small")
nasnet_large = _entry_point("nasnet_large")
nasnet_mobile = _entry_point("nasnet_mobile")
regnet_x002 = _entry_point("regnet_x002")
regnet_x004 = _entry_point("regnet_x004")
regnet_x006 = _entry_point("regnet_x006")
regnet_x008 = _entry_point("regnet_x008")
regnet_x016 = _entry_point("regnet_x016")
regnet_x032 = _entry_point("regnet_x032")
regnet_x040 = _entry_point("regnet_x040")
regnet_x064 = _entry_point("regnet_x064")
regnet_x080 = _entry_point("regnet_x080")
regnet_x120 = _entry_point("regnet_x120")
regnet_x160 = _entry_point("regnet_x160")
regnet_x320 = _entry_point("regnet_x320")
regnet_y002 = _entry_point("regnet_y002")
regnet_y004 = _entry_point("regnet_y004")
regnet_y006 = _entry_point("regnet_y006")
regnet_y008 = _entry_point("regnet_y008")
regnet_y016 = _entry_point("regnet_y016")
regnet_y032 = _entry_point("regnet_y032")
regnet_y040 = _entry_point("regnet_y040")
regnet_y064 = _entry_point("regnet_y064")
regnet_y080 = _entry_point("regnet_y080")
regnet_y120 = _entry_point("regnet_y120")
regnet_y160 = _entry_point("regnet_y160")
regnet_y320 = _entry_point("regnet_y320")
resnet101 = _entry_point("resnet101")
resnet101_v2 = _entry_point("resnet101_v2")
resnet152 = _entry_point("resnet152")
resnet152_v2 = _entry_point("resnet152_v2")
resnet50 = _entry_point("resnet50")
resnet50_v2 = _entry_point("resnet50_v2")
resnet_rs101 = _entry_point("resnet_rs101")
resnet_rs152 = _entry_point("resnet_rs152")
resnet_rs200 = _entry_point("resnet_rs200")
resnet_rs270 = _entry_point("resnet_rs270")
resnet_rs350 = _entry_point("resnet_rs350")
resnet_rs420 = _entry_point("resnet_rs420")
resnet_rs50 = _entry_point("resnet_rs50")
resnext101 = _entry_point("resnext101")
resnext50 = _entry_point("resnext50")
vgg16 = _entry_point("vgg16")
vgg19 = _entry_point("vgg19")
xception = _entry_point("xception")
