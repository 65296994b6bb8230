"""The torch door: a model by its name, as PyTorch code expects it."""

import inspect

import torch

from ..engine import Model
from .construction import (
    default_size,
    for_published_weights,
    image_channels,
    image_shape_of,
    image_size,
    is_image_shape,
)
from .imagenet_utils import CLASSES
from .input_channels import state_for_channels
from .registry import ModelRecord, get_record


def create_model(
    name: str,
    pretrained: bool = False,
    *,
    weights=None,
    include_top: bool = True,
    input_shape=None,
    in_channels: int | None = None,
    pooling: str | None = None,
    classes: int = CLASSES,
    classifier_activation=None,
    alpha: float | None = None,
    depth_multiplier: int | None = None,
    dropout: float | None = None,
    dropout_rate: float | None = None,
    minimalistic: bool | None = None,
    include_preprocessing: bool | None = None,
):
    """Builds a model as PyTorch code expects it: untrained unless asked, and giving logits.

    Args:
        name: one of `list_models()`, or Keras's name for it.
        pretrained: whether to load the published ImageNet weights. With `classes` other than 1000
            the classifier is new and all layers before it are pretrained.
        weights: path of a weights file of this very architecture, instead of `pretrained`; or which
            published weights, `"imagenet"` for those of `pretrained`, of ResNetRS also such as
            `"imagenet-i160"` for those that were trained on images of 160 pixels.
        include_top: whether the model ends with its classifier.
        input_shape: shape of one image, `(height, width, channels)` in pixels unless the data
            format is channels-first.
        in_channels: channels of the images, 3 by default. With `pretrained` the first kernel is
            summed for one channel, so that the model sees a grey image, and else repeated and
            scaled; `model.transforms()` prepares the images.
        pooling: without the top, `"avg"` or `"max"` for features of shape `(batch, features)`.
        classes: number of classes.
        classifier_activation: None for logits, `"softmax"` for probabilities, or another one.
        alpha: width multiplier, 1 by default (MobileNet, MobileNetV2 and MobileNetV3 only).
        depth_multiplier: depthwise outputs for each channel, 1 by default (MobileNet only).
        dropout: dropout rate in front of the classifier, 0.001 by default (MobileNet only).
        dropout_rate: the same of MobileNetV3, 0.2 by default.
        minimalistic: whether it does without squeeze and excitation, hard swish and kernels of 5
            (MobileNetV3 only).
        include_preprocessing: whether the model itself prepares pixels in [0, 255], as it does by
            default (EfficientNetV2, MobileNetV3, ConvNeXt, ResNetRS and RegNet only).

    Returns:
        A `Model` that takes tensors `(batch, channels, height, width)`.

    Raises:
        ValueError: for an unknown name, for an argument that this model does not have, and for all
            that its constructor refuses.
        PublishedWeightsError: the published weights cannot be had; it is an `OSError`.
    """
    record = get_record(name)
    if pretrained and weights is not None:
        raise ValueError("pretrained=True and weights exclude each other: give one of them")
    channels, input_shape = _channels(record, input_shape, in_channels, include_top)
    options = {
        "include_top": include_top,
        "input_shape": input_shape,
        "pooling": pooling,
        "classifier_activation": classifier_activation,
        **_own_options(
            record,
            alpha=alpha,
            depth_multiplier=depth_multiplier,
            dropout=dropout,
            dropout_rate=dropout_rate,
            minimalistic=minimalistic,
            include_preprocessing=include_preprocessing,
        ),
    }
    if pretrained:
        weights = "imagenet"
    if weights not in record.weights_names:
        return record.constructor(weights=weights, classes=classes, **options)
    if channels == 3 and (classes == CLASSES or not include_top):
        return record.constructor(weights=weights, **options)
    return _adapted(record, weights, classes, channels, options)


def _own_options(record: ModelRecord, **options) -> dict:
    """Those options that are not None; the model must have them."""
    given = {key: value for key, value in options.items() if value is not None}
    known = inspect.signature(record.constructor).parameters
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ValueError(
            f"{record.name} takes no {' and no '.join(unknown)}; it takes {', '.join(known)}"
        )
    return given


def _channels(record: ModelRecord, input_shape, in_channels: int | None, include_top: bool):
    """How many channels images have, and the `input_shape` that says so where it is not 3."""
    if in_channels is not None and in_channels < 1:
        raise ValueError(f"in_channels is how many channels an image has, not {in_channels}")
    if not is_image_shape(input_shape):
        channels, size = in_channels or 3, default_size(include_top, record)
        return channels, input_shape if channels == 3 else image_shape_of(size, channels)
    channels = image_channels(input_shape)
    if in_channels not in (None, channels):
        raise ValueError(f"in_channels={in_channels} and input_shape={input_shape} do not agree")
    return channels, input_shape


def _adapted(
    record: ModelRecord, weights: str, classes: int, channels: int, options: dict
) -> Model:
    """The model with its published weights, but for a new classifier or a first kernel."""
    published = record.constructor(
        **{
            **options,
            "weights": weights,
            "input_shape": _published_shape(record, options["input_shape"]),
            "classifier_activation": None,
        }
    )
    # What is about to be replaced is not initialised first.
    with torch.device("meta"), for_published_weights():
        model = record.constructor(weights=None, classes=classes, **options)
    state = published.state_dict()
    if channels != 3:
        mode = record.own_preprocessing or record.preprocessing
        state = state_for_channels(published, model, mode)
    own = model.state_dict()
    new = record.classifier if options["include_top"] and classes != CLASSES else None
    taken = {key: state[key] for key in own if key.rpartition(".")[0] != new}
    misfits = [key for key in taken if taken[key].shape != own[key].shape]
    if misfits:
        raise ValueError(
            f"the published weights of {', '.join(misfits)} do not fit "
            f"input_shape={options['input_shape']}: leave it out or give include_top=False"
        )
    model.load_state_dict(taken, strict=False, assign=True)
    if new is not None:
        classifier = model.get_layer(new)
        classifier.to_empty(device=torch.get_default_device())
        classifier.reset_parameters()
    return model


def _published_shape(record: ModelRecord, input_shape):
    """`input_shape` for RGB where weights are published for this size among others; else None."""
    if not is_image_shape(input_shape) or image_size(input_shape)[0] not in record.weights_sizes:
        return None
    height, width = image_size(input_shape)
    return image_shape_of((height, width), 3) if height == width else None
