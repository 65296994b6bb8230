"""What every architecture does before its first layer and after its last one.

Arguments are checked by the rules of Keras's applications. Where Keras lets a mistake pass in
silence (`pooling="average"`), a `ValueError` says what is allowed.
"""

import functools
import inspect
import numbers
import os
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

import torch

from .. import activations, initializers
from ..config import image_data_format
from ..engine import Model, Symbol
from ..layers import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Input,
    Multiply,
    Normalization,
    Reshape,
    ZeroPadding2D,
)
from .imagenet_utils import CLASSES, TORCH_MEAN, TORCH_STD, correct_pad
from .recognition import mark_application
from .registry import get_record

# What convolutions with squeeze-and-excitation start from.
FAN_OUT = initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")


def channel_axis(last=-1):
    """The axis of channels in Keras's layout; channels-last families write it as -1 or 3."""
    return 1 if image_data_format() == "channels_first" else last


def image_input(include_top, weights, input_tensor, input_shape, pooling, classes, family):
    """Checks the arguments that all constructors share and gives the Symbol to build on.

    That is `input_tensor` if there is one, else a new `Input`. `family` knows the default and the
    least size of images. Raises `ValueError` for what Keras refuses, and for an unknown `pooling`.
    """
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"pooling must be None, 'avg' or 'max'; got {pooling!r}")
    if weights == "imagenet" and include_top and classes != CLASSES:
        raise ValueError(
            f"classes must be {CLASSES} with weights='imagenet' and include_top=True; got {classes}"
        )
    shape = image_shape(include_top, weights, input_shape, family)
    if input_tensor is None:
        return Input(shape)
    if not isinstance(input_tensor, Symbol):
        raise ValueError(
            "input_tensor must be a Symbol, from Input(...) or from a layer called on one; "
            f"got {type(input_tensor).__name__}"
        )
    if input_tensor.ndim != 4:
        raise ValueError(f"input_tensor must be a batch of images; got {input_tensor}")
    return input_tensor


def image_shape(include_top, weights, input_shape, family):
    """The shape of one image: `input_shape`, checked, or Keras's default for it.

    The default is static with the top and leaves height and width open without, but for families
    of open or of fixed size.
    """
    own_size = default_size(include_top, family)
    if not input_shape:
        return image_shape_of(own_size, 3)
    if not is_image_shape(input_shape):
        raise ValueError(f"input_shape must be a tuple of three integers; got {input_shape!r}")

    include_top = include_top and not family.open_size
    input_shape = tuple(input_shape)
    size = image_size(input_shape)
    if weights == "imagenet" and image_channels(input_shape) != 3:
        raise ValueError(f"weights='imagenet' takes 3 channels; got input_shape={input_shape}")
    needs_default = weights == "imagenet" and include_top and not family.weights_of_any_size
    if needs_default and size != own_size:
        raise ValueError(
            "with weights='imagenet' and include_top=True "
            f"input_shape must be {image_shape_of(own_size, 3)}; got {input_shape}"
        )
    least = family.min_size
    if any(n is not None and n < least for n in size):
        raise ValueError(
            f"images must be at least {least} x {least}; got input_shape={input_shape}"
        )
    if include_top and None in input_shape:
        raise ValueError(f"include_top=True takes a static input_shape; got {input_shape}")
    return input_shape


def default_size(include_top, family):
    """Height and width of images whose `input_shape` is not given; None where they are open.

    `family` may also be the `ModelRecord` of one of its models.
    """
    is_known = family.fixed_size or (include_top and not family.open_size)
    return (family.default_size if is_known else None,) * 2


def is_image_shape(shape):
    """Whether `shape` has three entries, each an integer or None."""
    return (
        isinstance(shape, tuple | list)
        and len(shape) == 3
        and all(n is None or isinstance(n, numbers.Integral) for n in shape)
    )


def image_size(shape):
    """Height and width of an image shape without its batch axis."""
    return tuple(shape[1:] if image_data_format() == "channels_first" else shape[:2])


def image_channels(shape):
    """The channels of an image shape without its batch axis."""
    return shape[0 if image_data_format() == "channels_first" else 2]


def image_shape_of(size, channels):
    """The shape of an image, without a batch axis, from height and width and its channels."""
    return (channels, *size) if image_data_format() == "channels_first" else (*size, channels)


def make_divisible(filters, divisor=8):
    """The nearest multiple of `divisor` that is not more than 10 % below `filters`."""
    rounded = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * filters else rounded


def imagenet_normalization(x, largest=1, axis=-1, name=None):
    """Normalises RGB pixels in [0, `largest`] by ImageNet's mean and standard deviation."""
    return Normalization(
        axis=axis,
        mean=[mean * largest for mean in TORCH_MEAN],
        variance=[(deviation * largest) ** 2 for deviation in TORCH_STD],
        name=name,
    )(x)


def padded_depthwise(
    x, kernel_size, strides, name, pad_name, depthwise_initializer="glorot_uniform"
):
    """A depthwise convolution, padded for a stride of 2 by the size that is known now.

    `pad_name` is that of the layer which then pads.
    """
    padding = "same"
    if strides == 2:
        x = ZeroPadding2D(correct_pad(x, kernel_size), name=pad_name)(x)
        padding = "valid"
    return DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        depthwise_initializer=depthwise_initializer,
        name=name,
    )(x)


def pool(x, pooling, avg_name=None, max_name=None):
    """The end of a model without its top: global pooling, or the feature map itself."""
    if pooling == "avg":
        return GlobalAveragePooling2D(name=avg_name)(x)
    if pooling == "max":
        return GlobalMaxPooling2D(name=max_name)(x)
    return x


def squeeze_excite(x, reduced, activation, kernel_initializer, name):
    """Weighs the channels of an image by what is seen all over it (Hu et al., 2017).

    Args:
        x: Symbol of the image.
        reduced: number of channels between the two convolutions.
        activation: of the first convolution.
        kernel_initializer: of both.
        name: what the layers' names begin with, before `squeeze`, `reshape`, `reduce`, `expand` and
            `excite`.
    """
    channels = x.shape[channel_axis()]
    same = {"padding": "same", "kernel_initializer": kernel_initializer}
    y = GlobalAveragePooling2D(name=f"{name}squeeze")(x)
    y = Reshape(image_shape_of((1, 1), channels), name=f"{name}reshape")(y)
    y = Conv2D(reduced, 1, activation=activation, name=f"{name}reduce", **same)(y)
    y = Conv2D(channels, 1, activation="sigmoid", name=f"{name}expand", **same)(y)
    return Multiply(name=f"{name}excite")([x, y])


def pooled_or_classified(
    x, include_top, pooling, classes, classifier_activation, weights, dropout_rate=0,
    name="predictions", kernel_initializer="glorot_uniform", bias_initializer="zeros",
):  # fmt: skip
    """The end of a model: its classifier on pooled features, or what `pooling` asks for.

    Args:
        dropout_rate: rate of the dropout in front of the classifier; 0 for none.
        name, kernel_initializer, bias_initializer: of the classifier.
    """
    if not include_top:
        return pool(x, pooling, avg_name="avg_pool", max_name="max_pool")
    x = GlobalAveragePooling2D(name="avg_pool")(x)
    if dropout_rate > 0:
        x = Dropout(dropout_rate, name="top_dropout")(x)
    starts = kernel_initializer, bias_initializer
    return predictions(x, classes, classifier_activation, weights, name, *starts)


def predictions(
    x, classes, classifier_activation, weights, name="predictions",
    kernel_initializer="glorot_uniform", bias_initializer="zeros",
):  # fmt: skip
    """The classifier that ends a model with its top."""
    check_classifier_activation(classifier_activation, weights)
    return Dense(
        classes,
        activation=classifier_activation,
        kernel_initializer=kernel_initializer,
        bias_initializer=bias_initializer,
        name=name,
    )(x)


def check_classifier_activation(classifier_activation, weights):
    """Raises `ValueError` if weights would meet another activation than they were trained with."""
    allowed = (activations.get(None), activations.get("softmax"))
    if weights is not None and activations.get(classifier_activation) not in allowed:
        raise ValueError(
            "classifier_activation must be None or 'softmax' with weights and include_top=True; "
            f"got {classifier_activation!r}"
        )


_for_published_weights = ContextVar("for_published_weights", default=False)


@contextmanager
def for_published_weights():
    """Constructors build the networks that the published weights are of, and load none.

    `weights=None` gives another network where Keras builds one for `weights="imagenet"` only.
    """
    token = _for_published_weights.set(True)
    try:
        yield
    finally:
        _for_published_weights.reset(token)


def is_for_published_weights(weights):
    """Whether the network is to be the one that the published weights are of."""
    return weights == "imagenet" or _for_published_weights.get()


def source_inputs(image, input_tensor):
    """The inputs of the model: `image`, or the list of those that `input_tensor` is computed from.

    A model that is built on another layer's output so includes the layers before it.
    """
    if input_tensor is None:
        return image
    sources, seen, pending = [], set(), [input_tensor]
    while pending:
        symbol = pending.pop()
        if symbol in seen:
            continue
        seen.add(symbol)
        if symbol.node.is_input:
            sources.append(symbol)
        pending.extend(reversed(symbol.node.inputs))
    return sources


def loads_weights(constructor=None, *, variant=None):
    """Loads the `weights` of the decorated constructor, whose body builds the layers only.

    What is about to be loaded is not initialised first. If another layer has made `input_tensor`,
    the weights fill the layers after it and leave those before it alone.

    `"imagenet"` stands for the published weights of the model that the argument `weights_name`
    names, or else the constructor; `variant` gives, for all its arguments, the `alpha` and `size`
    of those that are published for several.
    """
    if constructor is None:
        return functools.partial(loads_weights, variant=variant)
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def construct(*args, **kwargs):
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        weights, input_tensor = (arguments.arguments[k] for k in ("weights", "input_tensor"))
        _check_weights(weights)
        name = arguments.arguments.get("weights_name", constructor.__name__)
        with torch.device("meta") if weights is not None else nullcontext():
            model = constructor(*args, **kwargs)
        starts_at_input = input_tensor is None or input_tensor.node.is_input
        loaded = model if starts_at_input else Model(input_tensor, model.output)
        if name is not None:
            mark_application(loaded, name)
        if weights == "imagenet":
            _load_published(loaded, name, arguments.arguments, variant)
        elif weights is not None:
            loaded.load_weights(weights)
        return model

    return construct


def _load_published(model, name, arguments, variant):
    """Loads the published weights that `"imagenet"` stands for."""
    from ..hub import Checkpoint, load_published

    if name is None:
        raise ValueError("weights='imagenet' needs weights_name, the model they are published for")
    record = get_record(name)
    chosen = variant(**arguments) if variant else {}
    weights = record.published_weights(arguments["include_top"], **chosen)
    load_published(model, Checkpoint(record, weights))


def _check_weights(weights):
    if weights is None or weights == "imagenet":
        return
    if not isinstance(weights, str | os.PathLike) or not os.path.isfile(weights):
        raise ValueError(
            "weights must be None (random initialisation), 'imagenet' (the published weights) "
            f"or the path of a weights file that exists; got {weights!r}"
        )
